//! Observers: what the kernel says of a role, of the machine, of the target.
//!
//! # Layout
//! - [`cgroup`]: a role's control group, version 1 or 2
//! - [`process`]: a role's processes, where there is no group
//! - [`node`]: the whole machine
//! - [`target`]: the target's own request counter
//! - [`telemetry`]: what the agent's output accounts for
//! - [`delivered`]: what was sent to the intake
//! - [`prometheus`]: the text that the three are read from
//! - [`ebpf`]: programs in the kernel

pub mod cgroup;
pub mod delivered;
pub mod ebpf;
pub mod kprobe;
pub mod node;
pub mod process;
pub mod prometheus;
pub mod target;
pub mod telemetry;

use crate::sample::Reading;

/// What was read at one moment.
pub type Readings = Vec<(Reading, f64)>;
