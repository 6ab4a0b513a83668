//! The phases of trials that are carried out together: set up, warm up, measure, cool down, take down.
//!
//! A batch is one trial that has its window to itself, or a block whose arms
//! are alive at the same time and take turns under load. What fails takes its
//! own trial down and leaves the others alone.

use std::path::Path;
use std::time::Duration;

use super::LocalBackend;
use super::evidence::{self, Before};
use super::monitor::Monitor;
use super::sampler::{RoleObserver, Sampler};
use super::system::System;
use crate::backend::{Observed, Sink, TrialError};
use crate::clock::{monotonic_ns, sleep_until_ns, unix_seconds};
use crate::experiment::Limits;
use crate::load::driver::{GRACE, Loop};
use crate::load::{Driver, LEAD_NS, LoadSpec, Period};
use crate::observer::ebpf::Programs;
use crate::observer::node::NodeObserver;
use crate::observer::target::TargetMetrics;
use crate::plan::{LoadDriver, Plan, READING_SECONDS, TrialPlan, Turn};
use crate::sample::{Edge, Phase, Reading, Sample, Subject};
use crate::scenario::Scenario;
use crate::trial::PhaseSpan;

/// Time between two readings of the series beside the edges, in nanoseconds.
const SERIES_NS: u64 = 1_000_000_000;
/// How long the load driver may take to end after its grace period.
pub(super) const RESULT_LIMIT: Duration = Duration::from_secs(30);
/// How soon who has ended is known to have; its connections are cut a moment before.
pub(super) const ENDING: Duration = Duration::from_millis(200);
/// Part of the pause after a turn that lies between the reading of its counters and the next turn,
const REST: f64 = 0.4;
/// and no more than so many seconds.
const REST_SECONDS: f64 = 0.05;

/// How long after a turn its counters are read: answers come in, and what an agent sends late.
fn settled(pause_seconds: f64) -> f64 {
    pause_seconds - (pause_seconds * REST).min(REST_SECONDS)
}

/// What must be taken down of one trial.
#[derive(Default)]
pub(super) struct Stage {
    pub system: Option<System>,
    pub driver: Option<Driver>,
}

impl Stage {
    pub async fn down(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.stop().await;
        }
        if let Some(system) = self.system.take() {
            system.teardown().await;
        }
    }

    /// Waits until something ends that should not.
    pub async fn ended(&mut self, phase: Phase) -> TrialError {
        let Stage { system, driver } = self;
        match (system, driver) {
            (Some(system), Some(driver)) => tokio::select! {
                error = system.ended(phase) => error,
                error = driver.ended(phase) => error,
            },
            (Some(system), None) => system.ended(phase).await,
            _ => std::future::pending().await,
        }
    }

    /// What a phase came to that asks target and agent: whoever has ended meanwhile is the reason
    /// why they don't answer, and makes worthless what they did answer.
    async fn unless_ended<T>(
        &mut self,
        phase: Phase,
        outcome: Result<T, TrialError>,
    ) -> Result<T, TrialError> {
        let (Some(system), false) = (
            &mut self.system,
            matches!(outcome, Err(TrialError::Record(_))),
        ) else {
            return outcome;
        };
        match outcome {
            // Not by waiting no time at all: the end of a process reaches whoever waits for it a
            // moment later than whoever asks.
            Ok(_) => system.has_ended(phase).map_or(outcome, Err),
            Err(_) => match tokio::time::timeout(ENDING, system.ended(phase)).await {
                Ok(ended) => Err(ended),
                Err(_) => outcome,
            },
        }
    }
}

/// One trial of a batch: what it is read by, and what becomes of it.
struct Seat<'p> {
    trial: &'p TrialPlan,
    arm: &'p Scenario,
    readers: Option<Readers>,
    observed: Observed,
    failed: Option<TrialError>,
    /// When its current phase began.
    phase_start: f64,
}

/// What reads one trial's counters.
struct Readers {
    roles: Vec<RoleObserver>,
    node: NodeObserver,
    metrics: TargetMetrics,
    /// How far the agent's count was ahead of the target's before the load.
    ahead: f64,
}

impl Seat<'_> {
    fn end_phase(&mut self, phase: Phase, at: f64) {
        self.observed.phases.push(PhaseSpan {
            phase,
            start: self.phase_start,
            end: at,
        });
        self.phase_start = at;
    }

    fn is_live(&self) -> bool {
        self.failed.is_none()
    }
}

