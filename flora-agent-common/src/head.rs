//! The head of a message that lies in one segment, read eight bytes at a time.
//!
//! This is the way of nearly all traffic, so it must be cheap. It is exact, or
//! says [`Scan::Odd`]; then the bytes go through [`crate::machine`], which
//! needs more time and knows every case.

use core::mem::MaybeUninit;

use crate::method;
use crate::word::{after, equal, lower, lowest, mix, number, repeat, word};

/// Words of a window that are looked at.
pub const WINDOW: usize = 32;
/// Words of a window in all: what follows the last line break is looked at too.
pub const WORDS: usize = WINDOW + 4;
/// How many windows a head may fill: 1 KiB.
pub const WINDOWS: u32 = 4;
/// Words of a request line that hold method and path at most.
pub const LINE_WORDS: usize = crate::template::TEXT_BYTES / 8;

/// Room for a window.
pub type Room = MaybeUninit<[u64; WORDS]>;

/// How many bytes a window takes of those that are left.
#[inline(always)]
pub fn window_bytes(left: u32) -> u32 {
    if left > 8 * WORDS as u32 {
        8 * WORDS as u32
    } else {
        left
    }
}

/// A window as the message before may have left it: what no reader may take for its own.
#[cfg(any(test, feature = "simulation"))]
pub fn stale() -> [u64; WORDS] {
    let text = b"\r\nConte\nt-Length: 7\r\n\r\n\r\n\r\nTransfer-Encoding: chunked\r\n\r\n \r\n\r\n";
    let mut window = [0; WORDS];
    for n in LINE_WORDS..WORDS {
        let mut word = [0; 8];
        for (byte, value) in word.iter_mut().enumerate() {
            *value = text[(8 * n + byte) % text.len()];
        }
        window[n] = u64::from_le_bytes(word);
    }
    window
}

/// Where the bytes of a segment come from.
pub trait Source {
    /// Copies `length` bytes (1 to `8 * WORDS`) at `offset` to the window's start.
    /// What was there behind them stays. False when they can't be read.
    fn window(&self, offset: u32, length: u32, window: &mut [u64; WORDS]) -> bool;

    /// A window to read into. Its first [`LINE_WORDS`] words are zero; behind them may be anything,
    /// which no reader takes for the segment's.
    fn blank<'a>(&self, room: &'a mut Room) -> &'a mut [u64; WORDS];

    /// The same value, of which the kernel's verifier knows nothing any more: it
    /// tells states of a loop apart by what it knows, and gives up at too many.
    fn forget(&self, value: u64) -> u64;
}

/// How the body that follows a head ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing(u64);

impl Framing {
    const NONE: u64 = 1 << 62;
    const CHUNKED: u64 = 1 << 63;

    /// The head says nothing about a body.
    #[inline(always)]
    pub fn is_none(self) -> bool {
        self.0 == Self::NONE
    }

    /// The body comes in chunks.
    #[inline(always)]
    pub fn is_chunked(self) -> bool {
        self.0 == Self::CHUNKED
    }

    /// Bytes of the body, where the head gives them.
    #[inline(always)]
    pub fn length(self) -> u64 {
        if self.0 >= Self::NONE { 0 } else { self.0 }
    }
}

/// What a scan found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The head ends before this offset in the segment, and its body is framed so.
    Head(u32, Framing),
    /// Not to be told in this way: incomplete, too long, or out of the ordinary.
    Odd,
    /// The segment's bytes can't be read.
    Unreadable,
}

