//! `flora-bench export`: a run for other tools.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::exit::{self, Failure};
use super::print;
use crate::export::{bencher, figures, github_action_benchmark, go_bench, otava, prometheus};
use crate::record::{self, Records};
use crate::report::{self, Report, ScenarioStatus};

/// Write a run in a format that another tool reads.
///
/// Only what can be used is written: scenarios that are ok, trials that count.
/// Figures are computed from the records anew.
///
/// Examples:
///   flora-bench export latest --as go-bench | benchstat -row /of -col '/scenario@(baseline flora)' /dev/stdin
///   flora-bench export latest --as bencher --output bmf.json
///   flora-bench history --format otava > history.csv
///   flora-bench export latest --as prometheus | curl --data-binary @- http://localhost:8428/api/v1/import/prometheus
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// A run directory, the name of one, or `latest`.
    #[arg(default_value = "latest")]
    run: String,

    /// The format.
    #[arg(long = "as", value_enum, value_name = "FORMAT")]
    form: Form,

    /// Write to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Where run directories are.
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,
}

/// What a run can be written as.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Form {
    /// The Go benchmark format, a line per trial; benchstat reads it.
    GoBench,
    /// Bencher Metric Format (JSON).
    Bencher,
    /// The custom JSON of github-action-benchmark (customSmallerIsBetter).
    GithubActionBenchmark,
    /// CSV with one row, for Apache Otava; `history --format otava` has a row per run.
    Otava,
    /// Prometheus text with timestamps: readings and figures as time series, for VictoriaMetrics.
    Prometheus,
}

/// Runs the command.
///
/// # Errors
/// When the run directory can't be used, nothing in it counts, or the file can't be written.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let directory = record::resolve(&arguments.run, &arguments.out);
    let records = match arguments.form {
        Form::Prometheus => Records::read(&directory)?,
        _ => Records::read_without_samples(&directory)?,
    };
    let report = report::build::build(&records);
    for scenario in &report.scenarios {
        if scenario.status != ScenarioStatus::Ok {
            let why = report::words::no_figures(scenario);
            log::warn!("{} is not exported: {why}", scenario.name);
        }
    }
    if figures(&report).next().is_none() {
        return Err(Failure::message(
            exit::INVALID,
            format!("{} has no figure that counts", directory.display()),
        ));
    }
    let text = render(&records, &report, arguments.form)?;
    match arguments.output {
        Some(path) => Ok(record::write_file(&path, text.as_bytes())?),
        None => print(&text),
    }
}

fn render(records: &Records, report: &Report, form: Form) -> Result<String, Failure> {
    let json = |value: Result<String, serde_json::Error>| match value {
        Ok(text) => Ok(text + "\n"),
        Err(error) => Err(Failure::unexpected(error.into())),
    };
    match form {
        Form::GoBench => Ok(go_bench::render(report)),
        Form::Bencher => json(serde_json::to_string_pretty(&bencher::benchmarks(report))),
        Form::GithubActionBenchmark => json(serde_json::to_string_pretty(
            &github_action_benchmark::points(report),
        )),
        Form::Otava => Ok(otava::render(&[report], &[]).text),
        Form::Prometheus => Ok(prometheus::render(records, report)),
    }
}
