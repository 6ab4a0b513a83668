//! A connection of a server: requests come in, responses go out, each answers the oldest open one.
//!
//! Both kernel programs and the tests run this code; what differs between them
//! is behind [`Kernel`]. There are two ways through it. A head that lies in one
//! segment, of a message that ends with the segment or goes on as a body of
//! known length, takes the short one: [`requests`] and [`responses`]. Several of
//! them in a segment go through [`crate::heads`], all else (split heads, chunks,
//! answers before the final one) through the [`crate::machine`], in a [`Deep`]
//! state that only such connections have: [`scan_requests`], [`scan_responses`].
//!
//! # What is exact and what is not
//! Responses leave in order and complete, so every final status line is seen.
//! On the way in segments may be lost, repeated or swapped. Repeated ones are
//! told by their sequence number. One that is missing inside a body is
//! subtracted; one that is missing elsewhere makes the direction look for a
//! segment that starts like a request ([`phase::RESYNC`]), and the answer to a
//! request that was not seen counts as lost.

use crate::chunks;
use crate::head::{self, Room, Scan, Source};
use crate::layout::lost;
use crate::machine::{Body, Event, Kind, Machine, WINDOW};
use crate::method;
use crate::template::TEXT_BYTES;

/// Words of a request line.
pub const TEXT_WORDS: usize = TEXT_BYTES / 8;

/// Requests of a connection that can be open at once.
pub const QUEUE: usize = 64;

/// Where a direction of a connection stands; numbers, because an enum read from a map could hold anything.
pub mod phase {
    /// Nothing was seen yet.
    pub const NEW: u8 = 0;
    /// Between two messages.
    pub const START: u8 = 1;
    /// In a body of known length.
    pub const BODY: u8 = 2;
    /// Somewhere in a message that the machine follows.
    pub const MACHINE: u8 = 3;
    /// Not HTTP/1, or no longer.
    pub const OPAQUE: u8 = 4;
    /// Out of step, waiting for a segment that starts a message.
    pub const RESYNC: u8 = 5;
    /// In a body that ends with the connection.
    pub const CLOSE: u8 = 6;
}

/// What is known of a connection.
///
/// A request on a connection with none open needs the first 56 bytes only: with
/// the kernel's own 8 before them they are one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Connection {
    /// Sequence number that the next request byte has.
    pub rx_next: u32,
    /// Sequence number that the next response byte has.
    pub tx_next: u32,
    /// Bytes of the response's body that are still to come.
    pub tx_left: u64,
    /// When the request in the first slot began, in nanoseconds.
    pub start: u64,
    /// Hash of the request line that [`Connection::route`] was found for.
    pub hash: u64,
    /// Requests begun, modulo [`QUEUE`].
    pub head: u8,
    /// Requests answered, modulo [`QUEUE`]. The first slot is here, all others in [`Deep`].
    pub tail: u8,
    /// The phase of requests.
    pub rx: u8,
    /// The phase of responses.
    pub tx: u8,
    /// The status that [`Connection::series`] is of; 0 when it is of none.
    pub series_status: u16,
    /// Route of the request in the first slot.
    pub route: u16,
    /// The series of that route and status.
    pub series: u16,
    /// The container that the socket belongs to.
    pub container: u16,
    /// Bytes of the request in the first slot.
    pub request_bytes: u32,
    /// Requests that were answered since the caller's entry was brought up to date.
    pub answered: u16,
    /// When that was, in steps of 2^33 ns.
    pub told: u16,
    /// Method of the request in the first slot.
    pub method: u8,
    /// Nothing.
    pub reserved: [u8; 3],
    /// Bytes of the request's body that are still to come.
    pub rx_left: u64,
    /// When the request began whose response is under way.
    pub open_start: u64,
    /// When that response began.
    pub open_first: u64,
    /// Bytes of it so far.
    pub open_bytes: u64,
    /// Those that are not yet counted in its series.
    pub open_uncounted: u64,
    /// Bytes of its request.
    pub open_request_bytes: u32,
    /// Status of the response under way; 0 when none is.
    pub open_status: u16,
    /// Its route.
    pub open_route: u16,
    /// Its series.
    pub open_series: u16,
}

/// After so many answers on a connection its caller's entry is brought up to date, however little time has passed.
const ANSWERS_TOLD: u16 = 64;

/// After so many bytes of a response they are counted, though more are to come.
const BYTES_COUNTED: u64 = 1 << 20;

/// Time in steps of 2^33 ns, 8.6 s.
#[inline(always)]
fn epoch(nanoseconds: u64) -> u16 {
    (nanoseconds >> 33) as u16
}

impl Connection {
    /// Whether the caller's entry should be brought up to date: at the first answer in a while,
    /// and after many. So it costs little however many connections there are and however busy.
    #[inline(always)]
    pub fn should_tell(&self) -> bool {
        self.answered >= ANSWERS_TOLD || (self.answered > 0 && self.told != epoch(self.start))
    }