/// Where readings go: into the records, and before whoever scrapes.
struct Watch<'a> {
    backend: &'a LocalBackend,
    sink: &'a mut dyn Sink,
    /// Kept for a server that gets them pushed after the trial, not during it.
    taken: Vec<Sample>,
}

impl LocalBackend {
    /// Carries out trials together; whatever happens, nothing of them is left.
    pub(super) async fn run_batch(
        &mut self,
        plan: &Plan,
        trials: &[TrialPlan],
        sink: &mut dyn Sink,
    ) -> Vec<Result<Observed, TrialError>> {
        // What is loaded now is not the trials'; where it can't be known, the report says so.
        let (begun, loaded) = (self.clock.now(), Programs::list().ok());
        let mut stages: Vec<Stage> = trials.iter().map(|_| Stage::default()).collect();
        let mut seats: Vec<Seat<'_>> = trials
            .iter()
            .map(|trial| Seat {
                trial,
                arm: plan
                    .arm(&trial.arm)
                    .expect("a plan's trials name its own arms"),
                readers: None,
                observed: Observed::default(),
                failed: None,
                phase_start: self.clock.now(),
            })
            .collect();
        let mut watch = Watch {
            backend: self,
            sink,
            taken: Vec::new(),
        };
        let mut cancel = self.cancel.clone();
        let ended = tokio::select! {
            outcome = self.phases(plan, trials, &mut seats, &mut stages, &mut watch) => outcome.err(),
            _ = cancel.wait_for(|cancelled| *cancelled) => Some(TrialError::Interrupted),
        };
        let teardown = self.clock.now();
        sink.phase(Phase::Teardown, None);
        for stage in &mut stages {
            stage.down().await;
        }
        let mut fatal = ended;
        if fatal.is_none()
            && let Some(loaded) = &loaded
        {
            let live = seats.iter().filter(|seat| seat.is_live());
            let live = live.map(|seat| seat.trial.trial);
            fatal = self.left((begun, loaded), live, sink).await.err();
        }
        seats
            .into_iter()
            .map(|mut seat| match (seat.failed.take(), fatal.take()) {
                (Some(own), error) => {
                    fatal = error;
                    Err(own)
                }
                (None, Some(error)) => {
                    // The first is told the reason; for the others the run was interrupted.
                    fatal = Some(TrialError::Interrupted);
                    Err(error)
                }
                (None, None) => {
                    seat.phase_start = teardown;
                    seat.end_phase(Phase::Teardown, self.clock.now());
                    Ok(seat.observed)
                }
            })
            .collect()
    }

    /// Looks for eBPF programs that the trials left behind.
    pub(super) async fn left(
        &self,
        (then, loaded): (f64, &Programs),
        trials: impl IntoIterator<Item = u32>,
        sink: &mut dyn Sink,
    ) -> Result<(), TrialError> {
        // Whoever could list them a moment ago still can.
        let (Ok(new), Ok(now)) = (loaded.appeared().await, Programs::list()) else {
            return Ok(());
        };
        if !new.is_empty() {
            log::warn!(
                "eBPF programs that were not there before the trials are still loaded: {}",
                new.join(", ")
            );
        }
        for trial in trials {
            let one = |phase, time, reading, value: usize| {
                Sample::new(trial, phase, Subject::Node, reading, value as f64, time)
            };
            let (all, left) = (Reading::NodeEbpfPrograms, Reading::NodeEbpfProgramsLeft);
            let time = self.clock.now();
            sink.samples(&[
                one(Phase::Setup, then, all, loaded.count()),
                one(Phase::Teardown, time, all, now.count()),
                one(Phase::Teardown, time, left, new.len()),
            ])?;
        }
        Ok(())
    }

