use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::fingerprint::{Accounting, Fingerprint, Machine, Program};
use crate::gate::{console, github, junit, markdown, wire};
use crate::plan::{LoadDriver, RateSource};
use crate::report::{Comparison, LoadReport, NoiseFloor, Statistic, Verdict};

const MIB: f64 = 1_048_576.0;

#[test]
fn the_rule_at_its_edges() {
    use Outcome::{Inconclusive, Over, Within};
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    for (interval, expected) in [
        (Some((0.01, 0.03)), Within),
        (Some((0.01, 0.05)), Within),
        (Some((0.05, 0.05)), Within),
        (Some((0.05, 0.06)), Inconclusive),
        (Some((0.04, 0.06)), Inconclusive),
        (Some((0.050_000_1, 0.06)), Over),
        (Some((0.06, 0.07)), Over),
        (Some((-inf, 0.0)), Within),
        (Some((-inf, inf)), Inconclusive),
        (Some((0.06, inf)), Over),
        (Some((nan, 0.01)), Inconclusive),
        (Some((0.06, nan)), Inconclusive),
        (Some((nan, nan)), Inconclusive),
        // Ends the wrong way round.
        (Some((0.07, 0.06)), Inconclusive),
        (None, Inconclusive),
    ] {
        assert_eq!(rule(interval, 0.05), expected, "{interval:?}");
    }
    assert_eq!(rule(Some((0.0, 1.0)), nan), Inconclusive);
    // At least 900 a second.
    for (low, high, expected) in [
        (910.0, 950.0, Within),
        (900.0, 950.0, Within),
        (890.0, 950.0, Inconclusive),
        (890.0, 900.0, Inconclusive),
        (880.0, 899.0, Over),
    ] {
        assert_eq!(rule_from_below(Some((low, high)), 900.0), expected);
    }
}

proptest! {
    /// `over` exactly when the lower end lies above the limit, `within` exactly
    /// when the upper end does not; never both.
    #[test]
    fn the_rule_is_what_it_says(low in -1e3f64..1e3, width in 0.0f64..1e3, limit in -1e3f64..1e3) {
        let high = low + width;
        let outcome = rule(Some((low, high)), limit);
        prop_assert_eq!(outcome == Outcome::Over, low > limit);
        prop_assert_eq!(outcome == Outcome::Within, high <= limit);
    }

    /// A wider limit never makes an outcome worse, a wider interval never more certain.
    #[test]
    fn the_rule_is_monotonous(low in -1.0f64..1.0, width in 0.0f64..1.0, limit in -1.0f64..1.0, more in 0.0f64..1.0) {
        let high = low + width;
        let narrow = rule(Some((low, high)), limit);
        if narrow == Outcome::Within {
            prop_assert_eq!(rule(Some((low, high)), limit + more), Outcome::Within);
        }
        if narrow == Outcome::Inconclusive {
            prop_assert_eq!(rule(Some((low - more, high + more)), limit), Outcome::Inconclusive);
        }
    }

    /// Whatever a report holds, it is judged and written without a panic, and
    /// what is not a number is never within a budget.
    #[test]
    fn any_numbers_are_judged(point: f64, low: f64, high: f64, overhead: f64, blocks: u32, special in 0usize..4) {
        let low = [low, f64::NAN, f64::NEG_INFINITY, low][special];
        let mut report = report();
        for c in &mut report.comparisons {
            c.blocks = blocks;
            c.overhead_ratio = point;
            (c.low, c.high) = (Some(low), Some(high));
            c.overhead = overhead;
            (c.overhead_low, c.overhead_high) = (Some(low), (special != 3).then_some(high));
        }
        let budgets = budgets("budgets: {cpu_seconds_per_request target: [+5 %, +2 µs]}");
        let gate = judge(&report, &budgets, &[]).unwrap();
        for judgement in &gate.judgements {
            if low.is_nan() {
                prop_assert_eq!(judgement.outcome, Outcome::Inconclusive);
            }
        }
        render(&gate);
    }
}

