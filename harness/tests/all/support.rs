//! What several modules use.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use flora_bench::owner::Owner;

/// One measurement at a time; the program itself refuses a second one.
pub fn measuring() -> MutexGuard<'static, ()> {
    static MEASURING: Mutex<()> = Mutex::new(());
    MEASURING
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The program under test, called from the repository's root.
pub fn flora_bench() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flora-bench"));
    command.current_dir(repository());
    command
}

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A scenario directory with the given files and a baseline.
pub fn scenarios(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let baseline = ("baseline", "question: What does one request cost?\n");
    for (name, text) in std::iter::once(&baseline).chain(files) {
        std::fs::write(directory.path().join(format!("{name}.yaml")), text).unwrap();
    }
    directory
}

/// A program that a test makes: a shell script.
pub fn script(directory: &Path, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Runs to the end and gives exit code, standard output and standard error.
pub fn run(command: &mut Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    (
        status.code().unwrap_or(-1),
        String::from_utf8_lossy(&stdout).into_owned(),
        String::from_utf8_lossy(&stderr).into_owned(),
    )
}

/// As [`run`], for measurements that must be valid: up to three times while
/// the program itself says that this one is not (exit code 4). Whoever shares
/// the machine can spoil a run, and saying so is what that code is for; what
/// the program gets wrong, it gets wrong three times.
pub fn run_until_valid(command: &mut Command) -> (i32, String, String) {
    run_again_while(command, |code| code == 4)
}

/// As [`run_until_valid`], for tests that look at each trial: of a run that is valid some may not count.
pub fn run_until_all_count(command: &mut Command, out: &Path) -> (i32, String, String) {
    let all_count = || {
        let report = report(out);
        let mut trials = report["trials"].as_array().unwrap().iter();
        trials.all(|trial| trial["status"] == "valid")
    };
    run_again_while(command, |code| code == 4 || (code == 0 && !all_count()))
}

/// Runs up to three times, while what came of it is spoilt by its exit code.
fn run_again_while(
    command: &mut Command,
    is_spoilt: impl Fn(i32) -> bool,
) -> (i32, String, String) {
    let mut outcome = run(command);
    for _ in 0..2 {
        if !is_spoilt(outcome.0) {
            break;
        }
        eprintln!("measured again, because: {}", outcome.2);
        outcome = run(command);
    }
    outcome
}

/// The files that every run leaves, charts and pages aside.
pub const RECORDS: [&str; 5] = [
    "plan.json",
    "fingerprint.json",
    "trials.jsonl",
    "samples.jsonl",
    "report.json",
];

/// The report of the newest run.
pub fn report(out: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(out.join("latest/report.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What a report says of a scenario.
pub fn entry<'a>(report: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    let scenarios = report["scenarios"].as_array().unwrap();
    scenarios.iter().find(|s| s["name"] == name).unwrap()
}

/// Every figure of the newest run agrees with its samples.
pub fn verified(out: &Path) {
    let (code, _, stderr) = run(flora_bench().args(["verify", "latest", "--out"]).arg(out));
    assert_eq!(code, 0, "{stderr}");
}

/// Says that a test did not run, past the test harness, which keeps to itself what tests print.
fn say_skipped(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
}

/// Says loudly that a test did not run; where everything is required, fails.
pub fn skip(test: &str, why: &str) {
    say_skipped(test, why);
    assert!(
        std::env::var_os("FLORA_BENCH_REQUIRE_ALL").is_none(),
        "{test} must not be skipped here: {why}"
    );
}

/// The kubeconfig of the cluster that a test may use (`FLORA_BENCH_TEST_KUBECONFIG`); none after
/// saying loudly that the test does not run. No package brings a cluster, so that only where one is
/// promised (`FLORA_BENCH_REQUIRE_CLUSTER`) a test without one fails. These tests take half an hour:
/// who has less time says until when they may begin (`FLORA_BENCH_TEST_UNTIL`, seconds since the epoch).
pub fn kubeconfig(test: &str) -> Option<PathBuf> {
    let Some(path) = std::env::var_os("FLORA_BENCH_TEST_KUBECONFIG") else {
        let why = "FLORA_BENCH_TEST_KUBECONFIG names no cluster that may be used";
        say_skipped(test, why);
        assert!(
            std::env::var_os("FLORA_BENCH_REQUIRE_CLUSTER").is_none(),
            "{test} must not be skipped here: {why}"
        );
        return None;
    };
    let until = std::env::var("FLORA_BENCH_TEST_UNTIL").ok();
    let until = until.map(|text| text.parse::<u64>().expect("seconds since the epoch"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    if until.is_some_and(|until| now.as_secs() >= until) {
        say_skipped(
            test,
            "there was no time left for it (FLORA_BENCH_TEST_UNTIL)",
        );
        return None;
    }
    Some(path.into())
}

/// The images that a test's cluster has, `NAME=REFERENCE` each (`FLORA_BENCH_TEST_IMAGES`).
pub fn cluster_images() -> Vec<String> {
    let images = std::env::var("FLORA_BENCH_TEST_IMAGES").unwrap_or_default();
    let images = images.split(',').filter(|pair| !pair.is_empty());
    images.map(str::to_owned).collect()
}

/// Everything of dead runs on this machine: processes, control groups, work directories. A run that
/// lives is somebody else's.
pub fn leftovers() -> Vec<String> {
    let is_dead = |owner: &str| !Owner::parse(owner).is_some_and(|owner| owner.is_alive());
    let is_left = |name: &str| name.strip_prefix("flora-bench-").is_some_and(is_dead);
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        let mut variables = environment.split('\0');
        let owner = variables.find_map(|variable| variable.strip_prefix("FLORA_BENCH_OWNER="));
        if owner.is_some_and(is_dead) {
            found.push(format!("process {}", entry.file_name().to_string_lossy()));
        }
    }
    let mut stack = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = stack.pop() {
        for entry in std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                if is_left(&name) {
                    found.push(entry.path().display().to_string());
                } else {
                    stack.push(entry.path());
                }
            }
        }
    }
    for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_left(&name) {
            found.push(entry.path().display().to_string());
        }
    }
    found
}
