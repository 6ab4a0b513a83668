//! What holds of a connection whatever its bytes are: the fuzzer's target, and a test of the
//! ordinary run. Both include this file.
//!
//! An input is a script: each 0xFF begins a segment, the byte behind it says which, and what
//! follows up to the next 0xFF are its bytes.
//!
//! | byte | segment |
//! |---|---|
//! | `>` | of the client |
//! | `<` | of the server |
//! | `-` | of the client, which does not arrive |
//! | `=` | the client's last one once more, whatever it says here |
//! | `!` | none: the server closes |

use flora_agent_common::layout::lost;
use flora_agent_common::simulation::Simulation;

/// What a script does, in turn.
#[derive(Clone, Copy)]
enum Step<'a> {
    Client(&'a [u8]),
    Server(&'a [u8]),
    Lost(&'a [u8]),
    Again,
    Close,
}

fn steps(script: &[u8]) -> impl Iterator<Item = Step<'_>> {
    script.split(|byte| *byte == 0xff).filter_map(|part| {
        let (kind, bytes) = part.split_first()?;
        match kind {
            b'!' => Some(Step::Close),
            b'=' => Some(Step::Again),
            // A segment without bytes reaches no program.
            _ if bytes.is_empty() => None,
            b'>' => Some(Step::Client(bytes)),
            b'<' => Some(Step::Server(bytes)),
            b'-' => Some(Step::Lost(bytes)),
            _ => None,
        }
    })
}

/// Runs a script.
///
/// # Panics
/// When something does not hold.
pub fn check(script: &[u8]) {
    let mut simulation = Simulation::new();
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    // Requests that are answered before a line of theirs has ended: one a segment at most.
    let mut unfinished = 0;
    let mut last: Option<(u32, &[u8])> = None;
    for step in steps(script) {
        match step {
            Step::Client(bytes) => {
                let sequence = simulation.withhold(bytes.len());
                simulation.request_at(sequence, bytes);
                asked.extend_from_slice(bytes);
                unfinished += u64::from(!bytes.contains(&b'\n'));
                last = Some((sequence, bytes));
            }
            Step::Server(bytes) => {
                simulation.response(bytes);
                answered.extend_from_slice(bytes);
            }
            Step::Lost(bytes) => {
                let sequence = simulation.withhold(bytes.len());
                asked.extend_from_slice(bytes);
                last = Some((sequence, bytes));
            }
            Step::Again => {
                if let Some((sequence, bytes)) = last {
                    simulation.request_at(sequence, bytes);
                    unfinished += u64::from(!bytes.contains(&b'\n'));
                }
            }
            Step::Close => {
                simulation.close();
                break;
            }
        }
    }
    bounded(&simulation, &asked, unfinished, &answered);
    as_httparse_reads_it(script);
}

/// No byte counts twice, no answer is made up, and none is counted that nothing asked for.
fn bounded(simulation: &Simulation, asked: &[u8], unfinished: u64, answered: &[u8]) {
    let counted = simulation.counted();
    let request_bytes: u64 = counted.iter().map(|one| one.request_bytes).sum();
    let response_bytes: u64 = counted.iter().map(|one| one.response_bytes).sum();
    // A request's body counts when its head says how long it is, before it has come.
    // Names of fields are compared with this bit set, which makes more than letters alike.
    let says: Vec<u8> = asked.iter().map(|byte| byte | 0x20).collect();
    if occurrences(&says, b"content-length") == 0 {
        assert!(request_bytes <= asked.len() as u64, "{counted:?}");
    }
    assert!(response_bytes <= answered.len() as u64, "{counted:?}");

    let count = counted.len() as u64;
    let answers = occurrences(answered, b"HTTP/1.");
    assert!(
        count <= answers,
        "{count} of {answers} answers: {counted:?}"
    );
    // A request has at least one line; what its version is, is not asked.
    let requests = occurrences(asked, b"\n") + unfinished;
    let unmatched = simulation.lost(lost::UNMATCHED);
    assert!(
        count <= requests + unmatched,
        "{count} answers to {requests} requests, {unmatched} unmatched: {counted:?}"
    );
}

fn occurrences(text: &[u8], what: &[u8]) -> u64 {
    text.windows(what.len())
        .filter(|part| *part == what)
        .count() as u64
}

/// A request in one segment and its answer in the next are counted as another parser reads them.
/// Only what leaves no choice is compared; `tests/differential.rs` has more on single heads.
fn as_httparse_reads_it(script: &[u8]) {
    let mut steps = steps(script);
    let (Some(Step::Client(asked)), Some(Step::Server(answered))) = (steps.next(), steps.next())
    else {
        return;
    };
    let (Some(text), Some(status)) = (request(asked), response(answered)) else {
        return;
    };
    let mut simulation = Simulation::new();
    simulation.request(asked);
    simulation.response(answered);
    if simulation.lost(lost::SCAN) > 0 {
        return;
    }
    let counted = simulation.counted();
    assert_eq!(counted.len(), 1, "{counted:?}");
    assert_eq!(counted[0].text, text);
    assert_eq!(counted[0].status, status);
    assert_eq!(counted[0].request_bytes, asked.len() as u64);
    assert_eq!(counted[0].response_bytes, answered.len() as u64);
    assert!(counted[0].ended);
}

/// Whether every line ends with CR LF; parsers differ about others.
fn has_plain_lines(text: &[u8]) -> bool {
    (0..text.len()).all(|at| match text[at] {
        b'\n' => at > 0 && text[at - 1] == b'\r',
        b'\r' => text.get(at + 1) == Some(&b'\n'),
        _ => true,
    })
}

/// Method and path, without the query, of a request that has no body.
fn request(segment: &[u8]) -> Option<Vec<u8>> {
    const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "PATCH"];
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    let head = request.parse(segment).ok()?;
    let (method, path) = (request.method?, request.path?);
    let framed = request.headers.iter().any(|field| frames(field.name));
    let plain = segment.starts_with(method.as_bytes()) && has_plain_lines(segment);
    if head != httparse::Status::Complete(segment.len()) || framed || !plain {
        return None;
    }
    if !METHODS.contains(&method) || !path.starts_with('/') || !path.is_ascii() {
        return None;
    }
    let path = path.split('?').next()?;
    let mut text = format!("{method} {path}").into_bytes();
    text.truncate(flora_agent_common::template::TEXT_BYTES);
    Some(text)
}

/// The status of an answer that has a body of known length, all of it here.
fn response(segment: &[u8]) -> Option<u16> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = response.parse(segment).ok()? else {
        return None;
    };
    let status = response.code?;
    let bodyless = matches!(status, 0..200 | 204 | 304) || status > 599;
    let plain = segment.starts_with(b"HTTP/1.") && has_plain_lines(&segment[..head]);
    let mut framing = response.headers.iter().filter(|field| frames(field.name));
    let (length, None) = (framing.next()?, framing.next()) else {
        return None;
    };
    let value = std::str::from_utf8(length.value).ok()?;
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if !length.name.eq_ignore_ascii_case("content-length") || !digits || bodyless || !plain {
        return None;
    }
    (value.parse::<usize>().ok()? == segment.len() - head).then_some(status)
}

fn frames(name: &str) -> bool {
    ["content-length", "transfer-encoding", "upgrade"]
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other))
}
