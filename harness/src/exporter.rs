//! The harness's readings as Prometheus metrics on a loopback port.
//!
//! Names are those of cAdvisor and the node exporter, so that one expression
//! answers on a single machine and in Kubernetes. Every line carries the
//! timestamp of its reading: a scrape comes up to an interval later, and a
//! difference must be divided by the time between the readings.
//!
//! # Layout
//! - [`Exposed`], [`Family`]: what is shown, under which name ([`family`])
//! - [`readings`], [`requests`]: from samples to what is shown
//! - [`render`]: from what is shown to text, also for pushing
//! - [`Exporter`]: serves it ([`server`])

use std::collections::HashMap;

use crate::sample::{Reading, Sample, Subject};

pub mod family;
pub mod server;

pub use family::{Exposed, Family, label_value, render};
pub use server::{Exporter, ExporterError, Publisher};

/// What the exporter shows of `samples`: the latest reading of each kind.
///
/// `epoch` is the run's beginning, in seconds since the epoch, to which
/// [`Sample::time`] is added. The target's `http_requests_total` is left out,
/// as the target shows it itself; see [`requests`].
pub fn readings(samples: &[Sample], epoch: f64) -> Vec<Exposed> {
    let latest = latest(samples);
    let mut exposed = Vec::new();
    for (&(subject, reading), sample) in &latest {
        let mut show = |family, labels, value| {
            exposed.push(Exposed {
                family,
                labels,
                value,
                unix_ms: unix_ms(epoch, sample.time),
            });
        };
        let container = || vec![("container", subject.as_str().to_owned())];
        let mode = |mode: &str| vec![("mode", mode.to_owned())];
        match reading {
            Reading::CpuUsageSecondsTotal => {
                show(Family::CpuUsageSecondsTotal, container(), sample.value);
            }
            Reading::CpuThrottledSecondsTotal => {
                show(Family::CpuThrottledSecondsTotal, container(), sample.value);
            }
            Reading::MemoryUsageBytes => {
                show(Family::MemoryUsageBytes, container(), sample.value);
                // The kubelet's arithmetic, with its floor at 0: the two
                // readings are not taken at the same instant.
                if let Some(inactive) = latest.get(&(subject, Reading::MemoryInactiveFileBytes)) {
                    let working_set = (sample.value - inactive.value).max(0.0);
                    show(Family::MemoryWorkingSetBytes, container(), working_set);
                }
            }
            Reading::MemoryInactiveFileBytes => {
                show(Family::MemoryInactiveFileBytes, container(), sample.value);
            }
            Reading::MemoryPeakBytes => {
                show(Family::MemoryMaxUsageBytes, container(), sample.value);
            }
            // The sum over the modes that the node exporter has for it; a
            // query for what is not idle, iowait or steal finds it.
            Reading::NodeCpuBusySecondsTotal => {
                show(Family::NodeCpuSecondsTotal, mode("busy"), sample.value);
            }
            Reading::NodeCpuIdleSecondsTotal => {
                show(Family::NodeCpuSecondsTotal, mode("idle"), sample.value);
            }
            // Part of the busy time already; a mode of its own would count twice.
            Reading::NodeCpuSoftirqSecondsTotal => {
                show(Family::NodeSoftirqSecondsTotal, Vec::new(), sample.value);
            }
            Reading::OomKillsTotal => {
                show(Family::OomEventsTotal, container(), sample.value);
            }
            Reading::NodeCpuStealSecondsTotal => {
                show(Family::NodeCpuSecondsTotal, mode("steal"), sample.value);
            }
            Reading::NodeCpuTasksSecondsTotal => {
                let root = vec![("id", "/".to_owned())];
                show(Family::CpuUsageSecondsTotal, root, sample.value);
            }
            // Figures of a whole window or of the start: not a series.
            Reading::HttpRequestsTotal
            | Reading::TelemetryRequestsTotal
            | Reading::IntakeSpansTotal
            | Reading::IntakeSpanAttributesTotal
            | Reading::IntakeMetricPointsTotal
            | Reading::IntakeLogRecordsTotal
            | Reading::IntakeStatsHitsTotal
            | Reading::IntakeRequestsTotal
            | Reading::IntakeBytesTotal
            | Reading::IntakeRejectedTotal
            | Reading::EbpfProgramsAttached
            | Reading::NodeEbpfPrograms
            | Reading::NodeEbpfProgramsLeft
            | Reading::NodeCpus
            | Reading::RequestsAnsweredTotal
            | Reading::VictoriaMetricsCpuSecondsPerRequest
            | Reading::StartupSeconds
            | Reading::CpuPeriodsTotal
            | Reading::CpuThrottledPeriodsTotal
            | Reading::ContainerFailuresTotal
            | Reading::CpuLimitCores
            | Reading::MemoryLimitBytes
            | Reading::OfferedRequestsPerSecond
            | Reading::RequestsOffered
            | Reading::RequestsCompleted
            | Reading::RequestsCompletedInTime
            | Reading::RequestsFailed
            | Reading::RequestsDropped
            | Reading::WindowSeconds
            | Reading::SendLagSeconds
            | Reading::RequestDurationSeconds => {}
        }
    }
    // The map's order is nobody's.
    exposed.sort_by(|a, b| (a.family, &a.labels).cmp(&(b.family, &b.labels)));
    exposed
}

