//! `flora-bench scenario`: measures.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::cluster;
use super::exit::{self, Failure};
use super::list;
use super::measure::{self, BackendName, Bench, Options};
use crate::amplification::{arm_name, copies};
use crate::backend::kubernetes::load::Starter;
use crate::backend::kubernetes::object::Run;
use crate::backend::kubernetes::provisioner::Provisioner;
use crate::backend::kubernetes::{owner, show, system};
use crate::backend::local::monitor::Choice;
use crate::backend::{Backend, LoadRequest, TrialError};
use crate::clock::RunClock;
use crate::fingerprint::Fingerprint;
use crate::plan::{LeftOut, LoadPlan, Plan, RateSource};
use crate::record::Recorder;
use crate::report;
use crate::scenario::library::Library;
use crate::scenario::placeholder::Placeholder;
use crate::scenario::{Agent, BASELINE, Scenario, TWIN};

mod experiment;

/// As many programs as the kernel attaches to one control group
/// (`BPF_CGROUP_MAX_PROGS` in `kernel/bpf/cgroup.c`).
const COPIES_MAX: u32 = 64;

/// How long everything that can run on one machine takes, where nothing else is said.
const ALL: Duration = Duration::from_secs(20 * 60);

/// Measure one or more scenarios.
///
/// Every scenario but `baseline` is measured against `baseline` in the same
/// run, or against the scenario that it names as its baseline, and `baseline` against its own twin: what separates those two is the
/// noise floor. Arms alternate in blocks, in an order drawn from the seed,
/// each trial with a fresh target; where agents allow it, the arms of a block
/// take turns under load. Without --rate the baseline's capacity is measured
/// first and two fifths of it are offered.
///
/// `all` makes a run for each baseline, one after another, on one machine in
/// 20 minutes together at most, unless --time or --blocks says otherwise.
///
/// Examples:
///   flora-bench scenario baseline
///   flora-bench scenario all --blocks 8 --work 6
///   flora-bench scenario baseline --rate 500 --dry-run
///   flora-bench scenario flora --amplify 8
///   flora-bench scenario flora --experiment cpu-limit --cpu-limit 0.5
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Names of scenarios (see `flora-bench list`), or `all` that can run here.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    options: Options,

    /// Attach an agent's programs up to N times over, and say what one copy
    /// costs: a labelled experiment for effects below the noise. Takes one
    /// scenario whose agent says how copies are asked for (`{copies}`).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=i64::from(COPIES_MAX)))]
    amplify: Option<u32>,

    #[command(flatten)]
    experiment: experiment::Options,

    /// Show the plan and measure nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// With the exit code that the error deserves.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    measure::block_on(carry_out(arguments))
}

async fn carry_out(mut arguments: Arguments) -> Result<(), Failure> {
    let Arguments {
        options,
        experiment,
        amplify,
        ..
    } = &mut arguments;
    nodes_of_one_origin(options)?;
    options.experiment = experiment.question(options, *amplify)?;
    if options.experiment.is_some() && options.backend == BackendName::Local {
        options.victoria_metrics = Some(Choice::Off);
    }
    let runs = runs(&arguments)?;
    let given = arguments.options.time;
    let all = arguments.names.iter().any(|name| name == "all");
    let bound = (all && matches!(arguments.options.backend, BackendName::Local)).then_some(ALL);
    let in_all: usize = runs.iter().map(|run| run.arms.len()).sum();
    let mut outcome = Ok(());
    for Asked { arms, amplified } in runs {
        // Runs that follow one another share the time by their arms.
        let share = arms.len() as f64 / in_all as f64;
        arguments.options.time = given.map(|time| time.mul_f64(share));
        arguments.options.bound = bound.map(|bound| bound.mul_f64(share));
        match measure_one(&arguments, arms, amplified).await {
            // The next run has other arms, which this says nothing about.
            Err(failure) if failure.code == exit::INVALID => outcome = outcome.and(Err(failure)),
            other => other?,
        }
    }
    outcome
}

/// Nodes that are made for a run are all that it takes.
fn nodes_of_one_origin(options: &Options) -> Result<(), Failure> {
    let cluster = &options.cluster;
    if cluster.provisioner() == Provisioner::Existing || cluster.node_selector.is_none() {
        return Ok(());
    }
    Err(Failure::message(
        exit::USAGE,
        "--node-selector can't be had with --provisioner karpenter: the run takes the nodes that are made for it, and no others; leave one of them out",
    ))
}

