//! `History` → what is printed on standard output.

use super::{History, Series, letter};
use crate::report::console::Page;
use crate::report::format::{self, Estimate};
use crate::report::table::{
    Align::{Left, Right},
    Table,
};
use crate::report::{Interval, words};
use crate::scenario::BASELINE;

/// The text, with a line break at its end.
pub fn render(history: &History) -> String {
    let mut page = Page::default();
    let runs = history.runs.len();
    let runs = format!("{runs} {}", if runs == 1 { "run" } else { "runs" });
    let figure = words::metric(history.metric, history.quantile);
    page.line(&format!("{figure}, {runs}"));
    for series in &history.scenarios {
        page.section(&title(series));
        page.table(&table(history, series));
    }
    if history.machines.len() > 1 {
        page.section("Machines");
        let machines = history.machines.iter().enumerate();
        page.list(
            machines
                .map(|(n, machine)| format!("{}: {machine}", letter(n)))
                .collect(),
        );
    }
    let not_counted: Vec<String> = history
        .scenarios
        .iter()
        .flat_map(|series| series.points.iter().map(move |point| (series, point)))
        .filter_map(|(series, point)| {
            let reason = point.reason.as_ref()?;
            let run = &history.runs[point.run].run;
            Some(format!("{} in {run}: {reason}", series.scenario))
        })
        .collect();
    if !not_counted.is_empty() {
        page.section("Without figures");
        page.list(not_counted);
    }
    if !history.notes.is_empty() {
        page.section("Notes");
        page.list(history.notes.clone());
    }
    page.text
}

/// `flora, of the total`.
pub fn title(series: &Series) -> String {
    let subject = series.points.first().map(|point| point.subject);
    match subject {
        Some(subject) => format!("{}, of the {}", series.scenario, words::subject(subject)),
        None => series.scenario.clone(),
    }
}

fn table(history: &History, series: &Series) -> Table {
    let mut table = Table::new([
        ("run", Left),
        ("", Left),
        ("overhead", Right),
        ("interval", Right),
        ("verdict", Left),
        ("cost", Right),
        ("its interval", Right),
        ("spread", Right),
        ("detects", Right),
    ]);
    let several = history.machines.len() > 1;
    let baseline = series.scenario == BASELINE;
    for point in &series.points {
        let run = &history.runs[point.run];
        let interval = |interval: &Option<Interval>, format: &dyn Fn(&Interval) -> Estimate| {
            interval
                .as_ref()
                .map_or((String::new(), String::new()), |interval| {
                    let estimate = format(interval);
                    (estimate.point, estimate.interval.unwrap_or_default())
                })
        };
        let overhead = interval(&point.overhead, &|i| {
            format::change(i.estimate, i.low, i.high)
        });
        let cost = interval(&point.figure, &|i| {
            format::estimate(history.metric.unit(), i.estimate, i.low, i.high)
        });
        let only_baseline = |text: String| if baseline { text } else { String::new() };
        let verdict = match point.verdict {
            Some(verdict) => words::verdict(verdict).to_owned(),
            None if point.reason.is_some() => words::status(point.status).to_owned(),
            None => String::new(),
        };
        table.row([
            run.run.clone(),
            if several {
                letter(run.machine)
            } else {
                String::new()
            },
            overhead.0,
            overhead.1,
            verdict,
            cost.0,
            only_baseline(cost.1),
            only_baseline(
                point
                    .coefficient_of_variation
                    .map_or(String::new(), words::share),
            ),
            only_baseline(point.detectable_ratio.map_or(String::new(), words::share)),
        ]);
    }
    table.without_empty_columns()
}