    /// How many answers the caller's entry lacks; from now on it has them.
    #[inline(always)]
    pub fn tell(&mut self) -> u64 {
        let answered = u64::from(self.answered);
        self.answered = 0;
        self.told = epoch(self.start);
        answered
    }
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Waiting {
    /// When it began, in nanoseconds.
    pub start: u64,
    /// Its bytes.
    pub bytes: u32,
    /// Its route.
    pub route: u16,
    /// Its method.
    pub method: u8,
    /// Nothing.
    pub reserved: u8,
}

/// What a connection needs on top that does not keep to one message per segment.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Deep {
    /// Reads requests.
    pub rx: Machine,
    /// Reads responses.
    pub tx: Machine,
    /// When the request that is being read began.
    pub rx_start: u64,
    /// Bytes of it so far.
    pub rx_bytes: u64,
    /// Bytes of the response that is being read.
    pub tx_bytes: u64,
    /// Requests that wait, by number modulo [`QUEUE`].
    pub queue: [Waiting; QUEUE],
}

/// A segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Sequence number of its first payload byte.
    pub sequence: u32,
    /// Where the payload starts.
    pub start: u32,
    /// Where it ends.
    pub length: u32,
}

/// A response that ended, or a request and the response that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When the request began, in nanoseconds.
    pub start: u64,
    /// Bytes of the request.
    pub request_bytes: u64,
    /// Bytes of the response, as far as they were seen.
    pub response_bytes: u64,
    /// Route.
    pub route: u16,
    /// Status.
    pub status: u16,
    /// Container.
    pub container: u16,
}

/// What differs between the kernel and a test.
pub trait Kernel: Source {
    /// The sequence number that the socket expects next of its client, where nothing has come in yet.
    fn begins(&self) -> Option<u32>;
    /// Now, in nanoseconds.
    fn now(&self) -> u64;
    /// When the segment in hand was sent; [`Kernel::now`] where that is not known.
    fn sent(&self) -> u64;
    /// The route of a request line with this hash, when it was found lately.
    fn known_route(&self, hash: u64) -> Option<u16>;
    /// The route of a request line, whose bytes (and others behind them) `text` has.
    /// When it is `cut`, more bytes than there is room for belong to it.
    fn route(&self, text: &[u64; TEXT_WORDS], line: &head::Line, cut: bool) -> u16;
    /// The series of a route and status.
    fn series(&self, container: u16, route: u16, status: u16) -> u16;
    /// A response that was one segment.
    fn single(&self, series: u16, answer: &Answer, now: u64);
    /// A response of several segments began.
    fn first(&self, series: u16, answer: &Answer, now: u64);
    /// More bytes of it.
    fn bytes(&self, series: u16, bytes: u64);
    /// It ended; `first` is when it began, `uncounted` what of its bytes was not passed to
    /// [`Kernel::bytes`] or [`Kernel::first`].
    fn last(&self, series: u16, answer: &Answer, first: u64, uncounted: u64, now: u64);
    /// Counts what is lost.
    fn lost(&self, reason: u32);
    /// Counts what is lost, so many times.
    fn all_lost(&self, reason: u32, times: u64);
    /// As [`Source::window`], fewer at a time.
    fn some(&self, offset: u32, length: u32, words: &mut [u64; WINDOW]) -> bool;
    /// Passes a loop's counter on, and makes sure that what was written is read again: values
    /// that the verifier knows nothing of keep its states few.
    fn opaque(&self, counter: u32) -> u32;
}

/// What is to be done with a segment after the short way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Done,
    /// The machine goes on at this offset.
    Scan(u32),
}

/// Where a segment stands in its stream.
enum Place {
    /// Its new bytes start at this offset.
    Here(u32),
    /// It has no new bytes.
    Old,
    /// So many bytes before it are missing.
    Gap(u32),
}

#[inline(always)]
fn place(expected: u32, segment: &Segment) -> Place {
    let ahead = segment.sequence.wrapping_sub(expected);
    if ahead == 0 {
        return Place::Here(segment.start);
    }
    if ahead < 1 << 31 {
        return Place::Gap(ahead);
    }
    let overlap = ahead.wrapping_neg();
    if overlap >= segment.length - segment.start {
        Place::Old
    } else {
        Place::Here(segment.start + overlap)
    }
}

