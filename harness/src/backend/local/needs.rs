//! What an agent needs of the machine, and what of that is missing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::cgroup::Hierarchies;
use crate::observer::{ebpf, kprobe};
use crate::program;
use crate::scenario::placeholder::Placeholder;
use crate::scenario::{Agent, Need, NeededProgram, Telemetry};

// From include/uapi/linux/capability.h.
const NET_ADMIN: u64 = 12;
const SYS_ADMIN: u64 = 21;
const PERFMON: u64 = 38;
const BPF: u64 = 39;

/// Everything that the agent needs and that is missing here, in sentences that
/// say what to do.
pub fn missing(agent: &Agent) -> Vec<String> {
    let mut missing = Vec::new();
    let in_the_target = matches!(agent.telemetry, Some(Telemetry::Intake(_)));
    if agent.processes.is_empty() && !in_the_target {
        missing.push("its agent runs in clusters alone; use --backend kubernetes".into());
    }
    if agent.uses(Placeholder::TargetCgroup) {
        missing.extend(group().err());
    }
    for need in &agent.needs {
        match need {
            Need::Ebpf => missing.extend(ebpf().err()),
            Need::Kprobes => missing.extend(kprobes().err()),
            Need::Program(needed) => missing.extend(program(needed).err()),
        }
    }
    missing
}

/// Whether groups can be made in the version 2 hierarchy, and where it is.
///
/// # Errors
/// With what is missing.
pub fn group() -> Result<String, String> {
    let Some((root, own)) = Hierarchies::discover().v2 else {
        return Err(
            "no control group hierarchy of version 2 is mounted; mount one beside version 1 with: \
             mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified"
                .into(),
        );
    };
    let writable = |path: &Path| access(path, AccessFlags::W_OK).is_ok();
    if writable(&own) || writable(&root) {
        return Ok(root.display().to_string());
    }
    Err(format!(
        "no right to make control groups in {}; run as root, or under `systemd-run --user --scope -p Delegate=yes`",
        root.display()
    ))
}

/// Whether this process may load eBPF programs and attach them to a control group.
///
/// # Errors
/// With what is missing.
pub fn ebpf() -> Result<String, String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let rights = rights(capabilities(&status))?;
    // Rights are not all: kernels are built without it, and locked down.
    match ebpf::smallest() {
        Ok(_) => Ok(rights.to_owned()),
        Err(error) => Err(format!(
            "the kernel refuses an eBPF program for a control group in spite of {rights} ({error}); it is built without it, locked down, or a container's seccomp profile forbids bpf()"
        )),
    }
}

/// Whether this process may probe functions of the kernel.
///
/// # Errors
/// With what is missing.
pub fn kprobes() -> Result<String, String> {
    match kprobe::smallest() {
        Ok(_) => Ok("functions of the kernel can be probed".into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!(
            "the kernel has no kprobes ({} is not there); use one that is built with CONFIG_KPROBE_EVENTS, as distributions' are",
            kprobe::TYPE
        )),
        Err(error) => Err(format!(
            "the kernel refuses a kprobe ({error}); run as root on a kernel that is not locked down"
        )),
    }
}

/// Where a program is that the user must have installed.
fn program(needed: &NeededProgram) -> Result<PathBuf, String> {
    program::on_path(&needed.name).ok_or_else(|| {
        let NeededProgram { name, install, .. } = needed;
        format!("the program `{name}` is not on PATH; {install}")
    })
}

fn rights(held: u64) -> Result<&'static str, String> {
    let has = |capability: u64| held & (1 << capability) != 0;
    if has(SYS_ADMIN) {
        return Ok("root's rights");
    }
    let lacking: Vec<&str> = [
        (BPF, "CAP_BPF"),
        (NET_ADMIN, "CAP_NET_ADMIN"),
        (PERFMON, "CAP_PERFMON"),
    ]
    .into_iter()
    .filter(|(capability, _)| !has(*capability))
    .map(|(_, name)| name)
    .collect();
    if lacking.is_empty() {
        return Ok("CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON");
    }
    Err(format!(
        "no right to load eBPF programs ({} missing); run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON",
        lacking.join(", ")
    ))
}

/// The effective capabilities, from the text of `/proc/self/status`.
fn capabilities(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_three_capabilities_will_do() {
        let status = |mask: u64| format!("Name:\tx\nCapEff:\t{mask:016x}\nCapBnd:\tffff\n");
        let held = |mask: u64| rights(capabilities(&status(mask)));
        assert!(held(1 << SYS_ADMIN).is_ok());
        assert!(held(1 << BPF | 1 << NET_ADMIN | 1 << PERFMON).is_ok());
        let lacking = held(1 << BPF).unwrap_err();
        assert!(
            lacking.contains("(CAP_NET_ADMIN, CAP_PERFMON missing)"),
            "{lacking}"
        );
        assert!(rights(capabilities("")).is_err());
    }
}
