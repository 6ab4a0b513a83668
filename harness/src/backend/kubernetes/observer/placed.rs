//! Readings of several nodes, each with its own clock → samples of one trial. Pure.
//!
//! The window's edges are readings, not moments between them: the first at or
//! after its opening and the last at or before its close, so that nothing of
//! the time without load is counted. What is left of it is up to a second at
//! either end, and under a constant rate that costs precision, not truth.

use std::collections::BTreeMap;

use crate::backend::kubernetes::{RolePod, Scene};
use crate::observe::reading::Values;
use crate::observe::{NodeReading, PodReading};
use crate::sample::{Edge, Phase, Sample, Subject};

/// What a node's observer has read.
#[derive(Clone, Debug)]
pub struct NodeLog {
    /// The observer's own pod, whose cost is the harness's.
    pub observer: RolePod,
    /// The machine's boot: nodes that share it are one machine.
    pub boot_id: String,
    /// The run's clock when the node's monotonic clock stood at 0, in seconds.
    pub offset: f64,
    /// Its readings, oldest first.
    pub readings: Vec<NodeReading>,
}

/// The samples of a trial, in the run's time. `window` is in the run's time too.
///
/// # Errors
/// In words, when a pod or the target's node has not two readings in the window.
pub fn samples(
    scene: &Scene,
    window: (f64, f64),
    logs: &BTreeMap<String, NodeLog>,
) -> Result<Vec<Sample>, String> {
    let log = |node: &str| {
        logs.get(node)
            .ok_or_else(|| format!("node {node} has no observer"))
    };
    let here = &log(&scene.node)?.boot_id;
    let mut samples = node(scene, window, log(&scene.node)?)?;
    let observers: Vec<RolePod> = logs
        .values()
        .filter(|log| log.boot_id == *here)
        .map(|log| log.observer.clone())
        .collect();
    for subject in Subject::ROLES {
        let own = scene.pods.iter().filter(|pod| pod.subject == subject);
        let mut pods: Vec<&RolePod> = own.collect();
        if subject == Subject::Harness {
            pods.extend(&observers);
        }
        let Some(first) = pods.first() else {
            continue;
        };
        // What the experiment itself costs elsewhere may stay unknown.
        if !Subject::RESULTS.contains(&subject) && !logs.contains_key(&first.node) {
            log::warn!(
                "node {} has no observer: the {subject}'s cost is not known",
                first.node
            );
            continue;
        }
        let machine = match log(&first.node)?.boot_id == *here {
            true => None,
            false => Some(first.node.clone()),
        };
        let times = times(log(&first.node)?, window, |reading| {
            pods.iter()
                .filter(|pod| pod.node == first.node)
                .all(|pod| of(reading, pod, &scene.pods).is_some())
        });
        let [open, .., close] = times[..] else {
            return Err(too_few(
                &format!("pod {} ({subject})", first.name),
                window,
                &times,
            ));
        };
        for time in times {
            let edge = match time {
                _ if time == open => Some(Edge::Open),
                _ if time == close => Some(Edge::Close),
                _ => None,
            };
            let mut sum = Values::new();
            let mut taken = 0.0;
            for pod in &pods {
                let (when, values) =
                    at(log(&pod.node)?, pod, &scene.pods, time).ok_or_else(|| {
                        format!(
                            "pod {} on {} was not read at the window's edges",
                            pod.name, pod.node
                        )
                    })?;
                taken += when / pods.len() as f64;
                for (reading, value) in values {
                    *sum.entry(reading).or_default() += value;
                }
            }
            samples.extend(sum.into_iter().map(|(reading, value)| Sample {
                edge,
                machine: machine.clone(),
                ..Sample::new(scene.trial, Phase::Measure, subject, reading, value, taken)
            }));
        }
    }
    Ok(samples)
}

