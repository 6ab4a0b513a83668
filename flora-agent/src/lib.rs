//! Flora's agent: every HTTP request of a container, seen from the kernel.
//!
//! # Layout
//!
//! In reading order:
//!
//! - [`cli`]: options, and what each command does with them
//! - [`cgroup`]: which control groups are meant
//! - [`kubernetes`]: what pods are called, and which one has an address
//! - [`load`]: kernel programs, loaded in a child of their own
//! - [`bpf`]: maps, programs and links that are open here
//! - [`watch`]: programs attached, containers told apart
//! - [`agent`]: the loop
//! - [`metrics`]: what was counted, as text
//! - [`http`]: serves it
//! - [`spans`]: single requests, sent to a collector
//! - [`check`], [`privileges`]: can it run here, and what is missing
//! - [`resident`]: code that only the start needed
//! - [`logging`], [`error`]: what people read

pub mod agent;
pub mod bpf;
pub mod cgroup;
pub mod check;
pub mod cli;
pub mod error;
pub mod http;
pub mod kubernetes;
pub mod load;
pub mod logging;
pub mod metrics;
pub mod privileges;
pub mod resident;
pub mod spans;
pub mod watch;
