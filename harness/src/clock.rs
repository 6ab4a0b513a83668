//! One clock for every process of a run.
//!
//! `CLOCK_MONOTONIC` is the same in all processes of a machine, so the load
//! driver can be told in advance when its window opens, and readings taken
//! elsewhere can be placed in it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Now, in nanoseconds of `CLOCK_MONOTONIC`.
pub fn monotonic_ns() -> u64 {
    // The call can only fail for a clock that doesn't exist.
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has CLOCK_MONOTONIC");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// Now, in seconds since the epoch.
pub fn unix_seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// Sleeps until `CLOCK_MONOTONIC` shows `deadline_ns`; late by the timer's millisecond.
pub async fn sleep_until_ns(deadline_ns: u64) {
    let now = monotonic_ns();
    if deadline_ns > now {
        tokio::time::sleep(Duration::from_nanos(deadline_ns - now)).await;
    }
}

/// A run's own time: seconds since it began.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    /// On the monotonic clock; before its zero for a run that began before this machine did.
    start_ns: i64,
}

impl RunClock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self::resumed(0.0)
    }

    /// The clock of a run that began so many seconds ago.
    pub fn resumed(seconds: f64) -> Self {
        RunClock {
            start_ns: monotonic_ns() as i64 - (seconds * 1e9) as i64,
        }
    }

    /// Seconds since the run began.
    pub fn now(&self) -> f64 {
        self.at(monotonic_ns())
    }

    /// A moment of `CLOCK_MONOTONIC` in seconds since the run began.
    pub fn at(&self, ns: u64) -> f64 {
        (ns as f64 - self.start_ns as f64) / 1e9
    }
}
