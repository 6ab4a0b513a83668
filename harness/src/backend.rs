//! Backends bring a trial's system up, measure it, and take it down.
//!
//! # Layout
//! - [`Backend`]: what a run asks of every backend
//! - [`search`]: the steps of an experiment, wherever they are carried out
//! - [`local`]: processes in control groups on this machine
//! - [`kubernetes`]: pods on the nodes of a cluster

use tokio::sync::watch;

use crate::fingerprint::Fingerprint;
use crate::plan::{LoadDriver, LoadPlan, Plan, RateSource, TrialPlan, calibrated_rate};
use crate::sample::{Phase, Sample};
use crate::scenario::Scenario;
use crate::trial::PhaseSpan;

pub mod kubernetes;
pub mod local;
pub mod search;

/// Turns true when the run is to end early.
pub type Cancel = watch::Receiver<bool>;

/// Where trials take place.
///
/// Everything that a backend starts is gone when a call returns, on failure
/// too; what lives for a whole run goes with the backend itself.
pub trait Backend {
    /// Starts each arm once and has it answer one checked request; finds what
    /// is missing before any time is spent. Returns the rate to offer.
    fn preflight(
        &mut self,
        arms: &[Scenario],
        load: LoadRequest,
    ) -> impl Future<Output = Result<LoadPlan, TrialError>>;

    /// What takes part, once [`Backend::preflight`] has found it.
    fn fingerprint(&self, arms: &[Scenario]) -> Fingerprint;

    /// What this backend does without here, in sentences for the report.
    fn limitations(&self) -> Vec<String>;

    /// Starts what lives for the whole run; the run's directory exists by now.
    fn begin(
        &mut self,
        plan: &Plan,
        directory: &std::path::Path,
    ) -> impl Future<Output = Result<(), TrialError>>;

    /// Carries out trials together, handing over each reading as it is taken:
    /// one that has its window to itself, or those of a block that take turns.
    /// Gives one outcome for each, in their order.
    fn batch(
        &mut self,
        plan: &Plan,
        trials: &[TrialPlan],
        sink: &mut dyn Sink,
    ) -> impl Future<Output = Vec<Result<Observed, TrialError>>>;

    /// Ends what lived for the whole run, and gives the readings that only it can give.
    fn conclude(
        &mut self,
        trials: &[crate::trial::TrialRecord],
    ) -> impl Future<Output = Vec<Sample>>;

    /// Gives back what was taken for the run, however it went. May be called again.
    fn release(&mut self) -> impl Future<Output = ()>;
}

/// How the load is asked for.
#[derive(Clone, Copy, Debug)]
pub struct LoadRequest {
    /// The driver.
    pub driver: LoadDriver,
    /// The offered rate in requests per second; none asks for calibration.
    pub rate: Option<f64>,
}

impl LoadRequest {
    /// The load of every trial: at the rate that was asked for, or a share of the
    /// baseline's capacity where that was measured.
    ///
    /// # Errors
    /// When there is neither.
    pub fn settled(
        self,
        driver: LoadDriver,
        capacity: Option<f64>,
    ) -> Result<LoadPlan, TrialError> {
        let (rate, rate_source) = match (self.rate, capacity) {
            (Some(rate), _) => (rate, RateSource::Given),
            (None, Some(capacity)) => (calibrated_rate(capacity), RateSource::Calibrated),
            (None, None) => {
                return Err(TrialError::Missing(
                    "there is no baseline to calibrate a rate from; give one with --rate".into(),
                ));
            }
        };
        Ok(LoadPlan {
            driver,
            rate,
            rate_source,
            capacity,
        })
    }
}

/// Takes readings and news while a trial runs.
pub trait Sink {
    /// Keeps readings. They are on disk when this returns.
    ///
    /// # Errors
    /// When they can't be written; the trial ends then.
    fn samples(&mut self, samples: &[Sample]) -> Result<(), TrialError>;

    /// A phase begins and will take this many seconds, as far as that is known.
    fn phase(&mut self, phase: Phase, seconds: Option<f64>);
}

/// What a trial leaves besides its samples.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// When each phase began and ended.
    pub phases: Vec<PhaseSpan>,
    /// The window, in seconds since the epoch.
    pub window_unix: Option<(f64, f64)>,
    /// Failures of requests, the first few in words.
    pub failures: Vec<String>,
    /// The node that the target ran on, where there are several.
    pub node: Option<String>,
}

/// Why a trial could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// A program that is needed is not there or can't be built.
    #[error("{0}")]
    Missing(String),
    /// A program could not be started.
    #[error("cannot start the {role} `{program}`: {source}")]
    Start {
        /// What it was to be.
        role: &'static str,
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// The target's port is in use.
    #[error(
        "port {port} is taken by another program; free it, or leave `target.port` out so that a free one is used"
    )]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// A program ended when it should not have.
    #[error("the {role} `{program}` ended with {status} during {}{}", phase.as_str(), tail(output))]
    Exited {
        /// What it was.
        role: &'static str,
        /// The program.
        program: String,
        /// Its exit status.
        status: String,
        /// When.
        phase: Phase,
        /// The last lines it wrote.
        output: String,
    },
    /// The target runs but does not answer as it should.
    #[error("the target `{program}` {problem}{}", tail(output))]
    Unhealthy {
        /// The program.
        program: String,
        /// What is wrong.
        problem: String,
        /// The last lines it wrote.
        output: String,
    },
    /// The agent runs but does not do its work.
    #[error("the agent `{program}` {problem}{}", tail(output))]
    UnhealthyAgent {
        /// Its first program.
        program: String,
        /// What is wrong.
        problem: String,
        /// The last lines it wrote.
        output: String,
    },
    /// The agent's own count of requests can't be read.
    #[error("the agent's count of requests: {0}")]
    Telemetry(#[from] crate::observer::prometheus::ScrapeError),
    /// The load driver broke.
    #[error("the load driver {0}")]
    Load(String),
    /// A counter can't be read.
    #[error("cannot read {what}: {source}")]
    Observe {
        /// Which.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// The target's own counter can't be read.
    #[error(transparent)]
    TargetMetrics(#[from] crate::observer::target::TargetMetricsError),
    /// A control group can't be made.
    #[error(transparent)]
    Cgroup(#[from] local::cgroup::CgroupError),
    /// What an experiment limits can't be limited.
    #[error(transparent)]
    Limit(#[from] local::limit::LimitError),
    /// Something in a cluster.
    #[error(transparent)]
    Cluster(#[from] kubernetes::ClusterError),
    /// Records can't be written.
    #[error(transparent)]
    Record(#[from] crate::record::RecordError),
    /// SIGINT, SIGTERM or SIGHUP.
    #[error("interrupted")]
    Interrupted,
}

fn tail(output: &str) -> String {
    if output.trim().is_empty() {
        "; it wrote nothing".into()
    } else {
        format!("; its last output:\n{}", output.trim_end())
    }
}
