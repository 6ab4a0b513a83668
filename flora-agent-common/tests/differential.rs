//! Heads against `httparse`, at every split point.

use flora_agent_common::head::{self, Room, Scan, Source, WORDS};
use flora_agent_common::machine::{Body, Event, Kind, Machine, WINDOW};
use proptest::prelude::*;

struct Bytes<'a>(&'a [u8]);

impl Source for Bytes<'_> {
    fn window(&self, offset: u32, length: u32, window: &mut [u64; WORDS]) -> bool {
        fill(&self.0[offset as usize..][..length as usize], window);
        true
    }

    fn blank<'a>(&self, room: &'a mut Room) -> &'a mut [u64; WORDS] {
        room.write(head::stale())
    }

    fn forget(&self, value: u64) -> u64 {
        value
    }
}

fn fill(bytes: &[u8], words: &mut [u64]) {
    for (n, chunk) in bytes.chunks(8).enumerate() {
        let mut word = words[n].to_le_bytes();
        word[..chunk.len()].copy_from_slice(chunk);
        words[n] = u64::from_le_bytes(word);
    }
}

/// What a head comes to: where it ends, its status or method, and how the body is framed.
#[derive(Debug, PartialEq)]
struct Head {
    end: usize,
    status: u16,
    body: Body,
}

fn reference(kind: Kind, text: &[u8]) -> Option<Head> {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let (end, status, fields) = match kind {
        Kind::Request => {
            let mut request = httparse::Request::new(&mut fields);
            let Ok(httparse::Status::Complete(end)) = request.parse(text) else {
                return None;
            };
            (end, 0, request.headers)
        }
        Kind::Response => {
            let mut response = httparse::Response::new(&mut fields);
            let Ok(httparse::Status::Complete(end)) = response.parse(text) else {
                return None;
            };
            (end, response.code?, response.headers)
        }
    };
    let mut body = match kind {
        Kind::Request => Body::Empty,
        Kind::Response => Body::UntilClose,
    };
    let mut coding = None;
    for field in fields.iter() {
        let value = std::str::from_utf8(field.value).ok()?.trim();
        if field.name.eq_ignore_ascii_case("content-length") {
            body = Body::Length(value.parse().ok()?);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            coding = Some(value.to_ascii_lowercase().ends_with("chunked"));
        }
    }
    match coding {
        Some(true) => body = Body::Chunked,
        Some(false) => {
            body = match kind {
                Kind::Request => Body::Empty,
                Kind::Response => Body::UntilClose,
            }
        }
        None => {}
    }
    Some(Head { end, status, body })
}

/// The machine's view, with the text in two segments.
fn by_machine(kind: Kind, text: &[u8], split: usize) -> Option<Head> {
    let mut machine = Machine::new(kind);
    let mut at = 0;
    for part in [&text[..split], &text[split..]] {
        let mut rest = part;
        while !rest.is_empty() {
            let mut words = [0; WINDOW];
            let n = rest.len().min(8 * WINDOW);
            fill(&rest[..n], &mut words);
            let (event, taken) = machine.take(kind, &words, n as u32, |k| k, |value| value);
            at += taken as usize;
            rest = &rest[taken as usize..];
            match event {
                Event::Head => {
                    return Some(Head {
                        end: at,
                        status: machine.status(),
                        body: machine.framing(kind),
                    });
                }
                Event::More => {}
                Event::End | Event::NotHttp => return None,
            }
        }
    }
    None
}

fn by_scan(text: &[u8]) -> Scan {
    let mut window = head::stale();
    let n = text.len().min(8 * WORDS);
    Bytes(text).window(0, n as u32, &mut window);
    head::scan(&Bytes(text), &mut window, 0, text.len() as u32)
}

fn agree(kind: Kind, text: &[u8]) -> Result<(), TestCaseError> {
    let Some(expected) = reference(kind, text) else {
        return Ok(());
    };
    // What is said twice servers refuse (RFC 9112 §6.3).
    for split in 0..=expected.end {
        let found = by_machine(kind, text, split);
        prop_assert_eq!(found.as_ref(), Some(&expected), "split at {}", split);
    }
    if let Scan::Head(end, framing) = by_scan(text) {
        prop_assert_eq!(end as usize, expected.end);
        match expected.body {
            Body::Chunked => prop_assert!(framing.is_chunked()),
            Body::Length(length) => prop_assert_eq!(framing.length(), length),
            Body::Empty | Body::UntilClose => prop_assert!(framing.is_none()),
        }
    }
    Ok(())
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        (0u64..20_000_000).prop_map(|n| format!("Content-Length: {n}")),
        Just("Transfer-Encoding: chunked".to_owned()),
        Just("transfer-encoding: gzip".to_owned()),
        Just("Transfer-Encoding: gzip, chunked".to_owned()),
        Just("Transfer-Encoding:chunked ".to_owned()),
        Just("cOnTeNt-lEnGtH:    42".to_owned()),
        "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,24}:[ \t]{0,2}[\t -~]{0,60}",
    ]
}

prop_compose! {
    fn head_of(kind: Kind)(
        fields in proptest::collection::vec(field(), 0..10),
        bare: bool,
        rest in proptest::collection::vec(any::<u8>(), 0..40),
        method in "[A-Z]{1,8}",
        target in "/[!-~]{0,80}",
        status in 100u16..1000,
    ) -> Vec<u8> {
        let end = if bare { "\n" } else { "\r\n" };
        let mut text = match kind {
            Kind::Request => format!("{method} {target} HTTP/1.1{end}"),
            Kind::Response => format!("HTTP/1.1 {status} Fine{end}"),
        };
        let mut lengths = 0;
        for field in fields {
            let lower = field.to_ascii_lowercase();
            if lower.starts_with("content-length") || lower.starts_with("transfer-encoding") {
                lengths += 1;
                if lengths > 1 {
                    continue;
                }
            }
            text += &field;
            text += end;
        }
        text += end;
        [text.as_bytes(), &rest].concat()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn requests(text in head_of(Kind::Request)) {
        agree(Kind::Request, &text)?;
    }

    #[test]
    fn responses(text in head_of(Kind::Response)) {
        agree(Kind::Response, &text)?;
    }
}