/// Every output; those with a form are read back.
fn render(gate: &Gate) -> String {
    let xml = junit::render(gate).unwrap();
    roxmltree::Document::parse(&xml).unwrap();
    let json = serde_json::to_string(gate).unwrap();
    serde_json::from_str::<serde_json::Value>(&json).unwrap();
    [
        console::render(gate),
        markdown::render(gate),
        github::annotations(gate),
        xml,
    ]
    .join("\n")
}

fn budgets(text: &str) -> Vec<Budget> {
    wire::parse(Path::new("budgets.yaml"), text).unwrap()
}

/// A run's judgement by budgets below the key.
fn judged(report: &Report, text: &str) -> Gate {
    judge(report, &budgets(&format!("budgets: {{{text}}}")), &[]).unwrap()
}

fn outcomes(report: &Report, text: &str) -> Vec<(String, Outcome)> {
    let gate = judged(report, text);
    gate.judgements
        .iter()
        .map(|j| (j.scenario.clone(), j.outcome))
        .collect()
}

fn refused(report: &Report, text: &str, only: &[&str]) -> String {
    let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
    judge(report, &budgets(&format!("budgets: {{{text}}}")), &only)
        .unwrap_err()
        .to_string()
}

#[test]
fn relative_absolute_and_plain_limits() {
    use Outcome::{Inconclusive, Over, Within};
    let report = report();
    // The target of `flora` has +4 to +6 % of 100 µs; its agent holds 17 to 19 MiB.
    for (text, expected) in [
        ("cpu_seconds_per_request target: +7 %", Within),
        ("cpu_seconds_per_request target: +5 %", Inconclusive),
        ("cpu_seconds_per_request target: +3 %", Over),
        ("cpu_seconds_per_request target: +7 µs", Within),
        ("cpu_seconds_per_request target: +5 µs", Inconclusive),
        ("cpu_seconds_per_request target: +3 µs", Over),
        ("memory_working_set_bytes agent: 20 MiB", Within),
        ("memory_working_set_bytes agent: 18 MiB", Inconclusive),
        ("memory_working_set_bytes agent: 16 MiB", Over),
        ("requests_per_second: 790 /s", Within),
        ("requests_per_second: 800 /s", Inconclusive),
        ("requests_per_second: 810 /s", Over),
    ] {
        let found = judged(&report, text).judgements;
        let of_flora = found.iter().find(|j| j.scenario == "flora").unwrap();
        assert_eq!(of_flora.outcome, expected, "{text}");
        assert_eq!(of_flora.reason.is_some(), expected == Inconclusive);
        render(&judged(&report, text));
    }
}

#[test]
fn which_arms_a_budget_is_about() {
    use Outcome::{Over, Within};
    let report = report();
    let both = vec![("flora".into(), Over), ("synthetic".into(), Within)];
    assert_eq!(
        outcomes(&report, "cpu_seconds_per_request target: +3 %"),
        both
    );
    // Of the arm without an agent, the total is the target.
    assert_eq!(outcomes(&report, "cpu_seconds_per_request: +3 %"), both);
    // It has no agent that could be over.
    assert_eq!(
        outcomes(&report, "memory_working_set_bytes agent: 20 MiB"),
        [("flora".into(), Within)]
    );
    // The baseline only when it is named.
    assert_eq!(
        outcomes(
            &report,
            "cpu_seconds_per_request target: {max: 200 µs, scenario: baseline}"
        ),
        [("baseline".into(), Within)]
    );
    let mixed = "cpu_seconds_per_request target: [{max: +3 %, scenario: flora}, {max: +3 %, scenario: synthetic}]";
    assert_eq!(outcomes(&report, mixed), both);
    let only = judge(
        &report,
        &budgets(&format!("budgets: {{{mixed}}}")),
        &["synthetic".into()],
    );
    assert_eq!(only.unwrap().outcome, Within);
}

