//! VictoriaMetrics: a time-series database beside the measurement.
//!
//! In Kubernetes its PromQL answers are the source of every figure. On one
//! machine the cgroup files are, and the same PromQL answers are a cross-check.
//!
//! # Layout
//! - [`child`]: the program, its command line, what it scrapes
//! - [`client`]: a server's address, queries, pushed samples
//! - [`mod@cross_check`]: CPU seconds per request from what a server holds
//!
//! # A child or a server of one's own
//! A child scrapes the target and the harness's [`exporter`](crate::exporter)
//! once a second. A server that was given by its address can't be told to
//! scrape a loopback port, so there the harness pushes the same readings by
//! [`Client::import`], the target's `http_requests_total` included
//! ([`exporter::requests`](crate::exporter::requests)).

pub mod child;
pub mod client;
pub mod cross_check;

pub use client::{Client, ClientError, Point, Series, ServerUrl, ServerUrlError};
pub use cross_check::{CrossCheck, CrossCheckError, Selectors, cross_check};

/// What its program is called in fingerprints.
pub const NAME: &str = "victoria-metrics";

#[cfg(test)]
mod tests;
