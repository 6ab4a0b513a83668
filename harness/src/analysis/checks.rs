//! What is asked of a trial before it counts.

use super::telemetry::{delivered, telemetry};
use super::view::View;
use crate::fingerprint::Fingerprint;
use crate::plan::{LoadDriver, Plan};
use crate::sample::{Edge, Reading, Subject};
use crate::scenario::Scenario;
use crate::trial::{Check, Ledger, Severity, TelemetryCount};

/// Answers ÷ offered rate that a trial must reach.
const OFFERED_RATE_MIN: f64 = 0.99;
/// Share of its CPUs that the load driver may use; beyond it, it measures itself.
pub(super) const LOAD_CPU_MAX: f64 = 0.8;
/// How far off the window's length the readings at its edges may be: a share of it, and seconds more.
const EDGE_SHARE: f64 = 0.05;
const EDGE_SECONDS: f64 = 0.03;
/// The backend whose harness reads the counters itself.
const LOCAL: &str = "local";
/// Share of the machine's time that the hypervisor may take away.
pub(super) const STEAL_MAX: f64 = 0.02;

/// All that is asked of a trial with one window.
pub(super) fn checks(
    plan: &Plan,
    fingerprint: &Fingerprint,
    view: &View<'_>,
    ledger: Option<&Ledger>,
    window: f64,
) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |name: &str, severity, passed, detail| {
        checks.push(check(name, severity, passed, detail));
    };
    if let Some(detail) = impossible(view) {
        add("readings", Severity::Invalidates, false, detail);
    }
    if let Some(detail) = held_up(plan, view, window) {
        add("edges", Severity::Invalidates, false, detail);
    }
    load_checks(plan, view, window, &mut add);
    agent_checks(plan, view, &mut add);
    machine_checks(fingerprint, view, ledger, window, &mut add);
    checks
}

/// Whether the load was what was asked for, and the target and the driver tell the same of it.
fn load_checks(
    plan: &Plan,
    view: &View<'_>,
    window: f64,
    add: &mut impl FnMut(&str, Severity, bool, String),
) {
    use Severity::{Invalidates, Warns};

    // Where turns have a pause, what was answered in time is counted apart.
    let answered = view
        .load(Reading::RequestsCompletedInTime)
        .or_else(|| view.load(Reading::RequestsCompleted));
    match answered {
        Some(answered) if window > 0.0 => {
            let reached = answered / window;
            add(
                "offered_rate",
                Invalidates,
                reached >= OFFERED_RATE_MIN * plan.load.rate,
                format!(
                    "{reached:.1} of {:.1} requests per second were answered ({:.2} %, at least {:.0} %)",
                    plan.load.rate,
                    reached / plan.load.rate * 100.0,
                    OFFERED_RATE_MIN * 100.0
                ),
            );
        }
        _ => add(
            "offered_rate",
            Invalidates,
            false,
            "the load driver gave no result".into(),
        ),
    }
    let failed = view.load(Reading::RequestsFailed).unwrap_or(0.0);
    let dropped = view.load(Reading::RequestsDropped).unwrap_or(0.0);
    add(
        "errors",
        Invalidates,
        failed + dropped == 0.0,
        format!("{failed:.0} requests failed, {dropped:.0} were never sent (none may)"),
    );

    // The target's counter and the driver's must tell the same story from start to end.
    let counters = (
        view.of(Subject::Target, Reading::HttpRequestsTotal).next(),
        view.of(Subject::Target, Reading::HttpRequestsTotal).last(),
        view.load(Reading::RequestsAnsweredTotal),
    );
    if let (Some(before), Some(after), Some(answered)) = counters {
        let counted = after.value - before.value;
        let slack = counter_slack(plan);
        add(
            "request_counters",
            Invalidates,
            (counted - answered).abs() <= slack,
            format!(
                "the target counted {counted:.0} answers, the load driver {answered:.0} (must agree{})",
                within(slack)
            ),
        );
    } else {
        add(
            "request_counters",
            Warns,
            false,
            "the target's own counter could not be read".into(),
        );
    }
}

