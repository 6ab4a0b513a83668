//! Records → report. Pure.

use std::collections::BTreeSet;

use super::{
    CrossCheck, LoadReport, Report, SCHEMA_VERSION, ScenarioReport, ScenarioStatus, Statistic,
};
use crate::amplification::amplification;
use crate::comparison;
use crate::metric::Metric;
use crate::plan::LeftOut;
use crate::record::Records;
use crate::sample::{Reading, Subject};
use crate::scenario::Scenario;
use crate::stats;
use crate::trial::{Delivered, Ledger, LedgerRow, TelemetryCount, TrialRecord, TrialStatus};
use crate::victoria_metrics;

/// The share of an arm's planned trials that must count.
const VALID_SHARE_MIN: f64 = 0.5;

/// Everything that the records say.
pub fn build(records: &Records) -> Report {
    let plan = &records.plan;
    let arms = plan.arms.iter().map(|arm| scenario(records, arm));
    let left_out = plan.left_out.iter().map(unsupported);
    let scenarios: Vec<ScenarioReport> = arms.chain(left_out).collect();
    let usable = |name: &str| {
        let status = |s: &ScenarioReport| s.name == name && s.status == ScenarioStatus::Ok;
        scenarios.iter().any(status)
    };
    let differences = comparison::differences(records, usable);
    Report {
        schema_version: SCHEMA_VERSION,
        run: plan.run.clone(),
        started: plan.started.clone(),
        seed: plan.seed,
        confidence: plan.confidence,
        request_rate: plan.load.rate,
        load: LoadReport {
            driver: plan.load.driver,
            rate_source: plan.load.rate_source,
            capacity: plan.load.capacity,
        },
        warmup_seconds: plan.warmup_seconds,
        measure_seconds: plan.measure_seconds,
        slices: plan.slices,
        comparisons: differences.comparisons,
        noise_floor: differences.noise_floor,
        amplification: amplification(records),
        experiment: plan.experiment,
        drifts: differences.drifts,
        scenarios,
        nodes: super::nodes::nodes(&records.trials),
        cross_checks: cross_checks(records),
        notes: notes(records),
        trials: records.trials.clone(),
        fingerprint: records.fingerprint.clone(),
    }
}

fn scenario(records: &Records, arm: &Scenario) -> ScenarioReport {
    let planned = records
        .plan
        .trials
        .iter()
        .filter(|trial| trial.arm == arm.name)
        .count();
    let all: Vec<&TrialRecord> = records
        .trials
        .iter()
        .filter(|trial| trial.arm == arm.name)
        .collect();
    let valid: Vec<&TrialRecord> = all
        .iter()
        .copied()
        .filter(|trial| trial.status == TrialStatus::Valid)
        .collect();
    let (status, reason) = status(planned, &all, valid.len());
    let telemetry = TelemetryCount::sum(valid.iter().filter_map(|trial| trial.analysis.telemetry));
    let delivered = valid
        .iter()
        .filter_map(|trial| trial.analysis.delivered.as_ref());
    ScenarioReport {
        name: arm.name.clone(),
        question: arm.question.clone(),
        analysis: arm.analysis.clone(),
        status,
        reason,
        trials: valid.len() as u32,
        planned_trials: planned as u32,
        requests: valid.iter().map(|trial| trial.analysis.requests).sum(),
        statistics: statistics(&valid, records.plan.confidence),
        ledger: ledger(&valid),
        telemetry_yield_ratio: telemetry.and_then(TelemetryCount::ratio),
        telemetry,
        delivered: Delivered::sum(delivered),
        copies: arm.agent.as_ref().and_then(|agent| agent.copies),
    }
}

/// A scenario that could not run here, which a reader would otherwise look for in vain.
fn unsupported(left_out: &LeftOut) -> ScenarioReport {
    ScenarioReport {
        name: left_out.name.clone(),
        question: left_out.question.clone(),
        analysis: None,
        status: ScenarioStatus::Unsupported,
        reason: Some(left_out.missing.join("; ")),
        trials: 0,
        planned_trials: 0,
        requests: 0,
        statistics: Vec::new(),
        ledger: None,
        telemetry_yield_ratio: None,
        telemetry: None,
        delivered: None,
        copies: None,
    }
}

/// Enough trials must count, and a reader must learn why the others don't.
fn status(planned: usize, all: &[&TrialRecord], valid: usize) -> (ScenarioStatus, Option<String>) {
    let mut reasons = BTreeSet::new();
    for trial in all {
        let failed = trial.analysis.broken().map(|check| check.detail.clone());
        match trial.status {
            TrialStatus::Valid => {}
            TrialStatus::Invalid => reasons.extend(failed),
            TrialStatus::Failed => reasons.extend(trial.error.clone()),
        }
    }
    let reason = || {
        let mut reason = format!("{valid} of {planned} trials count");
        for text in &reasons {
            reason.push_str("; ");
            reason.push_str(text);
        }
        Some(reason)
    };
    if valid > 0 && valid as f64 >= planned as f64 * VALID_SHARE_MIN {
        (ScenarioStatus::Ok, None)
    } else if all.iter().any(|trial| trial.status == TrialStatus::Invalid) || valid > 0 {
        (ScenarioStatus::Invalid, reason())
    } else {
        (ScenarioStatus::Failed, reason())
    }
}

