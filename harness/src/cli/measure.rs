//! What every command that measures shares: its options, and the way from arms to a report.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::cluster;
use super::exit::{self, Failure};
use super::progress::Watcher;
use crate::backend::kubernetes::backend::KubernetesBackend;
use crate::backend::local::monitor::Choice;
use crate::backend::local::needs;
use crate::backend::local::{GroupChoice, LocalBackend, WorkDirectory};
use crate::backend::{Backend, LoadRequest, TrialError};
use crate::clock::RunClock;
use crate::fingerprint::Fingerprint;
use crate::plan::{self, LoadDriver, LoadPlan, Plan, RateSource};
use crate::record::{self, Recorder, Records};
use crate::report::{Report, ScenarioStatus};
use crate::scenario::{AgentScope, BASELINE, Scenario, TWIN};
use crate::trial::TrialStatus;
use crate::{clean, report, run, setup, stats, workspace};

/// Level of every interval.
const CONFIDENCE: f64 = 0.95;
/// Share of runs in which a difference that "can be seen" is seen.
const POWER: f64 = 0.8;
/// Starting and stopping of a trial, roughly, in seconds.
const TRIAL_EXTRA_SECONDS: f64 = 0.25;
/// Checks and calibration before the first trial, roughly, in seconds.
const PREPARATION_SECONDS: f64 = 5.0;

/// The same of a trial in a cluster: pods that are placed, started and ended.
pub const CLUSTER_TRIAL_EXTRA_SECONDS: f64 = 20.0;
/// Load before the window in a cluster, at least, where the command line does not say it.
const CLUSTER_WARMUP_SECONDS: f64 = 5.0;
/// The window in a cluster, at least, where the command line does not say it.
const CLUSTER_MEASURE_SECONDS: f64 = 20.0;

/// How long a lock is waited for that somebody else holds.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

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
#[derive(Clone, Copy, Debug, ValueEnum)]
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

/// Runs what measures on one thread: children are tied to the thread that starts
/// them, and a second one would only add wake-ups to what is being measured.
///
/// # Errors
/// What `work` fails with.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unexpected(error.into()))?;
    runtime.block_on(work)
}

/// A place that is ready to measure, and this program's right to it.
pub struct Bench<B = LocalBackend> {
    /// Before the lock, so that all is gone when another may begin.
    pub backend: B,
    /// The run's clock.
    pub clock: RunClock,
    /// Of this machine; nodes of a cluster have leases.
    _lock: Option<File>,
}

impl Bench<KubernetesBackend> {
    /// Connects to the cluster that the options name; nothing is changed there yet.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn in_cluster(
        options: &cluster::Options,
        load: Option<LoadName>,
        clock: RunClock,
    ) -> Result<Self, Failure> {
        let cancel = watch_signals().map_err(|error| Failure::unexpected(error.into()))?;
        let backend = KubernetesBackend::connect(options.settings(load), clock, cancel).await;
        Ok(Bench {
            backend: backend.map_err(TrialError::from)?,
            clock,
            _lock: None,
        })
    }
}

impl Bench {
    /// Takes the machine for a run of these arms.
    ///
    /// # Errors
    /// When somebody else measures here, or something that is needed is missing.
    pub fn take(
        arms: &[Scenario],
        clock: RunClock,
        victoria_metrics: &Choice,
        groups: GroupChoice,
    ) -> Result<Self, Failure> {
        Self::with_lock(lock()?, arms, clock, victoria_metrics, groups)
    }

    /// The same, with this program's right to measure in hand already.
    ///
    /// # Errors
    /// When something that is needed is missing.
    pub fn with_lock(
        lock: File,
        arms: &[Scenario],
        clock: RunClock,
        victoria_metrics: &Choice,
        groups: GroupChoice,
    ) -> Result<Self, Failure> {
        for thing in clean::leftovers().removed {
            eprintln!("removed what an earlier run left: {thing}");
        }
        for arm in arms {
            needed(arm)?;
        }
        // Before signals are waited for: what takes minutes to build is to end at once.
        prepare(arms)?;
        let cancel = watch_signals().map_err(|error| Failure::unexpected(error.into()))?;
        let cpus = arms.iter().map(|arm| arm.target.cpus).max().unwrap_or(1);
        let backend = LocalBackend::new(clock, cancel, cpus, victoria_metrics, groups)?;
        Ok(Bench {
            backend,
            clock,
            _lock: Some(lock),
        })
    }
}

