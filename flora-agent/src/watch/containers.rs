//! Containers and their numbers.
//!
//! Kernel programs know a control group by its id and want a small number for
//! it. Numbers are given out in turn and come back only when nothing that is
//! counted bears them any more, so a series never changes its owner.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use super::target::Found;
use crate::cgroup::find::process_name;
use crate::cgroup::identity::Identity;
use crate::cgroup::mount::Mount;
use crate::kubernetes::Names;
use crate::kubernetes::node::Node;

/// Control groups that have a number, at most: the map's size.
pub const GROUPS: usize = 1024;

/// The largest number that fits a series' key.
const LARGEST: u16 = 0x7fff;

/// How often a container's names are asked for.
const TRIES: u8 = 5;

/// A container, or a control group that stands for itself.
#[derive(Clone, Debug)]
pub struct Container {
    /// The control group, as `/proc/PID/cgroup` names it.
    pub group: String,
    /// Pod and container that its path names.
    pub identity: Identity,
    /// What Kubernetes calls it.
    pub names: Option<Names>,
    /// What its first process is called, once somebody asked.
    pub process: Option<String>,
    /// Whether its control group is there.
    pub present: bool,
    directory: PathBuf,
    id: u64,
    /// How often its names may still be asked for.
    tries: u8,
}

/// What to tell the kernel programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Control groups and the number of their container.
    pub added: Vec<(u64, u32)>,
    /// Control groups that are gone.
    pub removed: Vec<u64>,
}

/// All containers that have a number.
#[derive(Debug, Default)]
pub struct Containers {
    groups: HashMap<u64, u16>,
    known: BTreeMap<u16, Container>,
    last: u16,
    /// Whether it was said that the map is full, and that there are no more numbers.
    full: bool,
    exhausted: bool,
    mount: Option<Mount>,
    node: Node,
}

impl Container {
    /// One, for tests.
    #[cfg(test)]
    pub(crate) fn example(group: &str, process: Option<&str>, names: Option<Names>) -> Self {
        Container {
            group: group.to_owned(),
            identity: Identity::of(std::path::Path::new(group)),
            names,
            process: process.map(str::to_owned),
            present: true,
            directory: group.into(),
            id: 1,
            tries: 0,
        }
    }

    /// Asks what Kubernetes calls it. What is not there at first may come: a pod's
    /// control group is made before anything else that tells of it.
    fn ask(&mut self, node: &Node) {
        if self.names.is_none() && self.tries > 0 {
            self.tries -= 1;
            let Identity {
                container_id,
                pod_uid,
            } = &self.identity;
            self.names = node.names(container_id.as_deref(), pod_uid.as_deref());
        }
    }
}

impl Containers {
    /// None yet; those of this node will have names.
    pub fn new(node: Node) -> Self {
        Containers {
            node,
            ..Containers::default()
        }
    }

    /// Compares with what is there now.
    pub(super) fn update(&mut self, found: &[Found]) -> Changes {
        let mut changes = Changes::default();
        let present: HashSet<u64> = found.iter().map(|found| found.id).collect();
        self.groups.retain(|id, _| {
            let stays = present.contains(id);
            if !stays {
                changes.removed.push(*id);
            }
            stays
        });
        for container in self.known.values_mut() {
            if container.present && !present.contains(&container.id) {
                container.present = false;
                log::info!(cgroup = container.group.as_str(); "the container is gone");
            }
        }
        let mut owners: HashMap<u64, u16> = self
            .known
            .iter()
            .filter(|(_, container)| container.present)
            .map(|(number, container)| (container.id, *number))
            .collect();
        for found in found {
            if self.groups.contains_key(&found.id) {
                continue;
            }
            if self.groups.len() >= GROUPS {
                say_once(&mut self.full, || {
                    format!("more than {GROUPS} control groups")
                });
                break;
            }
            let number = match owners.get(&found.owner_id) {
                Some(number) => *number,
                None => {
                    let Some(number) = self.add(found) else {
                        say_once(&mut self.exhausted, || {
                            format!("something is counted for {LARGEST} containers, gone or not")
                        });
                        break;
                    };
                    owners.insert(found.owner_id, number);
                    number
                }
            };
            self.groups.insert(found.id, number);
            changes.added.push((found.id, u32::from(number)));
        }
        changes
    }

