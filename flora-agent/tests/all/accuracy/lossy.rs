//! Packets that are lost, come twice, or come late.

use std::sync::atomic::Ordering;
use std::thread;

use super::client::{Client, FIELDS, request, upload};
use super::truth::Truth;
use super::tunnel::{Namespace, SERVER, Tunnel};
use super::{losses, lost, same, unmatched};
use crate::support::{Agent, Group, Metrics, needs_root, skip};

/// Runs clients through such a network; what the server served, and what Flora says.
fn through(
    test: &str,
    seed: u64,
    client: impl Fn(&mut Client, usize) + Sync,
) -> Option<(std::collections::BTreeMap<u16, u64>, Metrics)> {
    let tunnel = match Tunnel::new(seed, 10) {
        Ok(tunnel) => tunnel,
        Err(error) => {
            skip(
                test,
                &format!("no tun device in a network namespace: {error}"),
            );
            return None;
        }
    };
    let group = Group::new();
    let mut truth = tunnel.server.within(|| Truth::start_at(&group, SERVER));
    let agent = Agent::watch(&group, &[]);
    let there: &Namespace = &tunnel.client;
    thread::scope(|scope| {
        for number in 0..8 {
            let client = &client;
            scope.spawn(move || {
                there.within(|| {
                    for round in 0..4 {
                        let mut connection = Client::connect(SERVER.parse().unwrap());
                        client(&mut connection, 4 * number + round);
                    }
                });
            });
        }
    });
    let faults = &tunnel.faults;
    println!("{faults:?}");
    for count in [&faults.lost, &faults.doubled, &faults.late] {
        assert!(count.load(Ordering::Relaxed) > 0, "{faults:?}");
    }
    let metrics = agent.scrape();
    println!("{}", losses(&metrics));
    Some((truth.served(), metrics))
}

/// Requests that are a segment each, or whose bodies are long: nothing is lost.
#[test]
fn requests_in_turn() {
    needs_root!("requests_in_turn");
    let run = through("requests_in_turn", 0x5eed, |client, _| {
        for number in 0..12 {
            client.get(&format!("/bytes/{number}"));
            client.get("/bytes/60000");
            client.send(&upload("/chunked", &[b'x'; 30_000]));
            client.answer(false);
            client.ask("HEAD", "/bytes/10");
        }
    });
    let Some((served, metrics)) = run else {
        return;
    };
    same(&served, &metrics);
    // A segment that comes before the one it follows is noticed; its request is seen all the same.
    let early = lost(&metrics, "segment_gap") as f64;
    assert_eq!(metrics.lost(), early, "{}", losses(&metrics));
}

/// Heads of several segments and pipelined requests. Flora sees segments as they
/// come, so where one of these is lost or late, what is lost is counted; the answers
/// are all there.
#[test]
fn requests_of_many_segments() {
    needs_root!("requests_of_many_segments");
    let run = through("requests_of_many_segments", 0xfeed, |client, _| {
        let cookie = format!("Cookie: {}\r\n", "c=1; ".repeat(500));
        let long = format!("GET /bytes/5 HTTP/1.1\r\n{FIELDS}{cookie}\r\n");
        for _ in 0..6 {
            client.send(long.as_bytes());
            client.answer(false);
            for _ in 0..4 {
                client.send(&request("GET", "/bytes/700"));
            }
            for _ in 0..4 {
                client.answer(false);
            }
        }
    });
    let Some((served, metrics)) = run else {
        return;
    };
    let served: u64 = served.values().sum();
    let seen = metrics.requests(&[]) as u64;
    assert_eq!(seen + unmatched(&metrics), served, "{}", losses(&metrics));
    // One late segment costs its own request, and few others.
    assert!(seen >= served * 9 / 10, "{seen} of {served}");
    assert_eq!(lost(&metrics, "not_http"), 0);
}
