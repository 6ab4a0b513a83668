//! The counts as Prometheus text.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::decode::Endpoint;
use super::refusal::Refusal;
use super::tally::{Names, Tally, escape};

/// Spans, by protocol, kind, route and status.
pub const SPANS: &str = "flora_bench_intake_spans_total";
/// Requests that statistics account for, by the same labels.
pub const STATS_HITS: &str = "flora_bench_intake_stats_hits_total";
/// Spans that have an attribute, by its name.
pub const SPAN_ATTRIBUTES: &str = "flora_bench_intake_span_attributes_total";
/// Points of metrics, by the metric's name.
pub const METRIC_POINTS: &str = "flora_bench_intake_metric_points_total";
/// Log records.
pub const LOG_RECORDS: &str = "flora_bench_intake_log_records_total";
/// Bodies that were counted, by where they were sent.
pub const REQUESTS: &str = "flora_bench_intake_requests_total";
/// Bytes of bodies as they were sent.
pub const BYTES: &str = "flora_bench_intake_bytes_total";
/// What was sent and not counted, by reason.
pub const REJECTED: &str = "flora_bench_intake_rejected_total";

/// The label of what is counted under a name that found no room.
pub const OVERFLOW: &str = "overflow=\"true\"";

/// Everything that the intake counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// What was in the bodies.
    pub tally: Tally,
    /// Bodies that were counted.
    pub requests: BTreeMap<Endpoint, u64>,
    /// Datagrams of StatsD.
    pub datagrams: u64,
    /// Bytes as they were sent.
    pub bytes: u64,
    /// What was not counted.
    pub rejected: BTreeMap<Refusal, u64>,
}

impl Counts {
    /// As Prometheus text.
    pub fn text(&self) -> String {
        let mut out = String::with_capacity(4096);
        let tally = &self.tally;
        family(&mut out, SPANS, "Spans by what they say of themselves.");
        names(&mut out, SPANS, &tally.spans, |out, labels| {
            out.push_str(labels);
        });
        family(
            &mut out,
            STATS_HITS,
            "Requests that statistics account for.",
        );
        names(&mut out, STATS_HITS, &tally.stats_hits, |out, labels| {
            out.push_str(labels);
        });
        family(&mut out, SPAN_ATTRIBUTES, "Spans that have an attribute.");
        names(&mut out, SPAN_ATTRIBUTES, &tally.span_attributes, named);
        family(&mut out, METRIC_POINTS, "Points of metrics.");
        names(&mut out, METRIC_POINTS, &tally.metric_points, named);
        family(&mut out, LOG_RECORDS, "Log records.");
        let _ = writeln!(out, "{LOG_RECORDS} {}", tally.log_records);
        family(&mut out, REQUESTS, "Bodies that were counted.");
        for (endpoint, count) in &self.requests {
            let endpoint = endpoint.as_str();
            let _ = writeln!(out, "{REQUESTS}{{endpoint=\"{endpoint}\"}} {count}");
        }
        let _ = writeln!(out, "{REQUESTS}{{endpoint=\"statsd\"}} {}", self.datagrams);
        family(&mut out, BYTES, "Bytes of bodies as they were sent.");
        let _ = writeln!(out, "{BYTES} {}", self.bytes);
        family(&mut out, REJECTED, "What was sent and is not counted.");
        for (refusal, count) in &self.rejected {
            let reason = refusal.reason();
            let _ = writeln!(out, "{REJECTED}{{reason=\"{reason}\"}} {count}");
        }
        out
    }
}

fn family(out: &mut String, name: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
}

fn names(out: &mut String, family: &str, names: &Names, label: fn(&mut String, &str)) {
    for (name, count) in names.iter() {
        let _ = write!(out, "{family}{{");
        label(out, name);
        let _ = writeln!(out, "}} {count}");
    }
    if names.rest() > 0 {
        let _ = writeln!(out, "{family}{{{OVERFLOW}}} {}", names.rest());
    }
}

fn named(out: &mut String, name: &str) {
    out.push_str("name=\"");
    escape(out, name);
    out.push('"');
}
