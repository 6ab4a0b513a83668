//! `flora-bench gate`: budgets to an exit code.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{self, Failure};
use super::{Format, print, print_json};
use crate::gate::wire::BudgetError;
use crate::gate::{
    Budget, Gate, GateError, Outcome, console, github, judge, junit, markdown, wire,
};
use crate::record::{self, Records};
use crate::report;

/// Hold a run against budgets: an exit code, JUnit and Markdown.
///
/// A budget is over when the whole interval lies above its limit, and holds when
/// none of it does; otherwise the run is too noisy to tell, which has an exit
/// code of its own. What is judged is computed from the records anew. Writes
/// junit.xml and gate.md into the run directory. In GitHub Actions it also
/// prints annotations and adds gate.md to the step's summary.
///
/// A budgets file (see docs/GATE.md and `flora-bench schema budgets`):
///   budgets:
///     cpu_seconds_per_request total: +5 %
///     memory_working_set_bytes agent: 64 MiB
///     request_duration_seconds target 0.99: +10 %
///
/// Examples:
///   flora-bench gate latest --budgets budgets.yaml
///   flora-bench gate latest --max cpu_seconds_per_request=0.05
///   flora-bench gate latest --max memory_working_set_bytes,agent='64 MiB' --scenario flora
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// A run directory, the name of one, or `latest`.
    #[arg(default_value = "latest")]
    run: String,

    /// A file of budgets.
    #[arg(long, value_name = "FILE")]
    budgets: Option<PathBuf>,

    /// A budget: METRIC[,SUBJECT[,QUANTILE]]=LIMIT; may be given several times.
    #[arg(long, value_name = "METRIC[,SUBJECT]=RATIO", value_parser = wire::option)]
    max: Vec<Budget>,

    /// Judge only this scenario; may be given several times.
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Where run directories are.
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When budgets or run directory can't be used, and when not every budget holds.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let budgets = budgets(&arguments)?;
    let directory = record::resolve(&arguments.run, &arguments.out);
    let records = Records::read(&directory)?;
    let report = report::build::build(&records);
    let gate = judge(&report, &budgets, &arguments.scenario)?;
    show(&gate, arguments.format)?;
    let text = markdown::render(&gate);
    record::write_file(&directory.join("gate.md"), text.as_bytes())?;
    let xml = junit::render(&gate).map_err(|error| Failure::unexpected(error.into()))?;
    record::write_file(&directory.join("junit.xml"), xml.as_bytes())?;
    if let Some(summary) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) {
        // A summary is for reading; the verdict does not hang on it.
        if let Err(error) = append(Path::new(&summary), &text) {
            log::warn!(
                "cannot add to the step's summary {}: {error}",
                Path::new(&summary).display()
            );
        }
    }
    verdict(&gate)
}

fn budgets(arguments: &Arguments) -> Result<Vec<Budget>, Failure> {
    let mut budgets = match &arguments.budgets {
        Some(path) => wire::read(path)?,
        None => Vec::new(),
    };
    budgets.extend(arguments.max.iter().cloned());
    if budgets.is_empty() {
        return Err(Failure::message(
            exit::USAGE,
            "no budget is given; give a file with --budgets FILE, or one such as --max cpu_seconds_per_request,total=0.05 (`flora-bench gate --help` shows both)",
        ));
    }
    Ok(budgets)
}

fn show(gate: &Gate, format: Format) -> Result<(), Failure> {
    let on_github = std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
    match format {
        Format::Text if on_github => {
            print(&github::harmless(&console::render(gate)))?;
            print(&github::annotations(gate))
        }
        Format::Text => print(&console::render(gate)),
        Format::Json => {
            print_json(gate)?;
            if on_github {
                // The runner reads both streams, a program that wants JSON only one.
                let _ = std::io::stderr().write_all(github::annotations(gate).as_bytes());
            }
            Ok(())
        }
    }
}

fn append(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{text}\n").as_bytes())
}

fn verdict(gate: &Gate) -> Result<(), Failure> {
    let code = match gate.outcome {
        Outcome::Within => return Ok(()),
        Outcome::Over => exit::OVER_BUDGET,
        Outcome::Invalid => exit::INVALID,
        Outcome::Inconclusive => exit::INCONCLUSIVE,
    };
    Err(Failure::message(code, gate.sentence()))
}

impl From<BudgetError> for Failure {
    fn from(error: BudgetError) -> Self {
        Failure::new(exit::USAGE, error)
    }
}

impl From<GateError> for Failure {
    fn from(error: GateError) -> Self {
        Failure::new(exit::USAGE, error)
    }
}
