//! The local backend: processes on this machine, each role in a control group
//! and CPU set of its own.
//!
//! # Layout
//! - [`LocalBackend`]: what lives for a whole run
//! - [`cpus`]: which CPUs each role gets
//! - [`cgroup`]: the groups of a run, versions 1 and 2
//! - [`process`]: children, placed before they run
//! - [`system`]: one arm's target and agent, brought up and taken down
//! - [`sampler`]: readings of all roles at one moment
//! - [`needs`]: what agents need of the machine
//! - [`monitor`]: VictoriaMetrics beside the measurement
//! - [`batch`]: the phases of trials that are carried out together
//! - [`experiment`]: the steps of a trial's search
//! - [`limit`]: limits of the target's group
//! - [`evidence`]: what a system says of itself before the load and after it

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::cgroup::{Group, Hierarchies, Tree};
use self::monitor::{Choice, Found, Monitor};
use self::system::{System, Workshop};
use super::{Backend, Cancel, LoadRequest, Observed, Sink, TrialError};
use crate::clock::{RunClock, monotonic_ns};
use crate::experiment::Limits;
use crate::fingerprint::{self, Accounting, Fingerprint, Program};
use crate::load::driver::Loop;
use crate::load::{Driver, LEAD_NS, LoadSpec, k6};
use crate::observer::ebpf;
use crate::observer::telemetry::TelemetryReader;
use crate::plan::{LoadDriver, LoadPlan, Plan, TrialPlan};
use crate::sample::{Sample, Subject};
use crate::scenario::placeholder::Placeholder;
use crate::scenario::{BASELINE, Scenario};
use crate::trial::TrialRecord;
use crate::victoria_metrics::child;
use crate::{owner::Owner, program, workspace};

pub mod batch;
pub mod cgroup;
pub mod cpus;
pub mod evidence;
pub mod experiment;
pub mod limit;
pub mod monitor;
pub mod needs;
pub mod process;
pub mod sampler;
pub mod system;

/// How long the capacity is measured, after as much warm-up again by half.
const CALIBRATION: Duration = Duration::from_millis(1_500);

/// This machine.
#[derive(Debug)]
pub struct LocalBackend {
    /// First, so that it ends before the groups that it is in.
    monitor: Option<Monitor>,
    found: Found,
    workshop: Workshop,
    hierarchies: Hierarchies,
    /// Groups of the machine's own that hold whatever the run starts.
    above: Vec<Group>,
    /// CPUs that the run may use, counted before the harness confined itself.
    cpus: usize,
    limitations: Vec<String>,
    /// The target's program, by the name that scenarios give it.
    targets: BTreeMap<String, Program>,
    /// k6, when it is the load driver.
    k6: Option<Program>,
    accounting: Accounting,
    clock: RunClock,
    cancel: Cancel,
}

/// Which control groups account for the roles.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum GroupChoice {
    /// Every hierarchy that there is.
    #[default]
    Auto,
    /// Version 1 only.
    V1,
    /// Version 2 only.
    V2,
    /// None: processes are accounted one by one.
    Off,
}

/// Removes a run's work directory with everything in it.
#[derive(Debug)]
pub struct WorkDirectory(PathBuf);

impl WorkDirectory {
    /// Where work directories are made.
    pub fn parent() -> PathBuf {
        std::env::temp_dir()
    }

    fn create(owner: Owner) -> Result<Self, TrialError> {
        let path = Self::parent().join(format!("{}{owner}", cgroup::PREFIX));
        fs::create_dir_all(&path).map_err(|error| {
            TrialError::Missing(format!(
                "cannot make the work directory {}: {error}; set TMPDIR to a place that can be written to",
                path.display()
            ))
        })?;
        Ok(WorkDirectory(path))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            log::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}

impl LocalBackend {
    /// Takes this machine for a run: control groups if it may, CPU sets always.
    ///
    /// # Errors
    /// When no work directory can be made.
    pub fn new(
        clock: RunClock,
        cancel: Cancel,
        target_cpus: usize,
        choice: &Choice,
        groups: GroupChoice,
    ) -> Result<Self, TrialError> {
        let owner = Owner::current();
        let work = WorkDirectory::create(owner)?;
        let everywhere = Hierarchies::discover();
        let mut hierarchies = everywhere.clone();
        match groups {
            GroupChoice::Auto | GroupChoice::Off => {}
            GroupChoice::V1 => hierarchies.v2 = None,
            GroupChoice::V2 => hierarchies.v1.clear(),
        }
        let mut limitations = Vec::new();
        let tree = if groups == GroupChoice::Off {
            limitations.push(
                "Control groups were switched off: CPU time and memory are read per process."
                    .to_owned(),
            );
            None
        } else {
            match Tree::create(&hierarchies, &format!("{}{owner}", cgroup::PREFIX)) {
                Ok(tree) => Some(tree),
                Err(error) => {
                    limitations.push(format!(
                        "Control groups could not be used ({error}): CPU time and memory are read per process, and memory counts resident pages, shared ones too."
                    ));
                    None
                }
            }
        };
        let above = everywhere.above(tree.as_ref());
        let found = monitor::find(choice);
        if let Found::Nothing(why) = &found {
            limitations.push(why.clone());
        }
        let allowed = fingerprint::allowed_cpus();
        let cpu_sets = cpus::layout(&allowed, target_cpus);
        if allowed.len() < 2 {
            limitations.push(
                "There is one CPU: load driver, harness and target take turns on it, and the figures hold their interference."
                    .to_owned(),
            );
        }
        sampler::confine_harness(&cpu_sets[&Subject::Harness]);
        Ok(LocalBackend {
            monitor: None,
            found,
            workshop: Workshop {
                tree,
                cpu_sets,
                work,
                ports: Vec::new(),
                agent_ports: Vec::new(),
                agents: BTreeMap::new(),
                scenarios: PathBuf::from("scenarios"),
            },
            hierarchies,
            above,
            cpus: allowed.len(),
            limitations,
            targets: BTreeMap::new(),
            k6: None,
            accounting: Accounting {
                cpu: "processes".into(),
                memory: "processes".into(),
            },
            clock,
            cancel,
        })
    }

