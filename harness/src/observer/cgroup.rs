//! A role's control group.
//!
//! Files are opened once and read with `pread`, which the kernel answers anew
//! each time; opening them at every reading would double the cost.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Readings;
use crate::backend::local::cgroup::Group;
use crate::sample::Reading;

/// Reads one group.
#[derive(Debug)]
pub struct CgroupObserver {
    cpu: Cpu,
    quota: Option<Quota>,
    memory: Option<Memory>,
}

#[derive(Debug)]
enum Cpu {
    /// `cpuacct.usage`, nanoseconds.
    V1(File),
    /// `cpu.stat`, `usage_usec`; there without any controller.
    V2(File),
}

/// Which key of `cpu.stat` holds throttled time.
#[derive(Clone, Copy, Debug)]
enum Throttled {
    /// `throttled_time`, nanoseconds.
    V1,
    /// `throttled_usec`, microseconds.
    V2,
}

/// What a group's quota of CPU time has done.
#[derive(Debug)]
pub struct Quota {
    stat: File,
    kind: Throttled,
}

impl Quota {
    /// Opens it, where the group has a controller of CPU time.
    pub fn open(group: &Group) -> Option<Self> {
        let open = |directory: Option<&Path>, kind| {
            let stat = File::open(directory?.join("cpu.stat")).ok()?;
            Some(Quota { stat, kind })
        };
        open(group.cpu(), Throttled::V1).or_else(|| open(group.v2(), Throttled::V2))
    }

    /// Whether there is one. Without, no periods are counted, on either version.
    pub fn is_set(&self) -> bool {
        let text = text(&self.stat).unwrap_or_default();
        key(&text, "nr_periods").is_ok_and(|periods| periods > 0.0)
    }

    /// For how long it has kept the group from running so far, in seconds.
    ///
    /// # Errors
    /// When the file can't be read or has no such key.
    pub fn held_seconds(&self) -> io::Result<f64> {
        self.held(&text(&self.stat)?)
    }

    /// The same from the file's text.
    fn held(&self, text: &str) -> io::Result<f64> {
        match self.kind {
            Throttled::V1 => Ok(key(text, "throttled_time")? / 1e9),
            Throttled::V2 => Ok(key(text, "throttled_usec")? / 1e6),
        }
    }
}

#[derive(Debug)]
struct Memory {
    usage: File,
    stat: File,
    peak: Option<File>,
    /// Holds `oom_kill`, on both versions.
    kills: Option<File>,
    /// The key of `stat` that counts the subtree's inactive file pages.
    inactive_file: &'static str,
}

impl CgroupObserver {
    /// Opens a group's files.
    ///
    /// # Errors
    /// When the group has no file that counts CPU time.
    pub fn open(group: &Group) -> io::Result<Self> {
        let open = |directory: Option<&Path>, name: &str| -> io::Result<File> {
            let directory = directory.ok_or(io::ErrorKind::NotFound)?;
            File::open(directory.join(name))
        };
        let cpu = match open(group.cpuacct(), "cpuacct.usage") {
            Ok(file) => Cpu::V1(file),
            Err(_) => Cpu::V2(open(group.v2(), "cpu.stat")?),
        };
        let memory_v1 = || -> io::Result<Memory> {
            Ok(Memory {
                usage: open(group.memory(), "memory.usage_in_bytes")?,
                stat: open(group.memory(), "memory.stat")?,
                peak: open(group.memory(), "memory.max_usage_in_bytes").ok(),
                kills: open(group.memory(), "memory.oom_control").ok(),
                inactive_file: "total_inactive_file",
            })
        };
        let memory_v2 = || -> io::Result<Memory> {
            Ok(Memory {
                usage: open(group.v2(), "memory.current")?,
                stat: open(group.v2(), "memory.stat")?,
                peak: open(group.v2(), "memory.peak").ok(),
                kills: open(group.v2(), "memory.events").ok(),
                inactive_file: "inactive_file",
            })
        };
        Ok(CgroupObserver {
            cpu,
            quota: Quota::open(group),
            memory: memory_v1().or_else(|_| memory_v2()).ok(),
        })
    }

