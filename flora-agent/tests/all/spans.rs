//! Spans reach a collector, or are counted as lost.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::server::Server;
use crate::support::{Agent, Group, needs_root, status, wait_until};

/// A collector that keeps what it gets.
pub struct Collector {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<String>>>,
    /// Whether it takes connections and answers none.
    stalls: Arc<AtomicBool>,
}

impl Collector {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let stalls = Arc::new(AtomicBool::new(false));
        let (all, stalled) = (Arc::clone(&bodies), Arc::clone(&stalls));
        thread::spawn(move || {
            let mut unanswered = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                if stalled.load(Ordering::Relaxed) {
                    unanswered.push(stream);
                    continue;
                }
                let mut request = Vec::new();
                let mut part = [0; 4096];
                let body = loop {
                    let count = stream.read(&mut part).unwrap();
                    request.extend_from_slice(&part[..count]);
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else {
                        continue;
                    };
                    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
                    let length = head
                        .lines()
                        .find_map(|line| line.strip_prefix("Content-Length: "))
                        .unwrap();
                    if body.len() == length.parse::<usize>().unwrap() {
                        break body.to_owned();
                    }
                };
                all.lock().unwrap().push(body);
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                    .unwrap();
            }
        });
        Collector {
            address,
            bodies,
            stalls,
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers nobody any more, or everybody again.
    fn stall(&self, stalls: bool) {
        self.stalls.store(stalls, Ordering::Relaxed);
    }

    pub fn bodies(&self) -> Vec<String> {
        self.bodies.lock().unwrap().clone()
    }

    pub fn spans(&self) -> Vec<Value> {
        let mut spans = Vec::new();
        for body in self.bodies() {
            let json: Value = serde_json::from_str(&body).unwrap();
            for resource in json["resourceSpans"].as_array().unwrap() {
                for scope in resource["scopeSpans"].as_array().unwrap() {
                    spans.extend(scope["spans"].as_array().unwrap().iter().cloned());
                }
            }
        }
        spans
    }
}

fn attribute(span: &Value, name: &str) -> Option<String> {
    let all = span["attributes"].as_array().unwrap();
    let found = all.iter().find(|attribute| attribute["key"] == name)?;
    let value = &found["value"];
    let value = value.get("stringValue").or(value.get("intValue"))?;
    value.as_str().map(str::to_owned)
}

#[test]
fn a_span_of_every_request() {
    needs_root!("a_span_of_every_request");
    let group = Group::new();
    let server = Server::start(&group);
    let collector = Collector::start();
    let agent = Agent::watch(
        &group,
        &[
            "--otlp-endpoint",
            &collector.endpoint(),
            "--sample-every",
            "1",
        ],
    );
    let before = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let mut client = server.connect();
    for _ in 0..600 {
        assert_eq!(client.get("/users/7"), 200);
    }
    wait_until("all spans", || collector.spans().len() == 600);
    let after = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let spans = collector.spans();
    for span in &spans {
        assert_eq!(span["name"], "GET /users/{id}");
        let time = |key: &str| span[key].as_str().unwrap().parse::<u128>().unwrap();
        let (start, end) = (time("startTimeUnixNano"), time("endTimeUnixNano"));
        assert!(
            before <= start && start <= end && end <= after,
            "{before} {start} {end} {after}"
        );
    }
    let first = &spans[0];
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/users/{id}"),
        ("http.response.status_code", "200"),
        ("client.address", "127.0.0.1"),
        ("server.port", &server.address.port().to_string()),
    ] {
        assert_eq!(attribute(first, name).as_deref(), Some(value), "{name}");
    }
    let port = client.port().to_string();
    assert_eq!(attribute(first, "client.port"), Some(port));
    let mut ids: Vec<_> = spans
        .iter()
        .map(|span| span["traceId"].to_string())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 600);
    assert_eq!(agent.scrape().lost(), 0.0);
}

