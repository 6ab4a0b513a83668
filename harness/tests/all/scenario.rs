//! A real, short measurement from end to end.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::support::{
    RECORDS, flora_bench, leftovers, measuring, report, repository, run, run_until_all_count,
    run_until_valid, scenarios,
};

/// The target app, built once.
pub fn target_app() -> PathBuf {
    static APP: OnceLock<PathBuf> = OnceLock::new();
    APP.get_or_init(|| {
        let target = PathBuf::from(env!("CARGO_BIN_EXE_flora-bench"));
        let target = target.ancestors().nth(2).unwrap().to_owned();
        let status = std::process::Command::new(env!("CARGO"))
            .args(["build", "--release", "--locked", "--bin", "target-app"])
            .arg("--target-dir")
            .arg(&target)
            .current_dir(repository())
            .status()
            .unwrap();
        assert!(status.success());
        target.join("release/target-app")
    })
    .clone()
}

fn statistic<'a>(
    report: &'a serde_json::Value,
    scenario: usize,
    metric: &str,
    subject: &str,
) -> &'a serde_json::Value {
    report["scenarios"][scenario]["statistics"]
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["metric"] == metric && s["subject"] == subject)
        .unwrap_or_else(|| panic!("no {metric} of the {subject}"))
}

fn short(out: &std::path::Path, more: &[&str]) -> (i32, String, String) {
    run_until_valid(
        flora_bench()
            .args(["scenario", "baseline", "--rate", "300", "--blocks", "3"])
            .args(["--warmup", "300ms", "--measure", "1500ms", "--out"])
            .arg(out)
            .args(more),
    )
}

#[test]
fn baseline() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = short(out.path(), &["--seed", "7"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("baseline"), "{stdout}");
    assert_eq!(leftovers(), Vec::<String>::new());

    let run_directory = out.path().join("latest");
    for file in RECORDS {
        let length = std::fs::metadata(run_directory.join(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"))
            .len();
        assert!(length > 0, "{file} is empty");
    }

    let report = report(out.path());
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["seed"], 7);
    assert_eq!(report["request_rate"], 300.0);
    assert_eq!(report["scenarios"][0]["status"], "ok");
    let cost = statistic(&report, 0, "cpu_seconds_per_request", "target");
    let (estimate, low, high) = (
        cost["estimate"].as_f64().unwrap(),
        cost["low"].as_f64().unwrap(),
        cost["high"].as_f64().unwrap(),
    );
    // A request makes JSON, sorts and hashes: more than a microsecond, less than ten milliseconds.
    assert!((1e-6..1e-2).contains(&estimate), "{estimate}");
    assert!(low <= estimate && estimate <= high);
    for (metric, subject) in [
        ("cpu_seconds_per_request", "load"),
        ("cpu_seconds_per_request", "harness"),
        ("cpu_seconds_per_request", "node"),
        ("cpu_seconds_per_request", "total"),
        ("memory_working_set_bytes", "target"),
        ("memory_peak_bytes", "target"),
        ("requests_per_second", "target"),
        ("startup_seconds", "target"),
    ] {
        let value = statistic(&report, 0, metric, subject)["estimate"]
            .as_f64()
            .unwrap();
        assert!(value > 0.0, "{metric} of the {subject} is {value}");
    }
    let errors = statistic(&report, 0, "error_ratio", "target");
    assert_eq!(errors["estimate"], 0.0);

    let (code, stdout, stderr) = run(flora_bench()
        .args(["verify", "latest", "--out"])
        .arg(out.path()));
    assert_eq!(code, 0, "{stdout}{stderr}");
}

#[test]
fn more_work_costs_more() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let light = "question: q\ntarget: {work: 0}\n";
    let heavy = "question: q\ntarget: {work: 20}\n";
    let scenarios = scenarios(&[("baseline", light), ("heavy", heavy)]);
    let (code, _, stderr) = run_until_all_count(
        flora_bench()
            .args(["scenario", "heavy", "--rate", "300", "--blocks", "2"])
            .args(["--warmup", "300ms", "--measure", "1500ms", "--out"])
            .arg(out.path())
            .arg("--scenarios")
            .arg(scenarios.path()),
        out.path(),
    );
    assert_eq!(code, 0, "{stderr}");
    let report = report(out.path());
    let cost = |scenario| {
        statistic(&report, scenario, "cpu_seconds_per_request", "target")["estimate"]
            .as_f64()
            .unwrap()
    };
    assert_eq!(report["scenarios"][1]["name"], "baseline-twin");
    assert_eq!(report["scenarios"][2]["name"], "heavy");
    assert!(cost(2) > 2.0 * cost(0), "{} and {}", cost(0), cost(2));
    // Two blocks are enough for a difference of that size to have an interval.
    let comparison = &report["comparisons"][0];
    assert_eq!(comparison["scenario"], "heavy");
    assert_eq!(comparison["metric"], "cpu_seconds_per_request");
    assert!(
        comparison["overhead_ratio"].as_f64().unwrap() > 1.0,
        "{comparison}"
    );
    assert!(comparison["low"].as_f64().unwrap() < comparison["overhead_ratio"].as_f64().unwrap());
    assert_eq!(comparison["block_ratios"].as_array().unwrap().len(), 2);
}

