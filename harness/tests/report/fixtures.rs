//! Reports with the shape of real ones. The numbers are made up and always the same.

use flora_bench::metric::Metric;
use flora_bench::plan::{LoadDriver, RateSource};
use flora_bench::report::{
    Amplification, AmplifiedPoint, BlockRatio, Comparison, CrossCheck, DriftReport, Interval,
    LoadReport, NoiseFloor, Payer, Report, SCHEMA_VERSION, ScenarioReport, ScenarioStatus, Slope,
    Verdict,
};
use flora_bench::sample::{Reading, Sample, Subject};
use flora_bench::trial::{
    Check, Delivered, Severity, TelemetryCount, TrialRecord, TrialStatistic, TrialStatus,
};

use parts::{fingerprint, readings, scenario, trial};

mod parts;
mod searches;

pub use searches::{cpu_limit, memory_limit, saturation};

const MIB: f64 = 1024.0 * 1024.0;
const RATE: f64 = 800.0;
const WARMUP: f64 = 3.0;
const MEASURE: f64 = 10.0;
/// From the start of a trial to the start of the next.
const TRIAL: f64 = 16.0;

/// What one arm is made of.
struct Arm {
    name: &'static str,
    /// CPU seconds per request of target and agent.
    cpu: (f64, f64),
    /// Working sets of target and agent.
    memory: (f64, f64),
    /// Median latency.
    latency: f64,
}

/// One scenario, six trials, one of which does not count.
pub fn baseline() -> (Report, Vec<Sample>) {
    let arms = [BASELINE];
    let (mut report, samples) = run("2025-01-02T030405Z-baseline", &arms, 6, |trial| trial == 4);
    report.notes = vec![
        "VictoriaMetrics is not installed here, so no figure was cross-checked.".to_owned(),
        "cgroup v1: memory peak is the highest charge since the start of the target.".to_owned(),
    ];
    report.trials[1].analysis.checks[2] = Check {
        name: "steal".to_owned(),
        passed: false,
        severity: Severity::Warns,
        detail: "1.4 % of the window's CPU time was stolen, at most 1 % is asked".to_owned(),
    };
    (report, samples)
}

/// The arm that others are held against.
const BASELINE: Arm = Arm {
    name: "baseline",
    cpu: (1.482e-4, 0.0),
    memory: (6.4 * MIB, 0.0),
    latency: 4.1e-4,
};

/// One that costs little.
const FLORA: Arm = Arm {
    name: "flora",
    cpu: (1.561e-4, 4.1e-6),
    memory: (6.5 * MIB, 18.2 * MIB),
    latency: 4.3e-4,
};

/// One that costs much.
const OPENTELEMETRY: Arm = Arm {
    name: "opentelemetry-full-traces",
    cpu: (2.035e-4, 3.9e-5),
    memory: (11.8 * MIB, 142.0 * MIB),
    latency: 6.7e-4,
};

