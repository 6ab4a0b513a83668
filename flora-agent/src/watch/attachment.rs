//! Programs at a control group.

use std::io;
use std::path::{Path, PathBuf};

use super::id_of;
use crate::bpf::call::Direction;
use crate::bpf::program::Link;
use crate::cgroup::find::{Directory, FindError};
use crate::load::{LoadError, Loaded};

/// Why a control group is not watched.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There is none.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The object lacks a program.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The kernel refuses.
    #[error(
        "cannot attach {program} to the control group {path}: {source}{}",
        hint(source)
    )]
    Attach {
        /// The program.
        program: String,
        /// The control group's directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => {
            "; the capability CAP_NET_ADMIN is needed, or another program there refuses company"
        }
        Some(libc::E2BIG) => "; 64 programs are attached there already",
        _ => "",
    }
}

/// A control group that programs are attached to while it is there.
#[derive(Debug)]
pub(super) struct Attachment {
    path: PathBuf,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not there, or not yet attached.
    Detached,
    /// Links live as long as this does.
    Attached { id: u64, _links: Vec<Link> },
}

impl Attachment {
    pub(super) fn new(path: &Path) -> Self {
        Attachment {
            path: path.to_owned(),
            state: State::Detached,
        }
    }

    /// Attaches the programs of each copy.
    pub(super) fn attach(&mut self, copies: &[Loaded]) -> Result<(), AttachError> {
        let directory = Directory::open(&self.path)?;
        let mut links = Vec::with_capacity(2 * copies.len());
        for copy in copies {
            // Answers are looked at first: then no request is seen whose answer is missed.
            for (name, direction) in [
                ("egress", Direction::Egress),
                ("ingress", Direction::Ingress),
            ] {
                let link = copy.program(name)?.attach(&directory.file, direction);
                links.push(link.map_err(|source| AttachError::Attach {
                    program: name.to_owned(),
                    path: self.path.clone(),
                    source,
                })?);
            }
        }
        log::info!(cgroup:% = self.path.display(), links = links.len(); "attached");
        self.state = State::Attached {
            id: directory.id,
            _links: links,
        };
        Ok(())
    }

    /// Lets go of a control group that is gone; attaches again to one that has come back.
    pub(super) fn refresh(&mut self, copies: &[Loaded]) {
        let now = id_of(&self.path);
        if let State::Attached { id, .. } = &self.state {
            if now == Some(*id) {
                return;
            }
            // The kernel has detached the programs together with the group.
            log::warn!(cgroup:% = self.path.display(); "the control group is gone; what was counted stays");
            self.state = State::Detached;
            if now.is_none() {
                return;
            }
        } else if now.is_none() {
            return;
        }
        if let Err(error) = self.attach(copies) {
            log::warn!(cgroup:% = self.path.display(); "{}", crate::error::text(&error));
        }
    }
}
