//! `scenario --experiment`: searches for what an application's limits hold.

use std::process::Command;

use serde_json::Value;

use crate::support::{
    entry, flora_bench, leftovers, measuring, report, run, run_until_valid, scenarios, skip,
    verified,
};

/// A request that costs the target several times what it costs the load driver.
const WORK: &str = "10";

/// What limits need: root, or control groups that were handed down.
fn may_limit(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skip(test, "control groups can be limited by root only");
    }
    root
}

/// A search with short steps.
fn search(experiment: &str, out: &std::path::Path) -> Command {
    let mut command = flora_bench();
    command
        .args(["scenario", "baseline", "--experiment", experiment])
        .args(["--blocks", "1", "--warmup", "300ms", "--measure", "500ms"])
        .args(["--work", WORK, "--out"])
        .arg(out);
    command
}

/// An estimate of the target, of one arm.
fn estimate(report: &Value, arm: &str, metric: &str) -> f64 {
    let statistics = entry(report, arm)["statistics"].as_array().unwrap();
    let own = statistics
        .iter()
        .find(|s| s["metric"] == metric && s["subject"] == "target");
    own.unwrap_or_else(|| panic!("{arm} has no {metric}"))["estimate"]
        .as_f64()
        .unwrap()
}

/// Every step of an arm's one trial.
fn steps<'r>(report: &'r Value, arm: &str) -> &'r [Value] {
    let mut trials = report["trials"].as_array().unwrap().iter();
    let own = trials.find(|trial| trial["arm"] == arm).unwrap();
    own["steps"].as_array().unwrap()
}

/// Rates that both baselines sustain under a CPU limit, and how often they are throttled there.
fn sustained(limit: &str) -> Vec<(f64, f64)> {
    let out = tempfile::tempdir().unwrap();
    let mut command = search("cpu-limit", out.path());
    let (code, stdout, stderr) =
        run_until_valid(command.args(["--cpu-limit", limit, "--rate", "6000"]));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains(&format!("{limit} CPUs")), "{stdout}");
    let report = report(out.path());
    let run = report["run"].as_str().unwrap();
    assert!(run.contains("baseline-cpu-limit"), "{run}");
    let rate = "sustained_requests_per_second";
    let noise = report["noise_floor"].as_array().unwrap();
    assert!(
        noise.iter().any(|floor| floor["metric"] == rate),
        "{noise:?}"
    );
    assert!(out.path().join("latest/charts/steps.svg").is_file());
    assert!(!out.path().join("latest/charts/ledger.svg").exists());
    verified(out.path());
    assert_eq!(leftovers(), Vec::<String>::new());
    let of = |arm| {
        let throttled = estimate(&report, arm, "cpu_throttled_periods_ratio");
        (estimate(&report, arm, rate), throttled)
    };
    ["baseline", "baseline-twin"].map(of).to_vec()
}

#[test]
fn half_of_a_cpu_limit_sustains_less_and_is_throttled() {
    if !may_limit("experiments::half_of_a_cpu_limit") {
        return;
    }
    let _guard = measuring();
    // Whoever shares the machine may leave a target less than its limit; not every time.
    let told = (0..3).any(|_| {
        let (whole, half) = (sustained("0.2"), sustained("0.1"));
        eprintln!("sustained, throttled: {whole:?} with 0.2 CPUs, {half:?} with 0.1");
        let mut pairs = whole.iter().zip(&half);
        let fewer = pairs.all(|(whole, half)| half.0 < 0.8 * whole.0);
        fewer && whole.iter().chain(&half).all(|(_, held)| *held > 0.0)
    });
    assert!(told);
}

#[test]
fn too_little_memory_ends_in_an_oom_kill_that_is_explained() {
    if !may_limit("experiments::too_little_memory") {
        return;
    }
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let mut command = search("memory-limit", out.path());
    let (code, stdout, stderr) = run_until_valid(command.args(["--rate", "200"]));
    assert_eq!(code, 0, "{stderr}");
    let report = report(out.path());
    let held = estimate(&report, "baseline", "memory_limit_bytes");
    assert!((1e5..6.4e7).contains(&held), "{held}");
    // No limit between this one and the answer was tried.
    let just_below = |step: &&Value| {
        let value = step["value"].as_f64().unwrap();
        step["passed"] == false && (held * 0.97..held).contains(&value)
    };
    let steps = steps(&report, "baseline");
    let step = steps.iter().rfind(just_below).unwrap();
    assert!(step["oom_kills"].as_u64().unwrap() > 0, "{step}");
    let reason = step["reason"].as_str().unwrap();
    assert!(reason.contains("OOM kill"), "{step}");
    assert!(stdout.contains("OOM kill"), "{stdout}");
    verified(out.path());
    assert_eq!(leftovers(), Vec::<String>::new());
}

#[test]
fn saturation_has_a_knee() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let mut command = search("saturation", out.path());
    let (code, stdout, stderr) = run_until_valid(command.args(["--rate", "3000"]));
    assert_eq!(code, 0, "{stderr}");
    let report = report(out.path());
    let knee = estimate(&report, "baseline", "sustained_requests_per_second");
    assert!(stdout.contains("Up to saturation"), "{stdout}");
    let steps = steps(&report, "baseline");
    let offered = |step: &Value| step["offered_requests_per_second"].as_f64().unwrap();
    assert!(steps.iter().any(|step| offered(step) < 0.8 * knee));
    let beyond = steps.iter().filter(|step| offered(step) > 1.2 * knee);
    for step in beyond {
        assert_eq!(step["passed"], false, "{step}");
    }
    assert!(out.path().join("latest/charts/steps.png").is_file());
    let html = std::fs::read_to_string(out.path().join("latest/report.html")).unwrap();
    assert!(html.contains("id=\"experiment\"") && html.contains("id=\"chart-steps\""));
    verified(out.path());
    assert_eq!(leftovers(), Vec::<String>::new());
}

