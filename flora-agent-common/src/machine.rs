//! Messages byte by byte, whatever the segments that they come in.
//!
//! A [`Machine`] reads one direction of a connection. It takes a byte at a time
//! in heads and chunk sizes and lets its driver skip bodies whole. Its state
//! lives in memory between segments, so it does not matter where they split.
//!
//! Where RFC 9112 leaves room it follows servers in use: empty lines before a
//! message are skipped, a bare line feed ends a line. Of several fields that
//! frame a body the last one counts, and chunks count more than a length (§6.3).

use crate::method;
use crate::table::{
    CLASS, CLASS_BITS, ENTRIES, EVENT_SHIFT, KEEP, LOWER, NEXT, RESET, SHIFT, TABLE, event, state,
};
use crate::template::TEXT_BYTES;
use crate::word::{big, equal};

/// Which messages a machine reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Requests.
    Request,
    /// Responses.
    Response,
}

/// What bytes brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing yet.
    More,
    /// The head is complete; the driver says how the body is framed with [`Machine::begin_body`].
    Head,
    /// The message is complete.
    End,
    /// This is not HTTP/1.
    NotHttp,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    Empty,
    /// After this many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// A head with a Content-Length.
const HAS_LENGTH: u8 = 1;
/// A head with a Transfer-Encoding.
const HAS_CODING: u8 = 2;
/// Its last transfer coding is `chunked`.
const CHUNKED: u8 = 4;
/// The path was longer than what is kept.
const CUT: u8 = 8;

/// One direction of a connection, between two bytes. All zeros is a new one for requests.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Machine {
    /// The last eight bytes of the word that is being read, the newest lowest.
    low: u64,
    /// The eight bytes before them.
    high: u64,
    /// All bytes before those, laid over each other.
    over: u64,
    /// Content-Length.
    length: u64,
    /// Bytes of a body or chunk that are still to be skipped.
    left: u64,
    /// Status of a response.
    status: u16,
    state: u8,
    flags: u8,
    /// [`method`]'s number.
    method: u8,
    /// Bytes in `text`.
    text_length: u8,
    /// 1 when a message began that the driver was not told of.
    begun: u8,
    reserved: u8,
    /// Method and path of a request, up to the question mark.
    text: [u8; TEXT_BYTES],
}

/// Words that are taken at once, at most; a power of two.
pub const WINDOW: usize = 16;

/// Steps that are made of them: a byte each, or eight where nothing is wanted of a line.
const STEPS: u32 = 96;

/// Lengths beyond this are this: no body is so long, and sums of it stay numbers.
const LONGEST: u64 = 1 << 58;

impl Machine {
    /// Between two messages.
    #[inline(always)]
    pub fn reset(&mut self, kind: Kind) {
        self.left = 0;
        self.state = start(kind);
    }

    /// A new one.
    pub fn new(kind: Kind) -> Machine {
        Machine {
            low: 0,
            high: 0,
            over: 0,
            length: 0,
            left: 0,
            status: 0,
            state: start(kind),
            flags: 0,
            method: 0,
            text_length: 0,
            begun: 0,
            reserved: 0,
            text: [0; TEXT_BYTES],
        }
    }

    /// Takes bytes: the first `n` of `words`, or fewer, up to one with which something happens.
    /// Returns what, and how many it took.
    ///
    /// `opaque` and `forget` are for the kernel's verifier; see [`crate::connection::Kernel`].
    #[inline(always)]
    pub fn take(
        &mut self,
        kind: Kind,
        words: &[u64; WINDOW],
        n: u32,
        opaque: impl Fn(u32) -> u32,
        forget: impl Fn(u64) -> u64,
    ) -> (Event, u32) {
        let mut state = forget(u64::from(self.state)) as u16;
        let mut k = 0u32;
        let mut step = 0u32;
        let mut event = Event::More;
        while step < STEPS && k < n {
            step += 1;
            // The bound is known to the compiler, but the verifier must see it.
            let word = words[opaque(k >> 3) as usize & (WINDOW - 1)];
            if state == u16::from(state::LINE) && k & 7 == 0 && equal(word, b'\n') == 0 {
                k = forget(u64::from(k + 8)) as u32;
                continue;
            }
            let byte = (word >> (8 * (k & 7))) as u8;
            let class = u16::from(CLASS[usize::from(byte)]);
            let entry = TABLE[usize::from((state & NEXT) << CLASS_BITS | class) % ENTRIES];
            state = entry & NEXT;
            if entry & RESET != 0 {
                self.low = 0;
                self.high = 0;
                self.over = 0;
            }
            if entry & SHIFT != 0 {
                self.over |= self.high >> 56;
                self.high = self.high << 8 | self.low >> 56;
                self.low = self.low << 8 | u64::from(byte) | u64::from((entry & LOWER) >> 3);
            }
            if entry & KEEP != 0 {
                self.keep(byte, entry & RESET != 0);
            }
            k = forget(u64::from(k + 1)) as u32;
            let happened = entry >> EVENT_SHIFT;
            if happened != 0 {
                self.state = state as u8;
                event = self.happen(kind, happened);
                state = forget(u64::from(self.state)) as u16;
                if !matches!(event, Event::More) || self.left > 0 {
                    break;
                }
            }
        }
        self.state = state as u8;
        // Eight at a time may be more than there are.
        (event, if k < n { k } else { n })
    }

