//! `flora-bench history`: many runs over time.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::exit::{self, Failure};
use super::{print, print_json};
use crate::export::otava;
use crate::history::{self, History, Query, console, csv};
use crate::metric::Metric;
use crate::record::{self, RecordError, Records};
use crate::report::chart::{self, ChartError};
use crate::report::{self, Report, ScenarioStatus};
use crate::sample::Subject;

/// Show how overheads and the baseline's cost went from run to run.
///
/// Reads every run directory in DIR, prints a table and draws history.svg and
/// history.png beside the runs. Costs can be compared within a machine only,
/// overheads over machines with care, so each machine has a mark of its own.
/// What can't be read is named on standard error and skipped.
///
/// Examples:
///   flora-bench history
///   flora-bench history nightly/ --scenario flora --metric memory_working_set_bytes
///   flora-bench history --scenario flora --format otava > history.csv
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Where run directories are.
    #[arg(value_name = "DIR", default_value = "results")]
    directory: PathBuf,

    /// Follow this metric.
    #[arg(long, default_value = "cpu_seconds_per_request", value_parser = metric)]
    metric: Metric,

    /// Whose; without it, target and agent together where there is an agent.
    #[arg(long, value_parser = subject)]
    subject: Option<Subject>,

    /// Which quantile of request_duration_seconds.
    #[arg(long, value_name = "Q", default_value_t = 0.99, value_parser = quantile)]
    quantile: f64,

    /// Only this scenario; may be given several times.
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,

    /// How to print.
    #[arg(long, value_enum, default_value_t = HistoryFormat::Text)]
    format: HistoryFormat,

    /// Where history.svg and history.png go; beside the runs without it.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Draw nothing.
    #[arg(long, conflicts_with = "output")]
    no_chart: bool,
}

/// How a history is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum HistoryFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For spreadsheets: a row per scenario and run.
    Csv,
    /// For Apache Otava: a row per run, every figure.
    Otava,
}

fn metric(text: &str) -> Result<Metric, String> {
    named(text, &Metric::ALL, Metric::as_str)
}

fn subject(text: &str) -> Result<Subject, String> {
    named(text, &Subject::ALL, Subject::as_str)
}

fn named<T: Copy>(text: &str, all: &[T], name: fn(T) -> &'static str) -> Result<T, String> {
    let found = all.iter().copied().find(|item| name(*item) == text);
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|item| name(*item)).collect();
        format!("it is one of {}", names.join(", "))
    })
}

fn quantile(text: &str) -> Result<f64, String> {
    let known = crate::metric::QUANTILES;
    let found = text.parse().ok().filter(|q: &f64| known.contains(q));
    found.ok_or_else(|| {
        let names: Vec<String> = known.iter().map(f64::to_string).collect();
        format!("it is one of {}", names.join(", "))
    })
}

/// Runs the command.
///
/// # Errors
/// When no run can be read, or the chart can't be written.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let reports = reports(&arguments.directory)?;
    check_scenarios(&arguments.scenario, &reports)?;
    let query = Query {
        metric: arguments.metric,
        subject: arguments.subject,
        quantile: (arguments.metric == Metric::RequestDurationSeconds)
            .then_some(arguments.quantile),
        scenarios: arguments.scenario.clone(),
    };
    let history = history::history(&reports, &query);
    if !arguments.no_chart {
        let to = arguments.output.as_ref().unwrap_or(&arguments.directory);
        draw(&history, to)?;
    }
    match arguments.format {
        HistoryFormat::Text => print(&console::render(&history)),
        HistoryFormat::Json => print_json(&history),
        HistoryFormat::Csv => print(&csv::render(&history)),
        HistoryFormat::Otava => print(&for_otava(&reports, &arguments.scenario)),
    }
}

/// Every run of a directory that can be read; what can't is named.
fn reports(directory: &Path) -> Result<Vec<Report>, Failure> {
    let unreadable = |source| RecordError::Read {
        path: directory.to_owned(),
        source,
    };
    let entries = fs::read_dir(directory).map_err(unreadable)?;
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        // `latest` is a link to one of the others.
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    let mut reports = Vec::new();
    for path in &paths {
        match Records::read_without_samples(path) {
            Ok(records) => reports.push(report::build::build(&records)),
            Err(error) => log::warn!(
                "{} is skipped: {}",
                path.display(),
                crate::error::text(&error)
            ),
        }
    }
    if reports.is_empty() {
        return Err(Failure::message(
            exit::USAGE,
            format!(
                "no run in {} can be read; `flora-bench scenario` makes one",
                directory.display()
            ),
        ));
    }
    Ok(reports)
}

fn check_scenarios(wanted: &[String], reports: &[Report]) -> Result<(), Failure> {
    let mut all: Vec<&str> = reports
        .iter()
        .flat_map(|report| &report.scenarios)
        .map(|scenario| scenario.name.as_str())
        .collect();
    all.sort_unstable();
    all.dedup();
    match wanted.iter().find(|name| !all.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Failure::message(
            exit::USAGE,
            format!(
                "no run has a scenario `{name}`; there are {}",
                all.join(", ")
            ),
        )),
    }
}

fn draw(history: &History, directory: &Path) -> Result<(), Failure> {
    let scene = chart::history::draw(history, chart::WIDE);
    let svg = directory.join("history.svg");
    record::write_file(&svg, chart::svg(&scene, "history").as_bytes())?;
    // The drawing library writes its file itself, and tells the format from the name.
    let png = directory.join("history.png");
    let partial = directory.join(".partial-history.png");
    let failed = |error: ChartError| Failure::new(exit::MISSING, error);
    chart::png(&scene, &partial).map_err(failed)?;
    fs::rename(&partial, &png).map_err(|source| {
        Failure::from(RecordError::Write {
            path: png.clone(),
            source,
        })
    })?;
    log::info!("drew {} and {}", svg.display(), png.display());
    Ok(())
}

/// The runs in which every wanted scenario has figures, in the order of time.
fn for_otava(reports: &[Report], scenarios: &[String]) -> String {
    let has = |report: &Report, name: &String| {
        let mut all = report.scenarios.iter();
        all.any(|s| s.name == *name && s.status == ScenarioStatus::Ok)
    };
    let usable = |report: &&Report| scenarios.iter().all(|name| has(report, name));
    let mut rows: Vec<&Report> = reports.iter().filter(usable).collect();
    rows.sort_by(|a, b| (&a.started, &a.run).cmp(&(&b.started, &b.run)));
    let csv = otava::render(&rows, scenarios);
    if !csv.left_out.is_empty() {
        log::warn!(
            "left out, because not every run has them: {}; --scenario keeps the runs that have one",
            csv.left_out.join(", ")
        );
    }
    if csv.machines.len() > 1 {
        log::warn!(
            "the rows come from {} machines: a change of machine can look like a change of cost, least so in columns that end in over_baseline",
            csv.machines.len()
        );
    }
    csv.text
}