/// Whether the machine left the driver and the target what they needed, and where its time went.
fn machine_checks(
    fingerprint: &Fingerprint,
    view: &View<'_>,
    ledger: Option<&Ledger>,
    window: f64,
    add: &mut impl FnMut(&str, Severity, bool, String),
) {
    use Severity::{Invalidates, Warns};

    if let Some(share) = load_share(fingerprint, view, window) {
        add(
            "load_driver_cpu",
            Invalidates,
            share < LOAD_CPU_MAX,
            format!(
                "the load driver used {:.0} % of its CPUs (below {:.0} %)",
                share * 100.0,
                LOAD_CPU_MAX * 100.0
            ),
        );
    }
    match view.spent(Subject::Target, Reading::CpuThrottledSecondsTotal, window) {
        Some(seconds) => add(
            "throttling",
            Invalidates,
            seconds == 0.0,
            format!("a CPU quota held the target back for {seconds:.3} s (must not)"),
        ),
        None => add(
            "throttling",
            Warns,
            true,
            "no counter of throttled time here; its own group has no quota".into(),
        ),
    }
    if let Some(seconds) = view.spent(Subject::Node, Reading::CpuThrottledSecondsTotal, window) {
        add(
            "throttling_above",
            Invalidates,
            seconds == 0.0,
            format!(
                "a CPU quota of a group that the whole run is in, such as a container's, held it back for {seconds:.3} s (must not)"
            ),
        );
    }
    if let Some(ledger) = ledger {
        let seconds = view.machine_seconds(window).unwrap_or(window);
        let share = share(view, ledger.steal_seconds, seconds);
        add("steal", Invalidates, share <= STEAL_MAX, stolen(share));
        add(
            "ledger",
            Warns,
            ledger.closes(),
            format!(
                "{:.1} % of the machine's busy time belongs to no role (within {:.0} %){}",
                ledger.remainder_ratio * 100.0,
                Ledger::REMAINDER_MAX * 100.0,
                ledger.missing()
            ),
        );
    } else {
        add(
            "ledger",
            Invalidates,
            false,
            "readings at an edge of the window are missing".into(),
        );
    }
}

pub(super) fn check(name: &str, severity: Severity, passed: bool, detail: String) -> Check {
    Check {
        name: name.to_owned(),
        passed,
        severity,
        detail,
    }
}

/// What is read that can't be: everything counts something or measures a size.
pub(super) fn impossible(view: &View<'_>) -> Option<String> {
    let mut samples = view.samples.iter();
    let sample = samples.find(|sample| !sample.value.is_finite() || sample.value < 0.0)?;
    Some(format!(
        "{:?} of the {} reads {}, which can't be",
        sample.reading, sample.subject, sample.value
    ))
}

/// By how much the target's counter and the driver's may differ. k6 forgets
/// requests that are under way when its warm-up ends, at most one a connection.
pub(super) fn counter_slack(plan: &Plan) -> f64 {
    let connections = plan.arms.iter().map(|arm| arm.load.connections);
    match plan.load.driver {
        LoadDriver::Builtin => 0.0,
        LoadDriver::K6 => connections.max().unwrap_or(0).into(),
    }
}

/// How far counters that must agree may be apart, in words.
pub(super) fn within(slack: f64) -> String {
    match slack > 0.0 {
        true => format!(" within {slack:.0}"),
        false => String::new(),
    }
}

/// The share of its CPUs that the load driver used while it sent: what it used in pauses was for
/// requests that were sent before them.
pub(super) fn load_share(fingerprint: &Fingerprint, view: &View<'_>, window: f64) -> Option<f64> {
    let own = fingerprint.cpu_sets.get(Subject::Load.as_str());
    let cpus = match view.load(Reading::CpuLimitCores) {
        Some(cores) => cores,
        None => own.map_or(1, |set| set.len().max(1)) as f64,
    };
    let spent = view.spent(Subject::Load, Reading::CpuUsageSecondsTotal, window)?;
    (window > 0.0 && cpus > 0.0).then(|| spent / window / cpus)
}

/// CPU seconds as a share of all that the machine has in so many seconds.
pub(super) fn share(view: &View<'_>, cpu_seconds: f64, seconds: f64) -> f64 {
    let cpus = view.edge(Subject::Node, Reading::NodeCpus, Edge::Open);
    let capacity = cpus.map_or(1.0, |sample| sample.value) * seconds;
    if capacity > 0.0 {
        cpu_seconds / capacity
    } else {
        0.0
    }
}

pub(super) fn stolen(share: f64) -> String {
    format!(
        "the hypervisor took {:.2} % of the machine's time (at most {:.0} %)",
        share * 100.0,
        STEAL_MAX * 100.0
    )
}

