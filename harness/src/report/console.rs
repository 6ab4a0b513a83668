//! `Report` → what is printed on standard output: readable without colour, at most 100 columns.

use super::table::{Align, Table};
use super::{Report, ScenarioReport, tables, words};
use crate::trial::TrialRecord;

/// Columns of a line.
const WIDTH: usize = 100;
/// Columns that a name keeps, however little room there is.
const NAME_MIN: usize = 12;

/// The text, with a line break at its end.
pub fn render(report: &Report) -> String {
    let mut page = Page::default();
    page.line(&report.run);
    page.blank();
    page.list(words::headlines(report));
    for warning in words::noise_warnings(report) {
        page.wrapped("Warning: ", "  ", &warning);
    }
    page.wrapped("", "", &words::caution(report));

    if let Some(slopes) = tables::amplification(report) {
        page.section("Amplification, a labelled experiment: what one copy adds to a request");
        // The rest is in the other reports; here a line has a hundred columns.
        page.table(&slopes.pick(&["CPU time of", "one copy", "interval", "two baselines"]));
    }
    if let (Some(experiment), Some(found)) = (&report.experiment, tables::experiment(report)) {
        page.section(&words::experiment_title(experiment));
        page.wrapped("", "", &words::searched(report, experiment));
        page.blank();
        page.table(&found);
        page.blank();
        page.list(words::beyond(report));
    }
    if let Some(comparisons) = tables::comparisons(report, true) {
        page.section(&format!(
            "Against the baseline (intervals: {}; p corrected for the number of claims)",
            words::confidence(report)
        ));
        page.claims(&comparisons);
    }
    let noise = words::noise_floor(report);
    let drifts = words::drifts(report);
    if !noise.is_empty() || !drifts.is_empty() {
        page.section("Noise floor");
        page.list(noise);
        page.list(drifts);
    }
    if let Some(overview) = tables::overview(report) {
        page.section("Scenarios");
        page.table(&overview);
    }
    if let Some(delivered) = tables::delivered(report) {
        page.section("What you get for it (sent to the intake, per request served)");
        page.table(&delivered);
        page.list(words::delivered(report));
    }
    if let Some(others) = tables::comparisons(report, false) {
        page.section("Other figures against the baseline (p corrected among themselves)");
        page.claims(&others);
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
        let widths = widths(table);
        self.row(table, &widths, &headings(table), "  ");
        for row in &table.rows {
            self.row(table, &widths, row, "  ");
        }
    }

    /// A table of comparisons in which every claim has a line of its own above its arms.
    fn claims(&mut self, table: &Table) {
        let claims = table.pick(&["figure", "of", "two baselines"]);
        let mut arms = table.pick(&[
            "scenario",
            "overhead",
            "change",
            "interval",
            "p, corrected",
            "could see",
            "verdict",
        ]);
        if let Some(p) = arms.column("p, corrected") {
            // The section above says that it is corrected; names need the room.
            arms.columns[p].0 = "p";
        }
        let widths = widths(&arms);
        self.row(&arms, &widths, &headings(&arms), "  ");
        for (n, row) in arms.rows.iter().enumerate() {
            if n == 0 || claims.rows[n] != claims.rows[n - 1] {
                let noise = claims.rows[n].get(2).filter(|noise| !noise.is_empty());
                let noise = noise.map_or(String::new(), |noise| {
                    format!(" (two identical baselines: {noise})")
                });
                let claim = &claims.rows[n];
                self.line(&format!("{}, {}{noise}", claim[0], claim[1]));
            }
            self.row(&arms, &widths, row, "  ");
        }
    }

    fn row(&mut self, table: &Table, widths: &[usize], row: &[String], indent: &str) {
        let columns = row.iter().zip(widths).zip(&table.columns);
        let cells = columns.map(|((cell, &width), (_, align))| {
            let cell = cut(cell, width);
            let space = " ".repeat(width.saturating_sub(self::width(&cell)));
            match align {
                Align::Right => space + &cell,
                Align::Left => cell + &space,
            }
        });
        let cells: Vec<String> = cells.collect();
        self.line(&format!("{indent}{}", cells.join("  ")));
    }
}

fn headings(table: &Table) -> Vec<String> {
    let names = table.columns.iter().map(|(name, _)| (*name).to_owned());
    names.collect()
}

/// How wide columns are: as wide as their cells, but where the line would be
/// too long, the widest column of words gives way.
fn widths(table: &Table) -> Vec<usize> {
    let mut widths: Vec<usize> = (0..table.columns.len())
        .map(|n| {
            let cells = table.rows.iter().map(|row| width(&row[n]));
            cells.chain([width(table.columns[n].0)]).max().unwrap_or(0)
        })
        .collect();
    let line = widths.iter().sum::<usize>() + 2 * widths.len();
    let words = (0..widths.len()).filter(|n| table.columns[*n].1 == Align::Left);
    if let Some(widest) = words.max_by_key(|n| widths[*n]) {
        let too_much = line.saturating_sub(WIDTH);
        widths[widest] = widths[widest]
            .saturating_sub(too_much)
            .max(NAME_MIN.min(widths[widest]));
    }
    widths
}

/// The text, with an ellipsis where it is longer than `limit`.
fn cut(text: &str, limit: usize) -> String {
    if width(text) <= limit {
        return text.to_owned();
    }
    let kept: String = text.chars().take(limit.saturating_sub(1)).collect();
    kept + "…"
}

/// Columns that a text takes. Nothing that reports print is wider than its count of characters.
fn width(text: &str) -> usize {
    text.chars().count()
}
