//! Headers, bodies and query strings never get out.

use std::time::Duration;

use crate::server::Server;
use crate::spans::Collector;
use crate::support::{Agent, Group, needs_root, wait_until};

const SECRET: &str = "hunter2hunter2";

#[test]
fn a_planted_secret_is_nowhere() {
    needs_root!("a_planted_secret_is_nowhere");
    let group = Group::new();
    let server = Server::start(&group);
    let collector = Collector::start();
    let agent = Agent::watch(
        &group,
        &[
            "--verbose",
            "--otlp-endpoint",
            &collector.endpoint(),
            "--sample-every",
            "1",
        ],
    );
    let mut client = server.connect();
    let headers = format!("Authorization: Bearer {SECRET}\r\nCookie: session={SECRET}\r\n");
    for method in ["GET", "POST", "PUT"] {
        for target in [
            format!("/login?password={SECRET}"),
            format!("/{}?{SECRET}", "long/".repeat(20)),
            format!("http://user:{SECRET}@test/absolute?{SECRET}"),
        ] {
            let body = format!("password={SECRET}");
            client.request(method, &target, &headers, &body).unwrap();
        }
    }
    wait_until("nine spans", || collector.spans().len() >= 9);
    let metrics = agent.scrape_text();
    assert!(metrics.contains("/login"), "{metrics}");
    assert!(!metrics.contains(SECRET), "{metrics}");
    std::thread::sleep(Duration::from_millis(100));
    let (_, log) = agent.terminate();
    assert!(!log.contains(SECRET), "{log}");
    for body in collector.bodies() {
        assert!(!body.contains(SECRET), "{body}");
    }
}