#[test]
fn what_is_about_nothing_is_a_mistake() {
    let report = report();
    for (text, only, expected) in [
        (
            "cpu_seconds_per_request target: {max: +3 %, scenario: flroa}",
            vec![],
            vec![
                "budgets.yaml:1: ",
                "no scenario `flroa`, did you mean `flora`?",
                "baseline-twin",
            ],
        ),
        (
            "cpu_seconds_per_request agent: +3 %",
            vec![],
            vec![
                "has no agent to compare",
                "the run has: cpu_seconds_per_request target",
            ],
        ),
        (
            "requests_per_second: -3 %",
            vec![],
            vec!["not compared", "without a sign"],
        ),
        (
            "startup_seconds: 3 s",
            vec![],
            vec![
                "no `startup_seconds target` of flora, synthetic",
                "memory_working_set_bytes agent",
            ],
        ),
        (
            "startup_seconds: +3 %",
            vec![],
            vec!["not compared with the baseline;"],
        ),
        (
            "request_duration_seconds 0.42: +3 %",
            vec![],
            vec![
                "request_duration_seconds target 0.42",
                "request_duration_seconds target 0.99",
            ],
        ),
        (
            "cpu_seconds_per_request: +3 %",
            vec!["synthetik"],
            vec!["--scenario: ", "did you mean `synthetic`?"],
        ),
        (
            "cpu_seconds_per_request: {max: +3 %, scenario: flora}",
            vec!["synthetic"],
            vec!["no budget concerns synthetic"],
        ),
    ] {
        let message = refused(&report, text, &only);
        for part in expected {
            assert!(message.contains(part), "`{part}` not in: {message}");
        }
    }
    let mut alone = report;
    alone.scenarios.truncate(2);
    let message = refused(&alone, "cpu_seconds_per_request: +3 %", &[]);
    assert!(message.contains("only the baseline"), "{message}");
}

#[test]
fn what_could_not_be_measured_is_not_judged() {
    let mut report = report();
    report.scenarios[2].status = ScenarioStatus::Invalid;
    report.scenarios[2].reason = Some("1 of 6 trials count".into());
    let gate = judged(&report, "cpu_seconds_per_request target: +3 %");
    assert_eq!(gate.outcome, Outcome::Invalid);
    assert_eq!(gate.judgements[1].outcome, Outcome::Within);
    let reason = gate.judgements[0].reason.as_deref().unwrap();
    assert_eq!(reason, "flora is not valid: 1 of 6 trials count");
    // Over comes first: it holds whatever else could not be measured.
    let text = "cpu_seconds_per_request target: +3 %, memory_working_set_bytes target: {max: 1 MiB, scenario: synthetic}";
    assert_eq!(judged(&report, text).outcome, Outcome::Over);
    // Without the baseline there is no change, but still a figure.
    report.scenarios[0].status = ScenarioStatus::Failed;
    report.comparisons.clear();
    let text = "cpu_seconds_per_request target: {max: +3 %, scenario: synthetic}";
    assert_eq!(judged(&report, text).outcome, Outcome::Invalid);
    let text = "cpu_seconds_per_request target: {max: 200 µs, scenario: synthetic}";
    assert_eq!(judged(&report, text).outcome, Outcome::Within);
}

#[test]
fn an_inconclusive_outcome_says_what_would_help() {
    let mut report = report();
    report.comparisons.retain(|c| c.scenario == "flora");
    report.scenarios.truncate(3);
    let reason = |report: &Report, limit: &str| {
        let gate = judged(report, &format!("cpu_seconds_per_request target: {limit}"));
        assert_eq!(gate.outcome, Outcome::Inconclusive);
        gate.judgements[0].reason.clone().unwrap()
    };
    // Half of the interval is 1 %, the way to the limit 0.5 %: four times as many blocks.
    let text = reason(&report, "+5.5 %");
    assert!(text.contains("about 24 blocks would decide"), "{text}");
    let text = reason(&report, "+5 %");
    assert!(text.contains("too near"), "{text}");
    for c in &mut report.comparisons {
        (c.blocks, c.low, c.high) = (1, None, None);
    }
    let text = reason(&report, "+5 %");
    assert!(text.contains("one block has no interval"), "{text}");
    report.comparisons.clear();
    let text = reason(&report, "+5 %");
    assert!(text.contains("no block in which both"), "{text}");
}