async fn measure_one(
    arguments: &Arguments,
    arms: Vec<Scenario>,
    amplified: Option<String>,
) -> Result<(), Failure> {
    let options = &arguments.options;
    let load = options.load(&arms)?;
    let name = match (&amplified, options.experiment) {
        (Some(scenario), _) => format!("{scenario}-amplified"),
        (None, Some(question)) => format!("{}-{}", measure::name_of(&arms), question.as_str()),
        (None, None) => measure::name_of(&arms),
    };
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
        let plan = Plan {
            amplified,
            ..options.draw_up(&name, arms, load, Vec::new())?
        };
        return match options.backend {
            BackendName::Local => super::print(&measure::describe(&plan)),
            BackendName::Kubernetes => show(options, &plan),
        };
    }

    let asked = Asked { arms, amplified };
    let clock = RunClock::start();
    match options.backend {
        BackendName::Local => {
            let groups = options.cgroups.into();
            let mut bench = Bench::take(&asked.arms, clock, &options.victoria_metrics(), groups)?;
            bench
                .backend
                .configured_in(library(options.scenarios.clone()).directory());
            if let Some(question) = &options.experiment {
                bench.backend.require_limits(question)?;
            }
            measured(bench, arguments, &name, asked, load).await
        }
        BackendName::Kubernetes => {
            let bench = Bench::in_cluster(&options.cluster, options.load, clock).await?;
            measured(bench, arguments, &name, asked, load).await
        }
    }
}

/// Measures where the bench is, and reports.
async fn measured<B: Backend>(
    mut bench: Bench<B>,
    arguments: &Arguments,
    name: &str,
    asked: Asked,
    load: LoadRequest,
) -> Result<(), Failure> {
    let prepared = prepared(&mut bench, arguments, name, asked, load).await;
    let (plan, fingerprint, mut recorder) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => {
            bench.backend.release().await;
            return Err(failure);
        }
    };
    let directory = recorder.directory().to_owned();
    measure::announce(&plan, &directory);
    let interrupted = bench
        .carry_out(&plan, &fingerprint, &mut recorder, 0)
        .await?;
    let (records, report) = measure::reported(&directory)?;
    super::print(&report::console::render(&report))?;
    measure::judge(&records, &report, interrupted)
}

/// Checks every arm, and writes down what is going to be done.
async fn prepared<B: Backend>(
    bench: &mut Bench<B>,
    arguments: &Arguments,
    name: &str,
    Asked { arms, amplified }: Asked,
    load: LoadRequest,
) -> Result<(Plan, Fingerprint, Recorder), Failure> {
    let options = &arguments.options;
    let load = bench.preflight(&arms, load).await?;
    let fingerprint = bench.backend.fingerprint(&arms);
    let left_out = left_out(arguments, &arms)?;
    let plan = Plan {
        amplified,
        left_out,
        ..options.draw_up(name, arms, load, bench.backend.limitations())?
    };
    let recorder = Recorder::create(&options.out, &plan, &fingerprint)?;
    Ok((plan, fingerprint, recorder))
}

/// What one run is to measure.
struct Asked {
    /// The baseline and its twin first, with what the command line says.
    arms: Vec<Scenario>,
    /// The scenario that is amplified.
    amplified: Option<String>,
}

/// The runs that were asked for: one for each baseline.
fn runs(arguments: &Arguments) -> Result<Vec<Asked>, Failure> {
    let library = library(arguments.options.scenarios.clone());
    if arguments.names.iter().any(|name| name == TWIN) {
        return Err(Failure::message(
            exit::USAGE,
            format!("`{TWIN}` is part of every run; leave it out"),
        ));
    }
    let all = arguments.names.iter().any(|name| name == "all");
    let mut names: Vec<String> = arguments.names.clone();
    names.retain(|name| name != "all");
    if all {
        names.extend(list::runnable(&library, missing(&arguments.options))?);
    }
    names.retain(|name| name != BASELINE);
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let load = |name: &str| {
        library
            .load(name)
            .map(|arm| arguments.options.overrule(arm))
    };
    let others: Result<Vec<Scenario>, _> = names.iter().map(|name| load(name)).collect();
    let others = others?;
    let groups = if all {
        by_baseline(others)
    } else {
        vec![(common_baseline(&others)?, others)]
    };
    let mut runs = Vec::new();
    for (base, mut others) in groups {
        others.retain(|arm| arm.name != base);
        let (others, amplified) = match arguments.amplify {
            Some(most) => {
                let one = amplifiable(others)?;
                let name = one.name.clone();
                (amplified(&one, most), Some(name))
            }
            None => (others, None),
        };
        // Whatever it is called among scenarios, in a run it is the baseline.
        let baseline = Scenario {
            name: BASELINE.to_owned(),
            ..load(&base)?
        };
        runs.push(Asked {
            arms: measure::arms(baseline, others),
            amplified,
        });
    }
    Ok(runs)
}

/// The scenarios by what they are measured against, `baseline` first: one run has one baseline.
fn by_baseline(arms: Vec<Scenario>) -> Vec<(String, Vec<Scenario>)> {
    let mut groups = std::collections::BTreeMap::<String, Vec<Scenario>>::new();
    for arm in arms {
        let base = arm.baseline().to_owned();
        groups.entry(base).or_default().push(arm);
    }
    let ours = groups.remove(BASELINE).unwrap_or_default();
    let ours = std::iter::once((BASELINE.to_owned(), ours));
    ours.chain(groups).collect()
}

