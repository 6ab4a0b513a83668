//! Agents that come and go while there is traffic.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::client::{FIELDS, request, upload};
use super::truth::Truth;
use super::{Case, losses, same, unmatched};
use crate::support::{Agent, Group, needs_root, wait_until};

/// Answers of requests that came before the agent are lost, each counted as
/// such; from its next request on every connection is seen.
#[test]
fn to_connections_in_every_state() {
    needs_root!("to_connections_in_every_state");
    let group = Group::new();
    let mut truth = Truth::start(&group);
    let connect = || super::Client::connect(truth.address);
    // Between two requests.
    let mut idle = connect();
    idle.get("/bytes/5");
    // Two requests wait for their answers.
    let mut waits = connect();
    waits.send(&request("GET", "/hold").repeat(2));
    // In the middle of uploads: of known length, of chunks, of a head.
    let middles = [
        upload("/bytes/3", &[b'x'; 20_000]),
        [
            format!("POST /bytes/3 HTTP/1.1\r\n{FIELDS}Transfer-Encoding: chunked\r\n\r\n")
                .as_bytes(),
            &b"5\r\nhello\r\n".repeat(2000),
            b"0\r\n\r\n",
        ]
        .concat(),
        request("GET", "/bytes/3"),
    ];
    let mut uploads: Vec<_> = middles
        .iter()
        .map(|bytes| {
            let mut client = connect();
            client.send(&bytes[..bytes.len() / 2]);
            client
        })
        .collect();
    // In the middle of a download; the server is stuck until it is read.
    let mut download = connect();
    download.send(&request("GET", "/bytes/20000000"));
    // No longer HTTP.
    let mut upgraded = connect();
    upgraded.get("/upgrade");
    thread::sleep(Duration::from_millis(100));
    // The first, the download, the upgrade.
    let before = 3;
    wait_until("what came before has begun to be answered", || {
        truth.served().values().sum::<u64>() == before
    });

    let agent = Agent::watch(&group, &[]);
    truth.release();
    for (client, bytes) in uploads.iter_mut().zip(&middles) {
        client.send(&bytes[bytes.len() / 2..]);
        client.answer(false);
    }
    waits.answer(false);
    waits.answer(false);
    assert_eq!(download.answer(false).body.len(), 20_000_000);
    upgraded.send(b"some frame");
    upgraded.stream.read_exact(&mut [0; 10]).unwrap();

    // Five answers to requests that came before.
    let in_flight: u64 = truth.served().values().sum::<u64>() - before;
    assert_eq!(in_flight, 5);
    let metrics = agent.scrape();
    assert_eq!(metrics.requests(&[]), 0.0);
    assert_eq!(unmatched(&metrics), 5, "{}", losses(&metrics));
    let mut all: Vec<_> = uploads;
    all.extend([idle, waits, download]);
    for client in &mut all {
        for number in 0..20 {
            client.get(&format!("/bytes/{number}"));
            client.send(&upload("/chunked", &[b'x'; 3000]));
            client.answer(false);
        }
    }
    let after = agent.scrape();
    assert_eq!(
        after.requests(&[]),
        40.0 * all.len() as f64,
        "{}",
        losses(&after)
    );
    assert_eq!(after.lost(), metrics.lost(), "{}", losses(&after));
}

#[test]
fn many_see_the_same() {
    needs_root!("many_see_the_same");
    let mut case = Case::new();
    let others: Vec<_> = (0..3).map(|_| Agent::watch(&case._group, &[])).collect();
    let mut client = case.connect();
    for number in 0..50 {
        client.get(&format!("/bytes/{number}"));
        client.send(&upload("/chunked", b"GET / HTTP/1.1\r\n\r\n").repeat(5));
        for _ in 0..5 {
            client.answer(false);
        }
    }
    assert_eq!(case.exact(), 300);
    let served = case.truth.served();
    for agent in &others {
        let metrics = agent.scrape();
        same(&served, &metrics);
        assert_eq!(metrics.lost(), 0.0, "{}", losses(&metrics));
    }
}

