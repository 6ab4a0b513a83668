//! Eight bytes at a time: the tricks of <https://graphics.stanford.edu/~seander/bithacks.html>.
//!
//! Words are little-endian, so the first byte of the text is the lowest.

/// The same byte eight times.
pub const fn repeat(byte: u8) -> u64 {
    0x0101_0101_0101_0101 * byte as u64
}

/// Eight characters as a word.
pub const fn word(text: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*text)
}

/// Up to eight characters as a number whose lowest byte is the last of them.
pub const fn big(text: &[u8]) -> u64 {
    let mut number = 0;
    let mut n = 0;
    while n < text.len() {
        number = number << 8 | text[n] as u64;
        n += 1;
    }
    number
}

/// Marks (0x80) the bytes of `word` that equal `byte`.
///
/// The lowest mark is right; one above it may be wrong (a borrow runs on), so
/// callers look at the lowest and treat further ones as a hint.
#[inline(always)]
pub fn equal(word: u64, byte: u8) -> u64 {
    let zero = word ^ repeat(byte);
    zero.wrapping_sub(repeat(1)) & !zero & repeat(0x80)
}

/// Which byte the lowest mark is on, 0 to 7. There must be one.
///
/// Counted by adding up the bytes below it: no instruction counts zeros.
#[inline(always)]
pub fn lowest(marks: u64) -> u32 {
    let below = (((marks & marks.wrapping_neg()) >> 7).wrapping_sub(1)) & repeat(1);
    (below.wrapping_mul(repeat(1)) >> 56) as u32
}

/// The eight bytes behind byte `index` of `word`, whose followers are in `next`.
#[inline(always)]
pub fn after(word: u64, next: u64, index: u32) -> u64 {
    (word >> (8 * index)) >> 8 | next << (56 - 8 * index)
}

/// The word with its letters in lower case. Other bytes may change too, none into a letter that
/// was not one in either case, but for control characters.
#[inline(always)]
pub fn lower(word: u64) -> u64 {
    word | repeat(0x20)
}

/// A decimal number of one to seven digits at the start of `text`, ended by a carriage return.
#[inline(always)]
pub fn number(text: u64) -> Option<u64> {
    let end = equal(text, b'\r');
    if end == 0 {
        return None;
    }
    let digits = lowest(end);
    if digits == 0 {
        return None;
    }
    // Aligned to the end of the word; what comes in from below counts as zeros.
    let shift = 64 - 8 * digits;
    let value = (text << shift) ^ (repeat(b'0') << shift);
    if ((value.wrapping_add(repeat(0x76))) | value) & repeat(0x80) != 0 {
        return None;
    }
    // Pairs of digits, then fours, then eight.
    let pairs = (value.wrapping_mul(10).wrapping_add(value >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xffff_ffff)
}

/// Folds a word into a hash.
#[inline(always)]
pub fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_lowest_mark_is_the_first_such_byte(text: [u8; 8], byte: u8) {
            let marks = equal(word(&text), byte);
            let expected = text.iter().position(|b| *b == byte);
            prop_assert_eq!((marks != 0).then(|| lowest(marks) as usize), expected);
        }

        #[test]
        fn what_comes_after(text: [u8; 16], index in 0usize..8) {
            let first = u64::from_le_bytes(text[..8].try_into().unwrap());
            let second = u64::from_le_bytes(text[8..].try_into().unwrap());
            let expected = u64::from_le_bytes(text[index + 1..index + 9].try_into().unwrap());
            prop_assert_eq!(after(first, second, index as u32), expected);
        }

        #[test]
        fn numbers(value in 0u32..10_000_000, width in 1usize..8, tail: [u8; 8]) {
            let mut text = [0; 16];
            let digits = std::format!("{value:0width$}\r");
            text[..digits.len()].copy_from_slice(digits.as_bytes());
            text[digits.len()..digits.len() + 8].copy_from_slice(&tail);
            let start: [u8; 8] = text[..8].try_into().unwrap();
            prop_assert_eq!(number(word(&start)), Some(u64::from(value)));
        }

        /// Only digits and a carriage return are a number.
        #[test]
        fn no_numbers(text: [u8; 8]) {
            let end = text.iter().position(|b| *b == b'\r');
            let expected = end
                .filter(|end| *end > 0 && text[..*end].iter().all(u8::is_ascii_digit))
                .map(|end| std::str::from_utf8(&text[..end]).unwrap().parse().unwrap());
            prop_assert_eq!(number(word(&text)), expected);
        }
    }
}
