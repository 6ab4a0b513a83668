//! Can the agent run here, and what is missing?

use std::fs;

use crate::cgroup::mount::Mount;
use crate::kubernetes::node::Node;
use crate::load::{self, LoadError, Settings};
use crate::privileges::{self, Capabilities};
use crate::watch::{Target, Watch};

/// The oldest kernel whose features are relied on.
const OLDEST: (u32, u32) = (5, 10);

/// Prints a line for everything that is needed; true when all of it is here.
pub fn run(settings: Settings, targets: &[Target], node: &Node) -> bool {
    let mut report = Report { possible: true };
    kernel(&mut report);
    match Mount::find() {
        Ok(mount) => report.good("cgroup2", format!("mounted at {}", mount.point.display())),
        Err(error) => report.bad("cgroup2", error.to_string()),
    }
    let missing = Capabilities::current().missing();
    if missing.is_empty() {
        report.good("capabilities", "CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN");
    }
    for (name, purpose) in missing {
        // Older set-ups get by without some of them; loading tells.
        report.note(
            "capabilities",
            format!("{name} is missing: it is needed {purpose}"),
        );
    }
    if let Some(mode) = privileges::lockdown() {
        report.note("lockdown", mode);
    }
    if let Some(value) = read("/proc/sys/kernel/unprivileged_bpf_disabled") {
        let text = format!("{value} (the agent has privileges, so this does not matter to it)");
        report.note("unprivileged_bpf_disabled", text);
    }
    if read("/proc/sys/net/core/bpf_jit_enable").as_deref() == Some("0") {
        report.note(
            "bpf_jit_enable",
            "0: programs are interpreted, which costs several times as much",
        );
    }
    names(&mut report, node);
    let copies = match load::load(settings, 1) {
        Ok(copies) => copies,
        Err(error @ LoadError::Refused(_)) => {
            report.bad("bpf()", format!("{}: {error}", privileges::refusal()));
            Vec::new()
        }
        Err(error) => {
            report.bad("bpf()", crate::error::text(&error));
            Vec::new()
        }
    };
    for (name, loaded) in copies.iter().flat_map(|copy| &copy.programs) {
        let verified = loaded
            .program
            .info()
            .map_or(0, |info| info.verified_instructions);
        report.good(
            &format!("program {name}"),
            format!(
                "{verified} instructions verified, loaded in {:.3} s of CPU time",
                loaded.load_time.as_secs_f64()
            ),
        );
    }
    if let Some(copy) = copies.first() {
        let bytes: u64 = copy.maps.values().filter_map(|map| map.memory()).sum();
        report.good("maps", format!("{} KiB", bytes / 1024));
    }
    if targets.is_empty() {
        report.note("attach", "not tried: no control group is given");
    } else if !copies.is_empty() {
        match Watch::start(targets.to_vec(), node.clone(), &copies) {
            Ok(_) => report.good("attach", "attached and detached again"),
            Err(error) => report.bad("attach", crate::error::text(&error)),
        }
    }
    report.possible
}

struct Report {
    possible: bool,
}

impl Report {
    fn good(&mut self, what: &str, text: impl std::fmt::Display) {
        println!("ok       {what}: {text}");
    }

    fn bad(&mut self, what: &str, text: impl std::fmt::Display) {
        self.possible = false;
        println!("MISSING  {what}: {text}");
    }

    fn note(&mut self, what: &str, text: impl std::fmt::Display) {
        println!("note     {what}: {text}");
    }
}

/// Where names of pods come from; without them, control groups stay.
fn names(report: &mut Report, node: &Node) {
    if let Some(path) = node.runtime_directory() {
        report.good("names of pods", path.display());
    } else if node.log_directories().is_dir() {
        let path = node.log_directories();
        report.note(
            "names of pods",
            format!(
                "only {} is there; containers and callers have none",
                path.display()
            ),
        );
    } else {
        report.note(
            "names of pods",
            "none: neither a kubelet's nor a runtime's directory is there (see --host-root)",
        );
    }
}

fn kernel(report: &mut Report) {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (major, minor) = OLDEST;
    match version(&release) {
        Some(version) if version < OLDEST => {
            report.bad("kernel", format!("{release} is older than {major}.{minor}"));
        }
        Some(_) => report.good("kernel", release),
        None => report.note("kernel", format!("{release:?} says no version")),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|character: char| !character.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(version("5.10-rc1"), Some((5, 10)));
        assert_eq!(version("x"), None);
        assert!(version("5.9.16").unwrap() < OLDEST);
    }
}
