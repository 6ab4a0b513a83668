//! A known cost, so that whoever measures this application can see whether it is found again.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use nix::time::{ClockId, clock_gettime};

/// Less than this is owed until the next request: reading the clock takes a good part of it.
const LEAST_NANOSECONDS: i64 = 1_000;

/// Bytes of page tables for each byte that they map: 8 for 4096.
const TABLES_PER_BYTE: f64 = 1.0 / 512.0;

/// Burns a given CPU time per request, exact on average.
#[derive(Debug, Default)]
pub struct Burn {
    nanoseconds: i64,
    /// What was asked for and not burnt yet; less than nothing after a burn that took too long.
    owed: AtomicI64,
}

impl Burn {
    /// Burns so much CPU time at every call of [`Burn::once`], none with 0.
    pub fn new(nanoseconds: u32) -> Self {
        Self {
            nanoseconds: nanoseconds.into(),
            owed: AtomicI64::new(0),
        }
    }

    /// Burns one request's share.
    pub fn once(&self) {
        if self.nanoseconds == 0 {
            return;
        }
        let owed = self.owed.fetch_add(self.nanoseconds, Relaxed) + self.nanoseconds;
        if owed < LEAST_NANOSECONDS {
            return;
        }
        // The clock of the thread's CPU time is what the kernel accounts by. Between two readings
        // passes the second half of the first and the first half of the second, so that a burn
        // costs one reading more than it sees. What a reading costs is told by this burn's own:
        // on a shared machine it is not what it was a second ago.
        let start = thread_cpu();
        let mut readings = 0;
        let spent = loop {
            let seen = thread_cpu() - start;
            readings += 1;
            let spent = seen + seen / readings;
            if spent >= owed {
                break spent;
            }
        };
        self.owed.fetch_sub(spent, Relaxed);
    }
}

fn thread_cpu() -> i64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .expect("every Linux has a clock of the thread's CPU time");
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

/// Holds memory: touched, so that it is charged, and so much that its page tables fit in too.
#[derive(Debug)]
pub struct Hold {
    _bytes: Vec<u8>,
}

impl Hold {
    /// Holds so many bytes.
    pub fn new(bytes: usize) -> Self {
        let mapped = bytes as f64 / (1.0 + TABLES_PER_BYTE);
        Self {
            _bytes: std::hint::black_box(vec![0xff; mapped as usize]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is burnt comes to what was asked for, in small shares too. The test's own loop
    /// costs a little more.
    #[test]
    fn burns_what_it_was_asked_for() {
        for nanoseconds in [300, 2_500, 40_000] {
            let burn = Burn::new(nanoseconds);
            let start = thread_cpu();
            let times = 40_000_000 / nanoseconds;
            (0..times).for_each(|_| burn.once());
            let spent = (thread_cpu() - start) as f64 / f64::from(times);
            let ratio = spent / f64::from(nanoseconds);
            assert!((0.9..1.15).contains(&ratio), "{spent} of {nanoseconds} ns");
        }
    }

    #[test]
    fn nothing_costs_nothing() {
        let burn = Burn::new(0);
        burn.once();
        assert_eq!(burn.owed.load(Relaxed), 0);
    }
}
