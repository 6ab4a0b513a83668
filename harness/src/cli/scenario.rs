//! `flora-bench scenario`: measures.

use std::path::PathBuf;

use clap::Args;

use super::exit::{self, Failure};
use super::measure::{self, Bench, Options};
use crate::backend::Backend;
use crate::clock::RunClock;
use crate::plan::{LoadPlan, RateSource};
use crate::record::Recorder;
use crate::report;
use crate::scenario::library::Library;
use crate::scenario::{BASELINE, Scenario, TWIN};

/// Measure one or more scenarios.
///
/// Every scenario but `baseline` is measured against `baseline` in the same
/// run, and `baseline` against its own twin: what separates those two is the
/// noise floor. Arms alternate in blocks, in an order drawn from the seed,
/// each trial with a fresh target; where agents allow it, the arms of a block
/// take turns under load. Without --rate the baseline's capacity is measured
/// first and two fifths of it are offered.
///
/// Examples:
///   flora-bench scenario baseline
///   flora-bench scenario all --time 10m
///   flora-bench scenario baseline --rate 500 --dry-run
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Names of scenarios (see `flora-bench list`), or `all` that can run here.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    options: Options,

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

async fn carry_out(arguments: Arguments) -> Result<(), Failure> {
    let options = &arguments.options;
    let arms = arms(&arguments)?;
    let load = options.load(&arms)?;
    let name = measure::name_of(&arms);
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
        let plan = options.draw_up(&name, arms, load, Vec::new())?;
        return super::print(&measure::describe(&plan));
    }

    let groups = options.cgroups.into();
    let mut bench = Bench::take(
        &arms,
        RunClock::start(),
        &options.victoria_metrics(),
        groups,
    )?;
    let load = bench.preflight(&arms, load).await?;
    let fingerprint = bench.backend.fingerprint(&arms);
    let plan = options.draw_up(&name, arms, load, bench.backend.limitations())?;
    let mut recorder = Recorder::create(&options.out, &plan, &fingerprint)?;
    let directory = recorder.directory().to_owned();
    measure::announce(&plan, &directory);
    let interrupted = bench
        .carry_out(&plan, &fingerprint, &mut recorder, 0)
        .await?;
    let (records, report) = measure::reported(&directory)?;
    super::print(&report::console::render(&report))?;
    measure::judge(&records, &report, interrupted)
}

/// The scenarios that were asked for, the baseline and its twin first, with what the command line says.
fn arms(arguments: &Arguments) -> Result<Vec<Scenario>, Failure> {
    let library = library(arguments.options.scenarios.clone());
    let mut names = Vec::new();
    for name in &arguments.names {
        if name == "all" {
            names.extend(super::list::runnable(&library)?);
        } else {
            names.push(name.clone());
        }
    }
    if names.iter().any(|name| name == TWIN) {
        return Err(Failure::message(
            exit::USAGE,
            format!("`{TWIN}` is part of every run; leave it out"),
        ));
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
    Ok(measure::arms(load(BASELINE)?, others?))
}

/// The scenario directory: the one given, `scenarios` here, or the checkout's.
pub fn library(given: Option<PathBuf>) -> Library {
    let here = PathBuf::from("scenarios");
    Library::new(given.unwrap_or_else(|| match crate::workspace::checkout() {
        Some(root) if !here.is_dir() => root.join("scenarios"),
        _ => here,
    }))
}
