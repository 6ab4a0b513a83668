//! A place that is ready to measure: taken, used, given back; and what came of it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::OFlag;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::planning::names;
use super::{BackendName, LoadName};
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
use crate::program::Invocation;
use crate::record::{Recorder, Records};
use crate::report::{Report, ScenarioStatus};
use crate::scenario::Scenario;
use crate::terminal::say;
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
    /// Which control groups the run was to use.
    groups: GroupChoice,
    /// Of this machine; nodes of a cluster have leases.
    _lock: Option<File>,
}

/// How a run ended.
#[derive(Debug)]
pub enum End {
    /// As planned.
    Done,
    /// Interrupted, with what can be done about it, in words.
    Interrupted(String),
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
            groups: GroupChoice::default(),
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
            say(format_args!("removed what an earlier run left: {thing}"));
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
            groups,
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
        say(format_args!(
            "checking {}{calibrating}",
            names(arms).join(", ")
        ));
        Ok(self.backend.preflight(arms, load).await?)
    }

    /// Carries out what the plan has left to do, and lets go of the machine.
    ///
    /// # Errors
    /// When records can't be written, or what lives for the whole run can't be started.
    pub async fn carry_out(
        mut self,
        plan: &Plan,
        fingerprint: &Fingerprint,
        recorder: &mut Recorder,
        done: usize,
    ) -> Result<End, Failure> {
        let outcome = {
            let mut watcher = Watcher::new(plan);
            let backend = &mut self.backend;
            run::execute(plan, fingerprint, backend, recorder, done, &mut watcher).await
        };
        self.backend.release().await;
        let groups = self.groups;
        // Groups and processes go before anything else can fail.
        drop(self);
        match outcome {
            Ok(_) => Ok(End::Done),
            Err(TrialError::Interrupted) => {
                let directory = recorder.directory();
                Ok(End::Interrupted(way_on(&plan.backend, directory, groups)))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What can be done about a run that was interrupted.
fn way_on(backend: &str, directory: &Path, groups: GroupChoice) -> String {
    if backend != BackendName::Local.as_str() {
        return "its nodes were given back, so measure anew".into();
    }
    let groups = match groups {
        GroupChoice::Auto => None,
        GroupChoice::V1 => Some("v1"),
        GroupChoice::V2 => Some("v2"),
        GroupChoice::Off => Some("off"),
    };
    let mut args = vec![OsString::from("resume"), directory.into()];
    if let Some(groups) = groups {
        args.extend(["--cgroups", groups].map(OsString::from));
    }
    let command = Invocation {
        program: "flora-bench".into(),
        args,
        env: Vec::new(),
    };
    format!("go on with: {command}")
}

/// Reads back what was written, and reports on that: what a reader will have.
///
/// # Errors
/// When records can't be read or a report can't be written.
pub fn reported(directory: &Path) -> Result<(Records, Report), Failure> {
    let records = Records::read(directory)?;
    let report = report::build::build(&records);
    crate::cli::report::write(directory, &report, &records)?;
    say(format_args!(
        "report: {}",
        directory.join("report.html").display()
    ));
    Ok((records, report))
}

/// Whether the run came to its end and can be used, as an exit code.
///
/// # Errors
/// When it can't, with the reason.
pub fn judge(records: &Records, report: &Report, end: End) -> Result<(), Failure> {
    if let End::Interrupted(way_on) = end {
        return Err(Failure::message(
            exit::INTERRUPTED,
            format!(
                "interrupted; {} of {} trials were finished, and their records are kept; {way_on}",
                records
                    .trials
                    .iter()
                    .filter(|trial| trial.status != TrialStatus::Failed)
                    .count(),
                records.plan.trials.len(),
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
    let file = open_lock(&path).map_err(|error| {
        Failure::message(
            exit::MISSING,
            format!(
                "cannot open the lock {0}: {error}; remove {0}, which may be another user's, or set TMPDIR to a place that can be written to",
                path.display()
            ),
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

/// The lock's file, which all users share, whoever made it.
///
/// It is opened to be read, which is all that locking asks for: another user's can't be written,
/// and in a directory like `/tmp` the kernel (`fs.protected_regular`) lets not even root open
/// another's file in a way that would also make it.
fn open_lock(path: &Path) -> io::Result<File> {
    let existing = || {
        let mut options = File::options();
        // A link in a directory that everybody writes to may lead anywhere.
        options.read(true).custom_flags(OFlag::O_NOFOLLOW.bits());
        options.open(path)
    };
    match existing() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let mut options = File::options();
    match options.read(true).write(true).create_new(true).open(path) {
        Ok(file) => {
            // Whatever the umask leaves to others.
            file.set_permissions(fs::Permissions::from_mode(0o666))?;
            Ok(file)
        }
        // Somebody else was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => existing(),
        Err(error) => Err(error),
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

/// Builds these arms' programs, those that have a recipe and this workspace's, where that wasn't done
/// before: with all CPUs, as the harness has not confined itself yet.
fn prepare(arms: &[Scenario]) -> Result<(), Failure> {
    let agents = arms.iter().filter_map(|arm| arm.agent.as_ref());
    let processes = agents.flat_map(|agent| &agent.processes);
    let programs = processes.filter_map(|process| process.command.first());
    let programs = programs.chain(arms.iter().map(|arm| &arm.target.program));
    let programs: std::collections::BTreeSet<_> = programs.collect();
    for name in &programs {
        if let Some(recipe) = workspace::recipe(name)? {
            setup::provide(&recipe).map_err(|error| Failure::new(exit::MISSING, error))?;
        }
    }
    for name in programs.iter().filter(|name| workspace::is_program(name)) {
        // The preflight comes to the same end, and tells it after what else is missing.
        if let Err(error) = workspace::provide(name) {
            log::debug!("{error}");
        }
    }
    Ok(())
}

/// The first SIGINT or SIGTERM, or SIGHUP as a terminal's end brings it, ends the run in good order; a
/// second one at once.
fn watch_signals() -> io::Result<watch::Receiver<bool>> {
    let (send, receive) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Who has it ignored, as nohup does, wants the run to outlive the terminal.
    let mut hang_up = match is_ignored(SignalKind::hangup()) {
        true => None,
        false => Some(signal(SignalKind::hangup())?),
    };
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = comes(hang_up.as_mut()) => {}
        }
        say("interrupted: stopping what runs; once more to leave at once");
        let _ = send.send(true);
        // A terminal that goes says so more than once, by the kernel and by the shell, and in no hurry.
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(exit::INTERRUPTED.into());
    });
    Ok(receive)
}

/// Waits for a signal, for ever if it is none.
async fn comes(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether this process was started with a signal ignored.
fn is_ignored(signal: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored(&status) & (1u64 << (signal.as_raw_value() - 1)) != 0
}

/// The signals that are ignored, a bit each, from the text of `/proc/self/status`.
fn ignored(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_everybodys() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let made = open_lock(&path).unwrap();
        let mode = made.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
        // One that can only be read does as well, and is the same lock.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        let found = open_lock(&path).unwrap();
        made.try_lock().unwrap();
        assert!(found.try_lock().is_err());
        drop(made);
        found.try_lock().unwrap();
    }

    #[test]
    fn a_link_is_no_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        for there in [false, true] {
            let aim = directory.path().join("aim");
            if there {
                fs::write(&aim, "").unwrap();
            }
            std::os::unix::fs::symlink(&aim, &path).unwrap();
            assert!(open_lock(&path).is_err());
            assert_eq!(aim.exists(), there);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn an_interrupted_run_says_what_works() {
        let directory = Path::new("my results/2026-x");
        let said = way_on("local", directory, GroupChoice::Auto);
        assert_eq!(said, "go on with: flora-bench resume 'my results/2026-x'");
        let said = way_on("local", Path::new("r"), GroupChoice::V2);
        assert_eq!(said, "go on with: flora-bench resume r --cgroups v2");
        let said = way_on("kubernetes", directory, GroupChoice::Auto);
        assert!(!said.contains("resume"), "{said}");
    }

    #[test]
    fn signals_that_are_ignored() {
        let status = "Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored(status), 1 | 1 << 12);
        assert_eq!(ignored(""), 0);
    }
}