/// Whether a harness that was held up (suspended, starved) read its counters at other moments than
/// the window's edges: then what lies between them is not what the requests cost. Said only where
/// it is so. In a cluster, edges are the observers' readings, which are a second apart.
fn held_up(plan: &Plan, view: &View<'_>, window: f64) -> Option<String> {
    if plan.backend != LOCAL || window <= 0.0 {
        return None;
    }
    let (least, most) = match plan.slices {
        0 | 1 => (window, window),
        slices => {
            let turn = plan.measure_seconds / f64::from(slices);
            (turn, turn + plan.pause_seconds)
        }
    };
    let mut open = None;
    for sample in view.of(Subject::Target, Reading::CpuUsageSecondsTotal) {
        match (sample.edge, open) {
            (Some(Edge::Open), _) => open = Some(sample.time),
            (Some(Edge::Close), Some(opened)) => {
                let apart = sample.time - opened;
                if apart < least * (1.0 - EDGE_SHARE) - EDGE_SECONDS
                    || apart > most * (1.0 + EDGE_SHARE) + EDGE_SECONDS
                {
                    return Some(format!(
                        "the counters were read {apart:.3} s apart for {least:.3} s of load: the harness was held up"
                    ));
                }
            }
            _ => {}
        }
    }
    None
}

/// What is asked of the agent, and of eBPF programs that nobody asked for.
pub(super) fn agent_checks(
    plan: &Plan,
    view: &View<'_>,
    add: &mut impl FnMut(&str, Severity, bool, String),
) {
    use Severity::{Invalidates, Warns};

    let mut seen = view.of(Subject::Agent, Reading::TelemetryRequestsTotal);
    if let Some(before) = seen.next() {
        add(
            "agent_working",
            Invalidates,
            before.value >= 1.0,
            match before.value {
                some if some >= 1.0 => {
                    format!(
                        "the agent accounted for {some:.0} requests before the load (at least 1)"
                    )
                }
                _ => format!(
                    "no {} seen before the window: the agent accounted for no request that was answered before the load",
                    match view.samples.iter().any(|s| s.subject == Subject::Intake) {
                        true => "span",
                        false => "request",
                    }
                ),
            },
        );
        match telemetry(view) {
            Some(TelemetryCount { accounted, served }) => add(
                "telemetry_yield",
                Warns,
                accounted == served,
                format!("the agent's output accounts for {accounted} of {served} requests served"),
            ),
            None => add(
                "telemetry_yield",
                Invalidates,
                false,
                "the agent's count of requests went back or could not be read".into(),
            ),
        }
    }

    if let Some(rejected) = delivered(view).map(|delivered| delivered.rejected) {
        let reasons = rejected
            .iter()
            .map(|(reason, count)| format!("{count} for `{reason}`"));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        add(
            "intake_rejected",
            Warns,
            rejected.is_empty(),
            match rejected.values().sum::<u64>() {
                0 => "the intake refused nothing of what was sent to it".into(),
                refused => format!(
                    "the intake refused {refused} of what was sent to it: {reasons}; no yield counts them"
                ),
            },
        );
    }

    // Who has no eBPF programs listed may not ask the kernel for them; the report says so once.
    let attached = |nth| {
        let mut counts = view.of(Subject::Target, Reading::EbpfProgramsAttached);
        counts.nth(nth).map(|sample| sample.value)
    };
    let left = view.of(Subject::Node, Reading::NodeEbpfProgramsLeft).next();
    let (Some(before), Some(left)) = (attached(0), left.map(|sample| sample.value)) else {
        return;
    };
    let alone = arm(plan, view).is_some_and(|arm| arm.agent.is_none());
    let foreign = if alone {
        (0..).map_while(attached).fold(0.0, f64::max)
    } else {
        before
    };
    add(
        "ebpf_programs",
        Invalidates,
        foreign == 0.0 && left == 0.0,
        format!(
            "{foreign:.0} foreign eBPF programs were attached to the target's control group, {left:.0} were left behind (none may)"
        ),
    );
}

/// The arm that a trial's samples are of.
fn arm<'p>(plan: &'p Plan, view: &View<'_>) -> Option<&'p Scenario> {
    let number = view.samples.first()?.trial;
    let trial = plan.trials.iter().find(|trial| trial.trial == number)?;
    plan.arm(&trial.arm)
}
