//! What console and Markdown both say.

use super::{Change, Changes, Difference, Figure, Way};
use crate::metric::Metric;
use crate::report::format::{self, Estimate};
use crate::report::table::{
    Align::{Left, Right},
    Table,
};
use crate::report::{Verdict, words};
use crate::sample::Subject;
use crate::scenario::BASELINE;

/// Whose change is the finding.
const FIRST: [Subject; 3] = [Subject::Total, Subject::Target, Subject::Agent];

/// `A → B`.
pub fn title(changes: &Changes) -> String {
    match (&changes.a.arm, &changes.b.arm) {
        (Some(a), Some(b)) => format!("{}: {a} → {b}", changes.a.run),
        _ => format!("{} → {}", changes.a.run, changes.b.run),
    }
}

/// The finding of each arm, a sentence each.
pub fn findings(changes: &Changes) -> Vec<String> {
    let asked = asked(changes);
    let mut found: Vec<String> = scenarios(changes)
        .into_iter()
        .filter(|name| changes.a.arm.is_some() || *name != BASELINE)
        .filter_map(|name| {
            let of = |subject| {
                changes
                    .changes
                    .iter()
                    .find(move |c| c.scenario == name && c.metric == asked && c.subject == subject)
            };
            let change = FIRST.into_iter().find_map(of)?;
            Some(sentence(changes, change))
        })
        .collect();
    if found.is_empty() {
        found.push(if changes.changes.is_empty() {
            "There is no figure that both have.".to_owned()
        } else {
            "Both runs have the baseline only, so no agent is compared.".to_owned()
        });
    }
    found
}

/// What a request costs, or what an experiment searched for, in place of that.
fn asked(changes: &Changes) -> Metric {
    let mut metrics = changes.changes.iter().map(|change| change.metric);
    let found = [Metric::SustainedRequestsPerSecond, Metric::MemoryLimitBytes];
    metrics
        .find(|metric| found.contains(metric))
        .unwrap_or(Metric::CpuSecondsPerRequest)
}

fn sentence(changes: &Changes, change: &Change) -> String {
    let figure = &change.figures[0];
    let subject = words::subject(change.subject);
    let name = if changes.a.arm.is_some() {
        format!("{} against {}", changes.b.name(), changes.a.name())
    } else {
        change.scenario.clone()
    };
    let does = match change.metric {
        Metric::SustainedRequestsPerSecond => "sustains",
        Metric::MemoryLimitBytes => "needs",
        _ => "costs",
    };
    let said = match change.verdict {
        Verdict::Higher => format!("{does} more"),
        Verdict::Lower => format!("{does} less"),
        Verdict::NoDifference => format!("{does} as much"),
        Verdict::Inconclusive => "too noisy to tell".to_owned(),
    };
    let figure_name = words::metric(change.metric, None);
    let amount = self::change(figure);
    let interval = amount.interval.map_or("no interval".to_owned(), |i| {
        format!("{i}, {}", format::level(changes.confidence))
    });
    let count = |n: u32, unit: &str| format!("{n} {unit}{}", if n == 1 { "" } else { "s" });
    let basis = match figure.way {
        Way::PairedByBlock => count(figure.count_a, "block"),
        Way::Overhead => format!("{} and {}", figure.count_a, count(figure.count_b, "block")),
        Way::Plain => format!("{} and {}", figure.count_a, count(figure.count_b, "trial")),
    };
    let (a, b) = (
        value(change, figure, figure.a),
        value(change, figure, figure.b),
    );
    let from = match figure.way {
        Way::Overhead => format!("; its overhead over the baseline was {a} and is {b}"),
        Way::PairedByBlock | Way::Plain => format!("; {a} and {b}"),
    };
    let reason = match &change.reason {
        Some(reason) => format!(" ({reason})"),
        None => String::new(),
    };
    format!(
        "{name}: {said}{reason}. {figure_name} of the {subject} changed by {} ({interval}, {basis}){from}",
        amount.point
    )
}

fn change(figure: &Figure) -> Estimate {
    format::change(figure.change_ratio, figure.low, figure.high)
}

fn value(change: &Change, figure: &Figure, value: f64) -> String {
    match figure.way {
        Way::Overhead => format::change(value, None, None).point,
        Way::PairedByBlock | Way::Plain => format::value(change.metric, value),
    }
}

/// The arms that have changes, in their order.
pub fn scenarios(changes: &Changes) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for change in &changes.changes {
        if !names.contains(&change.scenario.as_str()) {
            names.push(&change.scenario);
        }
    }
    names
}

/// The changes of one arm: a row for each way.
pub fn table(changes: &Changes, scenario: &str) -> Table {
    let mut table = Table::new([
        ("figure", Left),
        ("of", Left),
        ("by", Left),
        ("A", Right),
        ("B", Right),
        ("change", Right),
        ("interval", Right),
        ("p", Right),
        ("verdict", Left),
    ]);
    for change in changes.changes.iter().filter(|c| c.scenario == scenario) {
        for (n, figure) in change.figures.iter().enumerate() {
            let first = |text: String| if n == 0 { text } else { String::new() };
            let amount = self::change(figure);
            let p_value = if n == 0 {
                change.adjusted_p_value
            } else {
                None
            };
            table.row([
                first(words::metric(change.metric, change.quantile)),
                first(words::subject(change.subject).to_owned()),
                way(figure.way).to_owned(),
                value(change, figure, figure.a),
                value(change, figure, figure.b),
                amount.point,
                amount.interval.unwrap_or_default(),
                p_value.map_or(String::new(), format::p_value),
                first(words::verdict(change.verdict).to_owned()),
            ]);
        }
    }
    table.without_empty_columns()
}

fn way(way: Way) -> &'static str {
    match way {
        Way::PairedByBlock => "blocks",
        Way::Overhead => "overhead",
        Way::Plain => "plain",
    }
}

/// What the columns mean.
pub fn legend(changes: &Changes) -> Vec<String> {
    let level = format::level(changes.confidence);
    let mut lines = Vec::new();
    let any = |way: Way| {
        let mut figures = changes.changes.iter().flat_map(|c| &c.figures);
        figures.any(|figure| figure.way == way)
    };
    if any(Way::Overhead) {
        lines.push(format!(
            "overhead: each run's arm against that run's own baseline, then B against A ({level}). What slows a whole run alike cancels; the verdict is from this one."
        ));
    }
    if any(Way::Plain) {
        lines.push(format!(
            "plain: B's trials against A's ({level}). Machine and day are part of it; the verdict is from this one only where there is no other."
        ));
    }
    if any(Way::PairedByBlock) {
        lines.push(format!(
            "blocks: B against A in each block, then over blocks ({level})."
        ));
    }
    lines.push(
        "Chances (p) and verdicts are corrected for the number of claims (Holm): headline figures among themselves, all others among themselves."
            .to_owned(),
    );
    lines
}

/// Why a change is inconclusive, as far as headline figures are concerned.
pub fn reasons(changes: &Changes) -> Vec<String> {
    let headline = changes.changes.iter().filter(|c| c.headline);
    headline
        .filter_map(|change| {
            let reason = change.reason.as_ref()?;
            Some(format!(
                "{}, {} of the {}: {reason}.",
                change.scenario,
                words::metric(change.metric, change.quantile),
                words::subject(change.subject)
            ))
        })
        .collect()
}

/// A difference in one line.
pub fn difference(difference: &Difference) -> String {
    format!(
        "{}: {} in A, {} in B",
        difference.what, difference.a, difference.b
    )
}
