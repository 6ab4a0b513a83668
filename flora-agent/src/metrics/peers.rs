//! Who called: the map of services, as far as this node shows it.

use std::collections::BTreeMap;
use std::mem::offset_of;
use std::net::Ipv6Addr;
use std::rc::Rc;

use flora_agent_common::layout::{Peer, PeerKey};

use super::scrape::ContainerLabels;
use super::text::label;
use crate::bpf::map::Entries;
use crate::kubernetes::Names;
use crate::kubernetes::callers::{Address, Callers};

/// A caller of a container.
#[derive(Debug)]
pub struct Caller {
    /// The container's number.
    pub container: u16,
    /// Connections on which a request was answered.
    pub connections: u64,
    /// Requests that were answered.
    pub requests: u64,
    address: Address,
    names: Option<Rc<Names>>,
}

impl Caller {
    /// Adds the caller to labels: its address, and its pod if it is one of this node.
    pub fn label(&self, labels: &mut String) {
        label(labels, "peer", &peer_text(self.address));
        if let Some(names) = &self.names {
            names.label_peer(labels);
        }
    }
}

/// The callers in the map. Those of containers with the same labels are one.
pub fn callers(
    peers: &Entries,
    pods: &Callers,
    containers: &BTreeMap<u16, ContainerLabels>,
) -> Vec<Caller> {
    let mut first: BTreeMap<&str, u16> = BTreeMap::new();
    for (number, labels) in containers {
        first.entry(&labels.series).or_insert(*number);
    }
    let mut sums: BTreeMap<(u16, Address), (u64, u64)> = BTreeMap::new();
    for (key, value) in peers.iter() {
        let Some((container, address)) = caller(key) else {
            continue;
        };
        let labels = containers.get(&container);
        let container = labels.map_or(0, |labels| first[labels.series.as_str()]);
        let sum = sums.entry((container, address)).or_default();
        sum.0 += number(value, offset_of!(Peer, connections));
        sum.1 += number(value, offset_of!(Peer, requests));
    }
    sums.into_iter()
        .map(|((container, address), (connections, requests))| Caller {
            container,
            connections,
            requests,
            address,
            names: pods.get(&address).cloned(),
        })
        .collect()
}

/// Container and address of a key.
pub fn caller(key: &[u8]) -> Option<(u16, Address)> {
    let at = offset_of!(PeerKey, container);
    let container = u32::from_ne_bytes(key.get(at..at + 4)?.try_into().ok()?);
    let at = offset_of!(PeerKey, address);
    Some((container as u16, key.get(at..at + 16)?.try_into().ok()?))
}

fn number(value: &[u8], at: usize) -> u64 {
    let bytes = value
        .get(at..at + 8)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_ne_bytes)
}

/// An address as people write it.
pub fn peer_text(address: Address) -> String {
    Ipv6Addr::from(address).to_canonical().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let four = std::net::Ipv4Addr::new(10, 0, 0, 7).to_ipv6_mapped();
        assert_eq!(peer_text(four.octets()), "10.0.0.7");
        assert_eq!(peer_text(Ipv6Addr::LOCALHOST.octets()), "::1");
    }

    fn entries(of: &[(u32, u8, u64, u64)]) -> Entries {
        let address = |last| std::net::Ipv4Addr::new(10, 0, 0, last).to_ipv6_mapped();
        Entries::example(of.iter().map(|(container, last, connections, requests)| {
            let mut key = address(*last).octets().to_vec();
            key.extend(container.to_ne_bytes());
            let mut value = connections.to_ne_bytes().to_vec();
            value.extend(requests.to_ne_bytes());
            (key, value)
        }))
    }

    #[test]
    fn a_container_that_was_started_anew_has_its_callers_once() {
        let labels = |text: &str| ContainerLabels {
            series: text.to_owned(),
            all: text.to_owned(),
        };
        let containers = [(1, labels("a")), (2, labels("b")), (3, labels("a"))].into();
        let peers = entries(&[(1, 7, 1, 10), (2, 7, 1, 5), (3, 7, 2, 20), (9, 8, 1, 1)]);
        let callers = callers(&peers, &Callers::default(), &containers);
        let found: Vec<_> = callers
            .iter()
            .map(|c| (c.container, c.connections, c.requests))
            .collect();
        assert_eq!(found, [(0, 1, 1), (1, 3, 30), (2, 1, 5)]);
        let mut text = String::new();
        callers[1].label(&mut text);
        assert_eq!(text, "peer=\"10.0.0.7\"");
    }
}
