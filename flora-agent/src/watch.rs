//! What is watched: control groups with programs attached, and the containers in them.
//!
//! # Layout
//! - [`target`]: what was asked for, and which control groups that is now
//! - [`attachment`]: programs at a control group
//! - [`containers`]: containers and their numbers
//! - [`follow`]: notices control groups that come and go

pub mod attachment;
pub mod containers;
pub mod follow;
pub mod target;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::bpf::map::MapError;
use crate::kubernetes::node::Node;
use crate::load::Loaded;

pub use attachment::AttachError;
pub use containers::Containers;
pub use target::Target;

use attachment::Attachment;
use follow::Follower;

/// All that is watched.
#[derive(Debug)]
pub struct Watch {
    targets: Vec<Target>,
    attachments: Vec<Attachment>,
    containers: Containers,
    follower: Follower,
}

impl Watch {
    /// Gives out numbers, attaches the programs of each loaded copy.
    ///
    /// # Errors
    /// When a control group is not there, or the kernel does not let programs be attached.
    pub fn start(targets: Vec<Target>, node: Node, copies: &[Loaded]) -> Result<Self, AttachError> {
        // Programs run for a group and all below, so one below another would be seen twice.
        let outermost = targets.iter().enumerate().filter(|(index, target)| {
            !targets.iter().enumerate().any(|(other_index, other)| {
                let below = target.path().starts_with(other.path());
                below && (target.path() != other.path() || other_index < *index)
            })
        });
        let attachments = outermost
            .map(|(_, target)| Attachment::new(target.path()))
            .collect();
        let mut watch = Watch {
            targets,
            attachments,
            containers: Containers::new(node),
            follower: Follower::new(),
        };
        // Numbers first, so that the first request has one.
        watch.number(copies);
        for attachment in &mut watch.attachments {
            attachment.attach(copies)?;
        }
        Ok(watch)
    }

    /// Looks at the control groups anew: numbers for new ones, none for those that are gone,
    /// programs attached again where a group has come back.
    pub fn survey(&mut self, copies: &[Loaded]) {
        for attachment in &mut self.attachments {
            attachment.refresh(copies);
        }
        self.number(copies);
    }

    fn number(&mut self, copies: &[Loaded]) {
        let found = target::survey(&self.targets);
        let changes = self.containers.update(&found);
        for (id, number) in &changes.added {
            write(copies, |map| {
                map.update(&id.to_ne_bytes(), &number.to_ne_bytes())
            });
        }
        for id in &changes.removed {
            write(copies, |map| map.remove(&id.to_ne_bytes()));
        }
        let groups = found.iter().map(|found| found.path.as_path());
        let parents = self
            .targets
            .iter()
            .filter_map(|target| target.path().parent());
        self.follower.watch(groups.chain(parents));
    }

    /// What notices changes.
    pub fn follower(&mut self) -> &mut Follower {
        &mut self.follower
    }

    /// The node that is watched.
    pub fn node(&self) -> &Node {
        self.containers.node()
    }

    /// The containers that were seen.
    pub fn containers(&mut self) -> &mut Containers {
        &mut self.containers
    }
}

fn write(copies: &[Loaded], change: impl Fn(&crate::bpf::map::Map) -> Result<(), MapError>) {
    for copy in copies {
        let Some(map) = copy.maps.get("CONTAINERS") else {
            continue;
        };
        if let Err(error) = change(map) {
            log::warn!("a container has no number: {}", crate::error::text(&error));
        }
    }
}

/// The number of a control group, if it is there.
fn id_of(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.ino())
}
