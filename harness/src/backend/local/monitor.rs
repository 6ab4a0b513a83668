//! VictoriaMetrics beside the measurement: a child that scrapes, or a server
//! that is given and gets the readings pushed.
//!
//! It is a second opinion, never a condition: without it, or when it breaks,
//! the run goes on and the report says so.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::TrialError;
use super::batch::ENDING;
use super::cgroup::Group;
use super::process::{Process, Spawn};
use super::sampler::RoleObserver;
use super::system::Workshop;
use crate::clock::{RunClock, unix_seconds};
use crate::error;
use crate::exporter::{self, Exporter};
use crate::fingerprint::Program;
use crate::plan::Plan;
use crate::program;
use crate::sample::{Phase, Reading, Sample, Subject};
use crate::scenario::Scenario;
use crate::trial::{TrialRecord, TrialStatus};
use crate::victoria_metrics::{Client, NAME, Selectors, ServerUrl, child, cross_check};

/// How long a child may take to answer; it needs a few tens of milliseconds.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// How long a server that is given may take to answer.
const SERVER_LIMIT: Duration = Duration::from_secs(3);
/// How long a query waits for the last rows to become visible.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a child may take to write its data down.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Which VictoriaMetrics a run uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// A child, when the program is installed.
    #[default]
    Child,
    /// A server that runs already.
    Server(ServerUrl),
    /// None.
    Off,
}

/// What was found to be used, before the run.
#[derive(Debug)]
pub enum Found {
    /// A program to start.
    Program(PathBuf, Program),
    /// A server that runs already.
    Server(ServerUrl),
    /// Nothing, with the sentence for the report.
    Nothing(String),
}

/// Looks for what was chosen.
pub fn find(choice: &Choice) -> Found {
    match choice {
        Choice::Off => Found::Nothing(
            "VictoriaMetrics was switched off: there are no series to query and no cross-check."
                .into(),
        ),
        Choice::Server(url) => Found::Server(url.clone()),
        Choice::Child => {
            let found = child::find_program(None).and_then(|path| {
                let version = child::version(&path)?;
                Ok((path, version))
            });
            match found {
                Ok((path, version)) => {
                    let program = Program {
                        name: NAME.into(),
                        version,
                        sha256: program::sha256(&path).ok(),
                        command: Some(path.display().to_string()),
                    };
                    Found::Program(path, program)
                }
                Err(error) => Found::Nothing(format!(
                    "There was no VictoriaMetrics, so there are no series to query and no cross-check: {error}."
                )),
            }
        }
    }
}

/// Whether a server that was given answers: known before anything takes time or is written.
///
/// # Errors
/// When it doesn't.
pub async fn require(found: &Found) -> Result<(), TrialError> {
    match found {
        Found::Server(url) => server(url).await.map(|_| ()),
        Found::Program(..) | Found::Nothing(_) => Ok(()),
    }
}

/// A client of a server that answers.
async fn server(url: &ServerUrl) -> Result<Client, TrialError> {
    let client = client(url.clone())?;
    client.wait_ready(SERVER_LIMIT).await.map_err(missing)?;
    Ok(client)
}

/// VictoriaMetrics during a run.
#[derive(Debug)]
pub struct Monitor {
    client: Client,
    kind: Kind,
    /// Seconds since the epoch when the run's clock stood at 0.
    epoch: f64,
    route: String,
}

#[derive(Debug)]
enum Kind {
    /// Scrapes the target and the exporter.
    Child(Box<Child>),
    /// Gets every reading pushed.
    Server,
}

#[derive(Debug)]
struct Child {
    process: Process,
    observer: RoleObserver,
    exporter: Exporter,
    group: Option<Group>,
}

impl Monitor {
    /// Starts what was found, its data in the run's directory.
    ///
    /// # Errors
    /// When a child can't be started or a server does not answer.
    pub async fn start(
        found: &Found,
        workshop: &Workshop,
        clock: RunClock,
        plan: &Plan,
        directory: &Path,
    ) -> Result<Option<Monitor>, TrialError> {
        // Its series know one target at a time, and scrapes a second apart can't
        // tell whose turn it was.
        if plan.slices > 1 {
            return Ok(None);
        }
        let (client, kind) = match found {
            Found::Nothing(_) => return Ok(None),
            Found::Server(url) => (server(url).await?, Kind::Server),
            Found::Program(path, _) => {
                let port = target_port(plan.arms.first(), &workshop.ports);
                start_child(path, workshop, directory, port).await?
            }
        };
        let load_path = plan.arms.first().map_or("/objects", |arm| &arm.load.path);
        Ok(Some(Monitor {
            client,
            kind,
            epoch: unix_seconds() - clock.now(),
            route: load_path.split('?').next().unwrap_or_default().to_owned(),
        }))
    }

    /// The server's address, for whoever pushes.
    pub fn server(&self) -> &ServerUrl {
        self.client.server()
    }

    /// Reader of a child's cost.
    pub fn observer(&self) -> Option<&RoleObserver> {
        match &self.kind {
            Kind::Child(child) => Some(&child.observer),
            Kind::Server => None,
        }
    }

    /// Whether the harness must read the target's counter itself, as nobody scrapes it.
    pub fn wants_request_counts(&self) -> bool {
        matches!(self.kind, Kind::Server)
    }

    /// Shows the latest readings to whoever scrapes.
    pub fn publish(&self, samples: &[Sample]) {
        if let Kind::Child(child) = &self.kind {
            child
                .exporter
                .publish(exporter::readings(samples, self.epoch));
        }
    }

