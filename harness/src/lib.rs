//! flora-bench measures what an observability agent costs the application it observes.
//!
//! # Layout
//!
//! Data flows one way: scenario → plan → run → samples → statistics → report.
//! In reading order:
//!
//! - [`scenario`]: scenario files
//! - [`plan`]: scenarios → every trial of a run, before the first one starts
//! - [`run`]: plan → records, by way of a [`backend`]
//! - [`backend`]: brings a trial's system up, measures it, takes it down
//! - [`load`]: what is sent to the target, and what came of it
//! - [`intake`]: takes what agents send, and counts it
//! - [`observer`]: what the kernel says of roles and machine
//! - [`observe`]: the same of a node's pods, as a program of its own
//! - [`sample`], [`trial`], [`metric`]: what is read, what a trial comes to, what is claimed
//! - [`record`]: the run directory, written as things happen, read back for everything else
//! - [`calibration`]: whether a known cost was found again
//! - [`analysis`], [`comparison`], [`stats`]: samples → figures → differences, pure
//! - [`experiment`]: searches for what an application's limits hold, pure
//! - [`amplification`]: what one copy of an agent's programs costs, pure
//! - [`program`], [`exporter`], [`victoria_metrics`]: programs of others, what is shown to them, what they answer
//! - [`report`]: what a run says, and its outputs
//! - [`gate`]: budgets and a report → an exit code
//! - [`compare`]: two runs, or two arms of one → what changed
//! - [`history`]: many runs over time
//! - [`export`]: a run in formats that other tools read
//! - [`price`]: what overheads cost in money
//! - [`fingerprint`], [`workspace`], [`setup`]: where and with what; programs that are built first
//! - [`owner`], [`clean`]: what belongs to which run, and removing what a dead one left
//! - [`clock`]: one clock for every process of a run
//! - [`error`], [`yaml`]: errors in words, those of files in YAML too
//! - [`terminal`]: what whoever watches is told
//! - [`cli`]: the commands

pub mod amplification;
pub mod analysis;
pub mod backend;
pub mod calibration;
pub mod clean;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod comparison;
pub mod error;
pub mod experiment;
pub mod export;
pub mod exporter;
pub mod fingerprint;
pub mod gate;
pub mod history;
pub mod intake;
pub mod load;
pub mod metric;
pub mod observe;
pub mod observer;
pub mod owner;
pub mod plan;
pub mod price;
pub mod program;
pub mod record;
pub mod report;
pub mod run;
pub mod sample;
pub mod scenario;
pub mod setup;
pub mod stats;
pub mod terminal;
#[cfg(test)]
mod test_support;
pub mod trial;
pub mod victoria_metrics;
pub mod workspace;
pub mod yaml;
