//! Segments out of their order, connections seen from their middle, and more than can be read:
//! every answer is counted or known to be lost, and the next exchange is seen.

use flora_agent_common::layout::lost;
use flora_agent_common::simulation::Simulation;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const FIELDS: &str =
    "Host: example.org\r\nAccept: */*\r\nUser-Agent: a test of some length/1.0\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nServer: test\r\nContent-Length: 2\r\n\r\nok";

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\n{FIELDS}\r\n").into_bytes()
}

/// Ten exchanges are counted as such, and nothing more is lost.
fn is_in_step(simulation: &mut Simulation) {
    let (counted, unmatched) = (simulation.counted().len(), simulation.lost(lost::UNMATCHED));
    for number in 0..10 {
        simulation.request(&get(&format!("/step/{number}")));
        simulation.response(OK);
    }
    let all = simulation.counted();
    assert_eq!(all.len(), counted + 10);
    for (number, one) in all[counted..].iter().enumerate() {
        assert_eq!(one.text, format!("GET /step/{number}").as_bytes());
        assert!(one.ended);
    }
    assert_eq!(simulation.lost(lost::UNMATCHED), unmatched);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// A segment with any number of messages, of any size: what is read is counted, the rest is lost.
    #[test]
    fn more_than_can_be_read(count in 1usize..64, odd in 0usize..4, size in 0usize..300) {
        let mut simulation = Simulation::new();
        let mut requests = Vec::new();
        let mut responses = Vec::new();
        for number in 0..count {
            requests.extend(get(&format!("/{}", "x".repeat(size % 50))));
            if number % 4 < odd {
                responses.extend(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                responses.extend(format!("{size:x}\r\n{}\r\n", "x".repeat(size)).bytes());
                if size > 0 {
                    responses.extend(b"0\r\n\r\n");
                }
            } else {
                responses.extend(OK);
            }
        }
        for part in requests.chunks(600) {
            simulation.request(part);
        }
        simulation.response(&responses);
        let seen = simulation.counted().len() as u64;
        prop_assert_eq!(seen + simulation.lost(lost::UNMATCHED), count as u64);
        prop_assert!(seen >= 33.min(count as u64) / 2);
        is_in_step(&mut simulation);
    }

    /// The same when the answers come in several segments: none of them counts twice.
    #[test]
    fn more_than_can_be_read_in_several_segments(count in 34usize..64, cuts in vec(any::<Index>(), 1..4)) {
        let mut simulation = Simulation::new();
        for _ in 0..count {
            simulation.request(&get("/"));
        }
        // Between answers, as a server's writes are; within one nothing is promised.
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(count)).collect();
        cuts.extend([0, count]);
        cuts.sort_unstable();
        for pair in cuts.windows(2).filter(|pair| pair[0] < pair[1]) {
            simulation.response(&OK.repeat(pair[1] - pair[0]));
        }
        let seen = simulation.counted().len() as u64;
        prop_assert_eq!(seen + simulation.lost(lost::UNMATCHED), count as u64);
        is_in_step(&mut simulation);
        // What answers nothing is lost, now as before.
        let unmatched = simulation.lost(lost::UNMATCHED);
        simulation.response(OK);
        prop_assert_eq!(simulation.lost(lost::UNMATCHED), unmatched + 1);
    }

    /// Requests cut into segments of which two are swapped, one after another: no answer goes
    /// uncounted, and each exchange that keeps its order is seen.
    #[test]
    fn swapped(size in 20usize..120, at in 0usize..4) {
        let mut simulation = Simulation::new();
        let request = get("/swapped?a=b");
        let parts: Vec<_> = request.chunks(size).collect();
        let mut numbered: Vec<_> = parts
            .iter()
            .map(|part| (simulation.withhold(part.len()), *part))
            .collect();
        if at + 1 < numbered.len() {
            numbered.swap(at, at + 1);
        }
        for (sequence, part) in numbered {
            simulation.request_at(sequence, part);
        }
        simulation.response(OK);
        let seen = simulation.counted().len() as u64;
        prop_assert_eq!(seen + simulation.lost(lost::UNMATCHED), 1);
        prop_assert_eq!(simulation.lost(lost::NOT_HTTP), 0);
        is_in_step(&mut simulation);
    }

    /// A connection that is seen from any of its first bytes on.
    #[test]
    fn attached_late(at in 1usize..200, upload: bool) {
        let mut simulation = Simulation::attached_late();
        let mut request = get("/late");
        if upload {
            request = format!("POST /late HTTP/1.1\r\n{FIELDS}Content-Length: 200\r\n\r\n").into_bytes();
            request.extend([b'x'; 200]);
        }
        let at = at.min(request.len());
        simulation.withhold(at);
        if at < request.len() {
            simulation.request(&request[at..]);
        }
        simulation.response(OK);
        prop_assert_eq!(simulation.counted().len(), 0);
        prop_assert_eq!(simulation.lost(lost::UNMATCHED), 1);
        is_in_step(&mut simulation);
    }
}

