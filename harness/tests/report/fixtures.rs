//! Reports with the shape of real ones. The numbers are made up and always the same.

use std::collections::BTreeMap;

use flora_bench::fingerprint::{Accounting, Fingerprint, Machine, Program};
use flora_bench::metric::{Metric, QUANTILES};
use flora_bench::plan::{LoadDriver, RateSource};
use flora_bench::report::{
    Comparison, CrossCheck, LoadReport, NoiseFloor, Report, SCHEMA_VERSION, ScenarioReport,
    ScenarioStatus, Statistic, Verdict,
};
use flora_bench::sample::{Phase, Reading, Sample, Subject};
use flora_bench::trial::{
    Check, Ledger, LedgerRow, PhaseSpan, Severity, TrialAnalysis, TrialRecord, TrialStatistic,
    TrialStatus,
};

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
    let arms = [Arm {
        name: "baseline",
        cpu: (1.482e-4, 0.0),
        memory: (6.4 * MIB, 0.0),
        latency: 4.1e-4,
    }];
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

/// Five scenarios with agents: three that were measured, one that is invalid, one that can't run.
pub fn agents() -> (Report, Vec<Sample>) {
    let arms = [
        Arm {
            name: "baseline",
            cpu: (1.482e-4, 0.0),
            memory: (6.4 * MIB, 0.0),
            latency: 4.1e-4,
        },
        Arm {
            name: "flora",
            cpu: (1.561e-4, 4.1e-6),
            memory: (6.5 * MIB, 18.2 * MIB),
            latency: 4.3e-4,
        },
        Arm {
            name: "opentelemetry-full-traces",
            cpu: (2.035e-4, 3.9e-5),
            memory: (11.8 * MIB, 142.0 * MIB),
            latency: 6.7e-4,
        },
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
    });
    report.scenarios[1].telemetry_yield_ratio = Some(1.0);
    report.scenarios[2].telemetry_yield_ratio = Some(0.973);
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
    report.noise_floor = vec![NoiseFloor {
        metric: Metric::CpuSecondsPerRequest,
        subject: Subject::Target,
        overhead_ratio: 0.001,
        low: Some(-0.006),
        high: Some(0.008),
        detectable_ratio: Some(0.015),
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
    let arms: Vec<Arm> = names
        .into_iter()
        .enumerate()
        .map(|(n, name)| {
            let agent = n.saturating_sub(1) as f64;
            Arm {
                name,
                cpu: (1.48e-4 * (1.0 + 0.2 * agent), 9.0e-6 * agent),
                memory: (6.4 * MIB + agent * MIB, 20.0 * agent * MIB),
                latency: 4.1e-4 * (1.0 + agent),
            }
        })
        .collect();
    run("2025-01-02T030405Z-many", &arms, 12, |trial| {
        trial % 17 == 0
    })
}

/// One scenario and one trial: the shortest run that there is.
pub fn single() -> (Report, Vec<Sample>) {
    let arms = [Arm {
        name: "baseline",
        cpu: (1.482e-4, 0.0),
        memory: (6.4 * MIB, 0.0),
        latency: 4.1e-4,
    }];
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
        overhead_ratio: ratio,
        low: Some(ratio - half),
        high: Some(ratio + half),
        p_value: p,
        verdict,
    }
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
        scenarios,
        comparisons: Vec::new(),
        noise_floor: Vec::new(),
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

/// Between −1 and 1, and the same for the same seed.
fn noise(seed: u32) -> f64 {
    let mixed = seed
        .wrapping_add(1)
        .wrapping_mul(2_654_435_761)
        .rotate_left(13)
        .wrapping_mul(2_246_822_519);
    f64::from(mixed >> 8) / f64::from(1u32 << 24) * 2.0 - 1.0
}

fn trial(arm: &Arm, number: u32, block: u32) -> TrialRecord {
    let wobble = |salt: u32, size: f64| 1.0 + size * noise(number * 31 + salt);
    let requests = (RATE * MEASURE) as u64;
    let target = arm.cpu.0 * wobble(1, 0.02);
    let agent = arm.cpu.1 * wobble(2, 0.05);
    let (load, harness) = (3.1e-5 * wobble(3, 0.02), 4.0e-6 * wobble(4, 0.1));
    let remainder = 2.2e-5 * wobble(5, 0.2);
    let mut statistics = Vec::new();
    let mut add = |metric, subject, quantile, value| {
        statistics.push(TrialStatistic {
            metric,
            subject,
            quantile,
            value,
        });
    };
    let cpu = Metric::CpuSecondsPerRequest;
    add(cpu, Subject::Target, None, target);
    if arm.cpu.1 > 0.0 {
        add(cpu, Subject::Agent, None, agent);
    }
    add(cpu, Subject::Total, None, target + agent);
    add(cpu, Subject::Load, None, load);
    add(cpu, Subject::Harness, None, harness);
    add(cpu, Subject::Node, None, target + agent + remainder);
    for (subject, memory) in [
        (Subject::Target, arm.memory.0),
        (Subject::Agent, arm.memory.1),
    ] {
        if memory > 0.0 {
            add(
                Metric::MemoryWorkingSetBytes,
                subject,
                None,
                memory * wobble(6, 0.01),
            );
            add(
                Metric::MemoryPeakBytes,
                subject,
                None,
                memory * 1.25 * wobble(7, 0.02),
            );
        }
    }
    for (quantile, factor) in QUANTILES.into_iter().zip([1.0, 1.9, 3.4, 12.0]) {
        let value = arm.latency * factor * wobble(8 + factor as u32, 0.03 * factor);
        add(
            Metric::RequestDurationSeconds,
            Subject::Target,
            Some(quantile),
            value,
        );
    }
    add(
        Metric::RequestsPerSecond,
        Subject::Target,
        None,
        RATE * wobble(30, 0.000_2),
    );
    add(Metric::ErrorRatio, Subject::Target, None, 0.0);
    add(Metric::CpuThrottledSeconds, Subject::Target, None, 0.0);
    add(
        Metric::StartupSeconds,
        Subject::Target,
        None,
        0.011 * wobble(31, 0.1),
    );

    let seconds = |per_request: f64| per_request * requests as f64;
    let mut rows = vec![LedgerRow {
        subject: Subject::Target,
        cpu_seconds: seconds(target),
    }];
    if arm.cpu.1 > 0.0 {
        rows.push(LedgerRow {
            subject: Subject::Agent,
            cpu_seconds: seconds(agent),
        });
    }
    rows.push(LedgerRow {
        subject: Subject::Load,
        cpu_seconds: seconds(load),
    });
    rows.push(LedgerRow {
        subject: Subject::Harness,
        cpu_seconds: seconds(harness),
    });
    let busy = seconds(target + agent + load + harness + remainder);
    let start = f64::from(number - 1) * TRIAL;
    let spans = [
        (Phase::Setup, 0.0, 0.4),
        (Phase::Warmup, 0.4, 3.4),
        (Phase::Measure, 3.4, 13.4),
        (Phase::Cooldown, 13.4, 14.4),
    ];
    TrialRecord {
        trial: number,
        block,
        arm: arm.name.to_owned(),
        status: TrialStatus::Valid,
        error: None,
        phases: spans
            .map(|(phase, s, e)| PhaseSpan {
                phase,
                start: start + s,
                end: start + e,
            })
            .to_vec(),
        window_unix: None,
        analysis: TrialAnalysis {
            requests,
            statistics,
            ledger: Some(Ledger {
                node_busy_seconds: busy,
                steal_seconds: 0.02,
                rows,
                remainder_seconds: seconds(remainder),
                other_tasks_seconds: Some(seconds(remainder) * 0.4),
                remainder_ratio: seconds(remainder) / busy,
                requests,
            }),
            checks: checks(),
        },
    }
}

fn checks() -> Vec<Check> {
    [
        (
            "offered_rate",
            "100.0 % of the offered rate was sent, 99 % is asked",
        ),
        ("errors", "0 of 8000 requests failed"),
        (
            "steal",
            "0.1 % of the window's CPU time was stolen, at most 1 % is asked",
        ),
        (
            "load_driver_cpu",
            "the load driver used 2.5 % of its CPUs, at most 80 % is asked",
        ),
        ("throttling", "the target was throttled for 0 s"),
    ]
    .map(|(name, detail)| Check {
        name: name.to_owned(),
        passed: true,
        severity: Severity::Invalidates,
        detail: detail.to_owned(),
    })
    .to_vec()
}

fn scenario(arm: &Arm, trials: &[TrialRecord], blocks: u32) -> ScenarioReport {
    let valid: Vec<_> = trials
        .iter()
        .filter(|t| t.arm == arm.name && t.status == TrialStatus::Valid)
        .collect();
    let mut statistics = Vec::new();
    for first in &valid[0].analysis.statistics {
        let key = (first.metric, first.subject, first.quantile);
        let same = |s: &&TrialStatistic| (s.metric, s.subject, s.quantile) == key;
        let values: Vec<f64> = valid
            .iter()
            .flat_map(|t| t.analysis.statistics.iter().find(same))
            .map(|s| s.value)
            .collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        let half = 2.0 * deviation / n.sqrt();
        statistics.push(Statistic {
            metric: first.metric,
            subject: first.subject,
            quantile: first.quantile,
            estimate: mean,
            low: Some(mean - half),
            high: Some(mean + half),
            coefficient_of_variation: (mean != 0.0).then_some(deviation / mean),
        });
    }
    let ledgers: Vec<&Ledger> = valid
        .iter()
        .filter_map(|t| t.analysis.ledger.as_ref())
        .collect();
    let busy = ledgers.iter().map(|l| l.node_busy_seconds).sum::<f64>();
    let remainder = ledgers.iter().map(|l| l.remainder_seconds).sum::<f64>();
    let rows = (0..ledgers[0].rows.len()).map(|n| LedgerRow {
        subject: ledgers[0].rows[n].subject,
        cpu_seconds: ledgers.iter().map(|l| l.rows[n].cpu_seconds).sum(),
    });
    let requests = valid.iter().map(|t| t.analysis.requests).sum();
    ScenarioReport {
        name: arm.name.to_owned(),
        question: match arm.name {
            "baseline" => "What does one request cost the target, alone?".to_owned(),
            name => format!("What does one request cost with {name} beside the target?"),
        },
        analysis: None,
        status: ScenarioStatus::Ok,
        reason: None,
        trials: valid.len() as u32,
        planned_trials: blocks,
        requests,
        statistics,
        ledger: Some(Ledger {
            node_busy_seconds: busy,
            steal_seconds: ledgers.iter().map(|l| l.steal_seconds).sum(),
            rows: rows.collect(),
            remainder_seconds: remainder,
            other_tasks_seconds: Some(remainder * 0.4),
            remainder_ratio: remainder / busy,
            requests,
        }),
        telemetry_yield_ratio: None,
    }
}

/// The 1 Hz series of one trial.
fn readings(arm: &Arm, trial: u32) -> Vec<Sample> {
    let start = f64::from(trial - 1) * TRIAL;
    let mut samples = Vec::new();
    let mut used = BTreeMap::new();
    for second in 0..15u32 {
        let loaded = (1..14).contains(&second);
        let mut add = |subject, reading, value| {
            samples.push(Sample {
                trial,
                phase: if (4..14).contains(&second) {
                    Phase::Measure
                } else {
                    Phase::Warmup
                },
                edge: None,
                subject,
                reading,
                value,
                time: start + f64::from(second),
                quantile: None,
                buckets: Vec::new(),
            });
        };
        let mut node = 0.02;
        let roles = [
            (Subject::Target, arm.cpu.0),
            (Subject::Agent, arm.cpu.1),
            (Subject::Load, 3.1e-5),
            (Subject::Harness, 4e-6),
        ];
        for (n, (subject, per_request)) in roles
            .into_iter()
            .enumerate()
            .filter(|(_, role)| role.1 > 0.0)
        {
            let wobble = 1.0 + 0.06 * noise(trial * 1000 + second * 10 + n as u32);
            let now = if loaded {
                per_request * RATE * wobble
            } else {
                per_request * RATE * 0.02
            };
            node += now;
            let total = used.entry(subject).or_insert(0.0);
            *total += now;
            add(subject, Reading::CpuUsageSecondsTotal, *total);
        }
        let total = used
            .entry(Subject::Node)
            .or_insert(f64::from(trial) * 100.0);
        *total += node;
        add(Subject::Node, Reading::NodeCpuBusySecondsTotal, *total);
        let grown = 1.0 - 0.4 * (-f64::from(second) / 2.0).exp();
        for (subject, memory) in [
            (Subject::Target, arm.memory.0),
            (Subject::Agent, arm.memory.1),
        ] {
            if memory > 0.0 {
                add(subject, Reading::MemoryUsageBytes, memory * grown + MIB);
                add(subject, Reading::MemoryInactiveFileBytes, MIB);
            }
        }
    }
    samples
}

fn fingerprint(arms: &[Arm]) -> Fingerprint {
    let program = |name: &str, version: &str, command: &str| Program {
        name: name.to_owned(),
        version: version.to_owned(),
        sha256: Some("0123456789abcdef".repeat(4)),
        command: Some(command.to_owned()),
    };
    Fingerprint {
        cgroups: "cgroup v1 and v2".into(),
        harness: program("flora-bench", "0.1.0 (bf4f8cd)", "cargo build --release"),
        machine: Machine {
            cpu_model: "Example CPU @ 2.50GHz".to_owned(),
            cpus: 4,
            memory_bytes: 16 << 30,
            kernel: "6.8.0-example #1 SMP".to_owned(),
            os: "Debian GNU/Linux 13 (trixie)".to_owned(),
            virtualised: true,
            governor: Some("performance".to_owned()),
        },
        cpu_sets: BTreeMap::from([
            ("target".to_owned(), vec![0, 1]),
            ("load".to_owned(), vec![2]),
            ("harness".to_owned(), vec![3]),
        ]),
        accounting: Accounting {
            cpu: "cgroup v2".to_owned(),
            memory: "cgroup v2".to_owned(),
        },
        programs: vec![program(
            "target-app",
            "0.1.0",
            "target-app --listen 127.0.0.1:0 --objects 20 --work 1 --seed 1",
        )],
        scenario_files: arms
            .iter()
            .map(|arm| (arm.name.to_owned(), "fedcba9876543210".repeat(4)))
            .collect(),
    }
}