/// Reads on from a window that holds the segment's bytes from `start` on, to the head's end.
///
/// `length` is the segment's, with its headers, as `start` is.
#[inline(always)]
pub fn scan<S: Source>(source: &S, window: &mut [u64; WORDS], start: u32, length: u32) -> Scan {
    const LF: u8 = b'\n';
    const BLANK: u64 = b'\r' as u64 | (LF as u64) << 8;
    const CONTENT: u64 = word(b"content-");
    const LENGTH: u64 = word(b"length: ");
    const TRANSFER: u64 = word(b"transfer");
    const ENCODING: u64 = word(b"-encodin");
    const CHUNK: u64 = word(b"g: chunk");
    const ED: u64 = b'e' as u64 | (b'd' as u64) << 8 | BLANK << 16;
    let mut framing = source.forget(Framing::NONE);
    let mut at = start;
    let mut turn = 0;
    while turn < WINDOWS {
        if turn > 0 {
            if at >= length {
                return Scan::Odd;
            }
            let left = length - at;
            if !source.window(at, window_bytes(left), window) {
                return Scan::Unreadable;
            }
        }
        let mut n = 0;
        while n < WINDOW {
            let offset = at + 8 * n as u32;
            if offset >= length {
                return Scan::Odd;
            }
            let here = word_at(window, n);
            let breaks = equal(here, LF);
            if breaks != 0 {
                let index = lowest(breaks);
                let next = word_at(window, n + 1);
                let line = after(here, next, index);
                // No field starts with such a byte: the head's end, or a line that servers differ
                // about (a bare line feed ends the head for some).
                if line & 0xff <= u64::from(b'\r') {
                    if line & 0xffff != BLANK {
                        return Scan::Odd;
                    }
                    let end = offset + index + 3;
                    if end > length {
                        return Scan::Odd;
                    }
                    return Scan::Head(end, Framing(framing));
                }
                // A second break in these eight bytes: a line shorter than any header.
                if breaks & breaks.wrapping_sub(1) != 0 {
                    return Scan::Odd;
                }
                let name = lower(line);
                if name == CONTENT {
                    let third = word_at(window, n + 2);
                    let line = after(next, third, index);
                    if lower(line) == LENGTH {
                        let Some(value) = number(after(third, word_at(window, n + 3), index))
                        else {
                            return Scan::Odd;
                        };
                        // Said twice, or beside chunks: who is right is a question for the machine.
                        if framing != Framing::NONE {
                            return Scan::Odd;
                        }
                        framing = source.forget(value);
                    } else if lower(line) & 0xffff_ffff_ffff == LENGTH & 0xffff_ffff_ffff {
                        return Scan::Odd;
                    }
                } else if name == TRANSFER {
                    let third = word_at(window, n + 2);
                    let fourth = word_at(window, n + 3);
                    let second = lower(after(next, third, index));
                    if second == ENCODING {
                        let value = lower(after(third, fourth, index));
                        let rest = after(fourth, word_at(window, n + 4), index);
                        if value != CHUNK
                            || (rest | 0x2020) & 0xffff_ffff != ED
                            || framing != Framing::NONE
                        {
                            return Scan::Odd;
                        }
                        framing = source.forget(Framing::CHUNKED);
                    }
                }
            }
            n += 1;
        }
        at += 8 * WINDOW as u32;
        turn += 1;
    }
    Scan::Odd
}

/// A word of the window.
#[inline(always)]
fn word_at(window: &[u64; WORDS], n: usize) -> u64 {
    // The index is below WORDS wherever this is called, and a check that could
    // fail would need a panic, which the kernel has not.
    if n < WORDS { window[n] } else { 0 }
}

/// The method at a window's start and the bytes of it with its space; nothing
/// when it is not one of the usual ones with a path behind it.
#[inline(always)]
pub fn usual_method(first: u64) -> Option<(u8, u32)> {
    const fn low(text: &[u8; 8], bytes: u32) -> u64 {
        word(text) & mask(bytes)
    }
    const fn mask(bytes: u32) -> u64 {
        u64::MAX >> (64 - 8 * bytes)
    }
    if first & mask(5) == low(b"GET /\0\0\0", 5) {
        Some((method::GET, 4))
    } else if first & mask(6) == low(b"POST /\0\0", 6) {
        Some((method::POST, 5))
    } else if first & mask(5) == low(b"PUT /\0\0\0", 5) {
        Some((method::PUT, 4))
    } else if first & mask(6) == low(b"HEAD /\0\0", 6) {
        Some((method::HEAD, 5))
    } else if first == word(b"DELETE /") {
        Some((method::DELETE, 7))
    } else if first & mask(7) == low(b"PATCH /\0", 7) {
        Some((method::PATCH, 6))
    } else {
        None
    }
}

/// A request line's method and path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Hash of the bytes as they are.
    pub hash: u64,
    /// How many.
    pub length: u32,
    /// [`method`]'s number.
    pub method: u8,
}

/// The seed of the hash of a request line.
pub const LINE_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Method and path at a window's start, up to the second space or the question mark.
/// Nothing when they take more than [`crate::template::TEXT_BYTES`].
#[inline(always)]
pub fn line(window: &[u64; WORDS], method: u8, method_bytes: u32) -> Option<Line> {
    let mut hash = LINE_SEED;
    let mut n = 0;
    while n < LINE_WORDS {
        let here = word_at(window, n);
        let mut stops = equal(here, b' ') | equal(here, b'?');
        if n == 0 {
            // Not the space behind the method. (A shift by 56 at most: no method with a path is longer.)
            stops &= u64::MAX << ((8 * method_bytes) & 63);
        }
        if stops != 0 {
            let stop = lowest(stops);
            let kept = here & ((1u64 << (8 * stop)) - 1);
            return Some(Line {
                hash: mix(hash, kept),
                length: 8 * n as u32 + stop,
                method,
            });
        }
        hash = mix(hash, here);
        n += 1;
    }
    None
}

