//! Who made a thing that a run left on the machine, and whether that run still lives.
//!
//! Every process, control group and work directory carries its owner: the
//! harness's process id and start time (a process id alone is used again).
//! What has a dead owner is left over; no journal is needed that could itself
//! be lost.

use std::fmt;
use std::fs;

/// The environment variable that every child of a run carries.
pub const VARIABLE: &str = "FLORA_BENCH_OWNER";

/// One harness process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Owner {
    pid: u32,
    /// Clock ticks after boot (`starttime`, proc_pid_stat(5)).
    start_time: u64,
}

impl Owner {
    /// This process.
    pub fn current() -> Self {
        let pid = std::process::id();
        Owner {
            pid,
            start_time: start_time(pid).unwrap_or_default(),
        }
    }

    /// The owner that [`fmt::Display`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (pid, start_time) = text.split_once('-')?;
        Some(Owner {
            pid: pid.parse().ok()?,
            start_time: start_time.parse().ok()?,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.start_time)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.start_time)
    }
}

/// When a process was started; none when it is gone or a zombie.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so fields count from the last one.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_another_start_time_does_not() {
        let owner = Owner::current();
        assert!(owner.is_alive());
        assert_eq!(Owner::parse(&owner.to_string()), Some(owner));
        let earlier = Owner {
            start_time: owner.start_time + 1,
            ..owner
        };
        assert!(!earlier.is_alive());
        assert_eq!(Owner::parse("nonsense"), None);
    }
}