/// The sequence number behind a segment.
#[inline(always)]
pub(crate) fn end(segment: &Segment) -> u32 {
    segment
        .sequence
        .wrapping_add(segment.length - segment.start)
}

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
    if line.hash != connection.hash {
        let (text, _) = window.split_at(TEXT_WORDS);
        let Ok(text) = text.try_into() else {
            return Next::Done;
        };
        let route = match kernel.known_route(line.hash) {
            Some(route) => route,
            None => kernel.route(text, &line, false),
        };
        connection.hash = line.hash;
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
    if connection.series_status != status {
        connection.series = kernel.series(answer.container, answer.route, status);
        connection.series_status = status;
    }
    connection.answered += 1;
    let series = connection.series;
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

/// Notes a response down that goes on in further segments.
#[inline(always)]
pub(crate) fn open(connection: &mut Connection, answer: &Answer, series: u16, now: u64) {
    connection.open_start = answer.start;
    connection.open_first = now;
    connection.open_bytes = answer.response_bytes;
    connection.open_uncounted = 0;
    connection.open_request_bytes = answer.request_bytes as u32;
    connection.open_route = answer.route;
    connection.open_series = series;
    connection.open_status = answer.status;
}

/// More bytes of the response under way. Each segment's would be one more line of memory to add to.
#[inline(always)]
fn more<K: Kernel>(kernel: &K, connection: &mut Connection, bytes: u64) {
    if connection.open_status == 0 {
        // They answer nothing that was seen.
        return;
    }
    connection.open_bytes += bytes;
    connection.open_uncounted += bytes;
    if connection.open_uncounted >= BYTES_COUNTED {
        kernel.bytes(connection.open_series, connection.open_uncounted);
        connection.open_uncounted = 0;
    }
}

/// The response under way has ended.
#[inline(always)]
pub(crate) fn finish<K: Kernel>(kernel: &K, connection: &mut Connection, now: u64) {
    if connection.open_status == 0 {
        return;
    }
    let answer = Answer {
        start: connection.open_start,
        request_bytes: u64::from(connection.open_request_bytes),
        response_bytes: connection.open_bytes,
        route: connection.open_route,
        status: connection.open_status,
        container: connection.container,
    };
    connection.open_status = 0;
    kernel.last(
        connection.open_series,
        &answer,
        connection.open_first,
        connection.open_uncounted,
        now,
    );
}

/// The connection is closed or reset by either side.
#[inline(always)]
pub fn closed<K: Kernel>(kernel: &K, connection: &mut Connection, by_server: bool) {
    if connection.open_status == 0 {
        return;
    }
    if connection.tx == phase::CLOSE {
        if !by_server {
            return;
        }
    } else {
        kernel.lost(lost::ABORTED);
    }
    connection.tx = phase::OPAQUE;
    finish(kernel, connection, kernel.now());
}

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
        }
        connection.rx_next = end(segment);
    }
    let (event, reached) = step(kernel, &mut deep.rx, Kind::Request, at, length);
    if deep.rx.take_begun() {
        deep.rx_start = kernel.now();
        deep.rx_bytes = 0;
    }
    deep.rx_bytes += u64::from(reached - at);
    at = reached;
    match event {
        Event::Head => {
            push(kernel, connection, deep);
            let body = deep.rx.framing(Kind::Request);
            deep.rx.body(Kind::Request, body);
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
        bytes: bytes as u32,
        route,
        method,
        reserved: 0,
    };
    enqueue(kernel, connection, deep, waiting, line.hash);
}

/// A request, whose line has this hash, waits for its answer.
#[inline(always)]
pub(crate) fn enqueue<K: Kernel>(
    kernel: &K,
    connection: &mut Connection,
    deep: &mut Deep,
    waiting: Waiting,
    hash: u64,
) {
    if connection.head == connection.tail {
        connection.head = 0;
        connection.tail = 0;
    }
    let number = connection.head;
    let after = (number + 1) % QUEUE as u8;
    if after == connection.tail {
        kernel.lost(lost::QUEUE);
        return;
    }
    if number == 0 {
        connection.start = waiting.start;
        connection.method = waiting.method;
        connection.request_bytes = waiting.bytes;
        // The hash that leads to this route on the short way is another's.
        connection.hash = hash;
        connection.route = waiting.route;
        connection.series_status = 0;
    } else {
        deep.queue[usize::from(number) % QUEUE] = waiting;
    }
    connection.head = after;
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
                deep.tx.body(Kind::Response, Body::Empty);
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

/// Takes the oldest request that waits; there must be one.
#[inline(always)]
pub(crate) fn pop(connection: &mut Connection, deep: &Deep) -> Waiting {
    let number = connection.tail;
    connection.tail = (number + 1) % QUEUE as u8;
    if number == 0 {
        Waiting {
            start: connection.start,
            bytes: connection.request_bytes,
            route: connection.route,
            method: connection.method,
            reserved: 0,
        }
    } else {
        deep.queue[usize::from(number) % QUEUE]
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
    } else {
        kernel.lost(lost::UNMATCHED);
    }
    let tunnel = status == 101 || (waiting.method == method::CONNECT && status / 100 == 2);
    let body = if tunnel || waiting.method == method::HEAD || status == 204 || status == 304 {
        Body::Empty
    } else {
        deep.tx.framing(Kind::Response)
    };
    deep.tx.body(Kind::Response, body);
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