/// The status of a response whose first sixteen bytes are these; nothing when it is none of HTTP/1.
#[inline(always)]
pub fn status(first: u64, second: u64) -> Option<u16> {
    const VERSION: u64 = word(b"HTTP/1.\0");
    if first & (u64::MAX >> 8) != VERSION {
        return None;
    }
    // A space, three digits and what ends them.
    if second & 0xff != b' ' as u64 {
        return None;
    }
    let digits = (second >> 8) & 0xff_ffff;
    let value = digits ^ (repeat(b'0') & 0xff_ffff);
    if (value.wrapping_add(0x76_7676) | value) & 0x80_8080 != 0 {
        return None;
    }
    let end = (second >> 32) & 0xff;
    if end != b' ' as u64 && end != b'\r' as u64 {
        return None;
    }
    Some(((value & 0xff) * 100 + (value >> 8 & 0xff) * 10 + (value >> 16 & 0xff)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    struct Bytes<'a>(&'a [u8]);

    impl Source for Bytes<'_> {
        fn window(&self, offset: u32, length: u32, window: &mut [u64; WORDS]) -> bool {
            let bytes = &self.0[offset as usize..][..length as usize];
            for (n, chunk) in bytes.chunks(8).enumerate() {
                let mut word = window[n].to_le_bytes();
                word[..chunk.len()].copy_from_slice(chunk);
                window[n] = u64::from_le_bytes(word);
            }
            true
        }

        fn blank<'a>(&self, room: &'a mut Room) -> &'a mut [u64; WORDS] {
            room.write(stale())
        }

        fn forget(&self, value: u64) -> u64 {
            value
        }
    }

    fn window(text: &[u8]) -> [u64; WORDS] {
        let mut window = stale();
        let n = text.len().min(8 * WORDS);
        Bytes(text).window(0, n as u32, &mut window);
        window
    }

    fn scanned(text: &[u8]) -> Scan {
        scan(&Bytes(text), &mut window(text), 0, text.len() as u32)
    }

    #[test]
    fn usual_heads() {
        let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(
            scanned(get),
            Scan::Head(get.len() as u32, Framing(Framing::NONE))
        );
        let post = b"POST /a HTTP/1.1\r\ncontent-LENGTH: 12345\r\nHost: a\r\n\r\nbody";
        let end = post.len() as u32 - 4;
        assert_eq!(scanned(post), Scan::Head(end, Framing(12345)));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        let end = chunked.len() as u32 - 5;
        assert_eq!(scanned(chunked), Scan::Head(end, Framing(Framing::CHUNKED)));
    }

    #[test]
    fn odd_heads() {
        for text in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r"[..],
            b"GET / HTTP/1.1\r\nContent-Length:5\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 123456789\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"GET / HTTP/1.1\r\na:\r\nb:\r\n\r\n",
        ] {
            assert_eq!(scanned(text), Scan::Odd, "{}", text.escape_ascii());
        }
    }

    /// Heads of every length up to beyond the longest: the right end, or odd.
    #[test]
    fn every_length() {
        for padding in 0..1100 {
            let mut text = b"GET / HTTP/1.1\r\nA: ".to_vec();
            text.extend(std::iter::repeat_n(b'a', padding));
            text.extend(b"\r\nContent-Length: 7\r\nAccept: */*\r\n\r\n");
            let end = text.len() as u32;
            text.extend(b"1234567");
            match scanned(&text) {
                Scan::Head(found, framing) => {
                    assert_eq!((found, framing.length()), (end, 7), "{padding}");
                }
                Scan::Odd => assert!(end > 1000, "{padding}"),
                Scan::Unreadable => panic!(),
            }
        }
    }

    /// Bare line feeds, wherever they lie: the head's end is left to the machine, and never taken
    /// to be that of a head behind it.
    #[test]
    fn bare_line_feeds() {
        for padding in 0..300 {
            for blank in ["\n\n", "\r\n\n"] {
                let first = std::format!("GET /{} HTTP/1.1\nHost: a{blank}", "x".repeat(padding));
                let text = first + "GET /b HTTP/1.1\r\nHost: b\r\n\r\n";
                assert_eq!(scanned(text.as_bytes()), Scan::Odd, "{padding} {blank:?}");
            }
        }
    }

    #[test]
    fn statuses() {
        let of = |text: &[u8; 16]| {
            let window = window(text);
            status(window[0], window[1])
        };
        assert_eq!(of(b"HTTP/1.1 200 OK\r"), Some(200));
        assert_eq!(of(b"HTTP/1.0 404\r\nab"), Some(404));
        assert_eq!(of(b"HTTP/1.1 2x0 OK\r"), None);
        assert_eq!(of(b"HTTP/2.0 200 OK\r"), None);
        assert_eq!(of(b"HTTP/1.1  200 OK"), None);
    }

    #[test]
    fn lines() {
        let text = b"GET /objects?secret=1 HTTP/1.1\r\n";
        let found = line(&window(text), 1, 4).unwrap();
        assert_eq!(found.length, 12);
        let same = line(&window(b"GET /objects HTTP/1.1\r\n"), 1, 4).unwrap();
        assert_eq!(found, same);
        let other = line(&window(b"GET /object HTTP/1.1\r\n"), 1, 4).unwrap();
        assert_ne!(found.hash, other.hash);
        let mut long = b"GET /".to_vec();
        long.extend(Vec::from([b'a'; 60]));
        assert_eq!(line(&window(&long), 1, 4), None);
    }
}
