//! `flora-bench resume`: finishes a run that was cut short.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::exit::{self, Failure};
use super::measure::{self, BackendName, Bench, End, GroupsName};
use super::say;
use crate::backend::local::monitor::Choice;
use crate::backend::{Backend, LoadRequest};
use crate::clock::RunClock;
use crate::fingerprint::Fingerprint;
use crate::plan::Plan;
use crate::record::{self, Recorder, Records, Resumption};
use crate::report;
use crate::{run, victoria_metrics};

/// Finish a run that was cut short.
///
/// Trials that were finished are kept as they are. What was under way is
/// recorded as failed, and the plan goes on behind it. The machine and every
/// program must be the same as before.
///
/// Example:
///   flora-bench resume latest
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// A run directory, the name of one, or `latest`.
    #[arg(default_value = "latest")]
    run: String,

    /// Which control groups account for the roles; what the run began with.
    #[arg(long, value_enum, default_value_t = GroupsName::Auto)]
    cgroups: GroupsName,

    /// Where run directories are.
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,

    /// Where scenario files are: what the run began with.
    #[arg(long, value_name = "DIR")]
    scenarios: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// With the exit code that the error deserves.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    measure::block_on(carry_out(arguments))
}

async fn carry_out(arguments: Arguments) -> Result<(), Failure> {
    let directory = record::resolve(&arguments.run, &arguments.out);
    // What is no run is said at once, whoever else measures.
    record::require_run(&directory)?;
    // Before anything is written: a run that still lives is not to be touched.
    let lock = measure::lock()?;
    let (mut recorder, records) = Recorder::resume(&directory)?;
    let Records {
        plan,
        fingerprint,
        trials,
        ..
    } = &records;
    if plan.backend != BackendName::Local.as_str() {
        return Err(Failure::message(
            exit::USAGE,
            format!(
                "{} was made in a cluster, whose nodes and pods are gone; measure anew (its finished trials are still reported)",
                plan.run
            ),
        ));
    }
    let done = trials.len();
    let left = plan.trials.len().saturating_sub(done);
    if left == 0 {
        say(format_args!(
            "all {done} trials are finished; nothing is left to do"
        ));
        let (records, report) = measure::reported(&directory)?;
        super::print(&report::console::render(&report))?;
        return measure::judge(&records, &report, End::Done);
    }
    let last = records
        .samples
        .iter()
        .map(|sample| sample.time)
        .fold(0.0, f64::max);
    let clock = RunClock::resumed(since(&plan.started).max(last));
    let monitored = fingerprint
        .programs
        .iter()
        .any(|program| program.name == victoria_metrics::NAME);
    let choice = if monitored {
        Choice::Child
    } else {
        Choice::Off
    };
    let mut bench = Bench::with_lock(lock, &plan.arms, clock, &choice, arguments.cgroups.into())?;
    let load = LoadRequest {
        driver: plan.load.driver,
        rate: Some(plan.load.rate),
    };
    bench
        .backend
        .configured_in(super::scenario::library(arguments.scenarios).directory());
    bench.preflight(&plan.arms, load).await?;
    let now = bench.backend.fingerprint(&plan.arms);
    same(fingerprint, &now, plan)?;

    let lost = run::lost(plan, done, &records.samples);
    for record in &lost {
        recorder.trial(record)?;
    }
    recorder.resumed(&Resumption {
        resumed: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        finished: done as u32,
        lost: lost.iter().map(|record| record.trial).collect(),
    })?;
    let done = done + lost.len();
    let left = (plan.trials.len() - done) as f64 / plan.trials.len() as f64;
    let left = plan.estimate().trials().mul_f64(left);
    say(format_args!(
        "{done} of {} trials are done or lost; going on for about {}; records in {}",
        plan.trials.len(),
        humantime::format_duration(Duration::from_secs(left.as_secs() + 1)),
        directory.display()
    ));
    let end = bench
        .carry_out(plan, fingerprint, &mut recorder, done)
        .await?;
    let (records, report) = measure::reported(&directory)?;
    super::print(&report::console::render(&report))?;
    measure::judge(&records, &report, end)
}

/// Seconds since a moment in words.
fn since(moment: &str) -> f64 {
    humantime::parse_rfc3339(moment)
        .ok()
        .and_then(|then| SystemTime::now().duration_since(then).ok())
        .map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

/// Whatever decides about a figure has to be what it was.
fn same(then: &Fingerprint, now: &Fingerprint, plan: &Plan) -> Result<(), Failure> {
    let mut differences = Vec::new();
    let mut differ = |what: &str, then: String, now: String| {
        if then != now {
            differences.push(format!("{what} was {then} and is {now}"));
        }
    };
    let (a, b) = (&then.machine, &now.machine);
    differ("the CPU", a.cpu_model.clone(), b.cpu_model.clone());
    differ("the kernel", a.kernel.clone(), b.kernel.clone());
    let cpus = |fingerprint: &Fingerprint| format!("{:?}", fingerprint.cpu_sets);
    differ("the CPU layout", cpus(then), cpus(now));
    let accounting = |fingerprint: &Fingerprint| {
        let accounting = &fingerprint.accounting;
        format!("{} and {}", accounting.cpu, accounting.memory)
    };
    differ(
        "the accounting (see --cgroups)",
        accounting(then),
        accounting(now),
    );
    for program in &then.programs {
        let hash = |found: Option<&crate::fingerprint::Program>| {
            found
                .and_then(|program| program.sha256.clone())
                .unwrap_or_else(|| "missing".into())
        };
        let again = now.programs.iter().find(|other| other.name == program.name);
        differ(
            &format!("the SHA-256 of {}", program.name),
            hash(Some(program)),
            hash(again),
        );
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(Failure::message(
        exit::USAGE,
        format!(
            "{} can't go on here, because its trials would not be comparable: {}; measure anew",
            plan.run,
            differences.join("; ")
        ),
    ))
}
