//! flora-bench measures what an observability agent costs the application it observes.
//!
//! # Layout
//!
//! Data flows one way: scenario → plan → run → samples → statistics → report.
//! In reading order:
//!
//! - [`scenario`]: scenario files
//! - [`plan`]: scenarios → every trial of a run, before the first one starts
//! - [`sample`], [`trial`], [`metric`]: what is read, what a trial comes to, what is claimed
//! - [`load`]: what sends the requests
//! - [`program`], [`exporter`], [`victoria_metrics`]: programs of others, what is shown to them, what they answer
//! - [`fingerprint`]: where and with what
//! - [`report`]: what a run says, and its outputs

pub mod exporter;
pub mod fingerprint;
pub mod load;
pub mod metric;
pub mod plan;
pub mod program;
pub mod report;
pub mod sample;
pub mod scenario;
#[cfg(test)]
mod test_support;
pub mod trial;
pub mod victoria_metrics;
