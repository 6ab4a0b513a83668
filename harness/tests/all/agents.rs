//! Agents: what they are told, what their output accounts for, what they may leave behind.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{
    entry, flora_bench, leftovers, measuring, report, run, run_until_all_count, run_until_valid,
    scenarios, script, skip, verified,
};

/// A measurement of one scenario that is as short as it can be.
fn short(name: &str, scenarios: &Path, out: &Path) -> std::process::Command {
    blocks("2", "400ms", name, scenarios, out)
}

fn blocks(
    blocks: &str,
    measure: &str,
    name: &str,
    scenarios: &Path,
    out: &Path,
) -> std::process::Command {
    let mut command = flora_bench();
    command
        .args(["scenario", name, "--rate", "200", "--blocks", blocks])
        .args(["--warmup", "200ms", "--measure", measure, "--slices", "2"])
        .arg("--out")
        .arg(out)
        .arg("--scenarios")
        .arg(scenarios);
    command
}

fn check<'a>(report: &'a Value, arm: &str, name: &str) -> Option<&'a Value> {
    let trials = report["trials"].as_array().unwrap();
    let trial = trials.iter().find(|trial| trial["arm"] == arm).unwrap();
    let checks = trial["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name)
}

/// An agent that notes down what it was told and serves nothing; the target's
/// own counter stands in for its output.
fn note_taker(directory: &Path, arguments: &str, telemetry: &str) -> (PathBuf, String) {
    let told = directory.join("told");
    let program = script(
        directory,
        "note-taker",
        &format!("echo \"$@\" $TOLD > {}; exec sleep 600", told.display()),
    );
    let text = format!(
        "question: q\nagent:\n  version: '1'\n  scope: target\n  processes:\n    - name: a\n      command: [{}, {arguments}]\n      env: {{TOLD: '{{agent_port}}'}}\n{telemetry}",
        program.display()
    );
    (told, text)
}

/// What the target counts itself, read as if it were an agent's.
const OWN: &str = "  telemetry:\n    prometheus: {url: '{target_url}/metrics', metric: http_requests_total, labels: {route: '{target_route}'}}\n";

