//! `Report` → Markdown, with links to the charts beside it.

use super::chart::CHARTS;
use super::table::{Align, Table};
use super::{Report, ScenarioReport, ScenarioStatus, tables, words};
use crate::trial::TrialRecord;

/// The text of `report.md`.
pub fn render(report: &Report) -> String {
    let mut page = format!("# {}\n\n", escape(&report.run));
    page += &list(words::headlines(report));
    for warning in words::noise_warnings(report) {
        page += &format!("**Warning:** {}\n\n", escape(&warning));
    }
    page += &format!("{}\n\n", escape(&words::caution(report)));
    let chart = |file: &str| {
        let chart = CHARTS.iter().find(|c| c.file == file && c.applies(report));
        chart.map_or(String::new(), |chart| {
            format!("![{}](charts/{}.svg)\n\n", chart.title, chart.file)
        })
    };
    let optional = |found: Option<Table>| found.map_or(String::new(), |t| table(&t));
    let mut section = |title: &str, body: String| {
        if !body.is_empty() {
            page += &format!("## {}\n\n{body}", escape(title));
        }
    };
    section(
        "Amplification, a labelled experiment",
        chart("amplification") + &optional(tables::amplification(report)),
    );
    if let Some(experiment) = &report.experiment {
        section(
            &words::experiment_title(experiment),
            format!("{}\n\n", escape(&words::searched(report, experiment)))
                + &chart("steps")
                + &optional(tables::experiment(report))
                + &list(words::beyond(report)),
        );
    }
    section(
        &format!(
            "Against the baseline (intervals: {})",
            words::confidence(report)
        ),
        chart("overhead") + &optional(tables::comparisons(report, true)),
    );
    section(
        "Noise floor",
        list(words::noise_floor(report))
            + &list(words::drifts(report))
            + &optional(tables::noise_floor(report)),
    );
    section(
        "Costs",
        optional(tables::overview(report))
            + &["ledger", "cost", "latency", "memory"].map(chart).concat(),
    );
    section(
        "What you get for it (sent to the intake, per request served)",
        optional(tables::delivered(report)) + &list(words::delivered(report)),
    );
    section(
        "Other figures against the baseline (corrected among themselves)",
        optional(tables::comparisons(report, false)),
    );
    section("The run", ["blocks", "timeline"].map(chart).concat());
    for scenario in &report.scenarios {
        section(&scenario.name, self::scenario(report, scenario));
    }
    section(
        "Trials that do not count",
        list(
            report
                .trials
                .iter()
                .filter_map(words::not_counted)
                .collect(),
        ),
    );
    let warnings = |t: &TrialRecord| words::warnings(t).collect::<Vec<_>>();
    section(
        "Warnings",
        list(report.trials.iter().flat_map(warnings).collect()),
    );
    section(
        "Cross-checks",
        tables::cross_checks(report).map_or(String::new(), |t| table(&t)),
    );
    section("Notes", list(report.notes.clone()));
    section("Load and phases", table(&tables::parameters(report)));
    section("Machine", table(&tables::machine(report)));
    section("Programs", table(&tables::programs(report)));
    section("Reproduce", fenced("sh", &words::command(report)));
    page
}

fn scenario(report: &Report, scenario: &ScenarioReport) -> String {
    let mut text = format!("{}\n\n", escape(&scenario.question));
    if scenario.status != ScenarioStatus::Ok {
        let status = words::status(scenario.status);
        text += &format!("**{status}**: {}\n\n", escape(&words::no_figures(scenario)));
    }
    if scenario.planned_trials > 0 {
        text += &format!(
            "{} · intervals: {}\n\n",
            words::basis_of(scenario),
            words::confidence(report)
        );
    }
    if !scenario.statistics.is_empty() {
        text += &table(&tables::figures(scenario));
    }
    if let Some(ledger) = &scenario.ledger {
        text += &table(&tables::ledger(ledger));
        text += &format!("{}\n\n", words::ledger(ledger));
    }
    if let Some(analysis) = &scenario.analysis {
        text += &format!("{}\n\n", escape(analysis));
    }
    text
}

/// Text as it is, between fences that nothing in it ends.
fn fenced(language: &str, text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(3.max(longest + 1));
    format!("{fence}{language}\n{text}\n{fence}\n")
}

/// A list, with an empty line below it; nothing without items.
pub(crate) fn list(items: Vec<String>) -> String {
    if items.is_empty() {
        return String::new();
    }
    let items: String = items
        .iter()
        .map(|item| format!("- {}\n", escape(item)))
        .collect();
    items + "\n"
}

/// A table, with an empty line below it.
pub(crate) fn table(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(table.columns.iter().map(|(name, _)| escape(name)).collect());
    let rule = |align: &Align| {
        if *align == Align::Right {
            "---:"
        } else {
            "---"
        }
    };
    text += &line(
        table
            .columns
            .iter()
            .map(|(_, align)| rule(align).to_owned())
            .collect(),
    );
    for row in &table.rows {
        text += &line(row.iter().map(|cell| escape(cell)).collect());
    }
    text + "\n"
}

/// Text that Markdown shows as it is: no markup of its own, no line break.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => escaped.extend(['\\', c]),
            '\n' | '\r' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
