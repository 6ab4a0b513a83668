//! The histograms and sums that kernel programs keep, read where they lie.

use std::mem::offset_of;

use flora_agent_common::layout::{BUCKETS, SERIES, Series};

use crate::bpf::map::Map;
use crate::bpf::memory::{Memory, MemoryError};

/// Words of a series.
const WORDS: usize = size_of::<Series>() / 8;

/// A field of [`Series`], as the number of its first word.
#[derive(Clone, Copy, Debug)]
pub struct Field(usize);

impl Field {
    /// [`Series::single_nanoseconds`]
    pub const SINGLE_NANOSECONDS: Field = Field(offset_of!(Series, single_nanoseconds) / 8);
    /// [`Series::first_nanoseconds`]
    pub const FIRST_NANOSECONDS: Field = Field(offset_of!(Series, first_nanoseconds) / 8);
    /// [`Series::last_nanoseconds`]
    pub const LAST_NANOSECONDS: Field = Field(offset_of!(Series, last_nanoseconds) / 8);
    /// [`Series::request_bytes`]
    pub const REQUEST_BYTES: Field = Field(offset_of!(Series, request_bytes) / 8);
    /// [`Series::response_bytes`]
    pub const RESPONSE_BYTES: Field = Field(offset_of!(Series, response_bytes) / 8);
    /// [`Series::single`]
    pub const SINGLE: Field = Field(offset_of!(Series, single) / 8);
    /// [`Series::first`]
    pub const FIRST: Field = Field(offset_of!(Series, first) / 8);
    /// [`Series::last`]
    pub const LAST: Field = Field(offset_of!(Series, last) / 8);
}

/// All series of all CPUs.
#[derive(Debug)]
pub struct Counters {
    memory: Memory,
    cpus: usize,
}

/// A histogram of durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Observations by bucket.
    pub buckets: [u64; BUCKETS],
    /// Sum of the durations, in nanoseconds.
    pub nanoseconds: u64,
}

impl Counters {
    /// Maps the series into memory.
    ///
    /// # Errors
    /// [`MemoryError`]
    pub fn new(map: &Map) -> Result<Self, MemoryError> {
        let info = map.info();
        if info.value_size as usize != size_of::<Series>() || (info.max_entries as usize) < SERIES {
            return Err(MemoryError::Kind(map.name().to_owned()));
        }
        Ok(Counters {
            memory: Memory::new(map)?,
            cpus: info.max_entries as usize / SERIES,
        })
    }

    fn word(&self, slots: &[usize], word: usize) -> u64 {
        let mut sum = 0u64;
        for slot in slots {
            for cpu in 0..self.cpus {
                let index = (cpu * SERIES + slot) * WORDS + word;
                sum = sum.wrapping_add(self.memory.word(index));
            }
        }
        sum
    }

    /// A field over all CPUs and the given slots.
    pub fn sum(&self, slots: &[usize], field: Field) -> u64 {
        self.word(slots, field.0)
    }

    /// Two histograms that belong together: answers of one segment, and of several.
    pub fn histogram(&self, slots: &[usize], several: Field) -> Histogram {
        let nanoseconds = match several.0 {
            word if word == Field::LAST.0 => Field::LAST_NANOSECONDS,
            _ => Field::FIRST_NANOSECONDS,
        };
        Histogram {
            buckets: std::array::from_fn(|bucket| {
                self.word(slots, Field::SINGLE.0 + bucket) + self.word(slots, several.0 + bucket)
            }),
            nanoseconds: self.sum(slots, Field::SINGLE_NANOSECONDS) + self.sum(slots, nanoseconds),
        }
    }

    /// Requests that were answered: answers that have begun.
    pub fn requests(&self, slots: &[usize]) -> u64 {
        self.histogram(slots, Field::FIRST).buckets.iter().sum()
    }

    /// Answers that have begun and not ended.
    pub fn unfinished(&self, slots: &[usize]) -> u64 {
        let total = |field: Field| -> u64 {
            (0..BUCKETS)
                .map(|bucket| self.word(slots, field.0 + bucket))
                .sum()
        };
        // The end is read first: what ends meanwhile counts as under way, not as less than nothing.
        let last = total(Field::LAST);
        total(Field::FIRST).saturating_sub(last)
    }
}
