//! The Kubernetes backend: the same scenarios on a cluster that a kubeconfig reaches.
//!
//! Each arm has a group of nodes to itself, load and monitoring have groups of
//! their own; what is started are pods, what is read is what the cluster's own
//! components and the harness's node observer counted.
//!
//! # Layout
//! - [`Cluster`]: a connection and what belongs to one run there
//! - [`client`]: connecting, and what the API server answers in words
//! - [`object`]: the objects that a run applies, as plain values
//! - [`apply`]: server-side apply and deletion
//! - [`groups`]: node groups: labels and taints, put there and taken away
//! - [`images`]: which image stands for which program
//! - [`load`]: k6 as a Job or as the operator's `TestRun`
//! - [`observer`]: the node observer, which reads control groups on the nodes
//! - [`proxy`]: pods and services, reached through the API server
//! - [`metrics`]: VictoriaMetrics in the cluster, asked through the API server

use crate::clock::RunClock;
use crate::sample::Subject;

pub mod apply;
pub mod client;
#[cfg(test)]
pub mod golden;
pub mod groups;
pub mod images;
pub mod load;
pub mod metrics;
#[cfg(test)]
pub mod mock;
pub mod object;
pub mod observer;
pub mod proxy;

use self::images::Images;
use self::object::Run;

/// A cluster during one run: the connection, and what says whose objects are whose.
///
/// Cheap to clone; everything that is applied carries [`Run::labels`].
#[derive(Clone)]
pub struct Cluster {
    /// The connection.
    pub client: kube::Client,
    /// What objects of this run have in common.
    pub run: Run,
    /// Which image stands for which program.
    pub images: Images,
    /// The run's clock, to place what nodes say in the run's time.
    pub clock: RunClock,
}

/// A pod of a trial, as whoever reads its counters must know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RolePod {
    /// Whose it is.
    pub subject: Subject,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, by which its control group is named.
    pub uid: String,
    /// The node that it runs on.
    pub node: String,
    /// Its containers, as the runtime knows them: name and id, without the runtime's prefix.
    pub containers: Vec<(String, String)>,
}

/// The measured window, in seconds since the epoch, as the load driver's own data have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// When it opened.
    pub open_unix: f64,
    /// When it closed.
    pub close_unix: f64,
}

/// What of a trial is to be read once its load has ended.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The trial, counted from 1.
    pub trial: u32,
    /// The arm that it measures.
    pub arm: String,
    /// The node that the target runs on, whose CPU time the ledger divides.
    pub node: String,
    /// Every pod of target and agent on that node, and the load driver's, wherever it is.
    pub pods: Vec<RolePod>,
    /// The measured window.
    pub window: Window,
}

/// What can go wrong with a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] client::ConnectError),
    /// The API server refused something.
    #[error(transparent)]
    Api(#[from] client::ApiError),
    /// Load could not be sent.
    #[error("the load: {0}")]
    Load(String),
    /// Counters could not be read.
    #[error("readings of the nodes: {0}")]
    Observe(String),
    /// VictoriaMetrics did not answer.
    #[error("VictoriaMetrics in the cluster: {0}")]
    Metrics(String),
}