/// Five scenarios with agents: three that were measured, one that is invalid, one that can't run.
pub fn agents() -> (Report, Vec<Sample>) {
    let arms = [
        BASELINE,
        FLORA,
        OPENTELEMETRY,
        Arm {
            name: "tuned-collector",
            cpu: (1.49e-4, 2.2e-5),
            memory: (6.4 * MIB, 88.0 * MIB),
            latency: 4.2e-4,
        },
    ];
    let invalid = |trial| trial == 7;
    let (mut report, samples) = run("2025-01-02T030405Z-agents", &arms, 6, invalid);
    let broken = &mut report.scenarios[3];
    broken.status = ScenarioStatus::Invalid;
    broken.reason = Some("2 of 6 trials count, at least 3 are asked".to_owned());
    broken.trials = 2;
    for trial in report
        .trials
        .iter_mut()
        .filter(|t| t.arm == "tuned-collector")
        .take(4)
    {
        spoil(
            trial,
            "agent_seen",
            "no span arrived before the window opened, at least 1 is asked",
        );
    }
    report.scenarios.push(ScenarioReport {
        name: "ebpf-profiler".to_owned(),
        question: "What does a sampling profiler cost?".to_owned(),
        analysis: None,
        status: ScenarioStatus::Unsupported,
        reason: Some(
            "the kernel offers no BTF; `flora-bench doctor` says how to mend it".to_owned(),
        ),
        trials: 0,
        planned_trials: 0,
        requests: 0,
        statistics: Vec::new(),
        ledger: None,
        telemetry_yield_ratio: None,
        telemetry: None,
        delivered: None,
        copies: None,
    });
    report.scenarios[1].telemetry_yield_ratio = Some(1.0);
    report.scenarios[2].telemetry_yield_ratio = Some(0.973);
    report.scenarios[2].delivered = Some(Delivered {
        served: 104_000,
        spans: 101_400,
        span_attributes: ["http.request.method", "http.route", "url.path"]
            .map(|name| (name.to_owned(), 101_400))
            .into(),
        metric_points: [("http.server.request.duration".to_owned(), 24)].into(),
        log_records: 0,
        stats_hits: 0,
        requests: 210,
        bytes: 9_800_000,
        rejected: [("malformed".to_owned(), 2)].into(),
    });
    report.scenarios[2].analysis =
        Some("Every request is traced and exported, which no one does in production.".to_owned());
    report.comparisons = vec![
        comparison(
            "flora",
            Subject::Total,
            0.081,
            0.013,
            Some(0.002),
            Verdict::Higher,
        ),
        comparison(
            "flora",
            Subject::Target,
            0.053,
            0.012,
            Some(0.004),
            Verdict::Higher,
        ),
        comparison(
            "opentelemetry-full-traces",
            Subject::Total,
            0.636,
            0.031,
            Some(0.000_2),
            Verdict::Higher,
        ),
        comparison(
            "opentelemetry-full-traces",
            Subject::Target,
            0.373,
            0.028,
            Some(0.000_2),
            Verdict::Higher,
        ),
        comparison(
            "tuned-collector",
            Subject::Target,
            0.004,
            0.061,
            Some(0.81),
            Verdict::Inconclusive,
        ),
    ];
    for (scenario, ratio, half) in [
        ("flora", 2.86, 0.03),
        ("opentelemetry-full-traces", 23.03, 0.4),
    ] {
        report.comparisons.push(Comparison {
            metric: Metric::MemoryWorkingSetBytes,
            overhead: ratio * 6.4 * MIB,
            overhead_low: Some((ratio - half) * 6.4 * MIB),
            overhead_high: Some((ratio + half) * 6.4 * MIB),
            ..comparison(
                scenario,
                Subject::Total,
                ratio,
                half,
                Some(0.000_2),
                Verdict::Higher,
            )
        });
    }
    for (scenario, quantile, ratio, half, verdict) in [
        ("flora", 0.5, 0.049, 0.02, Verdict::Higher),
        ("flora", 0.99, -0.014, 0.08, Verdict::Inconclusive),
        (
            "opentelemetry-full-traces",
            0.5,
            0.63,
            0.03,
            Verdict::Higher,
        ),
        (
            "opentelemetry-full-traces",
            0.99,
            0.67,
            0.09,
            Verdict::Higher,
        ),
    ] {
        let base = if quantile == 0.5 { 4.1e-4 } else { 1.41e-3 };
        report.comparisons.push(Comparison {
            metric: Metric::RequestDurationSeconds,
            quantile: Some(quantile),
            headline: false,
            overhead: ratio * base,
            overhead_low: Some((ratio - half) * base),
            overhead_high: Some((ratio + half) * base),
            margin_ratio: 0.05,
            ..comparison(scenario, Subject::Target, ratio, half, Some(0.03), verdict)
        });
    }
    report.drifts = vec![DriftReport {
        metric: Metric::CpuSecondsPerRequest,
        subject: Subject::Target,
        per_hour_ratio: 0.21,
        p_value: 0.02,
    }];
    report.noise_floor = vec![NoiseFloor {
        metric: Metric::CpuSecondsPerRequest,
        subject: Subject::Target,
        quantile: None,
        blocks: 8,
        overhead_ratio: 0.001,
        low: Some(-0.006),
        high: Some(0.008),
        p_value: Some(0.74),
        permutation_p_value: Some(0.75),
        adjusted_p_value: Some(1.0),
        verdict: Verdict::NoDifference,
        detectable_ratio: Some(0.015),
        block_ratios: block_ratios(0.001, 0.007),
    }];
    report.cross_checks = (1..=3)
        .map(|trial| CrossCheck {
            scenario: report.trials[trial - 1].arm.clone(),
            trial: trial as u32,
            metric: Metric::CpuSecondsPerRequest,
            subject: Subject::Target,
            direct: 1.48e-4,
            victoria_metrics: 1.479e-4,
        })
        .collect();
    (report, samples)
}

