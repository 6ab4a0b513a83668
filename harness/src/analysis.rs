//! Samples → what a trial came to. Pure: the same lines give the same figures.
//!
//! A cost per request is a quotient of two rates, each over its own clock: CPU
//! seconds per second between the two edge readings of the counter, and
//! answers per second of the load driver's window. The edges of the two differ
//! by the harness's wake-up, a millisecond or so.

use std::collections::BTreeMap;

use crate::fingerprint::Fingerprint;
use crate::metric::{Metric, QUANTILES};
use crate::plan::{LoadDriver, Plan};
use crate::sample::{Edge, Phase, Reading, Sample, Subject};
use crate::scenario::Scenario;
use crate::stats;
use crate::trial::{
    Check, Delivered, Ledger, LedgerRow, Severity, TelemetryCount, TrialAnalysis, TrialStatistic,
};

pub mod search;

/// Answers ÷ offered rate that a trial must reach.
const OFFERED_RATE_MIN: f64 = 0.99;
/// Share of its CPUs that the load driver may use; beyond it, it measures itself.
const LOAD_CPU_MAX: f64 = 0.8;
/// How far off the window's length the readings at its edges may be: a share of it, and seconds more.
const EDGE_SHARE: f64 = 0.05;
const EDGE_SECONDS: f64 = 0.03;
/// The backend whose harness reads the counters itself.
const LOCAL: &str = "local";
/// Share of the machine's time that the hypervisor may take away.
const STEAL_MAX: f64 = 0.02;

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

/// One trial's samples, asked by name.
struct View<'a> {
    samples: &'a [Sample],
    /// Whether the window is made of turns, each with edges of its own.
    turns: bool,
}

impl View<'_> {
    fn of(&self, subject: Subject, reading: Reading) -> impl Iterator<Item = &Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.subject == subject && sample.reading == reading)
    }

    fn edge(&self, subject: Subject, reading: Reading, edge: Edge) -> Option<&Sample> {
        self.of(subject, reading)
            .find(|sample| sample.edge == Some(edge))
    }

    /// Whether a role ran where the target did, as everything does on one machine.
    fn is_on_targets_machine(&self, subject: Subject) -> bool {
        self.of(subject, Reading::CpuUsageSecondsTotal)
            .all(|sample| sample.machine.is_none())
    }

    /// A figure of the load driver.
    fn load(&self, reading: Reading) -> Option<f64> {
        Some(self.of(Subject::Load, reading).next()?.value)
    }

    /// How far a counter went between the edges, and in how many seconds of
    /// its own clock; added up over the turns, where there are any.
    fn advance(&self, subject: Subject, reading: Reading) -> Option<(f64, f64)> {
        let (mut value, mut time) = (0.0, 0.0);
        let mut open: Option<&Sample> = None;
        for sample in self.of(subject, reading) {
            match sample.edge {
                Some(Edge::Open) => open = Some(sample),
                Some(Edge::Close) => {
                    let open = open.take()?;
                    let gone = (sample.value - open.value, sample.time - open.time);
                    // A counter that went back is not the one that was opened.
                    if gone.0.is_nan() || gone.0 < 0.0 || gone.1.is_nan() || gone.1 <= 0.0 {
                        return None;
                    }
                    value += gone.0;
                    time += gone.1;
                }
                None => {}
            }
        }
        (time > 0.0).then_some((value, time))
    }

    /// How far a counter went per second of its own clock between the edges.
    fn rate(&self, subject: Subject, reading: Reading) -> Option<f64> {
        self.advance(subject, reading)
            .map(|(value, time)| value / time)
    }

    /// What a counter spent on the window's requests.
    ///
    /// A turn is followed by a pause in which its last answers come in, so
    /// everything between its edges belongs to its requests. A window without
    /// turns is cut out of a load that goes on, and its edges are off by a
    /// wake-up; there the rate counts.
    fn spent(&self, subject: Subject, reading: Reading, window: f64) -> Option<f64> {
        let (value, time) = self.advance(subject, reading)?;
        Some(if self.turns {
            value
        } else {
            value / time * window
        })
    }

    /// Mean of the working set over the window's readings.
    fn working_set(&self, subject: Subject) -> Option<f64> {
        let in_window = |sample: &&Sample| sample.phase == Phase::Measure;
        let mean = |reading| {
            let values: Vec<f64> = self
                .of(subject, reading)
                .filter(in_window)
                .map(|sample| sample.value)
                .collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let usage: f64 = mean(Reading::MemoryUsageBytes)?;
        let inactive = mean(Reading::MemoryInactiveFileBytes).unwrap_or(0.0);
        Some((usage - inactive).max(0.0))
    }

    fn peak(&self, subject: Subject) -> Option<f64> {
        self.of(subject, Reading::MemoryPeakBytes)
            .map(|sample| sample.value)
            .reduce(f64::max)
    }
}

