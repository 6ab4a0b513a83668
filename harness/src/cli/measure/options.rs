//! The options of every command that measures.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::backend::local::GroupChoice;
use crate::backend::local::monitor::Choice;
use crate::cli::cluster;
use crate::experiment::Question;

/// How a run is made.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Where trials take place.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,

    /// How many times every arm is measured.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub blocks: Option<u32>,

    /// How long the run may take, such as 10m; picks the number of blocks.
    #[arg(long, value_name = "DURATION", value_parser = window, conflicts_with = "blocks")]
    pub time: Option<Duration>,

    /// How long the run takes at most, where the scenarios' own number of blocks takes longer.
    #[arg(skip)]
    pub bound: Option<Duration>,

    /// What an experiment asks, in place of what a request costs at a fixed rate.
    #[arg(skip)]
    pub experiment: Option<Question>,

    /// Offered rate in requests per second; calibrated without it.
    #[arg(long, value_name = "R", value_parser = rate)]
    pub rate: Option<f64>,

    /// CPU-intensive tasks in each request, in place of what the scenarios say.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub work: Option<u32>,

    /// JSON objects in each answer, likewise.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub objects: Option<u32>,

    /// Load before each window, such as 3s.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub warmup: Option<Duration>,

    /// Each measured window, such as 10s.
    #[arg(long, value_name = "DURATION", value_parser = window)]
    pub measure: Option<Duration>,

    /// Slices that each window is cut into, between which the arms of a block
    /// take turns; 1 measures trial after trial.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub slices: Option<u32>,

    /// Seed of every random choice; drawn and recorded without it.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// What sends the requests; the built-in driver without it, and k6 in a cluster.
    #[arg(long, value_enum)]
    pub load: Option<LoadName>,

    /// The address of a VictoriaMetrics that runs already, or `off`; without
    /// it, one is started when the program is installed.
    #[arg(long, value_name = "URL|off", value_parser = victoria_metrics)]
    pub victoria_metrics: Option<Choice>,

    /// Which control groups account for the roles; without any, processes are
    /// accounted one by one.
    #[arg(long, value_enum, default_value_t = GroupsName::Auto)]
    pub cgroups: GroupsName,

    /// Where run directories are made.
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub out: PathBuf,

    /// Where scenario files are.
    #[arg(long, value_name = "DIR")]
    pub scenarios: Option<PathBuf>,

    /// What of a cluster the run may take.
    #[command(flatten)]
    pub cluster: cluster::Options,
}

/// Where trials take place.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum BackendName {
    /// Processes on this machine.
    #[default]
    Local,
    /// Pods on the nodes of a cluster that a kubeconfig reaches.
    Kubernetes,
}

impl BackendName {
    /// The name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            BackendName::Local => "local",
            BackendName::Kubernetes => "kubernetes",
        }
    }
}

/// Which control groups account for the roles.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum GroupsName {
    /// Whatever this machine has and lets be used.
    Auto,
    /// Version 1 only.
    V1,
    /// Version 2 only.
    V2,
    /// None.
    Off,
}

impl From<GroupsName> for GroupChoice {
    fn from(name: GroupsName) -> Self {
        match name {
            GroupsName::Auto => GroupChoice::Auto,
            GroupsName::V1 => GroupChoice::V1,
            GroupsName::V2 => GroupChoice::V2,
            GroupsName::Off => GroupChoice::Off,
        }
    }
}

/// What sends the requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LoadName {
    /// The open-loop driver in this program.
    Builtin,
    /// k6, which must be installed; in a cluster by the operator where its kind is served, else as a Job.
    K6,
    /// k6 in a cluster, started by the k6 operator.
    K6Operator,
    /// k6 in a cluster, as a plain Job.
    K6Job,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (1.0..=1e6).contains(&rate) => Ok(rate),
        _ => Err("expected 1 to 1000000 requests per second".into()),
    }
}

fn victoria_metrics(text: &str) -> Result<Choice, crate::victoria_metrics::ServerUrlError> {
    match text {
        "off" => Ok(Choice::Off),
        url => url.parse().map(Choice::Server),
    }
}

fn window(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err("a window must be longer than nothing".into()),
        Err(error) => Err(error.to_string()),
    }
}
