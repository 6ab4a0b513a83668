//! Known truth: what is injected must be found again.

use crate::support::{flora_bench, leftovers, measuring, run, run_until_valid, scenarios, script};

/// The short form of the calibration; it can fail.
#[test]
fn what_is_injected_is_found_again() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = run_until_valid(
        flora_bench()
            .args([
                "calibrate",
                "--inject",
                "cpu=0.2,memory=16MiB",
                "--inject",
                "cpu=0",
            ])
            .args(["--blocks", "6", "--seed", "1", "--format", "json", "--out"])
            .arg(out.path()),
    );
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert_eq!(leftovers(), Vec::<String>::new());
    let rows: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let row = |scenario: &str, metric: &str| {
        rows.as_array()
            .unwrap()
            .iter()
            .find(|row| row["scenario"] == scenario && row["metric"] == metric)
            .unwrap_or_else(|| panic!("no {metric} of {scenario}"))
    };
    let both = "synthetic-cpu-20pct-memory-16MiB";
    let (cpu, memory) = ("cpu_seconds_per_request", "memory_working_set_bytes");
    for (scenario, metric) in [(both, cpu), (both, memory)] {
        let row = row(scenario, metric);
        assert_eq!(row["contradicted"], false, "{row}");
        assert_eq!(row["verdict"], "higher", "{row}");
    }
    assert_eq!(row(both, memory)["injected"], 16.0 * 1024.0 * 1024.0);
    for metric in [cpu, memory] {
        let row = row("synthetic-cpu-0pct", metric);
        assert_eq!(row["injected"], 0.0);
        assert_eq!(row["contradicted"], false, "{row}");
    }
    let (code, stdout, stderr) = run(flora_bench()
        .args(["verify", "latest", "--out"])
        .arg(out.path()));
    assert_eq!(code, 0, "{stdout}{stderr}");
}

/// A target that does not burn what it is told makes the calibration fail.
#[test]
fn what_is_not_there_is_not_found() {
    let _guard = measuring();
    let directory = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let program = script(
        directory.path(),
        "lazy",
        &format!(
            "[ \"$1\" = --version ] && echo lazy 1 && exit\n\
             for word do shift; [ \"$last\" = --burn-nanoseconds ] && word=0; last=$word; set -- \"$@\" \"$word\"; done\n\
             exec {} \"$@\"",
            crate::scenario::target_app().display()
        ),
    );
    let scenarios = scenarios(&[(
        "baseline",
        &format!("question: q\ntarget: {{program: {}}}\n", program.display()),
    )]);
    let (code, stdout, stderr) = run(flora_bench()
        .args(["calibrate", "--inject", "cpu=1", "--blocks", "6"])
        .args(["--rate", "1000", "--scenarios"])
        .arg(scenarios.path())
        .arg("--out")
        .arg(out.path()));
    assert_eq!(code, 4, "{stdout}{stderr}");
    assert!(
        stderr.contains("not found again") || stderr.contains("not valid"),
        "{stderr}"
    );
    if stderr.contains("not found again") {
        assert!(stdout.contains("contradicted"), "{stdout}");
    }
}

#[test]
fn injections_that_make_no_sense() {
    for (text, words) in [
        ("cpu=lots", "cpu=lots"),
        ("memory=16", "16 MiB"),
        ("gpu=1", "gpu"),
    ] {
        let (code, _, stderr) = run(flora_bench().args(["calibrate", "--inject", text]));
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}
