//! A role's processes, where there is no control group to ask.
//!
//! CPU time comes from each process's CPU-time clock (`clock_getcpuclockid(3)`),
//! which counts nanoseconds over all threads, dead ones too; `/proc/PID/stat`
//! would round to ticks of 10 ms. Children are found through
//! `/proc/PID/task/*/children`. A child that ends between two readings takes
//! its CPU time with it, which is one reason to prefer a control group.

use std::fs;
use std::io;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use super::Readings;
use crate::sample::Reading;

/// Reads one process and its descendants.
#[derive(Debug)]
pub struct ProcessObserver {
    pid: i32,
}

impl ProcessObserver {
    /// Observes the process and all that descend from it.
    pub fn new(pid: u32) -> Self {
        ProcessObserver { pid: pid as i32 }
    }

    /// Reads CPU time and resident memory.
    ///
    /// # Errors
    /// When the process itself is gone.
    pub fn read(&self) -> io::Result<Readings> {
        let (mut cpu, mut resident, mut peak) = (0.0, 0.0, 0.0);
        for pid in self.tree() {
            let part = || -> io::Result<(f64, f64, f64)> {
                let clock = clock_getcpuclockid(Pid::from_raw(pid))?;
                let time = clock_gettime(clock)?;
                let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
                Ok((
                    time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9,
                    kilobytes(&status, "VmRSS:")?,
                    kilobytes(&status, "VmHWM:")?,
                ))
            };
            match part() {
                Ok(part) => {
                    cpu += part.0;
                    resident += part.1;
                    peak += part.2;
                }
                // A descendant may end between being listed and being read.
                Err(_) if pid != self.pid => {}
                Err(error) => return Err(error),
            }
        }
        Ok(vec![
            (Reading::CpuUsageSecondsTotal, cpu),
            (Reading::MemoryUsageBytes, resident),
            (Reading::MemoryInactiveFileBytes, 0.0),
            (Reading::MemoryPeakBytes, peak),
        ])
    }

    fn tree(&self) -> Vec<i32> {
        let mut found = vec![self.pid];
        let mut next = 0;
        while let Some(&pid) = found.get(next) {
            next += 1;
            found.extend(children(pid));
        }
        found
    }
}

fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<i32>>()
        })
        .collect()
}

/// The value of a `Name:  123 kB` line, in bytes.
fn kilobytes(status: &str, name: &str) -> io::Result<f64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
        .map(|kilobytes| kilobytes * 1024.0)
        .ok_or_else(|| io::Error::other(format!("no `{name}` in its status")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_itself() {
        let observer = ProcessObserver::new(std::process::id());
        let first = observer.read().unwrap();
        let mut sum = 0u64;
        for n in 0..20_000_000u64 {
            sum = std::hint::black_box(sum.wrapping_add(n));
        }
        let second = observer.read().unwrap();
        assert!(second[0].1 > first[0].1, "no CPU time was counted");
        assert!(second[1].1 > 100_000.0, "no resident memory");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        // Above the largest possible process id.
        assert!(ProcessObserver::new(1 << 23).read().is_err());
    }

    #[test]
    fn children_are_counted() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let tree = ProcessObserver::new(std::process::id()).tree();
        assert!(tree.contains(&(child.id() as i32)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
