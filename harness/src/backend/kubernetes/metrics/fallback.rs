//! A trial's samples from cAdvisor's series, where no node observer may run. Pure.
//!
//! Edges are the first and the last sample of each series in the window, with
//! their own timestamps. What the ledger needs of the node comes from the
//! kubelet's `node_cpu_usage_seconds_total`: the machine's idle time is what is
//! left of the CPUs' time, and nothing is known of steal, which counts as none.

use crate::backend::kubernetes::{RolePod, Scene};
use crate::sample::{Edge, Phase, Reading, Sample, Subject};
use crate::victoria_metrics::{Point, Series};

/// cAdvisor's name of each reading of a pod. The working set is told by itself,
/// and the inactive part is what is missing of the usage.
pub const PODS: [(&str, Reading); 5] = [
    (
        "container_cpu_usage_seconds_total",
        Reading::CpuUsageSecondsTotal,
    ),
    (
        "container_cpu_cfs_throttled_seconds_total",
        Reading::CpuThrottledSecondsTotal,
    ),
    ("container_memory_usage_bytes", Reading::MemoryUsageBytes),
    (
        "container_memory_working_set_bytes",
        Reading::MemoryInactiveFileBytes,
    ),
    ("container_memory_max_usage_bytes", Reading::MemoryPeakBytes),
];

const NODE_CPU: &str = "node_cpu_usage_seconds_total";
const NODE_CPUS: &str = "machine_cpu_cores";

/// Metrics of a node, and the job that scrapes each.
pub const NODES: [(&str, &str); 2] = [
    (NODE_CPU, super::scrape::RESOURCE),
    (NODE_CPUS, super::scrape::CADVISOR),
];

/// What VictoriaMetrics holds of a window.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Series of pods.
    pub pods: Vec<(RolePod, Reading, Vec<Series>)>,
    /// Series of the target's node, by metric.
    pub nodes: Vec<(&'static str, Vec<Series>)>,
}

/// The samples of a trial; `epoch` is when the run's clock stood at 0, in
/// seconds since the epoch.
///
/// # Errors
/// In words, when a CPU counter has fewer than two samples in the window.
pub fn samples(scene: &Scene, epoch: f64, held: &Held) -> Result<Vec<Sample>, String> {
    let mut samples = node(scene, epoch, held)?;
    for subject in Subject::ROLES {
        for (_, reading) in PODS {
            let own = held
                .pods
                .iter()
                .filter(|(pod, read, _)| pod.subject == subject && *read == reading);
            let mut all: Vec<(&RolePod, Vec<Point>)> = Vec::new();
            for (pod, _, series) in own {
                all.push((pod, points(series)));
            }
            if reading == Reading::CpuUsageSecondsTotal {
                for (pod, points) in &all {
                    if points.len() < 2 {
                        return Err(too_few(&format!("pod {}", pod.name), scene, points.len()));
                    }
                }
            }
            // A counter of throttled time, say, is there with a quota alone.
            all.retain(|(_, points)| points.len() >= 2);
            let Some((first, _)) = all.first() else {
                continue;
            };
            let machine = (first.node != scene.node).then(|| first.node.clone());
            let mut summed = sum(&all
                .iter()
                .map(|(_, points)| &points[..])
                .collect::<Vec<_>>());
            if reading == Reading::MemoryInactiveFileBytes {
                let usage = samples.iter().filter(|sample| {
                    sample.subject == subject && sample.reading == Reading::MemoryUsageBytes
                });
                let usage: Vec<Point> = usage
                    .map(|sample| Point {
                        time: sample.time + epoch,
                        value: sample.value,
                    })
                    .collect();
                for point in &mut summed {
                    let used = at(&usage, point.time).unwrap_or(point.value);
                    point.value = (used - point.value).max(0.0);
                }
            }
            samples.extend(
                edged(scene, epoch, subject, reading, &summed).map(|sample| Sample {
                    machine: machine.clone(),
                    ..sample
                }),
            );
        }
    }
    Ok(samples)
}