    /// Fails only when readings can't be kept; what befalls a trial stands in its seat.
    async fn phases(
        &self,
        plan: &Plan,
        trials: &[TrialPlan],
        seats: &mut [Seat<'_>],
        stages: &mut [Stage],
        watch: &mut Watch<'_>,
    ) -> Result<(), TrialError> {
        // Setup: fresh targets that answer, agents beside them, drivers that are connected.
        watch.sink.phase(Phase::Setup, None);
        for (n, (seat, stage)) in seats.iter_mut().zip(stages.iter_mut()).enumerate() {
            let outcome = self.set_up(plan, trials, n, seat, stage).await;
            match stage.unless_ended(Phase::Setup, outcome).await {
                Ok(samples) => watch.keep(samples)?,
                Err(error) => seat.failed = Some(error),
            }
        }
        let mut start_ns = monotonic_ns() + LEAD_NS;
        for (seat, stage) in seats.iter_mut().zip(stages.iter_mut()) {
            if let Some(driver) = &mut stage.driver {
                match driver.begin(start_ns).await {
                    Ok(begun) => start_ns = begun,
                    Err(error) => seat.failed = Some(error),
                }
            }
        }
        for (seat, stage) in seats.iter_mut().zip(stages.iter_mut()) {
            seat.end_phase(Phase::Setup, self.clock.now());
            if !seat.is_live() {
                stage.down().await;
            }
        }

        // Warm-up: the measured load, nothing counts.
        let at = |seconds: f64| start_ns + (seconds * 1e9) as u64;
        let turns = plan.turns(trials);
        let (Some(first), Some(last)) = (turns.first(), turns.last()) else {
            return Ok(());
        };
        let opens = at(first.start_seconds);
        watch.sink.phase(Phase::Warmup, Some(first.start_seconds));
        // Before the first request of the first turn, as before those of the others.
        let rest = first.pause_seconds - settled(first.pause_seconds);
        let early = opens - (rest * 1e9) as u64;
        if plan.settle_seconds(trials) > 0.0 {
            let settled = early - (READING_SECONDS * 1e9) as u64;
            wait(seats, stages, watch, Phase::Warmup, None, settled).await?;
            for (seat, stage) in seats.iter_mut().zip(stages.iter()) {
                self.warmed(seat, stage, watch, early).await?;
            }
        }
        wait(seats, stages, watch, Phase::Warmup, None, early).await?;
        for seat in seats.iter_mut() {
            seat.end_phase(Phase::Warmup, self.clock.at(opens));
        }

        // Measure: counters at both edges of each turn, a reading a second between them.
        let closes = last.start_seconds + last.seconds;
        watch
            .sink
            .phase(Phase::Measure, Some(closes - first.start_seconds));
        let open_unix = unix_seconds();
        for turn in &turns {
            let Turn {
                seat,
                start_seconds,
                seconds,
                pause_seconds,
            } = *turn;
            watch.edge(&mut seats[seat], Edge::Open)?;
            let close = at(start_seconds + seconds + settled(pause_seconds));
            wait(seats, stages, watch, Phase::Measure, Some(seat), close).await?;
            watch.edge(&mut seats[seat], Edge::Close)?;
        }
        for seat in seats.iter_mut() {
            if plan.slices <= 1 {
                seat.observed.window_unix = Some((open_unix, unix_seconds()));
            }
            seat.end_phase(Phase::Measure, self.clock.at(at(closes)));
        }

        // Cooldown: late answers.
        watch.sink.phase(Phase::Cooldown, None);
        for (seat, stage) in seats.iter_mut().zip(stages.iter_mut()) {
            let outcome = self.cool_down(seat, stage, watch).await;
            if let Err(error) = stage.unless_ended(Phase::Cooldown, outcome).await {
                match error {
                    error @ TrialError::Record(_) => return Err(error),
                    error => seat.failed = Some(error),
                }
            }
        }
        Ok(())
    }

    /// A fresh target that answers, an agent beside it, a driver that is connected.
    async fn set_up(
        &self,
        plan: &Plan,
        trials: &[TrialPlan],
        n: usize,
        seat: &mut Seat<'_>,
        stage: &mut Stage,
    ) -> Result<Vec<Sample>, TrialError> {
        let program = &self.targets[&seat.arm.target.program];
        let (limits, slot) = (Limits::default(), &mut stage.system);
        let system = System::up(&self.workshop, seat.arm, program, n, limits, slot).await?;
        // Before the driver, which may begin by itself.
        let before = Before::of(system, seat.arm).await?;
        let spec = LoadSpec {
            periods: periods(plan, trials, n),
            ..LoadSpec::new(
                &seat.arm.load,
                &system.url,
                plan.load.rate,
                plan.warmup_seconds,
                plan.measure_seconds,
            )
        };
        let (driver, load) = match plan.load.driver {
            LoadDriver::Builtin => {
                Driver::builtin(&self.workshop, spec, Loop::Open, n, &mut system.groups).await?
            }
            LoadDriver::K6 => {
                let k6 = self
                    .k6
                    .as_ref()
                    .and_then(|program| program.command.as_deref());
                let number = seat.trial.trial.to_string();
                Driver::k6(
                    &self.workshop,
                    Path::new(k6.expect("preflight found k6")),
                    spec,
                    self.monitor.as_ref().map(Monitor::server),
                    &[("trial", &number), ("arm", &seat.trial.arm)],
                    &mut system.groups,
                )?
            }
        };
        stage.driver = Some(driver);
        let node = self.node_observer()?;
        // Taken out so that readers and processes can be used side by side.
        let mut roles = std::mem::take(&mut system.observers);
        roles.extend([load, self.harness_observer()?]);
        let readers = seat.readers.insert(Readers {
            roles,
            node,
            metrics: system.metrics.clone(),
            ahead: before.ahead(),
        });
        let sampler = self.sampler(seat.trial.trial, readers);
        before.samples(system, &sampler).await
    }

    /// Reads what was served and reported of the warm-up, which the window's telemetry starts
    /// from; what can't be read by `deadline_ns` is left to the reading before the warm-up.
    async fn warmed(
        &self,
        seat: &Seat<'_>,
        stage: &Stage,
        watch: &mut Watch<'_>,
        deadline_ns: u64,
    ) -> Result<(), TrialError> {
        let (true, Some(readers), Some(system)) = (seat.is_live(), &seat.readers, &stage.system)
        else {
            return Ok(());
        };
        let Some(reader) = &system.telemetry else {
            return Ok(());
        };
        let sampler = self.sampler(seat.trial.trial, readers);
        let one = |subject, reading, value| sampler.one(Phase::Warmup, subject, reading, value);
        let read = async {
            let served = system.metrics.requests().await.ok()?;
            let counted = reader.requests().await.ok()?;
            let mut samples = vec![
                one(Subject::Target, Reading::HttpRequestsTotal, served),
                evidence::counted(&sampler, Phase::Warmup, counted),
            ];
            if let Some(delivered) = &system.delivered {
                let intake = |reading, value| one(Subject::Intake, reading, value);
                samples.extend(delivered.samples(intake).await.ok()?);
            }
            Some(samples)
        };
        let in_time = tokio::select! {
            samples = read => samples,
            () = sleep_until_ns(deadline_ns) => None,
        };
        match in_time {
            Some(samples) => watch.keep(samples),
            None => Ok(()),
        }
    }

    async fn cool_down(
        &self,
        seat: &mut Seat<'_>,
        stage: &mut Stage,
        watch: &mut Watch<'_>,
    ) -> Result<(), TrialError> {
        let (true, Some(readers), Some(system), Some(driver)) = (
            seat.is_live(),
            &seat.readers,
            &mut stage.system,
            &mut stage.driver,
        ) else {
            return Ok(());
        };
        let result = tokio::select! {
            result = tokio::time::timeout(GRACE + RESULT_LIMIT, driver.result()) => {
                result.map_err(|_| TrialError::Load("did not end".into()))??
            }
            error = system.ended(Phase::Cooldown) => return Err(error),
        };
        let served = system.metrics.requests().await?;
        let sampler = self.sampler(seat.trial.trial, readers);
        watch.keep(result.samples(|reading, value| {
            sampler.one(Phase::Measure, Subject::Load, reading, value)
        }))?;
        evidence::after(system, &sampler, served, readers.ahead, |samples| {
            watch.keep(samples)
        })
        .await?;
        if let Some(monitor) = &self.monitor {
            monitor.push(&watch.taken).await;
        }
        seat.observed.failures = result.failures;
        seat.end_phase(Phase::Cooldown, self.clock.now());
        Ok(())
    }

    fn sampler<'a>(&'a self, trial: u32, readers: &'a Readers) -> Sampler<'a> {
        Sampler {
            trial,
            clock: self.clock,
            roles: readers
                .roles
                .iter()
                .chain(self.monitor.as_ref().and_then(Monitor::observer))
                .collect(),
            node: &readers.node,
        }
    }

    pub(super) fn node_observer(&self) -> Result<NodeObserver, TrialError> {
        let tasks = self.hierarchies.machine_cpu_usage();
        let node = NodeObserver::open(tasks.as_deref()).map_err(|source| TrialError::Observe {
            what: "/proc/stat".into(),
            source,
        })?;
        Ok(node.beneath(&self.above))
    }

    pub(super) fn harness_observer(&self) -> Result<RoleObserver, TrialError> {
        let name = Subject::Harness.as_str();
        let group = match &self.workshop.tree {
            Some(tree) => Some(tree.group(name)?),
            None => None,
        };
        RoleObserver::open(Subject::Harness, group.as_ref(), vec![std::process::id()])
    }
}

/// When a trial's driver sends, where it has turns; nothing where the window is its own.
fn periods(plan: &Plan, trials: &[TrialPlan], n: usize) -> Vec<Period> {
    if plan.slices <= 1 {
        return Vec::new();
    }
    let period = |turn: &Turn, measured| Period {
        start_seconds: turn.start_seconds,
        seconds: turn.seconds,
        pause_seconds: turn.pause_seconds,
        measured,
    };
    let turns = plan.turns(trials);
    let own = turns.iter().filter(|turn| turn.seat == n);
    std::iter::once(period(&plan.warmup(n, trials), false))
        .chain(own.map(|turn| period(turn, true)))
        .collect()
}

impl Watch<'_> {
    fn keep(&mut self, samples: Vec<Sample>) -> Result<(), TrialError> {
        self.sink.samples(&samples)?;
        if let Some(monitor) = &self.backend.monitor {
            monitor.publish(&samples);
            if monitor.wants_request_counts() {
                self.taken.extend(samples);
            }
        }
        Ok(())
    }