/// Eight scenarios of twelve blocks each, whose names are as long as names get.
pub fn many() -> (Report, Vec<Sample>) {
    let names = [
        "baseline",
        "baseline-twin",
        "flora-default",
        "flora-full-traces",
        "opentelemetry-full-traces",
        "opentelemetry-metrics-only",
        "another-agent-with-a-name-that-is-longer-than-anyone-would-like",
        "tuned",
    ];
    // From hardly anything to several times the baseline, and one that saves.
    let added = [0.0, 0.0, 0.012, 0.06, 0.37, 0.09, 2.6, -0.05];
    let arms: Vec<Arm> = names
        .into_iter()
        .zip(added)
        .map(|(name, added): (_, f64)| Arm {
            name,
            cpu: (1.48e-4 * (1.0 + added), 4.0e-5 * added.max(0.0)),
            memory: (
                6.4 * MIB * (1.0 + added / 4.0),
                300.0 * added.max(0.0) * MIB,
            ),
            latency: 4.1e-4 * (1.0 + added),
        })
        .collect();
    let (mut report, samples) = run("2025-01-02T030405Z-many", &arms, 12, |trial| {
        trial % 17 == 0
    });
    compare(&mut report);
    (report, samples)
}

/// Four arms that live side by side in each block and take turns under load.
pub fn turns() -> (Report, Vec<Sample>) {
    let arm = |name, added: f64| Arm {
        name,
        cpu: (1.48e-4 * (1.0 + added), 0.0),
        memory: (6.4 * MIB, 0.0),
        latency: 4.1e-4,
    };
    let arms = [
        arm("baseline", 0.0),
        arm("baseline-twin", 0.0),
        arm("synthetic-cpu", 0.05),
        arm("flora", 0.012),
    ];
    let (mut report, mut samples) = run("2025-01-02T030405Z-turns", &arms, 8, |_| false);
    report.slices = 20;
    compare(&mut report);
    for comparison in &mut report.comparisons {
        let injected = comparison.scenario == "synthetic-cpu" && comparison.headline;
        if injected && comparison.metric == Metric::CpuSecondsPerRequest {
            comparison.injected = Some(0.05 * 1.48e-4);
        }
    }
    // All trials of a block happen at the time of its first.
    let earlier = |trial: u32| f64::from((trial - 1) % 4) * TRIAL;
    for trial in &mut report.trials {
        for span in &mut trial.phases {
            span.start -= earlier(trial.trial);
            span.end -= earlier(trial.trial);
        }
    }
    for sample in &mut samples {
        sample.time -= earlier(sample.trial);
        // Each is under load for its share of the time.
        if sample.reading == Reading::CpuUsageSecondsTotal && sample.subject != Subject::Harness {
            sample.value /= 4.0;
        }
    }
    (report, samples)
}

/// An agent whose programs were attached 1, 8 and 16 times.
pub fn amplified() -> (Report, Vec<Sample>) {
    const COPY: f64 = 6.4e-7;
    let copies = [1, 8, 16];
    let arm = |name, copies: u32| Arm {
        name,
        cpu: (
            5.9e-5 + 0.4 * COPY * f64::from(copies),
            if copies > 0 { 2.1e-8 } else { 0.0 },
        ),
        memory: (6.4 * MIB, if copies > 0 { 2.6 * MIB } else { 0.0 }),
        latency: 4.1e-4,
    };
    let arms = [
        arm("baseline", 0),
        arm("baseline-twin", 0),
        arm("flora", 1),
        arm("flora-x8", 8),
        arm("flora-x16", 16),
    ];
    let (mut report, samples) = run("2025-01-02T030405Z-flora-amplified", &arms, 6, |_| false);
    for (scenario, copies) in report.scenarios[2..].iter_mut().zip(copies) {
        scenario.copies = Some(copies);
        scenario.telemetry_yield_ratio = Some(1.0);
        scenario.telemetry = Some(TelemetryCount {
            accounted: 48_000,
            served: 48_000,
        });
    }
    let interval = |estimate: f64, half: f64| Interval {
        estimate,
        low: Some(estimate - half),
        high: Some(estimate + half),
    };
    let slope = |of, share: f64| Slope {
        of,
        per_copy: interval(share * COPY, 0.07 * COPY),
        two_baselines: interval(0.01 * COPY, 0.05 * COPY),
        beside_copies: interval(1.1e-7, 2.0e-7),
        bend: Some(interval(-0.8e-7, 3.1e-7)),
        points: (1..=6)
            .flat_map(|block| copies.map(|copies| (block, copies)))
            .map(|(block, copies)| AmplifiedPoint {
                block,
                copies,
                added: share * COPY * f64::from(copies)
                    + 1.1e-7
                    + 9e-8 * f64::from((block * 7 + copies) % 5),
            })
            .collect(),
    };
    report.amplification = Some(Amplification {
        scenario: "flora".to_owned(),
        copies: copies.to_vec(),
        blocks: 6,
        slopes: vec![
            slope(Payer::Everyone, 1.0),
            slope(Payer::Machine, 1.05),
            slope(Payer::Target, 0.4),
            slope(Payer::Load, 0.6),
            slope(Payer::Agent, 0.0),
            slope(Payer::Total, 0.4),
        ],
    });
    (report, samples)
}

