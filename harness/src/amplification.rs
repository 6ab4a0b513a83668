//! Trials of an agent that attached its programs several times over → what one
//! copy costs. Pure.
//!
//! An effect of a tenth of a microsecond is lost in the noise of a request that
//! takes fifty; sixteen times the effect is not. So the programs are attached
//! 1, … N times, and the line through the costs tells what one copy adds. It is
//! a labelled experiment: nobody runs an agent like that, and what does not
//! grow with the number of copies is told apart from what does.

use std::collections::BTreeMap;

use crate::plan::Plan;
use crate::record::Records;
use crate::report::{Amplification, AmplifiedPoint, Interval, Payer, Slope};
use crate::sample::Subject;
use crate::scenario::{BASELINE, TWIN};
use crate::stats::{self, Line, Mean};
use crate::trial::{Ledger, TrialStatus};

/// The numbers of copies that a run compares: one, as the agent is used; as
/// many as were asked for; and half as many between them.
///
/// The ends alone carry the slope, and every arm more is time that they don't
/// get; the one in the middle is what it takes to see that the line is none.
pub fn copies(most: u32) -> Vec<u32> {
    let mut copies = vec![1, most.div_ceil(2), most];
    copies.dedup();
    copies
}

/// The arm of a number of copies; with one it is the scenario as it stands.
pub fn arm_name(scenario: &str, copies: u32) -> String {
    match copies {
        1 => scenario.to_owned(),
        copies => format!("{scenario}-x{copies}"),
    }
}

/// What one copy costs; none in a run that does not amplify anything.
pub fn amplification(records: &Records) -> Option<Amplification> {
    let amplified = records.plan.amplified.as_ref()?;
    let arms = arms(&records.plan);
    let blocks = Blocks::of(records, &arms);
    Some(Amplification {
        scenario: amplified.clone(),
        copies: arms.iter().map(|(copies, _)| *copies).collect(),
        blocks: blocks.0.len() as u32,
        slopes: Payer::ALL
            .into_iter()
            .filter_map(|payer| blocks.slope(payer, &arms, records.plan.confidence))
            .collect(),
    })
}

/// Number of copies and name of each arm of the agent, by their number.
fn arms(plan: &Plan) -> Vec<(u32, String)> {
    let own = plan.arms.iter().filter_map(|arm| {
        let copies = arm.agent.as_ref()?.copies?;
        Some((copies, arm.name.clone()))
    });
    let mut arms: Vec<(u32, String)> = own.collect();
    arms.sort();
    arms
}

/// The ledgers of the blocks in which every arm counts, by block and arm.
struct Blocks<'a>(BTreeMap<u32, BTreeMap<&'a str, &'a Ledger>>);

impl<'a> Blocks<'a> {
    fn of(records: &'a Records, arms: &[(u32, String)]) -> Self {
        let mut blocks: BTreeMap<u32, BTreeMap<&str, &Ledger>> = BTreeMap::new();
        for trial in &records.trials {
            if trial.status == TrialStatus::Valid
                && let Some(ledger) = &trial.analysis.ledger
            {
                let block = blocks.entry(trial.block).or_default();
                block.insert(&trial.arm, ledger);
            }
        }
        let names = || arms.iter().map(|(_, name)| name.as_str());
        blocks.retain(|_, block| {
            [BASELINE, TWIN]
                .into_iter()
                .chain(names())
                .all(|name| block.contains_key(name))
        });
        Blocks(blocks)
    }

    fn slope(&self, payer: Payer, arms: &[(u32, String)], confidence: f64) -> Option<Slope> {
        let (fewest, most) = (arms.first()?.0, arms.last()?.0);
        let mut fits = Vec::new();
        let mut points = Vec::new();
        for (&block, ledgers) in &self.0 {
            let cost = |name: &str| cost(payer, ledgers.get(name)?);
            let (baseline, twin) = (cost(BASELINE)?, cost(TWIN)?);
            let reference = (baseline + twin) / 2.0;
            let costs: Vec<(f64, f64)> = arms
                .iter()
                .map(|(copies, name)| Some((f64::from(*copies), cost(name)?)))
                .collect::<Option<_>>()?;
            fits.push(Fit {
                line: stats::line(&costs)?,
                reference,
                // What two identical baselines would make of the same distance.
                noise: (twin - baseline) / f64::from(most - fewest),
                bend: bend(&costs),
            });
            points.extend(
                arms.iter()
                    .zip(&costs)
                    .map(|((copies, _), (_, cost))| AmplifiedPoint {
                        block,
                        copies: *copies,
                        added: cost - reference,
                    }),
            );
        }
        let over = |value: fn(&Fit) -> Option<f64>| {
            let values: Vec<f64> = fits.iter().map(value).collect::<Option<_>>()?;
            stats::mean(&values, confidence).map(interval)
        };
        Some(Slope {
            of: payer,
            per_copy: over(|fit| Some(fit.line.slope))?,
            two_baselines: over(|fit| Some(fit.noise))?,
            beside_copies: over(|fit| Some(fit.line.intercept - fit.reference))?,
            bend: over(|fit| fit.bend),
            points,
        })
    }
}

/// What one block says.
struct Fit {
    line: Line,
    reference: f64,
    noise: f64,
    bend: Option<f64>,
}

/// How far the middle lies above the line between the ends; none with only two.
fn bend(costs: &[(f64, f64)]) -> Option<f64> {
    let [first, middle, last] = costs else {
        return None;
    };
    let share = (middle.0 - first.0) / (last.0 - first.0);
    Some(middle.1 - (first.1 + share * (last.1 - first.1)))
}

/// CPU seconds of one request that somebody pays.
fn cost(payer: Payer, ledger: &Ledger) -> Option<f64> {
    let sum = |subjects: &[Subject]| {
        let of = subjects.iter().map(|subject| match subject {
            // A baseline has no agent, and pays nothing for it.
            Subject::Agent => Some(ledger.of(Subject::Agent).unwrap_or(0.0)),
            subject => ledger.of(*subject),
        });
        of.sum::<Option<f64>>()
    };
    let seconds = match payer {
        Payer::Target => sum(&[Subject::Target]),
        Payer::Agent => sum(&[Subject::Agent]),
        Payer::Load => sum(&[Subject::Load]),
        Payer::Total => sum(&[Subject::Target, Subject::Agent]),
        Payer::Everyone => sum(&[Subject::Target, Subject::Agent, Subject::Load]),
        Payer::Machine => Some(ledger.node_busy_seconds),
    }?;
    (ledger.requests > 0).then(|| seconds / ledger.requests as f64)
}

fn interval(mean: Mean) -> Interval {
    Interval {
        estimate: mean.point,
        low: mean.interval.map(|(low, _)| low),
        high: mean.interval.map(|(_, high)| high),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_and_the_middle_are_compared() {
        assert_eq!(copies(2), [1, 2]);
        assert_eq!(copies(3), [1, 2, 3]);
        assert_eq!(copies(16), [1, 8, 16]);
        assert_eq!(arm_name("flora", 1), "flora");
        assert_eq!(arm_name("flora", 16), "flora-x16");
    }

    #[test]
    fn a_bend_is_what_the_middle_lies_above_the_chord() {
        assert_eq!(bend(&[(1.0, 1.0), (2.0, 4.0), (3.0, 3.0)]), Some(2.0));
        assert_eq!(bend(&[(1.0, 1.0), (3.0, 3.0)]), None);
    }
}
