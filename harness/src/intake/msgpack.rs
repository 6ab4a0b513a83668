//! A reader of MessagePack (<https://github.com/msgpack/msgpack/blob/master/spec.md>)
//! that holds one value at a time.

use std::io::{self, BufRead, Read};

use super::refusal::Refusal;
use super::span::KEEP;

/// A value, or the head of one whose contents come next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item {
    /// Nil, a boolean or a floating-point number: nothing that is asked for.
    Other,
    /// An integer; a negative one as 0.
    Number(u64),
    /// As many bytes of text.
    Text(u64),
    /// As many other bytes.
    Bytes(u64),
    /// As many values.
    Array(u64),
    /// As many pairs.
    Map(u64),
}

/// Reads values from a body.
pub struct Pack<'r> {
    reader: &'r mut dyn BufRead,
}

impl<'r> Pack<'r> {
    /// At the beginning of a body.
    pub fn new(reader: &'r mut dyn BufRead) -> Self {
        Pack { reader }
    }

    /// The next value.
    ///
    /// # Errors
    /// When there is none.
    pub fn item(&mut self) -> Result<Item, Refusal> {
        let first = self.number(1)?;
        Ok(match first {
            0x00..=0x7f => Item::Number(first),
            0x80..=0x8f => Item::Map(first & 0x0f),
            0x90..=0x9f => Item::Array(first & 0x0f),
            0xa0..=0xbf => Item::Text(first & 0x1f),
            0xc0 | 0xc2 | 0xc3 => Item::Other,
            0xc4..=0xc6 => Item::Bytes(self.number(1 << (first - 0xc4))?),
            // An extension has a byte with its type before its bytes.
            0xc7..=0xc9 => Item::Bytes(self.number(1 << (first - 0xc7))? + 1),
            0xca => self.passed(4)?,
            0xcb => self.passed(8)?,
            0xcc..=0xcf => Item::Number(self.number(1 << (first - 0xcc))?),
            0xd0..=0xd3 => {
                let bytes = 1 << (first - 0xd0);
                let number = self.number(bytes)?;
                let negative = number >> (8 * bytes - 1) & 1 == 1;
                Item::Number(if negative { 0 } else { number })
            }
            0xd4..=0xd8 => Item::Bytes((1 << (first - 0xd4)) + 1),
            0xd9..=0xdb => Item::Text(self.number(1 << (first - 0xd9))?),
            0xdc | 0xdd => Item::Array(self.number(2 << (first - 0xdc))?),
            0xde | 0xdf => Item::Map(self.number(2 << (first - 0xde))?),
            0xe0..=0xff => Item::Number(0),
            _ => return Err(Refusal::Malformed),
        })
    }

    /// A text; nothing where the value is another.
    ///
    /// # Errors
    /// When there is no value.
    pub fn text(&mut self) -> Result<String, Refusal> {
        match self.item()? {
            Item::Text(length) => {
                let mut kept = Vec::new();
                let keep = length.min(KEEP as u64);
                (&mut *self.reader).take(keep).read_to_end(&mut kept)?;
                if kept.len() as u64 != keep {
                    return Err(Refusal::Malformed);
                }
                self.pass(length - keep)?;
                Ok(String::from_utf8_lossy(&kept).into_owned())
            }
            other => {
                self.skip(other)?;
                Ok(String::new())
            }
        }
    }

    /// An integer; 0 where the value is another.
    ///
    /// # Errors
    /// When there is no value.
    pub fn integer(&mut self) -> Result<u64, Refusal> {
        match self.item()? {
            Item::Number(number) => Ok(number),
            other => self.skip(other).map(|()| 0),
        }
    }

    /// Calls `visit` with each key of a map, to read its value; a value that is
    /// no map has no keys.
    ///
    /// # Errors
    /// When there is no value, or from `visit`.
    pub fn map(
        &mut self,
        mut visit: impl FnMut(&mut Self, &str) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match self.item()? {
            Item::Map(pairs) => {
                for _ in 0..pairs {
                    let key = self.text()?;
                    visit(self, &key)?;
                }
                Ok(())
            }
            other => self.skip(other),
        }
    }

    /// Calls `visit` to read each value of an array; a value that is no array has none.
    ///
    /// # Errors
    /// As [`Pack::map`].
    pub fn array(
        &mut self,
        mut visit: impl FnMut(&mut Self) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match self.item()? {
            Item::Array(values) => (0..values).try_for_each(|_| visit(self)),
            other => self.skip(other),
        }
    }

    /// Passes over the next value.
    ///
    /// # Errors
    /// When there is none.
    pub fn skip_value(&mut self) -> Result<(), Refusal> {
        let item = self.item()?;
        self.skip(item)
    }

    /// Passes over what a value holds; not by recursion, for a body may nest as deep as it is long.
    fn skip(&mut self, item: Item) -> Result<(), Refusal> {
        let mut left = 0u64;
        let mut item = item;
        loop {
            match item {
                Item::Other | Item::Number(_) => {}
                Item::Text(length) | Item::Bytes(length) => self.pass(length)?,
                Item::Array(values) => left = left.saturating_add(values),
                Item::Map(pairs) => left = left.saturating_add(2 * pairs),
            }
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            item = self.item()?;
        }
    }

    fn passed(&mut self, bytes: u64) -> Result<Item, Refusal> {
        self.pass(bytes).map(|()| Item::Other)
    }

    fn pass(&mut self, bytes: u64) -> Result<(), Refusal> {
        let gone = io::copy(&mut (&mut *self.reader).take(bytes), &mut io::sink())?;
        if gone == bytes {
            Ok(())
        } else {
            Err(Refusal::Malformed)
        }
    }

    /// A number of so many bytes, the first the highest.
    fn number(&mut self, bytes: usize) -> Result<u64, Refusal> {
        let mut number = [0; 8];
        self.reader.read_exact(&mut number[8 - bytes..])?;
        Ok(u64::from_be_bytes(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_the_specification_has_them() {
        let bytes = [
            &[0x07][..],
            &[0xff],
            &[0xcd, 0x01, 0x00],
            &[0xd1, 0xff, 0x00],
            &[0xd1, 0x01, 0x00],
            &[0xa2, b'a', b'b'],
            &[0xd9, 1, b'c'],
            &[0xdc, 0, 2, 0xc0, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0xd6, 1, 1, 2, 3, 4],
            &[0x2a],
        ]
        .concat();
        let mut reader = &bytes[..];
        let mut pack = Pack::new(&mut reader);
        for expected in [7, 0, 256, 0, 256] {
            assert_eq!(pack.integer().unwrap(), expected);
        }
        assert_eq!(pack.text().unwrap(), "ab");
        assert_eq!(pack.text().unwrap(), "c");
        pack.skip_value().unwrap();
        pack.skip_value().unwrap();
        assert_eq!(pack.integer().unwrap(), 42);
        assert_eq!(pack.skip_value(), Err(Refusal::Malformed));
    }

    #[test]
    fn deep_nesting_is_no_recursion() {
        let mut bytes = vec![0x91; 1 << 20];
        bytes.push(0xc0);
        let mut reader = &bytes[..];
        Pack::new(&mut reader).skip_value().unwrap();
    }
}
