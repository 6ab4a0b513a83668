//! Whole connections, cut into segments in every way: what is counted is what was said.

use flora_agent_common::layout::lost;
use flora_agent_common::simulation::{Counted, Simulation};
use proptest::prelude::*;
use proptest::sample::Index;

/// A request and its answer, as bytes, and what they come to.
#[derive(Clone, Debug)]
struct Exchange {
    request: Vec<u8>,
    response: Vec<u8>,
    /// Bytes of answers before the final one (100 Continue).
    interim: usize,
    text: Vec<u8>,
    status: u16,
}

impl Exchange {
    fn counted(&self) -> Counted {
        Counted {
            text: self.text.clone(),
            status: self.status,
            response_bytes: (self.response.len() - self.interim) as u64,
            request_bytes: self.request.len() as u64,
            ended: true,
        }
    }
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nabc".to_vec()),
        Just(Vec::new()),
        proptest::collection::vec(any::<u8>(), 1..700),
    ]
}

fn headers() -> impl Strategy<Value = String> {
    let one = prop_oneof![
        Just("Host: example.org".to_owned()),
        Just("Content-Type: application/json".to_owned()),
        Just("Content-Lengths: 99".to_owned()),
        Just("Transfer-Encodings: chunked".to_owned()),
        Just("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        Just("a:".to_owned()),
        "[A-Za-z-]{1,20}: [ -~]{0,80}".prop_filter("one that frames", |line| {
            let line = line.to_ascii_lowercase();
            !line.starts_with("content-length") && !line.starts_with("transfer-encoding")
        }),
    ];
    proptest::collection::vec(one, 0..12)
        .prop_map(|lines| lines.iter().map(|line| format!("{line}\r\n")).collect())
}

fn chunked(body: &[u8], sizes: &[Index], trailer: bool) -> Vec<u8> {
    let mut text = Vec::new();
    let mut rest = body;
    for size in sizes {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at(1 + size.index(rest.len()));
        text.extend(format!("{:X};x=1\r\n", chunk.len()).bytes());
        text.extend(chunk);
        text.extend(b"\r\n");
        rest = after;
    }
    if !rest.is_empty() {
        text.extend(format!("{:x}\r\n", rest.len()).bytes());
        text.extend(rest);
        text.extend(b"\r\n");
    }
    text.extend(if trailer {
        &b"0\r\nContent-Length: 7\r\nDigest: x\r\n\r\n"[..]
    } else {
        b"0\r\n\r\n"
    });
    text
}

/// How a message with a body says where it ends.
fn framed(
    first: String,
    headers: String,
    body: Vec<u8>,
    way: u8,
    sizes: &[Index],
    allowed: bool,
) -> Vec<u8> {
    let mut text = first.into_bytes();
    let (field, body) = match way {
        0 => (format!("Content-Length: {}\r\n", body.len()), body),
        1 => (format!("content-length:{}\r\n", body.len()), body),
        2 => (
            "Transfer-Encoding: chunked\r\n".to_owned(),
            chunked(&body, sizes, false),
        ),
        _ => (
            "TRANSFER-ENCODING: gzip, chunked\r\n".to_owned(),
            chunked(&body, sizes, true),
        ),
    };
    text.extend(field.bytes());
    text.extend(headers.bytes());
    text.extend(b"\r\n");
    if allowed {
        text.extend(body);
    }
    text
}

prop_compose! {
    fn exchange()(
        method in prop_oneof![Just("GET"), Just("HEAD"), Just("POST"), Just("DELETE"), Just("OPTIONS"), Just("PROPFIND")],
        path in prop_oneof![Just("/".to_owned()), "/[a-z]{1,8}(/[0-9]{1,9}){0,2}", "/[a-z/]{60,90}"],
        query in prop_oneof![Just(String::new()), Just("?secret=GET / HTTP".to_owned().replace(' ', "%20"))],
        has_body: bool,
        request_headers in headers(),
        response_headers in headers(),
        request_body in body(),
        response_body in body(),
        status in prop_oneof![Just(200u16), Just(404), Just(500), Just(204), Just(304)],
        ways in (0u8..4, 0u8..4),
        sizes in proptest::collection::vec(any::<Index>(), 0..6),
        interim: bool,
    ) -> Exchange {
        let line = format!("{method} {path}{query} HTTP/1.1\r\n");
        let request = if has_body {
            framed(line, request_headers, request_body, ways.0, &sizes, true)
        } else {
            format!("{line}{request_headers}\r\n").into_bytes()
        };
        let bodyless = method == "HEAD" || status == 204 || status == 304;
        let answer = framed(
            format!("HTTP/1.1 {status} Text\r\n"),
            response_headers,
            response_body,
            ways.1,
            &sizes,
            !bodyless,
        );
        let before: &[u8] = if interim { b"HTTP/1.1 100 Continue\r\n\r\n" } else { b"" };
        let mut text = format!("{method} {path}").into_bytes();
        text.truncate(64);
        Exchange {
            request,
            response: [before, &answer].concat(),
            interim: before.len(),
            text,
            status,
        }
    }
}

/// Cuts bytes at some places.
fn cut<'a>(bytes: &'a [u8], places: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = places
        .iter()
        .map(|place| place.index(bytes.len() + 1))
        .collect();
    places.sort_unstable();
    places.push(bytes.len());
    let mut from = 0;
    let mut parts = Vec::new();
    for to in places {
        if to > from {
            parts.push(&bytes[from..to]);
            from = to;
        }
    }
    parts
}

