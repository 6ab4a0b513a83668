//! What is wrong, too large or too much: refused with the right status, counted by reason, within bounds.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::encode::{self, gzip};
use super::{Intake, answer, get, post, post_encoded};

/// The most that the intake may ever have resident.
const MEMORY: u64 = 64 << 20;
const PROTOBUF: &str = "application/x-protobuf";

#[test]
fn what_is_wrong_is_refused_by_reason() {
    let intake = Intake::start();
    let otlp = intake.at.otlp_http.as_str();
    let traces = encode::otlp_traces(3, 2, "/objects");
    let cut = &traces[..traces.len() - 1];
    let send = |path: &str, content_type: &str, encoding: &str, body: &[u8]| {
        post_encoded(otlp, path, content_type, encoding, body).0
    };
    assert_eq!(send("/v1/traces", PROTOBUF, "identity", cut), 400);
    assert_eq!(
        send("/v1/traces", PROTOBUF, "gzip", &gzip(&traces)[..40]),
        400
    );
    assert_eq!(send("/v1/traces", PROTOBUF, "gzip", &traces), 400);
    assert_eq!(
        send("/v1/traces", "application/json", "identity", &traces),
        400
    );
    assert_eq!(send("/v1/traces", "text/plain", "identity", &traces), 415);
    assert_eq!(send("/v1/traces", PROTOBUF, "br", &traces), 415);
    assert_eq!(send("/v1/profiles", PROTOBUF, "identity", &traces), 404);
    assert_eq!(get(otlp, "/v1/traces").0, 405);
    assert_eq!(get(&intake.at.metrics, "/").0, 404);
    let stats = encode::datadog_stats(1, "/objects");
    let at = intake.at.datadog.as_str();
    assert_eq!(post(at, "/api/v0.2/stats", PROTOBUF, &stats).0, 415);
    let msgpack = "application/msgpack";
    assert_eq!(post(at, "/api/v0.2/stats", msgpack, &stats[..9]).0, 400);

    for (reason, count) in [
        ("malformed", 5),
        ("content_type", 2),
        ("encoding", 1),
        ("path", 1),
        ("method", 1),
    ] {
        let series = format!("rejected_total{{reason=\"{reason}\"}}");
        assert_eq!(intake.count(&series), count, "{reason}");
    }
    // Nothing of what was refused is counted, not even what came before the fault.
    assert!(!intake.counts().join("\n").contains("spans_total"));
    // And it goes on.
    assert_eq!(post(otlp, "/v1/traces", PROTOBUF, &traces).0, 200);
}

#[test]
fn a_gzip_bomb_takes_no_memory() {
    let intake = Intake::start();
    // As protobuf: unknown fields of a megabyte each, 300 of them. As JSON: an array that does not end.
    let mut field = encode::bytes(15, &vec![0; 1 << 20]);
    field = field.repeat(300);
    let array = [&b"{\"resourceSpans\":["[..], &b"{},".repeat(40 << 20)].concat();
    for (content_type, body) in [(PROTOBUF, field), ("application/json", array)] {
        let bomb = gzip(&body);
        assert!(bomb.len() < 4 << 20);
        let (status, text) = post_encoded(
            &intake.at.otlp_http,
            "/v1/traces",
            content_type,
            "gzip",
            &bomb,
        );
        assert_eq!(status, 413, "{text}");
    }
    assert_eq!(intake.count("rejected_total{reason=\"too_large\"}"), 2);
    let peak = intake.peak_memory();
    assert!(peak < MEMORY, "{peak}");
}

