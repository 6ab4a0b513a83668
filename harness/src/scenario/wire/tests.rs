//! Scenario files as they should be, and as they should not.

use super::*;
use crate::scenario::placeholder::Placeholder;

fn message(text: &str) -> String {
    parse(Path::new("scenarios/x.yaml"), text)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_question_is_enough() {
    let scenario = parse(Path::new("a/light.yaml"), "question: How much?").unwrap();
    assert_eq!(scenario.name, "light");
    assert_eq!(scenario.target.objects, 20);
    assert_eq!(scenario.load.rate, None);
    assert!(scenario.agent.is_none());
}

#[test]
fn durations_are_humane() {
    let text = "question: q\ntrials: {warmup: 500ms, measure: 2m}\n";
    let scenario = parse(Path::new("x.yaml"), text).unwrap();
    assert_eq!(scenario.trials.warmup_seconds, 0.5);
    assert_eq!(scenario.trials.measure_seconds, 120.0);
}

#[test]
fn errors_name_file_line_key_value_and_expectation() {
    let message = message("question: q\nload:\n  connections: 0\n");
    assert_eq!(
        message,
        "scenarios/x.yaml:3: `load.connections` is 0, expected 1 to 10000"
    );
}

#[test]
fn an_agent_of_this_workspace_needs_no_version() {
    let text = "question: q\nagent:\n  needs: [ebpf]\n  processes:\n    - {name: a, command: [flora-agent, --cgroup, '{target_cgroup}']}\n";
    let agent = parse(Path::new("x.yaml"), text).unwrap().agent.unwrap();
    assert_eq!(agent.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(agent.needs, [Need::Ebpf]);
    assert!(agent.uses(Placeholder::TargetCgroup));
    assert!(!agent.uses(Placeholder::Copies));
    let message = message(&text.replace("flora-agent", "other-agent"));
    assert!(message.contains("`agent.version` is missing"), "{message}");
}

#[test]
fn an_agent_says_how_its_output_accounts_for_requests() {
    let text = |labels: &str| {
        format!(
            "question: q\nagent:\n  version: '1'\n  processes: [{{name: a, command: [a]}}]\n  telemetry:\n    prometheus:\n      url: http://127.0.0.1:{{agent_port}}/metrics\n      metric: seen_total\n      labels: {labels}\n"
        )
    };
    let agent = parse(Path::new("x.yaml"), &text("{route: '{target_route}'}"))
        .unwrap()
        .agent
        .unwrap();
    let Some(Telemetry::Prometheus(counter)) = &agent.telemetry else {
        panic!("{agent:?}");
    };
    assert_eq!(counter.labels["route"], "{target_route}");
    assert_eq!(counter.settle_seconds, 1.0);
    assert!(agent.uses(Placeholder::AgentPort));
    assert_eq!(
        message(&text("{route: '{target_rout}'}")),
        "scenarios/x.yaml:9: `agent.telemetry.prometheus.labels` is `{target_rout}` with the unknown word `{target_rout}`, expected one of {target_url}, {target_port}, {target_pid}, {target_cgroup}, {target_route}, {agent_port}, {copies}, {scenarios}, {intake_otlp_http}, {intake_otlp_grpc}, {intake_datadog}, {intake_statsd}, {intake_statsd_port}"
    );
}

#[test]
fn an_unknown_word_in_braces_is_an_error_with_its_line() {
    let message = message(
        "question: q\nagent:\n  version: '1'\n  processes:\n    - name: a\n      command:\n        - a\n        - --pid={target_pdi}\n",
    );
    assert!(
        message.starts_with("scenarios/x.yaml:8: `agent.processes.command`"),
        "{message}"
    );
}

#[test]
fn what_starts_before_the_target_knows_nothing_of_it() {
    let text = |word: &str| {
        format!(
            "question: q\ntarget:\n  env: {{A: 'http://127.0.0.1:{{agent_port}}'}}\nagent:\n  version: '1'\n  processes:\n    - name: a\n      start: before_target\n      command: [a, '{word}']\n"
        )
    };
    let scenario = parse(Path::new("x.yaml"), &text("{target_port}")).unwrap();
    assert_eq!(scenario.target.env["A"], "http://127.0.0.1:{agent_port}");
    let agent = scenario.agent.unwrap();
    assert_eq!(agent.processes[0].start, Start::BeforeTarget);
    let late = message(&text("--pid={target_pid}"));
    assert!(
        late.starts_with("scenarios/x.yaml:9: `agent.processes.command`"),
        "{late}"
    );
    let late = message(&text("x").replace("{agent_port}", "{target_cgroup}"));
    assert!(
        late.starts_with("scenarios/x.yaml:3: `target.env`"),
        "{late}"
    );
}

#[test]
fn form_errors_show_the_place() {
    for (text, expected) in [
        ("question: q\nlaod: {}\n", ["laod", ":2"]),
        (
            "question: q\nload:\n  connections: many\n",
            ["connections: many", ":3"],
        ),
        (
            "question: q\ntrials:\n  warmup: 3 parsecs\n",
            ["3 parsecs", ":3"],
        ),
        (
            "question: q\ntrials:\n  warmup: 3s\n  warmup: 4s\n",
            ["warmup", ":4"],
        ),
        ("question: [\n", ["x.yaml", ":"]),
        ("", ["question", "missing"]),
    ] {
        let message = message(text);
        for part in expected {
            assert!(message.contains(part), "`{part}` not in: {message}");
        }
    }
}