    #[inline(always)]
    fn keep(&mut self, byte: u8, first: bool) {
        let n = if first { 0 } else { self.text_length };
        if usize::from(n) < TEXT_BYTES {
            self.text[usize::from(n)] = byte;
            self.text_length = n + 1;
        } else {
            self.flags |= CUT;
        }
    }

    #[inline(always)]
    fn happen(&mut self, kind: Kind, happened: u16) -> Event {
        const HTTP_1: u64 = big(b"HTTP/1.");
        match happened {
            0 => return Event::More,
            event::BEGIN => {
                self.flags = 0;
                self.length = 0;
                self.status = 0;
                self.begun = 1;
            }
            event::METHOD => {
                if self.over != 0 {
                    return Event::NotHttp;
                }
                self.method = if self.high != 0 {
                    method::OTHER
                } else {
                    method::by_name(self.low)
                };
            }
            event::VERSION | event::RESPONSE_VERSION => {
                // Eight characters, the last of which may be any.
                if self.low >> 8 != HTTP_1 || (self.high | self.over) != 0 {
                    return Event::NotHttp;
                }
                if happened == event::RESPONSE_VERSION {
                    self.word(state::STATUS);
                }
            }
            event::STATUS => {
                // Three digits.
                if self.low >> 16 == 0 || self.low >> 24 != 0 || (self.high | self.over) != 0 {
                    return Event::NotHttp;
                }
                self.status = ((self.low >> 16 & 15) * 100
                    + (self.low >> 8 & 15) * 10
                    + (self.low & 15)) as u16;
            }
            event::LENGTH_NAME => {
                if self.low == big(b"t-length") && self.high == big(b"conten") && self.over == 0 {
                    self.word(state::LENGTH);
                }
            }
            event::CODING_NAME => {
                if self.low == big(b"encoding") && self.high == big(b"ransfer-") && self.over == 0 {
                    self.word(state::CODING);
                }
            }
            event::LENGTH => {
                self.flags |= HAS_LENGTH;
                self.length = if self.over != 0 {
                    LONGEST
                } else {
                    decimal(self.high) * 100_000_000 + decimal(self.low)
                };
            }
            event::CODING => {
                self.flags |= HAS_CODING;
                if self.low << 8 == big(b"chunked") << 8 {
                    self.flags |= CHUNKED;
                } else {
                    self.flags &= !CHUNKED;
                }
            }
            event::HEAD => return Event::Head,
            event::SIZE => {
                let size = if self.over != 0 || self.high >> 48 != 0 {
                    LONGEST
                } else {
                    hexadecimal(self.high) << 32 | hexadecimal(self.low)
                };
                if size == 0 {
                    self.state = state::TRAILER;
                } else {
                    // The line break behind the chunk goes with it.
                    self.left = size + 2;
                    self.state = state::CHUNK;
                }
            }
            event::END => return self.end(kind),
            _ => return Event::NotHttp,
        }
        Event::More
    }

    /// A new word begins.
    #[inline(always)]
    fn word(&mut self, state: u8) {
        self.low = 0;
        self.high = 0;
        self.over = 0;
        self.state = state;
    }

    #[inline(always)]
    fn end(&mut self, kind: Kind) -> Event {
        self.reset(kind);
        Event::End
    }

