//! Messages that share a segment, one at a time: pipelined requests, and answers sent in one piece.
//!
//! What [`crate::connection::requests`] and [`crate::connection::responses`] do
//! for a segment's only message, this does for any that lies in it with its
//! whole head, by the same reading of eight bytes at a time. What is out of
//! the ordinary is left to the machine.

use crate::connection::{
    Answer, Connection, Deep, Kernel, QUEUE, Segment, TEXT_WORDS, Waiting, end, enqueue, finish,
    noted, open, phase, pop,
};
use crate::head::{self, Room, Scan};
use crate::layout::lost;
use crate::machine::{Body, Kind};
use crate::method;

/// How a message was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headed {
    /// The segment's end is reached.
    Done,
    /// Another message begins at this offset.
    Again(u32),
    /// The machine goes on at this offset.
    Machine(u32),
}

/// The request at `at`, where one begins. Out of step, a segment that begins like a
/// request is taken for one, and others are let pass.
#[inline(always)]
pub fn head_of_request<K: Kernel>(
    kernel: &K,
    connection: &mut Connection,
    deep: &mut Deep,
    segment: &Segment,
    at: u32,
) -> Headed {
    let length = segment.length;
    let resync = connection.rx == phase::RESYNC;
    if (connection.rx != phase::START && !resync) || at >= length {
        return Headed::Machine(at);
    }
    let ahead = segment.sequence.wrapping_sub(connection.rx_next);
    if resync && ahead >= 1 << 31 {
        // It was here before.
        return Headed::Done;
    }
    let here = length - at;
    let mut room = Room::uninit();
    let window = kernel.blank(&mut room);
    if !kernel.window(at, head::window_bytes(here), window) {
        return Headed::Machine(at);
    }
    let Some((method, bytes)) = head::usual_method(window[0]) else {
        if !resync {
            return Headed::Machine(at);
        }
        // What starts a message may still come late, but not by so much.
        if ahead > 1 << 28 {
            connection.rx_next = segment.sequence;
        }
        return Headed::Done;
    };
    connection.rx = phase::START;
    connection.rx_next = end(segment);
    let method = kernel.forget(u64::from(method)) as u8;
    let bytes = kernel.forget(u64::from(bytes)) as u32;
    let Some(line) = head::line(window, method, bytes) else {
        return Headed::Machine(at);
    };
    let (text, _) = window.split_at(TEXT_WORDS);
    let Ok(text) = text.try_into() else {
        return Headed::Machine(at);
    };
    let route = match kernel.known_route(line.hash) {
        Some(route) => route,
        None => kernel.route(text, &line, false),
    };
    let Scan::Head(after, framing) = head::scan(kernel, window, at, length) else {
        return Headed::Machine(at);
    };
    let message = u64::from(after - at) + framing.length();
    let waiting = Waiting {
        start: kernel.now(),
        bytes: noted(message),
        route,
        method,
        reserved: 0,
    };
    let number = enqueue(kernel, connection, deep, waiting, line.hash);
    if framing.is_chunked() {
        deep.rx_number = number;
        deep.rx_bytes = message;
        deep.rx.begin_body(Kind::Request, Body::Chunked);
        connection.rx = phase::MACHINE;
        return if after < length {
            Headed::Machine(after)
        } else {
            Headed::Done
        };
    }
    if message < u64::from(here) {
        return Headed::Again(at + message as u32);
    }
    if message > u64::from(here) {
        connection.rx = phase::BODY;
        connection.rx_left = message - u64::from(here);
    }
    Headed::Done
}

/// The answer at `at`, where one begins.
#[inline(always)]
pub fn head_of_response<K: Kernel>(
    kernel: &K,
    connection: &mut Connection,
    deep: &mut Deep,
    segment: &Segment,
    at: u32,
) -> Headed {
    let length = segment.length;
    let tx = connection.tx;
    if tx == phase::MACHINE || connection.head == connection.tail || at >= length {
        return Headed::Machine(at);
    }
    let here = length - at;
    let mut room = Room::uninit();
    let window = kernel.blank(&mut room);
    if !kernel.window(at, head::window_bytes(here), window) {
        return Headed::Machine(at);
    }
    let Some(status) = head::status(window[0], window[1]) else {
        return Headed::Machine(at);
    };
    if status < 200 {
        return Headed::Machine(at);
    }
    let Scan::Head(after, framing) = head::scan(kernel, window, at, length) else {
        return Headed::Machine(at);
    };
    let waiting = pop(connection, deep);
    connection.tx_next = end(segment);
    let head = u64::from(after - at);
    let bodyless = waiting.method == method::HEAD || status == 204 || status == 304;
    let tunnel = waiting.method == method::CONNECT && status / 100 == 2;
    let message = if bodyless || tunnel {
        head
    } else {
        head + framing.length()
    };
    let whole = bodyless || tunnel || !(framing.is_none() || framing.is_chunked());
    let now = kernel.sent();
    let passed = if framing.is_chunked() && !whole {
        head
    } else if message < u64::from(here) && whole {
        message
    } else {
        u64::from(here)
    };
    let answer = Answer {
        start: waiting.start,
        request_bytes: u64::from(waiting.bytes),
        response_bytes: passed,
        route: waiting.route,
        status,
        container: connection.container,
    };
    let series = kernel.series(answer.container, answer.route, status);
    connection.answered += 1;
    if whole && message <= u64::from(here) {
        kernel.single(series, &answer, now);
        if tunnel {
            connection.rx = phase::OPAQUE;
            connection.tx = phase::OPAQUE;
            return Headed::Done;
        }
        connection.tx = phase::START;
        return if message < u64::from(here) {
            Headed::Again(at + message as u32)
        } else {
            Headed::Done
        };
    }
    open(connection, &answer, series, now);
    kernel.first(series, &answer, now);
    if whole {
        connection.tx = phase::BODY;
        connection.tx_left = message - u64::from(here);
        return Headed::Done;
    }
    if framing.is_chunked() {
        deep.tx.begin_body(Kind::Response, Body::Chunked);
        connection.tx = phase::MACHINE;
        return if after < length {
            Headed::Machine(after)
        } else {
            Headed::Done
        };
    }
    connection.tx = phase::CLOSE;
    Headed::Done
}

/// A segment of requests had more messages in it than can be read: what answers the rest is lost.
#[inline(always)]
pub fn give_up_requests<K: Kernel>(kernel: &K, connection: &mut Connection) {
    kernel.lost(lost::SCAN);
    connection.rx = phase::RESYNC;
}

/// A segment of answers had more messages in it than can be read.
///
/// The rest most likely answers the requests that wait: these are lost, and the next answer is
/// that of the next request. Where some of them are answered in a later segment, which nothing
/// waits for, that is no further loss.
#[inline(always)]
pub fn give_up_responses<K: Kernel>(kernel: &K, connection: &mut Connection, deep: &mut Deep) {
    kernel.lost(lost::SCAN);
    let waiting = connection.head.wrapping_sub(connection.tail) % QUEUE as u8;
    if waiting > 0 {
        kernel.all_lost(lost::UNMATCHED, u64::from(waiting));
        deep.given_up = waiting;
        // By the head standing here it is told that no request has come since.
        connection.head = 0;
        connection.tail = 0;
    }
    connection.tx = phase::RESYNC;
    finish(kernel, connection, kernel.sent());
}
