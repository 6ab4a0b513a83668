//! The whole machine, from `/proc/stat` and the root control group.
//!
//! Busy time is what is left of the machine's time when idle, I/O wait and
//! steal are taken away. Adding up the busy columns instead would be worse: on
//! kernels that account by ticks they are samples taken 100 to 1000 times a
//! second, while idle time is measured from the moment a CPU goes to sleep
//! (`get_idle_time` in the kernel's `fs/proc/stat.c`).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Readings;
use super::cgroup::Quota;
use crate::backend::local::cgroup::Group;
use crate::sample::Reading;

/// `/proc/stat` counts in hundredths of a second on every architecture that Rust's Linux targets name.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads the machine.
#[derive(Debug)]
pub struct NodeObserver {
    stat: File,
    tasks: Option<File>,
    /// Of groups that everything that is measured is in.
    quotas: Vec<Quota>,
}

impl NodeObserver {
    /// Opens `/proc/stat`, and the root group's CPU counter if there is one.
    ///
    /// # Errors
    /// When `/proc/stat` can't be opened.
    pub fn open(machine_cpu_usage: Option<&Path>) -> io::Result<Self> {
        Ok(NodeObserver {
            stat: File::open("/proc/stat")?,
            tasks: machine_cpu_usage.and_then(|path| File::open(path).ok()),
            quotas: Vec::new(),
        })
    }

    /// The same, where everything that is measured is in these groups, such as a container's: one
    /// that has a quota may hold all of it back, which no role's own group shows.
    pub fn beneath(self, groups: &[Group]) -> Self {
        let quotas = groups.iter().filter_map(Quota::open);
        NodeObserver {
            quotas: quotas.filter(Quota::is_set).collect(),
            ..self
        }
    }

    /// Reads the machine's counters.
    ///
    /// # Errors
    /// When `/proc/stat` is not of its documented form.
    pub fn read(&self) -> io::Result<Readings> {
        let mut buffer = vec![0u8; 64 * 1024];
        let length = self.stat.read_at(&mut buffer, 0)?;
        let mut readings = parse(&String::from_utf8_lossy(&buffer[..length]))?;
        if let Some(file) = &self.tasks {
            let length = file.read_at(&mut buffer, 0)?;
            if let Ok(ns) = String::from_utf8_lossy(&buffer[..length])
                .trim()
                .parse::<f64>()
            {
                readings.push((Reading::NodeCpuTasksSecondsTotal, ns / 1e9));
            }
        }
        if !self.quotas.is_empty() {
            let held: io::Result<f64> = self.quotas.iter().map(Quota::held_seconds).sum();
            // Whoever takes a controller away meanwhile has nothing held back by it.
            readings.extend(held.map(|seconds| (Reading::CpuThrottledSecondsTotal, seconds)));
        }
        Ok(readings)
    }
}

/// The counters in the text of `/proc/stat` (columns: proc_stat(5)).
fn parse(text: &str) -> io::Result<Readings> {
    let malformed = || io::Error::other("/proc/stat does not begin with a line of CPU times");
    let columns: Vec<f64> = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("cpu "))
        .ok_or_else(malformed)?
        .split_whitespace()
        .map(|column| column.parse::<f64>().map(|ticks| ticks / TICKS_PER_SECOND))
        .collect::<Result<_, _>>()
        .map_err(|_| malformed())?;
    let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = columns[..] else {
        return Err(malformed());
    };
    let cpus = text
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with("cpu"))
        .count();
    Ok(vec![
        (Reading::NodeCpus, cpus as f64),
        (
            Reading::NodeCpuBusySecondsTotal,
            user + nice + system + irq + softirq,
        ),
        (Reading::NodeCpuSoftirqSecondsTotal, softirq),
        (Reading::NodeCpuIdleSecondsTotal, idle + iowait),
        (Reading::NodeCpuStealSecondsTotal, steal),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_told_apart() {
        let text = "cpu  100 20 30 4000 50 6 7 8 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\ncpu1 1 1 1 1 1 1 1 1 0 0\nintr 5\n";
        let readings = parse(text).unwrap();
        let get = |name| readings.iter().find(|(n, _)| *n == name).unwrap().1;
        assert_eq!(get(Reading::NodeCpus), 2.0);
        assert!((get(Reading::NodeCpuBusySecondsTotal) - 1.63).abs() < 1e-9);
        assert!((get(Reading::NodeCpuSoftirqSecondsTotal) - 0.07).abs() < 1e-9);
        assert!((get(Reading::NodeCpuIdleSecondsTotal) - 40.5).abs() < 1e-9);
        assert!((get(Reading::NodeCpuStealSecondsTotal) - 0.08).abs() < 1e-9);
    }

    #[test]
    fn quotas_of_groups_above_are_told() {
        let groups = [
            "nr_periods 40\nnr_throttled 2\nthrottled_time 1500000000\n",
            "nr_periods 9\nnr_throttled 1\nthrottled_time 250000000\n",
            // Nobody has set one here.
            "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n",
        ]
        .map(|text| {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("cpu.stat"), text).unwrap();
            directory
        });
        let above = |n: usize| Group::found(None, Some(groups[n].path().to_owned()), None, None);
        let held = |above: &[Group]| {
            let node = NodeObserver::open(None).unwrap().beneath(above);
            let readings = node.read().unwrap();
            let mut held = readings.iter();
            held.find(|(name, _)| *name == Reading::CpuThrottledSecondsTotal)
                .map(|(_, seconds)| *seconds)
        };
        assert_eq!(held(&[above(0), above(1), above(2)]), Some(1.75));
        assert_eq!(held(&[above(2)]), None);
    }

    #[test]
    fn odd_text_is_an_error() {
        for text in [
            "",
            "cpu",
            "cpu 1 2 3",
            "cpu  a b c d e f g h",
            "cpu0 1 2 3 4 5 6 7 8",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
