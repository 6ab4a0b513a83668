//! The readings that are kept: the latest, bounded in number.

use std::collections::VecDeque;
use std::sync::Arc;

use super::NodeReading;

/// The latest readings, oldest first.
#[derive(Debug)]
pub struct Ring {
    kept: VecDeque<Arc<NodeReading>>,
    capacity: usize,
    /// Readings of single pods in them, and how many there may be.
    pods: usize,
    pod_capacity: usize,
}

impl Ring {
    /// Room for so many, with so many readings of single pods in them.
    pub fn new(capacity: usize, pod_capacity: usize) -> Self {
        Ring {
            kept: VecDeque::with_capacity(capacity),
            capacity,
            pods: 0,
            pod_capacity,
        }
    }

    /// Keeps one; the oldest go while there is no room.
    pub fn push(&mut self, reading: Arc<NodeReading>) {
        self.pods += reading.pods.len();
        self.kept.push_back(reading);
        while self.kept.len() > self.capacity
            || (self.pods > self.pod_capacity && self.kept.len() > 1)
        {
            if let Some(oldest) = self.kept.pop_front() {
                self.pods -= oldest.pods.len();
            }
        }
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
    use crate::observe::reading::{PodReading, Values};

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
        let mut ring = Ring::new(3, 100);
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

    #[test]
    fn many_pods_leave_room_for_less_time() {
        let of = |monotonic: f64, pods: usize| {
            let pod = PodReading {
                uid: "a".into(),
                namespace: None,
                name: None,
                monotonic,
                values: Values::new(),
                containers: Vec::new(),
            };
            Arc::new(NodeReading {
                pods: vec![pod; pods],
                ..(*at(monotonic)).clone()
            })
        };
        let mut ring = Ring::new(10, 6);
        for n in 1..=4 {
            ring.push(of(f64::from(n), 3));
        }
        assert_eq!(ring.since(0.0, 10).len(), 2);
        // The latest is kept, however many there are.
        ring.push(of(5.0, 100));
        assert_eq!(ring.since(0.0, 10).len(), 1);
        ring.push(of(6.0, 1));
        ring.push(of(7.0, 1));
        assert_eq!(ring.since(0.0, 10).len(), 2);
    }
}
