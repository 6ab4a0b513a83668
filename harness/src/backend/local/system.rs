//! One arm's target and agent: brought up, asked whether they work, taken down.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::cgroup::{Group, Tree};
use super::cpus::CpuSets;
use super::process::{Process, Spawn};
use super::sampler::RoleObserver;
use super::{TrialError, WorkDirectory};
use crate::experiment::Limits;
use crate::fingerprint::{Accounting, Program};
use crate::intake::child::Intake;
use crate::observer::delivered::DeliveredReader;
use crate::observer::target::TargetMetrics;
use crate::observer::telemetry::TelemetryReader;
use crate::observer::{ebpf, prometheus};
use crate::program;
use crate::sample::{Phase, Subject};
use crate::scenario::placeholder::{self, Placeholder};
use crate::scenario::{Agent, AgentProcess, Scenario, Start};
use crate::setup::build::Built;
use crate::{setup, workspace};

/// How long a target may take to drain after SIGTERM.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Pause between two looks at whether the target answers.
const HEALTH_POLL: Duration = Duration::from_millis(5);

/// What every trial of a run builds with.
#[derive(Debug)]
pub struct Workshop {
    /// The run's control groups, where there are any.
    pub tree: Option<Tree>,
    /// CPUs by role.
    pub cpu_sets: CpuSets,
    /// Copies of programs, output of children; gone after the run.
    pub work: WorkDirectory,
    /// Ports of targets that have none of their own, one for each that is alive at a time.
    pub ports: Vec<u16>,
    /// Ports for what agents serve, likewise.
    pub agent_ports: Vec<u16>,
    /// The directory of the scenario files; where it lies is in no record.
    pub scenarios: PathBuf,
    /// The agents' programs, by the name that scenarios give them.
    pub agents: BTreeMap<String, Program>,
}

/// What a role's group or file is called when several trials are alive at a time.
fn seated(name: &str, seat: usize) -> String {
    match seat {
        0 => name.to_owned(),
        seat => format!("{name}-{}", seat + 1),
    }
}

impl Workshop {
    /// Makes a role's control group, where there are any, and notes it down for teardown.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn group(
        &self,
        subject: Subject,
        seat: usize,
        groups: &mut Vec<Group>,
    ) -> Result<Option<Group>, TrialError> {
        let Some(tree) = &self.tree else {
            return Ok(None);
        };
        let group = tree.group(&seated(subject.as_str(), seat))?;
        // A driver that comes after another has the same.
        if !groups.contains(&group) {
            groups.push(group.clone());
        }
        Ok(Some(group))
    }

    /// The file that takes a role's output.
    pub fn log(&self, name: &str, seat: usize) -> PathBuf {
        self.work.path().join(format!("{}.log", seated(name, seat)))
    }
}

/// Who a target program is: its version and hash. `command` holds its path.
///
/// # Errors
/// When it can't be read, or does not tell its version.
pub fn identify(name: &str, path: &Path) -> Result<Program, TrialError> {
    let version = said(path, &["--version"])?;
    let sha256 = program::sha256(path).map_err(|source| TrialError::Observe {
        what: path.display().to_string(),
        source,
    })?;
    Ok(Program {
        name: name.to_owned(),
        version,
        sha256: Some(sha256),
        command: Some(path.display().to_string()),
    })
}

/// What a program says of its version.
fn said(path: &Path, says: &[&str]) -> Result<String, TrialError> {
    program::first_line(path, says).map_err(|error| {
        TrialError::Missing(format!(
            "{error}; a program whose version is unknown is not measured"
        ))
    })
}

/// Who a program of an agent is. One of this workspace says its version itself, as
/// one does that a recipe builds; others are what their scenario says that they are.
///
/// # Errors
/// When there is no such program, it can't be built or read.
pub fn identify_agent(name: &str, agent: &Agent) -> Result<Program, TrialError> {
    if workspace::is_program(name) {
        return identify(name, &workspace::provide(name)?);
    }
    if let Some(recipe) = workspace::recipe(name)? {
        let Built { path, receipt } =
            setup::provide(&recipe).map_err(|error| TrialError::Missing(error.to_string()))?;
        return Ok(Program {
            name: name.to_owned(),
            version: receipt.version,
            sha256: Some(receipt.sha256),
            command: Some(path.display().to_string()),
        });
    }
    let path = if name.contains('/') {
        PathBuf::from(name)
    } else {
        program::on_path(name).ok_or_else(|| {
            TrialError::Missing(format!("the agent's program `{name}` is not on PATH"))
        })?
    };
    let sha256 = program::sha256(&path).map_err(|source| TrialError::Observe {
        what: path.display().to_string(),
        source,
    })?;
    let file = path.file_name().unwrap_or_default();
    let version = match agent.needed_program(name) {
        Some(needed) if !needed.says.is_empty() => {
            let says: Vec<&str> = needed.says.iter().map(String::as_str).collect();
            said(&path, &says)?
        }
        _ => agent.version.clone(),
    };
    Ok(Program {
        name: file.to_string_lossy().into_owned(),
        version,
        sha256: Some(sha256),
        command: Some(path.display().to_string()),
    })
}