fn node(scene: &Scene, epoch: f64, held: &Held) -> Result<Vec<Sample>, String> {
    let of = |metric| {
        let mut nodes = held.nodes.iter().filter(|(name, _)| *name == metric);
        nodes
            .next()
            .map(|(_, series)| points(series))
            .unwrap_or_default()
    };
    let (busy, cpus) = (of(NODE_CPU), of(NODE_CPUS));
    let (Some(first), Some(cpus), true) = (busy.first(), cpus.last(), busy.len() >= 2) else {
        return Err(too_few(&format!("node {}", scene.node), scene, busy.len()));
    };
    let map = |value: &dyn Fn(&Point) -> f64| -> Vec<Point> {
        let points = busy.iter();
        points
            .map(|point| Point {
                time: point.time,
                value: value(point),
            })
            .collect()
    };
    let idle = |point: &Point| {
        (cpus.value * (point.time - first.time) - (point.value - first.value)).max(0.0)
    };
    Ok([
        (Reading::NodeCpus, map(&|_| cpus.value)),
        (Reading::NodeCpuBusySecondsTotal, map(&|point| point.value)),
        (Reading::NodeCpuIdleSecondsTotal, map(&idle)),
        (Reading::NodeCpuStealSecondsTotal, map(&|_| 0.0)),
    ]
    .into_iter()
    .flat_map(|(reading, points)| {
        edged(scene, epoch, Subject::Node, reading, &points).collect::<Vec<_>>()
    })
    .collect())
}

/// All points of a metric in the order of time; doubles of one moment once.
fn points(series: &[Series]) -> Vec<Point> {
    let mut points: Vec<Point> = series.iter().flat_map(|one| one.points.clone()).collect();
    points.sort_by(|a, b| a.time.total_cmp(&b.time));
    points.dedup_by_key(|point| (point.time * 1e3).round() as i64);
    points
}

/// Several pods' series added up at the moments of the first, as far as all of
/// them reach.
fn sum(all: &[&[Point]]) -> Vec<Point> {
    let Some((first, others)) = all.split_first() else {
        return Vec::new();
    };
    first
        .iter()
        .filter_map(|point| {
            let more: Option<f64> = others.iter().map(|points| at(points, point.time)).sum();
            Some(Point {
                time: point.time,
                value: point.value + more?,
            })
        })
        .collect()
}

/// A series at one moment, between its points.
fn at(points: &[Point], time: f64) -> Option<f64> {
    let after = points.partition_point(|point| point.time < time);
    let high = points.get(after)?;
    if high.time == time {
        return Some(high.value);
    }
    let low = points.get(after.checked_sub(1)?)?;
    let part = (time - low.time) / (high.time - low.time);
    Some(low.value + (high.value - low.value) * part)
}

fn edged<'a>(
    scene: &'a Scene,
    epoch: f64,
    subject: Subject,
    reading: Reading,
    points: &'a [Point],
) -> impl Iterator<Item = Sample> + 'a {
    let last = points.len().saturating_sub(1);
    points.iter().enumerate().map(move |(n, point)| Sample {
        edge: match n {
            0 => Some(Edge::Open),
            n if n == last => Some(Edge::Close),
            _ => None,
        },
        ..Sample::new(
            scene.trial,
            Phase::Measure,
            subject,
            reading,
            point.value,
            point.time - epoch,
        )
    })
}