/// The one scenario that all of them are measured against.
fn common_baseline(arms: &[Scenario]) -> Result<String, Failure> {
    let Some(first) = arms.first() else {
        return Ok(BASELINE.to_owned());
    };
    match arms.iter().find(|arm| arm.baseline() != first.baseline()) {
        None => Ok(first.baseline().to_owned()),
        Some(other) => Err(Failure::message(
            exit::USAGE,
            format!(
                "`{}` is measured against `{}` and `{}` against `{}`; measure them in a run each",
                first.name,
                first.baseline(),
                other.name,
                other.baseline()
            ),
        )),
    }
}

/// What a run of all goes without, of the scenarios with the baseline of these arms.
fn left_out(arguments: &Arguments, arms: &[Scenario]) -> Result<Vec<LeftOut>, Failure> {
    let options = &arguments.options;
    if !arguments.names.iter().any(|name| name == "all") {
        return Ok(Vec::new());
    }
    let contender = arms
        .iter()
        .find(|arm| ![BASELINE, TWIN].contains(&arm.name.as_str()));
    let baseline = contender.map_or(BASELINE, Scenario::baseline);
    let library = library(options.scenarios.clone());
    Ok(list::unsupported(&library, baseline, missing(options))?)
}

/// Says what a scenario lacks to run where it is to: here, or in a cluster that is not asked yet.
fn missing(options: &Options) -> impl Fn(&Scenario) -> Vec<String> {
    let (backend, images) = (options.backend, options.cluster.images());
    let variable = |name: &str| std::env::var(name).ok();
    move |arm| match backend {
        BackendName::Local => list::missing_here(arm),
        BackendName::Kubernetes => system::missing(arm, &images, variable),
    }
}

/// The one scenario whose agent can be told how many copies to attach.
fn amplifiable(mut arms: Vec<Scenario>) -> Result<Scenario, Failure> {
    let refused = |why: String| {
        Failure::message(
            exit::USAGE,
            format!("--amplify {why}; for example: flora-bench scenario flora --amplify 8"),
        )
    };
    let (Some(arm), true) = (arms.pop(), arms.is_empty()) else {
        return Err(refused("takes exactly one scenario with an agent".into()));
    };
    let told = |agent: &Agent| agent.uses(Placeholder::Copies);
    if !arm.agent.as_ref().is_some_and(told) {
        return Err(refused(format!(
            "can't be had with `{}`: nothing in its agent's command says how many copies are to be attached ({})",
            arm.name,
            Placeholder::Copies
        )));
    }
    Ok(arm)
}

/// An arm for each number of copies.
fn amplified(one: &Scenario, most: u32) -> Vec<Scenario> {
    let arm = |copies| {
        let mut arm = one.clone();
        arm.name = arm_name(&one.name, copies);
        if let Some(agent) = &mut arm.agent {
            agent.copies = Some(copies);
        }
        arm
    };
    copies(most).into_iter().map(arm).collect()
}

/// What --dry-run prints of a run in a cluster: the plan and its cost as comments,
/// then every object, as `kubectl apply -f -` takes them.
fn show(options: &Options, plan: &Plan) -> Result<(), Failure> {
    let run = Run {
        namespace: options
            .cluster
            .namespace
            .clone()
            .unwrap_or_else(|| "flora-bench-run".into()),
        owner: owner::current(),
    };
    let starter = cluster::starter(options.load).unwrap_or(Starter::Job);
    let (images, provisioner) = (options.cluster.images(), options.cluster.provisioner());
    let objects = show::plan(plan, &run, &images, starter, &provisioner);
    let objects = objects.map_err(TrialError::from)?;
    let mut text = String::new();
    for line in measure::describe(plan).lines().chain(cost(plan).lines()) {
        text += &format!("# {line}\n");
    }
    super::print(&(text + &objects))
}

/// How long a run in a cluster takes, and how much of it.
fn cost(plan: &Plan) -> String {
    let seconds = plan.estimate().total().as_secs_f64();
    let most = plan.arms.len() + 2;
    let least = plan.parallel as usize + 1;
    let hours = |nodes: usize| seconds * nodes as f64 / 3600.0;
    format!(
        "takes about {} and {least} to {most} nodes, {:.1} to {:.1} node-hours",
        humantime::format_duration(std::time::Duration::from_secs(seconds as u64)),
        hours(least),
        hours(most)
    )
}

/// The scenario directory: the one given, `scenarios` here, or the checkout's.
pub fn library(given: Option<PathBuf>) -> Library {
    let here = PathBuf::from("scenarios");
    Library::new(given.unwrap_or_else(|| match crate::workspace::checkout() {
        Some(root) if !here.is_dir() => root.join("scenarios"),
        _ => here,
    }))
}
