//! This process, as Prometheus' own clients describe theirs.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

use super::text::{family, sample};

/// Writes the families `process_*`; those that can't be read are left out.
pub fn render(out: &mut String) {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
    let page = sysconf(SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .unwrap_or(4096) as u64;
    if let Some(stat) = Stat::read() {
        let name = "process_cpu_seconds_total";
        family(out, name, "counter", "CPU time of this process.");
        sample(out, name, "", stat.cpu_ticks as f64 / ticks);
        let name = "process_resident_memory_bytes";
        family(
            out,
            name,
            "gauge",
            "Memory of this process that is resident.",
        );
        sample(out, name, "", stat.resident_pages * page);
        let name = "process_virtual_memory_bytes";
        family(out, name, "gauge", "Address space of this process.");
        sample(out, name, "", stat.virtual_bytes);
        if let Some(boot) = boot_time() {
            let name = "process_start_time_seconds";
            family(
                out,
                name,
                "gauge",
                "When this process was started, since 1970.",
            );
            sample(out, name, "", boot as f64 + stat.start_ticks as f64 / ticks);
        }
    }
    if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
        let name = "process_open_fds";
        family(out, name, "gauge", "Descriptors that are open.");
        // The directory itself is one of them while it is read.
        sample(out, name, "", descriptors.count().saturating_sub(1));
    }
}

struct Stat {
    cpu_ticks: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Reads `/proc/PID/stat` (proc_pid_stat(5)); the name may hold anything, so fields count from its end.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_whitespace().collect();
        // The first of these is field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat {
            cpu_ticks: field(14)? + field(15)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn boot_time() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets() {
        let text = "7 (a) (b) S 1 7 7 0 -1 4194560 100 0 0 0 12 3 0 0 20 0 1 0 500 4096000 600 18446744073709551615 1";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.cpu_ticks, stat.start_ticks), (15, 500));
        assert_eq!((stat.virtual_bytes, stat.resident_pages), (4_096_000, 600));
    }

    #[test]
    fn this_process() {
        let mut out = String::new();
        render(&mut out);
        assert_eq!(out.matches("# TYPE").count(), 5, "{out}");
    }
}