#[test]
fn over_then_invalid_then_inconclusive() {
    use Outcome::{Inconclusive, Invalid, Over, Within};
    for (outcomes, expected) in [
        (vec![Within, Within], Within),
        (vec![Within, Inconclusive], Inconclusive),
        (vec![Inconclusive, Invalid, Within], Invalid),
        (vec![Inconclusive, Invalid, Over, Within], Over),
    ] {
        assert_eq!(Outcome::worst(outcomes), expected);
    }
}

#[test]
fn texts() {
    let report = report();
    let gate = judge(
        &report,
        &budgets(
            "\
budgets:
  cpu_seconds_per_request target: {max: +3 %, scenario: flora, description: \"a | b <c> & `d`\\n::error::e\"}
  memory_working_set_bytes agent: 18 MiB
",
        ),
        &[],
    )
    .unwrap();
    assert_eq!(
        gate.sentence(),
        "Over budget in 1 of 2 budgets: CPU per request (target) of flora: +5.0 % (+4.0 to +6.0 %), +3 % is allowed."
    );
    let markdown = markdown::render(&gate);
    assert!(markdown.starts_with("**Over budget in 1 of 2 budgets: "));
    assert!(
        markdown.contains("| CPU per request (target) | flora | +5.0 µs, +5.0 % | +4.0 to +6.0 µs, +4.0 to +6.0 % | +3 % | over budget |"),
        "{markdown}"
    );
    assert!(
        markdown.contains("a \\| b &lt;c&gt; &amp; \\`d\\` ::error::e"),
        "{markdown}"
    );
    assert!(
        markdown.contains("Noise floor of CPU per request (target): +0.1"),
        "{markdown}"
    );
    let lines = github::annotations(&gate);
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0]
            .starts_with("::error title=Over budget::CPU per request (target) of flora: +5.0 %25")
    );
    assert!(lines[0].ends_with("%0A::error::e"), "{}", lines[0]);
    assert!(lines[1].starts_with("::warning title=Inconclusive::"));
    let xml = junit::render(&gate).unwrap();
    let document = roxmltree::Document::parse(&xml).unwrap();
    let cases: Vec<_> = document
        .descendants()
        .filter(|n| n.has_tag_name("testcase"))
        .collect();
    assert_eq!(cases.len(), 2);
    assert!(cases[0].children().any(|n| n.has_tag_name("failure")));
    let skipped = cases[1]
        .children()
        .find(|n| n.has_tag_name("skipped"))
        .unwrap();
    assert!(
        skipped.attribute("message").unwrap().contains("too near"),
        "{xml}"
    );
    let description = cases[0]
        .descendants()
        .find(|n| n.attribute("name") == Some("description"));
    assert_eq!(
        description.unwrap().attribute("value"),
        Some("a | b <c> & `d` ::error::e"),
    );
}