/// Fills in what a comparison of the trials would, roughly.
fn compare(report: &mut Report) {
    let reference: Vec<&TrialRecord> = report
        .trials
        .iter()
        .filter(|t| t.arm == "baseline" && t.status == TrialStatus::Valid)
        .collect();
    let (mut comparisons, mut noise_floor) = (Vec::new(), Vec::new());
    for scenario in &report.scenarios[1..] {
        for statistic in &scenario.statistics {
            let key = (statistic.metric, statistic.subject, statistic.quantile);
            let value = |trial: &TrialRecord| {
                let same = |s: &&TrialStatistic| (s.metric, s.subject, s.quantile) == key;
                trial.analysis.statistics.iter().find(same).map(|s| s.value)
            };
            let trials = report.trials.iter();
            let pairs: Vec<(u32, f64, f64)> = trials
                .filter(|t| t.arm == scenario.name && t.status == TrialStatus::Valid)
                .filter_map(|t| {
                    let base = reference.iter().find(|r| r.block == t.block)?;
                    Some((t.block, value(t)?, value(base)?))
                })
                .collect();
            if pairs.len() < 2 || !statistic.metric.is_compared() {
                continue;
            }
            let n = pairs.len() as f64;
            let logs: Vec<f64> = pairs.iter().map(|(_, v, b)| (v / b).ln()).collect();
            let mean = logs.iter().sum::<f64>() / n;
            let deviation = logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0);
            let half = 2.2 * (deviation / n).sqrt();
            let base = pairs.iter().map(|p| p.2).sum::<f64>() / n;
            let ratio = |log: f64| log.exp() - 1.0;
            let (low, high) = (ratio(mean - half), ratio(mean + half));
            let margin = statistic.metric.margin_ratio(base);
            let (verdict, p) = match () {
                () if low > 0.0 => (Verdict::Higher, 0.000_5),
                () if high < 0.0 => (Verdict::Lower, 0.000_5),
                () if low > -margin && high < margin => (Verdict::NoDifference, 0.62),
                () => (Verdict::Inconclusive, 0.2),
            };
            let found = Comparison {
                metric: statistic.metric,
                quantile: statistic.quantile,
                headline: statistic.metric.is_headline()
                    && matches!(statistic.subject, Subject::Target | Subject::Total),
                blocks: pairs.len() as u32,
                low: Some(low),
                high: Some(high),
                overhead: ratio(mean) * base,
                overhead_low: Some(low * base),
                overhead_high: Some(high * base),
                margin_ratio: margin,
                detectable_ratio: Some(half * 1.3),
                block_ratios: pairs
                    .iter()
                    .map(|(block, value, base)| BlockRatio {
                        block: *block,
                        ratio: value / base - 1.0,
                    })
                    .collect(),
                ..comparison(
                    &scenario.name,
                    statistic.subject,
                    ratio(mean),
                    half,
                    Some(p),
                    verdict,
                )
            };
            if scenario.name == "baseline-twin" {
                noise_floor.push(NoiseFloor {
                    metric: found.metric,
                    subject: found.subject,
                    quantile: found.quantile,
                    blocks: found.blocks,
                    overhead_ratio: found.overhead_ratio,
                    low: found.low,
                    high: found.high,
                    p_value: found.p_value,
                    permutation_p_value: found.permutation_p_value,
                    adjusted_p_value: found.adjusted_p_value,
                    detectable_ratio: found.detectable_ratio,
                    verdict: found.verdict,
                    block_ratios: found.block_ratios,
                });
            } else {
                comparisons.push(found);
            }
        }
    }
    report.comparisons = comparisons;
    report.noise_floor = noise_floor;
}

