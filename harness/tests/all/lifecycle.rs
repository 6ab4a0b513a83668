//! However a run ends, nothing of it is left.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{flora_bench, leftovers, measuring, run, scenarios};

/// A run that would go on for a minute.
fn long_run(out: &Path) -> (Child, tempfile::TempDir) {
    let scenarios = scenarios(&[]);
    let child = flora_bench()
        .args(["scenario", "baseline", "--rate", "200", "--blocks", "3"])
        .args(["--warmup", "300ms", "--measure", "20s", "--scenarios"])
        .arg(scenarios.path())
        .arg("--out")
        .arg(out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (child, scenarios)
}

/// Waits until the run has written its first readings of a trial.
pub fn wait_until_measuring(out: &Path, child: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(120);
    let samples = out.join("latest/samples.jsonl");
    while !std::fs::read_to_string(&samples).is_ok_and(|text| text.contains("\"measure\"")) {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        assert!(Instant::now() < deadline, "it never began to measure");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

#[test]
fn an_interrupt_cleans_up_and_keeps_the_records() {
    let _guard = measuring();
    for name in [Signal::SIGINT, Signal::SIGTERM] {
        let out = tempfile::tempdir().unwrap();
        let (mut child, _scenarios) = long_run(out.path());
        wait_until_measuring(out.path(), &mut child);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        assert_eq!(leftovers(), Vec::<String>::new());
        let (code, _, stderr) = run(flora_bench()
            .args(["verify", "latest", "--out"])
            .arg(out.path()));
        assert_eq!(code, 0, "{stderr}");
        let trials = std::fs::read_to_string(out.path().join("latest/trials.jsonl")).unwrap();
        assert!(trials.contains("interrupted"), "{trials}");
    }
}

#[test]
fn a_killed_harness_takes_its_children_along_and_clean_removes_the_rest() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let (mut child, _scenarios) = long_run(out.path());
    wait_until_measuring(out.path(), &mut child);
    signal(&child, Signal::SIGKILL);
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let processes = || {
        leftovers()
            .into_iter()
            .filter(|thing| thing.starts_with("process"))
            .collect::<Vec<_>>()
    };
    while !processes().is_empty() {
        assert!(Instant::now() < deadline, "{:?}", processes());
        std::thread::sleep(Duration::from_millis(50));
    }
    let (code, stdout, stderr) = run(flora_bench().arg("clean"));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("removed work directory"), "{stdout}");
    assert_eq!(leftovers(), Vec::<String>::new());
    let (code, stdout, _) = run(flora_bench().arg("clean"));
    assert_eq!((code, stdout.as_str()), (0, "nothing was left behind\n"));
}

#[test]
fn the_next_start_removes_what_a_killed_run_left() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let (mut child, scenarios) = long_run(out.path());
    wait_until_measuring(out.path(), &mut child);
    signal(&child, Signal::SIGKILL);
    child.wait().unwrap();
    let (code, _, stderr) = run(flora_bench()
        .args(["scenario", "baseline", "--rate", "100", "--blocks", "1"])
        .args(["--warmup", "100ms", "--measure", "300ms", "--scenarios"])
        .arg(scenarios.path())
        .arg("--out")
        .arg(out.path()));
    assert!(matches!(code, 0 | 4), "{stderr}");
    assert!(
        stderr.contains("removed what an earlier run left"),
        "{stderr}"
    );
    assert_eq!(leftovers(), Vec::<String>::new());
}

#[test]
fn clean_does_not_touch_a_run_that_lives_and_a_second_run_is_refused() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let (mut child, scenarios) = long_run(out.path());
    wait_until_measuring(out.path(), &mut child);
    let (code, stdout, _) = run(flora_bench().arg("clean"));
    assert_eq!((code, stdout.as_str()), (0, "nothing was left behind\n"));
    let (code, _, stderr) = run(flora_bench()
        .args(["scenario", "baseline", "--rate", "100", "--scenarios"])
        .arg(scenarios.path())
        .arg("--out")
        .arg(out.path()));
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("another flora-bench measures"), "{stderr}");
    assert!(child.try_wait().unwrap().is_none(), "it was disturbed");
    signal(&child, Signal::SIGINT);
    child.wait().unwrap();
    assert_eq!(leftovers(), Vec::<String>::new());
}

#[test]
fn a_target_that_dies_under_load_fails_its_trial_only() {
    let _guard = measuring();
    let directory = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let app = crate::scenario::target_app();
    // The third start (after the preflight of baseline and twin) dies after a while.
    let program = crate::support::script(
        directory.path(),
        "fragile",
        &format!(
            "[ \"$1\" = --version ] && echo fragile 1 && exit\n\
             echo x >> {count}\n\
             [ $(wc -l < {count}) = 3 ] && (sleep 1; kill -9 $$) &\n\
             exec {app} \"$@\"",
            count = directory.path().join("starts").display(),
            app = app.display()
        ),
    );
    let scenarios = scenarios(&[(
        "baseline",
        &format!(
            "question: q\ntarget: {{program: {}}}\ntrials: {{warmup: 200ms, measure: 2s, blocks: 3}}\n",
            program.display()
        ),
    )]);
    let (_, _, stderr) = run(flora_bench()
        .args(["scenario", "baseline", "--rate", "100", "--scenarios"])
        .arg(scenarios.path())
        .arg("--out")
        .arg(out.path()));
    let trials = std::fs::read_to_string(out.path().join("latest/trials.jsonl")).unwrap();
    let statuses: Vec<bool> = trials
        .lines()
        .map(|line| line.contains("\"status\":\"failed\""))
        .collect();
    // The other trial of its block goes on beside it.
    assert_eq!(
        statuses,
        [true, false, false, false, false, false],
        "{stderr}"
    );
    assert!(trials.contains("signal: 9"), "{trials}");
    assert_eq!(leftovers(), Vec::<String>::new());
}
