//! The Kubernetes backend: the same scenarios on a cluster that a kubeconfig reaches.
//!
//! Each arm has a group of nodes to itself, load and monitoring have groups of
//! their own; what is started are pods, what is read is what the cluster's own
//! components and the harness's node observer counted.
//!
//! # Layout
//! - [`Cluster`]: a connection and what belongs to one run there
//! - [`backend`]: what lives for a whole run: nodes that are taken, namespaces, observers
//! - [`trial`]: the life of trials; [`experiment`]: the steps of a trial's search; [`system`]: one arm, brought up, watched, taken down
//! - [`clean`]: giving everything back, also what a run left that was killed
//! - [`show`]: a plan's objects as text; [`rights`]: what the harness may do, and what it must
//! - [`client`]: connecting, and what the API server answers in words
//! - [`owner`]: which process made what stands in the cluster
//! - [`object`]: the objects that a run applies, as plain values
//! - [`target`], [`intake`]: those of the target, and of what agents send to
//! - [`manifest`]: those of the agent, from the vendor's files
//! - [`images`]: which image stands for which program
//! - [`kind`]: the kinds that are known without asking
//! - [`apply`], [`wait`]: server-side apply and deletion, and conditions with a limit
//! - [`groups`], [`lease`]: node groups: labels and taints, put there and taken away
//! - [`provisioner`]: where nodes come from
//! - [`load`]: k6 as a Job or as the operator's `TestRun`
//! - [`observer`]: the node observer, which reads control groups on the nodes
//! - [`proxy`]: pods and services, reached through the API server
//! - [`metrics`]: VictoriaMetrics in the cluster, asked through the API server

use crate::clock::RunClock;
use crate::sample::Subject;

pub mod apply;
pub mod backend;
pub mod clean;
pub mod client;
pub mod experiment;
#[cfg(test)]
pub mod golden;
pub mod groups;
pub mod images;
pub mod intake;
pub mod kind;
pub mod lease;
pub mod load;
pub mod manifest;
pub mod metrics;
#[cfg(test)]
pub mod mock;
pub mod object;
pub mod observer;
pub mod owner;
pub mod provisioner;
pub mod proxy;
pub mod rights;
pub mod show;
pub mod system;
pub mod target;
pub mod trial;
pub mod wait;

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
    /// What the cluster serves, of the kinds that were asked for.
    pub kinds: apply::Kinds,
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
    /// An object can't be applied.
    #[error(transparent)]
    Apply(#[from] apply::ApplyError),
    /// Nodes can't be had.
    #[error(transparent)]
    Groups(#[from] groups::GroupError),
    /// A manifest can't be used.
    #[error(transparent)]
    Manifest(#[from] manifest::ManifestError),
    /// Something did not become ready.
    #[error(transparent)]
    Wait(#[from] wait::WaitError),
    /// Something that the run needs is not as it should be.
    #[error("{0}")]
    Missing(String),
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