/// Six blocks of a baseline, its twin, an agent and a synthetic arm.
fn report() -> Report {
    let program = Program {
        name: "flora-bench".into(),
        version: "0.1.0".into(),
        sha256: None,
        command: None,
    };
    Report {
        schema_version: crate::report::SCHEMA_VERSION,
        run: "2025-01-02T030405Z-flora".into(),
        started: "2025-01-02T03:04:05Z".into(),
        seed: 7,
        confidence: 0.95,
        request_rate: 800.0,
        load: LoadReport {
            driver: LoadDriver::Builtin,
            rate_source: RateSource::Given,
            capacity: None,
        },
        warmup_seconds: 1.0,
        measure_seconds: 5.0,
        slices: 1,
        amplification: None,
        experiment: None,
        scenarios: vec![
            arm("baseline", 1.0, None),
            arm("baseline-twin", 1.0, None),
            arm("flora", 1.05, Some(18.0 * MIB)),
            arm("synthetic", 1.01, None),
        ],
        comparisons: vec![
            comparison(
                "flora",
                Metric::CpuSecondsPerRequest,
                Subject::Target,
                None,
                0.05,
            ),
            comparison(
                "flora",
                Metric::CpuSecondsPerRequest,
                Subject::Total,
                None,
                0.08,
            ),
            comparison(
                "flora",
                Metric::RequestDurationSeconds,
                Subject::Target,
                Some(0.99),
                0.1,
            ),
            comparison(
                "synthetic",
                Metric::CpuSecondsPerRequest,
                Subject::Target,
                None,
                0.01,
            ),
        ],
        noise_floor: vec![NoiseFloor {
            metric: Metric::CpuSecondsPerRequest,
            subject: Subject::Target,
            quantile: None,
            blocks: 6,
            overhead_ratio: 0.001,
            low: Some(-0.006),
            high: Some(0.008),
            p_value: Some(0.7),
            permutation_p_value: None,
            adjusted_p_value: Some(0.7),
            verdict: Verdict::NoDifference,
            detectable_ratio: Some(0.015),
            block_ratios: Vec::new(),
        }],
        drifts: Vec::new(),
        nodes: Vec::new(),
        cross_checks: Vec::new(),
        notes: Vec::new(),
        trials: Vec::new(),
        fingerprint: Fingerprint {
            harness: program,
            machine: Machine {
                cpu_model: "Example CPU".into(),
                cpus: 4,
                memory_bytes: 1 << 34,
                kernel: "6.8.0".into(),
                os: "Debian".into(),
                virtualised: false,
                governor: None,
            },
            cgroups: "v2".into(),
            cpu_sets: BTreeMap::new(),
            accounting: Accounting {
                cpu: "cgroup v2".into(),
                memory: "cgroup v2".into(),
            },
            programs: Vec::new(),
            scenario_files: BTreeMap::new(),
        },
    }
}

fn arm(name: &str, factor: f64, agent: Option<f64>) -> ScenarioReport {
    let statistic = |metric, subject, estimate: f64, half: f64| Statistic {
        metric,
        subject,
        quantile: None,
        estimate,
        low: Some(estimate - half),
        high: Some(estimate + half),
        coefficient_of_variation: Some(0.01),
    };
    let mut statistics = vec![
        statistic(
            Metric::CpuSecondsPerRequest,
            Subject::Target,
            1e-4 * factor,
            1e-6,
        ),
        statistic(
            Metric::MemoryWorkingSetBytes,
            Subject::Target,
            6.0 * MIB,
            MIB,
        ),
        statistic(Metric::RequestsPerSecond, Subject::Target, 800.0, 4.0),
    ];
    if let Some(memory) = agent {
        statistics.push(statistic(
            Metric::MemoryWorkingSetBytes,
            Subject::Agent,
            memory,
            MIB,
        ));
    }
    ScenarioReport {
        name: name.into(),
        question: "q".into(),
        analysis: None,
        status: ScenarioStatus::Ok,
        reason: None,
        trials: 6,
        planned_trials: 6,
        requests: 24_000,
        statistics,
        ledger: None,
        telemetry_yield_ratio: None,
        telemetry: None,
        delivered: None,
        copies: None,
    }
}

fn comparison(
    scenario: &str,
    metric: Metric,
    subject: Subject,
    quantile: Option<f64>,
    ratio: f64,
) -> Comparison {
    let (low, high) = (ratio - 0.01, ratio + 0.01);
    Comparison {
        scenario: scenario.into(),
        baseline: "baseline".into(),
        metric,
        subject,
        quantile,
        headline: true,
        blocks: 6,
        overhead_ratio: ratio,
        low: Some(low),
        high: Some(high),
        overhead: ratio * 1e-4,
        overhead_low: Some(low * 1e-4),
        overhead_high: Some(high * 1e-4),
        p_value: Some(0.01),
        permutation_p_value: None,
        adjusted_p_value: Some(0.02),
        detectable_ratio: Some(0.012),
        margin_ratio: 0.02,
        verdict: Verdict::Higher,
        reason: None,
        injected: None,
        block_ratios: Vec::new(),
    }
}
