//! Budgets and a report → what came of each. Pure.

use super::{Budget, Estimate, Gate, Judgement, Key, Limit, Noise, Outcome, SCHEMA_VERSION};
use crate::metric::Metric;
use crate::report::{Report, ScenarioReport, ScenarioStatus};
use crate::sample::Subject;
use crate::scenario::library::nearest;
use crate::scenario::{BASELINE, TWIN};

/// More blocks than this many times the run's are no advice.
const BLOCKS_FACTOR_MAX: f64 = 50.0;

/// Budgets that don't fit the run.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A scenario that the run doesn't have.
    #[error("{place}: the run has no scenario `{name}`{}; it has: {}", suggestion(nearest), known.join(", "))]
    Scenario {
        /// Where it is named.
        place: String,
        /// The name.
        name: String,
        /// The one that was probably meant.
        nearest: Option<String>,
        /// Those of the run.
        known: Vec<String>,
    },
    /// No arm that a budget could be about.
    #[error("{place}: `{key}` concerns no scenario: the run has only the baseline")]
    OnlyBaseline {
        /// Where the budget stands.
        place: String,
        /// What it limits.
        key: Key,
    },
    /// A figure or change that the run doesn't have.
    #[error("{place}: {message}; the run has: {}", known.join(", "))]
    NoMatch {
        /// Where the budget stands.
        place: String,
        /// What is missing, and why.
        message: String,
        /// What the run has.
        known: Vec<String>,
    },
    /// No budget concerns the scenarios that were asked for.
    #[error("no budget concerns {}", names.join(", "))]
    Nothing {
        /// The scenarios that were asked for.
        names: Vec<String>,
    },
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map(|name| format!(", did you mean `{name}`?"))
        .unwrap_or_default()
}

/// The rule. `over` when the whole interval lies above the limit, `within` when
/// none of it does, otherwise there is no telling. What is no interval, with an
/// end that is not a number or its ends the wrong way round, tells nothing.
pub fn rule(interval: Option<(f64, f64)>, limit: f64) -> Outcome {
    match interval {
        Some((low, high)) if low <= high && low > limit => Outcome::Over,
        Some((low, high)) if low <= high && high <= limit => Outcome::Within,
        _ => Outcome::Inconclusive,
    }
}

/// The same for a limit from below, where more is better.
fn rule_from_below(interval: Option<(f64, f64)>, limit: f64) -> Outcome {
    rule(interval.map(|(low, high)| (-high, -low)), -limit)
}

/// Judges a run. With names in `only`, just these scenarios, and budgets of others are left out.
///
/// # Errors
/// When a budget is about nothing in the run, which is a mistake in the budget
/// or in the choice of the run, and must not pass for "within".
pub fn judge(report: &Report, budgets: &[Budget], only: &[String]) -> Result<Gate, GateError> {
    for name in only {
        find_arm(report, name, "--scenario")?;
    }
    let mut judgements = Vec::new();
    for budget in budgets {
        judgements.extend(of_budget(report, budget, only)?);
    }
    if judgements.is_empty() {
        return Err(GateError::Nothing {
            names: only.to_vec(),
        });
    }
    Ok(Gate {
        schema_version: SCHEMA_VERSION,
        run: report.run.clone(),
        outcome: Outcome::worst(judgements.iter().map(|judgement| judgement.outcome)),
        confidence: report.confidence,
        request_rate: report.request_rate,
        blocks: report
            .scenarios
            .iter()
            .map(|arm| arm.planned_trials)
            .max()
            .unwrap_or(0),
        noise_floor: noise_floor(report, &judgements),
        judgements,
    })
}

fn of_budget(
    report: &Report,
    budget: &Budget,
    only: &[String],
) -> Result<Vec<Judgement>, GateError> {
    let asked = |name: &String| only.is_empty() || only.contains(name);
    let arms: Vec<&ScenarioReport> = match &budget.scenario {
        Some(name) if !asked(name) => return Ok(Vec::new()),
        Some(name) => vec![find_arm(report, name, &budget.place)?],
        None => {
            // Whoever names the baseline means it; an amplified agent is nobody's.
            let concerned = |arm: &&ScenarioReport| {
                only.contains(&arm.name)
                    || only.is_empty()
                        && arm.status != ScenarioStatus::Unsupported
                        && arm.name != BASELINE
                        && arm.name != TWIN
                        && !arm.is_amplified()
            };
            report.scenarios.iter().filter(concerned).collect()
        }
    };
    if arms.is_empty() {
        return Err(GateError::OnlyBaseline {
            place: budget.place.clone(),
            key: budget.key,
        });
    }
    let judged: Vec<(&ScenarioReport, Option<Judgement>)> = arms
        .into_iter()
        .map(|arm| (arm, of_arm(report, budget, arm)))
        .collect();
    let measured = judged.iter().filter(|(arm, _)| is_ok(arm));
    let mut found = measured.clone().map(|(_, judgement)| judgement.is_some());
    if measured.clone().count() > 0 && !found.any(|found| found) {
        let arms: Vec<&ScenarioReport> = measured.map(|(arm, _)| *arm).collect();
        return Err(no_match(report, budget, &arms));
    }
    Ok(judged
        .into_iter()
        .filter_map(|(arm, judgement)| match judgement {
            Some(judgement) => Some(judgement),
            // A target alone has no agent that could be over.
            None if budget.key.subject == Subject::Agent && !arm.has_agent() => None,
            None => Some(Judgement {
                reason: Some("the run has no such figure of this scenario".into()),
                ..empty(budget, arm, Outcome::Inconclusive)
            }),
        })
        .collect())
}