    /// Says where the scenario files are, which agents are told who keep their configuration beside them.
    pub fn configured_in(&mut self, scenarios: &Path) {
        self.workshop.scenarios =
            std::path::absolute(scenarios).unwrap_or_else(|_| scenarios.to_owned());
    }

    /// A directory that is gone after the run.
    pub fn work_directory(&self) -> &Path {
        self.workshop.work.path()
    }

    /// Finds what an arm's agent needs, and its programs.
    fn provide_agent(&mut self, arm: &Scenario) -> Result<(), TrialError> {
        let Some(agent) = &arm.agent else {
            return Ok(());
        };
        let mut missing = needs::missing(agent);
        let grouped = self.workshop.tree.as_ref().is_some_and(Tree::has_v2);
        if agent.uses(Placeholder::TargetCgroup) && missing.is_empty() && !grouped {
            missing.push(
                "the target has no control group of version 2; leave --cgroups out, or use --cgroups v2"
                    .into(),
            );
        }
        if !missing.is_empty() {
            return Err(TrialError::Missing(format!(
                "{} can't run here: {}",
                arm.name,
                missing.join("; ")
            )));
        }
        for process in &agent.processes {
            let name = &process.command[0];
            if !self.workshop.agents.contains_key(name) {
                let program = system::identify_agent(name, agent)?;
                self.workshop.agents.insert(name.clone(), program);
            }
        }
        Ok(())
    }

    /// Has one arm answer a request, and finds the baseline's capacity if asked to.
    async fn try_arm(
        &mut self,
        arm: &Scenario,
        calibrate: bool,
    ) -> Result<Option<f64>, TrialError> {
        let mut system = None;
        let mut cancel = self.cancel.clone();
        let outcome = tokio::select! {
            outcome = self.try_system(arm, calibrate, &mut system) => outcome,
            _ = cancel.wait_for(|cancelled| *cancelled) => Err(TrialError::Interrupted),
        };
        if let Some(system) = system {
            self.accounting = system.accounting();
            system.teardown().await;
        }
        outcome
    }

