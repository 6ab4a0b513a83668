//! Samples → what a trial came to. Pure: the same lines give the same figures.
//!
//! A cost per request is a quotient of two rates, each over its own clock: CPU
//! seconds per second between the two edge readings of the counter, and
//! answers per second of the load driver's window. The edges of the two differ
//! by the harness's wake-up, a millisecond or so.
//!
//! # Layout
//! - `view`: samples, asked by name
//! - `ledger`: where the machine's CPU time went
//! - `telemetry`: what an agent reported of what was served
//! - `checks`: what is asked of a trial before it counts
//! - [`search`]: all of that for the search of an experiment

mod checks;
mod ledger;
pub mod search;
mod telemetry;
mod view;

use self::checks::checks;
use self::ledger::ledger;
use self::telemetry::{delivered, telemetry};
use self::view::View;
use crate::fingerprint::Fingerprint;
use crate::metric::{Metric, QUANTILES};
use crate::plan::Plan;
use crate::sample::{Reading, Sample, Subject};
use crate::stats;
use crate::trial::{Ledger, TrialAnalysis, TrialStatistic};

/// Everything that one trial's samples say.
pub fn trial(plan: &Plan, fingerprint: &Fingerprint, samples: &[Sample]) -> TrialAnalysis {
    if let Some(experiment) = &plan.experiment {
        return search::trial(plan, experiment, fingerprint, samples);
    }
    let view = View {
        samples,
        turns: plan.slices > 1,
    };
    let requests = view.load(Reading::RequestsCompleted).unwrap_or(0.0);
    let window = view.load(Reading::WindowSeconds).unwrap_or(0.0);
    let ledger = ledger(&view, requests, window);
    TrialAnalysis {
        requests: requests as u64,
        statistics: statistics(&view, ledger.as_ref(), requests, window),
        checks: checks(plan, fingerprint, &view, ledger.as_ref(), window),
        telemetry: telemetry(&view),
        delivered: delivered(&view),
        steps: Vec::new(),
        ledger,
    }
}

fn statistics(
    view: &View<'_>,
    ledger: Option<&Ledger>,
    requests: f64,
    window: f64,
) -> Vec<TrialStatistic> {
    let mut all = Vec::new();
    let mut add = |metric, subject, value: Option<f64>| {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            all.push(TrialStatistic {
                metric,
                subject,
                quantile: None,
                value,
            });
        }
    };
    if let Some(ledger) = ledger
        && requests > 0.0
    {
        let of = |subject| ledger.of(subject).map(|seconds| seconds / requests);
        for subject in Subject::ROLES {
            let spent = view.spent(subject, Reading::CpuUsageSecondsTotal, window);
            add(
                Metric::CpuSecondsPerRequest,
                subject,
                spent.map(|seconds| seconds / requests),
            );
        }
        let outside: f64 = Subject::ROLES
            .into_iter()
            .filter(|subject| !Subject::RESULTS.contains(subject))
            .filter_map(|subject| ledger.of(subject))
            .sum();
        add(
            Metric::CpuSecondsPerRequest,
            Subject::Node,
            Some((ledger.node_busy_seconds - outside) / requests),
        );
        add(
            Metric::CpuSecondsPerRequest,
            Subject::Total,
            of(Subject::Target).map(|target| target + of(Subject::Agent).unwrap_or(0.0)),
        );
    }
    let total = |target: Option<f64>, agent: Option<f64>| Some(target? + agent.unwrap_or(0.0));
    for subject in Subject::ROLES {
        add(
            Metric::MemoryWorkingSetBytes,
            subject,
            view.working_set(subject),
        );
        add(Metric::MemoryPeakBytes, subject, view.peak(subject));
    }
    add(
        Metric::MemoryWorkingSetBytes,
        Subject::Total,
        total(
            view.working_set(Subject::Target),
            view.working_set(Subject::Agent),
        ),
    );
    add(
        Metric::MemoryPeakBytes,
        Subject::Total,
        total(view.peak(Subject::Target), view.peak(Subject::Agent)),
    );
    let throttled = view.spent(Subject::Target, Reading::CpuThrottledSecondsTotal, window);
    add(Metric::CpuThrottledSeconds, Subject::Target, throttled);
    add(
        Metric::StartupSeconds,
        Subject::Target,
        view.of(Subject::Target, Reading::StartupSeconds)
            .next()
            .map(|sample| sample.value),
    );
    if window > 0.0 {
        add(
            Metric::RequestsPerSecond,
            Subject::Target,
            Some(requests / window),
        );
    }
    if let Some(offered) = view.load(Reading::RequestsOffered)
        && offered > 0.0
    {
        let lost = view.load(Reading::RequestsFailed).unwrap_or(0.0)
            + view.load(Reading::RequestsDropped).unwrap_or(0.0);
        add(Metric::ErrorRatio, Subject::Target, Some(lost / offered));
    }
    all.extend(durations(view));
    all
}

/// Quantiles of request duration: from the histogram, or as the driver gave them.
fn durations(view: &View<'_>) -> Vec<TrialStatistic> {
    QUANTILES
        .into_iter()
        .filter_map(|quantile| {
            let value = view
                .of(Subject::Load, Reading::RequestDurationSeconds)
                .find_map(|sample| match sample.quantile {
                    Some(given) => (given == quantile).then_some(sample.value),
                    None => stats::quantile(&sample.buckets, quantile),
                })?;
            Some(TrialStatistic {
                metric: Metric::RequestDurationSeconds,
                subject: Subject::Target,
                quantile: Some(quantile),
                value,
            })
        })
        .collect()
}
