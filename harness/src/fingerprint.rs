//! Everything that identifies where and with what a run was made.

use std::collections::BTreeMap;
use std::fs;

use nix::sched::sched_getaffinity;
use nix::unistd::Pid;
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
    /// Control-group hierarchies of the machine, in words.
    pub cgroups: String,
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

impl Machine {
    /// What tells this machine from others, as far as figures depend on it: a
    /// cost that was measured on another one can't be held against this one's.
    pub fn identity(&self) -> String {
        let virtualised = if self.virtualised { "virtual, " } else { "" };
        format!(
            "{} × {}, {virtualised}kernel {}",
            self.cpus,
            self.cpu_model,
            self.kernel.split(' ').next().unwrap_or_default()
        )
    }
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

/// This program: version, commit and kind of build.
pub fn harness() -> Program {
    Program {
        name: "flora-bench".into(),
        version: VERSION.into(),
        sha256: crate::program::sha256(crate::program::ITSELF.as_ref()).ok(),
        command: Some(
            if cfg!(debug_assertions) {
                "debug build"
            } else {
                "release build"
            }
            .into(),
        ),
    }
}

/// Version and commit, as `--version` prints them.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("FLORA_BENCH_COMMIT"),
    ")"
);

/// This machine, as far as it tells; `cpus` are those that the run may use.
pub fn machine(cpus: usize) -> Machine {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned());
    Machine {
        cpu_model: value(&cpuinfo, "model name", ':').unwrap_or_else(|| "unknown".into()),
        cpus,
        memory_bytes: value(&meminfo, "MemTotal", ':')
            .and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok())
            .unwrap_or_default()
            * 1024,
        kernel: format!(
            "{} {}",
            read("/proc/sys/kernel/osrelease").unwrap_or_default(),
            read("/proc/sys/kernel/version").unwrap_or_default()
        ),
        os: value(&os, "PRETTY_NAME", '=')
            .map(|name| name.trim_matches('"').to_owned())
            .unwrap_or_else(|| "unknown".into()),
        virtualised: value(&cpuinfo, "flags", ':')
            .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").ok(),
    }
}

/// The value behind the first `name` of a file of `name<separator>value` lines.
fn value(text: &str, name: &str, separator: char) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(separator)?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

/// CPUs that this process may use, ascending.
pub fn allowed_cpus() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0));
    let cpus: Vec<usize> = set
        .map(|set| {
            (0..nix::sched::CpuSet::count())
                .filter(|&cpu| set.is_set(cpu).unwrap_or(false))
                .collect()
        })
        .unwrap_or_default();
    if cpus.is_empty() { vec![0] } else { cpus }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_tells_something() {
        let machine = machine(allowed_cpus().len());
        assert!(machine.cpus >= 1);
        assert!(machine.memory_bytes > 0);
        assert!(!machine.kernel.trim().is_empty());
    }

    #[test]
    fn values_of_both_forms() {
        assert_eq!(
            value("model name\t: A B\n", "model name", ':').as_deref(),
            Some("A B")
        );
        assert_eq!(
            value("PRETTY_NAME=\"X\"\n", "PRETTY_NAME", '=').as_deref(),
            Some("\"X\"")
        );
        assert_eq!(value("", "x", ':'), None);
    }
}
