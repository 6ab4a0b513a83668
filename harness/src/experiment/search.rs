//! Which value is tried next: outward by a factor until one passes and one fails,
//! then in between, on a logarithmic scale. Pure.
//!
//! A step that failed is tried again before it counts, so that one noisy moment
//! does not decide; one that passed has shown that it can be done. Whatever the
//! steps come to, each new value lies between the hardest that passed and the
//! easiest that failed, so the search closes in on one place and ends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Logarithms that are closer than this are of the same value.
const SAME: f64 = 1e-9;

/// What is searched for, and where.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Which of the values that pass is wanted.
    pub goal: Goal,
    /// The value that is tried first.
    pub start: f64,
    /// By how much the next one is larger or smaller, until one passes and one fails.
    pub factor: f64,
    /// No value below it is tried.
    pub lowest: f64,
    /// No value above it is tried.
    pub highest: f64,
    /// How far the easiest value that failed may lie from the answer: a share of it, 0–1.
    pub resolution_ratio: f64,
}

/// Which of the values that pass is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The highest: the higher, the harder.
    Highest,
    /// The lowest: the lower, the harder.
    Lowest,
}

/// A value that was tried, and whether it passed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tried {
    /// The value.
    pub value: f64,
    /// Whether the target held what was asked of it.
    pub passed: bool,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// Try this value.
    Try(f64),
    /// Nothing more.
    Done(Found),
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The hardest value that passed; none when none did.
    pub passed: Option<f64>,
    /// The easiest value that failed twice; none when none did, and the answer may lie beyond
    /// the search's range.
    pub failed: Option<f64>,
}

impl Search {
    /// What to do after these steps, in the order in which they were taken.
    pub fn next(&self, tried: &[Tried]) -> Next {
        let mut found = Found {
            passed: None,
            failed: None,
        };
        let mut doubted = None;
        for &Tried { value, passed } in tried {
            if passed {
                found.passed = Some(value);
            } else if doubted == Some(value) {
                found.failed = Some(value);
            } else {
                doubted = Some(value);
                continue;
            }
            doubted = None;
        }
        if tried.len() >= self.steps_max() as usize {
            return Next::Done(found);
        }
        if let Some(again) = doubted {
            return Next::Try(again);
        }
        let ends = [self.lowest, self.highest].map(|end| self.hardness(end));
        let (easiest, hardest) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        let stride = self.factor.ln();
        let passed = found.passed.map(|value| self.hardness(value));
        let failed = found.failed.map(|value| self.hardness(value));
        let next = match (passed, failed) {
            (None, None) => self.hardness(self.start).clamp(easiest, hardest),
            (Some(passed), None) if passed > hardest - SAME => return Next::Done(found),
            (Some(passed), None) => (passed + stride).min(hardest),
            (None, Some(failed)) if failed < easiest + SAME => return Next::Done(found),
            (None, Some(failed)) => (failed - stride).max(easiest),
            (Some(passed), Some(failed)) if failed - passed <= self.resolution() => {
                return Next::Done(found);
            }
            (Some(passed), Some(failed)) => (passed + failed) / 2.0,
        };
        Next::Try(self.value(next))
    }

    /// How many steps it takes at most, whatever they come to.
    pub fn steps_max(&self) -> u32 {
        let outward = (self.highest / self.lowest).ln() / self.factor.ln();
        let values = outward.max(0.0).ceil() + 2.0 + f64::from(self.halvings());
        // Each may fail twice. What is no search at all still ends.
        (2.0 * values).min(10_000.0) as u32
    }

    /// How many steps it usually takes: three values outward, every second one in between
    /// failing, and failing twice.
    pub fn usual_steps(&self) -> u32 {
        4 + self.halvings() * 3 / 2
    }

    /// How often a stride outward is halved until it is no longer than the resolution.
    fn halvings(&self) -> u32 {
        (self.factor.ln() / self.resolution())
            .log2()
            .ceil()
            .max(0.0) as u32
    }

    /// The resolution as a difference of logarithms.
    fn resolution(&self) -> f64 {
        self.resolution_ratio.ln_1p().max(SAME)
    }

    /// The logarithm of a value, or its negative: more is always harder.
    fn hardness(&self, value: f64) -> f64 {
        match self.goal {
            Goal::Highest => value.ln(),
            Goal::Lowest => -value.ln(),
        }
    }

