//! What is read at one moment: a line of JSON of `/readings`.
//!
//! Counters stay as the kernel gives them. Differences are divided by the time
//! between the readings' own `monotonic` times, which no adjustment of the
//! wall clock moves; `unix` is there to place them beside other programs'.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::observer::Readings;
use crate::sample::Reading;

/// Values by name.
pub type Values = BTreeMap<Reading, f64>;

/// Values by name, from a list of them.
pub fn values(readings: Readings) -> Values {
    readings.into_iter().collect()
}

/// The observer and its clock: the answer of `/about`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Version and commit.
    pub version: String,
    /// The machine's boot (`/proc/sys/kernel/random/boot_id`). Nodes that share
    /// it are one machine, and one machine's CPU time.
    pub boot_id: String,
    /// `cgroup v1` or `cgroup v2`: where CPU and memory come from.
    pub cgroups: String,
    /// CPUs of the machine.
    pub cpus: u32,
    /// Time between two readings, in seconds.
    pub period_seconds: f64,
    /// Now, in seconds since the epoch.
    pub unix: f64,
    /// Now, in seconds of `CLOCK_MONOTONIC`.
    pub monotonic: f64,
}

/// Everything that was read at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeReading {
    /// When the reading began, in seconds since the epoch.
    pub unix: f64,
    /// When `/proc/stat` was read, in seconds of `CLOCK_MONOTONIC`.
    pub monotonic: f64,
    /// Counters of the whole node.
    pub node: Values,
    /// Its pods that were asked for, by UID in ascending order.
    pub pods: Vec<PodReading>,
    /// Pods that found no room in this reading.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: usize,
}

/// One pod's control group: all its containers and the sandbox together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodReading {
    /// Its UID; a static pod's is the hash of its manifest.
    pub uid: String,
    /// Its namespace and name, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// See `namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When its CPU counter was read, in seconds of `CLOCK_MONOTONIC`.
    pub monotonic: f64,
    /// Its counters.
    pub values: Values,
    /// Its containers, the sandbox's pause container among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerReading>,
}

/// One container's control group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerReading {
    /// Its id, as the pod's `containerStatuses[].containerID` has it behind `://`.
    pub id: String,
    /// When its CPU counter was read, in seconds of `CLOCK_MONOTONIC`.
    pub monotonic: f64,
    /// Its counters.
    pub values: Values,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back_as_it_was() {
        let reading = NodeReading {
            unix: 1_700_000_000.125,
            monotonic: 90_000.000_000_001,
            node: values(vec![(Reading::NodeCpuBusySecondsTotal, 0.1 + 0.2)]),
            pods: vec![PodReading {
                uid: "0e1f".into(),
                namespace: Some("bench".into()),
                name: Some("target-0".into()),
                monotonic: 90_000.000_1,
                values: values(vec![(Reading::CpuUsageSecondsTotal, 1.5e-9)]),
                containers: vec![ContainerReading {
                    id: "ab".into(),
                    monotonic: 90_000.000_2,
                    values: Values::new(),
                }],
            }],
            left_out: 0,
        };
        let line = serde_json::to_string(&reading).unwrap();
        assert!(!line.contains('\n') && !line.contains("left_out"), "{line}");
        assert!(
            line.contains(r#""cpu_usage_seconds_total":1.5e-9"#),
            "{line}"
        );
        let back: NodeReading = serde_json::from_str(&line).unwrap();
        assert_eq!(back, reading);
    }
}
