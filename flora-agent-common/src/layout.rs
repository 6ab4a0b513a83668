//! The values in Flora's maps, as the kernel programs write and the agent reads them.
//!
//! Everything is `repr(C)` without padding holes, so that a page of a map can
//! be read as it is.

use crate::template::TEXT_BYTES;

/// Routes (method and templated path) that are told apart; further ones share slot [`OTHER`].
pub const ROUTES: usize = 64;

/// The slot of what found none: route 0 is a route like any other to the reader, and named `_OTHER`.
pub const OTHER: u16 = 0;

/// Series (container, route, status) that are told apart, per copy for a CPU.
///
/// Series 0 takes what found no slot; it keeps the total right.
pub const SERIES: usize = 128;

/// Buckets of a histogram; see [`bucket`].
pub const BUCKETS: usize = 40;

/// Bits of the shortest duration that has a bucket of its own: 2^14 ns, 16 µs.
const FIRST_BITS: u32 = 14;

/// The bucket of a duration in nanoseconds: two to an octave, from 2^14 ns
/// (16 µs, bucket 0 holds everything below) to 2^33.5 ns (12 s; the last holds all above).
#[inline(always)]
pub fn bucket(nanoseconds: u64) -> u32 {
    // In units of half of the first bound, so that what is below has 0 or 1 there.
    let scaled = nanoseconds >> (FIRST_BITS - 1);
    // No instruction counts leading zeros, so the exponent is halved five times.
    let mut rest = if scaled > 0xffff_ffff {
        0xffff_ffff
    } else {
        scaled
    };
    let mut log = 0u32;
    if rest >= 1 << 16 {
        rest >>= 16;
        log += 16;
    }
    if rest >= 1 << 8 {
        rest >>= 8;
        log += 8;
    }
    if rest >= 1 << 4 {
        rest >>= 4;
        log += 4;
    }
    if rest >= 1 << 2 {
        rest >>= 2;
        log += 2;
    }
    if rest >= 1 << 1 {
        log += 1;
    }
    if log == 0 {
        return 0;
    }
    // The bit below the highest halves the octave.
    let half = (scaled >> (log - 1)) & 1;
    let index = 2 * (log - 1) + half as u32 + 1;
    if index > BUCKETS as u32 - 1 {
        BUCKETS as u32 - 1
    } else {
        index
    }
}

/// The duration in nanoseconds that bucket `index` ends before; nothing for the last.
pub fn bucket_end(index: usize) -> Option<u64> {
    if index + 1 >= BUCKETS {
        return None;
    }
    let octave = 1u64 << (FIRST_BITS as usize + index / 2);
    Some(if index.is_multiple_of(2) {
        octave
    } else {
        octave + octave / 2
    })
}

/// What was counted of one series on one CPU (or on those that share a copy).
///
/// A response whose first segment is its last adds to `single`; another one to
/// `first` when it begins and to `last` when it has ended. So requests answered
/// are `single + first`, durations to the first byte too; durations to the last
/// byte are `single + last`, and `first - last` are under way or were cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Series {
    /// Sum of the durations in `single`, in nanoseconds.
    pub single_nanoseconds: u64,
    /// Bytes of requests, heads included.
    pub request_bytes: u64,
    /// Bytes of responses, heads included.
    pub response_bytes: u64,
    /// Sum of the durations in `first`, in nanoseconds.
    pub first_nanoseconds: u64,
    /// Sum of the durations in `last`, in nanoseconds.
    pub last_nanoseconds: u64,
    /// Keeps the histograms on cache lines of their own.
    pub reserved: [u64; 3],
    /// Responses that were one segment, by duration.
    pub single: [u64; BUCKETS],
    /// Other responses, by duration to the first byte.
    pub first: [u64; BUCKETS],
    /// The same responses, by duration to the last byte.
    pub last: [u64; BUCKETS],
}