fn too_few(what: &str, scene: &Scene, found: usize) -> String {
    let seconds = scene.window.close_unix - scene.window.open_unix;
    format!(
        "cAdvisor has {found} sample{} of {what} in the window of {seconds:.1} s, and a difference needs 2: it reads every 10 to 15 s, so measure for a minute or more, or let the node observer run",
        if found == 1 { "" } else { "s" }
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::backend::kubernetes::Window;

    fn pod(subject: Subject, name: &str, node: &str) -> RolePod {
        RolePod {
            subject,
            namespace: "bench".into(),
            name: name.into(),
            uid: name.into(),
            node: node.into(),
            containers: Vec::new(),
        }
    }

    fn series(points: &[(f64, f64)]) -> Vec<Series> {
        let points = points.iter().map(|&(time, value)| Point { time, value });
        vec![Series {
            labels: BTreeMap::new(),
            points: points.collect(),
        }]
    }

    fn scene() -> Scene {
        Scene {
            trial: 1,
            arm: "baseline".into(),
            node: "n1".into(),
            pods: Vec::new(),
            window: Window {
                open_unix: 1000.0,
                close_unix: 1060.0,
            },
        }
    }

    fn held(target: &[(f64, f64)]) -> Held {
        Held {
            pods: vec![
                (
                    pod(Subject::Target, "t", "n1"),
                    Reading::CpuUsageSecondsTotal,
                    series(target),
                ),
                (
                    pod(Subject::Target, "t", "n1"),
                    Reading::MemoryUsageBytes,
                    series(&[(1003.0, 100.0), (1043.0, 140.0)]),
                ),
                (
                    pod(Subject::Target, "t", "n1"),
                    Reading::MemoryInactiveFileBytes,
                    series(&[(1003.0, 70.0), (1043.0, 90.0)]),
                ),
                (
                    pod(Subject::Agent, "a1", "n1"),
                    Reading::CpuUsageSecondsTotal,
                    series(&[(1000.0, 0.0), (1050.0, 5.0)]),
                ),
                (
                    pod(Subject::Agent, "a2", "n1"),
                    Reading::CpuUsageSecondsTotal,
                    series(&[(999.0, 1.0), (1060.0, 7.1)]),
                ),
                (
                    pod(Subject::Load, "l", "n2"),
                    Reading::CpuUsageSecondsTotal,
                    series(&[(1001.0, 0.0), (1031.0, 9.0)]),
                ),
            ],
            nodes: vec![
                (NODE_CPU, series(&[(1002.0, 50.0), (1052.0, 100.0)])),
                (NODE_CPUS, series(&[(1002.0, 4.0)])),
            ],
        }
    }

    #[test]
    fn hand_computed() {
        let held = held(&[(1003.0, 10.0), (1018.0, 13.0), (1043.0, 18.0)]);
        let samples = samples(&scene(), 900.0, &held).unwrap();
        let edge = |subject, reading, edge| {
            let found = samples.iter().find(|sample| {
                sample.subject == subject && sample.reading == reading && sample.edge == Some(edge)
            });
            let found = found.unwrap_or_else(|| panic!("{subject} {reading:?}"));
            (found.time, found.value)
        };
        let cpu = Reading::CpuUsageSecondsTotal;
        assert_eq!(edge(Subject::Target, cpu, Edge::Open), (103.0, 10.0));
        assert_eq!(edge(Subject::Target, cpu, Edge::Close), (143.0, 18.0));
        // Two pods at the moments of the first: 0.1 + 0.1 CPUs.
        let (open, close) = (
            edge(Subject::Agent, cpu, Edge::Open),
            edge(Subject::Agent, cpu, Edge::Close),
        );
        assert!(((close.1 - open.1) / (close.0 - open.0) - 0.2).abs() < 1e-9);
        let inactive = Reading::MemoryInactiveFileBytes;
        assert_eq!(edge(Subject::Target, inactive, Edge::Open).1, 30.0);
        assert_eq!(edge(Subject::Target, inactive, Edge::Close).1, 50.0);
        // 4 CPUs × 50 s − 50 s.
        let idle = Reading::NodeCpuIdleSecondsTotal;
        assert_eq!(edge(Subject::Node, idle, Edge::Close), (152.0, 150.0));
        let load = samples
            .iter()
            .find(|sample| sample.subject == Subject::Load);
        assert_eq!(load.unwrap().machine.as_deref(), Some("n2"));
    }

    #[test]
    fn a_window_that_is_too_short_says_so() {
        let error = samples(&scene(), 0.0, &held(&[(1003.0, 10.0)])).unwrap_err();
        assert!(
            error.contains("1 sample of pod t") && error.contains("a minute"),
            "{error}"
        );
    }
}
