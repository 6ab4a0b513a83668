//! Two runs, or two arms of one run → what changed. Pure.
//!
//! # Layout
//! - [`Changes`] and its parts: the model, which is also what `--format json` prints
//! - [`setting`]: what differs in where and with what the two were measured
//! - [`change`]: figures and verdicts
//! - [`console`], [`markdown`]: `Changes` → text
//!
//! Within a run every block holds every arm, so two arms are compared block by
//! block. Two runs share no block. Where both measured a baseline, their
//! *overheads* are compared: whatever makes one machine or day slower than the
//! other slows the baseline as well, and cancels. The plain figures of the two
//! runs stand beside it.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::metric::Metric;
use crate::plan::Plan;
use crate::report::{Report, ScenarioReport, ScenarioStatus, Verdict, words};
use crate::sample::Subject;
use crate::scenario::TWIN;

pub mod change;
pub mod console;
pub mod markdown;
pub mod setting;
mod wording;

pub use setting::{Difference, Weight};

/// Version of the printed form.
pub const SCHEMA_VERSION: u32 = 1;

/// A run: what was planned, and what it came to.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// What was planned.
    pub plan: &'a Plan,
    /// What it came to.
    pub report: &'a Report,
}

/// What changed from A to B.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changes {
    /// Version of this form.
    pub schema_version: u32,
    /// What it is compared with.
    pub a: Named,
    /// What is compared.
    pub b: Named,
    /// Level of every interval, 0–1.
    pub confidence: f64,
    /// What differs in where and with what the two were measured.
    pub differences: Vec<Difference>,
    /// Every figure that both have.
    pub changes: Vec<Change>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// One of the two.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Named {
    /// The run.
    pub run: String,
    /// The arm, when two arms of one run are compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arm: Option<String>,
    /// When the run began (RFC 3339, UTC).
    pub started: String,
}

impl Named {
    /// What a reader calls it.
    pub fn name(&self) -> &str {
        self.arm.as_ref().unwrap_or(&self.run)
    }
}

/// How one figure changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The arm; of two arms, the second.
    pub scenario: String,
    /// What.
    pub metric: Metric,
    /// Of whom.
    pub subject: Subject,
    /// For durations: which quantile, 0–1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
    /// Whether it is one of the claims that were fixed in advance.
    pub headline: bool,
    /// The change, by every way that there is; the first one decides.
    pub figures: Vec<Figure>,
    /// Chance of the first figure between equals, corrected for the number of claims (Holm).
    pub adjusted_p_value: Option<f64>,
    /// A change within ± this counts as none.
    pub margin_ratio: f64,
    /// A smaller change can't be measured.
    pub resolution_ratio: f64,
    /// What can be said.
    pub verdict: Verdict,
    /// Why it is inconclusive, when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a change was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Two arms of one run, block by block.
    PairedByBlock,
    /// Each run's arm against that run's own baseline; what differs between machines or days cancels.
    Overhead,
    /// One run's trials against the other's; machine and day are part of the change.
    Plain,
}

/// A change by one way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// How it was found.
    pub way: Way,
    /// A's figure: an overhead ratio, or a value in the metric's unit.
    pub a: f64,
    /// B's figure.
    pub b: f64,
    /// B ÷ A − 1; of overheads, (1 + B) ÷ (1 + A) − 1.
    pub change_ratio: f64,
    /// Lower end of the interval; none with a single block or trial on either side.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// Chance of a change at least as large between equals (t test, as the interval).
    pub p_value: Option<f64>,
    /// Of blocks: the same without asking anything of the shape of the noise (permutation test).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permutation_p_value: Option<f64>,
    /// Blocks (trials, for plain figures) of A.
    pub count_a: u32,
    /// Blocks (trials, for plain figures) of B.
    pub count_b: u32,
}

