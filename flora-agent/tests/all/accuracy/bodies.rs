//! Whatever follows a head: none of it is taken for a message, and all of it is passed over.

use super::Case;
use super::client::{FIELDS, request, upload};
use crate::support::needs_root;

#[test]
fn chunks_and_trailers_both_ways() {
    needs_root!("chunks_and_trailers_both_ways");
    let mut case = Case::new();
    let mut client = case.connect();
    let mut bytes = format!("POST /chunked HTTP/1.1\r\n{FIELDS}Transfer-Encoding: chunked\r\n\r\n")
        .into_bytes();
    bytes.extend(b"12;x=y\r\nGET / HTTP/1.1\r\n\r\n\r\n");
    bytes.extend(b"0013\r\nHTTP/1.1 500 No\r\n\r\n\r\n0\r\nContent-Length: 5\r\nX: y\r\n\r\n");
    for size in (1..bytes.len()).step_by(7) {
        for part in bytes.chunks(size) {
            client.send(part);
        }
        assert_eq!(client.answer(false).status, 200);
        // One more right behind it.
        client.send(&[&bytes[..], &request("GET", "/bytes/9")].concat());
        client.answer(false);
        client.answer(false);
    }
    let rounds = bytes.len().div_ceil(7) as u64;
    assert!(case.exact().abs_diff(3 * rounds) <= 3);
}

/// Segments of bodies that start like requests and answers.
#[test]
fn bodies_that_look_like_messages() {
    needs_root!("bodies_that_look_like_messages");
    let mut case = Case::new();
    let mut client = case.connect();
    for _ in 0..20 {
        let piece = b"GET / HTTP/1.1\r\n\r\nHTTP/1.1 500 No\r\n\r\n";
        let whole = upload("/mimic/30", &piece.repeat(30));
        let head = whole.len() - 30 * piece.len();
        client.send(&whole[..head]);
        for part in whole[head..].chunks(piece.len()) {
            client.send(part);
        }
        assert_eq!(client.answer(false).status, 200);
    }
    assert_eq!(case.exact(), 20);
}

#[test]
fn answers_without_a_body() {
    needs_root!("answers_without_a_body");
    let mut case = Case::new();
    let mut client = case.connect();
    for _ in 0..20 {
        assert_eq!(client.ask("HEAD", "/bytes/100000"), 200);
        assert_eq!(client.get("/status/204"), 204);
        assert_eq!(client.get("/status/304"), 304);
        assert_eq!(client.ask("HEAD", "/chunked"), 200);
        // All of them again, at once.
        let mut all = request("HEAD", "/bytes/100000");
        all.extend(request("GET", "/status/204"));
        all.extend(request("HEAD", "/status/304"));
        all.extend(request("GET", "/bytes/1"));
        client.send(&all);
        for head_only in [true, false, true, false] {
            client.answer(head_only);
        }
    }
    assert_eq!(case.exact(), 160);
}

#[test]
fn answers_before_the_final_one() {
    needs_root!("answers_before_the_final_one");
    let mut case = Case::new();
    let mut client = case.connect();
    let body = b"HTTP/1.1 100 Continue\r\n\r\n";
    for path in ["/continue/5", "/continue-joined/5"] {
        for waits in [true, false] {
            let whole = upload(path, body);
            let whole = String::from_utf8(whole).unwrap();
            let whole = whole.replace("Accept:", "Expect: 100-continue\r\nAccept:");
            let (head, body) = whole.split_at(whole.len() - body.len());
            client.send(head.as_bytes());
            if waits && path == "/continue/5" {
                assert_eq!(client.next(false).status, 100);
            }
            client.send(body.as_bytes());
            let answer = client.answer(false);
            assert_eq!((answer.status, answer.body.len()), (200, 5));
        }
        assert_eq!(client.get("/bytes/1"), 200);
    }
    assert_eq!(case.exact(), 6);
}

#[test]
fn tens_of_megabytes_both_ways() {
    needs_root!("tens_of_megabytes_both_ways");
    let mut case = Case::new();
    let mut client = case.connect();
    let size = 30_000_000;
    let body = vec![b'x'; size];
    let whole = upload("/bytes/30000000", &body);
    client.send(&whole);
    assert_eq!(client.answer(false).body.len(), size);
    // As chunks of a megabyte.
    let head = format!("PUT /bytes/7 HTTP/1.1\r\n{FIELDS}Transfer-Encoding: chunked\r\n\r\n");
    client.send(head.as_bytes());
    for chunk in body.chunks(1_000_000) {
        let line = format!("{:x}\r\n", chunk.len());
        client.send(&[line.as_bytes(), chunk, b"\r\n"].concat());
    }
    client.send(b"0\r\n\r\n");
    assert_eq!(client.answer(false).status, 200);
    assert_eq!(client.get("/bytes/7"), 200);
    assert_eq!(case.exact(), 3);
    let metrics = case.agent.scrape();
    let download = metrics.sum(
        "flora_http_response_bytes_total",
        &[("route", "/bytes/:id")],
    );
    assert!(download >= size as f64, "{download}");
    let sent = metrics.sum("flora_http_request_bytes_total", &[("method", "POST")]);
    assert_eq!(sent, whole.len() as f64);
    let lines = size.div_ceil(1_000_000) * "f4240\r\n\r\n".len();
    let chunked = head.len() + size + lines + "0\r\n\r\n".len();
    let sent = metrics.sum("flora_http_request_bytes_total", &[("method", "PUT")]);
    assert_eq!(sent, chunked as f64);
}

/// After 101 both ways are somebody else's, whatever they look like.
#[test]
fn upgraded_connections() {
    needs_root!("upgraded_connections");
    let mut case = Case::new();
    let mut client = case.connect();
    assert_eq!(client.get("/bytes/1"), 200);
    assert_eq!(client.get("/upgrade"), 101);
    for _ in 0..50 {
        let frame = b"GET / HTTP/1.1\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
        client.send(frame);
        let mut back = vec![0; frame.len()];
        std::io::Read::read_exact(&mut client.stream, &mut back).unwrap();
        assert_eq!(back, frame);
    }
    assert_eq!(case.exact(), 2);
}