/// None when the arm was measured and has nothing that the budget could be about.
fn of_arm(report: &Report, budget: &Budget, arm: &ScenarioReport) -> Option<Judgement> {
    let baseline = report.scenarios.iter().find(|arm| arm.name == BASELINE);
    let needed = if budget.limit.is_change() {
        vec![Some(arm), baseline]
    } else {
        vec![Some(arm)]
    };
    if let Some(broken) = needed.into_iter().flatten().find(|arm| !is_ok(arm)) {
        let status = match broken.status {
            ScenarioStatus::Unsupported => "can't run here",
            ScenarioStatus::Failed => "failed",
            _ => "is not valid",
        };
        let detail = broken.reason.as_deref().unwrap_or("no reason is recorded");
        return Some(Judgement {
            reason: Some(format!("{} {status}: {detail}", broken.name)),
            ..empty(budget, arm, Outcome::Invalid)
        });
    }
    let key = if arm.has_agent() {
        budget.key
    } else {
        without_agent(budget.key)
    };
    if let Limit::Figure(_) = budget.limit {
        let statistic = arm
            .statistics
            .iter()
            .find(|s| key.is(s.metric, s.subject, s.quantile))?;
        let judgement = Judgement {
            blocks: Some(arm.trials),
            figure: Some(Estimate {
                point: statistic.estimate,
                low: statistic.low,
                high: statistic.high,
            }),
            ..empty(budget, arm, Outcome::Inconclusive)
        };
        return Some(decide(judgement, "trial"));
    }
    let comparison = report
        .comparisons
        .iter()
        .find(|c| c.scenario == arm.name && key.is(c.metric, c.subject, c.quantile));
    let Some(c) = comparison else {
        // Both were measured, but never in one block.
        let apart = key.metric.is_compared()
            && [Some(arm), baseline].into_iter().all(|arm| {
                arm.is_some_and(|arm| {
                    arm.statistics
                        .iter()
                        .any(|s| key.is(s.metric, s.subject, s.quantile))
                })
            });
        return apart.then(|| Judgement {
            reason: Some("there is no block in which both it and the baseline count".into()),
            blocks: Some(0),
            ..empty(budget, arm, Outcome::Inconclusive)
        });
    };
    let judgement = Judgement {
        blocks: Some(c.blocks),
        change_ratio: Some(Estimate {
            point: c.overhead_ratio,
            low: c.low,
            high: c.high,
        }),
        change: Some(Estimate {
            point: c.overhead,
            low: c.overhead_low,
            high: c.overhead_high,
        }),
        ..empty(budget, arm, Outcome::Inconclusive)
    };
    Some(decide(judgement, "block"))
}

/// Applies the rule to the estimate that the limit is held against.
fn decide(mut judgement: Judgement, unit: &str) -> Judgement {
    let (Some(estimate), limit) = (judgement.estimate(), judgement.budget.limit.value()) else {
        return judgement;
    };
    let interval = estimate.interval();
    judgement.outcome = if judgement.budget.key.metric.more_is_better() {
        rule_from_below(interval, limit)
    } else {
        rule(interval, limit)
    };
    if judgement.outcome != Outcome::Inconclusive {
        return judgement;
    }
    let blocks = judgement.blocks.unwrap_or(0);
    judgement.reason = Some(match interval {
        None if blocks == 1 => {
            format!("one {unit} has no interval; measure with more (--blocks)")
        }
        None => "there is no interval".into(),
        Some(_) => {
            judgement.blocks_needed = blocks_needed(estimate, limit, blocks);
            match judgement.blocks_needed {
                Some(needed) => format!(
                    "the interval reaches across the limit; if the estimate stays, about {needed} {unit}s would decide"
                ),
                None => "the interval reaches across the limit, and the estimate lies too near to it for more blocks to help".into(),
            }
        }
    });
    judgement
}

