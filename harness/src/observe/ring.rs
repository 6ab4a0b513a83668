//! The readings that are kept: the latest, bounded in number.

use std::collections::VecDeque;
use std::sync::Arc;

use super::NodeReading;

/// The latest readings, oldest first.
#[derive(Debug)]
pub struct Ring {
    kept: VecDeque<Arc<NodeReading>>,
    capacity: usize,
}

impl Ring {
    /// Room for so many.
    pub fn new(capacity: usize) -> Self {
        Ring {
            kept: VecDeque::with_capacity(capacity),
            capacity,
        }
    }

    /// Keeps one; the oldest goes when there is no room.
    pub fn push(&mut self, reading: Arc<NodeReading>) {
        if self.kept.len() == self.capacity {
            self.kept.pop_front();
        }
        self.kept.push_back(reading);
    }

    /// The newest.
    pub fn latest(&self) -> Option<&Arc<NodeReading>> {
        self.kept.back()
    }

    /// Up to `limit` that were read after `monotonic`, oldest first.
    pub fn since(&self, monotonic: f64, limit: usize) -> Vec<Arc<NodeReading>> {
        let first = self
            .kept
            .partition_point(|reading| reading.monotonic <= monotonic);
        self.kept.iter().skip(first).take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::reading::Values;

    fn at(monotonic: f64) -> Arc<NodeReading> {
        Arc::new(NodeReading {
            unix: 0.0,
            monotonic,
            node: Values::new(),
            pods: Vec::new(),
            left_out: 0,
        })
    }

    #[test]
    fn the_oldest_go_and_a_reader_goes_on_where_it_was() {
        let mut ring = Ring::new(3);
        assert!(ring.latest().is_none());
        for n in 1..=5 {
            ring.push(at(f64::from(n)));
        }
        let times = |since, limit| -> Vec<f64> {
            let read = ring.since(since, limit);
            read.iter().map(|reading| reading.monotonic).collect()
        };
        assert_eq!(times(0.0, 10), [3.0, 4.0, 5.0]);
        assert_eq!(times(0.0, 2), [3.0, 4.0]);
        assert_eq!(times(4.0, 10), [5.0]);
        assert!(times(5.0, 10).is_empty());
        assert_eq!(ring.latest().unwrap().monotonic, 5.0);
    }
}