#[test]
fn an_answer_before_the_head_has_ended() {
    let mut simulation = Simulation::new();
    let request = get("/early");
    simulation.request(&request[..request.len() - 10]);
    simulation.response(b"HTTP/1.1 431 Too Long\r\nContent-Length: 0\r\n\r\n");
    let counted = simulation.counted();
    assert_eq!((counted.len(), counted[0].status), (1, 431));
    assert_eq!(counted[0].text, b"GET /early");
    assert_eq!(simulation.lost(lost::UNMATCHED), 0);
    simulation.request(&request[request.len() - 10..]);
    is_in_step(&mut simulation);
}

#[test]
fn a_repeated_request_after_a_gap_is_not_a_new_one() {
    let mut simulation = Simulation::new();
    let first = simulation.withhold(get("/a").len());
    simulation.request_at(first, &get("/a"));
    simulation.response(OK);
    simulation.withhold(40);
    // What follows the gap starts no message; what was there before is no news.
    simulation.request(b"rest of a head that was never seen\r\n\r\n");
    simulation.request_at(first, &get("/a"));
    simulation.response(OK);
    assert_eq!(simulation.counted().len(), 1);
    assert_eq!(simulation.lost(lost::UNMATCHED), 1);
    is_in_step(&mut simulation);
}

#[test]
fn hundreds_of_small_chunks() {
    let mut simulation = Simulation::new();
    simulation.request(&get("/chunks"));
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for number in 1..240 {
        answer.extend(format!("{number:x}\r\n{}\r\n", "x".repeat(number)).bytes());
    }
    answer.extend(b"0\r\n\r\n");
    simulation.response(&answer);
    let counted = simulation.counted();
    assert_eq!(counted.len(), 1);
    assert!(counted[0].ended);
    assert_eq!(counted[0].response_bytes, answer.len() as u64);
    assert_eq!(simulation.lost(lost::SCAN), 0);
    is_in_step(&mut simulation);
}

#[test]
fn a_line_of_thirty_thousand_bytes() {
    let mut simulation = Simulation::new();
    let cookie = "c=1; ".repeat(6000);
    let request = format!("GET /long HTTP/1.1\r\n{FIELDS}Kookie: {cookie}\r\n\r\n");
    simulation.request(request.as_bytes());
    simulation.response(OK);
    assert_eq!(simulation.counted().len(), 1);
    assert_eq!(simulation.counted()[0].request_bytes, request.len() as u64);
    is_in_step(&mut simulation);
}

/// A hole goes over the end of a chunk: what was left of it is not taken from the next upload.
#[test]
fn a_hole_in_a_chunked_upload_and_another_upload() {
    let head = format!("POST /up HTTP/1.1\r\n{FIELDS}Transfer-Encoding: chunked\r\n\r\n");
    let mut simulation = Simulation::new();
    simulation.request(head.as_bytes());
    simulation.request(format!("400\r\n{}", "x".repeat(100)).as_bytes());
    simulation.withhold(2000);
    simulation.request("x".repeat(100).as_bytes());
    simulation.response(OK);
    assert_eq!(simulation.lost(lost::GAP), 1);
    let whole = format!("{head}5\r\nhello\r\n0\r\n\r\n");
    simulation.request(whole.as_bytes());
    simulation.response(OK);
    let counted = simulation.counted();
    assert_eq!(counted.len(), 2);
    assert_eq!(counted[1].request_bytes, whole.len() as u64);
    is_in_step(&mut simulation);
    assert_eq!(simulation.lost(lost::UNMATCHED), 0);
}
