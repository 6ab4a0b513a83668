//! `flora-bench report`: renders a run again from its records.

use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{self, Failure};
use super::{Format, print, print_json};
use crate::record::{self, Records};
use crate::report::{self, Report};
use crate::run;

/// Render a run again from its records.
///
/// Reads plan, fingerprint, trials and samples; writes report.json, .html,
/// .md, .csv and the charts anew, and prints the table.
///
/// Examples:
///   flora-bench report latest --format json
///   flora-bench report results/old --again   (a run of an older version)
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// A run directory, the name of one, or `latest`.
    #[arg(default_value = "latest")]
    run: String,

    /// Compute every trial again from its samples, as this version does; trials.jsonl is written anew.
    #[arg(long)]
    again: bool,

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
/// When the run directory can't be used.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let directory = record::resolve(&arguments.run, &arguments.out);
    let mut records = Records::read(&directory)?;
    if arguments.again {
        run::again(&mut records);
        record::rewrite_trials(&directory, &records.trials)?;
    }
    let report = report::build::build(&records);
    write(&directory, &report, &records)?;
    match arguments.format {
        Format::Text => print(&report::console::render(&report)),
        Format::Json => print_json(&report),
    }
}

/// Writes every output into the run directory.
///
/// # Errors
/// When one can't be written.
pub fn write(directory: &Path, report: &Report, records: &Records) -> Result<(), Failure> {
    report::render(report, &records.samples, directory)
        .map_err(|error| Failure::new(exit::MISSING, error))
}
