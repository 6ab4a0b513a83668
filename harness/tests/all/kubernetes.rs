//! The Kubernetes backend: plans as objects, what an API server may answer, and a real cluster.

mod api;
mod cluster;
mod experiments;
mod faults;
mod many;
mod objects;
mod provision;
mod refusals;
