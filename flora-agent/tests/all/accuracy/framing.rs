//! However messages lie in segments.

use super::Case;
use super::client::{FIELDS, request, upload};
use crate::support::needs_root;

#[test]
fn one_after_another() {
    needs_root!("one_after_another");
    let mut case = Case::new();
    let mut clients: Vec<_> = (0..8).map(|_| case.connect()).collect();
    for number in 0..200 {
        for client in &mut clients {
            assert_eq!(client.get(&format!("/bytes/{number}")), 200);
        }
    }
    assert_eq!(case.exact(), 1600);
}

/// Heads of the length that browsers and servers send, all in one segment or in a few.
#[test]
fn sixteen_at_once() {
    needs_root!("sixteen_at_once");
    let mut case = Case::new();
    let mut client = case.connect();
    for piece in [usize::MAX, 16_000, 1400, 700, 99] {
        let mut all = Vec::new();
        for number in 0..16 {
            match number % 4 {
                0 => all.extend(upload(
                    &format!("/bytes/{number}"),
                    b"GET / HTTP/1.1\r\n\r\n",
                )),
                1 => all.extend(request("HEAD", "/bytes/100")),
                2 => all.extend(request("GET", "/chunked")),
                _ => all.extend(request("GET", "/status/204")),
            }
        }
        for part in all.chunks(piece.min(all.len())) {
            client.send(part);
        }
        for number in 0..16 {
            client.answer(number % 4 == 1);
        }
    }
    assert_eq!(case.exact(), 80);
}

/// Sixty requests are open at once, and answered in one segment.
#[test]
fn sixty_at_once() {
    needs_root!("sixty_at_once");
    let mut case = Case::new();
    let mut client = case.connect();
    client.send(&request("GET", "/hold"));
    for _ in 1..31 {
        client.send(&request("GET", "/bytes/10").repeat(2));
    }
    // All are in the server's hands.
    std::thread::sleep(std::time::Duration::from_millis(50));
    case.truth.release();
    for _ in 0..61 {
        assert_eq!(client.answer(false).status, 200);
    }
    // A program may call another 33 times: what does not fit is known to be lost.
    let served: u64 = case.truth.served().values().sum();
    let metrics = case.agent.scrape();
    let seen = metrics.requests(&[]) as u64;
    assert_eq!(
        seen + super::unmatched(&metrics),
        served,
        "{}",
        super::losses(&metrics)
    );
    assert!(seen >= 30, "{seen}");
    // And the connection is in step again.
    for _ in 0..20 {
        client.get("/bytes/3");
    }
    let after = case.agent.scrape();
    assert_eq!(after.requests(&[]) as u64, seen + 20);
    assert_eq!(after.lost(), metrics.lost());
}

#[test]
fn byte_by_byte() {
    needs_root!("byte_by_byte");
    let mut case = Case::new();
    let mut client = case.connect();
    for bytes in [
        request("GET", "/drip/5"),
        upload("/drip/0", b"HTTP/1.1 500 No\r\n"),
        request("DELETE", "/bytes/2"),
    ] {
        for byte in bytes {
            client.send(&[byte]);
        }
        assert_eq!(client.answer(false).status, 200);
    }
    assert_eq!(case.exact(), 3);
}

#[test]
fn split_anywhere() {
    needs_root!("split_anywhere");
    let mut case = Case::new();
    let mut client = case.connect();
    let bytes = upload("/bytes/3?GET=/", b"body");
    for at in 1..bytes.len() {
        client.send(&bytes[..at]);
        client.send(&bytes[at..]);
        assert_eq!(client.answer(false).status, 200);
    }
    // In three, around the ends of lines.
    for at in (1..bytes.len() - 2).filter(|at| bytes[*at] == b'\n') {
        client.send(&bytes[..at]);
        client.send(&bytes[at..=at]);
        client.send(&bytes[at + 1..]);
        assert_eq!(client.answer(false).status, 200);
    }
    let lines = FIELDS.lines().count() as u64 + 3;
    assert_eq!(case.exact(), bytes.len() as u64 - 1 + lines);
}

/// Heads from short to as long as servers take them: a long line, or many.
#[test]
fn long_heads() {
    needs_root!("long_heads");
    let mut case = Case::new();
    let mut client = case.connect();
    for size in [500, 900, 1000, 1100, 2000, 3000, 8000, 15_000] {
        let cookie = format!("Cookie: {}\r\n", "c=1; ".repeat(size / 5));
        let lines = "X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n".repeat(size.min(3000) / 37);
        for fields in [cookie, lines] {
            let text = format!("GET /bytes/3 HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            client.send(text.as_bytes());
            assert_eq!(client.answer(false).status, 200);
        }
    }
    assert_eq!(case.exact(), 16);
}
