//! The latest reading as Prometheus text, under cAdvisor's names.
//!
//! One line a pod, without a `container` label, as cAdvisor has a pod's own
//! group; the scrape's `job` tells the two apart.

use super::NodeReading;
use crate::exporter::{Exposed, Family, render};
use crate::sample::Reading;

/// The text of `/metrics`.
pub fn text(reading: &NodeReading) -> String {
    // Readings carry the monotonic clock; scrapers want the wall's.
    let unix_ms =
        |monotonic: f64| ((reading.unix + (monotonic - reading.monotonic)) * 1e3).round() as i64;
    let mut exposed = Vec::new();
    for pod in &reading.pods {
        let mut labels = Vec::new();
        labels.extend(pod.namespace.clone().map(|name| ("namespace", name)));
        labels.extend(pod.name.clone().map(|name| ("pod", name)));
        labels.push(("pod_uid", pod.uid.clone()));
        let mut show = |family, value| {
            exposed.push(Exposed {
                family,
                labels: labels.clone(),
                value,
                unix_ms: unix_ms(pod.monotonic),
            });
        };
        for (reading, &value) in &pod.values {
            match reading {
                Reading::CpuUsageSecondsTotal => show(Family::CpuUsageSecondsTotal, value),
                Reading::CpuThrottledSecondsTotal => show(Family::CpuThrottledSecondsTotal, value),
                Reading::MemoryUsageBytes => show(Family::MemoryUsageBytes, value),
                Reading::MemoryInactiveFileBytes => show(Family::MemoryInactiveFileBytes, value),
                Reading::MemoryPeakBytes => show(Family::MemoryMaxUsageBytes, value),
                Reading::OomKillsTotal => show(Family::OomEventsTotal, value),
                _ => {}
            }
        }
        let memory = |reading| pod.values.get(&reading);
        if let (Some(usage), Some(inactive)) = (
            memory(Reading::MemoryUsageBytes),
            memory(Reading::MemoryInactiveFileBytes),
        ) {
            show(Family::MemoryWorkingSetBytes, (usage - inactive).max(0.0));
        }
    }
    for (name, &value) in &reading.node {
        let (family, labels) = match name {
            Reading::NodeCpuBusySecondsTotal => (Family::NodeCpuSecondsTotal, Some("busy")),
            Reading::NodeCpuIdleSecondsTotal => (Family::NodeCpuSecondsTotal, Some("idle")),
            Reading::NodeCpuStealSecondsTotal => (Family::NodeCpuSecondsTotal, Some("steal")),
            Reading::NodeCpuSoftirqSecondsTotal => (Family::NodeSoftirqSecondsTotal, None),
            _ => continue,
        };
        exposed.push(Exposed {
            family,
            labels: labels
                .map(|mode| ("mode", mode.to_owned()))
                .into_iter()
                .collect(),
            value,
            unix_ms: unix_ms(reading.monotonic),
        });
    }
    render(&exposed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::PodReading;
    use crate::observe::reading::{Values, values};

    #[test]
    fn pods_and_the_node_with_the_time_of_each_reading() {
        let text = text(&NodeReading {
            unix: 1_700_000_000.0,
            monotonic: 50.0,
            node: values(vec![
                (Reading::NodeCpuBusySecondsTotal, 7.5),
                (Reading::NodeCpuSoftirqSecondsTotal, 0.5),
            ]),
            pods: vec![
                PodReading {
                    uid: "u1".into(),
                    namespace: Some("bench".into()),
                    name: Some("target-0".into()),
                    monotonic: 49.875,
                    values: values(vec![
                        (Reading::CpuUsageSecondsTotal, 2.0),
                        (Reading::MemoryUsageBytes, 3e9),
                        (Reading::MemoryInactiveFileBytes, 1e9),
                    ]),
                    containers: Vec::new(),
                },
                PodReading {
                    uid: "u2".into(),
                    namespace: None,
                    name: None,
                    monotonic: 49.9,
                    values: Values::new(),
                    containers: Vec::new(),
                },
            ],
            left_out: 0,
        });
        let labels = r#"{namespace="bench",pod="target-0",pod_uid="u1"}"#;
        for line in [
            format!("container_cpu_usage_seconds_total{labels} 2 1699999999875"),
            format!("container_memory_working_set_bytes{labels} 2000000000 1699999999875"),
            r#"node_cpu_seconds_total{mode="busy"} 7.5 1700000000000"#.into(),
            "flora_bench_node_softirq_seconds_total 0.5 1700000000000".into(),
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
        assert!(!text.contains("u2"), "{text}");
    }
}