    /// Where its figures come from: CPU, and memory if it has any.
    pub fn sources(&self) -> (&'static str, Option<&'static str>) {
        let cpu = match self.cpu {
            Cpu::V1(_) => "cgroup v1",
            Cpu::V2(_) => "cgroup v2",
        };
        let memory = self.memory.as_ref().map(|memory| {
            if memory.inactive_file == "total_inactive_file" {
                "cgroup v1"
            } else {
                "cgroup v2"
            }
        });
        (cpu, memory)
    }

    /// Reads everything that the group has.
    ///
    /// # Errors
    /// When a file can't be read or does not hold what it should.
    pub fn read(&self) -> io::Result<Readings> {
        let mut readings = Readings::with_capacity(8);
        let cpu = match &self.cpu {
            Cpu::V1(file) => number(file)? / 1e9,
            Cpu::V2(file) => key(&text(file)?, "usage_usec")? / 1e6,
        };
        readings.push((Reading::CpuUsageSecondsTotal, cpu));
        if let Some(quota) = &self.quota {
            let text = text(&quota.stat)?;
            // Version 2 without the cpu controller has no such key.
            if let Ok(seconds) = quota.held(&text) {
                readings.push((Reading::CpuThrottledSecondsTotal, seconds));
            }
            if let (Ok(periods), Ok(held)) = (key(&text, "nr_periods"), key(&text, "nr_throttled"))
                && periods > 0.0
            {
                readings.push((Reading::CpuPeriodsTotal, periods));
                readings.push((Reading::CpuThrottledPeriodsTotal, held));
            }
        }
        if let Some(memory) = &self.memory {
            readings.push((Reading::MemoryUsageBytes, number(&memory.usage)?));
            let inactive = key(&text(&memory.stat)?, memory.inactive_file)?;
            readings.push((Reading::MemoryInactiveFileBytes, inactive));
            if let Some(peak) = &memory.peak {
                readings.push((Reading::MemoryPeakBytes, number(peak)?));
            }
            // Kernels before 4.13 don't count them.
            if let Some(kills) = &memory.kills
                && let Ok(kills) = key(&text(kills)?, "oom_kill")
            {
                readings.push((Reading::OomKillsTotal, kills));
            }
        }
        Ok(readings)
    }
}

/// A file's text, as far as it fits: `memory.stat` is the longest with about 2 kB.
fn text(file: &File) -> io::Result<String> {
    let mut buffer = [0u8; 8192];
    let length = file.read_at(&mut buffer, 0)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

fn number(file: &File) -> io::Result<f64> {
    let text = text(file)?;
    text.trim()
        .parse()
        .map_err(|_| io::Error::other(format!("`{}` is not a number", text.trim())))
}

/// The number behind `name` in lines of the form `name number`.
pub(crate) fn key(text: &str, name: &str) -> io::Result<f64> {
    text.lines()
        .find_map(|line| {
            let (key, value) = line.split_once(' ')?;
            (key == name).then(|| value.trim().parse().ok())?
        })
        .ok_or_else(|| io::Error::other(format!("no `{name}` in it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_both_versions() {
        let v2 = "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\nnr_throttled 2\nthrottled_usec 1500\n";
        assert_eq!(key(v2, "usage_usec").unwrap(), 1_234_567.0);
        assert_eq!(key(v2, "throttled_usec").unwrap(), 1_500.0);
        let v1 = "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n";
        assert_eq!(key(v1, "throttled_time").unwrap(), 0.0);
    }

    #[test]
    fn a_missing_or_broken_key_is_an_error() {
        for text in ["", "usage_usec", "usage_usec x", "usage_usec_total 5"] {
            assert!(key(text, "usage_usec").is_err(), "{text}");
        }
    }
}
