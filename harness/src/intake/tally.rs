//! The counts. Everything that a sender can name has a bounded number of names.

use std::collections::BTreeMap;

/// Different names that are kept of one kind; what comes after is counted together.
pub const NAMES: usize = 256;

/// What one body holds, or all of them together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Spans, by protocol, kind, route and status.
    pub spans: Names,
    /// Spans that have an attribute, by its name.
    pub span_attributes: Names,
    /// Points of metrics, by the metric's name.
    pub metric_points: Names,
    /// Requests that statistics account for, by the same labels as spans.
    pub stats_hits: Names,
    /// Log records.
    pub log_records: u64,
}

impl Tally {
    /// Adds what another holds.
    pub fn merge(&mut self, other: &Tally) {
        self.spans.merge(&other.spans);
        self.span_attributes.merge(&other.span_attributes);
        self.metric_points.merge(&other.metric_points);
        self.stats_hits.merge(&other.stats_hits);
        self.log_records += other.log_records;
    }
}

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    counts: BTreeMap<String, u64>,
    /// What had a name when there was no room for another.
    rest: u64,
}

impl Names {
    /// Counts one name.
    pub fn add(&mut self, name: &str, count: u64) {
        let full = self.counts.len() >= NAMES;
        match self.counts.get_mut(name) {
            Some(counted) => *counted += count,
            None if full => self.rest += count,
            None => {
                self.counts.insert(name.to_owned(), count);
            }
        }
    }

    fn merge(&mut self, other: &Names) {
        for (name, count) in other.iter() {
            self.add(name, count);
        }
        self.rest += other.rest;
    }

    /// Names and counts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts
            .iter()
            .map(|(name, count)| (name.as_str(), *count))
    }

    /// What found no room.
    pub fn rest(&self) -> u64 {
        self.rest
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.counts.values().sum::<u64>() + self.rest
    }
}

/// A label's value as Prometheus text has it, at the end of `out`.
pub fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            // Not in the format's way, but in that of whoever reads line by line.
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_nothing_is_lost() {
        let mut all = Names::default();
        let mut part = Names::default();
        for n in 0..10 * NAMES as u64 {
            part.add(&format!("name-{n}"), 2);
        }
        all.add("another", 1);
        all.merge(&part);
        assert_eq!(all.iter().count(), NAMES);
        assert_eq!(all.total(), 20 * NAMES as u64 + 1);
        assert!(all.rest() > 0);
    }
}
