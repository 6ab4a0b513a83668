//! A run that is killed in any phase can be finished.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::runs;
use crate::support::{flora_bench, leftovers, measuring, report, run, scenarios};

/// A run of two blocks.
fn two_blocks(out: &Path, scenarios: &Path, more: &[&str]) -> Command {
    let mut command = flora_bench();
    command
        .args(["scenario", "baseline", "--blocks", "2"])
        .args(more)
        .arg("--scenarios")
        .arg(scenarios)
        .arg("--out")
        .arg(out);
    command
}

/// Starts a run of two blocks and kills it as soon as `reached` says so of its directory.
fn killed(out: &Path, scenarios: &Path, slices: &str, reached: impl Fn(&Path) -> bool) {
    let more = "--rate 200 --warmup 1200ms --measure 1s --slices";
    let more: Vec<&str> = more.split(' ').chain([slices]).collect();
    killed_when(&mut two_blocks(out, scenarios, &more), out, reached);
}

fn killed_when(command: &mut Command, out: &Path, reached: impl Fn(&Path) -> bool) {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !reached(&out.join("latest")) {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        assert!(Instant::now() < deadline, "it never got so far");
        std::thread::sleep(Duration::from_millis(2));
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
}

fn holds(run: &Path, file: &str, text: &str) -> bool {
    std::fs::read_to_string(run.join(file)).is_ok_and(|found| found.contains(text))
}

fn lines(run: &Path, file: &str) -> usize {
    std::fs::read_to_string(run.join(file)).map_or(0, |text| text.lines().count())
}

fn finish(out: &Path) -> serde_json::Value {
    let before = lines(&out.join("latest"), "trials.jsonl");
    let kept = std::fs::read_to_string(out.join("latest/trials.jsonl")).unwrap();
    let (code, _, stderr) = run(flora_bench().args(["resume", "latest", "--out"]).arg(out));
    // Lost trials may leave too few that count; that is said, and no failure of `resume`.
    assert!(matches!(code, 0 | 4), "{stderr}");
    assert_eq!(leftovers(), Vec::<String>::new());
    let after = std::fs::read_to_string(out.join("latest/trials.jsonl")).unwrap();
    let whole = kept.rfind('\n').map_or("", |at| &kept[..=at]);
    assert!(after.starts_with(whole), "what was finished is kept");
    assert_eq!(after.lines().count(), 4, "{before} before; {stderr}");
    let (code, stdout, stderr) = run(flora_bench().args(["verify", "latest", "--out"]).arg(out));
    assert_eq!(code, 0, "{stdout}{stderr}");
    report(out)
}

#[test]
fn after_a_kill_in_any_phase() {
    let _guard = measuring();
    let scenarios = scenarios(&[]);
    for (slices, phase, lost) in [
        // The other phases: faults/killed.rs.
        ("4", "measure", 2),
        ("4", "cooldown", 2),
        ("1", "warmup", 1),
    ] {
        let out = tempfile::tempdir().unwrap();
        killed(out.path(), scenarios.path(), slices, |run| {
            holds(run, "samples.jsonl", &format!("\"phase\":\"{phase}\""))
        });
        let report = finish(out.path());
        let trials = report["trials"].as_array().unwrap();
        let failed: Vec<&serde_json::Value> = trials
            .iter()
            .filter(|trial| trial["status"] == "failed")
            .collect();
        // A kill that came a moment late may have found the trial finished, or
        // the second one of a block not begun.
        assert!(failed.len() <= lost, "{slices} {phase}: {failed:?}");
        for trial in failed {
            let error = trial["error"].as_str().unwrap();
            assert!(error.contains("cut short during"), "{error}");
        }
        let notes = report["notes"].to_string();
        assert!(notes.contains("The run was cut short"), "{notes}");
        let end = |trial: &serde_json::Value| trial["phases"][0]["start"].as_f64();
        let times: Vec<f64> = trials.iter().filter_map(end).collect();
        assert!(times.is_sorted(), "the run's clock goes on: {times:?}");
    }
}

#[test]
fn before_the_first_reading_and_between_blocks() {
    let _guard = measuring();
    let scenarios = scenarios(&[]);
    let out = tempfile::tempdir().unwrap();
    killed(out.path(), scenarios.path(), "4", |run| {
        run.join("trials.jsonl").exists()
    });
    finish(out.path());
    let out = tempfile::tempdir().unwrap();
    killed(out.path(), scenarios.path(), "4", |run| {
        lines(run, "trials.jsonl") == 2
    });
    let report = finish(out.path());
    // What was finished before the kill is kept.
    for trial in &report["trials"].as_array().unwrap()[..2] {
        assert_ne!(trial["status"], "failed", "{trial}");
    }
}

#[test]
fn in_the_middle_of_a_search() {
    let _guard = measuring();
    let scenarios = scenarios(&[]);
    let out = tempfile::tempdir().unwrap();
    let more = "--experiment saturation --rate 400 --warmup 200ms --measure 400ms";
    let more: Vec<&str> = more.split(' ').collect();
    let mut command = two_blocks(out.path(), scenarios.path(), &more);
    killed_when(&mut command, out.path(), |run| {
        holds(run, "samples.jsonl", "\"step\":3")
    });
    let report = finish(out.path());
    let trials = report["trials"].as_array().unwrap();
    let error = trials[0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("cut short during"), "{}", trials[0]);
    for trial in &trials[1..] {
        assert!(trial["steps"].as_array().unwrap().len() >= 3, "{trial}");
    }
}

#[test]
fn a_half_written_line_is_dropped_and_told() {
    let _guard = measuring();
    let scenarios = scenarios(&[]);
    let out = tempfile::tempdir().unwrap();
    killed(out.path(), scenarios.path(), "4", |run| {
        lines(run, "trials.jsonl") == 2
    });
    for file in ["trials.jsonl", "samples.jsonl"] {
        use std::io::Write;
        let path = out.path().join("latest").join(file);
        let mut file = std::fs::File::options().append(true).open(path).unwrap();
        file.write_all(b"{\"trial\":3,\"ph").unwrap();
    }
    let (code, _, stderr) = run(flora_bench()
        .args(["report", "latest", "--out"])
        .arg(out.path()));
    assert_eq!(code, 2);
    assert!(stderr.contains("flora-bench resume"), "{stderr}");
    finish(out.path());
    // Nothing is left to do, and that is no error.
    let (code, _, stderr) = run(flora_bench()
        .args(["resume", "latest", "--out"])
        .arg(out.path()));
    assert!(matches!(code, 0 | 4), "{stderr}");
    assert!(stderr.contains("nothing is left to do"), "{stderr}");
}

#[test]
fn a_run_of_another_program_is_not_gone_on_with() {
    let _guard = measuring();
    let scenarios = scenarios(&[]);
    let out = tempfile::tempdir().unwrap();
    killed(out.path(), scenarios.path(), "4", |run| {
        lines(run, "trials.jsonl") == 2
    });
    let path = out.path().join("latest/fingerprint.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut fingerprint: serde_json::Value = serde_json::from_str(&text).unwrap();
    let programs = fingerprint["programs"].as_array_mut().unwrap();
    let app = programs
        .iter_mut()
        .find(|p| p["name"] == "target-app")
        .unwrap();
    app["sha256"] = "0".repeat(64).into();
    std::fs::write(&path, fingerprint.to_string()).unwrap();
    let (code, _, stderr) = run(flora_bench()
        .args(["resume", "latest", "--out"])
        .arg(out.path()));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("SHA-256 of target-app"), "{stderr}");
    assert!(stderr.contains("measure anew"), "{stderr}");
    assert_eq!(leftovers(), Vec::<String>::new());
}

#[test]
fn compressed_samples_are_not_gone_on_with() {
    let out = tempfile::tempdir().unwrap();
    let run_directory = runs::run("a", "2025-01-02T03:04:05Z", &[("baseline", &[1e-4])]);
    let run_directory = run_directory.write(out.path());
    std::fs::rename(
        run_directory.join("samples.jsonl"),
        run_directory.join("samples.jsonl.zst"),
    )
    .unwrap();
    let (code, _, stderr) = run(flora_bench().arg("resume").arg(&run_directory));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("zstd -d --rm"), "{stderr}");
    assert!(!run_directory.join("samples.jsonl").exists());
}

#[test]
fn what_is_no_run_is_not_touched() {
    let out = tempfile::tempdir().unwrap();
    let (code, _, stderr) = run(flora_bench().arg("resume").arg(out.path()));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("plan.json"), "{stderr}");
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
}
