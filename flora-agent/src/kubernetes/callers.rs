//! The pod that an address belongs to, for pods of this node.
//!
//! A pod's addresses are those of its network, which its sandbox (the pause
//! container) holds. A pod on the node's own network has the node's addresses:
//! many pods and the node itself call from there, so none is named.
//!
//! An address is looked for when somebody reads the metrics and it is new,
//! never when a request comes.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Names;
use super::node::Node;

/// Looks at the node are at least this far apart.
const APART: Duration = Duration::from_secs(5);

/// Addresses that are known, at most.
const MOST: usize = 4096;

/// An address as the kernel programs write it: IPv4 as IPv4-mapped IPv6.
pub type Address = [u8; 16];

#[derive(Debug)]
struct Pod {
    names: Rc<Names>,
    sandbox: u64,
}

/// Addresses and their pods.
#[derive(Debug, Default)]
pub struct Callers {
    pods: BTreeMap<Address, Pod>,
    /// Containers that have been looked at.
    seen: HashSet<u64>,
    last: Option<Instant>,
}

impl Callers {
    /// The pod of an address; see [`Callers::refresh`].
    pub fn get(&self, address: &Address) -> Option<&Rc<Names>> {
        self.pods.get(address).map(|pod| &pod.names)
    }

    /// Looks at the node if one of these addresses is not known, and the last look was a while ago.
    pub fn refresh(&mut self, node: &Node, asked: &[Address]) {
        let unknown = asked.iter().any(|address| !self.pods.contains_key(address));
        let recent = self.last.is_some_and(|last| last.elapsed() < APART);
        if unknown && !recent {
            self.last = Some(Instant::now());
            self.look(node, asked);
        }
    }

    fn look(&mut self, node: &Node, asked: &[Address]) {
        let bundles = node.bundles();
        let numbers: HashSet<u64> = bundles.iter().map(|bundle| number(&bundle.id)).collect();
        self.seen.retain(|seen| numbers.contains(seen));
        // What is still counted keeps its name until another pod takes the address.
        self.pods
            .retain(|address, pod| numbers.contains(&pod.sandbox) || asked.contains(address));
        for bundle in &bundles {
            let number = number(&bundle.id);
            if self.seen.contains(&number) {
                continue;
            }
            // What can't be read yet is looked at again.
            let Some(spec) = bundle.spec() else {
                continue;
            };
            if spec.sandbox && spec.own_network {
                let mut addresses = spec.addresses;
                if addresses.is_empty() {
                    addresses = node.addresses(bundle);
                }
                if addresses.is_empty() {
                    continue;
                }
                let names = Rc::new(spec.names);
                for address in addresses {
                    let names = Rc::clone(&names);
                    self.add(
                        address,
                        Pod {
                            names,
                            sandbox: number,
                        },
                    );
                }
            }
            self.seen.insert(number);
        }
        for address in node.own_addresses() {
            self.pods.remove(&octets(address));
        }
    }

    fn add(&mut self, address: IpAddr, pod: Pod) {
        let address = octets(address);
        if self.pods.len() < MOST || self.pods.contains_key(&address) {
            self.pods.insert(address, pod);
        }
    }
}

/// The beginning of an id: enough to tell a node's containers apart.
fn number(id: &str) -> u64 {
    id.get(..16)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .unwrap_or(0)
}

