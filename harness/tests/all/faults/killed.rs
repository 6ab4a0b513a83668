//! `kill -9` of everybody in every phase: who was killed is told with the phase, the trials beside and
//! after go on, and nothing is left.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use flora_bench::sample::Phase;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::running::{ENDING, Running};
use super::watched;
use crate::support::{flora_bench, leftovers, measuring, report, run, skip, verified};

/// An agent that draws out what else is over in a moment: it takes its time to start and to end, and
/// never counts what it should, so that its count is waited for.
const SLOW_AGENT: &str = r#"
import http.server, os, signal, sys, time
def end(*_):
    open(sys.argv[2], "w").close()
    time.sleep(1)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
time.sleep(1)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"seen_total 1\n")
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

const PHASES: [Phase; 5] = [
    Phase::Setup,
    Phase::Warmup,
    Phase::Measure,
    Phase::Cooldown,
    Phase::Teardown,
];

/// Whose process.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    Target,
    Agent,
    Load,
}

/// Three arms that take turns, one of them with the slow agent. Their files are in `out`, too.
fn in_turns(blocks: u32, out: &Path) -> Command {
    let text = format!(
        "question: q\nagent:\n  version: '1'\n  scope: target\n  processes:\n    - name: slow\n      command: [python3, {0}/agent.py, '{{agent_port}}', {0}/{ENDING}]\n  telemetry: {{prometheus: {{url: 'http://127.0.0.1:{{agent_port}}/metrics', metric: seen_total, settle: 1s}}}}\n",
        out.display(),
    );
    fs::write(out.join("agent.py"), SLOW_AGENT).unwrap();
    fs::write(out.join("slow.yaml"), text).unwrap();
    fs::write(out.join("baseline.yaml"), "question: q\n").unwrap();
    let mut command = flora_bench();
    command
        .args(["scenario", "slow", "--rate", "100"])
        .args(["--blocks", &blocks.to_string(), "--slices", "2"])
        .args(["--warmup", "200ms", "--measure", "400ms"])
        .args(["--victoria-metrics", "off", "--scenarios"])
        .arg(out)
        .arg("--out")
        .arg(out);
    command
}

/// Whether Python is here, which the slow agent is written in; says so if it isn't.
fn has_python(test: &str) -> bool {
    let there = flora_bench::program::on_path("python3").is_some();
    if !there {
        skip(test, "no python3");
    }
    there
}

/// Who of which arm is killed in which block, when, and whether its trial fails by it.
const KILLS: [(u32, Phase, &str, Role, bool); 13] = [
    (1, Phase::Setup, "slow", Role::Agent, true),
    (2, Phase::Setup, "slow", Role::Target, true),
    (3, Phase::Warmup, "baseline", Role::Target, true),
    (3, Phase::Warmup, "baseline-twin", Role::Load, true),
    (3, Phase::Warmup, "slow", Role::Agent, true),
    (4, Phase::Measure, "baseline", Role::Target, true),
    (4, Phase::Measure, "baseline-twin", Role::Load, true),
    (4, Phase::Measure, "slow", Role::Agent, true),
    // It has said all that it had to say.
    (5, Phase::Cooldown, "slow", Role::Load, false),
    (5, Phase::Cooldown, "slow", Role::Agent, true),
    (6, Phase::Cooldown, "slow", Role::Target, true),
    // Nothing is asked of them any more.
    (7, Phase::Teardown, "slow", Role::Target, false),
    (7, Phase::Teardown, "slow", Role::Agent, false),
];