#[test]
fn only_slow_ones_and_errors() {
    needs_root!("only_slow_ones_and_errors");
    let group = Group::new();
    let server = Server::start(&group);
    let collector = Collector::start();
    let options = [
        "--slow",
        "1s",
        "--span-errors",
        "--otlp-endpoint",
        &collector.endpoint(),
    ];
    let agent = Agent::watch(&group, &options);
    let mut client = server.connect();
    for _ in 0..20 {
        client.get("/a");
        client.get("/status/404");
    }
    client.get("/status/503");
    client.get("/sleep/1200");
    // What is waiting is sent when the agent ends.
    let (status, log) = agent.terminate();
    assert!(status.success(), "{log}");
    let spans = collector.spans();
    let mut found: Vec<_> = spans
        .iter()
        .map(|span| {
            let status = attribute(span, "http.response.status_code").unwrap();
            (status, attribute(span, "flora.reason").unwrap())
        })
        .collect();
    found.sort();
    let expected = [("200", "slow"), ("503", "error")];
    assert_eq!(
        found,
        expected.map(|(status, reason)| (status.to_owned(), reason.to_owned()))
    );
    assert_eq!(
        spans
            .iter()
            .filter(|span| span["status"]["code"] == 2)
            .count(),
        1
    );
}

#[test]
fn without_a_collector_spans_are_counted_as_lost() {
    needs_root!("without_a_collector_spans_are_counted_as_lost");
    let group = Group::new();
    let server = Server::start(&group);
    // A port that nobody listens on.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let endpoint = format!("http://{address}");
    let agent = Agent::watch(
        &group,
        &["--otlp-endpoint", &endpoint, "--sample-every", "1"],
    );
    let mut client = server.connect();
    for _ in 0..100 {
        client.get("/a");
    }
    wait_until("all are counted", || {
        agent
            .scrape()
            .sum("flora_lost_total", &[("reason", "export")])
            == 100.0
    });
    // Requests are counted all the same.
    assert_eq!(agent.scrape().requests(&[]), 100.0);
    agent.wait_for_log("spans are lost", |_| Some(()));
}

/// How long the collector stalls in the ordinary run, in seconds; `FLORA_AGENT_STALL_SECONDS=60` asks for more.
fn stall() -> Duration {
    let asked = std::env::var("FLORA_AGENT_STALL_SECONDS").ok();
    Duration::from_secs(asked.map_or(5, |seconds| seconds.parse().unwrap()))
}

/// It takes connections and does not answer: spans are lost and counted, and nobody else notices.
#[test]
fn a_collector_that_stalls_costs_spans_and_nothing_else() {
    needs_root!("a_collector_that_stalls_costs_spans_and_nothing_else");
    let group = Group::new();
    let server = Server::start(&group);
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    let options = ["--otlp-endpoint", &endpoint, "--sample-every", "1"];
    let agent = Agent::watch(&group, &options);
    let mut client = server.connect();
    let (mut requests, mut most) = (0, 0);
    let mut ask = || {
        for _ in 0..50 {
            assert_eq!(client.get("/a"), 200);
        }
        requests += 50;
        let metrics = agent.scrape();
        assert_eq!(metrics.requests(&[]), f64::from(requests));
        most = status(agent.pid(), "VmHWM:");
        thread::sleep(Duration::from_millis(50));
    };
    ask();
    collector.stall(true);
    let began = Instant::now();
    while began.elapsed() < stall() {
        ask();
    }
    let told = "spans are lost: the collector did not answer within 3s";
    agent.wait_for_log(told, |_| Some(()));
    assert_eq!(agent.log().matches(told).count(), 1, "{}", agent.log());
    collector.stall(false);
    agent.wait_for_log("the collector takes spans again", |_| Some(()));
    ask();
    // What waits to be sent is bounded.
    println!("peak {most} KiB");
    assert!(most <= 6 * 1024, "{most} KiB");
    // Each span has arrived, or is counted as lost.
    wait_until("every span is accounted for", || {
        let lost = agent.scrape().lost() as usize;
        assert!(lost > 0);
        collector.spans().len() + lost == requests as usize
    });
}
