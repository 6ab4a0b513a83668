//! Statistics and trials of a report → rows of a chart.

use super::palette::Look;
use super::rows::{Group, Row};
use crate::metric::Metric;
use crate::report::{Report, ScenarioReport, ScenarioStatus, Statistic, words};
use crate::sample::Subject;
use crate::trial::TrialStatus;

/// Which figure a row shows.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// What.
    pub metric: Metric,
    /// Of whom.
    pub subject: Subject,
    /// Which quantile, for durations.
    pub quantile: Option<f64>,
}

/// The row of a figure of a scenario; none when the scenario has no such statistic.
pub fn row(
    report: &Report,
    scenario: &ScenarioReport,
    figure: Figure,
    label: String,
    look: Look,
) -> Option<Row> {
    let is_it = |s: &&Statistic| {
        (s.metric, s.subject, s.quantile) == (figure.metric, figure.subject, figure.quantile)
    };
    let statistic = scenario.statistics.iter().find(is_it)?;
    let of_arm = report
        .trials
        .iter()
        .filter(|trial| trial.arm == scenario.name);
    let trials = of_arm.flat_map(|trial| {
        let same = trial.analysis.statistics.iter().filter(|s| {
            (s.metric, s.subject, s.quantile) == (figure.metric, figure.subject, figure.quantile)
        });
        same.map(|s| (s.value, trial.status == TrialStatus::Valid))
    });
    Some(Row {
        label,
        look,
        estimate: statistic.estimate,
        interval: statistic.low.zip(statistic.high),
        trials: trials.collect(),
    })
}

/// The group of a scenario, named when there are several.
pub fn group(report: &Report, scenario: &ScenarioReport, rows: Vec<Row>) -> Group {
    Group {
        name: if report.scenarios.len() > 1 {
            scenario.name.clone()
        } else {
            String::new()
        },
        note: note(scenario),
        rows,
    }
}

/// What must be said about a scenario whose figures can't be used.
pub fn note(scenario: &ScenarioReport) -> Option<String> {
    let unusable = scenario.status != ScenarioStatus::Ok;
    unusable.then(|| {
        format!(
            "{}: {}",
            words::status(scenario.status),
            words::no_figures(scenario)
        )
    })
}

/// What every chart of trials says below its title.
pub fn subtitle(report: &Report) -> String {
    let counted: u32 = report.scenarios.iter().map(|s| s.trials).sum();
    let intervals = report
        .scenarios
        .iter()
        .flat_map(|s| &s.statistics)
        .any(|s| s.low.is_some());
    let mut text = format!("mean over trials, {} count", words::trials(counted));
    if counted == 1 {
        text = "a single trial, so no interval".to_owned();
    } else if intervals {
        text += &format!("; {} intervals", words::confidence(report));
    }
    text
}
