//! The histograms and sums that kernel programs keep, read where they lie.

use std::mem::offset_of;
use std::rc::Rc;

use flora_agent_common::layout::{BUCKETS, SERIES, Series};

use crate::bpf::map::{Map, MapError};
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

/// What is one series to the reader.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Its slots.
    pub slots: Vec<usize>,
    /// What was counted in others that were taken back.
    pub past: Option<Rc<Past>>,
}

impl Parts {
    /// A slot by itself.
    pub fn slot(slot: usize) -> Self {
        Parts {
            slots: vec![slot],
            past: None,
        }
    }
}

/// What was counted in slots that are others' by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past([u64; WORDS]);

impl Past {
    /// Adds what was counted in another.
    pub fn add(&mut self, other: &Past) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word = word.wrapping_add(*more);
        }
    }

    /// One, for tests.
    #[cfg(test)]
    pub(crate) fn example(requests: u64) -> Self {
        let mut words = [0; WORDS];
        words[Field::SINGLE.0] = requests;
        Past(words)
    }

    /// Requests that were answered.
    pub fn requests(&self) -> u64 {
        let of = |field: Field| self.0[field.0..field.0 + BUCKETS].iter().sum::<u64>();
        of(Field::SINGLE) + of(Field::FIRST)
    }
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

    fn word(&self, of: &Parts, word: usize) -> u64 {
        let mut sum = of.past.as_ref().map_or(0, |past| past.0[word]);
        for slot in &of.slots {
            for cpu in 0..self.cpus {
                let index = (cpu * SERIES + slot) * WORDS + word;
                sum = sum.wrapping_add(self.memory.word(index));
            }
        }
        sum
    }

    /// What was counted in a slot.
    pub fn of_slot(&self, slot: usize) -> Past {
        let slot = Parts::slot(slot);
        Past(std::array::from_fn(|word| self.word(&slot, word)))
    }

    /// Empties a slot that no kernel program counts in.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn clear(&self, map: &Map, slot: usize) -> Result<(), MapError> {
        for cpu in 0..self.cpus {
            let index = (cpu * SERIES + slot) as u32;
            map.update(&index.to_ne_bytes(), &[0; size_of::<Series>()])?;
        }
        Ok(())
    }

    /// A field over all CPUs.
    pub fn sum(&self, of: &Parts, field: Field) -> u64 {
        self.word(of, field.0)
    }

    /// Two histograms that belong together: answers of one segment, and of several.
    pub fn histogram(&self, of: &Parts, several: Field) -> Histogram {
        let nanoseconds = match several.0 {
            word if word == Field::LAST.0 => Field::LAST_NANOSECONDS,
            _ => Field::FIRST_NANOSECONDS,
        };
        Histogram {
            buckets: std::array::from_fn(|bucket| {
                self.word(of, Field::SINGLE.0 + bucket) + self.word(of, several.0 + bucket)
            }),
            nanoseconds: self.sum(of, Field::SINGLE_NANOSECONDS) + self.sum(of, nanoseconds),
        }
    }

    /// Requests that were answered: answers that have begun.
    pub fn requests(&self, of: &Parts) -> u64 {
        self.histogram(of, Field::FIRST).buckets.iter().sum()
    }

    /// Answers that have begun and not ended.
    pub fn unfinished(&self, of: &Parts) -> u64 {
        let total = |field: Field| -> u64 {
            (0..BUCKETS)
                .map(|bucket| self.word(of, field.0 + bucket))
                .sum()
        };
        // The end is read first: what ends meanwhile counts as under way, not as less than nothing.
        let last = total(Field::LAST);
        total(Field::FIRST).saturating_sub(last)
    }
}