    fn add(&mut self, found: &Found) -> Option<u16> {
        if self.mount.is_none() {
            self.mount = Mount::find().ok();
        }
        let number = (0..LARGEST)
            .map(|step| (self.last + step) % LARGEST + 1)
            .find(|number| !self.known.contains_key(number))?;
        self.last = number;
        let group = match &self.mount {
            Some(mount) => mount.group(&found.owner),
            None => found.owner.clone(),
        };
        let identity = Identity::of(&group);
        let mut container = Container {
            tries: if identity == Identity::default() {
                0
            } else {
                TRIES
            },
            identity,
            names: None,
            group: group.display().to_string(),
            process: None,
            present: true,
            directory: found.owner.clone(),
            id: found.owner_id,
        };
        // A container's names go with it, so they are asked for before anything is counted.
        if container.identity.container_id.is_some() {
            container.ask(&self.node);
        }
        log::debug!(cgroup = container.group.as_str(), number = number; "a new container");
        self.known.insert(number, container);
        Some(number)
    }

    /// A container by its number. Its process is asked for now, when it has been heard of:
    /// at its start it was still being set up.
    pub fn get(&mut self, number: u16) -> Option<&Container> {
        let container = self.known.get_mut(&number)?;
        container.ask(&self.node);
        if container.process.is_none() && container.present {
            container.process = process_name(&container.directory);
        }
        Some(container)
    }

    /// Whether a container is gone; one that was forgotten is.
    pub fn is_gone(&self, number: u16) -> bool {
        !self
            .known
            .get(&number)
            .is_some_and(|container| container.present)
    }

    /// Whether any that is gone is known.
    pub fn has_gone(&self) -> bool {
        self.known.values().any(|container| !container.present)
    }

    /// Forgets containers that are gone and that nothing is counted for.
    pub fn forget_all_but(&mut self, counted: &BTreeSet<u16>) {
        self.known
            .retain(|number, container| container.present || counted.contains(number));
    }

    /// The node that they are on.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// How many are there now.
    pub fn present(&self) -> usize {
        self.known
            .values()
            .filter(|container| container.present)
            .count()
    }
}

fn say_once(said: &mut bool, why: impl Fn() -> String) {
    if !std::mem::replace(said, true) {
        log::warn!("{}; further ones are counted without a name", why());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(id: u64, owner_id: u64) -> Found {
        Found {
            path: format!("/nowhere/{id}").into(),
            id,
            owner: format!("/nowhere/{owner_id}").into(),
            owner_id,
        }
    }

    #[test]
    fn numbers_come_and_go() {
        let mut containers = Containers::default();
        let changes = containers.update(&[found(10, 10), found(11, 10), found(20, 20)]);
        assert_eq!(changes.added, [(10, 1), (11, 1), (20, 2)]);
        assert_eq!(
            containers.update(&[found(10, 10), found(11, 10), found(20, 20)]),
            Changes::default()
        );
        let changes = containers.update(&[found(20, 20), found(30, 30)]);
        assert_eq!(changes.added, [(30, 3)]);
        assert_eq!(
            changes.removed.iter().collect::<BTreeSet<_>>(),
            [10, 11].iter().collect()
        );
        assert!(!containers.get(1).unwrap().present);
        assert!(containers.has_gone() && containers.is_gone(1) && !containers.is_gone(2));
        containers.forget_all_but(&BTreeSet::new());
        assert!(containers.get(1).is_none() && containers.get(2).is_some());
        assert!(!containers.has_gone() && containers.is_gone(1));
    }

    #[test]
    fn a_number_is_used_again_only_when_forgotten() {
        let mut containers = Containers {
            last: LARGEST - 1,
            ..Containers::default()
        };
        assert_eq!(
            containers.update(&[found(1, 1)]).added,
            [(1, u32::from(LARGEST))]
        );
        assert_eq!(containers.update(&[found(2, 2)]).added, [(2, 1)]);
        containers.last = LARGEST - 1;
        assert_eq!(containers.update(&[found(3, 3)]).added, [(3, 2)]);
    }

    #[test]
    fn no_more_than_fit() {
        let all: Vec<_> = (1..2000).map(|id| found(id, id)).collect();
        let mut containers = Containers::default();
        assert_eq!(containers.update(&all).added.len(), GROUPS);
        assert!(containers.full && !containers.exhausted);
    }

    /// Whoever is gone and not forgotten keeps its number, and says so when there is no other.
    #[test]
    fn no_more_than_there_are_numbers() {
        let gone = Container {
            present: false,
            ..Container::example("/gone", None, None)
        };
        let mut containers = Containers {
            known: (1..=LARGEST).map(|number| (number, gone.clone())).collect(),
            ..Containers::default()
        };
        let more = [found(100_000, 100_000)];
        assert_eq!(containers.update(&more).added, []);
        assert!(containers.exhausted && !containers.full);
        containers.forget_all_but(&BTreeSet::from([1, 2]));
        assert_eq!(containers.update(&more).added, [(100_000, 3)]);
    }
}
