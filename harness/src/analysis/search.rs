//! Samples of a search → its steps, what it found, whether it counts.

use super::checks::{
    LOAD_CPU_MAX, STEAL_MAX, agent_checks, check, counter_slack, impossible, load_share, share,
    stolen, within,
};
use super::durations;
use super::telemetry::{delivered, telemetry};
use super::view::View;
use crate::experiment::search::{Found, Next, Tried};
use crate::experiment::{Experiment, Outcome, Step};
use crate::fingerprint::Fingerprint;
use crate::metric::Metric;
use crate::plan::Plan;
use crate::report::format;
use crate::sample::{Reading, Sample, Subject};
use crate::trial::{Check, Severity, TrialAnalysis, TrialStatistic};

/// The quantile of durations that is bounded.
const BOUNDED: f64 = 0.99;

/// Everything that the samples of a trial's search say.
pub(super) fn trial(
    plan: &Plan,
    experiment: &Experiment,
    fingerprint: &Fingerprint,
    samples: &[Sample],
) -> TrialAnalysis {
    let all = view(samples);
    let own: Vec<Vec<Sample>> = (1..)
        .map(|number| of_step(samples, number))
        .take_while(|own| !own.is_empty())
        .collect();
    let steps: Vec<Step> = (1..)
        .zip(&own)
        .map_while(|(number, own)| step(experiment, number, own))
        .collect();
    let tried: Vec<Tried> = steps.iter().map(tried).collect();
    let next = experiment.search.next(&tried);
    let found = match next {
        Next::Done(found) => Some(found),
        Next::Try(_) => None,
    };
    // The last that came to this: a value that failed once was tried again.
    let came_to = |value: Option<f64>, passed| {
        let at = steps
            .iter()
            .rposition(|step| Some(step.value) == value && step.passed == passed);
        Some(view(&own[at?]))
    };
    let sustained = came_to(found.and_then(|found| found.passed), true);
    let beyond = came_to(found.and_then(|found| found.failed), false);
    let completed = own
        .iter()
        .filter_map(|own| view(own).load(Reading::RequestsCompleted));
    TrialAnalysis {
        requests: completed.sum::<f64>() as u64,
        statistics: sustained
            .as_ref()
            .map(|sustained| statistics(experiment, found, sustained))
            .unwrap_or_default(),
        ledger: None,
        telemetry: telemetry(&all),
        delivered: delivered(&all),
        checks: checks(Trial {
            plan,
            experiment,
            fingerprint,
            all,
            own: &own,
            steps: &steps,
            found,
            decisive: [sustained, beyond].into_iter().flatten().collect(),
        }),
        steps,
    }
}

/// What a step came to; none when its samples don't say what was tried.
pub fn step(experiment: &Experiment, number: u32, samples: &[Sample]) -> Option<Step> {
    let view = view(samples);
    let offered = view.load(Reading::OfferedRequestsPerSecond);
    let value = if experiment.is_of_rates() {
        offered
    } else {
        let limit = view.of(Subject::Target, Reading::MemoryLimitBytes).next();
        limit.map(|sample| sample.value)
    }?;
    let completed = view.load(Reading::RequestsCompleted);
    let window = view.load(Reading::WindowSeconds);
    let kills = view.of(Subject::Target, Reading::OomKillsTotal).last();
    let periods = view.advance(Subject::Target, Reading::CpuPeriodsTotal);
    let held = view.advance(Subject::Target, Reading::CpuThrottledPeriodsTotal);
    let outcome = Outcome {
        offered_requests_per_second: offered.unwrap_or(0.0),
        requests_per_second: completed
            .zip(window)
            .map(|(completed, window)| completed / window)
            .filter(|rate| rate.is_finite()),
        p99_seconds: durations(&view)
            .into_iter()
            .find(|duration| duration.quantile == Some(BOUNDED))
            .map(|duration| duration.value),
        failed: view.load(Reading::RequestsFailed).unwrap_or(0.0),
        dropped: view.load(Reading::RequestsDropped).unwrap_or(0.0),
        oom_kills: kills.map_or(0.0, |sample| sample.value),
        failure: view
            .of(Subject::Target, Reading::ContainerFailuresTotal)
            .find_map(|sample| sample.name.as_deref()),
    };
    let reason = experiment.objection(&outcome);
    Some(Step {
        step: number,
        value,
        offered_requests_per_second: outcome.offered_requests_per_second,
        requests_per_second: outcome.requests_per_second,
        p99_seconds: outcome.p99_seconds,
        throttled_ratio: held
            .zip(periods)
            .filter(|(_, (periods, _))| *periods > 0.0)
            .map(|((held, _), (periods, _))| held / periods),
        oom_kills: outcome.oom_kills as u64,
        passed: reason.is_none(),
        reason,
    })
}

fn view(samples: &[Sample]) -> View<'_> {
    View {
        samples,
        turns: false,
    }
}

fn of_step(samples: &[Sample], number: u32) -> Vec<Sample> {
    let own = samples.iter().filter(|sample| sample.step == Some(number));
    own.cloned().collect()
}

