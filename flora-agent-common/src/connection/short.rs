//! The short way: heads that lie in one segment.

use super::{Answer, Connection, Kernel, Next, Place, QUEUE, Segment, TEXT_WORDS};
use super::{end, finish, more, open, phase, place};
use crate::head::{self, Room, Scan};
use crate::layout::lost;
use crate::method;

/// A segment of a client: the short way.
#[inline(always)]
pub fn requests<K: Kernel>(kernel: &K, connection: &mut Connection, segment: &Segment) -> Next {
    let mut start = segment.start;
    let rx = connection.rx;
    if rx == phase::OPAQUE {
        return Next::Done;
    }
    if rx == phase::RESYNC {
        return Next::Scan(start);
    }
    if rx != phase::NEW {
        match place(connection.rx_next, segment) {
            Place::Here(offset) => start = offset,
            Place::Old => return Next::Done,
            Place::Gap(gap) => {
                if rx == phase::BODY && connection.rx_left >= u64::from(gap) {
                    connection.rx_left -= u64::from(gap);
                } else if rx == phase::MACHINE {
                    return Next::Scan(start);
                } else {
                    kernel.lost(lost::GAP);
                    connection.rx = phase::RESYNC;
                }
            }
        }
    }
    if rx == phase::MACHINE {
        return Next::Scan(start);
    }
    if connection.rx == phase::BODY {
        let left = connection.rx_left;
        let here = u64::from(segment.length - start);
        connection.rx_next = end(segment);
        if here < left {
            connection.rx_left = left - here;
            return Next::Done;
        }
        connection.rx_left = 0;
        connection.rx = phase::START;
        if here == left {
            return Next::Done;
        }
        // The next request follows in the same segment.
        return Next::Scan(start + left as u32);
    }
    let mut room = Room::uninit();
    let window = kernel.blank(&mut room);
    let length = segment.length;
    let here = length - start;
    if !kernel.window(start, head::window_bytes(here), window) {
        kernel.lost(lost::READ);
        connection.rx = phase::RESYNC;
        return Next::Done;
    }
    let Some((method, bytes)) = head::usual_method(window[0]) else {
        return unusual(kernel, connection, segment, window[0], window[1], start);
    };
    let method = kernel.forget(u64::from(method)) as u8;
    let bytes = kernel.forget(u64::from(bytes)) as u32;
    // Out of step: this is a start.
    connection.rx_next = end(segment);
    connection.rx = phase::START;
    if connection.head != connection.tail {
        return Next::Scan(start);
    }
    let Some(line) = head::line(window, method, bytes) else {
        return Next::Scan(start);
    };
    let round = kernel.round();
    if line.hash != connection.hash || connection.round != round {
        let (text, _) = window.split_at(TEXT_WORDS);
        let Ok(text) = text.try_into() else {
            return Next::Done;
        };
        let route = match kernel.known_route(line.hash) {
            Some(route) => route,
            None => kernel.route(text, &line, false),
        };
        connection.hash = line.hash;
        connection.round = round;
        connection.route = route;
        connection.series_status = 0;
    }
    let Scan::Head(head, framing) = head::scan(kernel, window, start, length) else {
        return Next::Scan(start);
    };
    let message = u64::from(head - start) + framing.length();
    if framing.is_chunked() || message < u64::from(here) {
        return Next::Scan(start);
    }
    if message > u64::from(here) {
        connection.rx = phase::BODY;
        connection.rx_left = message - u64::from(here);
    }
    connection.start = kernel.now();
    connection.method = method;
    // A length has seven digits at most on this way.
    connection.request_bytes = message as u32;
    connection.tail = 0;
    connection.head = 1;
    Next::Done
}

/// A segment that does not start with one of the usual methods and a path.
#[inline(always)]
fn unusual<K: Kernel>(
    kernel: &K,
    connection: &mut Connection,
    segment: &Segment,
    first: u64,
    second: u64,
    start: u32,
) -> Next {
    if connection.rx == phase::NEW {
        let expected = kernel.begins();
        if first & 0xffff == 0x0316 || (first & 0xffff == 0x0317 && expected.is_none()) {
            // A TLS record: of a handshake, or of one long past (RFC 8446 §5.1).
            kernel.lost(lost::ENCRYPTED);
            connection.rx = phase::OPAQUE;
            connection.tx = phase::OPAQUE;
            return Next::Done;
        }
        if first == crate::word::word(b"PRI * HT") {
            // The preface of RFC 9113 §3.4.
            kernel.lost(lost::HTTP2);
            connection.rx = phase::OPAQUE;
            connection.tx = phase::OPAQUE;
            return Next::Done;
        }
        if head::status(first, second).is_some() {
            // An answer comes in: here sits a client.
            connection.rx = phase::OPAQUE;
            connection.tx = phase::OPAQUE;
            return Next::Done;
        }
        if expected != Some(segment.sequence) {
            // It was there before the programs, or its first segment is late.
            connection.rx = phase::RESYNC;
            connection.rx_next = expected.unwrap_or(segment.sequence);
            return Next::Done;
        }
    }
    if connection.rx == phase::RESYNC {
        return Next::Done;
    }
    Next::Scan(start)
}