/// What the agent's output accounts for of what the target served, between the
/// same two moments at which no request was under way: after the warm-up where it
/// was read there, else before it, and after the last answer.
fn telemetry(view: &View<'_>) -> Option<TelemetryCount> {
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
fn delivered(view: &View<'_>) -> Option<Delivered> {
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

/// Where the CPU time of the window went, every role scaled to the load's window.
fn ledger(view: &View<'_>, requests: f64, window: f64) -> Option<Ledger> {
    let cpus = view
        .edge(Subject::Node, Reading::NodeCpus, Edge::Open)?
        .value;
    let (_, seconds) = view.advance(Subject::Node, Reading::NodeCpuIdleSecondsTotal)?;
    let seconds = if view.turns { seconds } else { window };
    let idle = view.spent(Subject::Node, Reading::NodeCpuIdleSecondsTotal, window)?;
    let steal = view.spent(Subject::Node, Reading::NodeCpuStealSecondsTotal, window)?;
    let rows: Vec<LedgerRow> = Subject::ROLES
        .into_iter()
        .filter(|&subject| view.is_on_targets_machine(subject))
        .filter_map(|subject| {
            Some(LedgerRow {
                subject,
                cpu_seconds: view.spent(subject, Reading::CpuUsageSecondsTotal, window)?,
            })
        })
        .collect();
    let busy = (cpus * seconds - idle - steal).max(0.0);
    let accounted: f64 = rows.iter().map(|row| row.cpu_seconds).sum();
    let remainder = busy - accounted;
    Some(Ledger {
        node_busy_seconds: busy,
        steal_seconds: steal,
        rows,
        remainder_seconds: remainder,
        other_tasks_seconds: view
            .spent(Subject::Node, Reading::NodeCpuTasksSecondsTotal, window)
            .map(|tasks| tasks - accounted),
        remainder_ratio: if busy > 0.0 { remainder / busy } else { 0.0 },
        requests: requests as u64,
    })
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

fn checks(
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
    use Severity::{Invalidates, Warns};

    if let Some(detail) = impossible(view) {
        add("readings", Invalidates, false, detail);
    }

    if let Some(detail) = held_up(plan, view, window) {
        add("edges", Invalidates, false, detail);
    }

    let completed = view.load(Reading::RequestsCompleted);
    match completed {
        Some(completed) if window > 0.0 => {
            let reached = completed / window;
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

    agent_checks(plan, view, &mut add);

    if let Some(share) = load_share(fingerprint, view) {
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
    match view.rate(Subject::Target, Reading::CpuThrottledSecondsTotal) {
        Some(rate) => add(
            "throttling",
            Invalidates,
            rate == 0.0,
            format!(
                "a CPU quota held the target back for {:.3} s (must not)",
                rate * window
            ),
        ),
        None => add(
            "throttling",
            Warns,
            true,
            "no counter of throttled time here; no quota is set".into(),
        ),
    }
    if let Some(ledger) = ledger {
        let share = share(view, ledger.steal_seconds, window);
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
    checks
}

fn check(name: &str, severity: Severity, passed: bool, detail: String) -> Check {
    Check {
        name: name.to_owned(),
        passed,
        severity,
        detail,
    }
}

/// What is read that can't be: everything counts something or measures a size.
fn impossible(view: &View<'_>) -> Option<String> {
    let mut samples = view.samples.iter();
    let sample = samples.find(|sample| !sample.value.is_finite() || sample.value < 0.0)?;
    Some(format!(
        "{:?} of the {} reads {}, which can't be",
        sample.reading, sample.subject, sample.value
    ))
}

/// By how much the target's counter and the driver's may differ. k6 forgets
/// requests that are under way when its warm-up ends, at most one a connection.
fn counter_slack(plan: &Plan) -> f64 {
    let connections = plan.arms.iter().map(|arm| arm.load.connections);
    match plan.load.driver {
        LoadDriver::Builtin => 0.0,
        LoadDriver::K6 => connections.max().unwrap_or(0).into(),
    }
}

/// How far counters that must agree may be apart, in words.
fn within(slack: f64) -> String {
    match slack > 0.0 {
        true => format!(" within {slack:.0}"),
        false => String::new(),
    }
}

/// The share of its CPUs that the load driver used.
fn load_share(fingerprint: &Fingerprint, view: &View<'_>) -> Option<f64> {
    let own = fingerprint.cpu_sets.get(Subject::Load.as_str());
    let cpus = own.map_or(1, |set| set.len().max(1)) as f64;
    Some(view.rate(Subject::Load, Reading::CpuUsageSecondsTotal)? / cpus)
}

/// CPU seconds as a share of all that the machine has in a window.
fn share(view: &View<'_>, seconds: f64, window: f64) -> f64 {
    let cpus = view.edge(Subject::Node, Reading::NodeCpus, Edge::Open);
    let capacity = cpus.map_or(1.0, |sample| sample.value) * window;
    if capacity > 0.0 {
        seconds / capacity
    } else {
        0.0
    }
}

fn stolen(share: f64) -> String {
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
fn agent_checks(plan: &Plan, view: &View<'_>, add: &mut impl FnMut(&str, Severity, bool, String)) {
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