/// Whoever goes on sending is cut off, and many at once wait for room.
#[test]
fn bodies_without_end_take_no_memory() {
    let intake = Intake::start();
    let at = intake.at.otlp_http.as_str();
    let length = format!("Content-Length: {}", 10u64 << 30);
    let threads: Vec<_> = ["Transfer-Encoding: chunked".to_owned(), length]
        .into_iter()
        .cycle()
        .take(12)
        .map(|framing| {
            let mut stream = TcpStream::connect(at).unwrap();
            std::thread::spawn(move || {
                let head = format!(
                    "POST /v1/traces HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {PROTOBUF}\r\n{framing}\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).unwrap();
                let chunk = [&b"100000\r\n"[..], &vec![b'x'; 1 << 20], b"\r\n"].concat();
                // Ten gigabytes, were they taken.
                let sent = (0..10 << 10).take_while(|_| stream.write_all(&chunk).is_ok());
                let sent = sent.count();
                let mut bytes = Vec::new();
                let _ = stream.read_to_end(&mut bytes);
                (sent, answer(&bytes).0)
            })
        })
        .collect();
    for thread in threads {
        let (sent, status) = thread.join().unwrap();
        assert!(sent < 64, "{sent} MiB were taken");
        // The answer is lost where the connection is reset while more is sent.
        assert!([0, 413].contains(&status), "{status}");
    }
    assert_eq!(intake.count("rejected_total{reason=\"too_large\"}"), 12);
    let peak = intake.peak_memory();
    assert!(peak < MEMORY, "{peak}");
}

/// Names that never repeat are counted together once there are too many.
#[test]
fn many_small_requests_with_ever_new_names_take_no_memory() {
    const REQUESTS: u64 = 5_000;
    let intake = Intake::start();
    let mut stream = TcpStream::connect(&intake.at.otlp_http).unwrap();
    for n in 0..REQUESTS {
        let body = encode::otlp_traces(1, 2, &format!("/objects/{n}"));
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(&[head.as_bytes(), &body].concat())
            .unwrap();
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).unwrap();
        assert_eq!(answer(&bytes[..read]).0, 200);
    }
    let spans: u64 = intake
        .counts()
        .iter()
        .filter(|line| line.starts_with("spans_total"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(spans, REQUESTS);
    let rest = intake.count("spans_total{overflow=\"true\"}");
    assert!(rest > REQUESTS - 300, "{rest}");
    let peak = intake.peak_memory();
    assert!(peak < MEMORY, "{peak}");
}

/// How many tiny requests are sent, over eight connections: a hundred thousand, as a million takes
/// about a minute on two busy cores. `FLORA_BENCH_TINY_REQUESTS=1000000` asks for them all.
fn tiny_requests() -> u64 {
    let asked = std::env::var("FLORA_BENCH_TINY_REQUESTS").ok();
    asked.map_or(100_000, |count| count.parse().unwrap())
}

/// As fast as they can be sent: each is answered and counted, and nothing piles up.
#[test]
fn a_flood_of_tiny_requests_takes_no_memory() {
    const CONNECTIONS: u64 = 8;
    const AT_A_TIME: u64 = 50;
    let intake = Intake::start();
    let rounds = tiny_requests() / CONNECTIONS / AT_A_TIME;
    let body = encode::otlp_traces(1, 2, "/objects");
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let requests = [head.as_bytes(), &body].concat().repeat(AT_A_TIME as usize);
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(&intake.at.otlp_http).unwrap();
                let mut answered = 0;
                let mut text = Vec::new();
                for round in 1..=rounds {
                    stream.write_all(&requests).unwrap();
                    while answered < round * AT_A_TIME {
                        let mut bytes = [0; 16 << 10];
                        let read = stream.read(&mut bytes).unwrap();
                        assert!(read > 0, "the intake hung up");
                        text.extend_from_slice(&bytes[..read]);
                        let line: &[u8] = b"HTTP/1.1 200 OK\r\n";
                        let found = text.windows(line.len()).filter(|window| *window == line);
                        answered += found.count() as u64;
                        // What may be the beginning of the next such line.
                        text.drain(..text.len().saturating_sub(line.len() - 1));
                    }
                }
            });
        }
    });
    let sent = rounds * CONNECTIONS * AT_A_TIME;
    eprintln!("{sent} tiny requests in {:.1?}", began.elapsed());
    assert_eq!(
        intake.count("requests_total{endpoint=\"otlp_traces\"}"),
        sent
    );
    let server =
        "spans_total{protocol=\"otlp_http\",kind=\"server\",route=\"/objects\",status=\"200\"}";
    assert_eq!(intake.count(server), sent);
    let peak = intake.peak_memory();
    assert!(peak < MEMORY, "{peak}");
}

/// An exporter that takes no for no answer is told no each time, and nothing piles up.
#[test]
fn who_never_stops_trying_is_refused_each_time() {
    let intake = Intake::start();
    for _ in 0..300 {
        let (status, _) = post(&intake.at.otlp_http, "/v1/traces", PROTOBUF, b"\x0a\xff");
        assert_eq!(status, 400);
    }
    assert_eq!(intake.count("rejected_total{reason=\"malformed\"}"), 300);
}
