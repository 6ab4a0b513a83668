//! Everything that identifies where and with what a run was made.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// This is `fingerprint.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// flora-bench itself.
    pub harness: Program,
    /// The machine.
    pub machine: Machine,
    /// CPUs that each role was confined to, by role.
    pub cpu_sets: BTreeMap<String, Vec<usize>>,
    /// Where CPU and memory figures come from.
    pub accounting: Accounting,
    /// Every other program that took part.
    pub programs: Vec<Program>,
    /// SHA-256 of each scenario file, by scenario.
    pub scenario_files: BTreeMap<String, String>,
}

/// The machine that a run was made on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// CPU model, from `/proc/cpuinfo`.
    pub cpu_model: String,
    /// CPUs that this process may use.
    pub cpus: usize,
    /// Installed memory, in bytes.
    pub memory_bytes: u64,
    /// Kernel release and build, from `uname`.
    pub kernel: String,
    /// Distribution, from `/etc/os-release`.
    pub os: String,
    /// Hypervisor, if the CPU says that there is one.
    pub virtualised: bool,
    /// Frequency governor of CPU 0, where the machine shows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub governor: Option<String>,
}

/// Where CPU and memory figures come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Accounting {
    /// `cgroup v1`, `cgroup v2` or `processes`.
    pub cpu: String,
    /// `cgroup v1`, `cgroup v2` or `processes`.
    pub memory: String,
}

/// A program that took part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// The version that it says of itself.
    pub version: String,
    /// SHA-256 of the program's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// How it was called, or how it was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}