/// What a series is about, packed into a word that is written at once:
/// container, route, status and a mark that the slot is taken.
#[inline(always)]
pub const fn series_key(container: u16, route: u16, status: u16) -> u64 {
    1 << 63 | (container as u64) << 32 | (route as u64) << 16 | status as u64
}

/// The key of a series that is being taken back: nobody finds it any more, and nobody takes its slot yet.
pub const fn closed_key(key: u64) -> u64 {
    key & !(1 << 63) | CLOSED
}

/// Whether a series is being taken back.
pub const fn is_closed(key: u64) -> bool {
    key & CLOSED != 0
}

/// The mark of a [`closed_key`].
const CLOSED: u64 = 1 << 62;

/// Container, route and status of a [`series_key`].
pub const fn series_parts(key: u64) -> (u16, u16, u16) {
    ((key >> 32) as u16 & 0x7fff, (key >> 16) as u16, key as u16)
}

/// Bits of a route's number that say its slot.
const SLOT_BITS: u32 = 6;
const _: () = assert!(ROUTES == 1 << SLOT_BITS);

/// The number that stands for a route: its slot, and how often that had been another's before,
/// so that a number that is kept somewhere can't become that of another route.
#[inline(always)]
pub const fn route_number(slot: u16, generation: u16) -> u16 {
    generation << SLOT_BITS | slot
}

/// Slot and generation of a route's number.
#[inline(always)]
pub const fn route_parts(number: u16) -> (u16, u16) {
    (number % ROUTES as u16, number >> SLOT_BITS)
}

/// The generation behind one; after the last comes the first.
pub const fn next_generation(generation: u16) -> u16 {
    (generation + 1) % (1 << (16 - SLOT_BITS))
}

/// [`Route::hash`] while a slot is being taken back: no route's.
pub const TAKEN_BACK: u64 = 2;

/// A route: a method and a path whose changing parts are templated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Route {
    /// Hash of the method and the templated path, which is odd; 0 while the slot is free, and
    /// [`TAKEN_BACK`] before it is free again.
    pub hash: u64,
    /// [`crate::method`]'s number.
    pub method: u8,
    /// Bytes in `text`.
    pub length: u8,
    /// 1 when the path went on beyond `text`.
    pub cut: u8,
    /// 1 when `text` can be read.
    pub ready: u8,
    /// How often the slot was another's before; the agent alone writes it.
    pub generation: u16,
    /// Nothing.
    pub reserved: u16,
    /// The path as the first request had it, without its query: not yet
    /// templated, so the agent passes it through [`crate::template`].
    pub text: [u8; TEXT_BYTES],
}

/// Reasons in [`lost`], in the order of their counters.
pub const LOST: [&str; lost::REASONS] = [
    "connection_storage",
    "queue_full",
    "segment_gap",
    "scan_limit",
    "unmatched_response",
    "route_overflow",
    "series_overflow",
    "span_buffer_full",
    "read_failed",
    "aborted_response",
    "not_http",
    "encrypted",
    "http2",
];