    /// How the head says that the body is framed; for a response, of a request that permits one.
    #[inline(always)]
    pub fn framing(&self, kind: Kind) -> Body {
        if self.flags & CHUNKED != 0 {
            Body::Chunked
        } else if self.flags & (HAS_CODING | HAS_LENGTH) == HAS_LENGTH {
            Body::Length(self.length)
        } else {
            match kind {
                Kind::Request => Body::Empty,
                Kind::Response => Body::UntilClose,
            }
        }
    }

    /// Goes on behind a head, whoever has read it: nothing stays of a message before that was
    /// left in its middle. [`Event::End`] when no body follows.
    #[inline(always)]
    pub fn begin_body(&mut self, kind: Kind, body: Body) -> Event {
        let ended = self.end(kind);
        match body {
            Body::Empty | Body::Length(0) => return ended,
            Body::Length(length) => {
                self.left = length;
                self.state = state::BODY;
            }
            Body::Chunked => self.word(state::SIZE),
            Body::UntilClose => {
                self.state = state::CLOSE;
                self.left = u64::MAX;
            }
        }
        Event::More
    }

    /// Bytes that are to be skipped before the next one is looked at.
    #[inline(always)]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Skips bytes, no more than are [`Machine::left`].
    #[inline(always)]
    pub fn skip(&mut self, kind: Kind, bytes: u64) -> Event {
        if self.state == state::CLOSE {
            return Event::More;
        }
        self.left -= bytes;
        if self.left > 0 {
            return Event::More;
        }
        if self.state == state::CHUNK {
            self.word(state::SIZE);
            return Event::More;
        }
        self.end(kind)
    }

    /// Whether it stands before a chunk.
    #[inline(always)]
    pub fn is_before_chunk(&self) -> bool {
        self.state == state::SIZE && self.low == 0
    }

    /// Goes on in a chunk, of which so many bytes are to come.
    #[inline(always)]
    pub fn in_chunk(&mut self, left: u64) {
        self.left = left;
        self.state = state::CHUNK;
    }

    /// Whether it stands in a line of which nothing is wanted.
    #[inline(always)]
    pub fn is_in_line(&self) -> bool {
        self.state == state::LINE
    }

    /// Whether it stands in a request's head, behind its first line.
    #[inline(always)]
    pub fn is_in_fields(&self) -> bool {
        self.state >= state::VERSION && self.state <= state::BLANK
    }

    /// Whether a message has begun since this was last asked.
    #[inline(always)]
    pub fn take_begun(&mut self) -> bool {
        let begun = self.begun != 0;
        self.begun = 0;
        begun
    }

    /// Whether it stands between two messages.
    #[inline(always)]
    pub fn is_between(&self) -> bool {
        self.state <= state::START_RESPONSE
    }

    /// Whether it stands in a body that ends with the connection.
    #[inline(always)]
    pub fn is_until_close(&self) -> bool {
        self.state == state::CLOSE
    }

    /// The request's method.
    #[inline(always)]
    pub fn method(&self) -> u8 {
        self.method
    }

    /// The response's status.
    #[inline(always)]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Method and path of the request.
    #[inline(always)]
    pub fn text(&self) -> &[u8; TEXT_BYTES] {
        &self.text
    }

    /// How many bytes of the text there are, and whether more were cut off.
    #[inline(always)]
    pub fn text_length(&self) -> (u8, bool) {
        (self.text_length, self.flags & CUT != 0)
    }
}

#[inline(always)]
fn start(kind: Kind) -> u8 {
    match kind {
        Kind::Request => state::START,
        Kind::Response => state::START_RESPONSE,
    }
}

/// Up to eight decimal digits, the last one lowest, zeros before them.
#[inline(always)]
fn decimal(digits: u64) -> u64 {
    let value = (digits & 0x0f0f_0f0f_0f0f_0f0f).swap_bytes();
    let pairs = value.wrapping_mul(10).wrapping_add(value >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff
}

/// Up to eight hexadecimal digits, the last one lowest, zeros before them.
#[inline(always)]
pub(crate) fn hexadecimal(digits: u64) -> u64 {
    let letters = digits >> 6 & 0x0101_0101_0101_0101;
    let nibbles = (digits & 0x0f0f_0f0f_0f0f_0f0f) + letters * 9;
    let pairs = (nibbles | nibbles >> 4) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    (fours | fours >> 16) & 0xffff_ffff
}
