//! `flora-bench price`: what overheads cost in money.

use std::path::PathBuf;

use clap::Args;

use super::exit::{self, Failure};
use super::{Format, print, print_json};
use crate::price::{self, Prices};
use crate::record::{self, Records};
use crate::report;

/// Say what the overheads of a run cost in money.
///
/// Prices come from a file: `source`, `currency`, `core_hour`, `gibibyte_hour`.
/// Given are a million requests, and a month of a number of replicas, each at
/// the run's rate; intervals are those of the overheads, priced.
///
/// Examples:
///   flora-bench price --prices docs/prices.yaml
///   flora-bench price results/example --prices prices.yaml --replicas 200 --format json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// A run directory, the name of one, or `latest`.
    #[arg(default_value = "latest")]
    run: String,

    /// Where run directories are.
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,

    /// What machines cost (YAML).
    #[arg(long, value_name = "FILE")]
    prices: PathBuf,

    /// Price a month for so many replicas.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    replicas: u32,

    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
///
/// # Errors
/// When the run or the prices can't be read, or nothing was compared in the run.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let prices =
        Prices::read(&arguments.prices).map_err(|error| Failure::new(exit::USAGE, error))?;
    let directory = record::resolve(&arguments.run, &arguments.out);
    record::require_run(&directory)?;
    let records = Records::read_without_samples(&directory)?;
    let report = report::build::build(&records);
    let bill = price::bill(&report, prices, arguments.replicas);
    if bill.arms.is_empty() {
        return Err(Failure::message(
            exit::USAGE,
            format!(
                "{} compares nothing with its baseline, so there is nothing to price; measure a scenario, such as: flora-bench scenario flora",
                directory.display()
            ),
        ));
    }
    match arguments.format {
        Format::Text => print(&price::render(&bill)),
        Format::Json => print_json(&bill),
    }
}