/// A target that answers, and its agent.
#[derive(Debug)]
pub struct System {
    /// The target's base address, such as `http://127.0.0.1:8080`.
    pub url: String,
    /// From the start of its process to its first answer.
    pub startup: Duration,
    /// The target's request counter.
    pub metrics: TargetMetrics,
    /// The agent's own count of requests, where it says how it counts.
    pub telemetry: Option<TelemetryReader>,
    /// Programs that were attached to the target's group before the agent was
    /// started, where that can be known.
    pub attached_before: Option<u32>,
    /// What was sent to the intake, where there is one.
    pub delivered: Option<DeliveredReader>,
    /// The groups to remove, in the order in which they were made.
    pub groups: Vec<Group>,
    /// Readers of target, agent and intake.
    pub observers: Vec<RoleObserver>,
    program: String,
    scenarios: PathBuf,
    seat: usize,
    port: u16,
    agent_port: u16,
    target: Option<Process>,
    agent: Vec<Process>,
    /// How many of them were started before the target.
    agent_before: usize,
    /// Before all others, after whom it is stopped.
    intake: Option<Intake>,
    target_group: Option<Group>,
}

impl System {
    /// Starts what of an arm's agent comes first, its target under its limits, waits until that
    /// answers, then starts the rest of the agent and waits until that answers,
    /// if it says how.
    ///
    /// The system stands in `slot` from the first process on, so that whoever
    /// is interrupted can take down what is there.
    ///
    /// # Errors
    /// When something can't be started or never answers.
    pub async fn up<'s>(
        workshop: &Workshop,
        arm: &Scenario,
        program: &Program,
        seat: usize,
        limits: Limits,
        slot: &'s mut Option<System>,
    ) -> Result<&'s mut System, TrialError> {
        let port = arm
            .target
            .port
            .or(workshop.ports.get(seat).copied())
            .expect("preflight chose the ports");
        // Asked here, because a target's own words about it may be anything.
        TcpListener::bind(("127.0.0.1", port)).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => TrialError::PortTaken { port },
            _ => TrialError::Missing(format!(
                "no target can listen on port {port}: {error}; choose another one, or leave `target.port` out so that a free one is used"
            )),
        })?;
        let url = format!("http://127.0.0.1:{port}");
        let system = slot.insert(System {
            metrics: TargetMetrics::new(&url, arm.load.route()),
            telemetry: None,
            delivered: None,
            attached_before: None,
            startup: Duration::ZERO,
            groups: Vec::new(),
            observers: Vec::new(),
            program: program.name.clone(),
            scenarios: workshop.scenarios.clone(),
            seat,
            port,
            agent_port: workshop.agent_ports.get(seat).copied().unwrap_or_default(),
            target: None,
            agent: Vec::new(),
            agent_before: 0,
            intake: None,
            target_group: None,
            url,
        });
        if arm.uses_intake() {
            let (intake, observer) = Intake::start(workshop, seat, &mut system.groups).await?;
            system.delivered = Some(DeliveredReader::new(&intake.addresses.metrics));
            system.intake = Some(intake);
            system.observers.push(observer);
        }
        let agent_group = match &arm.agent {
            // One that is part of the target has no cost of its own.
            Some(agent) if !agent.processes.is_empty() => {
                workshop.group(Subject::Agent, seat, &mut system.groups)?
            }
            _ => None,
        };
        let group = agent_group.as_ref();
        system
            .start_agents(workshop, arm, Start::BeforeTarget, group)
            .await?;
        system.agent_before = system.agent.len();
        system.start_target(workshop, arm, program, limits)?;
        let limit = Duration::from_secs_f64(arm.target.startup_timeout_seconds);
        system.wait_healthy(limit).await?;
        system.attached_before = system.attached();
        if let Some(agent) = &arm.agent {
            if !agent.processes.is_empty() {
                system
                    .start_agents(workshop, arm, Start::AfterTarget, group)
                    .await?;
                let pids = system.agent.iter().filter_map(Process::pid).collect();
                let observer = RoleObserver::open(Subject::Agent, group, pids)?;
                system.observers.push(observer);
            }
            if let Some(telemetry) = &agent.telemetry {
                let addresses = system.intake.as_ref().map(|intake| &intake.addresses);
                let counts = addresses.map(|addresses| addresses.metrics.as_str());
                let reader = TelemetryReader::new(telemetry, counts, |text| system.fill(arm, text));
                system.wait_ready(agent, &reader).await?;
                system.telemetry = Some(reader);
            }
        }
        Ok(system)
    }

    /// How many eBPF programs are attached to the target's own group; none
    /// where there is no such group, or no right to know.
    pub fn attached(&self) -> Option<u32> {
        ebpf::attached(self.target_group.as_ref()?.v2()?).ok()
    }

    /// A text of the scenario with what is known only now.
    fn fill(&self, arm: &Scenario, text: &str) -> String {
        placeholder::fill(text, |placeholder| match placeholder {
            Placeholder::TargetUrl => self.url.clone(),
            Placeholder::TargetPort => self.port.to_string(),
            Placeholder::TargetPid => {
                let pid = self.target.as_ref().and_then(Process::pid);
                pid.map(|pid| pid.to_string()).unwrap_or_default()
            }
            Placeholder::TargetCgroup => {
                let group = self.target_group.as_ref().and_then(Group::v2);
                group
                    .map(|path| path.display().to_string())
                    .unwrap_or_default()
            }
            Placeholder::TargetRoute => arm.load.route().to_owned(),
            Placeholder::AgentPort => self.agent_port.to_string(),
            Placeholder::Copies => {
                let agent = arm.agent.as_ref();
                agent
                    .and_then(|agent| agent.copies)
                    .unwrap_or(1)
                    .to_string()
            }
            Placeholder::Scenarios => self.scenarios.display().to_string(),
            Placeholder::IntakeOtlpHttp
            | Placeholder::IntakeOtlpGrpc
            | Placeholder::IntakeDatadog
            | Placeholder::IntakeStatsd
            | Placeholder::IntakeStatsdPort => {
                let intake = self.intake.as_ref();
                let word = intake.and_then(|intake| intake.addresses.word(placeholder));
                word.unwrap_or_default().to_owned()
            }
        })
    }

    fn start_target(
        &mut self,
        workshop: &Workshop,
        arm: &Scenario,
        program: &Program,
        limits: Limits,
    ) -> Result<(), TrialError> {
        let copy = own_copy(workshop, arm, program)?;
        let group = workshop.group(Subject::Target, self.seat, &mut self.groups)?;
        match &group {
            Some(group) => limits.apply(group)?,
            None => limits.try_on(None)?,
        }
        let args = arm.target.arguments(&format!("127.0.0.1:{}", self.port));
        // Its own group can be asked for from here on.
        self.target_group = group.clone();
        let env = arm.target.env.iter();
        let target = Process::spawn(Spawn {
            subject: Subject::Target,
            program: &copy,
            args,
            env: env
                .map(|(name, value)| (name.clone(), self.fill(arm, value)))
                .collect(),
            cpus: &workshop.cpu_sets[&Subject::Target],
            group: group.as_ref(),
            log: workshop.log("target", self.seat),
            piped: false,
        })?;
        let pids = target.pid().into_iter().collect();
        self.target = Some(target);
        let observer = RoleObserver::open(Subject::Target, group.as_ref(), pids)?;
        // The first to be read: the closer to the edge the better.
        self.observers.insert(0, observer);
        Ok(())
    }

    /// Starts the agent's programs whose time it is. Those that the target sends
    /// to are waited for.
    async fn start_agents(
        &mut self,
        workshop: &Workshop,
        arm: &Scenario,
        start: Start,
        group: Option<&Group>,
    ) -> Result<(), TrialError> {
        let Some(agent) = &arm.agent else {
            return Ok(());
        };
        for process in agent.processes.iter().filter(|one| one.start == start) {
            self.start_agent(workshop, arm, process, group)?;
            let texts = process.command.iter().chain(process.env.values());
            let mut ports = texts.filter_map(|text| placeholder::find(text).ok());
            if start == Start::BeforeTarget
                && ports.any(|found| found.contains(&Placeholder::AgentPort))
            {
                self.wait_listening(agent).await?;
            }
        }
        Ok(())
    }

    /// Waits until the agent's port takes connections.
    async fn wait_listening(&mut self, agent: &Agent) -> Result<(), TrialError> {
        let limit = Duration::from_secs_f64(agent.startup_timeout_seconds);
        let port = self.agent_port;
        let listening = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(HEALTH_POLL).await;
            }
        };
        if !self.comes_within(limit, listening).await? {
            return Err(self.unhealthy_agent(format!(
                "did not listen on port {port} within {limit:?} (`agent.startup_timeout`)"
            )));
        }
        Ok(())
    }

    /// Whether something comes about in its time, while nobody ends who should not.
    async fn comes_within(
        &mut self,
        limit: Duration,
        something: impl Future<Output = ()>,
    ) -> Result<bool, TrialError> {
        tokio::select! {
            error = self.ended(Phase::Setup) => Err(error),
            outcome = tokio::time::timeout(limit, something) => Ok(outcome.is_ok()),
        }
    }

    fn start_agent(
        &mut self,
        workshop: &Workshop,
        arm: &Scenario,
        process: &AgentProcess,
        group: Option<&Group>,
    ) -> Result<(), TrialError> {
        let program = process.command.first().and_then(|name| {
            let program = workshop.agents.get(name)?;
            program.command.as_deref()
        });
        let program = PathBuf::from(program.expect("preflight found the agents' programs"));
        let args = process.command.iter().skip(1);
        let env = process.env.iter();
        self.agent.push(Process::spawn(Spawn {
            subject: Subject::Agent,
            program: &program,
            args: args.map(|text| self.fill(arm, text)).collect(),
            env: env
                .map(|(name, value)| (name.clone(), self.fill(arm, value)))
                .collect(),
            cpus: &workshop.cpu_sets[&Subject::Agent],
            group,
            log: workshop.log(
                &format!("agent-process-{}", self.agent.len() + 1),
                self.seat,
            ),
            piped: false,
        })?);
        Ok(())
    }

    /// Waits until the agent answers.
    async fn wait_ready(
        &mut self,
        agent: &Agent,
        reader: &TelemetryReader,
    ) -> Result<(), TrialError> {
        let limit = Duration::from_secs_f64(agent.startup_timeout_seconds);
        if !self.comes_within(limit, reader.ready()).await? {
            return Err(self.unhealthy_agent(format!(
                "did not serve {} within {limit:?} (`agent.startup_timeout`)",
                reader.describe()
            )));
        }
        Ok(())
    }

    /// Has the target answer a checked request, and waits until the agent
    /// accounts for one: the proof that it works before any load.
    ///
    /// Gives what the agent counts then, and 0 when it saw nothing in its time.
    ///
    /// # Errors
    /// When the answer is not what was asked for, or the agent does not answer.
    pub async fn prove(&self, arm: &Scenario) -> Result<Option<f64>, TrialError> {
        self.check(arm).await?;
        let (Some(agent), Some(reader)) = (&arm.agent, &self.telemetry) else {
            return Ok(None);
        };
        let limit = Duration::from_secs_f64(agent.startup_timeout_seconds);
        let counted = reader.proven(limit, async || self.check(arm).await);
        counted.await.map(Some)
    }

    async fn wait_healthy(&mut self, limit: Duration) -> Result<(), TrialError> {
        let began = Instant::now();
        let client = prometheus::client(limit);
        let url = format!("{}/healthz", self.url);
        let healthy = async {
            loop {
                let answer = client.get(&url).send().await;
                if answer.is_ok_and(|response| response.status().is_success()) {
                    return;
                }
                tokio::time::sleep(HEALTH_POLL).await;
            }
        };
        if !self.comes_within(limit, healthy).await? {
            return Err(self.unhealthy(format!(
                "did not answer {url} within {limit:?} (`target.startup_timeout`)"
            )));
        }
        self.startup = began.elapsed();
        Ok(())
    }

    /// Sends one request as the load will and looks at the answer.
    ///
    /// # Errors
    /// When the answer is not the array that was asked for.
    pub async fn check(&self, arm: &Scenario) -> Result<(), TrialError> {
        let url = format!("{}{}", self.url, arm.load.path);
        let limit = Duration::from_secs_f64(arm.load.timeout_seconds);
        let response = prometheus::client(limit)
            .get(&url)
            .send()
            .await
            .map_err(|error| self.unhealthy(format!("did not answer {url}: {error}")))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.unhealthy(format!("answered {url} with {status}")));
        }
        let is_array = response
            .json::<serde_json::Value>()
            .await
            .is_ok_and(|value| value.is_array());
        if !is_array {
            return Err(self.unhealthy(format!(
                "answered {url} with something else than a JSON array"
            )));
        }
        self.metrics.requests().await?;
        Ok(())
    }

    /// Waits until target, agent or intake ends, which none of them should.
    pub async fn ended(&mut self, phase: Phase) -> TrialError {
        let System {
            target,
            agent,
            intake,
            ..
        } = self;
        let processes = ended_first(target.iter_mut().chain(agent), phase);
        match intake {
            Some(intake) => tokio::select! {
                error = processes => error,
                error = intake.ended(phase) => error,
            },
            None => processes.await,
        }
    }

    /// The error of whoever has ended that [`Self::ended`] waits for, if one has.
    pub fn has_ended(&mut self, phase: Phase) -> Option<TrialError> {
        let own = self.target.iter_mut().chain(&mut self.agent);
        let mut own = own.filter_map(|process| process.has_ended(phase));
        own.next()
            .or_else(|| self.intake.as_mut()?.has_ended(phase))
    }

    /// The error of a target that runs and does not do its work.
    pub fn unhealthy(&self, problem: String) -> TrialError {
        TrialError::Unhealthy {
            program: self.program.clone(),
            problem,
            output: self
                .target
                .as_ref()
                .map(Process::output)
                .unwrap_or_default(),
        }
    }

    /// The error of an agent that runs and does not do its work.
    pub fn unhealthy_agent(&self, problem: String) -> TrialError {
        let first = self.agent.first();
        // One that is part of the target speaks through it.
        let first = first.or(self.target.as_ref());
        TrialError::UnhealthyAgent {
            program: first
                .map(|process| process.program().to_owned())
                .unwrap_or_default(),
            problem,
            output: first.map(Process::output).unwrap_or_default(),
        }
    }

    /// Where the target's figures come from.
    pub fn accounting(&self) -> Accounting {
        self.observers.first().map_or(
            Accounting {
                cpu: "processes".into(),
                memory: "processes".into(),
            },
            RoleObserver::accounting,
        )
    }

    /// Stops everything, what was started last first, and removes the groups.
    pub async fn teardown(mut self) {
        let before = self.agent_before.min(self.agent.len());
        for process in self.agent.drain(before..) {
            process.stop(STOP_GRACE).await;
        }
        if let Some(target) = self.target.take() {
            target.stop(STOP_GRACE).await;
        }
        for process in self.agent.drain(..) {
            process.stop(STOP_GRACE).await;
        }
        if let Some(intake) = self.intake.take() {
            intake.stop().await;
        }
        self.remove_groups();
    }

    fn remove_groups(&mut self) {
        for group in self.groups.drain(..).rev() {
            if let Err(error) = group.remove() {
                log::warn!("cannot remove a control group: {error}");
            }
        }
    }
}

/// Waits until the first of some processes ends.
async fn ended_first(processes: impl Iterator<Item = &mut Process>, phase: Phase) -> TrialError {
    let mut ends: Vec<_> = processes
        .map(|process| Box::pin(process.ended(phase)))
        .collect();
    std::future::poll_fn(|context| {
        for end in &mut ends {
            if let std::task::Poll::Ready(error) = end.as_mut().poll(context) {
                return std::task::Poll::Ready(error);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// Every arm runs its own copy of the program: a uprobe sits on the file's
/// inode and taxes every process of that file, the baseline's too.
fn own_copy(workshop: &Workshop, arm: &Scenario, program: &Program) -> Result<PathBuf, TrialError> {
    let source = PathBuf::from(program.command.as_deref().unwrap_or_default());
    let directory = workshop.work.path().join("arms").join(&arm.name);
    let copy = directory.join(source.file_name().unwrap_or_default());
    if !copy.exists() {
        fs::create_dir_all(&directory)
            .and_then(|()| fs::copy(&source, &copy).map(|_| ()))
            .map_err(|error| TrialError::Start {
                role: "target",
                program: source.display().to_string(),
                source: error,
            })?;
    }
    Ok(copy)
}