/// The harness's own readings of the target's `http_requests_total`, one for
/// each sample: for servers that can't scrape the target and get it pushed.
pub fn requests(samples: &[Sample], epoch: f64, route: &str) -> Vec<Exposed> {
    samples
        .iter()
        .filter(|sample| sample.reading == Reading::HttpRequestsTotal)
        .map(|sample| Exposed {
            family: Family::HttpRequestsTotal,
            labels: vec![("route", route.to_owned())],
            value: sample.value,
            unix_ms: unix_ms(epoch, sample.time),
        })
        .collect()
}

/// The newest sample of each subject and reading.
fn latest(samples: &[Sample]) -> HashMap<(Subject, Reading), &Sample> {
    let mut latest: HashMap<(Subject, Reading), &Sample> = HashMap::new();
    for sample in samples {
        latest
            .entry((sample.subject, sample.reading))
            .and_modify(|held| {
                if sample.time >= held.time {
                    *held = sample;
                }
            })
            .or_insert(sample);
    }
    latest
}

fn unix_ms(epoch: f64, time: f64) -> i64 {
    ((epoch + time) * 1e3).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Phase;

    fn sample(subject: Subject, reading: Reading, value: f64, time: f64) -> Sample {
        Sample {
            trial: 1,
            phase: Phase::Measure,
            edge: None,
            step: None,
            subject,
            reading,
            value,
            time,
            name: None,
            machine: None,
            quantile: None,
            buckets: Vec::new(),
        }
    }

    fn line<'a>(text: &'a str, start: &str) -> &'a str {
        text.lines()
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("no {start} in {text}"))
    }

    #[test]
    fn the_latest_reading_is_shown_with_its_own_time() {
        let text = render(&readings(
            &[
                sample(Subject::Target, Reading::CpuUsageSecondsTotal, 2.0, 11.25),
                sample(Subject::Target, Reading::CpuUsageSecondsTotal, 1.0, 10.25),
                sample(Subject::Target, Reading::MemoryUsageBytes, 3e9, 11.5),
                sample(Subject::Target, Reading::MemoryInactiveFileBytes, 1e9, 11.5),
                sample(Subject::Node, Reading::NodeCpuBusySecondsTotal, 7.0, 11.0),
                sample(Subject::Node, Reading::NodeCpuTasksSecondsTotal, 6.5, 11.0),
                sample(Subject::Target, Reading::HttpRequestsTotal, 900.0, 11.0),
            ],
            1_700_000_000.0,
        ));
        assert_eq!(
            line(&text, "container_cpu_usage_seconds_total{container="),
            r#"container_cpu_usage_seconds_total{container="target"} 2 1700000011250"#
        );
        assert_eq!(
            line(&text, "container_memory_working_set_bytes{"),
            r#"container_memory_working_set_bytes{container="target"} 2000000000 1700000011500"#
        );
        assert_eq!(
            line(&text, "node_cpu_seconds_total{"),
            r#"node_cpu_seconds_total{mode="busy"} 7 1700000011000"#
        );
        assert_eq!(
            line(&text, r#"container_cpu_usage_seconds_total{id="#),
            r#"container_cpu_usage_seconds_total{id="/"} 6.5 1700000011000"#
        );
        assert!(!text.contains("http_requests_total"));
    }

    #[test]
    fn a_working_set_needs_both_readings_and_is_never_negative() {
        let usage = sample(Subject::Agent, Reading::MemoryUsageBytes, 5.0, 1.0);
        let inactive = sample(Subject::Agent, Reading::MemoryInactiveFileBytes, 9.0, 1.0);
        let alone = readings(std::slice::from_ref(&usage), 0.0);
        assert!(
            alone
                .iter()
                .all(|e| e.family != Family::MemoryWorkingSetBytes)
        );
        let both = readings(&[usage, inactive], 0.0);
        let working_set = both
            .iter()
            .find(|e| e.family == Family::MemoryWorkingSetBytes)
            .unwrap();
        assert_eq!(working_set.value, 0.0);
    }

    #[test]
    fn requests_are_there_for_pushing() {
        let samples = [
            sample(Subject::Target, Reading::HttpRequestsTotal, 10.0, 1.0),
            sample(Subject::Target, Reading::HttpRequestsTotal, 20.0, 2.0),
        ];
        let text = render(&requests(&samples, 100.0, "/objects"));
        assert!(text.contains("http_requests_total{route=\"/objects\"} 10 101000\n"));
        assert!(text.contains("http_requests_total{route=\"/objects\"} 20 102000\n"));
    }
}