/// Two that can't be compared.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CompareError {
    /// An arm that the run does not have.
    #[error("run {run} has no arm `{arm}`; it has {}", list(arms))]
    NoSuchArm {
        /// The run.
        run: String,
        /// What was asked for.
        arm: String,
        /// What there is.
        arms: Vec<String>,
    },
    /// One arm, named twice.
    #[error("`{0}` is named twice; two arms are compared, as in --arms A,B")]
    SameArm(String),
    /// No arm is in both runs.
    #[error("no arm is in both runs: A has {}, B has {}", list(a), list(b))]
    NothingShared {
        /// The arms of A.
        a: Vec<String>,
        /// The arms of B.
        b: Vec<String>,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// Every arm that both runs have, A's against B's.
///
/// # Errors
/// When there is no such arm.
pub fn runs(a: Side<'_>, b: Side<'_>) -> Result<Changes, CompareError> {
    let (of_a, of_b) = (arm_names(a.report), arm_names(b.report));
    let shared: Vec<&String> = of_a.iter().filter(|name| of_b.contains(name)).collect();
    if shared.is_empty() {
        return Err(CompareError::NothingShared { a: of_a, b: of_b });
    }
    let mut notes = Vec::new();
    for (side, own, others) in [("A", &of_a, &of_b), ("B", &of_b, &of_a)] {
        let alone: Vec<String> = own
            .iter()
            .filter(|name| !others.contains(name))
            .cloned()
            .collect();
        if !alone.is_empty() {
            notes.push(format!("Only {side} has {}.", list(&alone)));
        }
    }
    if a.report.run == b.report.run {
        notes.push("A and B are the same run.".to_owned());
    }
    for (side, report) in [("A", a.report), ("B", b.report)] {
        notes.extend(unusable(report, &shared).map(|text| format!("{side}: {text}")));
    }
    let mut changes = Vec::new();
    // The twin is the baseline once more; its difference from another run's twin says nothing new.
    for arm in shared.iter().filter(|name| name.as_str() != TWIN) {
        changes.extend(change::between_runs(a, b, arm));
    }
    change::correct(&mut changes, a.report.confidence);
    let shared: Vec<&str> = shared.iter().map(|name| name.as_str()).collect();
    Ok(Changes {
        schema_version: SCHEMA_VERSION,
        a: named(a.report, None),
        b: named(b.report, None),
        confidence: a.report.confidence,
        differences: setting::between_runs(a, b, &shared),
        changes,
        notes,
    })
}

/// Two arms of one run, A's against B's.
///
/// # Errors
/// When the run does not have them, or they are the same.
pub fn arms(run: Side<'_>, a: &str, b: &str) -> Result<Changes, CompareError> {
    let names = arm_names(run.report);
    for arm in [a, b] {
        if !names.iter().any(|name| name == arm) {
            return Err(CompareError::NoSuchArm {
                run: run.report.run.clone(),
                arm: arm.to_owned(),
                arms: names,
            });
        }
    }
    if a == b {
        return Err(CompareError::SameArm(a.to_owned()));
    }
    let (first, second) = (a.to_owned(), b.to_owned());
    let mut changes = change::between_arms(run, a, b);
    change::correct(&mut changes, run.report.confidence);
    Ok(Changes {
        schema_version: SCHEMA_VERSION,
        a: named(run.report, Some(a)),
        b: named(run.report, Some(b)),
        confidence: run.report.confidence,
        differences: setting::between_arms(run, a, b),
        changes,
        notes: unusable(run.report, &[&first, &second]).collect(),
    })
}

impl Changes {
    /// What makes the figures incomparable.
    pub fn refusals(&self) -> impl Iterator<Item = &Difference> {
        self.of(Weight::Refuses)
    }

    /// What may have a part in every change.
    pub fn warnings(&self) -> impl Iterator<Item = &Difference> {
        self.of(Weight::Warns)
    }

    /// What is being compared.
    pub fn compared(&self) -> impl Iterator<Item = &Difference> {
        self.of(Weight::Compared)
    }

    fn of(&self, weight: Weight) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(move |d| d.weight == weight)
    }
}

fn named(report: &Report, arm: Option<&str>) -> Named {
    Named {
        run: report.run.clone(),
        arm: arm.map(str::to_owned),
        started: report.started.clone(),
    }
}

fn arm_names(report: &Report) -> Vec<String> {
    report.scenarios.iter().map(|s| s.name.clone()).collect()
}

/// Arms whose figures can't be used, and why.
fn unusable<'a>(report: &'a Report, arms: &[&String]) -> impl Iterator<Item = String> + 'a {
    let arms: BTreeSet<String> = arms.iter().map(|name| (*name).clone()).collect();
    let sentence = |s: &ScenarioReport| format!("{}: {}.", s.name, words::no_figures(s));
    let broken = |s: &&ScenarioReport| s.status != ScenarioStatus::Ok;
    report
        .scenarios
        .iter()
        .filter(move |s| arms.contains(&s.name))
        .filter(broken)
        .map(sentence)
}
