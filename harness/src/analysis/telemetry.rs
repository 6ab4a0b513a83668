//! What an agent reported of what was served.

use std::collections::BTreeMap;

use super::view::View;
use crate::sample::{Phase, Reading, Subject};
use crate::trial::{Delivered, TelemetryCount};

/// What the agent's output accounts for of what the target served, between the
/// same two moments at which no request was under way: after the warm-up where it
/// was read there, else before it, and after the last answer.
pub(super) fn telemetry(view: &View<'_>) -> Option<TelemetryCount> {
    Some(TelemetryCount {
        accounted: between(view, Subject::Agent, Reading::TelemetryRequestsTotal)?,
        served: between(view, Subject::Target, Reading::HttpRequestsTotal)?,
    })
}

/// How far a counter went between these two moments.
fn between(view: &View<'_>, subject: Subject, reading: Reading) -> Option<u64> {
    let at = |phase| {
        let own = view.of(subject, reading);
        own.filter(|sample| sample.phase == phase).last()
    };
    let gone = at(Phase::Cooldown)?.value - at(start(view))?.value;
    // A counter that went back is not the one that was read before.
    (gone >= 0.0).then_some(gone as u64)
}

/// Where what an agent reports begins to count.
fn start(view: &View<'_>) -> Phase {
    let mut counted = view.of(Subject::Agent, Reading::TelemetryRequestsTotal);
    match counted.any(|sample| sample.phase == Phase::Warmup) {
        true => Phase::Warmup,
        false => Phase::Setup,
    }
}

/// What was sent to the intake between the same two moments; none without one.
pub(super) fn delivered(view: &View<'_>) -> Option<Delivered> {
    let served = between(view, Subject::Target, Reading::HttpRequestsTotal);
    let start = start(view);
    let mut delivered = None;
    for after in view.samples {
        if after.subject != Subject::Intake || after.phase != Phase::Cooldown {
            continue;
        }
        let mut earlier = view.of(Subject::Intake, after.reading);
        let before = earlier
            .find(|sample| sample.phase == start && sample.name == after.name)
            .map_or(0.0, |sample| sample.value);
        // As floats are turned into integers, less than nothing is nothing.
        let gone = (after.value - before) as u64;
        let delivered = delivered.get_or_insert_with(|| Delivered {
            served: served.unwrap_or_default(),
            ..Delivered::default()
        });
        let named = |names: &mut BTreeMap<String, u64>| {
            if let Some(name) = after.name.as_ref().filter(|_| gone > 0) {
                *names.entry(name.clone()).or_default() += gone;
            }
        };
        match after.reading {
            Reading::IntakeSpansTotal => delivered.spans += gone,
            Reading::IntakeSpanAttributesTotal => named(&mut delivered.span_attributes),
            Reading::IntakeMetricPointsTotal => named(&mut delivered.metric_points),
            Reading::IntakeLogRecordsTotal => delivered.log_records += gone,
            Reading::IntakeStatsHitsTotal => delivered.stats_hits += gone,
            Reading::IntakeRequestsTotal => delivered.requests += gone,
            Reading::IntakeBytesTotal => delivered.bytes += gone,
            Reading::IntakeRejectedTotal => named(&mut delivered.rejected),
            _ => {}
        }
    }
    delivered
}