/// A segment of the server: the short way.
#[inline(always)]
pub fn responses<K: Kernel>(kernel: &K, connection: &mut Connection, segment: &Segment) -> Next {
    let mut start = segment.start;
    let tx = connection.tx;
    if tx == phase::OPAQUE {
        return Next::Done;
    }
    if tx != phase::NEW && tx != phase::RESYNC {
        match place(connection.tx_next, segment) {
            Place::Here(offset) => start = offset,
            Place::Old => return Next::Done,
            Place::Gap(gap) => {
                if tx == phase::BODY && connection.tx_left >= u64::from(gap) {
                    connection.tx_left -= u64::from(gap);
                } else if tx == phase::MACHINE || tx == phase::CLOSE {
                } else {
                    kernel.lost(lost::GAP);
                    connection.tx = phase::RESYNC;
                }
            }
        }
    }
    if tx == phase::MACHINE {
        return Next::Scan(start);
    }
    let here = u64::from(segment.length - start);
    if tx == phase::CLOSE {
        connection.tx_next = end(segment);
        more(kernel, connection, here);
        return Next::Done;
    }
    if connection.tx == phase::BODY {
        let left = connection.tx_left;
        connection.tx_next = end(segment);
        if here < left {
            connection.tx_left = left - here;
            more(kernel, connection, here);
            return Next::Done;
        }
        more(kernel, connection, left);
        connection.tx_left = 0;
        connection.tx = phase::START;
        finish(kernel, connection, kernel.sent());
        if here == left {
            return Next::Done;
        }
        return Next::Scan(start + left as u32);
    }
    // What no open request precedes, and what waits elsewhere than in the first slot.
    if connection.head == connection.tail || connection.tail != 0 {
        return Next::Scan(start);
    }
    let mut room = Room::uninit();
    let window = kernel.blank(&mut room);
    let length = segment.length;
    if !kernel.window(start, head::window_bytes(here as u32), window) {
        kernel.lost(lost::READ);
        return Next::Scan(start);
    }
    let Some(status) = head::status(window[0], window[1]) else {
        return Next::Scan(start);
    };
    if status < 200 {
        return Next::Scan(start);
    }
    let Scan::Head(head, framing) = head::scan(kernel, window, start, length) else {
        return Next::Scan(start);
    };
    if connection.method == method::CONNECT {
        return Next::Scan(start);
    }
    let head = u64::from(head - start);
    let bodyless = connection.method == method::HEAD || status == 204 || status == 304;
    let message = if bodyless {
        head
    } else {
        head + framing.length()
    };
    if message < here || (!bodyless && framing.is_chunked()) {
        return Next::Scan(start);
    }
    connection.tx_next = end(segment);
    let now = kernel.sent();
    let answer = Answer {
        start: connection.start,
        request_bytes: u64::from(connection.request_bytes),
        response_bytes: here,
        route: connection.route,
        status,
        container: connection.container,
    };
    let mut series = connection.series;
    if connection.series_status != status
        || !kernel.is_series(series, answer.container, answer.route, status)
    {
        series = kernel.series(answer.container, answer.route, status);
        connection.series = series;
        connection.series_status = status;
    }
    connection.answered += 1;
    let until_close = !bodyless && framing.is_none();
    if message == here && !until_close {
        connection.tx = phase::START;
        connection.tail = connection.tail.wrapping_add(1) % QUEUE as u8;
        kernel.single(series, &answer, now);
        return Next::Done;
    }
    open(connection, &answer, series, now);
    connection.tail = connection.tail.wrapping_add(1) % QUEUE as u8;
    if until_close {
        connection.tx = phase::CLOSE;
    } else {
        connection.tx = phase::BODY;
        connection.tx_left = message - here;
    }
    kernel.first(series, &answer, now);
    Next::Done
}
