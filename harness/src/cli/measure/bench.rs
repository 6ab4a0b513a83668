//! A place that is ready to measure: taken, used, given back; and what came of it.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::LoadName;
use super::planning::names;
use crate::backend::kubernetes::backend::KubernetesBackend;
use crate::backend::local::monitor::Choice;
use crate::backend::local::needs;
use crate::backend::local::{GroupChoice, LocalBackend, WorkDirectory};
use crate::backend::{Backend, LoadRequest, TrialError};
use crate::cli::cluster;
use crate::cli::exit::{self, Failure};
use crate::cli::progress::Watcher;
use crate::clock::RunClock;
use crate::fingerprint::Fingerprint;
use crate::plan::{LoadPlan, Plan};
use crate::record::{Recorder, Records};
use crate::report::{Report, ScenarioStatus};
use crate::scenario::Scenario;
use crate::trial::TrialStatus;
use crate::{clean, report, run, setup, workspace};

/// How long a lock is waited for that somebody else holds.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

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
    crate::cli::report::write(directory, &report, &records)?;
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