#[test]
fn an_agent_is_told_what_it_asks_for_and_all_of_its_requests_are_found() {
    let _guard = measuring();
    let directory = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let (told, text) = note_taker(
        directory.path(),
        "'{target_pid}', '{target_port}', '{target_route}', '{copies}', '{\"json\": 1}'",
        &(OWN.to_owned() + "load: {path: '/objects?work=1'}\n"),
    );
    let scenarios = scenarios(&[("noted", &text)]);
    let mut command = short("noted", scenarios.path(), out.path());
    let (code, stdout, stderr) = run_until_all_count(&mut command, out.path());
    assert_eq!(code, 0, "{stderr}");
    let told = std::fs::read_to_string(told).unwrap();
    let words: Vec<&str> = told.split_whitespace().collect();
    assert!(words[0].parse::<u32>().unwrap() > 1, "{told}");
    assert!(words[1].parse::<u16>().unwrap() > 1, "{told}");
    assert_eq!(&words[2..6], ["/objects", "1", "{\"json\":", "1}"]);
    let agent_port = words[6].parse::<u16>().unwrap();
    assert_ne!(words[1].parse::<u16>().unwrap(), agent_port);

    let report = report(out.path());
    let noted = entry(&report, "noted");
    assert_eq!(noted["telemetry_yield_ratio"], 1.0);
    let served = noted["telemetry"]["served"].as_u64().unwrap();
    assert_eq!(noted["telemetry"]["accounted"], served);
    // Both windows, neither the warm-ups nor anything of what the harness asked for itself.
    assert_eq!(served, 2 * (200.0 * 0.4) as u64);
    assert_eq!(
        entry(&report, "baseline")["telemetry_yield_ratio"],
        Value::Null
    );
    for name in ["agent_working", "telemetry_yield"] {
        assert_eq!(check(&report, "noted", name).unwrap()["passed"], true);
        assert_eq!(check(&report, "baseline", name), None);
    }
    let sentence = format!("noted: its telemetry accounts for all {served} requests served");
    assert!(stdout.contains(&sentence), "{stdout}");
    let csv = std::fs::read_to_string(out.path().join("latest/report.csv")).unwrap();
    assert!(
        csv.contains(",noted,ok,telemetry_yield_ratio,agent,,ratio,1,"),
        "{csv}"
    );
    assert!(csv.contains(",telemetry_yield,"), "{csv}");
    // The agent is a program that took part, with its hash.
    let programs = report["fingerprint"]["programs"].as_array().unwrap();
    let agent = programs.iter().find(|p| p["name"] == "note-taker").unwrap();
    assert_eq!(agent["version"], "1");
    assert_eq!(agent["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(leftovers(), Vec::<String>::new());
    verified(out.path());
}

/// An agent that loses requests is shown with what it lost; its trials count.
#[test]
fn a_yield_below_one_is_shown() {
    let _guard = measuring();
    let directory = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let address = directory.path().join("address");
    let port = forgetful(address.clone());
    let text = format!(
        "question: q\nagent:\n  version: '1'\n  scope: target\n  processes:\n    - name: a\n      command: [sh, -c, 'echo {{target_port}} > {}; exec sleep 600']\n  telemetry:\n    prometheus: {{url: 'http://127.0.0.1:{port}/metrics', metric: seen_total, settle: 100ms}}\n",
        address.display()
    );
    let scenarios = scenarios(&[("forgetful", &text)]);
    let (code, stdout, stderr) =
        run_until_valid(&mut short("forgetful", scenarios.path(), out.path()));
    assert_eq!(code, 0, "{stderr}");
    let report = report(out.path());
    let ratio = entry(&report, "forgetful")["telemetry_yield_ratio"].as_f64();
    assert!((ratio.unwrap() - 0.9).abs() < 0.01, "{ratio:?}");
    let check = check(&report, "forgetful", "telemetry_yield").unwrap();
    assert_eq!(check["passed"], false, "{check}");
    assert_eq!(check["severity"], "warns");
    assert!(stdout.contains("its telemetry accounts for 1"), "{stdout}");
}

/// Serves nine of ten requests that the target, whose port stands in a file, has counted.
fn forgetful(address: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let counted = target_count(&address).unwrap_or(0);
            let body = format!("seen_total {}\n", counted - counted / 10);
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    port
}

fn target_count(address: &Path) -> Option<u64> {
    let port = std::fs::read_to_string(address).ok()?;
    let mut stream = TcpStream::connect(format!("127.0.0.1:{}", port.trim())).ok()?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let series = text
        .lines()
        .filter(|line| line.starts_with("http_requests_total") && line.contains("\"/objects\""));
    Some(
        series
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum(),
    )
}

/// What stands in a shell beside a run changes no arm of it: programs get a few variables, and what
/// their scenario says.
#[test]
fn an_agent_s_environment_is_what_its_scenario_says() {
    let _guard = measuring();
    let directory = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let told = directory.path().join("told");
    let dump = |to: &str| format!("env > {}-{to}", told.display());
    let agent = script(
        directory.path(),
        "dumping-agent",
        &format!("{}; exec sleep 600", dump("agent")),
    );
    let target = script(
        directory.path(),
        "dumping-target",
        &format!(
            "[ \"$1\" = --version ] && echo dumping 1 && exit\n{}; exec {} \"$@\"",
            dump("target"),
            crate::scenario::target_app().display()
        ),
    );
    let own = "env: {OTEL_TRACES_SAMPLER: always_on}";
    let text = format!(
        "question: q\ntarget: {{program: {}, {own}}}\nagent:\n  version: '1'\n  scope: target\n  processes: [{{name: a, command: [{}], {own}}}]\n",
        target.display(),
        agent.display()
    );
    let scenarios = scenarios(&[("dumping", &text)]);
    let (code, _, stderr) = run(short("dumping", scenarios.path(), out.path())
        .env("OTEL_TRACES_SAMPLER", "always_off")
        .env("DD_TRACE_SAMPLE_RATE", "0.1")
        .env("GOMAXPROCS", "1")
        .env("LC_ALL", "C"));
    assert!(matches!(code, 0 | 4), "{stderr}");
    for who in ["agent", "target"] {
        let told = std::fs::read_to_string(format!("{}-{who}", told.display())).unwrap();
        let has = |variable: &str| told.lines().any(|line| line == variable);
        assert!(has("OTEL_TRACES_SAMPLER=always_on"), "{told}");
        assert!(has("LC_ALL=C"), "{told}");
        for name in ["PATH=", "FLORA_BENCH_OWNER="] {
            assert!(told.lines().any(|line| line.starts_with(name)), "{told}");
        }
        for name in ["DD_", "GOMAXPROCS", "CARGO"] {
            assert!(!told.lines().any(|line| line.starts_with(name)), "{told}");
        }
    }
}

/// Without control groups nobody but its process group tells what an agent has started.
#[test]
fn an_agent_takes_what_it_started_along() {
    let _guard = measuring();
    // The second one is gone before its trial is, which fails by it.
    for (command, codes) in [
        ("sleep 300 & wait", &[0, 4][..]),
        ("sleep 300 & sleep 1", &[3, 4]),
    ] {
        let out = tempfile::tempdir().unwrap();
        let text = format!(
            "question: q\nagent: {{version: '1', scope: target, processes: [{{name: a, command: [sh, -c, '{command}']}}]}}\n"
        );
        let scenarios = scenarios(&[("parent", &text)]);
        let (code, _, stderr) =
            run(short("parent", scenarios.path(), out.path()).args(["--cgroups", "off"]));
        assert!(codes.contains(&code), "{code}: {stderr}");
        assert_eq!(leftovers(), Vec::<String>::new());
    }
}

/// Whoever sees nothing of a request that was answered is not measured.
#[test]
fn an_agent_that_does_not_work_is_found_before_the_run() {
    let _guard = measuring();
    let directory = tempfile::tempdir().unwrap();
    for (telemetry, expected) in [
        (
            OWN.replace("{target_route}", "/nowhere") + "  startup_timeout: 300ms\n",
            "did not account for a request that the target answered",
        ),
        (
            OWN.replace("{target_url}", "http://127.0.0.1:{agent_port}")
                + "  startup_timeout: 300ms\n",
            "did not serve http_requests_total",
        ),
    ] {
        let out = tempfile::tempdir().unwrap();
        let (_, text) = note_taker(directory.path(), "a", &telemetry);
        let scenarios = scenarios(&[("blind", &text)]);
        let (code, _, stderr) = run(&mut short("blind", scenarios.path(), out.path()));
        assert_eq!(code, 3, "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
        assert_eq!(leftovers(), Vec::<String>::new());
    }
}

/// A program that appears while trials run and stays taxes somebody, whoever it belongs to.
#[test]
fn an_ebpf_program_that_is_left_behind_makes_trials_invalid() {
    use flora_bench::observer::ebpf::{Programs, smallest};

    let test = "an_ebpf_program_that_is_left_behind_makes_trials_invalid";
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    if let Err(error) = Programs::list().and_then(|_| smallest()) {
        return skip(test, &format!("no right to load eBPF programs: {error}"));
    }
    let scenarios = scenarios(&[]);
    // One block: to the next it would be no news.
    let mut child = blocks("1", "2s", "baseline", scenarios.path(), out.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let samples = out.path().join("latest/samples.jsonl");
    let measuring =
        || std::fs::read_to_string(&samples).is_ok_and(|text| text.contains("\"measure\""));
    while !measuring() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let program = smallest().unwrap();
    let output = child.wait_with_output().unwrap();
    drop(program);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("1 were left behind"), "{stderr}");
    let report = report(out.path());
    let check = check(&report, "baseline", "ebpf_programs").unwrap();
    assert_eq!(check["passed"], false, "{check}");
    verified(out.path());
}

/// A target that is to be watched by its group is in that group before it listens.
#[test]
fn the_target_is_in_its_version_2_group() {
    let test = "the_target_is_in_its_version_2_group";
    let _guard = measuring();
    let directory = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let (told, text) = note_taker(directory.path(), "'{target_cgroup}', '{target_pid}'", OWN);
    let scenarios = scenarios(&[("grouped", &text)]);
    let listed = run(flora_bench()
        .args(["list", "--scenarios"])
        .arg(scenarios.path()));
    if listed.1.contains("hierarchy of version 2") || listed.1.contains("no right to make") {
        let (code, _, stderr) = run(&mut short("grouped", scenarios.path(), out.path()));
        assert_eq!(code, 3, "{stderr}");
        return skip(test, &listed.1);
    }
    // While it runs, the group holds the target and nobody else.
    let agent = std::fs::read_to_string(directory.path().join("note-taker")).unwrap();
    let members = directory.path().join("members");
    let agent = agent.replace(
        "exec sleep",
        &format!(
            "cat \"$1\"/cgroup.procs > {}; exec sleep",
            members.display()
        ),
    );
    std::fs::write(directory.path().join("note-taker"), agent).unwrap();
    let (code, _, stderr) = run_until_valid(&mut short("grouped", scenarios.path(), out.path()));
    assert_eq!(code, 0, "{stderr}");
    let told = std::fs::read_to_string(told).unwrap();
    let words: Vec<&str> = told.split_whitespace().collect();
    assert!(words[0].contains("flora-bench-"), "{told}");
    assert_eq!(std::fs::read_to_string(members).unwrap().trim(), words[1]);
    assert_eq!(leftovers(), Vec::<String>::new());

    let (code, _, stderr) =
        run(short("grouped", scenarios.path(), out.path()).args(["--cgroups", "off"]));
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("--cgroups"), "{stderr}");
}

/// What the analysis makes of readings that no real run should give.
mod checks {
    use flora_bench::analysis;
    use flora_bench::sample::{Phase, Reading, Sample, Subject};
    use flora_bench::trial::{Check, Severity, TelemetryCount, TrialAnalysis};

    use crate::runs;

    type Given = (Phase, Subject, Reading, f64);

    const SEEN: Reading = Reading::TelemetryRequestsTotal;
    const SERVED: Reading = Reading::HttpRequestsTotal;

    /// The analysis of a trial of `arm` with these readings.
    fn analysed(arm: &str, given: &[Given]) -> TrialAnalysis {
        let arms: [(&str, &[f64]); 2] = [("baseline", &[1e-4]), ("flora", &[1e-4])];
        let run = runs::run("x", "2025-01-02T03:04:05Z", &arms).0;
        let trial = run.plan.trials.iter().find(|t| t.arm == arm).unwrap().trial;
        let samples: Vec<Sample> = given
            .iter()
            .enumerate()
            .map(|(n, &(phase, subject, reading, value))| {
                Sample::new(trial, phase, subject, reading, value, n as f64)
            })
            .collect();
        analysis::trial(&run.plan, &run.fingerprint, &samples)
    }

    fn check<'a>(analysis: &'a TrialAnalysis, name: &str) -> &'a Check {
        analysis.checks.iter().find(|c| c.name == name).unwrap()
    }

    /// The agent's count at its two moments, and the target's.
    fn counts(seen: [f64; 2], served: [f64; 2]) -> [Given; 4] {
        [
            (Phase::Setup, Subject::Agent, SEEN, seen[0]),
            (Phase::Setup, Subject::Target, SERVED, served[0]),
            (Phase::Cooldown, Subject::Target, SERVED, served[1]),
            (Phase::Cooldown, Subject::Agent, SEEN, seen[1]),
        ]
    }

    #[test]
    fn only_what_lies_between_the_two_moments_counts() {
        let analysis = analysed("flora", &counts([3.0, 1003.0], [5.0, 1005.0]));
        let all = TelemetryCount {
            accounted: 1000,
            served: 1000,
        };
        assert_eq!(analysis.telemetry, Some(all));
        assert_eq!(analysis.telemetry.unwrap().ratio(), Some(1.0));
        assert!(check(&analysis, "agent_working").passed);
        assert!(check(&analysis, "telemetry_yield").passed);
    }

    #[test]
    fn losing_and_counting_twice_are_told_and_do_not_invalidate() {
        for accounted in [999.0, 1001.0] {
            let analysis = analysed("flora", &counts([1.0, 1.0 + accounted], [1.0, 1001.0]));
            let check = check(&analysis, "telemetry_yield");
            assert!(
                !check.passed && check.severity == Severity::Warns,
                "{check:?}"
            );
            assert!(check.detail.contains(&format!("{accounted:.0} of 1000")));
        }
    }

    #[test]
    fn an_agent_that_saw_nothing_or_began_anew_does_not_count() {
        let blind = analysed("flora", &counts([0.0, 1000.0], [1.0, 1001.0]));
        assert!(!check(&blind, "agent_working").passed);
        assert!(blind.broken().any(|check| check.name == "agent_working"));
        let again = analysed("flora", &counts([7.0, 2.0], [1.0, 1001.0]));
        assert_eq!(again.telemetry, None);
        assert!(again.broken().any(|check| check.name == "telemetry_yield"));
    }

    #[test]
    fn a_program_on_a_targets_group_must_be_its_agents() {
        let attached = |counts: [f64; 3], left: f64| {
            let reading = Reading::EbpfProgramsAttached;
            [
                (Phase::Setup, Subject::Target, reading, counts[0]),
                (Phase::Setup, Subject::Target, reading, counts[1]),
                (Phase::Cooldown, Subject::Target, reading, counts[2]),
                (
                    Phase::Teardown,
                    Subject::Node,
                    Reading::NodeEbpfProgramsLeft,
                    left,
                ),
            ]
        };
        for (arm, counts, left, passed) in [
            ("flora", [0.0, 2.0, 2.0], 0.0, true),
            ("flora", [1.0, 3.0, 3.0], 0.0, false),
            ("flora", [0.0, 2.0, 2.0], 1.0, false),
            ("baseline", [0.0, 0.0, 0.0], 0.0, true),
            ("baseline", [0.0, 0.0, 2.0], 0.0, false),
        ] {
            let analysis = analysed(arm, &attached(counts, left));
            let check = check(&analysis, "ebpf_programs");
            assert_eq!(check.passed, passed, "{arm} {counts:?} {left}: {check:?}");
            assert_eq!(check.severity, Severity::Invalidates);
        }
        // Nothing is said where nothing could be looked at.
        let unknown = analysed("baseline", &counts([1.0, 1.0], [0.0, 0.0])[1..3]);
        assert!(unknown.checks.iter().all(|c| c.name != "ebpf_programs"));
    }
}