    fn value(&self, hardness: f64) -> f64 {
        match self.goal {
            Goal::Highest => hardness.exp(),
            Goal::Lowest => (-hardness).exp(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATES: Search = Search {
        goal: Goal::Highest,
        start: 100.0,
        factor: 2.0,
        lowest: 1.0,
        highest: 10_000.0,
        resolution_ratio: 0.03,
    };

    /// Carries a search out; a step passes when `passes` says so of its number and value.
    fn carried_out(search: &Search, passes: impl Fn(usize, f64) -> bool) -> (Found, Vec<Tried>) {
        let mut tried = Vec::new();
        loop {
            match search.next(&tried) {
                Next::Done(found) => return (found, tried),
                Next::Try(value) => tried.push(Tried {
                    value,
                    passed: passes(tried.len(), value),
                }),
            }
        }
    }

    fn passes(search: &Search, threshold: f64) -> impl Fn(usize, f64) -> bool {
        let goal = search.goal;
        move |_, value| match goal {
            Goal::Highest => value <= threshold,
            Goal::Lowest => value >= threshold,
        }
    }

    fn searches() -> impl Strategy<Value = Search> {
        let goal = prop_oneof![Just(Goal::Highest), Just(Goal::Lowest)];
        (
            goal,
            1.0f64..1e6,
            1.0f64..1e5,
            1.1f64..4.0,
            0.001f64..0.2,
            0.0f64..1.0,
        )
            .prop_map(
                |(goal, lowest, span, factor, resolution_ratio, start)| Search {
                    goal,
                    start: lowest * span.powf(start),
                    factor,
                    lowest,
                    highest: lowest * span,
                    resolution_ratio,
                },
            )
    }

    #[test]
    fn outward_then_in_between_and_failures_twice() {
        let (found, tried) = carried_out(&RATES, passes(&RATES, 300.0));
        let values: Vec<i64> = tried.iter().map(|t| t.value.round() as i64).collect();
        assert_eq!(values[..6], [100, 200, 400, 400, 283, 336]);
        assert_eq!(values[6], 336);
        let (passed, failed) = (found.passed.unwrap(), found.failed.unwrap());
        assert!(passed <= 300.0 && 300.0 < failed, "{found:?}");
        assert!(failed / passed <= 1.03 + 1e-9, "{found:?}");
    }

    #[test]
    fn a_range_without_an_answer_is_said_to_be_one() {
        let (found, _) = carried_out(&RATES, |_, _| true);
        assert_eq!(found.failed, None);
        assert!((found.passed.unwrap() - 10_000.0).abs() < 1e-6);
        let (found, _) = carried_out(&RATES, |_, _| false);
        assert_eq!(found.passed, None);
        assert!((found.failed.unwrap() - 1.0).abs() < 1e-9);
    }

    proptest! {
        /// For any monotone threshold the search ends within its bound of steps, the answer
        /// passes, and what lies a resolution beyond it fails.
        #[test]
        fn any_threshold_is_found(search in searches(), place in -0.2f64..1.2) {
            let threshold = search.lowest * (search.highest / search.lowest).powf(place);
            let passes = passes(&search, threshold);
            let (found, tried) = carried_out(&search, &passes);
            prop_assert!(tried.len() <= search.steps_max() as usize);
            if let Some(passed) = found.passed {
                prop_assert!(passes(0, passed));
            }
            if let Some(failed) = found.failed {
                prop_assert!(!passes(0, failed));
            }
            match (found.passed, found.failed) {
                (Some(passed), Some(failed)) => {
                    let apart = (passed / failed).ln().abs();
                    prop_assert!(apart <= search.resolution_ratio.ln_1p() + 1e-9);
                }
                // Nothing failed up to the hard end, or nothing passed down to the easy one.
                (Some(end), None) => {
                    let hard = if search.goal == Goal::Highest { search.highest } else { search.lowest };
                    prop_assert!((end / hard).ln().abs() < 1e-6);
                }
                (None, Some(end)) => {
                    let easy = if search.goal == Goal::Highest { search.lowest } else { search.highest };
                    prop_assert!((end / easy).ln().abs() < 1e-6);
                }
                (None, None) => prop_assert!(false, "nothing was tried"),
            }
        }

        /// Whatever the steps come to, it ends within its bound and never leaves its range.
        #[test]
        fn any_outcomes_end(search in searches(), outcomes in proptest::collection::vec(any::<bool>(), 64)) {
            let (_, tried) = carried_out(&search, |n, _| outcomes[n % outcomes.len()]);
            prop_assert!(tried.len() <= search.steps_max() as usize);
            for Tried { value, .. } in tried {
                prop_assert!(value >= search.lowest * (1.0 - 1e-6));
                prop_assert!(value <= search.highest * (1.0 + 1e-6));
            }
        }

        /// One step that fails by chance where it should have passed changes nothing.
        #[test]
        fn one_noisy_step_does_not_decide(search in searches(), place in 0.0f64..1.0, noisy in 0usize..40) {
            let threshold = search.lowest * (search.highest / search.lowest).powf(place);
            let passes = passes(&search, threshold);
            let (quiet, _) = carried_out(&search, &passes);
            let (found, _) = carried_out(&search, |n, value| {
                // A failure is noise only where the value would have passed.
                passes(n, value) && n != noisy
            });
            prop_assert_eq!(found, quiet);
        }
    }
}