#[test]
fn an_agent_has_a_row_of_its_own() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    // An agent that burns CPU as fast as it may: its cost must show as the agent's.
    let spin = "question: q\nagent:\n  version: '1'\n  processes:\n    - name: spinner\n      command: [sh, -c, 'while :; do :; done']\n";
    let scenarios = scenarios(&[("spinner", spin)]);
    let (_, _, stderr) = run_until_valid(
        flora_bench()
            .args(["scenario", "spinner", "--rate", "100", "--blocks", "1"])
            .args(["--warmup", "300ms", "--measure", "1s", "--out"])
            .arg(out.path())
            .arg("--scenarios")
            .arg(scenarios.path()),
    );
    assert_eq!(leftovers(), Vec::<String>::new());
    let report = report(out.path());
    let ledger = &report["trials"]
        .as_array()
        .unwrap()
        .iter()
        .find(|trial| trial["arm"] == "spinner")
        .unwrap()["ledger"];
    let row = |subject: &str| {
        ledger["rows"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["subject"] == subject)
            .map(|row| row["cpu_seconds"].as_f64().unwrap())
    };
    assert!(row("agent").unwrap() > 0.2, "{ledger}\n{stderr}");
}

#[test]
fn gzip_costs_the_target_more() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let scenarios = scenarios(&[("gzip", "question: q\nload: {gzip: true}\n")]);
    let (code, _, stderr) = run_until_valid(
        flora_bench()
            .args(["scenario", "gzip", "--rate", "300", "--blocks", "2"])
            .args(["--warmup", "300ms", "--measure", "1500ms", "--out"])
            .arg(out.path())
            .arg("--scenarios")
            .arg(scenarios.path()),
    );
    assert_eq!(code, 0, "{stderr}");
    let report = report(out.path());
    let cost = |scenario| {
        statistic(&report, scenario, "cpu_seconds_per_request", "target")["estimate"]
            .as_f64()
            .unwrap()
    };
    assert!(cost(2) > cost(0), "{} and {}", cost(0), cost(2));
}

/// A run with these control groups; its sources of CPU and memory figures.
fn sources(groups: &str) -> (String, String) {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let (code, _, stderr) = run_until_valid(
        flora_bench()
            .args(["scenario", "baseline", "--rate", "300", "--blocks", "2"])
            .args(["--warmup", "300ms", "--measure", "1500ms"])
            .args(["--cgroups", groups, "--out"])
            .arg(out.path()),
    );
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(leftovers(), Vec::<String>::new());
    let report = report(out.path());
    let cost = statistic(&report, 0, "cpu_seconds_per_request", "target");
    assert!((1e-6..1e-2).contains(&cost["estimate"].as_f64().unwrap()));
    let memory = statistic(&report, 0, "memory_working_set_bytes", "target");
    assert!(memory["estimate"].as_f64().unwrap() > 100_000.0);
    let accounting = &report["fingerprint"]["accounting"];
    if accounting["cpu"] == "processes" {
        let notes = report["notes"].to_string();
        assert!(notes.contains("per process"), "{notes}");
    }
    let text = |key: &str| accounting[key].as_str().unwrap().to_owned();
    (text("cpu"), text("memory"))
}

#[test]
fn without_control_groups() {
    assert_eq!(sources("off"), ("processes".into(), "processes".into()));
}

