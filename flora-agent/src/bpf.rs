//! The few `bpf(2)` calls that a running agent makes itself.
//!
//! Loading is aya's work, done once in a process of its own ([`crate::load`]);
//! what remains are reads of maps, links, and facts about maps and programs.
//!
//! # Layout
//! - [`call`]: the system call and its arguments
//! - [`map`]: a map, read and written with its sizes checked
//! - [`memory`]: a map's values, mapped into this process
//! - [`program`]: a program, its facts and its links

pub mod call;
pub mod map;
pub mod memory;
pub mod program;
