//! `Report` → what is printed on standard output: readable without colour, at most 100 columns.

use super::table::{Align, Table};
use super::{Report, ScenarioReport, tables, words};
use crate::trial::TrialRecord;

/// Columns of a line.
const WIDTH: usize = 100;

/// The text, with a line break at its end.
pub fn render(report: &Report) -> String {
    let mut page = Page::default();
    page.line(&report.run);
    page.blank();
    page.list(words::headlines(report));
    page.wrapped("", "", &words::caution(report));

    if let Some(overview) = tables::overview(report) {
        page.section("Scenarios");
        page.table(&overview);
    }
    if let Some(comparisons) = tables::comparisons(report) {
        page.section(&format!(
            "Against the baseline (intervals: {})",
            words::confidence(report)
        ));
        page.table(&comparisons);
    }
    if !report.noise_floor.is_empty() {
        page.section("Noise floor");
        page.list(words::noise_floor(report));
    }
    for scenario in &report.scenarios {
        self::scenario(&mut page, report, scenario);
    }
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            page.section(title);
            page.list(lines);
        }
    };
    section(
        "Trials that do not count",
        report
            .trials
            .iter()
            .filter_map(words::not_counted)
            .collect(),
    );
    let warnings = |t: &TrialRecord| words::warnings(t).collect::<Vec<_>>();
    section(
        "Warnings",
        report.trials.iter().flat_map(warnings).collect(),
    );
    section("Notes", report.notes.clone());
    page.text
}

fn scenario(page: &mut Page, report: &Report, scenario: &ScenarioReport) {
    page.section(&scenario.name);
    page.wrapped("", "", &scenario.question);
    if scenario.status != super::ScenarioStatus::Ok {
        let status = words::status(scenario.status);
        page.wrapped(
            "",
            "",
            &format!("{status}: {}", words::no_figures(scenario)),
        );
    }
    if scenario.planned_trials > 0 {
        page.wrapped("", "", &words::basis_of(scenario));
    }
    if !scenario.statistics.is_empty() {
        page.blank();
        let mut figures = tables::figures(scenario);
        if let Some(column) = figures.columns.iter_mut().find(|c| c.0 == "interval") {
            // The level stands in the headline and in the section above it; here a word is enough.
            column.0 = if report.confidence == 0.95 {
                "95 % interval"
            } else {
                "interval"
            };
        }
        hide_repeats(&mut figures);
        page.table(&figures);
    }
    if let Some(ledger) = &scenario.ledger {
        page.blank();
        page.table(&tables::ledger(ledger));
        page.wrapped("", "", &words::ledger(ledger));
    }
    if let Some(analysis) = &scenario.analysis {
        page.blank();
        page.wrapped("", "", analysis);
    }
}

/// A figure's name is printed once for its block of rows.
fn hide_repeats(table: &mut Table) {
    for n in (1..table.rows.len()).rev() {
        if table.rows[n][0] == table.rows[n - 1][0] {
            table.rows[n][0].clear();
        }
    }
}

/// Text in the making.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn line(&mut self, line: &str) {
        self.text += line.trim_end();
        self.text.push('\n');
    }

    pub(crate) fn blank(&mut self) {
        self.text.push('\n');
    }

    pub(crate) fn section(&mut self, title: &str) {
        self.blank();
        self.line(title);
        self.line(&"─".repeat(width(title).min(WIDTH)));
    }

    pub(crate) fn list(&mut self, items: Vec<String>) {
        for item in items {
            self.wrapped("• ", "  ", &item);
        }
    }

    /// Words of a paragraph on as many lines as they need. A word that is longer than a line stays whole.
    pub(crate) fn wrapped(&mut self, first: &str, rest: &str, paragraph: &str) {
        let mut line = first.to_owned();
        let mut empty = true;
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        for (n, word) in words.iter().enumerate() {
            // A number and its percent sign stay together.
            let next = words.get(n + 1).filter(|next| next.starts_with('%'));
            let needed = width(word) + next.map_or(0, |next| width(next) + 1);
            if !empty && width(&line) + 1 + needed > WIDTH {
                self.line(&line);
                line = rest.to_owned();
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line += word;
            empty = false;
        }
        self.line(&line);
    }

    pub(crate) fn table(&mut self, table: &Table) {
        let widths: Vec<usize> = (0..table.columns.len())
            .map(|n| {
                let cells = table.rows.iter().map(|row| width(&row[n]));
                cells.chain([width(table.columns[n].0)]).max().unwrap_or(0)
            })
            .collect();
        let headings: Vec<String> = table
            .columns
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        for row in std::iter::once(&headings).chain(&table.rows) {
            let cells =
                row.iter()
                    .zip(&widths)
                    .zip(&table.columns)
                    .map(|((cell, width), (_, align))| {
                        let space = " ".repeat(width - self::width(cell));
                        if *align == Align::Right {
                            space + cell
                        } else {
                            cell.clone() + &space
                        }
                    });
            self.line(&format!("  {}", cells.collect::<Vec<_>>().join("  ")));
        }
    }
}

/// Columns that a text takes. Nothing that reports print is wider than its count of characters.
fn width(text: &str) -> usize {
    text.chars().count()
}
