//! Options and scenarios → the plan of a run, and what is said of it beforehand.

use std::path::Path;
use std::time::Duration;

use super::{BackendName, GroupsName, LoadName, Options};
use crate::backend::LoadRequest;
use crate::backend::local::monitor::Choice;
use crate::cli::exit::{self, Failure};
use crate::cli::{cluster, say};
use crate::experiment::Experiment;
use crate::plan::{self, LoadDriver, LoadPlan, Plan, RateSource};
use crate::scenario::{AgentScope, BASELINE, Scenario, TWIN};
use crate::{record, stats};

/// Level of every interval.
const CONFIDENCE: f64 = 0.95;
/// Share of runs in which a difference that "can be seen" is seen.
const POWER: f64 = 0.8;

/// The window of a step of an experiment, where the command line does not say it.
const STEP_SECONDS: f64 = 1.0;
/// The same in a cluster, whose observers read once a second.
const CLUSTER_STEP_SECONDS: f64 = 5.0;

/// Load before the window in a cluster, at least, where the command line does not say it.
const CLUSTER_WARMUP_SECONDS: f64 = 5.0;
/// The window in a cluster, at least, where the command line does not say it.
const CLUSTER_MEASURE_SECONDS: f64 = 20.0;

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
        if self.experiment.is_some() {
            // Each trial has the machine to itself, and its window is a step's.
            arm.trials.slices = 1;
            let measure = self.measure.map(|measure| measure.as_secs_f64());
            arm.trials.measure_seconds = measure.unwrap_or(match self.backend {
                BackendName::Local => STEP_SECONDS,
                BackendName::Kubernetes => CLUSTER_STEP_SECONDS,
            });
        }
        if self.backend == BackendName::Kubernetes {
            // Counters are read once a second there, and turns can't be taken.
            let trials = &mut arm.trials;
            if self.warmup.is_none() {
                trials.warmup_seconds = trials.warmup_seconds.max(CLUSTER_WARMUP_SECONDS);
            }
            if self.measure.is_none() && self.experiment.is_none() {
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
            (BackendName::Local, _) if self.cluster.any() => refused(cluster::NO_CLUSTER),
            (BackendName::Local, None | Some(LoadName::Builtin)) => Ok(LoadDriver::Builtin),
            (BackendName::Local, Some(LoadName::K6)) => Ok(LoadDriver::K6),
            (BackendName::Local, Some(LoadName::K6Operator | LoadName::K6Job)) => {
                refused("--load k6-operator and k6-job run in a cluster; add --backend kubernetes")
            }
            (BackendName::Kubernetes, _) if self.any_of_this_machine() => refused(
                "--victoria-metrics and --cgroups are about this machine; in a cluster a run brings its own VictoriaMetrics and reads the groups that pods have, so leave them out",
            ),
            (BackendName::Kubernetes, Some(LoadName::Builtin)) => refused(
                "the built-in driver sends from this machine; in a cluster k6 does, so leave --load out",
            ),
            (BackendName::Kubernetes, _) => Ok(LoadDriver::K6),
        }
    }

    /// Whether an option was given that a run in a cluster does not look at.
    fn any_of_this_machine(&self) -> bool {
        self.victoria_metrics.is_some() || self.cgroups != GroupsName::Auto
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
        let cpus = arms.iter().map(|arm| arm.target.cpus).max().unwrap_or(1);
        let asked = self.experiment;
        let experiment = asked.map(|question| {
            let experiment = Experiment::new(question, load.rate, cpus);
            match self.backend {
                BackendName::Local => experiment,
                BackendName::Kubernetes => experiment.in_cluster(),
            }
        });
        let seed = self.seed.unwrap_or_else(drawn_seed);
        let started = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        let names = names(&arms);
        let mut plan = Plan {
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
            expected_detectable_ratio: None,
            amplified: None,
            experiment,
            limitations,
            left_out: Vec::new(),
            // One block says how many there is time for.
            trials: plan::trials(&names, 1, slices, seed),
            arms,
        };
        let blocks = self.how_many_blocks(&plan)?;
        plan.trials = plan::trials(&names, blocks, slices, seed);
        // How far searches spread is not known beforehand.
        if plan.experiment.is_none() {
            let deviation = plan::assumed_deviation(measure, slices);
            plan.expected_detectable_ratio =
                stats::detectable_ratio(deviation, blocks, CONFIDENCE, POWER);
        }
        Ok(plan)
    }

    /// How many blocks are measured: what the scenarios or the command line say, or what there
    /// is time for.
    fn how_many_blocks(&self, plan: &Plan) -> Result<u32, Failure> {
        let estimate = plan.estimate();
        let Some(time) = self.time else {
            let arms = plan.arms.iter();
            let wanted = arms.map(|arm| arm.trials.blocks).max().unwrap_or(1);
            let bound = self.bound.filter(|_| self.blocks.is_none());
            return Ok(bound.map_or(wanted, |bound| {
                wanted.min(estimate.blocks_within(bound)).max(1)
            }));
        };
        match estimate.blocks_within(time) {
            0 => Err(Failure::message(
                exit::USAGE,
                format!(
                    "--time {} is too short for one block of {} arms, which takes about {:.0} s; give more time, or shorter trials with --warmup and --measure",
                    humantime::format_duration(time),
                    plan.arms.len(),
                    estimate.around_seconds + estimate.block_seconds
                ),
            )),
            blocks => Ok(blocks),
        }
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
    let load = match &plan.experiment {
        Some(experiment) => searched(experiment),
        None => format!("at {} requests per second", plan.load.rate),
    };
    say(format_args!(
        "{} trials in {} blocks {load}, about {}{}; records in {}",
        plan.trials.len(),
        plan.blocks(),
        humantime::format_duration(Duration::from_secs(plan.estimate().trials().as_secs() + 1)),
        expectation(plan),
        directory.display()
    ));
}

/// What each trial of an experiment does.
fn searched(experiment: &Experiment) -> String {
    format!(
        "of about {} steps each ({})",
        experiment.search.usual_steps(),
        experiment.question.as_str()
    )
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

pub(super) fn names(arms: &[Scenario]) -> Vec<String> {
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
        "{} trials in {} blocks at {rate}: {} s warm-up, {} s window each{}; {} {}{}; seed {}",
        plan.trials.len(),
        plan.blocks(),
        plan.warmup_seconds,
        plan.measure_seconds,
        match plan.slices {
            _ if let Some(experiment) = &plan.experiment => format!(", {}", searched(experiment)),
            0 | 1 => String::new(),
            slices if plan.pause_seconds > plan::pause() => format!(
                " in {slices} slices with {} s after each, the arms of a block taking turns",
                plan.pause_seconds
            ),
            slices => format!(" in {slices} slices, the arms of a block taking turns"),
        },
        match plan.experiment {
            Some(_) => "about",
            None => "at least",
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