    /// Pushes a trial's readings to a server that can't scrape them.
    pub async fn push(&self, samples: &[Sample]) {
        if !self.wants_request_counts() {
            return;
        }
        // One moment at a time: only the latest of each kind is shown.
        let mut text = exporter::render(&exporter::requests(samples, self.epoch, &self.route));
        for moment in samples.chunk_by(|a, b| a.subject == b.subject) {
            text.push_str(&exporter::render(&exporter::readings(moment, self.epoch)));
        }
        if let Err(error) = self.client.import(text).await {
            log::warn!("VictoriaMetrics took no readings: {}", error::text(&error));
        }
    }

    /// How a child ended, if it has.
    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        match &mut self.kind {
            Kind::Child(child) => child.process.status(),
            Kind::Server => None,
        }
    }

    /// Asks for each counted trial's cost, as the series have it.
    pub async fn cross_check(&mut self, clock: RunClock, trials: &[TrialRecord]) -> Vec<Sample> {
        let samples = match self.ended() {
            None => self.ask(clock, trials).await,
            Some(_) => Vec::new(),
        };
        let valid = |trial: &&TrialRecord| trial.status == TrialStatus::Valid;
        if samples.len() < trials.iter().filter(valid).count() {
            tokio::time::sleep(ENDING).await;
        }
        if let (Some(status), Kind::Child(child)) = (self.ended(), &self.kind) {
            log::warn!(
                "VictoriaMetrics ended with {status}; the run went on without it, and trials have no cross-check; its last output:\n{}",
                child.process.output().trim_end()
            );
        }
        samples
    }

    async fn ask(&self, clock: RunClock, trials: &[TrialRecord]) -> Vec<Sample> {
        let selectors = Selectors::new(Subject::Target.as_str(), &self.route);
        let mut samples = Vec::new();
        for trial in trials
            .iter()
            .filter(|trial| trial.status == TrialStatus::Valid)
        {
            let Some(window) = trial.window_unix else {
                continue;
            };
            match cross_check(&self.client, &selectors, window, PATIENCE).await {
                Ok(found) => samples.push(Sample::new(
                    trial.trial,
                    Phase::Measure,
                    Subject::Target,
                    Reading::VictoriaMetricsCpuSecondsPerRequest,
                    found.cpu_seconds_per_request,
                    clock.now(),
                )),
                Err(error) => log::warn!(
                    "trial {} has no cross-check: {}",
                    trial.trial,
                    error::text(&error)
                ),
            }
        }
        samples
    }

    /// Stops a child.
    pub async fn stop(self) {
        if let Kind::Child(child) = self.kind {
            child.process.stop(STOP_GRACE).await;
            if let Some(error) = child.group.and_then(|group| group.remove().err()) {
                log::warn!("cannot remove a control group: {error}");
            }
        }
    }
}

/// Where the target listens that is scraped: at the port that the first arm's scenario names, else
/// at the first of the run's own. An arm that listens elsewhere has no cross-check, which is told.
fn target_port(first: Option<&Scenario>, ports: &[u16]) -> u16 {
    let own = first.and_then(|arm| arm.target.port);
    own.or(ports.first().copied()).unwrap_or_default()
}

async fn start_child(
    path: &Path,
    workshop: &Workshop,
    directory: &Path,
    target_port: u16,
) -> Result<(Client, Kind), TrialError> {
    let exporter = Exporter::start().await.map_err(missing)?;
    let jobs = [
        child::ScrapeJob {
            name: Subject::Target.as_str().into(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, target_port)),
        },
        child::ScrapeJob {
            name: "flora-bench".into(),
            address: exporter.address(),
        },
    ];
    let data = directory.join("victoria-metrics");
    let config = workshop.work.path().join("scrape.yaml");
    fs::create_dir_all(&data)
        .and_then(|()| fs::write(&config, child::scrape_config(&jobs)))
        .map_err(|source| TrialError::Observe {
            what: data.display().to_string(),
            source,
        })?;
    let port = child::free_port().map_err(missing)?;
    let invocation = child::command(path, port, &data, &config);
    let mut groups = Vec::new();
    let group = workshop.group(Subject::VictoriaMetrics, 0, &mut groups)?;
    let mut process = Process::spawn(Spawn {
        subject: Subject::VictoriaMetrics,
        program: &invocation.program,
        args: invocation
            .args
            .iter()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect(),
        env: invocation.env,
        cpus: &workshop.cpu_sets[&Subject::VictoriaMetrics],
        group: group.as_ref(),
        log: workshop.log("victoria-metrics", 0),
        piped: false,
    })?;
    let pids = process.pid().into_iter().collect();
    let observer = RoleObserver::open(Subject::VictoriaMetrics, group.as_ref(), pids)?;
    let client = client(ServerUrl::loopback(port))?;
    tokio::select! {
        ready = client.wait_ready(READY_LIMIT) => ready.map_err(missing)?,
        error = process.ended(Phase::Setup) => return Err(error),
    }
    Ok((
        client,
        Kind::Child(Box::new(Child {
            process,
            observer,
            exporter,
            group,
        })),
    ))
}

fn client(url: ServerUrl) -> Result<Client, TrialError> {
    Client::new(url).map_err(missing)
}

fn missing(error: impl std::error::Error + 'static) -> TrialError {
    TrialError::Missing(error::text(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::wire;

    #[test]
    fn a_scenario_s_own_port_is_scraped() {
        let arm = |text| wire::parse(Path::new("x.yaml"), text).unwrap();
        let own = arm("question: q\ntarget: {port: 8080}\n");
        assert_eq!(target_port(Some(&own), &[4000, 5000]), 8080);
        let any = arm("question: q\n");
        assert_eq!(target_port(Some(&any), &[4000, 5000]), 4000);
    }
}
