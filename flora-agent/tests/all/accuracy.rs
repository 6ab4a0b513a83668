//! Flora counts what was served: no request less, no request more.
//!
//! In every case a server in a process of its own counts the answers whose first
//! bytes the kernel took from it, by status. Flora's count must be the same.
//!
//! # What counts as served, and what as lost
//! A request is served when its final answer begins to leave. One whose client
//! goes away before that is not served, and not counted. An answer that is cut
//! off later is counted, and `aborted_response` says that it was cut off.
//!
//! `unmatched_response` counts answers whose requests were not seen, so it is the
//! one reason that stands for requests missing from `flora_http_requests_total`;
//! the other reasons say how that came about, or tell of other things. Always
//! seen + unmatched = served. Where a test does not say why something must be
//! lost, nothing may be, for any reason.
//!
//! # Layout
//! - [`truth`]: the server that counts; [`client`]: exact bytes to it, and its answers read
//! - [`framing`]: how messages lie in segments; [`bodies`]: what follows heads
//! - [`endings`]: answers that end early, late, or never
//! - [`attach`]: agents that come and go while there is traffic
//! - [`nginx`], [`uring`]: servers in use that send in other ways
//! - [`lossy`]: a network that loses, doubles and swaps packets ([`tunnel`])

mod attach;
mod bodies;
pub mod client;
mod endings;
mod framing;
mod lossy;
mod nginx;
pub mod truth;
mod tunnel;
pub mod uring;

use std::collections::BTreeMap;

use crate::support::{Agent, Group, Metrics};
use client::Client;
use truth::Truth;

/// A server that counts, and an agent that must come to the same.
struct Case {
    agent: Agent,
    truth: Truth,
    _group: Group,
}

impl Case {
    fn new() -> Self {
        let group = Group::new();
        let truth = Truth::start(&group);
        let agent = Agent::watch(&group, &[]);
        Case {
            agent,
            truth,
            _group: group,
        }
    }

    fn connect(&self) -> Client {
        Client::connect(self.truth.address)
    }

    /// Everything was seen, nothing is lost; how much it was.
    fn exact(&mut self) -> u64 {
        let served = self.truth.served();
        let metrics = self.agent.scrape();
        same(&served, &metrics);
        assert_eq!(metrics.lost(), 0.0, "{}", losses(&metrics));
        served.values().sum()
    }
}

/// Flora's counts are the server's, for every status.
fn same(served: &BTreeMap<u16, u64>, metrics: &Metrics) {
    for (status, count) in served {
        let seen = metrics.requests(&[("status", &status.to_string())]);
        assert_eq!(
            seen,
            *count as f64,
            "status {status} of {served:?}; {}",
            losses(metrics)
        );
    }
    let all: u64 = served.values().sum();
    assert_eq!(metrics.requests(&[]), all as f64, "{}", losses(metrics));
    for name in [
        "flora_http_request_duration_seconds",
        "flora_http_response_first_byte_seconds",
    ] {
        let unfinished = match name {
            "flora_http_request_duration_seconds" => {
                metrics.sum("flora_http_responses_unfinished", &[])
            }
            _ => 0.0,
        };
        assert_eq!(
            metrics.observations(name, &[]) + unfinished,
            all as f64,
            "{name}"
        );
    }
}

/// Answers whose requests were not seen.
fn unmatched(metrics: &Metrics) -> u64 {
    lost(metrics, "unmatched_response")
}

/// What is lost for a reason.
fn lost(metrics: &Metrics, reason: &str) -> u64 {
    metrics.sum("flora_lost_total", &[("reason", reason)]) as u64
}

/// All reasons for which something is lost.
fn losses(metrics: &Metrics) -> String {
    let reasons = metrics.values("flora_lost_total", "reason");
    let counts = reasons.iter().map(|reason| (reason, lost(metrics, reason)));
    let counts: Vec<_> = counts.filter(|(_, count)| *count > 0).collect();
    format!("lost: {counts:?}")
}
