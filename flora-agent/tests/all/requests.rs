//! What is counted is what was asked.

use crate::server::Server;
use crate::support::{Agent, Group, get, needs_root};
use flora_agent_common::layout::LOST;

#[test]
fn requests_by_method_route_and_status() {
    needs_root!("requests_by_method_route_and_status");
    let group = Group::new();
    let server = Server::start(&group);
    let agent = Agent::watch(&group, &[]);
    let mut client = server.connect();
    for number in 0..100 {
        assert_eq!(
            client.get(&format!("/users/{number}/orders?page={number}")),
            200
        );
    }
    for _ in 0..20 {
        client.request("POST", "/orders", "", "a body").unwrap();
        client.request("HEAD", "/orders", "", "").unwrap();
        assert_eq!(client.get("/status/503"), 503);
        assert_eq!(client.get("/status/404"), 404);
    }
    // Who called is told at times, and when the server has closed the connection, too.
    drop(client);
    crate::support::wait_until("the caller's requests are told of", || {
        agent.scrape().sum("flora_peer_requests_total", &[]) == agent.scrape().requests(&[])
    });
    let metrics = agent.scrape();
    let cgroup = group.name();
    let of = |method, route, status| {
        metrics.requests(&[
            ("cgroup", cgroup.as_str()),
            ("method", method),
            ("route", route),
            ("status", status),
        ])
    };
    assert_eq!(of("GET", "/users/:id/orders", "200"), 100.0);
    assert_eq!(of("POST", "/orders", "200"), 20.0);
    assert_eq!(of("HEAD", "/orders", "200"), 20.0);
    assert_eq!(of("GET", "/status/:id", "503"), 20.0);
    assert_eq!(of("GET", "/status/:id", "404"), 20.0);
    assert_eq!(metrics.requests(&[]), 180.0);
    assert_eq!(metrics.lost(), 0.0);
    for name in [
        "flora_http_request_duration_seconds",
        "flora_http_response_first_byte_seconds",
    ] {
        assert_eq!(metrics.observations(name, &[]), 180.0, "{name}");
    }
    let process = metrics.values("flora_http_requests_total", "process");
    assert_eq!(process.len(), 1, "{process:?}");
    assert_eq!(
        metrics.values("flora_peer_requests_total", "peer"),
        ["127.0.0.1"]
    );
    assert_eq!(metrics.sum("flora_peer_requests_total", &[]), 180.0);
    assert_eq!(metrics.sum("flora_peer_connections_total", &[]), 1.0);
}

#[test]
fn sizes_and_durations() {
    needs_root!("sizes_and_durations");
    let group = Group::new();
    let server = Server::start(&group);
    let agent = Agent::watch(&group, &[]);
    let mut client = server.connect();
    let body = "x".repeat(10_000);
    client.request("POST", "/upload", "", &body).unwrap();
    assert_eq!(client.get("/bytes/300000"), 200);
    assert_eq!(client.get("/sleep/80"), 200);
    let text = agent.scrape_text();
    let metrics = crate::support::Metrics::parse(&text);
    let head = "POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 10000\r\n\r\n".len();
    let upload = metrics.sum("flora_http_request_bytes_total", &[("route", "/upload")]);
    assert_eq!(upload, (head + body.len()) as f64);
    let head = "HTTP/1.1 200 X\r\nContent-Length: 300000\r\n\r\n".len();
    let download = metrics.sum(
        "flora_http_response_bytes_total",
        &[("route", "/bytes/:id")],
    );
    assert_eq!(download, (head + 300_000) as f64);
    let sum = |route: &str| -> f64 {
        let line = text
            .lines()
            .find(|line| {
                line.starts_with("flora_http_request_duration_seconds_sum") && line.contains(route)
            })
            .unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let slept = sum("/sleep/{id}");
    assert!((0.08..20.0).contains(&slept), "{slept}");
    assert_eq!(metrics.sum("flora_http_responses_unfinished", &[]), 0.0);
}

#[test]
fn all_families_are_there_before_the_first_request() {
    needs_root!("all_families_are_there_before_the_first_request");
    let group = Group::new();
    let agent = Agent::watch(&group, &[]);
    assert_eq!(get(agent.address, "/healthz"), (200, "ok\n".to_owned()));
    let metrics = agent.scrape();
    let mut reasons: Vec<_> = LOST.iter().map(|reason| (*reason).to_owned()).collect();
    reasons.push("export".to_owned());
    reasons.sort();
    assert_eq!(metrics.values("flora_lost_total", "reason"), reasons);
    assert_eq!(metrics.lost(), 0.0);
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
        "flora_http_responses_unfinished",
        "flora_bpf_map_bytes",
        "flora_bpf_program_verified_instructions",
    ] {
        assert!(metrics.sum(name, &[]) >= 0.0, "{name}");
    }
    assert!(metrics.sum("flora_bpf_map_bytes", &[("map", "SERIES")]) > 0.0);
    assert_eq!(metrics.sum("flora_build_info", &[]), 1.0);
    // Diagnostics are off unless asked for.
    assert!(
        metrics
            .values("flora_bpf_program_runs_total", "program")
            .is_empty()
    );
}

#[test]
fn two_agents_see_the_same() {
    needs_root!("two_agents_see_the_same");
    let group = Group::new();
    let server = Server::start(&group);
    let one = Agent::watch(&group, &[]);
    let two = Agent::watch(&group, &["--copies", "3"]);
    let mut client = server.connect();
    for _ in 0..50 {
        client.get("/a");
    }
    assert_eq!(one.scrape().requests(&[("route", "/a")]), 50.0);
    assert_eq!(two.scrape().requests(&[("route", "/a")]), 50.0);
    assert_eq!(group.attached(), 2 + 6);
    assert!(two.log().contains("DIAGNOSTIC"), "{}", two.log());
    assert_eq!(two.scrape().sum("flora_diagnostic_copies", &[]), 3.0);
    drop(two);
    client.get("/a");
    assert_eq!(one.scrape().requests(&[("route", "/a")]), 51.0);
}

#[test]
fn as_older_kernels_need_it() {
    needs_root!("as_older_kernels_need_it");
    let group = Group::new();
    let server = Server::start(&group);
    let agent = Agent::watch(&group, &["--clear-windows"]);
    let mut client = server.connect();
    for _ in 0..50 {
        client.get("/a");
    }
    assert_eq!(agent.scrape().requests(&[("route", "/a")]), 50.0);
}

#[test]
fn runs_are_timed_when_asked_for() {
    needs_root!("runs_are_timed_when_asked_for");
    let group = Group::new();
    let server = Server::start(&group);
    let agent = Agent::watch(&group, &["--bpf-stats"]);
    let mut client = server.connect();
    for _ in 0..50 {
        client.get("/a");
    }
    let metrics = agent.scrape();
    let runs = metrics.sum("flora_bpf_program_runs_total", &[("program", "ingress")]);
    assert!(runs >= 50.0, "{runs}");
    let seconds = metrics.sum(
        "flora_bpf_program_run_seconds_total",
        &[("program", "ingress")],
    );
    assert!(seconds > 0.0 && seconds < 1.0, "{seconds}");
    assert!(agent.log().contains("DIAGNOSTIC"), "{}", agent.log());
}
