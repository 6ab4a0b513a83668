//! Software of others as an agent: real peers whole, and what they may do wrong.
//!
//! `flora-bench setup` builds the real ones; where one can't be had, its tests say so.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{
    entry, flora_bench, leftovers, measuring, report, repository, run, run_until_valid, scenarios,
    script, skip, verified,
};

fn scenario(name: &str, scenarios: &Path, out: &Path, more: &[&str]) -> std::process::Command {
    let mut command = flora_bench();
    command
        .args(["scenario", name, "--blocks", "1"])
        .args(["--victoria-metrics", "off"])
        .args(more)
        .arg("--out")
        .arg(out)
        .arg("--scenarios")
        .arg(scenarios);
    command
}

/// Whether everything that these programs are built from is here; builds them,
/// which takes minutes the first time.
fn has(test: &str, programs: &[&str]) -> bool {
    let (code, _, stderr) = run(flora_bench().arg("setup").args(programs));
    if code != 0 {
        skip(test, &format!("no {}: {stderr}", programs.join(", ")));
    }
    code == 0
}

/// Every request that the target answers arrives at the intake as a span, and is counted once.
fn everything_arrives(name: &str, programs: &[&str]) {
    if !has(name, programs) {
        return;
    }
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let shipped = repository().join("scenarios");
    let short = [
        ["--slices", "1", "--rate", "100"],
        ["--warmup", "500ms", "--measure", "2s"],
    ]
    .concat();
    let (code, _, stderr) = run_until_valid(&mut scenario(name, &shipped, out.path(), &short));
    assert_eq!(code, 0, "{stderr}");
    let report = report(out.path());
    let arm = entry(&report, name);
    assert_eq!(arm["telemetry"]["served"], 250, "{arm}");
    assert_eq!(arm["telemetry"]["accounted"], 250, "{arm}");
    let delivered = &arm["delivered"];
    assert!(delivered["spans"].as_u64().unwrap() >= 250, "{delivered}");
    assert_eq!(delivered["rejected"], Value::Null, "{delivered}");
    let csv = std::fs::read_to_string(out.path().join("latest/report.csv")).unwrap();
    let row = format!(",{name},ok,delivered_spans,agent,,per_request,");
    assert!(csv.contains(&row), "{csv}");
    assert_eq!(leftovers(), Vec::<String>::new());
}

#[test]
fn every_span_of_opentelemetrys_sdk_passes_the_collector() {
    everything_arrives("opentelemetry", &["target-app-go-otel", "otelcol"]);
}

#[test]
fn every_span_of_datadogs_tracer_passes_its_trace_agent() {
    let programs = ["target-app-go-datadog", "datadog-trace-agent"];
    everything_arrives("datadog-full", &programs);
}

/// By default Datadog keeps few traces, and its yield shows it.
#[test]
fn datadogs_default_keeps_few_traces() {
    let test = "datadogs_default_keeps_few_traces";
    if !has(test, &["target-app-go-datadog", "datadog-trace-agent"]) {
        return;
    }
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let shipped = repository().join("scenarios");
    // The warm-up is the scenario's own, and the turns: until it is over every trace is kept.
    let short = ["--rate", "500", "--measure", "4s"];
    let (code, _, stderr) = run_until_valid(&mut scenario("datadog", &shipped, out.path(), &short));
    assert_eq!(code, 0, "{stderr}");
    let report = report(out.path());
    let arm = entry(&report, "datadog");
    let ratio = arm["telemetry_yield_ratio"].as_f64().unwrap();
    assert!(ratio > 0.0 && ratio < 0.5, "{arm}");
}

/// Seven minutes of building, so not in every run of the tests.
#[test]
fn every_span_of_opentelemetrys_ebpf_instrumentation_arrives() {
    if std::env::var_os("FLORA_BENCH_OTEL_GO_AUTO").is_none() {
        eprintln!(
            "NOT RUN: every_span_of_opentelemetrys_ebpf_instrumentation_arrives: building otel-go-auto takes seven minutes; set FLORA_BENCH_OTEL_GO_AUTO=1"
        );
        return;
    }
    everything_arrives("opentelemetry-ebpf", &["target-app-go", "otel-go-auto"]);
}

