//! Loads the kernel programs in a child that ends at once.
//!
//! Reading an object, its relocations and what the kernel is able to do takes
//! memory that an allocator does not give back. So a forked child does it, and
//! passes descriptors over a socket: programs and maps live as long as somebody
//! holds them. What stays is a process that never had that memory.
//!
//! # Layout
//! - [`child`]: what the child does, by way of aya
//! - [`handoff`]: descriptors from child to parent
#![allow(
    unsafe_code,
    reason = "fork(2) is safe in a process of one thread only"
)]

pub mod child;
pub mod handoff;

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};

use crate::bpf::map::Map;
use crate::bpf::program::Program;
use flora_agent_common::layout;

/// The compiled kernel programs.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!("flora.bpf.o");

/// Loading takes less than a second; on a machine that is starved, more.
const PATIENCE: Duration = Duration::from_secs(60);

/// Maps that must stay open in every copy: the kernel empties those of programs
/// when no process has them open, and containers get their numbers later.
const KEPT: [&str; 3] = ["INGRESS_PROGRAMS", "EGRESS_PROGRAMS", "CONTAINERS"];

/// The agent maps it twice, as the kernel offers it.
const SPAN_RING_BYTES: u32 = 128 * 1024;

/// Copies of a series that CPUs share, at most.
const CPU_COPIES: usize = 8;

/// What the programs are told when they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// CPUs that count on their own, a power of two; further ones share.
    pub cpus: u32,
    /// One in `span_mask + 1` requests becomes a span; `u32::MAX` for none.
    pub span_mask: u32,
    /// From how long a request is slow and becomes a span, in nanoseconds; `u64::MAX` for never.
    pub slow_nanoseconds: u64,
    /// Whether an answer with a status from 500 on becomes a span.
    pub span_errors: bool,
    /// Whether anybody takes spans out of their ring.
    pub spans: bool,
    /// Whether windows are cleared, as kernels before 6.3 demand. Where it is off and the kernel
    /// refuses a program, it is tried again with it.
    pub clear_windows: bool,
}

impl Settings {
    /// How many copies of a series `possible` CPUs make worthwhile.
    pub fn cpus(possible: usize) -> u32 {
        possible.max(1).next_power_of_two().min(CPU_COPIES) as u32
    }

    /// Bytes of the ring of spans: enough for 16,000 a second, or the least there can be.
    pub fn ring_bytes(&self) -> u32 {
        if self.spans { SPAN_RING_BYTES } else { 4096 }
    }

    /// Entries of the map of series.
    pub fn series(&self) -> u32 {
        self.cpus * layout::SERIES as u32
    }
}

/// A program, and how long the kernel took to accept it.
#[derive(Debug)]
pub struct LoadedProgram {
    /// The program.
    pub program: Program,
    /// CPU time in the kernel, verifying and translating included.
    pub load_time: Duration,
}

/// The programs and maps of one loaded object.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The object's SHA-256.
    pub hash: String,
    /// Programs by name.
    pub programs: BTreeMap<String, LoadedProgram>,
    /// Maps by name.
    pub maps: BTreeMap<String, Map>,
}

/// Why nothing could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The kernel refuses `bpf()` to this process.
    #[error("the kernel does not let this process load eBPF programs: {0}")]
    Refused(String),
    /// The verifier or the kernel has something against the object.
    #[error("the kernel programs cannot be loaded: {0}")]
    Object(String),
    /// The child could not be made or asked.
    #[error("cannot load the kernel programs in a child process: {source}")]
    Child {
        #[from]
        /// Why.
        source: nix::Error,
    },
    /// The child ended without a word.
    #[error("the child process that loads the kernel programs ended without a word")]
    Silent,
    /// A map can't be used.
    #[error(transparent)]
    Map(#[from] crate::bpf::map::MapError),
}

impl Loaded {
    /// A map that every object has.
    ///
    /// # Errors
    /// When it has none by that name.
    pub fn map(&self, name: &str) -> Result<&Map, LoadError> {
        self.maps
            .get(name)
            .ok_or_else(|| LoadError::Object(format!("the object has no map {name}")))
    }

    /// A program that every object has.
    ///
    /// # Errors
    /// When it has none by that name.
    pub fn program(&self, name: &str) -> Result<&Program, LoadError> {
        self.programs
            .get(name)
            .map(|loaded| &loaded.program)
            .ok_or_else(|| LoadError::Object(format!("the object has no program {name}")))
    }
}

/// Loads the object `copies` times. The process must have one thread.
///
/// # Errors
/// [`LoadError`]
pub fn load(settings: Settings, copies: usize) -> Result<Vec<Loaded>, LoadError> {
    let (ours, theirs) = handoff::channel(PATIENCE)?;
    // SAFETY: this process has one thread, so that no lock can be held by another one.
    match unsafe { fork() }? {
        ForkResult::Child => {
            drop(ours);
            child::run(settings, copies, &theirs)
        }
        ForkResult::Parent { child } => {
            drop(theirs);
            let result = receive(&ours, copies);
            // It has nothing more to do, or is stuck.
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, None);
            result
        }
    }
}

fn receive(channel: &std::os::fd::OwnedFd, copies: usize) -> Result<Vec<Loaded>, LoadError> {
    let mut all = Vec::with_capacity(copies);
    while all.len() < copies {
        all.push(match handoff::receive(channel)? {
            Some(handoff::Message::Copy(hash, items)) => {
                let mut loaded = Loaded {
                    hash,
                    ..Loaded::default()
                };
                for (item, descriptor) in items {
                    match item {
                        handoff::Item::Program { name, load_time } => {
                            let program = Program::new(&name, descriptor);
                            let program = LoadedProgram { program, load_time };
                            loaded.programs.insert(name, program);
                        }
                        handoff::Item::Map { name } => {
                            // Nobody looks into further copies; the programs keep their maps.
                            if !all.is_empty() && !KEPT.contains(&name.as_str()) {
                                continue;
                            }
                            let map = Map::new(&name, descriptor)?;
                            loaded.maps.insert(name, map);
                        }
                    }
                }
                loaded
            }
            Some(handoff::Message::Refused(text)) => return Err(LoadError::Refused(text)),
            Some(handoff::Message::Failed(text)) => return Err(LoadError::Object(text)),
            None => return Err(LoadError::Silent),
        });
    }
    Ok(all)
}

/// The SHA-256 of [`OBJECT`], in hexadecimal.
pub fn object_hash() -> String {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(OBJECT);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_of_two_of_at_most_eight() {
        for (possible, expected) in [(0, 1), (1, 1), (2, 2), (3, 4), (8, 8), (9, 8), (256, 8)] {
            assert_eq!(Settings::cpus(possible), expected, "{possible}");
        }
    }
}
