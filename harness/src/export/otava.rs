//! CSV for Apache Otava, which looks for change points: a row a run.
//!
//! `time`, `run`, `machine`, then a column per scenario, subject and metric in
//! the metric's own unit, and `….over_baseline`: scenario ÷ baseline of the
//! same run, near 1, because Otava measures changes by their factor. It finds
//! nothing in a column with a gap, so a column stands only where every run has it.

use std::collections::BTreeSet;

use super::{figures, name, one_word};
use crate::report::Report;

/// Rows, and what is not in them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Csv {
    /// The text of the file.
    pub text: String,
    /// Columns that some runs lack.
    pub left_out: Vec<String>,
    /// Machines that the rows come from.
    pub machines: Vec<String>,
}

/// A row for each report, in the given order; only these scenarios, unless none are named.
pub fn render(reports: &[&Report], scenarios: &[String]) -> Csv {
    let rows: Vec<Vec<(String, f64)>> = reports
        .iter()
        .map(|report| values(report, scenarios))
        .collect();
    let in_row = |row: &[(String, f64)], column: &str| {
        let found = row.iter().find(|(name, _)| name == column);
        found.map(|(_, value)| *value)
    };
    let mut seen = BTreeSet::new();
    let all: Vec<&String> = rows
        .iter()
        .flatten()
        .map(|(column, _)| column)
        .filter(|column| seen.insert(column.as_str()))
        .collect();
    let everywhere = |column: &&String| rows.iter().all(|row| in_row(row, column).is_some());
    let (columns, left_out): (Vec<&String>, Vec<&String>) = all.into_iter().partition(everywhere);

    let mut text = String::from("time,run,machine");
    for column in &columns {
        text.push(',');
        text += column;
    }
    text.push('\n');
    let mut machines = Vec::new();
    for (report, row) in reports.iter().zip(&rows) {
        let machine = one_word(&report.fingerprint.machine.identity());
        let mut fields = vec![
            one_word(&report.started),
            one_word(&report.run),
            machine.clone(),
        ];
        let values = columns.iter().filter_map(|column| in_row(row, column));
        fields.extend(values.map(|value| value.to_string()));
        text += &fields.join(",");
        text.push('\n');
        if !machines.contains(&machine) {
            machines.push(machine);
        }
    }
    Csv {
        text,
        left_out: left_out.into_iter().cloned().collect(),
        machines,
    }
}

fn values(report: &Report, scenarios: &[String]) -> Vec<(String, f64)> {
    let mut values = Vec::new();
    let wanted = |name: &String| scenarios.is_empty() || scenarios.contains(name);
    for figure in figures(report).filter(|figure| wanted(&figure.scenario.name)) {
        let statistic = figure.statistic;
        let column = format!(
            "{}.{}.{}",
            one_word(&figure.scenario.name),
            statistic.subject,
            name(statistic.metric, statistic.quantile)
        );
        if let Some(c) = figure.comparison.filter(|c| c.overhead_ratio.is_finite()) {
            values.push((format!("{column}.over_baseline"), 1.0 + c.overhead_ratio));
        }
        values.push((column, statistic.estimate));
    }
    values
}
