//! The little JSON that is needed.

use std::fmt::Write;

/// Adds a string, quoted.
pub fn string(out: &mut String, value: &str) {
    out.push('"');
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            character if (character as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", character as u32);
            }
            character => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn read_back_by_others(value: String) {
            let mut out = String::new();
            string(&mut out, &value);
            let back: String = serde_json::from_str(&out).unwrap();
            prop_assert_eq!(back, value);
        }
    }
}
