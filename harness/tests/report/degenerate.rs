//! Whatever a run left behind, rendering it never panics.

use flora_bench::report::chart::{CHARTS, NARROW, WIDE, draw_claim, svg};
use flora_bench::report::{
    Interval, Report, Verdict, claims, console, csv, html, markdown, render,
};
use flora_bench::sample::Sample;
use flora_bench::trial::TrialStatus;
use proptest::prelude::*;

use crate::fixtures;
use crate::markup::{assert_balanced, without_script};

/// Renders everything but the bitmaps.
fn texts(report: &Report, samples: &[Sample]) {
    assert!(!console::render(report).is_empty());
    assert!(!markdown::render(report).is_empty());
    assert!(!csv::render(report).is_empty());
    let page = html::render(report, samples);
    assert_balanced(&page);
    assert!(!without_script(&page).contains("NaN"));
    for chart in CHARTS {
        for width in [WIDE, NARROW] {
            let scene = chart.scene(report, samples, width);
            assert!(scene.height.is_finite() && scene.height > 0.0);
            let text = svg(&scene, "chart");
            assert!(
                !text.contains("NaN") && !text.contains("inf,") && !text.contains("2147483647"),
                "{}",
                chart.file
            );
        }
    }
    for claim in [claims(report, true), claims(report, false)].concat() {
        for width in [WIDE, NARROW] {
            let scene = draw_claim(report, claim, width);
            assert!(scene.height.is_finite() && scene.height > 0.0);
            assert!(!svg(&scene, "claim").contains("NaN"));
        }
    }
}

/// Renders everything, bitmaps too.
fn files(report: &Report, samples: &[Sample]) {
    texts(report, samples);
    let directory = tempfile::tempdir().unwrap();
    render(report, samples, directory.path()).unwrap();
}

#[test]
fn nothing_at_all() {
    let (mut report, _) = fixtures::baseline();
    report.scenarios.clear();
    report.trials.clear();
    report.fingerprint.programs.clear();
    files(&report, &[]);
}

#[test]
fn no_trials_and_no_samples() {
    let (mut report, _) = fixtures::agents();
    report.trials.clear();
    for scenario in &mut report.scenarios {
        scenario.trials = 0;
        scenario.requests = 0;
        scenario.statistics.clear();
        scenario.ledger = None;
    }
    files(&report, &[]);
}

#[test]
fn every_trial_failed() {
    let (mut report, samples) = fixtures::baseline();
    for trial in &mut report.trials {
        trial.status = TrialStatus::Failed;
        trial.error =
            Some("the target ended with status 1\nlast output:\n  cannot bind".to_owned());
        trial.phases.clear();
        trial.analysis.statistics.clear();
        trial.analysis.checks.clear();
    }
    files(&report, &samples);
}

/// One block: points without intervals, and no noise floor to hold them against.
#[test]
fn one_block() {
    let (mut report, samples) = fixtures::agents();
    for comparison in &mut report.comparisons {
        comparison.blocks = 1;
        (comparison.low, comparison.high) = (None, None);
        (comparison.overhead_low, comparison.overhead_high) = (None, None);
        (comparison.p_value, comparison.adjusted_p_value) = (None, None);
        comparison.detectable_ratio = None;
        comparison.verdict = Verdict::Inconclusive;
        comparison.reason = Some("a single block has no interval".to_owned());
        comparison.block_ratios.truncate(1);
    }
    report.noise_floor.clear();
    files(&report, &samples);
    assert!(console::render(&report).contains("1 block, so no interval"));
}

#[test]
fn nothing_compared() {
    let (mut report, samples) = fixtures::agents();
    report.comparisons.clear();
    report.noise_floor.clear();
    report.drifts.clear();
    files(&report, &samples);
    assert!(!html::render(&report, &samples).contains("id=\"overhead\""));
}

/// Twelve arms: changes from −60 to +2500 %, among them some whose verdict is open, all with long names.
#[test]
fn twelve_arms_far_apart() {
    let (mut report, samples) = fixtures::agents();
    let model = report.comparisons[0].clone();
    report.comparisons.clear();
    for (n, ratio) in [
        -0.6, -0.01, 0.0, 0.002, 0.01, 0.1, 0.3, 1.0, 2.5, 9.0, 25.0, -1.0,
    ]
    .into_iter()
    .enumerate()
    {
        let mut arm = report.scenarios[1].clone();
        arm.name = format!(
            "an-arm-whose-name-says-everything-about-its-settings-{n}-{}",
            "x".repeat(n * 9)
        );
        let mut comparison = model.clone();
        comparison.scenario = arm.name.clone();
        comparison.overhead_ratio = ratio;
        (comparison.low, comparison.high) = (Some(ratio - 0.05), Some(ratio + 0.05));
        comparison.verdict = Verdict::Inconclusive;
        comparison.reason = None;
        for block in &mut comparison.block_ratios {
            block.ratio += ratio;
        }
        report.comparisons.push(comparison);
        report.scenarios.push(arm);
    }
    files(&report, &samples);
}