#[test]
fn with_control_groups_of_either_version() {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    for (version, kind) in [("v1", " - cgroup "), ("v2", " - cgroup2 ")] {
        let root = nix::unistd::geteuid().is_root();
        if !root || !mounts.contains(kind) {
            eprintln!("SKIPPED: control groups {version}: not mounted here, or no root");
            continue;
        }
        let (cpu, memory) = sources(version);
        assert_eq!(cpu, format!("cgroup {version}"));
        // Version 2 has no memory figures where its controller is version 1's.
        assert!(
            memory == cpu || (version == "v2" && memory == "processes"),
            "{memory}"
        );
    }
}

#[test]
fn without_root() {
    if !nix::unistd::geteuid().is_root() {
        // Then every other test here is this one.
        return;
    }
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let work = tempfile::tempdir().unwrap();
    // A place that an ordinary user can reach: copies of both programs, side by side.
    let copy = |from: PathBuf| {
        let to = work.path().join(from.file_name().unwrap());
        std::fs::copy(from, &to).unwrap();
        to
    };
    let program = copy(PathBuf::from(env!("CARGO_BIN_EXE_flora-bench")));
    copy(target_app());
    for directory in [out.path(), work.path()] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let scenarios = scenarios(&[]);
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(scenarios.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = std::process::Command::new(&program);
    {
        use std::os::unix::process::CommandExt;
        // nobody, everywhere.
        command.uid(65534).gid(65534);
    }
    let (code, _, stderr) = run_until_valid(
        command
            .current_dir("/")
            .env("TMPDIR", work.path())
            .args(["scenario", "baseline", "--rate", "300", "--blocks", "2"])
            .args(["--warmup", "300ms", "--measure", "1500ms", "--scenarios"])
            .arg(scenarios.path())
            .arg("--out")
            .arg(out.path()),
    );
    assert_eq!(code, 0, "{stderr}");
    let report = report(out.path());
    assert_eq!(report["fingerprint"]["accounting"]["cpu"], "processes");
    assert_eq!(report["fingerprint"]["accounting"]["memory"], "processes");
}

/// What runs on this machine is behind no proxy, whatever the environment says of others.
#[test]
fn a_proxy_is_not_asked_for_what_is_here() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let scenarios = scenarios(&[]);
    let mut command = flora_bench();
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, "http://127.0.0.1:1");
    }
    let (code, _, stderr) = run(command
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .args(["scenario", "baseline", "--rate", "100", "--blocks", "1"])
        .args(["--warmup", "200ms", "--measure", "300ms", "--scenarios"])
        .arg(scenarios.path())
        .arg("--out")
        .arg(out.path()));
    assert!(matches!(code, 0 | 4), "{stderr}");
    for trial in report(out.path())["trials"].as_array().unwrap() {
        assert_ne!(trial["status"], "failed", "{trial}");
    }
}

/// Arms beside one another take the time of one, and nodes are prepared before all of them.
#[test]
fn the_time_of_a_cluster_is_what_it_takes_there() {
    let blocks = |time: &str, parallel: &str| {
        let (code, stdout, stderr) = run(flora_bench()
            .args(["scenario", "synthetic-cpu", "--backend", "kubernetes"])
            .args(["--rate", "100", "--dry-run", "--time", time])
            .args(["--parallel", parallel]));
        let first = stdout.lines().next().unwrap_or_default().to_owned();
        (code, first, stderr)
    };
    // 100 s around blocks of three arms of 45 s.
    for (time, parallel, expected) in [
        ("600s", "1", "9 trials in 3 blocks"),
        ("600s", "3", "33 trials in 11 blocks"),
    ] {
        let (code, first, stderr) = blocks(time, parallel);
        assert_eq!(code, 0, "{stderr}");
        assert!(first.contains(expected), "{first}");
    }
    let (code, _, stderr) = blocks("2m", "1");
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("about 235 s"), "{stderr}");
}

#[test]
fn the_same_seed_gives_the_same_plan() {
    let scenarios = scenarios(&[("a", "question: q\n"), ("b", "question: q\n")]);
    let plan = || {
        run(flora_bench()
            .args([
                "scenario",
                "all",
                "--dry-run",
                "--seed",
                "3",
                "--rate",
                "100",
            ])
            .arg("--scenarios")
            .arg(scenarios.path()))
    };
    let (code, first, stderr) = plan();
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(first, plan().1);
    assert_eq!(
        first
            .lines()
            .filter(|line| line.starts_with("trial "))
            .count(),
        24
    );
}

