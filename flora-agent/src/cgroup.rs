//! Control groups of version 2: where they are, which one is meant, what their paths tell.
//!
//! # Layout
//! - [`mount`]: where the hierarchy of version 2 is mounted
//! - [`identity`]: the container and pod that a path names
//! - [`find`]: the control group of a path, a process, a container, a pod
//! - [`pods`]: that of all pods of a node

pub mod find;
pub mod identity;
pub mod mount;
pub mod pods;
