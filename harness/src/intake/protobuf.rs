//! A reader of the protobuf wire format
//! (<https://protobuf.dev/programming-guides/encoding/>) that holds one field at a time.
//!
//! A body may unpack to tens of megabytes, and of a span six fields matter. So
//! messages are walked through as they come; what nobody asks for is skipped.

use std::io::BufRead;

use super::refusal::Refusal;

/// Where a message ends that goes on to the end of the body.
pub const TO_THE_END: u64 = u64::MAX;

/// What a field holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Value {
    /// A number of any kind, as its bits.
    Number(u64),
    /// As many bytes that come next, which whoever asked must read or skip.
    Bytes(u64),
}

/// Reads messages from a body.
pub struct Wire<'r> {
    reader: &'r mut dyn BufRead,
    at: u64,
    scratch: Vec<u8>,
}

impl<'r> Wire<'r> {
    /// At the beginning of a body.
    pub fn new(reader: &'r mut dyn BufRead) -> Self {
        Wire {
            reader,
            at: 0,
            scratch: Vec::new(),
        }
    }

    /// The next field of the message that goes on to `end`; none when it is over.
    ///
    /// # Errors
    /// When there is no field, or it reaches beyond its message.
    pub fn next(&mut self, end: u64) -> Result<Option<(u64, Value)>, Refusal> {
        if self.at >= end || (end == TO_THE_END && self.reader.fill_buf()?.is_empty()) {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Number(self.fixed(8)?),
            2 => Value::Bytes(self.varint()?),
            5 => Value::Number(self.fixed(4)?),
            _ => return Err(Refusal::Malformed),
        };
        let held = match value {
            Value::Bytes(length) => length,
            Value::Number(_) => 0,
        };
        // Also keeps `at` from running over: nothing is as long as the end is far.
        if tag >> 3 == 0 || held > end.saturating_sub(self.at) {
            return Err(Refusal::Malformed);
        }
        Ok(Some((tag >> 3, value)))
    }

    /// The end of a message of this length that begins here.
    pub fn end(&self, length: u64) -> u64 {
        self.at.saturating_add(length)
    }

    /// Calls `visit` for each message in the field `wanted`, with where it ends;
    /// skips everything else, and what `visit` leaves.
    ///
    /// # Errors
    /// When the message is malformed, or from `visit`.
    pub fn each(
        &mut self,
        end: u64,
        wanted: u64,
        mut visit: impl FnMut(&mut Self, u64) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        while let Some((field, value)) = self.next(end)? {
            match value {
                Value::Bytes(length) if field == wanted => {
                    let end = self.end(length);
                    visit(self, end)?;
                    self.leave(end)?;
                }
                other => self.skip(other)?,
            }
        }
        Ok(())
    }

    /// Passes over a field's value.
    ///
    /// # Errors
    /// When the body ends within it.
    pub fn skip(&mut self, value: Value) -> Result<(), Refusal> {
        match value {
            Value::Number(_) => Ok(()),
            Value::Bytes(length) => self.leave(self.end(length)),
        }
    }

    /// The first bytes of a text of this length, at most `keep`, in place of `text`.
    ///
    /// # Errors
    /// When the body ends within it.
    pub fn text(&mut self, length: u64, keep: usize, text: &mut String) -> Result<(), Refusal> {
        let end = self.end(length);
        let kept = length.min(keep as u64) as usize;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize(kept, 0);
        self.reader.read_exact(&mut scratch)?;
        self.at += kept as u64;
        text.clear();
        text.push_str(&String::from_utf8_lossy(&scratch));
        self.scratch = scratch;
        self.leave(end)
    }

    /// Goes on to where a message ends.
    fn leave(&mut self, end: u64) -> Result<(), Refusal> {
        while self.at < end {
            let there = self.reader.fill_buf()?.len() as u64;
            if there == 0 {
                return Err(Refusal::Malformed);
            }
            let step = there.min(end - self.at);
            self.reader.consume(step as usize);
            self.at += step;
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Refusal> {
        let byte = *self.reader.fill_buf()?.first().ok_or(Refusal::Malformed)?;
        self.reader.consume(1);
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, Refusal> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Refusal::Malformed)
    }

    fn fixed(&mut self, bytes: usize) -> Result<u64, Refusal> {
        let mut number = 0;
        for n in 0..bytes {
            number |= u64::from(self.byte()?) << (8 * n);
        }
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_as_the_specification_has_them() {
        // Its own examples: 150 in field 1, "testing" in field 2, and a fixed32.
        let bytes = b"\x08\x96\x01\x12\x07testing\x1d\x01\x00\x00\x00";
        let mut reader = &bytes[..];
        let mut wire = Wire::new(&mut reader);
        let mut next = || wire.next(TO_THE_END).unwrap();
        assert_eq!(next(), Some((1, Value::Number(150))));
        assert_eq!(next(), Some((2, Value::Bytes(7))));
        let mut text = String::new();
        wire.text(7, 4, &mut text).unwrap();
        assert_eq!(text, "test");
        assert_eq!(wire.next(TO_THE_END).unwrap(), Some((3, Value::Number(1))));
        assert_eq!(wire.next(TO_THE_END).unwrap(), None);
    }

    #[test]
    fn a_field_must_not_reach_beyond_its_message() {
        for bytes in [
            &b"\x0a\x03\x12\x05xxxxx"[..], // a message of 3 bytes with a text of 5
            b"\x0a\x05\x12\x05xx",         // the body ends
            b"\x0a",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", // no such number
            b"\x0b\x0c",                                         // groups are no longer used
            b"\x00\x00",                                         // there is no field 0
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            let mut reader = bytes;
            let mut wire = Wire::new(&mut reader);
            let outcome = wire.each(TO_THE_END, 1, |wire, end| wire.each(end, 1, |_, _| Ok(())));
            assert_eq!(outcome, Err(Refusal::Malformed), "{bytes:?}");
        }
    }
}