fn statistics(valid: &[&TrialRecord], confidence: f64) -> Vec<Statistic> {
    // In the order in which trials list them, each once.
    let mut keys: Vec<(Metric, Subject, Option<f64>)> = Vec::new();
    for statistic in valid.iter().flat_map(|trial| &trial.analysis.statistics) {
        let key = (statistic.metric, statistic.subject, statistic.quantile);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.sort_by(|a, b| {
        (a.0, a.1)
            .cmp(&(b.0, b.1))
            .then(a.2.unwrap_or(0.0).total_cmp(&b.2.unwrap_or(0.0)))
    });
    keys.into_iter()
        .filter_map(|(metric, subject, quantile)| {
            let values: Vec<f64> = valid
                .iter()
                .flat_map(|trial| &trial.analysis.statistics)
                .filter(|s| s.metric == metric && s.subject == subject && s.quantile == quantile)
                .map(|s| s.value)
                .collect();
            let estimate = stats::estimate(&values, confidence)?;
            Some(Statistic {
                metric,
                subject,
                quantile,
                estimate: estimate.point,
                low: estimate.interval.map(|(low, _)| low),
                high: estimate.interval.map(|(_, high)| high),
                coefficient_of_variation: estimate.coefficient_of_variation,
            })
        })
        .collect()
}

/// The trials' ledgers added up.
fn ledger(valid: &[&TrialRecord]) -> Option<Ledger> {
    let ledgers: Vec<&Ledger> = valid
        .iter()
        .filter_map(|trial| trial.analysis.ledger.as_ref())
        .collect();
    if ledgers.is_empty() {
        return None;
    }
    let sum = |value: fn(&Ledger) -> f64| ledgers.iter().map(|ledger| value(ledger)).sum::<f64>();
    let busy = sum(|ledger| ledger.node_busy_seconds);
    let remainder = sum(|ledger| ledger.remainder_seconds);
    Some(Ledger {
        node_busy_seconds: busy,
        steal_seconds: sum(|ledger| ledger.steal_seconds),
        rows: Subject::ROLES
            .into_iter()
            .filter(|subject| ledgers.iter().any(|ledger| ledger.of(*subject).is_some()))
            .map(|subject| LedgerRow {
                subject,
                cpu_seconds: ledgers.iter().filter_map(|ledger| ledger.of(subject)).sum(),
            })
            .collect(),
        remainder_seconds: remainder,
        other_tasks_seconds: ledgers
            .iter()
            .map(|ledger| ledger.other_tasks_seconds)
            .sum(),
        remainder_ratio: if busy > 0.0 { remainder / busy } else { 0.0 },
        requests: ledgers.iter().map(|ledger| ledger.requests).sum(),
    })
}

/// VictoriaMetrics' answers beside the harness's own readings.
fn cross_checks(records: &Records) -> Vec<CrossCheck> {
    records
        .samples
        .iter()
        .filter(|sample| sample.reading == Reading::VictoriaMetricsCpuSecondsPerRequest)
        .filter_map(|sample| {
            let trial = records
                .trials
                .iter()
                .find(|trial| trial.trial == sample.trial)?;
            let metric = Metric::CpuSecondsPerRequest;
            Some(CrossCheck {
                scenario: trial.arm.clone(),
                trial: trial.trial,
                metric,
                subject: sample.subject,
                direct: trial.analysis.value(metric, sample.subject)?,
                victoria_metrics: sample.value,
            })
        })
        .collect()
}

/// What a reader must know.
fn notes(records: &Records) -> Vec<String> {
    let mut notes = records.plan.limitations.clone();
    if let Some(scenario) = &records.plan.amplified {
        notes.push(format!(
            "This run attached the programs of {scenario}'s agent several times over to find out what one copy costs; arms with more than one copy are an experiment, not an agent that anybody runs."
        ));
    }
    if let Some(experiment) = &records.plan.experiment {
        notes.push(format!(
            "This run was an experiment ({}): every trial drove its target to a limit, so its figures are not what a request costs, and stand for this limit alone.",
            experiment.question.as_str()
        ));
    }
    notes.extend(super::nodes::sentence(&super::nodes::nodes(
        &records.trials,
    )));
    for resumption in &records.resumptions {
        let lost = match resumption.lost.as_slice() {
            [] => "nothing was lost".to_owned(),
            [one] => format!("trial {one} was under way and is lost"),
            many => format!(
                "trials {} were under way and are lost",
                many.iter()
                    .map(u32::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        };
        notes.push(format!(
            "The run was cut short after {} trials and went on at {}: {lost}.",
            resumption.finished, resumption.resumed
        ));
    }
    let done = records.trials.len();
    let planned = records.plan.trials.len();
    if done < planned {
        notes.push(format!(
            "The run ended early: {done} of {planned} trials were carried out."
        ));
    }
    let counted = records
        .trials
        .iter()
        .filter(|trial| trial.status == TrialStatus::Valid)
        .count();
    let unchecked = counted - cross_checks(records).len().min(counted);
    let has_series = records.plan.slices <= 1
        && records
            .fingerprint
            .programs
            .iter()
            .any(|program| program.name == victoria_metrics::NAME);
    if has_series && unchecked > 0 {
        notes.push(format!(
            "{unchecked} of {counted} trials that count have no cross-check: VictoriaMetrics ended early, was started anew, or missed the scrapes that it takes."
        ));
    }
    let open = records
        .trials
        .iter()
        .filter_map(|trial| trial.analysis.ledger.as_ref())
        .filter(|ledger| !ledger.closes())
        .count();
    if open > 0 {
        notes.push(format!(
            "In {open} of {done} trials more than {:.0} % of the machine's busy time belongs to no role; the ledger says what it is. Other processes can be closed; waking from idle is part of serving requests at this rate, and weighs less at a higher one.",
            Ledger::REMAINDER_MAX * 100.0
        ));
    }
    if records.fingerprint.machine.virtualised {
        notes.push(
            "This is a virtual machine: neighbours that can't be seen from inside share its cores. Compare within a run, not between machines."
                .into(),
        );
    }
    notes
}
