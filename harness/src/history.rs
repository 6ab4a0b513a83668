//! Many runs over time. Pure.
//!
//! # Layout
//! - [`History`] and its parts: the model, which is also what `--format json` prints
//! - [`console`], [`csv`]: `History` → text
//! - [`crate::report::chart::history`]: `History` → picture
//!
//! A baseline's cost depends on machine, kernel and rate, and so does, much
//! less, an overhead, although whatever slows a run's arms alike cancels in it.
//! So every point knows its machine, and what else differs is a note.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::metric::Metric;
use crate::report::{
    Comparison, Interval, Report, ScenarioReport, ScenarioStatus, Statistic, Verdict, words,
};
use crate::sample::Subject;
use crate::scenario::{BASELINE, TWIN};

pub mod console;
pub mod csv;

/// Version of the printed form.
pub const SCHEMA_VERSION: u32 = 1;

/// Which figure is followed, of which scenarios.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What.
    pub metric: Metric,
    /// Of whom; without it, of target and agent together, or of the target where there is no agent.
    pub subject: Option<Subject>,
    /// For durations: which quantile, 0–1.
    pub quantile: Option<f64>,
    /// Only these scenarios; all of them when empty.
    pub scenarios: Vec<String>,
}

/// Many runs over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct History {
    /// Version of this form.
    pub schema_version: u32,
    /// What is followed.
    pub metric: Metric,
    /// For durations: which quantile, 0–1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
    /// Machines that the runs were made on, in the order in which they first occur.
    pub machines: Vec<String>,
    /// The runs, in the order of time.
    pub runs: Vec<Run>,
    /// Each scenario through all runs; baselines come last.
    pub scenarios: Vec<Series>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Its name.
    pub run: String,
    /// When it began (RFC 3339, UTC).
    pub started: String,
    /// Its machine: an index into `machines`.
    pub machine: usize,
    /// Offered rate, in requests per second.
    pub request_rate: f64,
    /// Level of its intervals, 0–1.
    pub confidence: f64,
}

/// One scenario through all runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// The scenario.
    pub scenario: String,
    /// What it came to in each run that has it, in the order of time.
    pub points: Vec<Point>,
}

/// What a scenario came to in one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The run: an index into `runs`.
    pub run: usize,
    /// Whose figure it is.
    pub subject: Subject,
    /// Whether it can be used.
    pub status: ScenarioStatus,
    /// Why not, when not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Trials that count.
    pub trials: u32,
    /// The figure itself, in the metric's unit.
    pub figure: Option<Interval>,
    /// Standard deviation over trials ÷ mean: the noise of that run.
    pub coefficient_of_variation: Option<f64>,
    /// Scenario ÷ baseline − 1, within the run.
    pub overhead: Option<Interval>,
    /// What the run said of the overhead.
    pub verdict: Option<Verdict>,
    /// The smallest change that the run could have seen: between identical baselines for
    /// `baseline`, against the baseline for all others.
    pub detectable_ratio: Option<f64>,
}

/// A point with its interval; none where there is no number.
fn interval(estimate: f64, low: Option<f64>, high: Option<f64>) -> Option<Interval> {
    let both = low.zip(high);
    let both = both.filter(|(low, high)| low.is_finite() && high.is_finite());
    estimate.is_finite().then_some(Interval {
        estimate,
        low: both.map(|(low, _)| low),
        high: both.map(|(_, high)| high),
    })
}

/// Puts runs in the order of time and picks one figure from each.
pub fn history(reports: &[Report], query: &Query) -> History {
    let mut reports: Vec<&Report> = reports.iter().collect();
    reports.sort_by(|a, b| (&a.started, &a.run).cmp(&(&b.started, &b.run)));
    let mut machines: Vec<String> = Vec::new();
    let runs: Vec<Run> = reports
        .iter()
        .map(|report| {
            let identity = report.fingerprint.machine.identity();
            let known = machines.iter().position(|machine| *machine == identity);
            let machine = known.unwrap_or_else(|| {
                machines.push(identity);
                machines.len() - 1
            });
            Run {
                run: report.run.clone(),
                started: report.started.clone(),
                machine,
                request_rate: report.request_rate,
                confidence: report.confidence,
            }
        })
        .collect();
    let wanted = |name: &str| {
        name != TWIN && (query.scenarios.is_empty() || query.scenarios.iter().any(|s| s == name))
    };
    let mut names: Vec<&str> = Vec::new();
    let measured = |s: &&ScenarioReport| s.status != ScenarioStatus::Unsupported;
    let scenarios = reports.iter().flat_map(|report| &report.scenarios);
    for scenario in scenarios.filter(measured) {
        let name = scenario.name.as_str();
        if wanted(name) && !names.contains(&name) {
            names.push(name);
        }
    }
    names.sort_by_key(|name| *name == BASELINE);
    let scenarios: Vec<Series> = names
        .into_iter()
        .map(|name| series(&reports, name, query))
        .collect();
    let notes = notes(&reports, &machines, &scenarios);
    History {
        schema_version: SCHEMA_VERSION,
        metric: query.metric,
        quantile: query.quantile,
        machines,
        runs,
        scenarios,
        notes,
    }
}

