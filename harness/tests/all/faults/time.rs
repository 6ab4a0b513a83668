//! Time that does not go on as it should: a harness that is stopped, a clock that is set, an intake
//! that does not answer.

use std::fs;
use std::process::Command;
use std::time::Duration;

use flora_bench::sample::Phase;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::running::Running;
use super::short;
use crate::intake::runs::sending_flora;
use crate::lifecycle::wait_until_measuring;
use crate::support::{flora_bench, leftovers, measuring, report, scenarios, skip, verified};

/// A harness that is stopped for a while in the middle of a window says so, or measured on.
#[test]
fn a_harness_that_is_suspended_ends_as_it_should() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let mut child = short(out.path(), "4s").spawn().unwrap();
    wait_until_measuring(out.path(), &mut child);
    let pid = Pid::from_raw(child.id() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_secs(6));
    kill(pid, Signal::SIGCONT).unwrap();
    let code = child.wait().unwrap().code();
    assert!(matches!(code, Some(0 | 4)), "{code:?}");
    let trials = fs::read_to_string(out.path().join("latest/trials.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(trials.lines().next().unwrap()).unwrap();
    // The window's closing edge was read six seconds late: that trial does not count.
    assert_ne!(first["status"], "valid", "{first}");
    assert_eq!(leftovers(), Vec::<String>::new());
}

/// Moves what a program takes for the time of day, as somebody does who sets the clock, by as many
/// seconds as a file says; the clock that only goes on is left alone, as the kernel leaves it.
const SET_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *at) {
    int result = syscall(SYS_clock_gettime, clock, at);
    if (clock == CLOCK_REALTIME) {
        char text[16] = {0};
        int file = open(getenv("TEST_CLOCK_SECONDS"), O_RDONLY | O_CLOEXEC);
        if (file >= 0 && read(file, text, sizeof text - 1) > 0)
            at->tv_sec += atol(text);
        close(file);
    }
    return result;
}
"#;

/// The time of day is set back and forth by an hour in the middle of windows: no duration shows it.
#[test]
fn a_clock_that_is_set_changes_no_duration() {
    let test = "a_clock_that_is_set_changes_no_duration";
    if flora_bench::program::on_path("cc").is_none() {
        return skip(test, "no C compiler to make a library that sets the clock");
    }
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("clock.c");
    let library = directory.path().join("clock.so");
    let seconds = directory.path().join("seconds");
    fs::write(&source, SET_CLOCK).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(built.unwrap().success());
    // Of the environment beside a run a target gets nothing that its scenario doesn't say.
    let scenarios = scenarios(&[(
        "baseline",
        &format!(
            "question: q\ntarget:\n  env: {{LD_PRELOAD: '{}', TEST_CLOCK_SECONDS: '{}'}}\n",
            library.display(),
            seconds.display()
        ),
    )]);
    let _guard = measuring();
    for step in ["-3600", "3600"] {
        let _ = fs::remove_file(&seconds);
        let out = tempfile::tempdir().unwrap();
        let mut child = short(out.path(), "4s")
            .arg("--scenarios")
            .arg(scenarios.path())
            .env("LD_PRELOAD", &library)
            .env("TEST_CLOCK_SECONDS", &seconds)
            .spawn()
            .unwrap();
        wait_until_measuring(out.path(), &mut child);
        fs::write(&seconds, step).unwrap();
        let code = child.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 4)), "{code:?}");
        let report = report(out.path());
        let trials = report["trials"].as_array().unwrap();
        let window = trials[0]["window_unix"].as_array().unwrap();
        let moved = window[1].as_f64().unwrap() - window[0].as_f64().unwrap();
        assert!(moved.abs() > 3000.0, "the clock was not set: {moved}");
        for trial in trials {
            assert_ne!(trial["status"], "failed", "{trial}");
            for phase in trial["phases"].as_array().unwrap() {
                let [start, end] = ["start", "end"].map(|edge| phase[edge].as_f64().unwrap());
                assert!(start <= end && end < 120.0, "{phase}");
            }
        }
        let statistics = report["scenarios"][0]["statistics"].as_array().unwrap();
        for metric in ["request_duration_seconds", "startup_seconds"] {
            let mut own = statistics.iter().filter(|s| s["metric"] == metric);
            let sound =
                |s: &serde_json::Value| (0.0..60.0).contains(&s["estimate"].as_f64().unwrap());
            assert!(own.all(sound), "{statistics:?}");
        }
        assert_eq!(leftovers(), Vec::<String>::new());
        verified(out.path());
    }
}

/// An intake that takes connections and answers none, as one that hangs does. Flora sends to it all
/// the same, the target answers every request, and the trial ends with a word about the intake.
#[test]
fn an_intake_that_hangs_fails_its_trial_only() {
    let test = "an_intake_that_hangs_fails_its_trial_only";
    let _guard = measuring();
    let Some(scenarios) = sending_flora(test, "1s") else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let mut command = flora_bench();
    command
        .args(["scenario", "spans", "--rate", "200", "--blocks", "1"])
        .args(["--warmup", "200ms", "--measure", "2s", "--slices", "2"])
        .args(["--victoria-metrics", "off", "--scenarios"])
        .arg(scenarios.path())
        .arg("--out")
        .arg(out.path());
    let mut running = Running::start(&mut command, out.path());
    let plan = running.plan();
    let place = plan
        .iter()
        .position(|trial| trial["arm"] == "spans")
        .unwrap();
    let pid = running.until("the intake in a window", |running| {
        let measuring = running.reached(place as u64 + 1, Phase::Measure);
        measuring.then(|| running.process(flora_bench::intake::SUBCOMMAND, ""))?
    });
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    let (code, stderr) = running.end();
    assert_eq!(code, 4, "{stderr}");
    let report = report(out.path());
    let trials = report["trials"].as_array().unwrap();
    for (n, trial) in trials.iter().enumerate() {
        if n != place {
            assert_ne!(trial["status"], "failed", "{trial}");
            continue;
        }
        let error = trial["error"].as_str().unwrap();
        assert!(
            error.starts_with("the agent's count of requests: cannot read http://127.0.0.1:"),
            "{error}"
        );
    }
    assert!(stderr.contains("the intake `"), "{stderr}");
    assert_eq!(leftovers(), Vec::<String>::new());
    verified(out.path());
}