/// What a program says of its configuration is what its user reads.
#[test]
fn a_collector_that_refuses_its_configuration_says_why() {
    let test = "a_collector_that_refuses_its_configuration_says_why";
    if !has(test, &["otelcol"]) {
        return;
    }
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let text = "question: q\nagent:\n  version: '1'\n  processes:\n    - name: collector\n      start: before_target\n      command: [otelcol, --config, '{scenarios}/wrong.conf']\n      env: {PORT: '{agent_port}'}\n  telemetry: {intake: {}}\n";
    let scenarios = scenarios(&[("wrong", text)]);
    let wrong = "receivers: {otlp: {protocols: {http: {endpiont: '127.0.0.1:1'}}}}\nexporters: {debug: {}}\nservice: {pipelines: {traces: {receivers: [otlp], exporters: [debug]}}}\n";
    std::fs::write(scenarios.path().join("wrong.conf"), wrong).unwrap();
    let (code, _, stderr) = run(&mut scenario(
        "wrong",
        scenarios.path(),
        out.path(),
        &["--slices", "1", "--rate", "100"],
    ));
    assert_eq!(code, 3, "{stderr}");
    for part in ["otelcol` ended with", "endpiont"] {
        assert!(stderr.contains(part), "{part} not in: {stderr}");
    }
    assert_eq!(leftovers(), Vec::<String>::new());
}

/// An agent that sends one span of the measured route and then does `rest`.
fn sender(directory: &Path, rest: &str) -> PathBuf {
    let span = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"x","kind":2,"attributes":[{"key":"http.route","value":{"stringValue":"/objects"}}]}]}]}]}"#;
    let send = format!(
        "send() {{ python3 -c 'import sys, urllib.request as u; u.urlopen(u.Request(\"http://\" + sys.argv[1] + \"/v1/traces\", sys.argv[2].encode(), {{\"Content-Type\": \"application/json\"}}))' \"$1\" '{span}'; }}"
    );
    script(directory, "sender", &format!("{send}\n{rest}"))
}

fn sending(program: &Path, more: &str) -> String {
    format!(
        "question: q\nagent:\n  version: '1'\n  startup_timeout: 10s\n  processes:\n    - name: a\n      command: [{}, '{{intake_otlp_http}}']\n  telemetry: {{intake: {{settle: 300ms}}}}\n{more}",
        program.display()
    )
}

/// Whether Python is here, which these agents send with; says so if it isn't.
fn has_python(test: &str) -> bool {
    let there = flora_bench::program::on_path("python3").is_some();
    if !there {
        skip(test, "no python3");
    }
    there
}

/// One that works when it is tried and not in the trials: what it costs then is the cost of doing nothing.
#[test]
fn a_peer_that_starts_and_delivers_nothing_makes_its_trial_invalid() {
    let test = "a_peer_that_starts_and_delivers_nothing_makes_its_trial_invalid";
    if !has_python(test) {
        return;
    }
    let _guard = measuring();
    let directory = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let once = directory.path().join("once");
    let rest = format!(
        "mkdir {} 2>/dev/null && send \"$1\"; exec sleep 600",
        once.display()
    );
    let text = sending(&sender(directory.path(), &rest), "");
    let scenarios = scenarios(&[("mute", &text)]);
    let short = "--slices 1 --rate 100 --warmup 200ms --measure 500ms"
        .split(' ')
        .collect::<Vec<_>>();
    let (code, _, stderr) = run(&mut scenario("mute", scenarios.path(), out.path(), &short));
    assert_eq!(code, 4, "{stderr}");
    assert!(
        stderr.contains("no span seen before the window"),
        "{stderr}"
    );
    let report = report(out.path());
    let mute = entry(&report, "mute");
    assert_eq!(mute["status"], "invalid", "{mute}");
    // A single short window: whoever shares the machine may have spoilt it.
    assert_ne!(entry(&report, "baseline")["status"], "failed");
}

