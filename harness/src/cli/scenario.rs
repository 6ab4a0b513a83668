//! `flora-bench scenario`: measures.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::exit::{self, Failure};
use super::progress::Watcher;
use crate::backend::local::monitor::Choice;
use crate::backend::local::{GroupChoice, LocalBackend, WorkDirectory};
use crate::backend::{Backend, LoadRequest, TrialError};
use crate::clock::RunClock;
use crate::plan::{self, LoadDriver, LoadPlan, Plan, RateSource};
use crate::record::{self, Recorder, Records};
use crate::report::ScenarioStatus;
use crate::scenario::library::Library;
use crate::scenario::{BASELINE, Scenario};
use crate::trial::TrialStatus;
use crate::{clean, report, run};

/// Level of every interval.
const CONFIDENCE: f64 = 0.95;

/// Measure one or more scenarios.
///
/// Every scenario but `baseline` is measured against `baseline` in the same
/// run: arms alternate in blocks, in an order drawn from the seed, each trial
/// with a fresh target. Without --rate the baseline's capacity is measured
/// first and two fifths of it are offered.
///
/// Examples:
///   flora-bench scenario baseline
///   flora-bench scenario all --blocks 8 --measure 10s
///   flora-bench scenario baseline --rate 500 --dry-run
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Names of scenarios (see `flora-bench list`), or `all` that can run here.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,

    /// Where trials take place.
    #[arg(long, value_enum, default_value_t = BackendName::Local)]
    backend: BackendName,

    /// How many times every arm is measured.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    blocks: Option<u32>,

    /// Offered rate in requests per second; calibrated without it.
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,

    /// Load before each window, such as 3s.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    warmup: Option<Duration>,

    /// Each measured window, such as 10s.
    #[arg(long, value_name = "DURATION", value_parser = window)]
    measure: Option<Duration>,

    /// Seed of every random choice; drawn and recorded without it.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// What sends the requests.
    #[arg(long, value_enum, default_value_t = LoadName::Builtin)]
    load: LoadName,

    /// The address of a VictoriaMetrics that runs already, or `off`; without
    /// it, one is started when the program is installed.
    #[arg(long, value_name = "URL|off", value_parser = victoria_metrics)]
    victoria_metrics: Option<Choice>,

    /// Which control groups account for the roles; without any, processes are
    /// accounted one by one.
    #[arg(long, value_enum, default_value_t = GroupsName::Auto)]
    cgroups: GroupsName,

    /// Show the plan and measure nothing.
    #[arg(long)]
    dry_run: bool,

    /// Where run directories are made.
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,

    /// Where scenario files are.
    #[arg(long, value_name = "DIR")]
    scenarios: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BackendName {
    /// Processes on this machine.
    Local,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum GroupsName {
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LoadName {
    /// The open-loop driver in this program.
    Builtin,
    /// k6, which must be installed.
    K6,
}

impl From<LoadName> for LoadDriver {
    fn from(name: LoadName) -> Self {
        match name {
            LoadName::Builtin => LoadDriver::Builtin,
            LoadName::K6 => LoadDriver::K6,
        }
    }
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

/// Runs the command.
///
/// # Errors
/// With the exit code that the error deserves.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    // One thread: children are tied to the thread that starts them, and a
    // second one would only add wake-ups to what is being measured.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unexpected(error.into()))?;
    runtime.block_on(measure(arguments))
}

async fn measure(arguments: Arguments) -> Result<(), Failure> {
    let arms = arms(&arguments)?;
    let load = LoadRequest {
        driver: arguments.load.into(),
        rate: common_rate(&arguments, &arms)?,
    };
    let seed = arguments.seed.unwrap_or_else(drawn_seed);
    if arguments.dry_run {
        let load = LoadPlan {
            driver: load.driver,
            rate: load.rate.unwrap_or(0.0),
            rate_source: match load.rate {
                Some(_) => RateSource::Given,
                None => RateSource::Calibrated,
            },
            capacity: None,
        };
        return super::print(&describe(&draw_up(
            &arguments,
            arms,
            load,
            seed,
            Vec::new(),
        )));
    }

    let _lock = lock()?;
    for thing in clean::leftovers().removed {
        eprintln!("removed what an earlier run left: {thing}");
    }
    let cancel = watch_signals().map_err(|error| Failure::unexpected(error.into()))?;
    let clock = RunClock::start();
    let cpus = arms.iter().map(|arm| arm.target.cpus).max().unwrap_or(1);
    let mut backend = LocalBackend::new(
        clock,
        cancel,
        cpus,
        &arguments.victoria_metrics.clone().unwrap_or_default(),
        arguments.cgroups.into(),
    )?;
    eprintln!(
        "checking {}{}",
        names(&arms).join(", "),
        if load.rate.is_none() {
            " and calibrating the rate"
        } else {
            ""
        }
    );
    let load = backend.preflight(&arms, load).await?;
    let fingerprint = backend.fingerprint(&arms);
    let plan = draw_up(&arguments, arms, load, seed, backend.limitations());
    let mut recorder = Recorder::create(&arguments.out, &plan, &fingerprint)?;
    eprintln!(
        "{} trials at {} requests per second, about {}; records in {}",
        plan.trials.len(),
        plan.load.rate,
        humantime::format_duration(Duration::from_secs(plan.duration().as_secs() + 1)),
        recorder.directory().display()
    );
    let outcome = {
        let mut watcher = Watcher::new(&plan);
        run::execute(
            &plan,
            &fingerprint,
            &mut backend,
            &mut recorder,
            &mut watcher,
        )
        .await
    };
    // Groups and processes go before anything else can fail.
    drop(backend);
    let interrupted = match outcome {
        Ok(_) => false,
        Err(TrialError::Interrupted) => true,
        Err(error) => return Err(error.into()),
    };
    conclude(&recorder, interrupted)
}

/// Reads back what was written, and reports on that: what a reader will have.
fn conclude(recorder: &Recorder, interrupted: bool) -> Result<(), Failure> {
    let directory = recorder.directory();
    let records = Records::read(directory)?;
    let report = report::build::build(&records);
    super::report::write(directory, &report, &records)?;
    super::print(&report::console::render(&report))?;
    eprintln!("report: {}", directory.join("report.html").display());
    if interrupted {
        return Err(Failure::message(
            exit::INTERRUPTED,
            format!(
                "interrupted; {} of {} trials were finished, and their records are kept",
                records
                    .trials
                    .iter()
                    .filter(|trial| trial.status != TrialStatus::Failed)
                    .count(),
                records.plan.trials.len()
            ),
        ));
    }
    let unusable: Vec<String> = report
        .scenarios
        .iter()
        .filter(|scenario| scenario.status != ScenarioStatus::Ok)
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

/// The scenarios that were asked for, the baseline first, with what the command line says.
fn arms(arguments: &Arguments) -> Result<Vec<Scenario>, Failure> {
    let library = library(arguments.scenarios.clone());
    let mut names = Vec::new();
    for name in &arguments.names {
        if name == "all" {
            names.extend(super::list::runnable(&library)?);
        } else {
            names.push(name.clone());
        }
    }
    names.retain(|name| name != BASELINE);
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names.insert(0, BASELINE.to_owned());
    names
        .iter()
        .map(|name| {
            let mut arm = library.load(name)?;
            if let Some(blocks) = arguments.blocks {
                arm.trials.blocks = blocks;
            }
            if let Some(warmup) = arguments.warmup {
                arm.trials.warmup_seconds = warmup.as_secs_f64();
            }
            if let Some(measure) = arguments.measure {
                arm.trials.measure_seconds = measure.as_secs_f64();
            }
            Ok(arm)
        })
        .collect()
}

/// The scenario directory: the one given, `scenarios` here, or the checkout's.
pub fn library(given: Option<PathBuf>) -> Library {
    let here = PathBuf::from("scenarios");
    Library::new(given.unwrap_or_else(|| match crate::workspace::checkout() {
        Some(root) if !here.is_dir() => root.join("scenarios"),
        _ => here,
    }))
}

/// Arms are only comparable at one rate.
fn common_rate(arguments: &Arguments, arms: &[Scenario]) -> Result<Option<f64>, Failure> {
    if arguments.rate.is_some() {
        return Ok(arguments.rate);
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

/// The plan. Times and blocks are the most that any arm asks for, so that none gets less.
fn draw_up(
    arguments: &Arguments,
    arms: Vec<Scenario>,
    load: LoadPlan,
    seed: u64,
    limitations: Vec<String>,
) -> Plan {
    let names = names(&arms);
    let most = |value: fn(&Scenario) -> f64| arms.iter().map(value).fold(0.0, |a: f64, b| a.max(b));
    let blocks = arms.iter().map(|arm| arm.trials.blocks).max().unwrap_or(1);
    let started = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    Plan {
        schema_version: record::SCHEMA_VERSION,
        run: run_name(&arguments.out, &started, &names),
        started,
        backend: match arguments.backend {
            BackendName::Local => "local".into(),
        },
        seed,
        confidence: CONFIDENCE,
        load,
        warmup_seconds: most(|arm| arm.trials.warmup_seconds),
        measure_seconds: most(|arm| arm.trials.measure_seconds),
        slices: 1,
        limitations,
        trials: plan::trials(&names, blocks, seed),
        arms,
    }
}

/// `<UTC time>-<name>`, in characters that every file system takes; a number
/// behind it when two runs begin in one second.
fn run_name(out: &std::path::Path, started: &str, names: &[String]) -> String {
    let what = match names {
        [baseline] => baseline.clone(),
        [_, one] => one.clone(),
        _ => "all".to_owned(),
    };
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
fn describe(plan: &Plan) -> String {
    use std::fmt::Write as _;

    let mut text = String::new();
    let rate = match plan.load.rate_source {
        RateSource::Given => format!("{} requests per second", plan.load.rate),
        RateSource::Calibrated => "a rate calibrated from the baseline's capacity".into(),
    };
    let _ = writeln!(
        text,
        "{} trials at {rate}: {} s warm-up, {} s window each; at least {}; seed {}",
        plan.trials.len(),
        plan.warmup_seconds,
        plan.measure_seconds,
        humantime::format_duration(Duration::from_secs(plan.duration().as_secs())),
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
fn lock() -> Result<File, Failure> {
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
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Failure::message(
            exit::MISSING,
            "another flora-bench measures on this machine; two at once would measure each other, so wait until it is done",
        )),
        Err(std::fs::TryLockError::Error(error)) => Err(Failure::message(
            exit::MISSING,
            format!("cannot lock {}: {error}", path.display()),
        )),
    }
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
