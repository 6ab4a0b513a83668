//! Whatever a run left behind, rendering it never panics.

use flora_bench::report::chart::{CHARTS, NARROW, WIDE, svg};
use flora_bench::report::{Report, console, csv, html, markdown, render};
use flora_bench::sample::Sample;
use flora_bench::trial::TrialStatus;
use proptest::prelude::*;

use crate::fixtures;
use crate::markup::assert_balanced;

/// Renders everything but the bitmaps.
fn texts(report: &Report, samples: &[Sample]) {
    assert!(!console::render(report).is_empty());
    assert!(!markdown::render(report).is_empty());
    assert!(!csv::render(report).is_empty());
    let page = html::render(report, samples);
    assert_balanced(&page);
    assert!(!page.contains("NaN"));
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
    for comparison in &mut report.comparisons {
        comparison.overhead_ratio = next();
        comparison.low = Some(next());
        comparison.p_value = Some(next());
    }
    for floor in &mut report.noise_floor {
        floor.overhead_ratio = next();
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

    /// Nor does the same number everywhere.
    #[test]
    fn one_number_everywhere(number in odd()) {
        let (mut report, mut samples) = fixtures::baseline();
        disturb(&mut report, &mut samples, &[number]);
        texts(&report, &samples);
    }
}