/// Numbers that break drawings: none, nought, tiny, huge, and what is no number.
fn odd() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(-0.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        Just(-1.0),
        1e-9f64..1e12,
        any::<f64>(),
    ]
}

/// Puts odd numbers wherever a report has numbers.
fn disturb(report: &mut Report, samples: &mut [Sample], numbers: &[f64]) {
    let mut numbers = numbers.iter().copied().cycle();
    let mut next = || numbers.next().unwrap_or(0.0);
    report.request_rate = next();
    report.measure_seconds = next();
    report.load.capacity = Some(next());
    for scenario in &mut report.scenarios {
        for statistic in &mut scenario.statistics {
            statistic.estimate = next();
            statistic.low = Some(next());
            statistic.high = Some(next());
            statistic.coefficient_of_variation = Some(next());
        }
        if let Some(ledger) = &mut scenario.ledger {
            ledger.node_busy_seconds = next();
            ledger.remainder_seconds = next();
            ledger.remainder_ratio = next();
            ledger.requests = 0;
        }
        scenario.telemetry_yield_ratio = Some(next());
    }
    for slope in report.amplification.iter_mut().flat_map(|a| &mut a.slopes) {
        let interval = |next: &mut dyn FnMut() -> f64| Interval {
            estimate: next(),
            low: Some(next()),
            high: Some(next()),
        };
        slope.per_copy = interval(&mut next);
        slope.two_baselines = interval(&mut next);
        slope.beside_copies = interval(&mut next);
        slope.bend = Some(interval(&mut next));
        for point in &mut slope.points {
            point.added = next();
        }
    }
    for comparison in &mut report.comparisons {
        comparison.overhead_ratio = next();
        comparison.low = Some(next());
        comparison.high = Some(next());
        comparison.overhead = next();
        comparison.overhead_low = Some(next());
        comparison.overhead_high = Some(next());
        comparison.injected = Some(next());
        comparison.p_value = Some(next());
        comparison.margin_ratio = next();
        comparison.detectable_ratio = Some(next());
        for block in &mut comparison.block_ratios {
            block.ratio = next();
        }
    }
    for drift in &mut report.drifts {
        (drift.per_hour_ratio, drift.p_value) = (next(), next());
    }
    for floor in &mut report.noise_floor {
        floor.overhead_ratio = next();
        (floor.low, floor.high) = (Some(next()), Some(next()));
        floor.detectable_ratio = Some(next());
    }
    for check in &mut report.cross_checks {
        check.direct = next();
    }
    for trial in &mut report.trials {
        for statistic in &mut trial.analysis.statistics {
            statistic.value = next();
        }
        for span in &mut trial.phases {
            (span.start, span.end) = (next(), next());
        }
    }
    for step in report.trials.iter_mut().flat_map(|t| &mut t.analysis.steps) {
        step.value = next();
        step.offered_requests_per_second = next();
        step.requests_per_second = Some(next());
        step.p99_seconds = Some(next());
        step.throttled_ratio = Some(next());
    }
    for sample in samples.iter_mut().step_by(3) {
        sample.value = next();
    }
    for sample in samples.iter_mut().step_by(97) {
        sample.time = next();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// No number, wherever it stands, stops a report from being rendered.
    #[test]
    fn odd_numbers(numbers in proptest::collection::vec(odd(), 1..40)) {
        let (mut report, mut samples) = fixtures::agents();
        disturb(&mut report, &mut samples, &numbers);
        texts(&report, &samples);
    }

    /// Nor where trials live side by side.
    #[test]
    fn odd_numbers_in_turns(numbers in proptest::collection::vec(odd(), 1..40)) {
        let (mut report, mut samples) = fixtures::turns();
        disturb(&mut report, &mut samples, &numbers);
        texts(&report, &samples);
    }

    /// Nor where an agent is amplified.
    #[test]
    fn odd_numbers_of_copies(numbers in proptest::collection::vec(odd(), 1..40)) {
        let (mut report, mut samples) = fixtures::amplified();
        disturb(&mut report, &mut samples, &numbers);
        texts(&report, &samples);
    }

    /// Nor where trials are searches.
    #[test]
    fn odd_numbers_of_steps(numbers in proptest::collection::vec(odd(), 1..40)) {
        for (mut report, mut samples) in [fixtures::cpu_limit(), fixtures::memory_limit()] {
            disturb(&mut report, &mut samples, &numbers);
            texts(&report, &samples);
        }
    }

    /// Nor does the same number everywhere.
    #[test]
    fn one_number_everywhere(number in odd()) {
        let (mut report, mut samples) = fixtures::baseline();
        disturb(&mut report, &mut samples, &[number]);
        texts(&report, &samples);
    }
}
