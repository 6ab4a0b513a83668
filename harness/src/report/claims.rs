//! What a report claims: one figure at a time, of every arm, in the order in which all outputs show it.

use super::{Comparison, NoiseFloor, Report, ScenarioReport, format};
use crate::metric::Metric;
use crate::sample::Subject;
use crate::scenario::TWIN;
use crate::trial::{TrialRecord, TrialStatistic};

/// Whose claims come first: what the application and its agent cost together, then each.
const SUBJECTS: [Subject; 8] = [
    Subject::Total,
    Subject::Target,
    Subject::Agent,
    Subject::Node,
    Subject::Load,
    Subject::Intake,
    Subject::Harness,
    Subject::VictoriaMetrics,
];

/// A figure by which arms are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// What.
    pub metric: Metric,
    /// Of whom.
    pub subject: Subject,
    /// Which quantile, for durations.
    pub quantile: Option<f64>,
}

impl Claim {
    /// What a comparison is about.
    pub fn of(comparison: &Comparison) -> Claim {
        Claim {
            metric: comparison.metric,
            subject: comparison.subject,
            quantile: comparison.quantile,
        }
    }

    /// What a trial's figure is about.
    pub fn of_statistic(statistic: &TrialStatistic) -> Claim {
        Claim {
            metric: statistic.metric,
            subject: statistic.subject,
            quantile: statistic.quantile,
        }
    }

    /// The figure of one trial.
    pub fn value(self, trial: &TrialRecord) -> Option<f64> {
        let mut all = trial.analysis.statistics.iter();
        let found = all.find(|statistic| Claim::of_statistic(statistic) == self)?;
        Some(found.value)
    }

    /// What an entry of the noise floor is about.
    pub fn of_noise(floor: &NoiseFloor) -> Claim {
        Claim {
            metric: floor.metric,
            subject: floor.subject,
            quantile: floor.quantile,
        }
    }

    /// A name for addresses and element ids, such as `request_duration_seconds.target.p99`.
    pub fn id(&self) -> String {
        let quantile = self
            .quantile
            .map_or(String::new(), |q| format!(".{}", format::quantile(q)));
        format!(
            "{}.{}{quantile}",
            self.metric.as_str(),
            self.subject.as_str()
        )
    }

    fn rank(&self) -> (Metric, Option<usize>, u64) {
        let subject = SUBJECTS.iter().position(|s| *s == self.subject);
        // Quantiles are positive, so that their bits are in their order.
        (
            self.metric,
            subject,
            self.quantile.map_or(0, |q| q.max(0.0).to_bits()),
        )
    }
}

/// Every figure by which arms are compared, in order: those fixed in advance, or the others.
pub fn claims(report: &Report, headline: bool) -> Vec<Claim> {
    let chosen = contenders(report).filter(|c| c.headline == headline);
    in_order(report, chosen.map(Claim::of))
}

/// The figures of the noise floor, in the same order.
pub fn noise_claims(report: &Report) -> Vec<Claim> {
    in_order(report, report.noise_floor.iter().map(Claim::of_noise))
}

/// Each once, in order. Where no arm has an agent, the total is the target once more, and left out.
fn in_order(report: &Report, all: impl Iterator<Item = Claim>) -> Vec<Claim> {
    let agents = report.scenarios.iter().any(ScenarioReport::has_agent);
    let mut claims: Vec<Claim> = Vec::new();
    for claim in all.filter(|claim| agents || claim.subject != Subject::Total) {
        if !claims.contains(&claim) {
            claims.push(claim);
        }
    }
    claims.sort_by_key(Claim::rank);
    claims
}

/// Every comparison of an arm that is not the baseline's twin: what separates
/// that one from the baseline is the noise floor, and no result.
pub fn contenders(report: &Report) -> impl Iterator<Item = &Comparison> {
    report.comparisons.iter().filter(|c| c.scenario != TWIN)
}

/// The comparisons of one claim, in the order of the report's scenarios.
pub fn of_claim(report: &Report, claim: Claim) -> Vec<&Comparison> {
    let place = |c: &Comparison| report.scenarios.iter().position(|s| s.name == c.scenario);
    let mut found: Vec<&Comparison> = contenders(report)
        .filter(|c| Claim::of(c) == claim)
        .collect();
    found.sort_by_key(|c| place(c).unwrap_or(usize::MAX));
    found
}

/// What separates two identical baselines in this figure.
pub fn noise(report: &Report, claim: Claim) -> Option<&NoiseFloor> {
    report
        .noise_floor
        .iter()
        .find(|floor| Claim::of_noise(floor) == claim)
}

/// The headline comparisons of a scenario, in order.
pub fn of_scenario<'a>(report: &'a Report, scenario: &ScenarioReport) -> Vec<&'a Comparison> {
    let mut found: Vec<&Comparison> = contenders(report)
        .filter(|c| c.headline && c.scenario == scenario.name)
        // Without an agent, the total is the target once more.
        .filter(|c| c.subject != Subject::Total || scenario.has_agent())
        .collect();
    found.sort_by_key(|c| Claim::of(c).rank());
    found
}
