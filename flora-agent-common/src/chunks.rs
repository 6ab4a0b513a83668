//! Chunks that lie in a segment whole, size line and all, passed over eight bytes at a time.
//!
//! Servers that write many small chunks fill a segment with them. What is not
//! digits and a line break (extensions, more than six digits, the last chunk)
//! is left to the machine.

use crate::connection::Kernel;
use crate::machine::{Machine, WINDOW, hexadecimal};
use crate::word::{equal, lowest, repeat};

/// Chunks that are passed over at once.
const CHUNKS: u32 = 8;

/// Passes over chunks from `at` on, where the machine expects one; returns the offset behind them.
#[inline(always)]
pub fn pass<K: Kernel>(
    kernel: &K,
    machine: &mut Machine,
    at: u32,
    length: u32,
    words: &mut [u64; WINDOW],
) -> u32 {
    let mut at = at;
    let mut turn = 0;
    while turn < CHUNKS {
        turn += 1;
        if at >= length || length - at < 8 || !kernel.some(at, 8, words) {
            break;
        }
        let Some((line, size)) = size_line(words[0]) else {
            break;
        };
        // A line break follows the chunk.
        let rest = size + 2;
        at += line;
        if rest > length - at {
            machine.in_chunk(u64::from(rest));
            break;
        }
        at = kernel.forget(u64::from(at + rest)) as u32;
    }
    at
}

/// Bytes of a size line and the size of its chunk; nothing when that is to be read more carefully.
#[inline(always)]
fn size_line(word: u64) -> Option<(u32, u32)> {
    const HIGH: u64 = repeat(0x80);
    let ends = equal(word, b'\r');
    if ends == 0 {
        return None;
    }
    let digits = lowest(ends);
    if digits == 0 || digits > 6 || (word >> (8 * digits + 8)) as u8 != b'\n' {
        return None;
    }
    // The last digit lowest, zeros before them.
    let shift = 64 - 8 * digits;
    let text = (word << shift) | (repeat(b'0') & ((1u64 << shift) - 1));
    if text & HIGH != 0 {
        return None;
    }
    // No sum below leaves its byte.
    let digit = text ^ repeat(b'0');
    let no_digit = digit + repeat(0x76);
    let letter = (text | repeat(0x20)) ^ repeat(0x60);
    let no_letter = (letter + repeat(0x79)) | !(letter + repeat(0x7f));
    if no_digit & no_letter & HIGH != 0 {
        return None;
    }
    let size = hexadecimal(text.swap_bytes()) as u32;
    if size == 0 {
        return None;
    }
    Some((digits + 2, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_lines() {
        let of = |text: &[u8; 8]| size_line(u64::from_le_bytes(*text));
        assert_eq!(of(b"5\r\nhello"), Some((3, 5)));
        assert_eq!(of(b"fF\r\nabcd"), Some((4, 255)));
        assert_eq!(of(b"0a9C0e\r\n"), Some((8, 0xa9c0e)));
        for text in [
            b"0\r\n\r\n\0\0\0",
            b"1;a=b\r\nx",
            b"g\r\nabcde",
            b"\r\nabcdef",
            b"1234567\r",
            b"12\n34\r\n1",
            b"5\rabcdef",
            b":\r\nabcde",
            b"@\r\nabcde",
            b"\x93\r\nabcde",
        ] {
            assert_eq!(of(text), None, "{}", text.escape_ascii());
        }
    }

    /// All bytes as digits: the right ones are those that the standard library takes.
    #[test]
    fn every_byte() {
        for byte in 0..=255u8 {
            let found = size_line(u64::from_le_bytes([
                b'1', byte, b'2', b'\r', b'\n', 0, 0, 0,
            ]));
            let expected = char::from(byte).to_digit(16).map(|n| (5, 0x102 + 16 * n));
            assert_eq!(found, expected, "{byte:#x}");
        }
    }
}