    async fn try_system(
        &self,
        arm: &Scenario,
        calibrate: bool,
        slot: &mut Option<System>,
    ) -> Result<Option<f64>, TrialError> {
        let program = &self.targets[&arm.target.program];
        let system = System::up(&self.workshop, arm, program, 0, Limits::default(), slot).await?;
        if system.prove(arm).await? == Some(0.0) {
            let reader = system.telemetry.as_ref();
            return Err(system.unhealthy_agent(format!(
                "did not account for a request that the target answered ({} stays 0)",
                reader.map(TelemetryReader::describe).unwrap_or_default()
            )));
        }
        if !calibrate {
            return Ok(None);
        }
        let measure = CALIBRATION.as_secs_f64();
        let spec = LoadSpec::new(&arm.load, &system.url, 1.0, measure / 2.0, measure);
        let (mut driver, _) =
            Driver::builtin(&self.workshop, spec, Loop::Closed, 0, &mut system.groups).await?;
        driver.begin(monotonic_ns() + LEAD_NS).await?;
        let result = tokio::select! {
            result = driver.result() => result?,
            error = system.ended(crate::sample::Phase::Setup) => return Err(error),
        };
        driver.stop().await;
        log::debug!("calibration: {result:?}");
        if result.completed == 0 {
            return Err(system.unhealthy(format!(
                "answered no request under load: {}",
                result.failures.join("; ")
            )));
        }
        Ok(Some(result.completed as f64 / result.window_seconds))
    }
}

impl Backend for LocalBackend {
    async fn preflight(
        &mut self,
        arms: &[Scenario],
        load: LoadRequest,
    ) -> Result<LoadPlan, TrialError> {
        if load.driver == LoadDriver::K6 {
            self.k6 = Some(k6_program()?);
            self.limitations.push(
                "k6 counts a request's duration from the moment it was sent, not from when it was due; waits of late requests are not in it."
                    .into(),
            );
        }
        monitor::require(&self.found).await?;
        if ebpf::is_timed() {
            return Err(TrialError::Missing(
                "the kernel times every run of every eBPF program, which costs each of them (kernel.bpf_stats_enabled is not 0); switch it off with: sysctl -w kernel.bpf_stats_enabled=0"
                    .into(),
            ));
        }
        for arm in arms {
            self.provide_agent(arm)?;
            if !self.targets.contains_key(&arm.target.program) {
                let path = workspace::provide(&arm.target.program)?;
                let program = system::identify(&arm.target.program, &path)?;
                self.targets.insert(arm.target.program.clone(), program);
            }
        }
        while self.workshop.agent_ports.len() < arms.len() {
            let port = child::free_port().map_err(|error| {
                TrialError::Missing(format!("no loopback port is free: {error}"))
            })?;
            let Workshop {
                ports, agent_ports, ..
            } = &mut self.workshop;
            if ports.contains(&port) || agent_ports.contains(&port) {
                continue;
            }
            // As many of one kind as of the other, however often this is called.
            if ports.len() < arms.len() {
                ports.push(port);
            } else {
                agent_ports.push(port);
            }
        }
        let mut capacity = None;
        for arm in arms {
            let calibrate = arm.name == BASELINE && load.rate.is_none();
            capacity = self.try_arm(arm, calibrate).await?.or(capacity);
        }
        load.settled(load.driver, capacity)
    }

    fn fingerprint(&self, arms: &[Scenario]) -> Fingerprint {
        Fingerprint {
            harness: fingerprint::harness(),
            machine: fingerprint::machine(self.cpus),
            cgroups: self.hierarchies.describe().to_owned(),
            cpu_sets: self
                .workshop
                .cpu_sets
                .iter()
                .map(|(subject, cpus)| (subject.as_str().to_owned(), cpus.clone()))
                .collect(),
            accounting: self.accounting.clone(),
            programs: self
                .targets
                .values()
                .chain(self.workshop.agents.values())
                .chain(&self.k6)
                .chain(match &self.found {
                    Found::Program(_, program) => Some(program),
                    _ => None,
                })
                .map(without_directory)
                .collect(),
            scenario_files: arms
                .iter()
                .map(|arm| (arm.name.clone(), arm.file_sha256.clone()))
                .collect(),
        }
    }

    fn limitations(&self) -> Vec<String> {
        self.limitations.clone()
    }

    async fn begin(&mut self, plan: &Plan, directory: &Path) -> Result<(), TrialError> {
        let started =
            Monitor::start(&self.found, &self.workshop, self.clock, plan, directory).await;
        self.monitor = match started {
            // A server was asked for; a child is only a second opinion.
            Err(error) if matches!(self.found, Found::Program(..)) => {
                log::warn!(
                    "the run goes on without VictoriaMetrics, and trials have no cross-check: {}",
                    crate::error::text(&error)
                );
                None
            }
            started => started?,
        };
        Ok(())
    }

    async fn batch(
        &mut self,
        plan: &Plan,
        trials: &[TrialPlan],
        sink: &mut dyn Sink,
    ) -> Vec<Result<Observed, TrialError>> {
        match (&plan.experiment, trials) {
            (Some(experiment), [trial]) => {
                vec![self.run_search(plan, experiment, trial, sink).await]
            }
            _ => self.run_batch(plan, trials, sink).await,
        }
    }

    async fn conclude(&mut self, trials: &[TrialRecord]) -> Vec<Sample> {
        let Some(mut monitor) = self.monitor.take() else {
            return Vec::new();
        };
        let samples = monitor.cross_check(self.clock, trials).await;
        monitor.stop().await;
        samples
    }

    // Groups, processes and the work directory go with the value.
    async fn release(&mut self) {}
}

/// Where a program lies is the user's own business; records are published.
fn without_directory(program: &Program) -> Program {
    let name = |path: &String| Some(Path::new(path).file_name()?.to_string_lossy().into_owned());
    Program {
        command: program.command.as_ref().and_then(name),
        ..program.clone()
    }
}

fn k6_program() -> Result<Program, TrialError> {
    let missing = |error: program::ProgramError| TrialError::Missing(error.to_string());
    let path = k6::find_program(None).map_err(missing)?;
    Ok(Program {
        name: "k6".into(),
        version: k6::version(&path).map_err(missing)?,
        sha256: program::sha256(&path).ok(),
        command: Some(path.display().to_string()),
    })
}