fn is_all(simulation: &Simulation, exchanges: &[Exchange]) -> Result<(), TestCaseError> {
    let expected: Vec<_> = exchanges.iter().map(Exchange::counted).collect();
    let counted = simulation.counted();
    prop_assert_eq!(counted.len(), expected.len());
    for (counted, expected) in counted.iter().zip(&expected) {
        prop_assert_eq!(&counted.text, &expected.text);
        prop_assert_eq!(counted.status, expected.status);
        prop_assert_eq!(counted.response_bytes, expected.response_bytes);
        prop_assert!(counted.ended);
        // All of a request is here before its answer begins, which is when it counts.
        prop_assert_eq!(counted.request_bytes, expected.request_bytes);
    }
    for reason in [
        lost::GAP,
        lost::UNMATCHED,
        lost::QUEUE,
        lost::NOT_HTTP,
        lost::READ,
    ] {
        prop_assert_eq!(simulation.lost(reason), 0);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// One exchange after another, each message cut anywhere.
    #[test]
    fn in_turn(
        exchanges in proptest::collection::vec(exchange(), 1..5),
        places in proptest::collection::vec(any::<Index>(), 0..4),
    ) {
        let mut simulation = Simulation::new();
        for exchange in &exchanges {
            for part in cut(&exchange.request, &places) {
                simulation.request(part);
            }
            for part in cut(&exchange.response, &places) {
                simulation.response(part);
            }
        }
        is_all(&simulation, &exchanges)?;
    }

    /// All requests at once and all answers at once, cut anywhere.
    #[test]
    fn pipelined(
        exchanges in proptest::collection::vec(exchange(), 1..8),
        places in proptest::collection::vec(any::<Index>(), 6..12),
    ) {
        let requests: Vec<u8> = exchanges.iter().flat_map(|e| e.request.clone()).collect();
        let responses: Vec<u8> = exchanges.iter().flat_map(|e| e.response.clone()).collect();
        let mut simulation = Simulation::new();
        for part in cut(&requests, &places) {
            simulation.request(part);
        }
        for part in cut(&responses, &places) {
            simulation.response(part);
        }
        prop_assume!(simulation.lost(lost::SCAN) == 0);
        is_all(&simulation, &exchanges)?;
    }

    /// A segment that comes twice, later again, changes nothing.
    #[test]
    fn repeated(exchange in exchange(), places in proptest::collection::vec(any::<Index>(), 0..4)) {
        let mut simulation = Simulation::new();
        let mut sent = Vec::new();
        for part in cut(&exchange.request, &places) {
            let sequence = simulation.withhold(part.len());
            simulation.request_at(sequence, part);
            simulation.request_at(sequence, part);
            sent.push((sequence, part));
        }
        simulation.response(&exchange.response);
        for (sequence, part) in sent {
            simulation.request_at(sequence, part);
        }
        is_all(&simulation, std::slice::from_ref(&exchange))?;
    }

    /// Any bytes at all: nothing panics, and nothing is counted that was not answered.
    #[test]
    fn anything(
        segments in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 1..400)), 0..12),
    ) {
        let mut simulation = Simulation::new();
        for (request, bytes) in &segments {
            if *request {
                simulation.request(bytes);
            } else {
                simulation.response(bytes);
            }
        }
    }
}

