//! Every rule of every trial: what failed first and open, what passed folded away.

use maud::{Markup, html};

use crate::report::{Report, format, words};
use crate::trial::{Check, Severity, TrialRecord, TrialStatus};

/// The section of the page.
pub fn section(report: &Report) -> Markup {
    let (passed, failed): (Vec<_>, Vec<_>) = report.trials.iter().partition(|trial| clean(trial));
    html! {
        section #checks {
            h2 { "Validity" }
            p {
                (words::counted(report)) " A trial that breaks a rule is kept and shown, and never averaged in."
            }
            @for trial in failed { (self::trial(trial, true)) }
            @if !passed.is_empty() {
                details {
                    summary { (words::trials(passed.len() as u32)) " passed every check" }
                    @for trial in passed { (self::trial(trial, false)) }
                }
            }
        }
    }
}

fn clean(trial: &TrialRecord) -> bool {
    trial.status == TrialStatus::Valid && trial.analysis.checks.iter().all(|check| check.passed)
}

fn trial(trial: &TrialRecord, open: bool) -> Markup {
    let (class, outcome) = match trial.status {
        TrialStatus::Invalid => ("bad", "does not count"),
        TrialStatus::Failed => ("bad", "failed"),
        TrialStatus::Valid if clean(trial) => ("good", "passed"),
        TrialStatus::Valid => ("warn", "counts, with a warning"),
    };
    html! {
        details .trial open[open] {
            summary {
                "Trial " (trial.trial) " · " (trial.arm) " · block " (trial.block) " · "
                span class=(class) { (outcome) }
            }
            @if let Some(error) = &trial.error { pre tabindex="0" { (error) } }
            @if trial.analysis.requests > 0 {
                p .small { (format::count(trial.analysis.requests)) " requests" }
            }
            ul .checks { @for check in sorted(&trial.analysis.checks) { (self::check(check)) } }
        }
    }
}

/// What failed stands first.
fn sorted(checks: &[Check]) -> Vec<&Check> {
    let mut sorted: Vec<&Check> = checks.iter().collect();
    sorted.sort_by_key(|check| check.passed);
    sorted
}

fn check(check: &Check) -> Markup {
    let (class, mark, word) = match (check.passed, check.severity) {
        (true, _) => ("good", "✓", "passed"),
        (false, Severity::Invalidates) => ("bad", "✗", "failed"),
        (false, Severity::Warns) => ("warn", "!", "warning"),
    };
    html! {
        li {
            span .mark.(class) role="img" aria-label=(word) { (mark) }
            span { strong { (check.name.replace('_', " ")) } " " (check.detail) }
        }
    }
}