impl<B: Backend> Bench<B> {
    /// Checks every arm and finds the rate.
    ///
    /// # Errors
    /// When an arm does not work here.
    pub async fn preflight(
        &mut self,
        arms: &[Scenario],
        load: LoadRequest,
    ) -> Result<LoadPlan, Failure> {
        let calibrating = match load.rate {
            None => " and calibrating the rate",
            Some(_) => "",
        };
        eprintln!("checking {}{calibrating}", names(arms).join(", "));
        Ok(self.backend.preflight(arms, load).await?)
    }

    /// Carries out what the plan has left to do, and lets go of the machine.
    /// Says whether it was interrupted.
    ///
    /// # Errors
    /// When records can't be written, or what lives for the whole run can't be started.
    pub async fn carry_out(
        mut self,
        plan: &Plan,
        fingerprint: &Fingerprint,
        recorder: &mut Recorder,
        done: usize,
    ) -> Result<bool, Failure> {
        let outcome = {
            let mut watcher = Watcher::new(plan);
            let backend = &mut self.backend;
            run::execute(plan, fingerprint, backend, recorder, done, &mut watcher).await
        };
        self.backend.release().await;
        // Groups and processes go before anything else can fail.
        drop(self);
        match outcome {
            Ok(_) => Ok(false),
            Err(TrialError::Interrupted) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads back what was written, and reports on that: what a reader will have.
///
/// # Errors
/// When records can't be read or a report can't be written.
pub fn reported(directory: &Path) -> Result<(Records, Report), Failure> {
    let records = Records::read(directory)?;
    let report = report::build::build(&records);
    super::report::write(directory, &report, &records)?;
    eprintln!("report: {}", directory.join("report.html").display());
    Ok((records, report))
}

/// Whether the run came to its end and can be used, as an exit code.
///
/// # Errors
/// When it can't, with the reason.
pub fn judge(records: &Records, report: &Report, interrupted: bool) -> Result<(), Failure> {
    if interrupted {
        return Err(Failure::message(
            exit::INTERRUPTED,
            format!(
                "interrupted; {} of {} trials were finished, and their records are kept; go on with: flora-bench resume {}",
                records
                    .trials
                    .iter()
                    .filter(|trial| trial.status != TrialStatus::Failed)
                    .count(),
                records.plan.trials.len(),
                report.run,
            ),
        ));
    }
    let unusable: Vec<String> = report
        .scenarios
        .iter()
        // What was left out from the start spoils nothing.
        .filter(|scenario| {
            !matches!(
                scenario.status,
                ScenarioStatus::Ok | ScenarioStatus::Unsupported
            )
        })
        .map(|scenario| {
            format!(
                "{}: {}",
                scenario.name,
                scenario.reason.as_deref().unwrap_or("no valid trial")
            )
        })
        .collect();
    if unusable.is_empty() {
        Ok(())
    } else {
        Err(Failure::message(
            exit::INVALID,
            format!("the measurement is not valid: {}", unusable.join("; ")),
        ))
    }
}

/// The arms of a run: the baseline, its twin, and what is measured against them.
pub fn arms(baseline: Scenario, others: Vec<Scenario>) -> Vec<Scenario> {
    let twin = Scenario {
        name: TWIN.to_owned(),
        ..baseline.clone()
    };
    [baseline, twin].into_iter().chain(others).collect()
}

impl Options {
    /// What the command line says in place of a scenario's own file.
    pub fn overrule(&self, mut arm: Scenario) -> Scenario {
        if let Some(blocks) = self.blocks {
            arm.trials.blocks = blocks;
        }
        if let Some(work) = self.work {
            arm.target.work = work;
        }
        if let Some(objects) = self.objects {
            arm.target.objects = objects;
        }
        if let Some(warmup) = self.warmup {
            arm.trials.warmup_seconds = warmup.as_secs_f64();
        }
        if let Some(measure) = self.measure {
            arm.trials.measure_seconds = measure.as_secs_f64();
        }
        if let Some(slices) = self.slices {
            arm.trials.slices = slices;
        }
        if self.backend == BackendName::Kubernetes {
            // Counters are read once a second there, and turns can't be taken.
            let trials = &mut arm.trials;
            if self.warmup.is_none() {
                trials.warmup_seconds = trials.warmup_seconds.max(CLUSTER_WARMUP_SECONDS);
            }
            if self.measure.is_none() {
                trials.measure_seconds = trials.measure_seconds.max(CLUSTER_MEASURE_SECONDS);
            }
        }
        arm
    }

    /// Which VictoriaMetrics is asked for.
    pub fn victoria_metrics(&self) -> Choice {
        self.victoria_metrics.clone().unwrap_or_default()
    }

    /// The load that is asked for. Arms are only comparable at one rate.
    ///
    /// # Errors
    /// When the arms ask for different ones.
    pub fn load(&self, arms: &[Scenario]) -> Result<LoadRequest, Failure> {
        Ok(LoadRequest {
            driver: self.driver()?,
            rate: common_rate(self.rate, arms)?,
        })
    }

    /// The load driver, which must be one that the backend has.
    fn driver(&self) -> Result<LoadDriver, Failure> {
        let refused = |why: &str| Err(Failure::message(exit::USAGE, why));
        match (self.backend, self.load) {
            (BackendName::Local, _) if self.cluster.any() => refused(
                "--kubeconfig, --context, --node-selector, --namespace, --image, --parallel, --provisioner, --node-class and --instance-type are about a cluster; add --backend kubernetes",
            ),
            (BackendName::Local, None | Some(LoadName::Builtin)) => Ok(LoadDriver::Builtin),
            (BackendName::Local, Some(LoadName::K6)) => Ok(LoadDriver::K6),
            (BackendName::Local, Some(LoadName::K6Operator | LoadName::K6Job)) => {
                refused("--load k6-operator and k6-job run in a cluster; add --backend kubernetes")
            }
            (BackendName::Kubernetes, Some(LoadName::Builtin)) => refused(
                "the built-in driver sends from this machine; in a cluster k6 does, so leave --load out",
            ),
            (BackendName::Kubernetes, _) => Ok(LoadDriver::K6),
        }
    }

    /// Starting and stopping of a trial, roughly, in seconds.
    fn trial_extra_seconds(&self) -> f64 {
        match self.backend {
            BackendName::Local => TRIAL_EXTRA_SECONDS,
            BackendName::Kubernetes => CLUSTER_TRIAL_EXTRA_SECONDS,
        }
    }

    /// How many slices windows are cut into, and why there is only one where
    /// more were wanted.
    ///
    /// # Errors
    /// When the command line asks for turns and they can't be had.
    fn slices(&self, arms: &[Scenario]) -> Result<(u32, Option<String>), Failure> {
        let trials = arms.iter().map(|arm| &arm.trials);
        let wanted = plan::common_slices(trials.map(|t| (t.measure_seconds, t.slices)));
        let Some(obstacle) = self.obstacle(arms).filter(|_| wanted > 1) else {
            return Ok((wanted, None));
        };
        if self.slices.is_some() {
            return Err(Failure::message(
                exit::USAGE,
                format!(
                    "--slices {wanted} can't be had: {obstacle}; leave it out, or use --slices 1"
                ),
            ));
        }
        Ok((
            1,
            Some(format!(
                "Trials ran one after another instead of taking turns, because {obstacle}; the same time then sees only about 2.5 times the difference."
            )),
        ))
    }

    /// How many arms run at the same time.
    fn parallel(&self, arms: usize) -> u32 {
        let wanted = self.cluster.parallel.unwrap_or(1);
        wanted.clamp(1, arms.max(1) as u32)
    }

    /// Why arms can't take turns.
    fn obstacle(&self, arms: &[Scenario]) -> Option<String> {
        if self.backend == BackendName::Kubernetes {
            return Some("in a cluster every trial has its node to itself".into());
        }
        if self.load == Some(LoadName::K6) {
            return Some("k6 keeps no schedule that others could share".into());
        }
        if matches!(self.victoria_metrics, Some(Choice::Server(_))) {
            return Some(
                "the series of a VictoriaMetrics that is given know one target at a time".into(),
            );
        }
        let alone = |arm: &&Scenario| {
            let agent = arm.agent.as_ref();
            agent.is_some_and(|agent| agent.scope == AgentScope::Machine)
        };
        if let Some(arm) = arms.iter().find(alone) {
            return Some(format!(
                "the agent of {} may reach beyond its target (`agent.scope`)",
                arm.name
            ));
        }
        let ports: Vec<u16> = arms.iter().filter_map(|arm| arm.target.port).collect();
        let distinct: std::collections::BTreeSet<&u16> = ports.iter().collect();
        (distinct.len() < ports.len())
            .then(|| "several arms are to listen on the same port (`target.port`)".to_owned())
    }

    /// The plan. Times and blocks are the most that any arm asks for, so that none gets less.
    ///
    /// # Errors
    /// When the options contradict one another.
    pub fn draw_up(
        &self,
        name: &str,
        arms: Vec<Scenario>,
        load: LoadPlan,
        mut limitations: Vec<String>,
    ) -> Result<Plan, Failure> {
        let most =
            |value: fn(&Scenario) -> f64| arms.iter().map(value).fold(0.0, |a: f64, b| a.max(b));
        let (warmup, measure) = (
            most(|arm| arm.trials.warmup_seconds),
            most(|arm| arm.trials.measure_seconds),
        );
        let pause = most(|arm| arm.trials.pause_seconds);
        let (slices, forced) = self.slices(&arms)?;
        limitations.extend(forced);
        if slices > 1 && !matches!(self.victoria_metrics, Some(Choice::Off)) {
            limitations.push(
                "VictoriaMetrics was not asked: its scrapes, a second apart, can't tell whose turn it was. A run with `--slices 1` has its answers as a cross-check."
                    .into(),
            );
        }
        let blocks = match self.time {
            None => arms.iter().map(|arm| arm.trials.blocks).max().unwrap_or(1),
            Some(time) => {
                let block = plan::block_seconds(&arms, measure, slices, pause)
                    + self.trial_extra_seconds() * arms.len() as f64;
                let left = time.as_secs_f64() - PREPARATION_SECONDS;
                let blocks = (left / block).floor();
                if blocks < 1.0 {
                    return Err(Failure::message(
                        exit::USAGE,
                        format!(
                            "--time {} is too short for one block of {} arms, which takes about {:.0} s; give more time, or shorter trials with --warmup and --measure",
                            humantime::format_duration(time),
                            arms.len(),
                            block + PREPARATION_SECONDS
                        ),
                    ));
                }
                (blocks as u32).min(10_000)
            }
        };
        let seed = self.seed.unwrap_or_else(drawn_seed);
        let started = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        Ok(Plan {
            schema_version: record::SCHEMA_VERSION,
            run: run_name(&self.out, &started, name),
            started,
            backend: self.backend.as_str().into(),
            seed,
            confidence: CONFIDENCE,
            load,
            warmup_seconds: warmup,
            measure_seconds: measure,
            slices,
            parallel: self.parallel(arms.len()),
            pause_seconds: pause,
            expected_detectable_ratio: stats::detectable_ratio(
                plan::assumed_deviation(measure, slices),
                blocks,
                CONFIDENCE,
                POWER,
            ),
            amplified: None,
            limitations,
            left_out: Vec::new(),
            trials: plan::trials(&names(&arms), blocks, slices, seed),
            arms,
        })
    }
}

/// What a run is called: its one scenario, or `all` of those with its baseline.
pub fn name_of(arms: &[Scenario]) -> String {
    let contenders: Vec<&Scenario> = arms
        .iter()
        .filter(|arm| arm.name != BASELINE && arm.name != TWIN)
        .collect();
    match contenders.as_slice() {
        [] => BASELINE.to_owned(),
        [one] => one.name.clone(),
        [first, ..] if first.baseline() != BASELINE => format!("all-{}", first.baseline()),
        _ => "all".to_owned(),
    }
}

/// What is about to happen, in a line on standard error.
pub fn announce(plan: &Plan, directory: &Path) {
    eprintln!(
        "{} trials in {} blocks at {} requests per second, about {}{}; records in {}",
        plan.trials.len(),
        plan.blocks(),
        plan.load.rate,
        humantime::format_duration(Duration::from_secs(plan.duration().as_secs() + 1)),
        expectation(plan),
        directory.display()
    );
}

fn expectation(plan: &Plan) -> String {
    plan.expected_detectable_ratio.map_or(String::new(), |ratio| {
        format!(
            ", enough to see a difference of about {:.1} % where the machine is as quiet as the one in docs/METHODOLOGY.md",
            ratio * 100.0
        )
    })
}

/// Arms are only comparable at one rate.
fn common_rate(given: Option<f64>, arms: &[Scenario]) -> Result<Option<f64>, Failure> {
    if given.is_some() {
        return Ok(given);
    }
    let mut rates = arms
        .iter()
        .filter_map(|arm| Some((&arm.name, arm.load.rate?)));
    let Some((first, rate)) = rates.next() else {
        return Ok(None);
    };
    match rates.find(|(_, other)| *other != rate) {
        Some((other, _)) => Err(Failure::message(
            exit::USAGE,
            format!(
                "`{first}` and `{other}` ask for different rates and can't share a run; give one with --rate"
            ),
        )),
        None => Ok(Some(rate)),
    }
}

/// `<UTC time>-<name>`, in characters that every file system takes; a number
/// behind it when two runs begin in one second.
fn run_name(out: &Path, started: &str, what: &str) -> String {
    let name = format!("{}-{what}", started.replace(':', ""));
    std::iter::once(name.clone())
        .chain((2..).map(|n| format!("{name}-{n}")))
        .find(|candidate| !out.join(candidate).exists())
        .unwrap_or(name)
}

fn names(arms: &[Scenario]) -> Vec<String> {
    arms.iter().map(|arm| arm.name.clone()).collect()
}

fn drawn_seed() -> u64 {
    // Small enough to be typed again.
    crate::clock::monotonic_ns() % 1_000_000
}

/// What --dry-run prints.
pub fn describe(plan: &Plan) -> String {
    use std::fmt::Write as _;

    let mut text = String::new();
    let rate = match plan.load.rate_source {
        RateSource::Given => format!("{} requests per second", plan.load.rate),
        RateSource::Calibrated => "a rate calibrated from the baseline's capacity".into(),
    };
    let _ = writeln!(
        text,
        "{} trials in {} blocks at {rate}: {} s warm-up, {} s window each{}; at least {}{}; seed {}",
        plan.trials.len(),
        plan.blocks(),
        plan.warmup_seconds,
        plan.measure_seconds,
        match plan.slices {
            0 | 1 => String::new(),
            slices if plan.pause_seconds > plan::pause() => format!(
                " in {slices} slices with {} s after each, the arms of a block taking turns",
                plan.pause_seconds
            ),
            slices => format!(" in {slices} slices, the arms of a block taking turns"),
        },
        humantime::format_duration(Duration::from_secs(plan.duration().as_secs())),
        expectation(plan),
        plan.seed
    );
    for trial in &plan.trials {
        let _ = writeln!(
            text,
            "trial {:>3}  block {:>3}  {}",
            trial.trial, trial.block, trial.arm
        );
    }
    text
}

/// One measurement at a time: two would measure each other.
///
/// # Errors
/// When another one is under way.
pub fn lock() -> Result<File, Failure> {
    let path = WorkDirectory::parent().join("flora-bench.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| {
            Failure::message(
                exit::MISSING,
                format!("cannot open the lock {}: {error}", path.display()),
            )
        })?;
    // A child that a killed run was just starting holds a copy of its lock
    // until it has been moved to its control groups, a few tenths of a second.
    let deadline = std::time::Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) if std::time::Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(Failure::message(
                    exit::MISSING,
                    "another flora-bench measures on this machine; two at once would measure each other, so wait until it is done",
                ));
            }
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(Failure::message(
                    exit::MISSING,
                    format!("cannot lock {}: {error}", path.display()),
                ));
            }
        }
    }
}

