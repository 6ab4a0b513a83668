//! Which process made what stands in the cluster, and whether it still lives.
//!
//! The same idea as [`crate::owner`], for things that other machines see too:
//! the host's name stands in front, and of another host's process only its
//! leases tell whether it lives.

use crate::owner::Owner;

/// Longest part of a host's name that is kept: a label's value has 63 characters.
const HOST_MAX: usize = 30;

/// This process, as a label's value.
pub fn current() -> String {
    format!("{}-{}", host(), Owner::current())
}

/// Whether that process is known to have ended. Of another host's nothing is known.
pub fn is_dead(owner: &str) -> bool {
    process(owner).is_some_and(|process| !process.is_alive())
}

/// Whether that process is one of this host's and runs.
pub fn is_alive_here(owner: &str) -> bool {
    process(owner).is_some_and(|process| process.is_alive())
}

/// The process, where it is one of this host's.
fn process(owner: &str) -> Option<Owner> {
    Owner::parse(owner.strip_prefix(&host())?.strip_prefix('-')?)
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
    if name.is_empty() { "host" } else { name }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_of_this_host_are_known() {
        let own = current();
        assert!(own.len() <= 63 && is_alive_here(&own) && !is_dead(&own));
        let (rest, start) = own.rsplit_once('-').unwrap();
        let start: u64 = start.parse().unwrap();
        assert!(is_dead(&format!("{rest}-{}", start + 1)));
        assert!(!is_dead("elsewhere-1-2") && !is_alive_here("elsewhere-1-2"));
    }
}
