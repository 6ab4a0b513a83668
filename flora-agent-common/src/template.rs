//! Paths with their changing parts taken out: `/users/42` and `/users/43` are one route.
//!
//! A segment stands for an identifier, and becomes `{id}`, when it is all
//! digits, or has at least [`HEX_LENGTH`] characters of which each is a hex
//! digit or a dash and one at least a decimal digit (UUIDs, hashes, object ids).

/// Bytes of a request line that are kept: method, space and path up to `?`.
pub const TEXT_BYTES: usize = 64;

/// From how many characters on a segment of hex digits is an identifier.
pub const HEX_LENGTH: u32 = 16;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTOR: u64 = 0xff51_afd7_ed55_8ccd;

const NOT_DIGITS: u32 = 1;
const NOT_HEX: u32 = 2;
const A_DIGIT: u32 = 4;

/// Hashes a request line's method and templated path, byte by byte.
#[derive(Clone, Copy, Debug)]
pub struct Templater {
    whole: u64,
    segment: u64,
    length: u32,
    seen: u32,
}

impl Default for Templater {
    fn default() -> Self {
        Self::new()
    }
}

impl Templater {
    /// Nothing seen yet.
    #[inline(always)]
    pub fn new() -> Self {
        Templater {
            whole: SEED,
            segment: SEED,
            length: 0,
            seen: 0,
        }
    }

    /// One more byte. The method counts as a segment of its own.
    #[inline(always)]
    pub fn push(&mut self, byte: u8) {
        if byte == b'/' {
            self.end_segment();
            return;
        }
        let digit = byte.wrapping_sub(b'0') < 10;
        let letter = (byte | 0x20).wrapping_sub(b'a') < 6;
        self.segment = (self.segment ^ u64::from(byte)).wrapping_mul(FACTOR);
        self.length += 1;
        if digit {
            self.seen |= A_DIGIT;
        } else {
            self.seen |= NOT_DIGITS;
            if !letter && byte != b'-' {
                self.seen |= NOT_HEX;
            }
        }
    }

    /// Passes what is known of the segment through `change`, which returns it as
    /// it is: the kernel's verifier tells states of a loop apart by such numbers.
    #[inline(always)]
    pub fn forget(&mut self, change: impl Fn(u64) -> u64) {
        self.length = change(u64::from(self.length)) as u32;
        self.seen = change(u64::from(self.seen)) as u32;
        self.whole = change(self.whole);
        self.segment = change(self.segment);
    }

    #[inline(always)]
    fn end_segment(&mut self) {
        let part = if is_identifier(self.length, self.seen) {
            1
        } else {
            self.segment
        };
        self.whole = (self.whole.rotate_left(5) ^ part).wrapping_mul(FACTOR);
        self.segment = SEED;
        self.length = 0;
        self.seen = 0;
    }

    /// The hash, never 0. Of a path that was cut off, the segment that was cut does not count.
    #[inline(always)]
    pub fn finish(mut self, cut: bool) -> u64 {
        if cut {
            self.segment = 2;
            self.length = 1;
            self.seen = NOT_DIGITS | NOT_HEX;
        }
        self.end_segment();
        self.whole | 1
    }
}

#[inline(always)]
fn is_identifier(length: u32, seen: u32) -> bool {
    length > 0
        && (seen & NOT_DIGITS == 0
            || (length >= HEX_LENGTH && seen & NOT_HEX == 0 && seen & A_DIGIT != 0))
}

/// Whether a whole segment stands for an identifier.
pub fn segment_is_identifier(segment: &[u8]) -> bool {
    let mut templater = Templater::new();
    for byte in segment {
        templater.push(*byte);
    }
    is_identifier(templater.length, templater.seen)
}
