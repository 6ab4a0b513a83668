//! `report` and `verify` work from records alone, and notice when those were touched.

use std::fs;
use std::path::Path;

use crate::support::{flora_bench, measuring, repository, run};

/// One short run, shared by the tests of this module.
fn recorded() -> tempfile::TempDir {
    static RUN: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
    let recorded = RUN.get_or_init(|| {
        let _guard = measuring();
        let out = tempfile::tempdir().unwrap();
        let (code, _, stderr) = run(flora_bench()
            .args(["scenario", "baseline", "--rate", "200", "--blocks", "2"])
            .args(["--warmup", "200ms", "--measure", "1s", "--out"])
            .arg(out.path()));
        assert!(matches!(code, 0 | 4), "{stderr}");
        out
    });
    // Each test edits a copy.
    let copy = tempfile::tempdir().unwrap();
    let name = fs::read_link(recorded.path().join("latest")).unwrap();
    let to = copy.path().join("run");
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(recorded.path().join(name)).unwrap().flatten() {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    copy
}

fn verify(run_directory: &Path) -> (i32, String, String) {
    run(flora_bench().arg("verify").arg(run_directory))
}

fn edit(path: &Path, change: impl Fn(String) -> String) {
    let text = fs::read_to_string(path).unwrap();
    let changed = change(text.clone());
    assert_ne!(text, changed, "the edit changed nothing");
    fs::write(path, changed).unwrap();
}

#[test]
fn an_untouched_run_agrees_and_renders_the_same_again() {
    let copy = recorded();
    let directory = copy.path().join("run");
    let (code, stdout, stderr) = verify(&directory);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let before = fs::read_to_string(directory.join("report.json")).unwrap();
    let (code, _, stderr) = run(flora_bench().arg("report").arg(&directory));
    assert_eq!(code, 0, "{stderr}");
    let after = fs::read_to_string(directory.join("report.json")).unwrap();
    assert_eq!(before, after);
}

/// What an older version judged by other rules agrees with this one's once it is computed again.
#[test]
fn a_run_is_computed_again_from_its_samples() {
    let copy = recorded();
    let directory = copy.path().join("run");
    let path = directory.join("trials.jsonl");
    let before = fs::read_to_string(&path).unwrap();
    edit(&path, |text| {
        text.replacen("requests per second were answered", "were answered", 1)
            .replacen("\"valid\"", "\"invalid\"", 1)
    });
    assert_eq!(verify(&directory).0, 2);
    let (code, _, stderr) = run(flora_bench().arg("report").arg(&directory).arg("--again"));
    assert_eq!(code, 0, "{stderr}");
    let (code, stdout, _) = verify(&directory);
    assert_eq!(code, 0, "{stdout}");
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn the_run_that_the_readme_shows_agrees_with_its_samples() {
    let (code, stdout, stderr) = verify(&repository().join("results/example"));
    assert_eq!(code, 0, "{stdout}{stderr}");
}

#[test]
fn a_changed_figure_is_named() {
    for file in ["trials.jsonl", "report.json"] {
        let copy = recorded();
        let directory = copy.path().join("run");
        edit(&directory.join(file), |text| {
            // The leading digit behind the point of the first CPU figure: the
            // last ones may be beyond what a number holds.
            let at = text.find("cpu_seconds_per_request").unwrap();
            let at = at + text[at..].find('.').unwrap() + 1;
            let at = at + text[at..].find(|c| c != '0').unwrap();
            let digit = if &text[at..=at] == "5" { "6" } else { "5" };
            format!("{}{digit}{}", &text[..at], &text[at + 1..])
        });
        let (code, stdout, stderr) = verify(&directory);
        assert_eq!(code, 2, "{file}: {stdout}{stderr}");
        assert!(stdout.contains(file), "{stdout}");
        assert!(stdout.contains("the samples give"), "{stdout}");
    }
}

#[test]
fn a_changed_sample_is_noticed() {
    let copy = recorded();
    let directory = copy.path().join("run");
    edit(&directory.join("samples.jsonl"), |text| {
        let at = text.find("requests_completed\",\"value\":").unwrap();
        let at = at + "requests_completed\",\"value\":".len();
        format!("{}9{}", &text[..at], &text[at..])
    });
    let (code, stdout, _) = verify(&directory);
    assert_eq!(code, 2);
    assert!(stdout.contains("trials.jsonl"), "{stdout}");
}

#[test]
fn truncated_and_missing_files_are_named_with_their_line() {
    for file in [
        "plan.json",
        "fingerprint.json",
        "trials.jsonl",
        "samples.jsonl",
    ] {
        let copy = recorded();
        let directory = copy.path().join("run");
        edit(&directory.join(file), |text| {
            text[..text.len() - 20].to_owned()
        });
        for command in ["report", "verify"] {
            let (code, _, stderr) = run(flora_bench().arg(command).arg(&directory));
            assert_eq!(code, 2, "{command} {file}: {stderr}");
            assert!(stderr.contains(&format!("{file}:")), "{stderr}");
        }
        fs::remove_file(directory.join(file)).unwrap();
        let (code, _, stderr) = verify(&directory);
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(file), "{stderr}");
    }
}

#[test]
fn another_schema_version_is_refused() {
    let copy = recorded();
    let directory = copy.path().join("run");
    edit(&directory.join("plan.json"), |text| {
        text.replace("\"schema_version\": 1", "\"schema_version\": 99")
    });
    let (code, _, stderr) = verify(&directory);
    assert_eq!(code, 2);
    assert!(stderr.contains("schema version 99"), "{stderr}");
}

#[test]
fn a_run_that_is_not_there() {
    let (code, _, stderr) = run(flora_bench().args(["report", "no-such-run"]));
    assert_eq!(code, 2);
    assert!(stderr.contains("no-such-run"), "{stderr}");
}

#[test]
fn compressed_samples_are_read() {
    let copy = recorded();
    let directory = copy.path().join("run");
    let compressed = std::process::Command::new("zstd")
        .args(["--quiet", "--rm"])
        .arg(directory.join("samples.jsonl"))
        .status();
    if !compressed.is_ok_and(|status| status.success()) {
        return crate::support::skip("compressed_samples_are_read", "zstd is not installed");
    }
    assert!(!directory.join("samples.jsonl").exists());
    let (code, stdout, stderr) = verify(&directory);
    assert_eq!(code, 0, "{stdout}{stderr}");
    // Cut in the middle, it is an error with its name.
    let path = directory.join("samples.jsonl.zst");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let (code, _, stderr) = verify(&directory);
    assert_eq!(code, 2);
    assert!(stderr.contains("samples.jsonl.zst"), "{stderr}");
}

#[test]
fn readings_that_cannot_be_are_refused() {
    // Not a number at all: the line is named.
    let copy = recorded();
    let directory = copy.path().join("run");
    let with = |value: &'static str| {
        move |text: String| {
            let at = text.find("cpu_usage_seconds_total\",\"value\":").unwrap();
            let at = at + "cpu_usage_seconds_total\",\"value\":".len();
            let end = at + text[at..].find(',').unwrap();
            format!("{}{value}{}", &text[..at], &text[end..])
        }
    };
    for value in ["NaN", "1e999"] {
        let copy = recorded();
        let directory = copy.path().join("run");
        edit(&directory.join("samples.jsonl"), with(value));
        let (code, _, stderr) = verify(&directory);
        assert_eq!(code, 2, "{value}: {stderr}");
        assert!(stderr.contains("samples.jsonl:"), "{stderr}");
    }
    // Less than nothing: the trial can't count.
    edit(&directory.join("samples.jsonl"), with("-1.0"));
    let (code, stdout, _) = verify(&directory);
    assert_eq!(code, 2);
    assert!(stdout.contains("checks"), "{stdout}");
}

#[test]
fn trials_that_are_missing_or_do_not_count_are_told() {
    let copy = recorded();
    let directory = copy.path().join("run");
    edit(&directory.join("trials.jsonl"), |text| {
        text.lines().next().unwrap().to_owned() + "\n"
    });
    let (code, stdout, stderr) = run(flora_bench().arg("report").arg(&directory));
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("1 of 4 trials were carried out"),
        "{stdout}"
    );

    let copy = recorded();
    let directory = copy.path().join("run");
    edit(&directory.join("trials.jsonl"), |text| {
        text.replace("\"status\":\"valid\"", "\"status\":\"invalid\"")
    });
    let (code, stdout, stderr) = run(flora_bench().arg("report").arg(&directory));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("0 of 2 trials count"), "{stdout}");
    let report = fs::read_to_string(directory.join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["comparisons"].as_array().unwrap().len(), 0);
    assert_eq!(report["noise_floor"].as_array().unwrap().len(), 0);
}
