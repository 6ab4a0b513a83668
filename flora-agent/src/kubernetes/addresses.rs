//! Addresses of a network namespace, as `/proc/PID/net` shows them.
//!
//! IPv4: the routes to the host itself in `fib_trie`. IPv6: `if_inet6`. Both are
//! readable for everybody, where entering the namespace would take a privilege.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Bytes that are read of a file, at most: that of a node can have thousands of routes.
const LARGEST: u64 = 1024 * 1024;

/// Addresses of a namespace, at most.
const MOST: usize = 256;

/// The addresses that a process's network has, less those that mean the same in every network.
pub fn of_process(directory: &Path) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    if let Some(file) = open(&directory.join("net/fib_trie")) {
        ipv4(file, |address| found.push(address.into()));
    }
    if let Some(file) = open(&directory.join("net/if_inet6")) {
        ipv6(file, |address| found.push(address.into()));
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(MOST);
    found
}

fn open(path: &Path) -> Option<impl BufRead + use<>> {
    let file = File::open(path).ok()?;
    Some(BufReader::with_capacity(4096, file.take(LARGEST)))
}

/// A leaf's line has the address, the lines below it what leads there:
/// `|-- 10.78.0.2`, then `/32 host LOCAL`.
fn ipv4(mut text: impl BufRead, mut found: impl FnMut(Ipv4Addr)) {
    let mut leaf = None;
    let mut line = String::new();
    while text.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        let words = line.trim();
        if let Some(address) = words.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if words == "/32 host LOCAL"
            && let Some(address) = leaf
            && !address.is_loopback()
        {
            found(address);
        }
        line.clear();
    }
}

/// Address, interface, length of the prefix, scope, flags, name: all but the name in hexadecimal.
fn ipv6(mut text: impl BufRead, mut found: impl FnMut(Ipv6Addr)) {
    /// Scope of an address that is valid beyond the link.
    const GLOBAL: &str = "00";
    let mut line = String::new();
    while text.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|digits| digits.len() == 32);
        if let Some(Ok(address)) = address.map(|digits| u128::from_str_radix(digits, 16))
            && words.nth(2) == Some(GLOBAL)
        {
            found(address.into());
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIB: &str = include_str!("captured/fib_trie");
    const INET6: &str = include_str!("captured/if_inet6");

    fn four(text: &[u8]) -> Vec<Ipv4Addr> {
        let mut found = Vec::new();
        ipv4(text, |address| found.push(address));
        found
    }

    fn six(text: &[u8]) -> Vec<Ipv6Addr> {
        let mut found = Vec::new();
        ipv6(text, |address| found.push(address));
        found
    }

    #[test]
    fn addresses_of_a_pod() {
        // Once in the main table, once in the local one.
        assert_eq!(four(FIB.as_bytes()), [Ipv4Addr::new(10, 78, 0, 2); 2]);
        assert_eq!(six(INET6.as_bytes()), [Ipv6Addr::LOCALHOST; 0]);
        let text = format!("{INET6}fd000010024400010000000000000007 02 40 00 80     eth0\n");
        assert_eq!(
            six(text.as_bytes()),
            ["fd00:10:244:1::7".parse::<Ipv6Addr>().unwrap()]
        );
    }

    #[test]
    fn this_process_has_no_loopback_address() {
        let found = of_process(Path::new("/proc/self"));
        assert!(
            found.iter().all(|address| !address.is_loopback()),
            "{found:?}"
        );
        assert!(of_process(Path::new("/nowhere")).is_empty());
    }

    proptest! {
        #[test]
        fn whatever_is_read(text: Vec<u8>) {
            four(&text);
            six(&text);
        }
    }
}