    fn edge(&mut self, seat: &mut Seat<'_>, edge: Edge) -> Result<(), TrialError> {
        self.read(seat, Phase::Measure, Some(edge))
    }

    fn read(
        &mut self,
        seat: &mut Seat<'_>,
        phase: Phase,
        edge: Option<Edge>,
    ) -> Result<(), TrialError> {
        let (true, Some(readers)) = (seat.is_live(), &seat.readers) else {
            return Ok(());
        };
        match self
            .backend
            .sampler(seat.trial.trial, readers)
            .read(phase, edge)
        {
            Ok(samples) => self.keep(samples),
            Err(error) => {
                seat.failed = Some(error);
                Ok(())
            }
        }
    }

    async fn series(&mut self, seat: &mut Seat<'_>, phase: Phase) -> Result<(), TrialError> {
        self.read(seat, phase, None)?;
        let wanted = self
            .backend
            .monitor
            .as_ref()
            .is_some_and(Monitor::wants_request_counts);
        let (true, true, Some(readers)) = (wanted, seat.is_live(), &seat.readers) else {
            return Ok(());
        };
        match readers.metrics.requests().await {
            Ok(counted) => {
                let sampler = self.backend.sampler(seat.trial.trial, readers);
                let reading = Reading::HttpRequestsTotal;
                self.keep(vec![sampler.one(phase, Subject::Target, reading, counted)])
            }
            Err(error) => {
                seat.failed = Some(error.into());
                Ok(())
            }
        }
    }
}