/// The samples of the target's node.
fn node(scene: &Scene, window: (f64, f64), log: &NodeLog) -> Result<Vec<Sample>, String> {
    let times = times(log, window, |_| true);
    let [open, .., close] = times[..] else {
        return Err(too_few(&format!("node {}", scene.node), window, &times));
    };
    let in_window = log
        .readings
        .iter()
        .map(|reading| (reading.monotonic + log.offset, reading))
        .filter(|(time, _)| (open..=close).contains(time));
    Ok(in_window
        .flat_map(|(time, reading)| {
            let edge = match time {
                _ if time == open => Some(Edge::Open),
                _ if time == close => Some(Edge::Close),
                _ => None,
            };
            let trial = scene.trial;
            reading.node.iter().map(move |(&reading, &value)| Sample {
                edge,
                ..Sample::new(trial, Phase::Measure, Subject::Node, reading, value, time)
            })
        })
        .collect())
}

/// When a node was read in the window, as far as `complete` holds of the reading.
fn times(
    log: &NodeLog,
    (open, close): (f64, f64),
    complete: impl Fn(&NodeReading) -> bool,
) -> Vec<f64> {
    let readings = log.readings.iter().filter(|reading| complete(reading));
    let mut times: Vec<f64> = readings
        .map(|reading| reading.monotonic + log.offset)
        .filter(|time| (open..=close).contains(time))
        .collect();
    times.dedup();
    times
}

/// What a pod's counters stood at, and when: at the reading of this moment, or
/// between the two beside it where another node's readings set the moment.
fn at(log: &NodeLog, pod: &RolePod, all: &[RolePod], time: f64) -> Option<(f64, Values)> {
    let read = || {
        let readings = log.readings.iter();
        readings.filter_map(|reading| {
            let (monotonic, values) = of(reading, pod, all)?;
            Some((
                reading.monotonic + log.offset,
                monotonic + log.offset,
                values,
            ))
        })
    };
    if let Some((_, taken, values)) = read().find(|(moment, ..)| *moment == time) {
        return Some((taken, values));
    }
    let (_, before, low) = read().take_while(|(_, taken, _)| *taken <= time).last()?;
    let (_, after, high) = read().find(|(_, taken, _)| *taken > time)?;
    let part = (time - before) / (after - before);
    let values = low.into_iter().filter_map(|(reading, value)| {
        let next = high.get(&reading)?;
        Some((reading, value + (next - value) * part))
    });
    Some((time, values.collect()))
}

/// A pod's counters in a reading. Where its containers are several roles', those
/// of its own alone.
fn of(reading: &NodeReading, pod: &RolePod, all: &[RolePod]) -> Option<(f64, Values)> {
    let found: &PodReading = reading.pods.iter().find(|found| found.uid == pod.uid)?;
    let shared = all
        .iter()
        .any(|other| other.uid == pod.uid && other.subject != pod.subject);
    if !shared {
        return Some((found.monotonic, found.values.clone()));
    }
    let mut sum = Values::new();
    let mut monotonic = found.monotonic;
    for (_, id) in &pod.containers {
        let container = found
            .containers
            .iter()
            .find(|container| container.id == *id)?;
        monotonic = container.monotonic;
        for (&reading, &value) in &container.values {
            *sum.entry(reading).or_default() += value;
        }
    }
    Some((monotonic, sum))
}