/// Under load agents are started, ended and killed. One that is there all the
/// time sees everything; each other one is exact once the connections are in step.
#[test]
fn restarts_under_load() {
    needs_root!("restarts_under_load");
    let mut case = Case::new();
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|number: usize| {
            let (stop, mut client) = (Arc::clone(&stop), case.connect());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    client.send(&upload("/chunked", &[b'x'; 500]).repeat(1 + number));
                    for _ in 0..=number {
                        client.answer(false);
                    }
                }
                client
            })
        })
        .collect();
    let mut agent = Agent::watch(&case._group, &[]);
    wait_until("it sees", || agent.scrape().requests(&[]) > 100.0);
    agent.kill();
    let agent = Agent::watch(&case._group, &[]);
    wait_until("it sees", || agent.scrape().requests(&[]) > 100.0);
    assert!(agent.terminate().0.success());
    let last = Agent::watch(&case._group, &[]);
    // Answers are seen from a moment before requests are; however long that is, it ends here.
    let first = last.scrape();
    wait_until("it sees", || last.scrape().requests(&[]) > 100.0);
    stop.store(true, Ordering::Relaxed);
    let mut clients: Vec<_> = load.into_iter().map(|one| one.join().unwrap()).collect();
    let before = last.scrape();
    for client in &mut clients {
        for _ in 0..50 {
            client.get("/bytes/9");
        }
    }
    let after = last.scrape();
    assert_eq!(after.requests(&[]) - before.requests(&[]), 200.0);
    assert_eq!(after.lost(), before.lost(), "{}", losses(&after));
    // At most those that were open by then are lost.
    let since = unmatched(&after) - unmatched(&first);
    assert!(since <= 1 + 2 + 3 + 4, "{}", losses(&after));
    assert!(case.exact() > 400);
}

/// The packet that ends a handshake brings the first request, and belongs to the listener.
#[test]
fn requests_that_come_with_the_handshake() {
    needs_root!("requests_that_come_with_the_handshake");
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};
    let group = Group::new();
    let agent = Agent::watch(&group, &[]);
    for server_waits in [false, true] {
        let mut truth = match server_waits {
            true => Truth::start_deferred(&group, "127.0.0.1:0"),
            false => Truth::start(&group),
        };
        let before = agent.scrape().requests(&[]);
        let address = truth.address;
        let mut clients: Vec<_> = (0..50)
            .map(|_| {
                let kind = (AddressFamily::Inet, SockType::Stream, SockFlag::empty());
                let client = socket(kind.0, kind.1, kind.2, None).unwrap();
                if !server_waits {
                    super::truth::defer(&client);
                }
                let std::net::SocketAddr::V4(to) = address else {
                    panic!("{address}");
                };
                connect(
                    std::os::fd::AsRawFd::as_raw_fd(&client),
                    &SockaddrIn::from(to),
                )
                .unwrap();
                super::Client::new(client.into())
            })
            .collect();
        for _ in 0..3 {
            for client in &mut clients {
                client.send(&upload("/chunked", &[b'x'; 3000]));
            }
            for client in &mut clients {
                assert_eq!(client.answer(false).status, 200);
            }
        }
        let served: u64 = truth.served().values().sum();
        assert_eq!(served, 150);
        let metrics = agent.scrape();
        assert_eq!(
            metrics.requests(&[]) - before,
            150.0,
            "{}",
            losses(&metrics)
        );
        assert_eq!(metrics.lost(), 0.0, "{}", losses(&metrics));
    }
    drop(agent);
}

/// Only the first segment of a request makes the connection; the others come to its own socket.
#[test]
fn requests_of_several_segments_to_a_server_that_waits_for_them() {
    needs_root!("requests_of_several_segments_to_a_server_that_waits_for_them");
    let whole = upload("/bytes/3", &b"GET / HTTP/1.1\r\n\r\n".repeat(200));
    let head = whole.len() - 200 * 18;
    for address in ["127.0.0.1:0", "[::1]:0"] {
        if let Err(error) = std::net::TcpListener::bind(address) {
            eprintln!("not tried at {address}: {error}");
            continue;
        }
        let group = Group::new();
        let mut truth = Truth::start_deferred(&group, address);
        let agent = Agent::watch(&group, &[]);
        for number in 0..60 {
            let mut client = super::Client::connect(truth.address);
            client.send(&whole[..head]);
            for part in whole[head..].chunks(whole.len() / (1 + number % 9)) {
                client.send(part);
            }
            assert_eq!(client.answer(false).status, 200);
            // The connection goes on as any other.
            client.send(&whole);
            assert_eq!(client.answer(false).status, 200);
        }
        let metrics = agent.scrape();
        same(&truth.served(), &metrics);
        assert_eq!(metrics.requests(&[]), 120.0);
        assert_eq!(metrics.lost(), 0.0, "{}", losses(&metrics));
        let bytes = metrics.sum("flora_http_request_bytes_total", &[]);
        assert_eq!(bytes, (120 * whole.len()) as f64);
    }
}