#[test]
fn what_cannot_be_searched_is_refused() {
    for (arguments, expected) in [
        (
            &["--cpu-limit", "0.5"][..],
            "belongs to --experiment cpu-limit",
        ),
        (
            &["--experiment", "saturation", "--cpu-limit", "0.5"],
            "belongs to --experiment cpu-limit",
        ),
        (
            &["--experiment", "memory-limit", "--latency-bound", "50ms"],
            "--latency-bound belongs to",
        ),
        (
            &["--experiment", "cpu-limit", "--cpu-limit", "0"],
            "0.01 to 1024",
        ),
        (
            &["--experiment", "saturation", "--latency-bound", "0s"],
            "longer than nothing",
        ),
        (&["--experiment", "cpu-limit", "--slices", "4"], "--slices"),
        (
            &["--experiment", "cpu-limit", "--amplify", "4"],
            "--amplify",
        ),
        (
            &["--experiment", "cpu-limit", "--load", "k6"],
            "built-in driver",
        ),
        (
            &[
                "--experiment",
                "cpu-limit",
                "--backend",
                "kubernetes",
                "--parallel",
                "2",
            ],
            "--parallel",
        ),
        (
            &[
                "--experiment",
                "saturation",
                "--victoria-metrics",
                "http://127.0.0.1:1",
            ],
            "--victoria-metrics",
        ),
        (&["--experiment", "speed"], "possible values"),
    ] {
        let mut command = flora_bench();
        command
            .args(["scenario", "baseline", "--dry-run"])
            .args(arguments);
        let (code, _, stderr) = run(&mut command);
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
}

/// A limit that no target here can feel is not measured under its name.
#[test]
fn a_cpu_limit_above_the_target_s_cpus_is_refused() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let mut command = search("cpu-limit", out.path());
    let (code, _, stderr) = run(command.args(["--cpu-limit", "1000", "--rate", "100"]));
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("a limit of 1000 CPUs"), "{stderr}");
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    assert_eq!(leftovers(), Vec::<String>::new());
}

/// A quota of a group above the run's own, such as a container's, is read beside the roles.
#[test]
fn a_quota_of_a_group_above_is_read() {
    use flora_bench::backend::local::cgroup::Hierarchies;

    let test = "experiments::a_quota_of_a_group_above";
    if !may_limit(test) {
        return;
    }
    let found = Hierarchies::discover();
    let Some(own) = found.v1.get("cpu") else {
        return skip(test, "version 1 has no cpu controller here");
    };
    let _guard = measuring();
    let container = own.join("a-container-of-a-test");
    std::fs::create_dir_all(&container).unwrap();
    std::fs::write(container.join("cpu.cfs_quota_us"), "20000").unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!(
            "echo $$ > {}/cgroup.procs; exec \"$@\"",
            container.display()
        ))
        .args(["sh", env!("CARGO_BIN_EXE_flora-bench")])
        .args(["scenario", "baseline", "--rate", "300", "--blocks", "1"])
        .args(["--work", WORK, "--warmup", "500ms", "--measure", "2s"])
        .arg("--out")
        .arg(out.path())
        .current_dir(crate::support::repository());
    let (code, _, stderr) = run(&mut command);
    std::fs::remove_dir(&container).unwrap();
    assert!(matches!(code, 0 | 4), "{stderr}");
    let samples = std::fs::read_to_string(out.path().join("latest/samples.jsonl")).unwrap();
    let held = samples
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|sample| {
            sample["subject"] == "node" && sample["reading"] == "cpu_throttled_seconds_total"
        })
        .filter_map(|sample| sample["value"].as_f64());
    assert!(held.fold(0.0, f64::max) > 0.0, "{stderr}");
}

/// Nobody is measured who can't be limited, and what is missing is named.
#[test]
fn without_control_groups_there_are_no_limits() {
    let _guard = measuring();
    let scenarios = scenarios(&[]);
    let out = tempfile::tempdir().unwrap();
    for (experiment, controller) in [("cpu-limit", "cpu"), ("memory-limit", "memory")] {
        let (code, _, stderr) = run(flora_bench()
            .args(["scenario", "baseline", "--experiment", experiment])
            .args(["--cgroups", "off", "--rate", "100", "--scenarios"])
            .arg(scenarios.path())
            .arg("--out")
            .arg(out.path()));
        assert_eq!(code, 3, "{stderr}");
        assert!(
            stderr.contains(&format!("the {controller} controller")),
            "{stderr}"
        );
    }
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    assert_eq!(leftovers(), Vec::<String>::new());
}

/// What a search will do is told without doing it.
#[test]
fn a_dry_run_tells_the_steps() {
    let (code, stdout, stderr) = run(flora_bench()
        .args(["scenario", "baseline", "--experiment", "saturation"])
        .args(["--rate", "500", "--dry-run"]));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("steps each (saturation)"), "{stdout}");
}