fn too_few(what: &str, (open, close): (f64, f64), times: &[f64]) -> String {
    format!(
        "{what} has {} reading{} in the window of {:.1} s, and its edges need 2; measure for longer, or see whether the pod ran all the time",
        times.len(),
        if times.len() == 1 { "" } else { "s" },
        close - open
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::kubernetes::Window;
    use crate::observe::ContainerReading;
    use crate::observe::reading::values;
    use crate::sample::Reading;

    fn pod(subject: Subject, uid: &str, node: &str) -> RolePod {
        RolePod {
            subject,
            namespace: "bench".into(),
            name: format!("{subject}-{uid}"),
            uid: uid.into(),
            node: node.into(),
            containers: Vec::new(),
        }
    }

    fn scene(pods: Vec<RolePod>) -> Scene {
        Scene {
            trial: 3,
            arm: "flora".into(),
            node: "n1".into(),
            pods,
            window: Window {
                open_unix: 0.0,
                close_unix: 0.0,
            },
        }
    }

    /// A reading a second from `first` on, in a clock that stood at 0 when the
    /// run's stood at `offset`; each pod used so much a second, from 0 at the
    /// clock's 0 on.
    fn log(node: &str, boot: &str, offset: f64, first: f64, pods: &[(&str, f64)]) -> NodeLog {
        let readings = (0..12).map(|n| {
            let monotonic = first + f64::from(n);
            let read = |(n, (uid, rate)): (usize, &(&str, f64))| {
                let taken = monotonic - 0.002 * (n + 1) as f64;
                PodReading {
                    uid: (*uid).into(),
                    namespace: None,
                    name: None,
                    monotonic: taken,
                    values: values(vec![
                        (Reading::CpuUsageSecondsTotal, rate * taken),
                        (Reading::MemoryUsageBytes, 1e6),
                    ]),
                    containers: Vec::new(),
                }
            };
            NodeReading {
                unix: 0.0,
                monotonic,
                node: values(vec![
                    (Reading::NodeCpus, 2.0),
                    (Reading::NodeCpuIdleSecondsTotal, monotonic),
                ]),
                pods: pods.iter().enumerate().map(read).collect(),
                left_out: 0,
            }
        });
        NodeLog {
            observer: pod(Subject::Harness, &format!("observer-{node}"), node),
            boot_id: boot.into(),
            offset,
            readings: readings.collect(),
        }
    }

    /// CPU seconds per second of the reading's own clock between the edges.
    fn rate(samples: &[Sample], subject: Subject) -> f64 {
        let at = |edge| {
            let mut own = samples.iter().filter(|sample| {
                sample.subject == subject
                    && sample.reading == Reading::CpuUsageSecondsTotal
                    && sample.edge == Some(edge)
            });
            let found = own.next().unwrap_or_else(|| panic!("{subject}"));
            assert!(own.next().is_none());
            found
        };
        let (open, close) = (at(Edge::Open), at(Edge::Close));
        (close.value - open.value) / (close.time - open.time)
    }

    #[test]
    fn edges_are_the_first_and_the_last_reading_inside_the_window() {
        let scene = scene(vec![
            pod(Subject::Target, "t", "n1"),
            pod(Subject::Load, "l", "n2"),
        ]);
        let logs = BTreeMap::from([
            // The clocks of the two nodes have nothing in common.
            (
                "n1".into(),
                log(
                    "n1",
                    "a",
                    -1000.0,
                    1100.3,
                    &[("t", 0.25), ("observer-n1", 0.001)],
                ),
            ),
            (
                "n2".into(),
                log("n2", "b", 50.0, 50.8, &[("l", 0.5), ("observer-n2", 0.001)]),
            ),
        ]);
        // In the run's time n1 is read at 100.3, 101.3, … and n2 at 100.8, 101.8, …
        let samples = samples(&scene, (102.0, 108.0), &logs).unwrap();
        let of = |subject| {
            samples
                .iter()
                .filter(move |sample| sample.subject == subject)
        };
        let node: Vec<f64> = of(Subject::Node)
            .filter(|sample| sample.reading == Reading::NodeCpuIdleSecondsTotal)
            .map(|sample| sample.time)
            .collect();
        assert_eq!(node.len(), 6);
        assert!(
            (node[0] - 102.3).abs() < 1e-9 && (node[5] - 107.3).abs() < 1e-9,
            "{node:?}"
        );
        assert!((rate(&samples, Subject::Target) - 0.25).abs() < 1e-9);
        assert!((rate(&samples, Subject::Load) - 0.5).abs() < 1e-9);
        assert!((rate(&samples, Subject::Harness) - 0.001).abs() < 1e-9);
        // Another machine's CPU time is not the target's machine's.
        assert!(of(Subject::Target).all(|sample| sample.machine.is_none()));
        assert!(of(Subject::Load).all(|sample| sample.machine.as_deref() == Some("n2")));
        assert!(samples.iter().all(|sample| sample.trial == 3));
        let inside = |sample: &Sample| (101.99..=108.0).contains(&sample.time);
        assert!(samples.iter().all(inside));
    }

    #[test]
    fn nodes_of_one_machine_share_its_ledger() {
        let scene = scene(vec![
            pod(Subject::Target, "t", "n1"),
            pod(Subject::Agent, "a1", "n1"),
            pod(Subject::Agent, "a2", "n2"),
            pod(Subject::Load, "l", "n2"),
        ]);
        let one = &[("t", 0.25), ("a1", 0.01), ("observer-n1", 0.001)];
        let two = &[("a2", 0.03), ("l", 0.5), ("observer-n2", 0.002)];
        let logs = BTreeMap::from([
            ("n1".into(), log("n1", "a", 0.0, 100.3, one)),
            ("n2".into(), log("n2", "a", 0.0, 100.8, two)),
        ]);
        let samples = samples(&scene, (102.0, 108.0), &logs).unwrap();
        assert!(samples.iter().all(|sample| sample.machine.is_none()));
        // Sums over nodes are taken at one moment.
        assert!((rate(&samples, Subject::Agent) - 0.04).abs() < 1e-9);
        assert!((rate(&samples, Subject::Harness) - 0.003).abs() < 1e-9);
    }

    #[test]
    fn containers_of_one_pod_may_be_several_roles() {
        let shared = |subject, id: &str| RolePod {
            containers: vec![("c".into(), id.into())],
            ..pod(subject, "t", "n1")
        };
        let scene = scene(vec![
            shared(Subject::Target, "app"),
            shared(Subject::Agent, "sidecar"),
        ]);
        let mut log = log("n1", "a", 0.0, 100.0, &[("t", 0.5), ("observer-n1", 0.0)]);
        for reading in &mut log.readings {
            let taken = reading.monotonic;
            let container = |id: &str, rate: f64| ContainerReading {
                id: id.into(),
                monotonic: taken,
                values: values(vec![(Reading::CpuUsageSecondsTotal, rate * taken)]),
            };
            reading.pods[0].containers = vec![container("app", 0.3), container("sidecar", 0.2)];
        }
        let logs = BTreeMap::from([("n1".into(), log)]);
        let samples = samples(&scene, (100.0, 110.0), &logs).unwrap();
        assert!((rate(&samples, Subject::Target) - 0.3).abs() < 1e-9);
        assert!((rate(&samples, Subject::Agent) - 0.2).abs() < 1e-9);
    }

    #[test]
    fn what_is_missing_is_named() {
        let logs = BTreeMap::from([(
            "n1".into(),
            log("n1", "a", 0.0, 100.0, &[("t", 0.5), ("observer-n1", 0.0)]),
        )]);
        let of = |pods, window| samples(&scene(pods), window, &logs).unwrap_err();
        let target = || pod(Subject::Target, "t", "n1");
        // A window that is shorter than the time between two readings.
        let error = of(vec![target()], (100.5, 101.5));
        assert!(
            error.contains("1 reading in the window of 1.0 s"),
            "{error}"
        );
        let error = of(
            vec![target(), pod(Subject::Agent, "gone", "n1")],
            (100.0, 110.0),
        );
        assert!(
            error.contains("agent-gone") && error.contains("0 readings"),
            "{error}"
        );
        let error = of(
            vec![target(), pod(Subject::Agent, "a", "n9")],
            (100.0, 110.0),
        );
        assert!(error.contains("node n9 has no observer"), "{error}");
        // The load driver's own cost is no result.
        let scene = scene(vec![target(), pod(Subject::Load, "l", "n9")]);
        assert!(samples(&scene, (100.0, 110.0), &logs).is_ok());
    }
}
