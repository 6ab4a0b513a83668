//! What is shown, under which name, and as text.

use std::fmt::Write as _;

/// A metric family: a name with its type and its help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// CPU seconds of a role, or of the whole machine under `id="/"`.
    CpuUsageSecondsTotal,
    /// Seconds in which a role's quota kept it from running.
    CpuThrottledSecondsTotal,
    /// Bytes charged to a role.
    MemoryUsageBytes,
    /// Bytes charged to a role, less the file cache that can be dropped at once.
    MemoryWorkingSetBytes,
    /// Bytes of file cache that can be dropped at once.
    MemoryInactiveFileBytes,
    /// Highest charge so far, in bytes.
    MemoryMaxUsageBytes,
    /// Processes that the kernel ended for want of memory.
    OomEventsTotal,
    /// CPU seconds of the whole machine, by mode.
    NodeCpuSecondsTotal,
    /// The softirq part of the machine's busy CPU seconds.
    NodeSoftirqSecondsTotal,
    /// Requests of the target, as the harness read its counter; only pushed, never served.
    HttpRequestsTotal,
}

impl Family {
    /// The name, as cAdvisor, the node exporter or the target has it.
    pub fn name(self) -> &'static str {
        match self {
            Family::CpuUsageSecondsTotal => "container_cpu_usage_seconds_total",
            Family::CpuThrottledSecondsTotal => "container_cpu_cfs_throttled_seconds_total",
            Family::MemoryUsageBytes => "container_memory_usage_bytes",
            Family::MemoryWorkingSetBytes => "container_memory_working_set_bytes",
            Family::MemoryInactiveFileBytes => "container_memory_total_inactive_file_bytes",
            Family::MemoryMaxUsageBytes => "container_memory_max_usage_bytes",
            Family::OomEventsTotal => "container_oom_events_total",
            Family::NodeCpuSecondsTotal => "node_cpu_seconds_total",
            Family::NodeSoftirqSecondsTotal => "flora_bench_node_softirq_seconds_total",
            Family::HttpRequestsTotal => "http_requests_total",
        }
    }

    /// `counter` or `gauge`.
    pub fn kind(self) -> &'static str {
        match self {
            Family::CpuUsageSecondsTotal
            | Family::CpuThrottledSecondsTotal
            | Family::OomEventsTotal
            | Family::NodeCpuSecondsTotal
            | Family::NodeSoftirqSecondsTotal
            | Family::HttpRequestsTotal => "counter",
            Family::MemoryUsageBytes
            | Family::MemoryWorkingSetBytes
            | Family::MemoryInactiveFileBytes
            | Family::MemoryMaxUsageBytes => "gauge",
        }
    }

    /// One sentence for the `HELP` line.
    pub fn help(self) -> &'static str {
        match self {
            Family::CpuUsageSecondsTotal => "CPU time used, in seconds.",
            Family::CpuThrottledSecondsTotal => {
                "Time in which a CPU quota kept the container from running, in seconds."
            }
            Family::MemoryUsageBytes => "Memory charged, file cache included, in bytes.",
            Family::MemoryWorkingSetBytes => {
                "Memory charged, less the file cache that can be dropped at once, in bytes."
            }
            Family::MemoryInactiveFileBytes => "File cache that can be dropped at once, in bytes.",
            Family::MemoryMaxUsageBytes => "Highest memory charge so far, in bytes.",
            Family::OomEventsTotal => "Processes that the kernel ended for want of memory.",
            Family::NodeCpuSecondsTotal => {
                "CPU time of the machine by mode, in seconds; busy is user, nice, system, irq and softirq together, idle includes iowait."
            }
            Family::NodeSoftirqSecondsTotal => {
                "The softirq part of the machine's busy CPU time, in seconds."
            }
            Family::HttpRequestsTotal => "Requests that the target has answered.",
        }
    }
}

/// One value that is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposed {
    /// Under which name.
    pub family: Family,
    /// Its labels, in the order in which they are written.
    pub labels: Vec<(&'static str, String)>,
    /// In the unit of the family's name.
    pub value: f64,
    /// When it was read, in milliseconds since the epoch.
    pub unix_ms: i64,
}

/// Prometheus text (version 0.0.4): every family once, with HELP and TYPE, its
/// values in the order of their timestamps.
pub fn render(exposed: &[Exposed]) -> String {
    let mut sorted: Vec<&Exposed> = exposed.iter().collect();
    sorted.sort_by_key(|one| (one.family, one.unix_ms));
    let mut text = String::with_capacity(96 * sorted.len());
    let mut family = None;
    for one in sorted {
        let name = one.family.name();
        if family.replace(one.family) != Some(one.family) {
            let (help, kind) = (one.family.help(), one.family.kind());
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        }
        text.push_str(name);
        let mut before = '{';
        for (label, value) in &one.labels {
            let _ = write!(text, "{before}{label}={}", label_value(value));
            before = ',';
        }
        if !one.labels.is_empty() {
            text.push('}');
        }
        let _ = writeln!(text, " {} {}", number(one.value), one.unix_ms);
    }
    text
}

/// A label's value in quotes, for text and for PromQL.
pub fn label_value(value: &str) -> String {
    let escaped = value
        .replace('\\', r"\\")
        .replace('"', r#"\""#)
        .replace('\n', r"\n");
    format!("\"{escaped}\"")
}

fn number(value: f64) -> String {
    if value.is_infinite() {
        let sign = if value > 0.0 { '+' } else { '-' };
        format!("{sign}Inf")
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_parse::{Scrape, Value};

    fn parse(text: &str) -> Scrape {
        Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap()
    }

    fn exposed(family: Family, container: &str, value: f64, unix_ms: i64) -> Exposed {
        Exposed {
            family,
            labels: vec![("container", container.to_owned())],
            value,
            unix_ms,
        }
    }

    #[test]
    fn a_parser_finds_what_was_shown() {
        let text = render(&[
            exposed(Family::MemoryUsageBytes, "target", 123456789.0, 5),
            exposed(
                Family::CpuUsageSecondsTotal,
                "agent",
                0.000000123,
                1_700_000_000_123,
            ),
            exposed(
                Family::CpuUsageSecondsTotal,
                "target",
                1.5,
                1_700_000_000_124,
            ),
        ]);
        let scrape = parse(&text);
        assert_eq!(scrape.samples.len(), 3);
        let agent = scrape
            .samples
            .iter()
            .find(|s| s.labels.get("container") == Some("agent"))
            .unwrap();
        assert_eq!(agent.metric, "container_cpu_usage_seconds_total");
        assert_eq!(agent.value, Value::Counter(0.000000123));
        assert_eq!(agent.timestamp.timestamp_millis(), 1_700_000_000_123);
        assert_eq!(
            text.matches("# TYPE container_cpu_usage_seconds_total counter\n")
                .count(),
            1
        );
        assert!(text.contains("# HELP container_memory_usage_bytes "));
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn nothing_shown_is_empty_text() {
        assert_eq!(render(&[]), "");
    }

    #[test]
    fn odd_values_are_escaped() {
        assert_eq!(label_value("a\\b\"c\nd"), r#""a\\b\"c\nd""#);
        assert_eq!(number(f64::INFINITY), "+Inf");
        assert_eq!(number(f64::NEG_INFINITY), "-Inf");
        assert_eq!(number(f64::NAN), "NaN");
        let bare = Exposed {
            family: Family::NodeCpuSecondsTotal,
            labels: vec![],
            value: 1.0,
            unix_ms: 2,
        };
        assert!(render(&[bare]).ends_with("\nnode_cpu_seconds_total 1 2\n"));
    }
}
