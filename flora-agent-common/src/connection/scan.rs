//! The long way, by the machine: split heads, chunks, several messages in a segment.

use super::{Answer, Connection, Deep, Kernel, Segment, TEXT_WORDS, Waiting};
use super::{NO_NUMBER, end, enqueue, finish, grow, more, noted, open, phase, pop};
use crate::chunks;
use crate::head;
use crate::layout::lost;
use crate::machine::{Body, Event, Kind, Machine, WINDOW};
use crate::method;

/// A scan's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// The segment's end is reached.
    Done,
    /// Go on at this offset.
    Again(u32),
}

/// The next bytes of a message in the machine's hands: what is left of a body,
/// then up to a window of heads and chunk sizes.
///
/// Returns what happened and the offset behind it.
#[inline(always)]
fn step<K: Kernel>(
    kernel: &K,
    machine: &mut Machine,
    kind: Kind,
    at: u32,
    length: u32,
) -> (Event, u32) {
    let mut at = at;
    if machine.left() > 0 {
        let n = skippable(machine, at, length);
        at += n;
        let event = machine.skip(kind, u64::from(n));
        if at >= length || !matches!(event, Event::More) {
            return (event, at);
        }
    }
    let mut words = [kernel.forget(0); WINDOW];
    if machine.is_before_chunk() {
        at = chunks::pass(kernel, machine, at, length, &mut words);
        if machine.left() > 0 || at >= length {
            return (Event::More, at);
        }
    }
    if machine.is_in_line() {
        at = long_line(kernel, at, length, &mut words);
    }
    let here = length - at;
    let n = if here > 8 * WINDOW as u32 {
        8 * WINDOW as u32
    } else {
        here
    };
    if !kernel.some(at, n, &mut words) {
        kernel.lost(lost::READ);
        return (Event::NotHttp, length);
    }
    let (event, taken) = machine.take(
        kind,
        &words,
        n,
        |counter| kernel.opaque(counter),
        |value| kernel.forget(value),
    );
    (event, at + taken)
}

/// Passes over windows in which a line does not end; never over a segment's last.
#[inline(always)]
fn long_line<K: Kernel>(kernel: &K, at: u32, length: u32, words: &mut [u64; WINDOW]) -> u32 {
    const WINDOWS: u32 = 8;
    const BYTES: u32 = 8 * WINDOW as u32;
    let mut at = at;
    let mut turn = 0;
    while turn < WINDOWS {
        turn += 1;
        if length - at <= BYTES || !kernel.some(at, BYTES, words) {
            break;
        }
        let mut ends = 0;
        let mut n = 0;
        while n < WINDOW {
            ends |= crate::word::equal(words[n], b'\n');
            n += 1;
        }
        if ends != 0 {
            break;
        }
        at = kernel.forget(u64::from(at + BYTES)) as u32;
    }
    at
}

/// How many of a segment's bytes from `at` on belong to the body that is skipped.
#[inline(always)]
fn skippable(machine: &Machine, at: u32, length: u32) -> u32 {
    let here = length - at;
    if machine.left() < u64::from(here) {
        machine.left() as u32
    } else {
        here
    }
}