/// Whether what an arm's agent needs of the machine is here: nothing is built for one that can't run.
fn needed(arm: &Scenario) -> Result<(), Failure> {
    let missing = arm.agent.as_ref().map(needs::missing).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    Err(TrialError::Missing(format!(
        "{} can't run here: {}",
        arm.name,
        missing.join("; ")
    ))
    .into())
}

/// Builds what recipes build of these arms' programs, where that wasn't done before.
fn prepare(arms: &[Scenario]) -> Result<(), Failure> {
    let agents = arms.iter().filter_map(|arm| arm.agent.as_ref());
    let processes = agents.flat_map(|agent| &agent.processes);
    let programs = processes.filter_map(|process| process.command.first());
    let programs = programs.chain(arms.iter().map(|arm| &arm.target.program));
    for name in programs.collect::<std::collections::BTreeSet<_>>() {
        if let Some(recipe) = workspace::recipe(name)? {
            setup::provide(&recipe).map_err(|error| Failure::new(exit::MISSING, error))?;
        }
    }
    Ok(())
}

/// The first SIGINT or SIGTERM ends the run in good order; a second one at once.
fn watch_signals() -> std::io::Result<watch::Receiver<bool>> {
    let (send, receive) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        for again in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if again {
                std::process::exit(exit::INTERRUPTED.into());
            }
            eprintln!("interrupted: stopping what runs; once more to leave at once");
            let _ = send.send(true);
        }
    });
    Ok(receive)
}