#[test]
fn a_peer_that_dies_in_the_window_fails_its_trial_only() {
    let test = "a_peer_that_dies_in_the_window_fails_its_trial_only";
    if !has_python(test) {
        return;
    }
    let _guard = measuring();
    let directory = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let rest = "send \"$1\"; sleep 3; echo 'no room left' >&2; exit 7";
    let text = sending(&sender(directory.path(), rest), "");
    let scenarios = scenarios(&[("frail", &text)]);
    let short = "--slices 1 --rate 100 --warmup 200ms --measure 5s"
        .split(' ')
        .collect::<Vec<_>>();
    let (code, _, stderr) = run(&mut scenario("frail", scenarios.path(), out.path(), &short));
    assert_eq!(code, 4, "{stderr}");
    let report = report(out.path());
    let frail = entry(&report, "frail");
    assert_eq!(frail["status"], "failed", "{frail}");
    let reason = frail["reason"].as_str().unwrap();
    for part in [
        "the agent",
        "exit status: 7",
        "during measure",
        "no room left",
    ] {
        assert!(reason.contains(part), "{part} not in: {reason}");
    }
    assert_ne!(entry(&report, "baseline")["status"], "failed");
    assert_eq!(leftovers(), Vec::<String>::new());
    verified(out.path());
}

/// What can't run here is named with the reason wherever one would look for it.
#[test]
fn what_cannot_run_here_is_left_out_and_said() {
    let _guard = measuring();
    let out = tempfile::tempdir().unwrap();
    let text = "question: q\nagent:\n  version: '1'\n  needs: [{program: {name: no-such-agent, install: ask its maker}}]\n  processes: [{name: a, command: [no-such-agent]}]\n";
    let scenarios = scenarios(&[("elsewhere", text)]);
    let why = "the program `no-such-agent` is not on PATH; ask its maker";
    let (code, stdout, _) = run(flora_bench()
        .args(["list", "--scenarios"])
        .arg(scenarios.path()));
    assert_eq!(code, 0);
    assert_eq!(stdout.matches("no-such-agent").count(), 1, "{stdout}");
    assert!(stdout.contains(why), "{stdout}");
    let short = "--slices 1 --rate 100 --warmup 200ms --measure 500ms"
        .split(' ')
        .collect::<Vec<_>>();
    let mut alone = scenario("elsewhere", scenarios.path(), out.path(), &short);
    let (code, _, stderr) = run(&mut alone);
    assert_eq!(code, 3, "{stderr}");
    assert!(
        stderr.contains(&format!("elsewhere can't run here: {why}")),
        "{stderr}"
    );

    let mut all = scenario("all", scenarios.path(), out.path(), &short);
    let (code, stdout, stderr) = run_until_valid(&mut all);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.contains(&format!("left out: elsewhere: {why}")),
        "{stderr}"
    );
    assert!(
        stdout.contains("unsupported: it can't run here"),
        "{stdout}"
    );
    let report = report(out.path());
    let elsewhere = entry(&report, "elsewhere");
    assert_eq!(elsewhere["status"], "unsupported");
    assert_eq!(elsewhere["reason"], why);
    for command in [["verify", "latest"], ["report", "latest"]] {
        let (code, _, stderr) = run(flora_bench().args(command).arg("--out").arg(out.path()));
        assert_eq!(code, 0, "{stderr}");
    }
}

/// What the shipped scenarios need is found or named; a kernel without kprobes says so of itself.
#[test]
fn agents_that_probe_the_kernel_say_what_they_need() {
    let (code, stdout, _) = run(flora_bench().args(["list", "--format", "json"]));
    assert_eq!(code, 0);
    let entries: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    let kprobes = flora_bench::backend::local::needs::kprobes();
    for (name, program) in [
        ("obi", "obi"),
        ("coroot", "coroot-node-agent"),
        ("pixie", "standalone_pem"),
    ] {
        let entry = entries.iter().find(|entry| entry["name"] == name).unwrap();
        let missing = entry["missing"].to_string();
        let there = flora_bench::program::on_path(program).is_some();
        let named = missing.contains(&format!("`{program}` is not on PATH"));
        assert_eq!(!there, named, "{entry}");
        assert_eq!(kprobes.is_err(), missing.contains("kprobe"), "{entry}");
        assert_eq!(entry["runs_here"], missing == "[]", "{entry}");
    }
}