/// Requests by way of the machine, from `start` on.
#[inline(always)]
pub fn scan_requests<K: Kernel>(
    kernel: &K,
    connection: &mut Connection,
    deep: &mut Deep,
    segment: &Segment,
    start: u32,
) -> Scanned {
    let length = segment.length;
    let mut at = start;
    if connection.rx == phase::NEW || connection.rx == phase::START {
        deep.rx.reset(Kind::Request);
        deep.rx_number = NO_NUMBER;
        connection.rx = phase::MACHINE;
        connection.rx_next = end(segment);
    } else {
        // A first call, not a continued one: the segment's place counts.
        let ahead = segment.sequence.wrapping_sub(connection.rx_next);
        if ahead != 0 && ahead < 1 << 31 {
            if deep.rx.left() < u64::from(ahead) {
                kernel.lost(lost::GAP);
                connection.rx = phase::RESYNC;
                return Scanned::Again(start);
            }
            deep.rx.skip(Kind::Request, u64::from(ahead));
            deep.rx_bytes += u64::from(ahead);
        }
        connection.rx_next = end(segment);
    }
    let (event, reached) = step(kernel, &mut deep.rx, Kind::Request, at, length);
    if deep.rx.take_begun() {
        deep.rx_start = kernel.now();
        deep.rx_bytes = 0;
        deep.rx_number = NO_NUMBER;
    }
    deep.rx_bytes += u64::from(reached - at);
    at = reached;
    match event {
        Event::Head => {
            push(kernel, connection, deep);
            let body = deep.rx.framing(Kind::Request);
            deep.rx.begin_body(Kind::Request, body);
        }
        Event::NotHttp => {
            if connection.tx == phase::NEW {
                // The first that comes in on this connection.
                kernel.lost(lost::NOT_HTTP);
                connection.tx = phase::OPAQUE;
                connection.rx = phase::OPAQUE;
            } else {
                connection.rx = phase::RESYNC;
            }
            return Scanned::Done;
        }
        _ => {}
    }
    if deep.rx.left() > 0 && at < length {
        let n = skippable(&deep.rx, at, length);
        deep.rx_bytes += u64::from(n);
        deep.rx.skip(Kind::Request, u64::from(n));
        at += n;
    }
    grow(connection, deep);
    if deep.rx.is_between() {
        connection.rx = phase::START;
    }
    if at < length {
        return Scanned::Again(at);
    }
    Scanned::Done
}

/// A request's head is complete: it waits for its answer.
#[inline(always)]
fn push<K: Kernel>(kernel: &K, connection: &mut Connection, deep: &mut Deep) {
    let (length, cut) = deep.rx.text_length();
    let (words, _) = deep.rx.text().as_chunks::<8>();
    let Ok(words): Result<&[[u8; 8]; TEXT_WORDS], _> = words.try_into() else {
        return;
    };
    let mut window = [0; TEXT_WORDS];
    let mut hash = head::LINE_SEED;
    let mut n = 0;
    while n < TEXT_WORDS {
        let left = u32::from(length).saturating_sub(8 * n as u32);
        // What is behind the text is of another request.
        let mask = if left >= 8 {
            u64::MAX
        } else {
            (1u64 << ((8 * left) & 63)) - 1
        };
        let word = u64::from_le_bytes(words[n]) & mask;
        window[n] = word;
        if 8 * n <= usize::from(length) {
            hash = crate::word::mix(hash, word);
        }
        n += 1;
    }
    let method = deep.rx.method();
    let line = head::Line {
        hash: if cut { !hash } else { hash },
        length: u32::from(length),
        method,
    };
    let route = match kernel.known_route(line.hash) {
        Some(route) => route,
        None => kernel.route(&window, &line, cut),
    };
    let bytes = match deep.rx.framing(Kind::Request) {
        Body::Length(more) => deep.rx_bytes + more,
        _ => deep.rx_bytes,
    };
    let waiting = Waiting {
        start: deep.rx_start,
        bytes: noted(bytes),
        route,
        method,
        reserved: 0,
    };
    deep.rx_number = enqueue(kernel, connection, deep, waiting, line.hash);
}

