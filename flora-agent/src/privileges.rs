//! What this process may do, and what to say when it is too little.

use std::fs;

/// Capabilities that are needed: number, name, what for. `CAP_SYS_ADMIN` includes the first two.
const NEEDED: [(u32, &str, &str); 3] = [
    (39, "CAP_BPF", "to load eBPF programs and make their maps"),
    (
        38,
        "CAP_PERFMON",
        "to load programs that read packets with arithmetic on addresses",
    ),
    (12, "CAP_NET_ADMIN", "to attach programs to control groups"),
];

const SYS_ADMIN: u32 = 21;

/// Capabilities in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Those of this process.
    pub fn current() -> Self {
        let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self::parse(&text).unwrap_or(Capabilities(0))
    }

    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok().map(Capabilities)
    }

    fn has(self, number: u32) -> bool {
        self.0 & 1 << number != 0
    }

    /// Those that are needed and not there, each with what it is for.
    pub fn missing(self) -> Vec<(&'static str, &'static str)> {
        NEEDED
            .iter()
            .filter(|(number, name, _)| {
                let included = *name != "CAP_NET_ADMIN" && self.has(SYS_ADMIN);
                !self.has(*number) && !included
            })
            .map(|(_, name, purpose)| (*name, *purpose))
            .collect()
    }
}

/// Why the kernel may have refused `bpf()`.
pub fn refusal() -> String {
    let missing = Capabilities::current().missing();
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|(name, _)| *name).collect();
        return format!(
            "this process lacks {}; run it as root, or give it CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN",
            names.join(", ")
        );
    }
    if let Some(mode) = lockdown().filter(|mode| mode != "none") {
        return format!("all capabilities are here, but the kernel is locked down ({mode})");
    }
    if !in_initial_user_namespace() {
        return "its capabilities hold only in a user namespace; the kernel asks for those of the machine"
            .to_owned();
    }
    "all capabilities are here, so something else forbids it: a seccomp filter of the container, \
     a security module, or a locked-down kernel"
        .to_owned()
}

/// The mode that `/sys/kernel/security/lockdown` marks.
pub fn lockdown() -> Option<String> {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    marked(&text).map(str::to_owned)
}

fn marked(text: &str) -> Option<&str> {
    text.split_once('[')?
        .1
        .split_once(']')
        .map(|(mode, _)| mode)
}

/// Whether user ids here are those of the machine.
pub fn in_initial_user_namespace() -> bool {
    let text = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    text.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(mask: &str) -> Vec<&'static str> {
        let text = format!("Name:\tx\nCapPrm:\t0\nCapEff:\t{mask}\n");
        let capabilities = Capabilities::parse(&text).unwrap();
        capabilities
            .missing()
            .iter()
            .map(|(name, _)| *name)
            .collect()
    }

    #[test]
    fn what_is_missing() {
        assert_eq!(missing("000001ffffffffff"), [""; 0]);
        assert_eq!(missing("0"), ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"]);
        assert_eq!(missing("0000000000200000"), ["CAP_NET_ADMIN"]);
        assert_eq!(missing("000000c000000000"), ["CAP_NET_ADMIN"]);
    }

    #[test]
    fn the_mode_in_brackets() {
        assert_eq!(
            marked("none [integrity] confidentiality\n"),
            Some("integrity")
        );
        assert_eq!(marked("nothing"), None);
    }
}