#[test]
fn every_split_of_two_messages() {
    let request: &[u8] = b"POST /a/17?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n";
    let response: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno";
    for at in 0..=request.len() {
        for to in 0..=response.len() {
            let mut simulation = Simulation::new();
            for part in [&request[..at], &request[at..]] {
                if !part.is_empty() {
                    simulation.request(part);
                }
            }
            for part in [&response[..to], &response[to..]] {
                if !part.is_empty() {
                    simulation.response(part);
                }
            }
            let statuses: Vec<_> = simulation
                .counted()
                .iter()
                .map(|c| (c.status, c.ended))
                .collect();
            assert_eq!(statuses, [(200, true), (404, true)], "{at} {to}");
        }
    }
}

#[test]
fn one_byte_at_a_time() {
    let mut simulation = Simulation::new();
    for byte in b"GET /objects HTTP/1.1\r\nHost: a\r\n\r\n" {
        simulation.request(&[*byte]);
    }
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" {
        simulation.response(&[*byte]);
    }
    let counted = simulation.counted();
    assert_eq!(counted.len(), 1);
    assert_eq!(counted[0].text, b"GET /objects");
    assert!(counted[0].ended);
}

#[test]
fn the_usual_way_needs_no_machine() {
    let mut simulation = Simulation::new();
    for n in 0..100 {
        simulation.request(
            format!("GET /objects/{n} HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n").as_bytes(),
        );
        simulation.response(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok",
        );
        simulation.request(b"POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\nab");
        simulation.request(&[b'x'; 99_998]);
        simulation.response(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        simulation.response(&[b'x'; 100_000]);
    }
    assert_eq!(simulation.counted().len(), 200);
    assert_eq!(simulation.scans, 0);
}

#[test]
fn a_hole_in_an_upload_is_stepped_over() {
    let mut simulation = Simulation::new();
    simulation.request(b"POST / HTTP/1.1\r\nContent-Length: 3000\r\n\r\n");
    simulation.request(&[b'x'; 1000]);
    let missing = simulation.withhold(1000);
    simulation.request(&[b'x'; 1000]);
    simulation.request_at(missing, &[b'x'; 1000]);
    simulation.response(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    simulation.request(b"GET / HTTP/1.1\r\n\r\n");
    simulation.response(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(simulation.counted().len(), 2);
    assert_eq!(simulation.lost(lost::GAP), 0);
}

#[test]
fn a_request_that_was_not_seen_is_lost_and_the_next_is_not() {
    let mut simulation = Simulation::new();
    simulation.withhold(20);
    simulation.response(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    simulation.request(b"GET /a HTTP/1.1\r\n\r\n");
    simulation.response(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(simulation.counted().len(), 1);
    assert_eq!(simulation.lost(lost::UNMATCHED), 1);
}

#[test]
fn until_the_connection_closes() {
    let mut simulation = Simulation::new();
    simulation.request(b"GET /a HTTP/1.0\r\n\r\n");
    simulation.response(b"HTTP/1.0 200 OK\r\n\r\nsome");
    simulation.response(b"HTTP/1.1 200 OK\r\n\r\n and more");
    assert!(!simulation.counted()[0].ended);
    simulation.close();
    let counted = simulation.counted();
    assert_eq!(counted.len(), 1);
    assert!(counted[0].ended);
    assert_eq!(simulation.lost(lost::ABORTED), 0);
}

#[test]
fn after_an_upgrade_nothing_is_http() {
    let mut simulation = Simulation::new();
    simulation.request(b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    simulation.response(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
    simulation.request(b"GET / HTTP/1.1\r\n\r\n");
    simulation.response(b"HTTP/1.1 200 OK\r\n\r\n");
    let counted = simulation.counted();
    assert_eq!(counted.len(), 1);
    assert_eq!(counted[0].status, 101);
}

const UPLOAD: &str = "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Chunks count as they come, as long as nothing answers them.
#[test]
fn bytes_of_chunked_uploads() {
    let mut simulation = Simulation::new();
    for answered_early in [false, true] {
        simulation.request(format!("{UPLOAD}5\r\nhel").as_bytes());
        if answered_early {
            simulation.response(OK);
        }
        simulation.request(b"lo\r\n0\r\nDigest: x\r\n\r\n");
        if !answered_early {
            simulation.response(OK);
        }
    }
    let bytes: Vec<_> = simulation
        .counted()
        .iter()
        .map(|one| one.request_bytes)
        .collect();
    let first = UPLOAD.len() as u64 + 6;
    assert_eq!(bytes, [first + 20, first]);
    // Empty lines behind it are no part of it.
    simulation.request(format!("{UPLOAD}0\r\n\r\n").as_bytes());
    simulation.request(b"\r\n\r\n");
    simulation.request(b"GET /b HTTP/1.1\r\nA:");
    simulation.request(b" b\r\n\r\n");
    simulation.response(OK);
    simulation.response(OK);
    let counted = simulation.counted();
    assert_eq!(counted[2].request_bytes, UPLOAD.len() as u64 + 5);
    assert_eq!(counted[3].request_bytes, 25);
}

/// What is missing inside a body was sent all the same, and is that request's and no other's.
#[test]
fn bytes_of_uploads_with_holes() {
    let mut simulation = Simulation::new();
    let text = format!("{UPLOAD}3e8\r\n{}\r\n0\r\n\r\n", "x".repeat(1000));
    let (first, rest) = text.split_at(300);
    simulation.request(first.as_bytes());
    simulation.withhold(300);
    simulation.request(&rest.as_bytes()[300..]);
    simulation.response(OK);
    // Of known length, but read by the machine, and its end is missing.
    let head = "POST /b HTTP/1.1\r\nContent-Length: 10\r\n\r\n";
    simulation.request(&head.as_bytes()[..20]);
    simulation.request(&head.as_bytes()[20..]);
    simulation.withhold(10);
    let next = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(200));
    simulation.request(&next.as_bytes()[..190]);
    simulation.request(&next.as_bytes()[190..]);
    simulation.response(OK);
    simulation.response(OK);
    let counted = simulation.counted();
    let bytes: Vec<_> = counted.iter().map(|one| one.request_bytes).collect();
    let sent = [text.len(), head.len() + 10, next.len()];
    assert_eq!(bytes, sent.map(|length| length as u64));
    assert_eq!(simulation.lost(lost::GAP), 0);
}

#[test]
fn a_body_of_more_than_four_gigabytes() {
    let mut simulation = Simulation::new();
    simulation.request(b"POST /a HTTP/1.1\r\nContent-Length: 5000000000\r\n\r\n");
    simulation.response(OK);
    assert_eq!(simulation.counted()[0].request_bytes, u64::from(u32::MAX));
}

/// Slots are taken back while a connection pauses, while it waits for an answer, and in one's middle.
#[test]
fn what_was_taken_back_is_looked_up_again() {
    let mut simulation = Simulation::new();
    let ask = |simulation: &mut Simulation| simulation.request(b"GET /a HTTP/1.1\r\n\r\n");
    let (head, body) = OK.split_at(OK.len() - 2);
    ask(&mut simulation);
    simulation.response(OK);
    simulation.take_back();
    ask(&mut simulation);
    simulation.response(OK);
    ask(&mut simulation);
    simulation.take_back();
    simulation.response(OK);
    ask(&mut simulation);
    simulation.response(head);
    simulation.take_back();
    simulation.response(body);
    ask(&mut simulation);
    simulation.response(OK);
    let counted = simulation.counted();
    let counted: Vec<_> = counted
        .iter()
        .map(|one| (String::from_utf8_lossy(&one.text), one.ended))
        .collect();
    let [here, gone] = ["GET /a", "_OTHER"].map(std::borrow::Cow::from);
    assert_eq!(
        counted,
        [
            (here.clone(), true),
            (here.clone(), true),
            // What its number stood for is not known any more.
            (gone, true),
            // It was counted when it began; what comes later is not counted for another.
            (here.clone(), false),
            (here, true),
        ]
    );
    assert_eq!(simulation.lost(lost::UNMATCHED), 0);
}

/// A head whose lines end with line feeds alone, and another request in the same segment.
#[test]
fn bare_line_feeds_and_a_request_behind_them() {
    for padding in 0..40 {
        let path = "x".repeat(padding);
        let mut simulation = Simulation::new();
        let both = format!("GET /{path} HTTP/1.1\nHost: a\n\nGET /b HTTP/1.1\r\nHost: b\r\n\r\n");
        simulation.request(both.as_bytes());
        simulation.response(OK);
        simulation.response(OK);
        let texts: Vec<_> = simulation
            .counted()
            .into_iter()
            .map(|one| one.text)
            .collect();
        assert_eq!(
            texts,
            [format!("GET /{path}").as_bytes(), b"GET /b"],
            "{padding}"
        );
    }
}