/// Waits for a moment, reading the series of one trial, or of all, meanwhile.
/// What ends that should not takes its own trial down.
async fn wait(
    seats: &mut [Seat<'_>],
    stages: &mut [Stage],
    watch: &mut Watch<'_>,
    phase: Phase,
    of: Option<usize>,
    deadline_ns: u64,
) -> Result<(), TrialError> {
    let mut next = monotonic_ns() + SERIES_NS;
    while seats.iter().any(Seat::is_live) {
        tokio::select! {
            // Who has ended is told with the phase in which that was, however late the harness looks.
            biased;
            (n, error) = any_ended(stages, phase) => seats[n].failed = Some(error),
            () = sleep_until_ns(next.min(deadline_ns)) => {
                // The reading at the deadline is the caller's.
                if next >= deadline_ns {
                    break;
                }
                for (n, seat) in seats.iter_mut().enumerate() {
                    if of.is_none_or(|of| of == n) {
                        watch.series(seat, phase).await?;
                    }
                }
                next += SERIES_NS;
            }
        }
        for (seat, stage) in seats.iter().zip(stages.iter_mut()) {
            if !seat.is_live() {
                stage.down().await;
            }
        }
    }
    Ok(())
}

/// Waits until something of any trial ends that should not.
async fn any_ended(stages: &mut [Stage], phase: Phase) -> (usize, TrialError) {
    let mut ends: Vec<_> = stages
        .iter_mut()
        .map(|stage| Box::pin(stage.ended(phase)))
        .collect();
    std::future::poll_fn(|context| {
        for (n, end) in ends.iter_mut().enumerate() {
            if let std::task::Poll::Ready(error) = end.as_mut().poll(context) {
                return std::task::Poll::Ready((n, error));
            }
        }
        std::task::Poll::Pending
    })
    .await
}