fn octets(address: IpAddr) -> Address {
    let address: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    address.octets()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    /// A sandbox as containerd and the kernel show it.
    fn sandbox(root: &Path, digit: char, pod: &str, address: &str, own_network: bool) -> String {
        let id = digit.to_string().repeat(64);
        let bundle = root
            .join("run/containerd/io.containerd.runtime.v2.task/k8s.io")
            .join(&id);
        fs::create_dir_all(&bundle).unwrap();
        let mut spec = include_str!("captured/containerd-sandbox.json")
            .replace("coredns-7f757457c5-89228", pod);
        if !own_network {
            spec = spec.replace("\"network\"", "\"ipc\"");
        }
        fs::write(bundle.join("config.json"), spec).unwrap();
        let pid = digit as u32;
        fs::write(bundle.join("init.pid"), pid.to_string()).unwrap();
        process(root, pid, &id, address);
        id
    }

    fn process(root: &Path, pid: u32, group: &str, address: &str) {
        let process = root.join(format!("proc/{pid}"));
        fs::create_dir_all(process.join("net")).unwrap();
        fs::write(process.join("cgroup"), format!("0::/{group}\n")).unwrap();
        let fib = include_str!("captured/fib_trie").replace("10.78.0.2\n", &format!("{address}\n"));
        fs::write(process.join("net/fib_trie"), fib).unwrap();
    }

    fn address(text: &str) -> Address {
        octets(text.parse().unwrap())
    }

    fn pod(callers: &Callers, text: &str) -> Option<String> {
        callers.get(&address(text)).map(|names| names.pod.clone())
    }

    fn look(callers: &mut Callers, node: &Node, asked: &[&str]) {
        let asked: Vec<_> = asked.iter().map(|text| address(text)).collect();
        callers.last = None;
        callers.refresh(node, &asked);
    }

    #[test]
    fn pods_come_and_go() {
        let root = tempfile::tempdir().unwrap();
        let node = Node::new(root.path());
        process(root.path(), 1, "init", "192.0.2.1");
        sandbox(root.path(), 'a', "cart-0", "10.78.0.7", true);
        let second = sandbox(root.path(), 'b', "shop-8xk2p", "10.78.0.8", true);
        // On the node's network, one as its specification says, one only as its addresses tell.
        sandbox(root.path(), 'c', "node-exporter", "192.0.2.1", false);
        sandbox(root.path(), 'd', "proxy", "192.0.2.1", true);
        let mut callers = Callers::default();
        look(&mut callers, &node, &["10.78.0.7"]);
        assert_eq!(pod(&callers, "10.78.0.7").as_deref(), Some("cart-0"));
        assert_eq!(pod(&callers, "10.78.0.8").as_deref(), Some("shop-8xk2p"));
        assert_eq!(pod(&callers, "192.0.2.1"), None);
        assert_eq!(pod(&callers, "203.0.113.9"), None);

        // One that is gone keeps its name while it is counted, and as long as nobody has its address.
        let bundles = root
            .path()
            .join("run/containerd/io.containerd.runtime.v2.task/k8s.io");
        fs::remove_dir_all(bundles.join(&second)).unwrap();
        look(&mut callers, &node, &["10.78.0.8", "203.0.113.9"]);
        assert_eq!(pod(&callers, "10.78.0.8").as_deref(), Some("shop-8xk2p"));
        sandbox(root.path(), 'e', "next-1", "10.78.0.8", true);
        look(&mut callers, &node, &["10.78.0.8", "203.0.113.9"]);
        assert_eq!(pod(&callers, "10.78.0.8").as_deref(), Some("next-1"));
        fs::remove_dir_all(bundles.join("e".repeat(64))).unwrap();
        look(&mut callers, &node, &["203.0.113.9"]);
        assert_eq!(pod(&callers, "10.78.0.8"), None);
        assert_eq!(pod(&callers, "10.78.0.7").as_deref(), Some("cart-0"));
    }

    #[test]
    fn the_node_is_not_looked_at_again_and_again() {
        let root = tempfile::tempdir().unwrap();
        let node = Node::new(root.path());
        let mut callers = Callers::default();
        callers.refresh(&node, &[]);
        assert!(callers.last.is_none());
        callers.refresh(&node, &[address("10.78.0.7")]);
        let first = callers.last;
        sandbox(root.path(), 'a', "cart-0", "10.78.0.7", true);
        callers.refresh(&node, &[address("10.78.0.7")]);
        assert_eq!(callers.last, first);
        assert_eq!(pod(&callers, "10.78.0.7"), None);
    }
}