#[test]
fn a_trial_says_who_of_it_was_killed_and_when() {
    let test = "a_trial_says_who_of_it_was_killed_and_when";
    if !has_python(test) {
        return;
    }
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let blocks = KILLS.last().unwrap().0;
    let mut running = Running::start(&mut in_turns(blocks, out.path()), out.path());
    let plan = running.plan();
    for kills in KILLS.chunk_by(|a, b| a.0 == b.0) {
        let (block, phase, ..) = kills[0];
        let first = (block as usize - 1) * 3;
        running.until("the blocks before", |running| {
            (running.trials().len() >= first).then_some(())
        });
        // What the block before has left, or the preflight.
        let _ = fs::remove_file(out.path().join(ENDING));
        let place = |arm: &str| {
            let mut own = plan[first..first + 3].iter();
            own.position(|trial| trial["arm"] == arm).unwrap()
        };
        let slow = (first + place("slow") + 1) as u64;
        running.until(phase.as_str(), |running| {
            let mut all = (first as u64 + 1)..=(first as u64 + 3);
            let reached = match phase {
                // The load begins when the last arm is set up.
                Phase::Warmup => all.all(|trial| running.has(trial, Phase::Setup)),
                Phase::Measure => all.any(|trial| running.has(trial, Phase::Measure)),
                // It is there before it serves.
                Phase::Setup => {
                    running.reached(slow, phase) && running.process("agent.py", "").is_some()
                }
                phase => running.reached(slow, phase),
            };
            reached.then_some(())
        });
        // It waits, so that the moment does not pass, however long it takes to find them.
        running.signal(Signal::SIGSTOP);
        for (_, _, arm, role, _) in kills {
            let (word, log) = match (role, place(arm)) {
                (Role::Target, _) => (format!("/arms/{arm}/"), String::new()),
                (Role::Agent, _) => ("agent.py".to_owned(), String::new()),
                (Role::Load, 0) => ("load-driver".to_owned(), "load.log".to_owned()),
                (Role::Load, n) => ("load-driver".to_owned(), format!("load-{}.log", n + 1)),
            };
            let what = format!("the {role:?} of {arm} in block {block}");
            let pid = running.until(&what, |running| running.process(&word, &log));
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        }
        running.signal(Signal::SIGCONT);
    }
    let (code, stderr) = running.end();
    assert!(matches!(code, 0 | 4), "{stderr}");
    let trials = running.trials();
    assert_eq!(trials.len(), plan.len());
    for trial in &trials {
        let expected: Vec<_> = KILLS
            .iter()
            .filter(|(block, _, arm, ..)| trial["block"] == *block && trial["arm"] == *arm)
            .filter(|(.., fails)| *fails)
            .collect();
        let Some((_, phase, _, role, _)) = expected.first() else {
            assert_ne!(trial["status"], "failed", "{trial}");
            continue;
        };
        let role = match role {
            Role::Target => "the target `",
            Role::Agent => "the agent `",
            Role::Load => "the load driver `",
        };
        let error = trial["error"].as_str().unwrap_or_default();
        let how = format!("ended with signal: 9 (SIGKILL) during {}", phase.as_str());
        assert_eq!(trial["status"], "failed", "{trial}");
        assert!(error.starts_with(role) && error.contains(&how), "{error}");
        // Whoever watches the run has read the same.
        assert!(stderr.contains(error.lines().next().unwrap()), "{stderr}");
    }
    assert_eq!(leftovers(), Vec::<String>::new());
    verified(out.path());
}

#[test]
fn a_harness_leaves_records_and_what_clean_removes() {
    let test = "a_harness_leaves_records_and_what_clean_removes";
    if !has_python(test) {
        return;
    }
    let _guard = measuring();
    for phase in PHASES {
        let out = tempfile::tempdir().unwrap();
        let mut running = Running::start(&mut in_turns(1, out.path()), out.path());
        let plan = running.plan();
        // Left by the preflight.
        let _ = fs::remove_file(out.path().join(ENDING));
        let place = plan.iter().position(|trial| trial["arm"] == "slow");
        let trial = place.unwrap() as u64 + 1;
        running.until(phase.as_str(), |running| {
            let there = phase != Phase::Setup || running.process("agent.py", "").is_some();
            (there && running.reached(trial, phase)).then_some(())
        });
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        // Its children end with it, by the kernel's hand.
        let deadline = Instant::now() + Duration::from_secs(20);
        while leftovers().iter().any(|thing| thing.starts_with("process")) {
            assert!(Instant::now() < deadline, "{:?}", leftovers());
            std::thread::sleep(Duration::from_millis(20));
        }
        let (code, stdout, stderr) = run(flora_bench().arg("clean"));
        assert_eq!(code, 0, "{stderr}");
        assert!(stdout.contains("removed work directory"), "{stdout}");
        assert_eq!(leftovers(), Vec::<String>::new());
        let (code, _, stderr) = run(flora_bench()
            .args(["resume", "latest", "--out"])
            .arg(out.path()));
        assert!(matches!(code, 0 | 4), "{stderr}");
        let trials = running.trials();
        assert_eq!(trials.len(), 3, "{}: {trials:?}", phase.as_str());
        for trial in trials.iter().filter(|trial| trial["status"] == "failed") {
            let error = trial["error"].as_str().unwrap();
            assert!(error.contains("the run was cut short during"), "{error}");
        }
        assert_eq!(leftovers(), Vec::<String>::new());
        verified(out.path());
    }
}