/// One scenario and one trial: the shortest run that there is.
pub fn single() -> (Report, Vec<Sample>) {
    let arms = [BASELINE];
    let (mut report, samples) = run("2025-01-02T030405Z-single", &arms, 1, |_| false);
    for statistic in &mut report.scenarios[0].statistics {
        (
            statistic.low,
            statistic.high,
            statistic.coefficient_of_variation,
        ) = (None, None, None);
    }
    (report, samples)
}

fn comparison(
    scenario: &str,
    subject: Subject,
    ratio: f64,
    half: f64,
    p: Option<f64>,
    verdict: Verdict,
) -> Comparison {
    Comparison {
        scenario: scenario.to_owned(),
        baseline: "baseline".to_owned(),
        metric: Metric::CpuSecondsPerRequest,
        subject,
        quantile: None,
        headline: true,
        blocks: 8,
        overhead_ratio: ratio,
        low: Some(ratio - half),
        high: Some(ratio + half),
        overhead: ratio * 1.48e-4,
        overhead_low: Some((ratio - half) * 1.48e-4),
        overhead_high: Some((ratio + half) * 1.48e-4),
        injected: None,
        p_value: p,
        permutation_p_value: p,
        adjusted_p_value: p.map(|p| (p * 2.0).min(1.0)),
        detectable_ratio: Some(half * 1.2),
        margin_ratio: 0.02,
        verdict,
        reason: (verdict == Verdict::Inconclusive)
            .then(|| "the interval reaches beyond the margin of ±2 %".to_owned()),
        block_ratios: block_ratios(ratio, half),
    }
}

/// Eight blocks around a ratio, spread about as wide as its interval says.
fn block_ratios(ratio: f64, half: f64) -> Vec<BlockRatio> {
    [-1.3, 0.4, 0.9, -0.6, 1.5, -0.9, 0.2, -0.2]
        .into_iter()
        .zip(1..)
        .map(|(z, block)| BlockRatio {
            block,
            ratio: ratio + z * half,
        })
        .collect()
}

fn run(
    name: &str,
    arms: &[Arm],
    blocks: u32,
    invalid: impl Fn(u32) -> bool,
) -> (Report, Vec<Sample>) {
    let (mut trials, mut samples) = (Vec::new(), Vec::new());
    for block in 1..=blocks {
        for place in 0..arms.len() {
            // Another order in each block, as a plan would draw it.
            let arm = &arms[(place + block as usize) % arms.len()];
            let number = trials.len() as u32 + 1;
            let mut trial = trial(arm, number, block);
            if invalid(number) {
                spoil(
                    &mut trial,
                    "offered_rate",
                    "97.2 % of the offered rate was sent, 99 % is asked",
                );
            }
            trials.push(trial);
            samples.extend(readings(arm, number));
        }
    }
    let scenarios = arms
        .iter()
        .map(|arm| scenario(arm, &trials, blocks))
        .collect();
    let report = Report {
        schema_version: SCHEMA_VERSION,
        run: name.to_owned(),
        started: "2025-01-02T03:04:05Z".to_owned(),
        seed: 7,
        confidence: 0.95,
        request_rate: RATE,
        load: LoadReport {
            driver: LoadDriver::Builtin,
            rate_source: RateSource::Calibrated,
            capacity: Some(2_050.0),
        },
        warmup_seconds: WARMUP,
        measure_seconds: MEASURE,
        slices: 1,
        scenarios,
        comparisons: Vec::new(),
        noise_floor: Vec::new(),
        amplification: None,
        experiment: None,
        drifts: Vec::new(),
        nodes: Vec::new(),
        cross_checks: Vec::new(),
        notes: Vec::new(),
        trials,
        fingerprint: fingerprint(arms),
    };
    (report, samples)
}

fn spoil(trial: &mut TrialRecord, name: &str, detail: &str) {
    trial.status = TrialStatus::Invalid;
    trial.analysis.checks[0] = Check {
        name: name.to_owned(),
        passed: false,
        severity: Severity::Invalidates,
        detail: detail.to_owned(),
    };
}