/// Responses by way of the machine, from `start` on.
#[inline(always)]
pub fn scan_responses<K: Kernel>(
    kernel: &K,
    connection: &mut Connection,
    deep: &mut Deep,
    segment: &Segment,
    start: u32,
) -> Scanned {
    let length = segment.length;
    let mut at = start;
    if connection.tx == phase::NEW
        || connection.tx == phase::START
        || connection.tx == phase::RESYNC
    {
        deep.tx.reset(Kind::Response);
        connection.tx = phase::MACHINE;
    } else {
        let ahead = segment.sequence.wrapping_sub(connection.tx_next);
        if ahead != 0 && ahead < 1 << 31 {
            if deep.tx.left() < u64::from(ahead) {
                kernel.lost(lost::GAP);
                connection.tx = phase::RESYNC;
                return Scanned::Done;
            }
            deep.tx.skip(Kind::Response, u64::from(ahead));
        }
    }
    connection.tx_next = end(segment);
    let (event, reached) = step(kernel, &mut deep.tx, Kind::Response, at, length);
    if deep.tx.take_begun() {
        deep.tx_bytes = 0;
    }
    passed(kernel, connection, deep, reached - at);
    at = reached;
    match event {
        Event::Head => {
            let status = deep.tx.status();
            if (100..200).contains(&status) && status != 101 {
                deep.tx.begin_body(Kind::Response, Body::Empty);
            } else {
                answer(kernel, connection, deep, status);
                if connection.tx == phase::OPAQUE {
                    return Scanned::Done;
                }
            }
        }
        Event::NotHttp => {
            // Not what answers HTTP: wait for what does. What was under way has no end.
            connection.tx = phase::RESYNC;
            if connection.open_status != 0 {
                kernel.lost(lost::ABORTED);
                finish(kernel, connection, kernel.sent());
            }
            return Scanned::Done;
        }
        _ => {}
    }
    let mut ended = event == Event::End;
    if deep.tx.left() > 0 && at < length {
        let n = skippable(&deep.tx, at, length);
        passed(kernel, connection, deep, n);
        ended = deep.tx.skip(Kind::Response, u64::from(n)) == Event::End;
        at += n;
    }
    if ended {
        finish(kernel, connection, kernel.sent());
    }
    if deep.tx.is_between() {
        connection.tx = phase::START;
    } else if deep.tx.is_until_close() {
        connection.tx = phase::CLOSE;
    }
    if at < length {
        return Scanned::Again(at);
    }
    Scanned::Done
}

/// Bytes of a response have passed.
#[inline(always)]
fn passed<K: Kernel>(kernel: &K, connection: &mut Connection, deep: &mut Deep, bytes: u32) {
    let bytes = u64::from(bytes);
    if connection.open_status == 0 {
        deep.tx_bytes += bytes;
    } else {
        more(kernel, connection, bytes);
    }
}

/// A final response's head is complete: it answers the oldest request.
#[inline(always)]
fn answer<K: Kernel>(kernel: &K, connection: &mut Connection, deep: &mut Deep, status: u16) {
    if connection.head == connection.tail
        && connection.rx == phase::MACHINE
        && deep.rx.is_in_fields()
    {
        // An answer to a head that has not ended: the server did not wait for it, or it
        // ended in a segment that came out of order.
        push(kernel, connection, deep);
        connection.rx = phase::RESYNC;
    }
    let matched = connection.head != connection.tail;
    let mut waiting = Waiting {
        start: 0,
        bytes: 0,
        route: 0,
        method: method::OTHER,
        reserved: 0,
    };
    if matched {
        waiting = pop(connection, deep);
    } else if connection.head == 0 && deep.given_up > 0 {
        // It was counted as lost when the segment before it could not be read to its end.
        deep.given_up -= 1;
    } else {
        kernel.lost(lost::UNMATCHED);
    }
    let tunnel = status == 101 || (waiting.method == method::CONNECT && status / 100 == 2);
    let body = if tunnel || waiting.method == method::HEAD || status == 204 || status == 304 {
        Body::Empty
    } else {
        deep.tx.framing(Kind::Response)
    };
    deep.tx.begin_body(Kind::Response, body);
    if matched {
        let now = kernel.sent();
        let answer = Answer {
            start: waiting.start,
            request_bytes: u64::from(waiting.bytes),
            response_bytes: deep.tx_bytes,
            route: waiting.route,
            status,
            container: connection.container,
        };
        let series = kernel.series(answer.container, answer.route, status);
        connection.answered += 1;
        if deep.tx.is_between() {
            kernel.single(series, &answer, now);
        } else {
            open(connection, &answer, series, now);
            kernel.first(series, &answer, now);
        }
    }
    if tunnel {
        connection.rx = phase::OPAQUE;
        connection.tx = phase::OPAQUE;
    }
}
