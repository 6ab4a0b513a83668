//! Runs whose agents send to the intake.

use std::path::Path;

use flora_bench::observer::ebpf::{Programs, smallest};
use serde_json::Value;

use crate::support::{
    entry, flora_bench, leftovers, measuring, report, run, run_until_valid, scenarios, script,
    skip, verified,
};

fn short(name: &str, scenarios: &Path, out: &Path) -> std::process::Command {
    let mut command = flora_bench();
    command
        .args(["scenario", name, "--rate", "200", "--blocks", "2"])
        .args(["--warmup", "200ms", "--measure", "400ms", "--slices", "2"])
        .arg("--out")
        .arg(out)
        .arg("--scenarios")
        .arg(scenarios);
    command
}

/// A scenario `spans`: Flora, told to send a span of every request, which are awaited for so long.
/// Says so where it can't run.
pub fn sending_flora(test: &str, settle: &str) -> Option<tempfile::TempDir> {
    if let Err(error) = Programs::list().and_then(|_| smallest()) {
        skip(test, &format!("no right to load eBPF programs: {error}"));
        return None;
    }
    let text = format!(
        "question: q\nagent:\n  scope: target\n  needs: [ebpf]\n  processes:\n    - name: flora-agent\n      command: [flora-agent, --cgroup, '{{target_cgroup}}', --listen, '127.0.0.1:{{agent_port}}', --sample-every, '1', --otlp-endpoint, 'http://{{intake_otlp_http}}']\n  telemetry: {{intake: {{settle: {settle}}}}}\n"
    );
    let scenarios = scenarios(&[("spans", &text)]);
    let listed = run(flora_bench()
        .args(["list", "--scenarios"])
        .arg(scenarios.path()));
    if listed.1.contains("hierarchy of version 2") || listed.1.contains("no right to make") {
        skip(test, &listed.1);
        return None;
    }
    Some(scenarios)
}

/// As many of its spans arrive as the target answered requests.
#[test]
fn every_span_that_flora_sends_is_counted() {
    let _guard = measuring();
    let Some(scenarios) = sending_flora("every_span_that_flora_sends_is_counted", "3s") else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = run_until_valid(&mut short("spans", scenarios.path(), out.path()));
    assert_eq!(code, 0, "{stderr}");
    let report = report(out.path());
    let spans = entry(&report, "spans");
    let served = spans["telemetry"]["served"].as_u64().unwrap();
    // The window of each trial that counts, and nothing that the harness asked for itself.
    let trial = (200.0 * 0.4) as u64;
    assert!(served == trial || served == 2 * trial, "{served}");
    assert_eq!(spans["telemetry"]["accounted"], served);
    assert_eq!(spans["telemetry_yield_ratio"], 1.0);
    let sentence = format!("spans: its telemetry accounts for all {served} requests served");
    assert!(stdout.contains(&sentence), "{stdout}");
    // What it sent stands beside it; its spans carry what it says that they do.
    let delivered = &spans["delivered"];
    assert_eq!(delivered["served"], served);
    assert!(
        delivered["spans"].as_u64().unwrap() >= served,
        "{delivered}"
    );
    let routes = delivered["span_attributes"]["http.route"].as_u64().unwrap();
    assert!(routes >= served, "{delivered}");
    assert!(stdout.contains("What you get for it"), "{stdout}");
    assert_eq!(entry(&report, "baseline")["delivered"], Value::Null);
    // The intake's own cost is a row of the ledger, and nobody's result.
    let trials = report["trials"].as_array().unwrap();
    for trial in trials {
        let rows = trial["ledger"]["rows"].as_array().unwrap();
        let intake = rows.iter().find(|row| row["subject"] == "intake");
        assert_eq!(intake.is_some(), trial["arm"] == "spans", "{trial}");
    }
    assert_eq!(leftovers(), Vec::<String>::new());
    verified(out.path());
}

/// An agent that starts and sends nothing is not measured: its cost would be that of doing nothing.
#[test]
fn an_agent_that_sends_nothing_is_found_before_the_run() {
    let _guard = measuring();
    let directory = tempfile::tempdir().unwrap();
    let silent = script(directory.path(), "silent", "echo up; exec sleep 600");
    for processes in [
        format!("[{{name: a, command: [{}]}}]", silent.display()),
        "[]".to_owned(),
    ] {
        let out = tempfile::tempdir().unwrap();
        let text = format!(
            "question: q\nagent:\n  version: '1'\n  scope: target\n  startup_timeout: 300ms\n  processes: {processes}\n  telemetry: {{intake: {{settle: 100ms}}}}\n"
        );
        let scenarios = scenarios(&[("silent", &text)]);
        let (code, _, stderr) = run(&mut short("silent", scenarios.path(), out.path()));
        assert_eq!(code, 3, "{stderr}");
        let expected = "did not account for a request that the target answered (the count of server spans of /objects at the intake stays 0)";
        assert!(stderr.contains(expected), "{stderr}");
        assert_eq!(leftovers(), Vec::<String>::new());
    }
}

/// The target is told where the intake is, in its environment.
#[test]
fn a_target_may_send_to_the_intake_itself() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let text = "question: q\ntarget:\n  env: {A: '{target_pid}'}\n";
    let wrong = scenarios(&[("wrong", text)]);
    let (code, _, stderr) = run(&mut short("wrong", wrong.path(), out.path()));
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("wrong.yaml:3: `target.env` is `{target_pid}`"),
        "{stderr}"
    );
}
