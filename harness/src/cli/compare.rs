//! `flora-bench compare`: two runs, or two arms of one.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::exit::{self, Failure};
use super::{print, print_json};
use crate::compare::{self, Changes, CompareError, Side, console, markdown, setting};
use crate::plan::Plan;
use crate::record::{self, Records};
use crate::report::{self, Report};

/// Say what changed between two runs, or between two arms of one run.
///
/// Two runs (agent v1 against v2): for every arm that both have, how its
/// overhead over its own run's baseline changed, and how its plain figures
/// changed. The former is the robust one: what slows a whole run alike, such
/// as another day, slows its baseline as well and cancels. Two arms of one run
/// are compared block by block.
///
/// Runs whose figures can't be compared (another request rate, window, load
/// driver, target, CPU accounting, …) are refused with exit code 2; another
/// CPU, kernel or version of flora-bench is warned of.
///
/// Examples:
///   flora-bench compare 2026-11-24T020940Z-flora latest
///   flora-bench compare latest --arms flora,opentelemetry --format markdown
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// A: a run directory, the name of one, or `latest`.
    #[arg(value_name = "RUN_A")]
    a: String,

    /// B: the run that is compared with A.
    #[arg(value_name = "RUN_B", required_unless_present = "arms")]
    b: Option<String>,

    /// Compare two arms of RUN_A instead: `A,B`.
    #[arg(long, value_name = "A,B", value_parser = pair, conflicts_with = "b")]
    arms: Option<Pair>,

    /// Compare even what can't be compared.
    #[arg(long)]
    force: bool,

    /// How to print.
    #[arg(long, value_enum, default_value_t = CompareFormat::Text)]
    format: CompareFormat,

    /// Where run directories are.
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,
}

/// How changes are printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum CompareFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For pull requests.
    Markdown,
}

/// Two arms.
#[derive(Clone, Debug)]
struct Pair(String, String);

fn pair(text: &str) -> Result<Pair, String> {
    match text.split_once(',') {
        Some((a, b)) if !a.is_empty() && !b.is_empty() && !b.contains(',') => {
            Ok(Pair(a.to_owned(), b.to_owned()))
        }
        _ => Err("two names with a comma between them are expected, as in baseline,flora".into()),
    }
}

impl From<CompareError> for Failure {
    fn from(error: CompareError) -> Self {
        Failure::new(exit::USAGE, error)
    }
}

/// A run, read back.
struct Run {
    plan: Plan,
    report: Report,
}

impl Run {
    fn read(name: &str, out: &std::path::Path) -> Result<Self, Failure> {
        // Raw samples have no part in it; what trials came to does.
        let records = Records::read_without_samples(&record::resolve(name, out))?;
        let report = report::build::build(&records);
        Ok(Run {
            plan: records.plan,
            report,
        })
    }

    fn side(&self) -> Side<'_> {
        Side {
            plan: &self.plan,
            report: &self.report,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When a run directory can't be used, the two can't be compared, or no trial of them counts.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let a = Run::read(&arguments.a, &arguments.out)?;
    let changes = match (&arguments.arms, &arguments.b) {
        (Some(Pair(first, second)), _) => compare::arms(a.side(), first, second)?,
        (None, Some(b)) => {
            let b = Run::read(b, &arguments.out)?;
            compare::runs(a.side(), b.side())?
        }
        (None, None) => return Err(Failure::message(exit::USAGE, "RUN_B is missing")),
    };
    refuse(&changes, arguments.force, a.plan.load.rate)?;
    for warning in changes.warnings().chain(changes.refusals()) {
        log::warn!(
            "the two differ in {}: {} in A, {} in B",
            warning.what,
            warning.a,
            warning.b
        );
    }
    match arguments.format {
        CompareFormat::Text => print(&console::render(&changes))?,
        CompareFormat::Json => print_json(&changes)?,
        CompareFormat::Markdown => print(&markdown::render(&changes))?,
    }
    if changes.changes.is_empty() {
        return Err(Failure::message(
            exit::INVALID,
            format!(
                "there is no figure that both have: {}",
                if changes.notes.is_empty() {
                    "no block holds a trial of both that counts".to_owned()
                } else {
                    changes.notes.join(" ")
                }
            ),
        ));
    }
    Ok(())
}

fn refuse(changes: &Changes, force: bool, rate: f64) -> Result<(), Failure> {
    let refusals: Vec<String> = changes
        .refusals()
        .map(|d| format!("  {}: {} in A, {} in B", d.what, d.a, d.b))
        .collect();
    if refusals.is_empty() || force {
        return Ok(());
    }
    // A rate that is found from the baseline's capacity is seldom found twice.
    let other_rate = changes.refusals().any(|d| d.what == setting::RATE);
    let hint = if other_rate {
        format!(" (`scenario --rate {rate}`)")
    } else {
        String::new()
    };
    Err(Failure::message(
        exit::USAGE,
        format!(
            "these figures can't be compared, because the two differ in\n{}\nmeasure both alike{hint}, or compare them all the same with --force",
            refusals.join("\n")
        ),
    ))
}