fn series(reports: &[&Report], name: &str, query: &Query) -> Series {
    let has_total = |report: &&Report| {
        let mut of_name = report.scenarios.iter().filter(|s| s.name == name);
        of_name.any(|scenario| {
            let mut statistics = scenario.statistics.iter();
            scenario.has_agent()
                && statistics.any(|s| s.metric == query.metric && s.subject == Subject::Total)
        })
    };
    // One subject for all runs, or its points could not be held against one another.
    let subject = query.subject.unwrap_or_else(|| {
        if reports.iter().any(has_total) {
            Subject::Total
        } else {
            Subject::Target
        }
    });
    let points = reports.iter().enumerate().filter_map(|(run, report)| {
        let scenario = report.scenarios.iter().find(|s| s.name == name)?;
        Some(point(run, report, scenario, subject, query))
    });
    Series {
        scenario: name.to_owned(),
        points: points.collect(),
    }
}

fn point(
    run: usize,
    report: &Report,
    scenario: &ScenarioReport,
    subject: Subject,
    query: &Query,
) -> Point {
    let key = (query.metric, subject, query.quantile);
    let same_statistic = |s: &&Statistic| (s.metric, s.subject, s.quantile) == key;
    let same_comparison =
        |c: &&Comparison| c.scenario == scenario.name && (c.metric, c.subject, c.quantile) == key;
    let usable = scenario.status == ScenarioStatus::Ok;
    let statistic = scenario.statistics.iter().find(same_statistic);
    let statistic = statistic.filter(|_| usable);
    let comparison = report.comparisons.iter().find(same_comparison);
    let comparison = comparison.filter(|_| usable);
    let floor = report
        .noise_floor
        .iter()
        .find(|floor| (floor.metric, floor.subject, floor.quantile) == key)
        .filter(|_| scenario.name == BASELINE);
    let detectable = comparison.map_or_else(
        || floor.and_then(|floor| floor.detectable_ratio),
        |comparison| comparison.detectable_ratio,
    );
    Point {
        run,
        subject,
        status: scenario.status,
        reason: (!usable).then(|| words::no_figures(scenario)),
        trials: scenario.trials,
        figure: statistic.and_then(|s| interval(s.estimate, s.low, s.high)),
        coefficient_of_variation: statistic
            .and_then(|s| s.coefficient_of_variation)
            .filter(|v| v.is_finite()),
        overhead: comparison.and_then(|c| interval(c.overhead_ratio, c.low, c.high)),
        verdict: comparison.map(|c| c.verdict),
        detectable_ratio: detectable.filter(|v| v.is_finite()),
    }
}

fn notes(reports: &[&Report], machines: &[String], scenarios: &[Series]) -> Vec<String> {
    let mut notes = Vec::new();
    if machines.len() > 1 {
        notes.push(format!(
            "The runs come from {} machines, marked by letters: compare costs within a machine only. What slows all of a run alike cancels in its overheads, so they can be followed from one to another, with care.",
            machines.len()
        ));
    }
    let differing = |what: &str, of: &dyn Fn(&Report) -> String| {
        let all: BTreeSet<String> = reports.iter().map(|report| of(report)).collect();
        let shown: Vec<String> = all.iter().take(4).cloned().collect();
        let more = if all.len() > shown.len() { ", …" } else { "" };
        (all.len() > 1).then(|| {
            format!(
                "The runs differ in {what} ({}{more}): costs of such runs can't be compared, and overheads with care.",
                shown.join(", ")
            )
        })
    };
    let program = |report: &Report| {
        let programs = &report.fingerprint.programs;
        let target = programs.iter().find(|program| program.name == "target-app");
        let sha256 = target.and_then(|program| program.sha256.clone());
        sha256.map_or("another target".to_owned(), |sha256| {
            format!("SHA-256 {}…", sha256.chars().take(12).collect::<String>())
        })
    };
    notes.extend(differing("request rate", &|report| {
        format!("{}/s", report.request_rate)
    }));
    notes.extend(differing("load driver", &|report| {
        words::driver(report.load.driver).to_owned()
    }));
    notes.extend(differing("their window", &|report| {
        format!("{} s in {}", report.measure_seconds, report.slices)
    }));
    notes.extend(differing("the target's program", &program));
    notes.extend(differing("CPU accounting", &|report| {
        report.fingerprint.accounting.cpu.clone()
    }));
    notes.extend(differing("level of intervals", &|report| {
        words::confidence(report)
    }));
    let points = || scenarios.iter().flat_map(|series| &series.points);
    if points().next().is_some() && points().all(|p| p.overhead.is_none()) {
        notes.push(
            "No run compares a scenario with the baseline by this figure; only costs are shown."
                .to_owned(),
        );
    }
    notes
}

/// The letter of a machine: A, B, …, Z, AA, AB, …
pub fn letter(machine: usize) -> String {
    let last = char::from(b'A' + (machine % 26) as u8);
    match machine / 26 {
        0 => last.to_string(),
        more => format!("{}{last}", letter(more - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_go_on() {
        let letters: Vec<String> = [0, 1, 25, 26, 27, 701, 702].map(letter).into();
        assert_eq!(letters, ["A", "B", "Z", "AA", "AB", "ZZ", "AAA"]);
    }
}