#[test]
fn all_makes_a_run_for_each_baseline() {
    let scenarios = scenarios(&[
        ("a", "question: q\n"),
        ("base-go", "question: q\nbaseline: base-go\n"),
        ("b", "question: q\nbaseline: base-go\n"),
        ("c", "question: q\nbaseline: base-go\n"),
    ]);
    let plan = |name: &str| {
        run(flora_bench()
            .args([
                "scenario",
                name,
                "--dry-run",
                "--blocks",
                "1",
                "--rate",
                "100",
            ])
            .arg("--scenarios")
            .arg(scenarios.path()))
    };
    let (code, out, stderr) = plan("all");
    assert_eq!(code, 0, "{stderr}");
    let runs: Vec<Vec<&str>> = out
        .split(" blocks at ")
        .skip(1)
        .map(|run| {
            let trials = run.lines().filter(|line| line.starts_with("trial "));
            let mut arms: Vec<&str> = trials
                .filter_map(|line| line.split_whitespace().last())
                .collect();
            arms.sort_unstable();
            arms
        })
        .collect();
    assert_eq!(
        runs,
        [
            vec!["a", "baseline", "baseline-twin"],
            vec!["b", "baseline", "baseline-twin", "c"]
        ],
        "{out}"
    );
}

#[test]
fn one_block_has_no_interval_and_says_so() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = run_until_valid(
        flora_bench()
            .args([
                "scenario",
                "synthetic-cpu",
                "--rate",
                "300",
                "--blocks",
                "1",
            ])
            .args(["--work", "2", "--objects", "5"])
            .args(["--warmup", "300ms", "--measure", "1s", "--out"])
            .arg(out.path()),
    );
    assert_eq!(code, 0, "{stderr}");
    let plan = std::fs::read_to_string(out.path().join("latest/plan.json")).unwrap();
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    for arm in plan["arms"].as_array().unwrap() {
        assert_eq!(
            (&arm["target"]["work"], &arm["target"]["objects"]),
            (&2.into(), &5.into())
        );
    }
    let report = report(out.path());
    for comparison in report["comparisons"].as_array().unwrap() {
        assert_eq!(comparison["verdict"], "inconclusive");
        assert!(comparison["low"].is_null() && comparison["p_value"].is_null());
        let reason = comparison["reason"].as_str().unwrap();
        assert!(reason.contains("one block gives no interval"), "{reason}");
    }
    assert!(stdout.contains("inconclusive"), "{stdout}");
}

#[test]
fn the_time_picks_the_blocks_and_says_what_they_can_see() {
    let plan = |options: &[&str]| {
        run(flora_bench()
            .args(["scenario", "synthetic-cpu", "--dry-run", "--rate", "100"])
            .args(options))
    };
    let blocks = |text: &str| -> u32 {
        let words: Vec<&str> = text.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "blocks").unwrap();
        words[at - 1].parse().unwrap()
    };
    let (code, short, stderr) = plan(&["--time", "1m"]);
    assert_eq!(code, 0, "{stderr}");
    let (_, long, _) = plan(&["--time", "10m"]);
    assert!(
        blocks(&short) >= 2 && blocks(&long) > 8 * blocks(&short),
        "{short}{long}"
    );
    assert!(short.contains("a difference of about"), "{short}");
    let (code, _, stderr) = plan(&["--time", "6s"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("too short for one block"), "{stderr}");
    let (code, _, stderr) = plan(&["--time", "1m", "--blocks", "3"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("--blocks"), "{stderr}");
}

#[test]
fn an_agent_that_reaches_far_has_the_machine_to_itself() {
    let agent = |scope: &str| {
        format!(
            "question: q\nagent: {{version: '1', {scope} processes: [{{name: a, command: [sleep, '60']}}]}}\n"
        )
    };
    let scenarios = scenarios(&[("far", &agent("")), ("near", &agent("scope: target,"))]);
    let plan = |name: &str, more: &[&str]| {
        run(flora_bench()
            .args([
                "scenario",
                name,
                "--dry-run",
                "--rate",
                "100",
                "--scenarios",
            ])
            .arg(scenarios.path())
            .args(more))
    };
    assert!(plan("near", &[]).1.contains("taking turns"));
    assert!(!plan("far", &[]).1.contains("taking turns"));
    let (code, _, stderr) = plan("far", &["--slices", "8"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("the agent of far"), "{stderr}");
}
