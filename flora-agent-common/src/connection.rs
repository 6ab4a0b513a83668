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

mod scan;
mod short;

pub use self::scan::{Scanned, scan_requests, scan_responses};
pub use self::short::{requests, responses};

use crate::head::{self, Source};
use crate::layout::lost;
use crate::machine::{Machine, WINDOW};
use crate::template::TEXT_BYTES;

/// Words of a request line.
pub const TEXT_WORDS: usize = TEXT_BYTES / 8;

/// Requests of a connection that can be open at once.
pub const QUEUE: usize = 64;

/// No request's number.
pub(crate) const NO_NUMBER: u8 = QUEUE as u8;

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
    /// 1 when the caller's entry has this connection.
    pub listed: u8,
    /// [`Kernel::round`] when [`Connection::route`] was found.
    pub round: u16,
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

    /// How many connections and answers the caller's entry lacks; from now on it has them. One
    /// that is never asked anything is in no entry: an application's own, to those that it calls.
    #[inline(always)]
    pub fn tell(&mut self) -> (u64, u64) {
        let lacks = (u64::from(1 - self.listed), u64::from(self.answered));
        self.listed = 1;
        self.answered = 0;
        self.told = epoch(self.start);
        lacks
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
    /// Number of the request whose body is being read, while it may wait; `NO_NUMBER` otherwise.
    pub rx_number: u8,
    /// Requests that were given up when their answers could not be read. Answers that come
    /// later, while no request has come since, are theirs: they count as lost once only.
    pub given_up: u8,
    /// Nothing.
    pub reserved: [u8; 6],
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
    /// Whether that is still this one: series and routes that nobody asks for are taken back, and
    /// given to others.
    fn is_series(&self, series: u16, container: u16, route: u16, status: u16) -> bool;
    /// How often that has happened, modulo 2^16: a route that was found before may be another's.
    fn round(&self) -> u16;
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
        if is_counted(kernel, connection) {
            kernel.bytes(connection.open_series, connection.open_uncounted);
        }
        connection.open_uncounted = 0;
    }
}

/// Whether the response under way has its series still. One that outlives it was counted when
/// it began, and its end is nobody's.
#[inline(always)]
fn is_counted<K: Kernel>(kernel: &K, connection: &Connection) -> bool {
    kernel.is_series(
        connection.open_series,
        connection.container,
        connection.open_route,
        connection.open_status,
    )
}

/// The response under way has ended.
#[inline(always)]
pub(crate) fn finish<K: Kernel>(kernel: &K, connection: &mut Connection, now: u64) {
    if connection.open_status == 0 {
        return;
    }
    let counted = is_counted(kernel, connection);
    let answer = Answer {
        start: connection.open_start,
        request_bytes: u64::from(connection.open_request_bytes),
        response_bytes: connection.open_bytes,
        route: connection.open_route,
        status: connection.open_status,
        container: connection.container,
    };
    connection.open_status = 0;
    if counted {
        kernel.last(
            connection.open_series,
            &answer,
            connection.open_first,
            connection.open_uncounted,
            now,
        );
    }
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

/// A request, whose line has this hash, waits for its answer; under which number.
#[inline(always)]
pub(crate) fn enqueue<K: Kernel>(
    kernel: &K,
    connection: &mut Connection,
    deep: &mut Deep,
    waiting: Waiting,
    hash: u64,
) -> u8 {
    if connection.head == connection.tail {
        connection.head = 0;
        connection.tail = 0;
    }
    let number = connection.head;
    let after = (number + 1) % QUEUE as u8;
    if after == connection.tail {
        kernel.lost(lost::QUEUE);
        return NO_NUMBER;
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
    number
}

/// The request that the machine reads has come to be longer than its head said, as chunks make it.
/// It is known while it waits; what comes behind its answer is not counted.
#[inline(always)]
fn grow(connection: &mut Connection, deep: &mut Deep) {
    let number = deep.rx_number;
    let before = number.wrapping_sub(connection.tail) % QUEUE as u8;
    let waiting = connection.head.wrapping_sub(connection.tail) % QUEUE as u8;
    if number == NO_NUMBER || before >= waiting {
        return;
    }
    let bytes = noted(deep.rx_bytes);
    if number == 0 {
        if connection.request_bytes < bytes {
            connection.request_bytes = bytes;
        }
        return;
    }
    let waiting = &mut deep.queue[usize::from(number) % QUEUE];
    if waiting.bytes < bytes {
        waiting.bytes = bytes;
    }
}

/// Bytes of a request as they are noted down: 4 GiB and more are all one.
#[inline(always)]
pub(crate) fn noted(bytes: u64) -> u32 {
    if bytes > u64::from(u32::MAX) {
        u32::MAX
    } else {
        bytes as u32
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