fn tried(step: &Step) -> Tried {
    Tried {
        value: step.value,
        passed: step.passed,
    }
}

/// What was found, and how it was there.
fn statistics(
    experiment: &Experiment,
    found: Option<Found>,
    sustained: &View<'_>,
) -> Vec<TrialStatistic> {
    let mut all = Vec::new();
    let mut add = |metric, subject, value: Option<f64>| {
        all.extend(value.map(|value| TrialStatistic {
            metric,
            subject,
            quantile: None,
            value,
        }));
    };
    let target = Subject::Target;
    let step = step(experiment, 0, sustained.samples);
    let rate = step.as_ref().and_then(|step| step.requests_per_second);
    let throttled = step.as_ref().and_then(|step| step.throttled_ratio);
    add(experiment.metric(), target, found.and_then(|f| f.passed));
    add(Metric::RequestsPerSecond, target, rate);
    add(Metric::CpuThrottledPeriodsRatio, target, throttled);
    if !experiment.is_of_rates() {
        for subject in [target, Subject::Agent] {
            let peak = sustained.peak(subject);
            add(Metric::MemoryPeakBytes, subject, peak);
        }
    }
    all.extend(durations(sustained));
    all
}

/// A search, and what is asked before it counts.
struct Trial<'a> {
    plan: &'a Plan,
    experiment: &'a Experiment,
    fingerprint: &'a Fingerprint,
    all: View<'a>,
    own: &'a [Vec<Sample>],
    steps: &'a [Step],
    found: Option<Found>,
    /// The steps between which the answer lies.
    decisive: Vec<View<'a>>,
}

fn checks(trial: Trial<'_>) -> Vec<Check> {
    use Severity::Invalidates;

    let mut checks = Vec::new();
    let mut add = |name: &str, severity, passed, detail| {
        checks.push(check(name, severity, passed, detail));
    };
    if let Some(detail) = impossible(&trial.all) {
        add("readings", Invalidates, false, detail);
    }
    let (passed, detail) = ended(&trial);
    add("search", Invalidates, passed, detail);
    if let Some(detail) = miscounted(&trial) {
        add("request_counters", Invalidates, false, detail);
    }
    agent_checks(trial.plan, &trial.all, &mut add);
    let shares = trial.decisive.iter();
    let shares = shares.filter_map(|view| {
        let window = view.load(Reading::WindowSeconds)?;
        load_share(trial.fingerprint, view, window)
    });
    if let Some(share) = shares.reduce(f64::max) {
        add(
            "load_driver_cpu",
            Invalidates,
            share < LOAD_CPU_MAX,
            format!(
                "the load driver used {:.0} % of its CPUs where the search ended (below {:.0} %, or it would be the driver that is measured)",
                share * 100.0,
                LOAD_CPU_MAX * 100.0
            ),
        );
    }
    let steal = trial
        .all
        .advance(Subject::Node, Reading::NodeCpuStealSecondsTotal);
    if let Some((steal, seconds)) = steal {
        let share = share(&trial.all, steal, seconds);
        add("steal", Invalidates, share <= STEAL_MAX, stolen(share));
    }
    checks
}

/// Whether the search ended between a value that passed and one that failed.
fn ended(trial: &Trial<'_>) -> (bool, String) {
    let unit = trial.experiment.metric().unit();
    let value = |value| format::quantity(unit, value);
    let last = trial.steps.iter().rev();
    let reason = last.filter_map(|step| step.reason.as_deref()).next();
    match trial.found {
        Some(Found {
            passed: Some(_),
            failed: Some(_),
        }) => {
            let resolution = trial.experiment.search.resolution_ratio;
            let steps = trial.steps.len();
            let within = format::level(resolution);
            (true, format!("found within {within} in {steps} steps"))
        }
        Some(Found {
            passed: Some(end),
            failed: None,
        }) => (
            false,
            format!(
                "everything was held as far as {}, where the search's range ends",
                value(end)
            ),
        ),
        Some(Found { failed, .. }) => (
            false,
            format!(
                "not even {} was held: {}",
                failed.map_or("the first value".to_owned(), value),
                reason.unwrap_or("no step was taken")
            ),
        ),
        None => (false, "the search did not come to its end".into()),
    }
}

/// Where the target's counter and the driver's tell different stories of a step in which
/// everything was answered.
fn miscounted(trial: &Trial<'_>) -> Option<String> {
    let slack = counter_slack(trial.plan);
    let passed = trial.steps.iter().zip(trial.own);
    let mut passed = passed.filter(|(step, _)| step.passed);
    passed.find_map(|(step, own)| {
        let view = view(own);
        let mut counts = view.of(Subject::Target, Reading::HttpRequestsTotal);
        let (before, after) = (counts.next()?.value, counts.last()?.value);
        let counted = after - before;
        let answered = view.load(Reading::RequestsAnsweredTotal)?;
        ((counted - answered).abs() > slack).then(|| {
            format!(
                "in step {} the target counted {counted:.0} answers, the load driver {answered:.0} (must agree{})",
                step.step,
                within(slack)
            )
        })
    })
}