/// Indices of the counters of what could not be seen or told apart.
///
/// A request is served when its final answer begins to leave. All of these are
/// counted as requests, or as [`UNMATCHED`](lost::UNMATCHED): the two together are what was
/// served on connections that speak HTTP/1. The other reasons say how a request came to be
/// lost, or tell of other things, and are no part of that sum.
pub mod lost {
    /// No memory for a connection's state: its requests are not seen.
    pub const STORAGE: u32 = 0;
    /// A request that found more of them outstanding on its connection than are kept; an answer will be unmatched.
    pub const QUEUE: u32 = 1;
    /// Bytes were missing where a head was expected. When they come late but with the start of
    /// a message, its request is seen all the same; otherwise its answer will be unmatched.
    pub const GAP: u32 = 2;
    /// A segment had more heads in it, or a longer one, than is read at once (33 messages, or
    /// heads of some 4,000 bytes in short lines, 30,000 in long ones).
    pub const SCAN: u32 = 3;
    /// An answer to a request that was not seen: a served request that is not counted as one.
    pub const UNMATCHED: u32 = 4;
    /// A request whose route found no slot, or had lost it when the answer came; it is counted as `_OTHER`.
    pub const ROUTE: u32 = 5;
    /// An answer whose series found no slot; it is counted in series 0.
    pub const SERIES: u32 = 6;
    /// A span that found no room; its request is counted.
    pub const SPAN: u32 = 7;
    /// A segment's bytes could not be read.
    pub const READ: u32 = 8;
    /// An answer that was cut off before its end; it is counted.
    pub const ABORTED: u32 = 9;
    /// A connection that speaks something else.
    pub const NOT_HTTP: u32 = 10;
    /// A connection that is encrypted.
    pub const ENCRYPTED: u32 = 11;
    /// A connection that speaks HTTP/2.
    pub const HTTP2: u32 = 12;
    /// How many there are.
    pub const REASONS: usize = 13;
}

/// A single request, as it leaves the kernel for a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Span {
    /// First byte of the request, in nanoseconds of CLOCK_MONOTONIC.
    pub start: u64,
    /// First byte of the response.
    pub first: u64,
    /// Last byte of the response.
    pub end: u64,
    /// Bytes of the request.
    pub request_bytes: u64,
    /// Bytes of the response.
    pub response_bytes: u64,
    /// The caller's address (IPv4 as IPv4-mapped IPv6), in network order.
    pub peer: [u8; 16],
    /// The caller's port.
    pub peer_port: u16,
    /// The listener's port.
    pub port: u16,
    /// Status.
    pub status: u16,
    /// Route.
    pub route: u16,
    /// Container.
    pub container: u16,
    /// Why it is here: 1 an error, 2 slow, 4 sampled.
    pub reason: u16,
    /// Nothing.
    pub reserved: u32,
}

/// Who called, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Peer {
    /// Connections on which it was answered.
    pub connections: u64,
    /// Requests that were answered.
    pub requests: u64,
}

/// Which peer of which container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct PeerKey {
    /// The caller's address (IPv4 as IPv4-mapped IPv6), in network order.
    pub address: [u8; 16],
    /// Container.
    pub container: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_and_their_ends_agree() {
        for index in 0..BUCKETS {
            if let Some(end) = bucket_end(index) {
                assert_eq!(bucket(end - 1), index as u32, "below {end}");
                assert_eq!(bucket(end), index as u32 + 1, "at {end}");
            }
        }
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u64::MAX), BUCKETS as u32 - 1);
        assert_eq!(bucket_end(0), Some(16_384));
    }

    #[test]
    fn no_holes() {
        assert_eq!(size_of::<Series>(), 1024);
        assert_eq!(size_of::<Route>(), 16 + TEXT_BYTES);
        assert_eq!(size_of::<Span>(), 72);
        assert_eq!(size_of::<PeerKey>(), 20);
        let key = series_key(7, 63, 404);
        assert_eq!(series_parts(key), (7, 63, 404));
    }

    #[test]
    fn a_closed_key_is_that_of_no_series_and_says_whose_it_was() {
        let key = series_key(0x7fff, u16::MAX, 599);
        let closed = closed_key(key);
        assert!(is_closed(closed) && !is_closed(key));
        assert_eq!(series_parts(closed), series_parts(key));
        assert_eq!(closed >> 63, 0);
    }

    #[test]
    fn numbers_of_routes() {
        for slot in [0, 1, ROUTES as u16 - 1] {
            let mut generation = 0;
            for _ in 0..1023 {
                let number = route_number(slot, generation);
                assert_eq!(route_parts(number), (slot, generation));
                generation = next_generation(generation);
            }
            assert_eq!((generation, next_generation(generation)), (1023, 0));
        }
        assert_eq!(route_number(OTHER, 0), OTHER);
    }
}
