//! What `deploy/` and `scenarios/*/kubernetes/` hold, a module per concern.

mod chart;
mod cluster;
mod dashboards;
mod manifests;
#[path = "../all/support.rs"]
#[expect(dead_code, reason = "the other binary uses the rest")]
mod support;
