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
use crate::sample::Reading;

/// `/proc/stat` counts in hundredths of a second on every architecture that Rust's Linux targets name.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads the machine.
#[derive(Debug)]
pub struct NodeObserver {
    stat: File,
    tasks: Option<File>,
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
        })
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
