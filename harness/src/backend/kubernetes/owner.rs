//! Which process made what stands in the cluster, and whether it still lives.
//!
//! The same idea as [`crate::owner`], for things that other machines see too:
//! the host's name stands in front, for people. Names repeat, in containers most
//! of all, so where the process is to be found is told by a hash of the machine's
//! boot and of its process ids' namespace; of a process elsewhere only its leases
//! tell whether it lives.

use sha2::{Digest, Sha256};

use crate::owner::Owner;

/// Longest part of a host's name that is kept: a label's value has 63 characters.
const HOST_MAX: usize = 30;
/// What stands for a host's name where nobody needs to know it.
const HIDDEN: &str = "host";

/// This process, as a label's value: `HOST-PLACE-PID-START`.
pub fn current() -> String {
    format!("{}-{}-{}", host(), place(), Owner::current())
}

/// The same owner without its host's name, for what is published.
pub fn hidden(owner: &str) -> String {
    let mut parts = owner.rsplitn(4, '-');
    match [parts.next(), parts.next(), parts.next()] {
        [Some(start), Some(pid), Some(place)] => format!("{HIDDEN}-{place}-{pid}-{start}"),
        _ => HIDDEN.to_owned(),
    }
}

/// Whether that process is known to have ended. Of one elsewhere nothing is known.
pub fn is_dead(owner: &str) -> bool {
    process(owner).is_some_and(|process| !process.is_alive())
}

/// Whether that process is to be seen from here, and runs.
pub fn is_alive_here(owner: &str) -> bool {
    process(owner).is_some_and(|process| process.is_alive())
}

/// The process, where this one would see it.
fn process(owner: &str) -> Option<Owner> {
    let (_, process) = owner.rsplit_once(&format!("-{}-", place()))?;
    Owner::parse(process)
}

/// Where process ids mean what they mean here: this boot of this machine, and
/// this namespace of process ids.
fn place() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let here = format!("{} {}", boot.trim(), namespace.display());
    crate::program::hex(&Sha256::digest(here.as_bytes())[..4])
}

/// This host's name in characters that a label takes.
fn host() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name: String = name
        .to_string_lossy()
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(HOST_MAX)
        .collect();
    let name = name.trim_matches('-');
    if name.is_empty() { HIDDEN } else { name }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_that_could_be_seen_are_known() {
        let own = current();
        assert!(own.len() <= 63 && is_alive_here(&own) && !is_dead(&own));
        let (rest, start) = own.rsplit_once('-').unwrap();
        let start: u64 = start.parse().unwrap();
        let ended = format!("{rest}-{}", start + 1);
        assert!(is_dead(&ended));
        // Another container's of the same name, whose process ids are not ours.
        let elsewhere = ended.replace(&place(), "00000000");
        assert_ne!(elsewhere, ended);
        assert!(!is_dead(&elsewhere) && !is_alive_here(&elsewhere));
        assert!(!is_dead("elsewhere-1-2") && !is_alive_here("elsewhere-1-2"));
    }

    #[test]
    fn what_is_published_names_no_host() {
        assert_eq!(hidden("my-laptop-0a1b2c3d-12-345"), "host-0a1b2c3d-12-345");
        assert_eq!(hidden("odd"), "host");
    }
}