#[test]
fn k6_says_when_it_was_killed() {
    let test = "k6_says_when_it_was_killed";
    if flora_bench::program::on_path("k6").is_none() {
        return skip(test, "no k6");
    }
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let mut command = flora_bench();
    command
        .args(["scenario", "baseline", "--load", "k6", "--rate", "100"])
        .args(["--warmup", "3s", "--measure", "1s", "--blocks", "2"])
        .args(["--victoria-metrics", "off", "--out"])
        .arg(out.path());
    let mut running = Running::start(&mut command, out.path());
    running.plan();
    let phases = [Phase::Setup, Phase::Warmup, Phase::Measure, Phase::Cooldown];
    for (trial, phase) in (1u64..).zip(phases) {
        running.until("the trials before", |running| {
            (running.trials().len() as u64 >= trial - 1).then_some(())
        });
        let pid = running.until(&format!("k6 in {}", phase.as_str()), |running| {
            let reached = match phase {
                // It is a process before it sends anything.
                Phase::Setup => true,
                Phase::Warmup => running.has(trial, Phase::Warmup),
                _ => running.has(trial, Phase::Measure),
            };
            reached.then(|| running.process("k6", "load.log"))?
        });
        if phase == Phase::Cooldown {
            // It would end with its window, so it is held up until that is over.
            kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
            running.until("the window's end", |running| {
                let own = format!("{{\"trial\":{trial},");
                let samples = running.read("samples.jsonl");
                let mut own = samples.lines().filter(|line| line.starts_with(&own));
                own.any(|line| line.contains("\"edge\":\"close\""))
                    .then_some(())
            });
        }
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    let (code, stderr) = running.end();
    assert_eq!(code, 4, "{stderr}");
    let trials = running.trials();
    assert_eq!(trials.len(), phases.len());
    for (trial, phase) in trials.iter().zip(phases) {
        let error = trial["error"].as_str().unwrap_or_default();
        let how = format!("ended with signal: 9 (SIGKILL) during {}", phase.as_str());
        assert!(error.starts_with("the load driver `"), "{trial}");
        assert!(error.contains("k6") && error.contains(&how), "{trial}");
    }
    assert_eq!(leftovers(), Vec::<String>::new());
    verified(out.path());
}

/// It is a second opinion: without it there is none, which is told, and the trials count all the same.
#[test]
fn a_run_goes_on_without_victoria_metrics() {
    let test = "a_run_goes_on_without_victoria_metrics";
    if flora_bench::program::on_path("victoria-metrics").is_none() {
        return skip(test, "no victoria-metrics");
    }
    let _guard = measuring();
    // Control groups go on counting for the dead, a process's own clock does not.
    for (phase, more) in [
        (Phase::Setup, &[][..]),
        (Phase::Measure, &[]),
        (Phase::Measure, &["--cgroups", "off"]),
        (Phase::Teardown, &[]),
    ] {
        let out = tempfile::tempdir().unwrap();
        let mut command = watched(out.path(), "300ms");
        command.args(more);
        let mut running = Running::start(&mut command, out.path());
        running.plan();
        let pid = running.until(phase.as_str(), |running| {
            let reached = match phase {
                Phase::Setup => true,
                Phase::Teardown => running.trials().len() == 2,
                phase => running.reached(1, phase),
            };
            reached.then(|| running.process("victoria-metrics", ""))?
        });
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let (code, stderr) = running.end();
        assert!(matches!(code, 0 | 4), "{}: {stderr}", phase.as_str());
        let report = report(out.path());
        for trial in report["trials"].as_array().unwrap() {
            assert_ne!(trial["status"], "failed", "{}: {trial}", phase.as_str());
        }
        let told = stderr.lines().any(|line| {
            line.contains("VictoriaMetrics") && line.contains("ended with signal: 9 (SIGKILL)")
        });
        assert!(told, "{}: {stderr}", phase.as_str());
        let notes = report["notes"].to_string();
        assert!(
            notes.contains("no cross-check"),
            "{}: {notes}",
            phase.as_str()
        );
        assert_eq!(leftovers(), Vec::<String>::new());
    }
}