/// An interval narrows with the root of the blocks. It decides once half of it
/// is no wider than the way from estimate to limit. A little less is enough: the
/// factor is a quotient of differences, and never exact.
fn blocks_needed(estimate: Estimate, limit: f64, blocks: u32) -> Option<u32> {
    let (low, high) = estimate.interval()?;
    let factor = ((high - low) / 2.0 / (limit - estimate.point)).powi(2);
    // Infinite, when the estimate lies on the limit; no number, when nothing is.
    if factor.is_nan() || factor > BLOCKS_FACTOR_MAX {
        return None;
    }
    let needed = (f64::from(blocks) * factor - 1e-6).ceil();
    Some(needed.max(f64::from(blocks) + 1.0) as u32)
}

fn empty(budget: &Budget, arm: &ScenarioReport, outcome: Outcome) -> Judgement {
    Judgement {
        budget: budget.clone(),
        scenario: arm.name.clone(),
        outcome,
        reason: None,
        blocks: None,
        change_ratio: None,
        change: None,
        figure: None,
        blocks_needed: None,
    }
}

/// Without an agent the total is the target, and reports don't repeat it.
fn without_agent(mut key: Key) -> Key {
    if key.subject == Subject::Total {
        key.subject = Subject::Target;
    }
    key
}

fn is_ok(arm: &ScenarioReport) -> bool {
    arm.status == ScenarioStatus::Ok
}

fn find_arm<'r>(
    report: &'r Report,
    name: &str,
    place: &str,
) -> Result<&'r ScenarioReport, GateError> {
    let found = report.scenarios.iter().find(|arm| arm.name == name);
    found.ok_or_else(|| {
        let known: Vec<String> = report.scenarios.iter().map(|s| s.name.clone()).collect();
        GateError::Scenario {
            place: place.to_owned(),
            name: name.to_owned(),
            nearest: nearest(name, &known),
            known,
        }
    })
}

/// Says what there is instead.
fn no_match(report: &Report, budget: &Budget, arms: &[&ScenarioReport]) -> GateError {
    let key = budget.key;
    let concerned = |name: &str| arms.iter().any(|arm| arm.name == name);
    let comparisons = report
        .comparisons
        .iter()
        .filter(|c| concerned(&c.scenario))
        .map(|c| (c.metric, c.subject, c.quantile));
    let statistics = arms
        .iter()
        .flat_map(|arm| &arm.statistics)
        .map(|s| (s.metric, s.subject, s.quantile));
    let has = |figures: &mut dyn Iterator<Item = (Metric, Subject, Option<f64>)>| {
        let mut keys: Vec<String> = Vec::new();
        for (metric, subject, quantile) in figures {
            let text = Key {
                metric,
                subject,
                quantile,
            }
            .to_string();
            if !keys.contains(&text) {
                keys.push(text);
            }
        }
        if keys.is_empty() {
            keys.push("none".into());
        }
        keys
    };
    let names: Vec<&str> = arms.iter().map(|arm| arm.name.as_str()).collect();
    let names = names.join(", ");
    if !budget.limit.is_change() {
        return GateError::NoMatch {
            place: budget.place.clone(),
            message: format!("there is no `{key}` of {names}"),
            known: has(&mut statistics.into_iter()),
        };
    }
    let why = if key.subject == Subject::Agent {
        " (the baseline has no agent to compare with: a quantity without a sign, such as `64 MiB`, limits the agent's own figure)"
    } else if !key.metric.is_compared() {
        " (it is not compared: without a sign, a limit is of the figure itself)"
    } else {
        ""
    };
    GateError::NoMatch {
        place: budget.place.clone(),
        message: format!("`{key}` of {names} is not compared with the baseline{why}"),
        known: has(&mut comparisons.into_iter()),
    }
}

/// Of the figures whose change is limited, each once.
fn noise_floor(report: &Report, judgements: &[Judgement]) -> Vec<Noise> {
    let limited: Vec<Key> = judgements
        .iter()
        .filter(|judgement| judgement.budget.limit.is_change())
        .map(|judgement| without_agent(judgement.budget.key))
        .collect();
    report
        .noise_floor
        .iter()
        .filter(|noise| {
            limited
                .iter()
                .any(|key| key.is(noise.metric, noise.subject, noise.quantile))
        })
        .map(|noise| Noise {
            key: Key {
                metric: noise.metric,
                subject: noise.subject,
                quantile: noise.quantile,
            },
            overhead_ratio: Estimate {
                point: noise.overhead_ratio,
                low: noise.low,
                high: noise.high,
            },
            detectable_ratio: noise.detectable_ratio,
        })
        .collect()
}

#[cfg(test)]
mod tests;
