//! The node observer: counters of a node's pods and of the node itself, once a second.
//!
//! `flora-bench observe` runs as a DaemonSet on the nodes that are measured.
//! It reads the host's control groups and `/proc/stat`, keeps the last quarter
//! of an hour, and serves it; it writes nothing, asks no API server, and needs
//! neither root nor a capability, only the host's `/sys/fs/cgroup` and the
//! names below `/var/log/pods`, both read-only.
//!
//! cAdvisor in the kubelet reads the same files every 10 to 15 s and gives the
//! figures out with a timestamp of its own; at 1 Hz with the clock of each
//! reading a window of ten seconds has edges.
//!
//! # Layout
//! - [`reading`]: what is read at one moment, as it is served and read back
//! - [`hierarchy`]: version 1, version 2, or both, below a directory
//! - [`pods`]: which directories are pods, and whose
//! - [`watch`]: keeps their files open and reads them
//! - [`ring`]: the readings that are kept
//! - [`exposition`]: the latest as Prometheus text
//! - [`server`]: serves both

pub mod exposition;
pub mod hierarchy;
pub mod pods;
pub mod reading;
pub mod ring;
pub mod server;
pub mod watch;

use std::path::PathBuf;

pub use reading::{About, ContainerReading, NodeReading, PodReading};

/// Time between two readings, in seconds.
pub const PERIOD_SECONDS: f64 = 1.0;
/// Readings that are kept: a quarter of an hour.
pub const KEPT: usize = 900;
/// Readings of single pods that are kept: a quarter of an hour of 64, about 0.9 KB each. With more
/// pods it is less time; the pod has 128 MiB.
pub const POD_READINGS: usize = 64 * KEPT;
/// Pods that are read; a kubelet runs 110 unless told otherwise.
pub const PODS: usize = 256;

/// What an observer reads.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The host's `/sys/fs/cgroup`.
    pub root: PathBuf,
    /// The host's `/var/log/pods`, whose directories are named after
    /// namespace, name and UID of this node's pods.
    pub logs: Option<PathBuf>,
    /// The namespaces whose pods are read; all when it is empty. Needs `logs`.
    pub namespaces: Vec<String>,
}

/// The observer can't do its work here.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// No hierarchy that counts CPU time.
    #[error(
        "{} holds no control groups that count CPU time; mount the host's /sys/fs/cgroup there (hostPath, read-only)",
        root.display()
    )]
    NoHierarchy {
        /// Where it looked.
        root: PathBuf,
    },
    /// The directory of pods' logs can't be listed.
    #[error(
        "cannot list {}: {source}; mount the host's /var/log/pods there (hostPath, read-only)",
        path.display()
    )]
    Logs {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `/proc/stat` can't be read.
    #[error("cannot read /proc/stat: {0}")]
    Node(std::io::Error),
    /// The address can't be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}
