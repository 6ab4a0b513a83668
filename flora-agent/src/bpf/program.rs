//! A program, its facts and its links.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::call::{self, Direction, ProgramInfo};

/// A program that is loaded and open in this process.
#[derive(Debug)]
pub struct Program {
    name: String,
    descriptor: OwnedFd,
}

/// A program at a control group. Dropping it detaches, and so does the end of this process, whatever ends it.
#[derive(Debug)]
pub struct Link {
    _descriptor: OwnedFd,
}

impl Program {
    /// A program by its descriptor.
    pub fn new(name: &str, descriptor: OwnedFd) -> Self {
        Program {
            name: name.to_owned(),
            descriptor,
        }
    }

    /// Its name in the object.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the kernel says of it.
    ///
    /// # Errors
    /// When the kernel says nothing.
    pub fn info(&self) -> io::Result<ProgramInfo> {
        call::program_info(self.descriptor.as_fd())
    }

    /// Attaches it to a control group and all below.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(&self, cgroup: impl AsFd, direction: Direction) -> io::Result<Link> {
        let link = call::link_create(self.descriptor.as_fd(), cgroup.as_fd(), direction)?;
        Ok(Link { _descriptor: link })
    }
}
