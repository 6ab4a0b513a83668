//! What counts and what does not, in sentences.

use super::{share, trials};
use crate::report::Report;
use crate::trial::{Check, Ledger, Severity, TrialRecord, TrialStatus};

/// Whether a ledger closes, and what is left over.
pub fn ledger(ledger: &Ledger) -> String {
    let rest = share(ledger.remainder_ratio);
    let missing = ledger.missing();
    if ledger.closes() {
        let roles = share(1.0 - ledger.remainder_ratio);
        format!(
            "The ledger closes: {roles} of the machine's busy time belongs to a role, {rest} to \
             none{missing}."
        )
    } else {
        format!(
            "The ledger is open: {rest} of the machine's busy time belongs to no role{missing}."
        )
    }
}

/// How many trials of the run count: `5 of 6 trials count.`
pub fn counted(report: &Report) -> String {
    let all = report.trials.len();
    let valid = report
        .trials
        .iter()
        .filter(|t| t.status == TrialStatus::Valid)
        .count();
    format!(
        "{valid} of {} {}.",
        trials(all as u32),
        if valid == 1 { "counts" } else { "count" }
    )
}

/// Why a trial does not count; none when it does.
pub fn not_counted(trial: &TrialRecord) -> Option<String> {
    let (arm, number, block) = (&trial.arm, trial.trial, trial.block);
    let what = match trial.status {
        TrialStatus::Valid => return None,
        TrialStatus::Invalid => "does not count",
        TrialStatus::Failed => "failed",
    };
    let mut reasons: Vec<String> = trial.analysis.broken().map(check).collect();
    reasons.extend(trial.error.clone());
    let reasons = if reasons.is_empty() {
        "no reason was recorded".to_owned()
    } else {
        reasons.join("; ")
    };
    Some(format!(
        "trial {number} ({arm}, block {block}) {what}: {reasons}"
    ))
}

/// A trial's failed checks that only warn.
pub fn warnings(trial: &TrialRecord) -> impl Iterator<Item = String> {
    let warns = |c: &&Check| !c.passed && c.severity == Severity::Warns;
    trial
        .analysis
        .checks
        .iter()
        .filter(warns)
        .map(|c| format!("trial {} ({}): {}", trial.trial, trial.arm, check(c)))
}

fn check(check: &Check) -> String {
    format!("{}: {}", check.name, check.detail)
}
