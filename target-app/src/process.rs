//! `process_*`: the process as Linux accounts for it, under the names every client library uses.

use std::fs;
use std::sync::LazyLock;

use nix::sys::resource::{Resource, getrlimit};
use nix::time::{ClockId, clock_gettime};

/// Ticks per second of the times in `/proc/*/stat`. Linux has promised 100 to user space, whatever
/// the kernel's own clock does.
const USER_HZ: f64 = 100.0;

/// One metric without labels.
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// Its value now.
    pub value: f64,
}

/// Reads them all. What cannot be read here, on a system without `/proc` for instance, is left out.
pub fn read() -> Vec<Metric> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let gauge = |name, help, value| metric(name, help, "gauge", value);
    [
        metric(
            "process_cpu_seconds_total",
            "User and system CPU time spent, in seconds.",
            "counter",
            cpu_seconds(),
        ),
        gauge(
            "process_resident_memory_bytes",
            "Resident memory size, in bytes.",
            status_field(&status, "VmRSS:").map(|kib| kib * 1024.0),
        ),
        gauge(
            "process_virtual_memory_bytes",
            "Virtual memory size, in bytes.",
            status_field(&status, "VmSize:").map(|kib| kib * 1024.0),
        ),
        gauge(
            "process_start_time_seconds",
            "Start of the process, in seconds since the Unix epoch.",
            *START_TIME,
        ),
        gauge("process_open_fds", "Open file descriptors.", open_fds()),
        gauge(
            "process_max_fds",
            "Most file descriptors the process may have open.",
            getrlimit(Resource::RLIMIT_NOFILE)
                .ok()
                .map(|(soft, _)| soft as f64),
        ),
        gauge(
            "process_threads",
            "Threads of the process.",
            status_field(&status, "Threads:"),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn metric(
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    value: Option<f64>,
) -> Option<Metric> {
    value.map(|value| Metric {
        name,
        help,
        kind,
        value,
    })
}

/// The clock counts nanoseconds, where `/proc/self/stat` counts in steps of 10 ms.
fn cpu_seconds() -> Option<f64> {
    let spent = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok()?;
    Some(spent.tv_sec() as f64 + spent.tv_nsec() as f64 / 1e9)
}

/// A number in `/proc/self/status`.
fn status_field(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Without the one that counting them opens.
fn open_fds() -> Option<f64> {
    let fds = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(fds as f64 - 1.0)
}

/// Read once: it cannot change, but a corrected wall clock would make it seem to.
static START_TIME: LazyLock<Option<f64>> = LazyLock::new(|| {
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    start_time(&boot, &stat)
});

/// From the boot time in `/proc/stat` and the start time, the 22nd field, of `/proc/self/stat`.
fn start_time(boot: &str, stat: &str) -> Option<f64> {
    let boot: f64 = boot
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    // The second field is the program's name in parentheses, and may hold spaces and parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    let ticks: f64 = after_name.split_whitespace().nth(22 - 3)?.parse().ok()?;
    Some(boot + ticks / USER_HZ)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_of_an_oddly_named_program() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 12345 2703360 215 18446744073709551615";
        assert_eq!(
            start_time("cpu  1 2\nbtime 1700000000\nprocesses 9\n", stat),
            Some(1_700_000_123.45)
        );
        assert_eq!(start_time("", stat), None);
        assert_eq!(start_time("btime 1\n", "42 (a"), None);
    }

    #[test]
    fn fields_of_status() {
        let status = "Name:\tapp\nVmSize:\t  123456 kB\nVmRSS:\t    4567 kB\nThreads:\t3\n";
        assert_eq!(status_field(status, "VmRSS:"), Some(4567.0));
        assert_eq!(status_field(status, "Threads:"), Some(3.0));
        assert_eq!(status_field(status, "VmSwap:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn all_are_there_on_linux() {
        let metrics = read();
        assert_eq!(metrics.len(), 7);
        assert!(metrics.iter().all(|metric| metric.value > 0.0));
    }
}
