//! `compare`: two runs, and two arms of one. No measurement is made.

use std::fs;
use std::path::Path;

use flora_bench::compare::{self, Change, Changes, CompareError, Side, Way, Weight};
use flora_bench::experiment::{Experiment, Question};
use flora_bench::metric::Metric;
use flora_bench::plan::LoadDriver;
use flora_bench::report::Verdict;
use flora_bench::sample::Subject;
use flora_bench::trial::TrialStatus;
use proptest::prelude::*;

use crate::runs::{self, Run};
use crate::support::flora_bench;

const DAY: &str = "2025-01-02T03:04:05Z";

/// Runs to the end and gives exit code, standard output and standard error.
fn compare_with(arguments: &[&str], out: &Path) -> (i32, String, String) {
    let mut command = flora_bench();
    command.arg("compare").args(arguments).arg("--out").arg(out);
    crate::support::run(&mut command)
}

fn between(a: &Run, b: &Run) -> Changes {
    let (report_a, report_b) = (a.report(), b.report());
    let a = Side {
        plan: &a.0.plan,
        report: &report_a,
    };
    let b = Side {
        plan: &b.0.plan,
        report: &report_b,
    };
    compare::runs(a, b).unwrap()
}

fn arms(run: &Run, a: &str, b: &str) -> Result<Changes, CompareError> {
    let report = run.report();
    let side = Side {
        plan: &run.0.plan,
        report: &report,
    };
    compare::arms(side, a, b)
}

fn cpu<'a>(changes: &'a Changes, arm: &str, subject: Subject) -> &'a Change {
    let mut all = changes.changes.iter();
    all.find(|c| {
        (c.scenario.as_str(), c.metric, c.subject) == (arm, Metric::CpuSecondsPerRequest, subject)
    })
    .unwrap()
}

/// Costs of six blocks around a mean.
fn around(mean: f64) -> [f64; 6] {
    [0.99, 1.01, 1.002, 0.998, 1.005, 0.995].map(|factor| mean * factor)
}

/// Overheads of A's target: 10 %, of B's: 20 %; B's machine takes three times as long for everything.
fn slower_machine() -> (Run, Run) {
    let base = around(100e-6);
    let of = |name: &str, machine: f64, overhead: f64| {
        // The overhead itself varies a little from block to block.
        let wobble = [1.0, 1.001, 0.999, 1.002, 0.998, 1.0];
        let baseline = base.map(|cost| cost * machine);
        let mut flora = base.map(|cost| cost * machine * overhead);
        for (cost, wobble) in flora.iter_mut().zip(wobble) {
            *cost *= wobble;
        }
        runs::run(name, DAY, &[("baseline", &baseline), ("flora", &flora)])
    };
    (of("a", 1.0, 1.1), of("b", 3.0, 1.2))
}

#[test]
fn a_slower_machine_cancels_in_the_overhead_and_shows_in_plain_figures() {
    let (a, b) = slower_machine();
    let changes = between(&a, &b);
    let target = cpu(&changes, "flora", Subject::Target);
    let [overhead, plain] = target.figures.as_slice() else {
        panic!("{:?}", target.figures);
    };
    assert_eq!((overhead.way, plain.way), (Way::Overhead, Way::Plain));
    assert!((overhead.a - 0.1).abs() < 1e-3 && (overhead.b - 0.2).abs() < 1e-3);
    // 1.2 ÷ 1.1 − 1, and three times as much.
    assert!((overhead.change_ratio - (1.2 / 1.1 - 1.0)).abs() < 1e-3);
    assert!((plain.change_ratio - (3.0 * 1.2 / 1.1 - 1.0)).abs() < 1e-2);
    assert_eq!(target.verdict, Verdict::Higher);
    let (low, high) = (overhead.low.unwrap(), overhead.high.unwrap());
    assert!(low < overhead.change_ratio && overhead.change_ratio < high);
    assert!(
        high - low < 0.01,
        "the overhead is steady, the machine's noise cancels"
    );
    // The agent's own cost has no baseline.
    let agent = cpu(&changes, "flora", Subject::Agent);
    assert_eq!(agent.figures.len(), 1);
    assert_eq!(agent.figures[0].way, Way::Plain);
    assert_eq!(agent.verdict, Verdict::NoDifference);
    // A baseline is never a headline of a comparison of agents.
    assert!(!cpu(&changes, "baseline", Subject::Target).headline);
}

/// Log overheads ln 1.1 ± 0.01 of two blocks against ln 1.3 ± 0.02: by hand the
/// standard error is √(0.01² + 0.02²), the freedom 25/17, and the t factor of
/// SciPy's `stats.t.ppf(0.975, 25/17)` is 6.1881.
#[test]
fn welch_by_hand() {
    let ratios = |ratio: f64, d: f64| [ratio * (-d).exp(), ratio * d.exp()].map(|r| 100e-6 * r);
    let base = [100e-6, 100e-6];
    let make = |name: &str, flora: [f64; 2]| {
        runs::run(name, DAY, &[("baseline", &base), ("flora", &flora)])
    };
    let changes = between(&make("a", ratios(1.1, 0.01)), &make("b", ratios(1.3, 0.02)));
    let figure = &cpu(&changes, "flora", Subject::Target).figures[0];
    assert_eq!(figure.way, Way::Overhead);
    assert!((figure.change_ratio - (1.3 / 1.1 - 1.0)).abs() < 1e-12);
    let half = 6.188_114_940_8 * (0.01f64.powi(2) + 0.02f64.powi(2)).sqrt();
    let expected = (f64::ln(1.3 / 1.1) + half).exp() - 1.0;
    let high = figure.high.unwrap();
    assert!((high - expected).abs() < 1e-6, "{high} {expected}");
}

/// Of two searches what was searched for is compared, and nothing else that was read on the way.
#[test]
fn two_searches_are_compared_by_what_they_found() {
    let question = Question::CpuLimit {
        cores: 0.5,
        latency_bound_seconds: 0.1,
    };
    let searched = |name: &str, rate: f64| {
        let (mut run, _) = slower_machine();
        run.0.plan.run = name.into();
        run.0.plan.experiment = Some(Experiment::new(question, 1_000.0, 1));
        for trial in &mut run.0.trials {
            let slower = if trial.arm == "flora" { rate } else { 1.0 };
            let statistics = &mut trial.analysis.statistics;
            statistics.retain(|s| s.subject == Subject::Target);
            for statistic in statistics {
                if statistic.metric == Metric::CpuSecondsPerRequest {
                    statistic.metric = Metric::SustainedRequestsPerSecond;
                    statistic.value = 1_000.0 * slower * (1.0 + f64::from(trial.trial % 5) * 1e-3);
                }
            }
        }
        run
    };
    let (a, b) = (searched("a", 0.9), searched("b", 0.6));
    let changes = between(&a, &b);
    let metrics = changes.changes.iter().map(|change| change.metric);
    assert!(
        metrics
            .clone()
            .all(|m| m == Metric::SustainedRequestsPerSecond)
    );
    let out = tempfile::tempdir().unwrap();
    a.write(out.path());
    b.write(out.path());
    let (code, text, stderr) = compare_with(&["a", "b"], out.path());
    assert_eq!(code, 0, "{stderr}");
    assert!(text.contains("flora: sustains less"), "{text}");
    assert!(text.contains("Sustained rate of the target"), "{text}");
}

#[test]
fn two_arms_are_compared_block_by_block() {
    // Blocks differ tenfold; within each the second arm costs 5 % more.
    let a = [10e-6, 100e-6, 30e-6, 70e-6, 20e-6, 50e-6, 90e-6, 15e-6];
    let b = a.map(|cost| cost * 1.05);
    let run = runs::run("run", DAY, &[("baseline", &a), ("baseline-2", &b)]);
    let changes = arms(&run, "baseline", "baseline-2").unwrap();
    let change = cpu(&changes, "baseline-2", Subject::Target);
    let figure = &change.figures[0];
    assert_eq!(figure.way, Way::PairedByBlock);
    assert!((figure.change_ratio - 0.05).abs() < 1e-9);
    assert!((figure.high.unwrap() - 0.05).abs() < 1e-6);
    // Eight blocks all the same way: 2 ÷ 2⁸.
    assert!((figure.permutation_p_value.unwrap() - 2.0 / 256.0).abs() < 1e-12);
}

#[test]
fn arms_that_are_not_there_are_named() {
    let run = runs::run("run", DAY, &[("baseline", &[1e-4]), ("flora", &[1e-4])]);
    let error = arms(&run, "baseline", "no-such").unwrap_err().to_string();
    assert!(
        error.contains("no-such") && error.contains("baseline, flora"),
        "{error}"
    );
    let same = arms(&run, "flora", "flora").unwrap_err();
    assert_eq!(same, CompareError::SameArm("flora".into()));
}

#[test]
fn one_block_has_no_interval_and_is_inconclusive() {
    let make = |name, cost| {
        let (base, flora) = ([1e-4], [cost]);
        runs::run(name, DAY, &[("baseline", &base), ("flora", &flora)])
    };
    let changes = between(&make("a", 1.1e-4), &make("b", 1.9e-4));
    let change = cpu(&changes, "flora", Subject::Target);
    assert_eq!(change.verdict, Verdict::Inconclusive);
    assert!(change.reason.as_ref().unwrap().contains("a single block"));
    assert_eq!(change.figures[0].low, None);
    let changes = arms(&make("a", 1.1e-4), "baseline", "flora").unwrap();
    let change = cpu(&changes, "flora", Subject::Target);
    assert_eq!(change.verdict, Verdict::Inconclusive);
}

#[test]
fn without_a_baseline_on_both_sides_plain_figures_decide() {
    let make = |name, cost| runs::run(name, DAY, &[("flora", &around(cost))]);
    let changes = between(&make("a", 1e-4), &make("b", 2e-4));
    let change = cpu(&changes, "flora", Subject::Target);
    assert_eq!(change.figures.len(), 1);
    assert_eq!(change.figures[0].way, Way::Plain);
    assert_eq!(change.verdict, Verdict::Higher);
}

#[test]
fn what_makes_figures_incomparable_is_refused() {
    type Edit = fn(&mut Run);
    let edits: [(&str, Edit); 13] = [
        ("request rate", |run| run.0.plan.load.rate = 900.0),
        ("load driver", |run| run.0.plan.load.driver = LoadDriver::K6),
        ("warm-up", |run| run.0.plan.warmup_seconds = 2.0),
        ("window", |run| run.0.plan.measure_seconds = 20.0),
        ("slices", |run| run.0.plan.slices = 8),
        ("backend", |run| run.0.plan.backend = "kubernetes".into()),
        ("target, objects", |run| {
            run.0.plan.arms[1].target.objects = 5
        }),
        ("target, work", |run| run.0.plan.arms[0].target.work = 5),
        ("load, path", |run| {
            run.0.plan.arms[1].load.path = "/x".into()
        }),
        ("load, gzip", |run| run.0.plan.arms[1].load.gzip = true),
        ("target program", |run| {
            run.0.fingerprint.programs[0].sha256 = Some("ef".repeat(32));
        }),
        ("CPU accounting", |run| {
            run.0.fingerprint.accounting.cpu = "processes".into();
        }),
        ("number of CPUs of target", |run| {
            run.0
                .fingerprint
                .cpu_sets
                .insert("target".into(), vec![1, 2]);
        }),
    ];
    let (a, b) = slower_machine();
    for (what, edit) in edits {
        let mut b = b.clone();
        edit(&mut b);
        let changes = between(&a, &b);
        let refusals: Vec<_> = changes.refusals().map(|d| d.what.clone()).collect();
        assert!(
            refusals.len() == 1 && refusals[0].contains(what),
            "{what}: {refusals:?}"
        );
    }
    assert_eq!(between(&a, &b).differences, []);
}

#[test]
fn another_machine_warns_and_another_agent_is_what_is_compared() {
    let (a, mut b) = slower_machine();
    b.0.fingerprint.machine.cpu_model = "Model Two".into();
    b.0.fingerprint.machine.kernel = "6.9".into();
    b.0.fingerprint.machine.virtualised = true;
    b.0.fingerprint.harness.version = "0.2.0".into();
    let agent = b.0.plan.arms[1].agent.as_mut().unwrap();
    agent.version = "2.0.0".into();
    let changes = between(&a, &b);
    let of = |weight| {
        let all = changes
            .differences
            .iter()
            .filter(move |d| d.weight == weight);
        all.map(|d| d.what.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of(Weight::Refuses), Vec::<&str>::new());
    assert_eq!(
        of(Weight::Warns),
        ["CPU model", "kernel", "machine", "flora-bench"]
    );
    assert_eq!(of(Weight::Compared), ["agent of flora, version"]);
}

#[test]
fn secrets_in_an_environment_are_not_printed() {
    let (mut a, mut b) = slower_machine();
    for (run, value) in [(&mut a, "first-secret"), (&mut b, "second-secret")] {
        let env = &mut run.0.plan.arms[1].target.env;
        env.insert("API_KEY".into(), value.into());
    }
    let changes = between(&a, &b);
    let text = serde_json::to_string(&changes).unwrap();
    assert!(
        text.contains("API_KEY") && !text.contains("secret"),
        "{text}"
    );
}

#[test]
fn the_command_refuses_forces_and_warns() {
    let out = tempfile::tempdir().unwrap();
    let (a, mut b) = slower_machine();
    b.0.plan.load.rate = 900.0;
    b.0.fingerprint.machine.cpu_model = "Model Two".into();
    a.write(out.path());
    b.write(out.path());
    let (code, stdout, stderr) = compare_with(&["a", "b"], out.path());
    assert_eq!(code, 2, "{stderr}");
    assert_eq!(stdout, "");
    assert!(
        stderr.contains("request rate: 800 requests per second in A, 900"),
        "{stderr}"
    );
    assert!(
        stderr.contains("--rate 800") && stderr.contains("--force"),
        "{stderr}"
    );
    let (code, stdout, stderr) = compare_with(&["a", "b", "--force"], out.path());
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.contains("Model One in A, Model Two in B"),
        "{stderr}"
    );
    assert!(stderr.contains("request rate"), "{stderr}");
    assert!(stdout.contains("Not comparable, forced"), "{stdout}");
    assert!(
        stdout.contains("Warning: measured under different conditions"),
        "{stdout}"
    );
}

#[test]
fn the_command_prints_text_json_and_markdown() {
    let out = tempfile::tempdir().unwrap();
    let (a, b) = slower_machine();
    a.write(out.path());
    b.write(out.path());
    let (code, text, stderr) = compare_with(&["a", "b"], out.path());
    assert_eq!((code, stderr.as_str()), (0, ""), "{stderr}");
    assert!(text.contains("flora: costs more"), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    let (code, json, _) = compare_with(&["a", "b", "--format", "json"], out.path());
    assert_eq!(code, 0);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json["changes"][0]["figures"][0]["way"], "plain",
        "the baseline has no other"
    );
    let (code, markdown, _) = compare_with(&["a", "b", "--format", "markdown"], out.path());
    assert_eq!(code, 0);
    assert!(markdown.contains("| overhead |"), "{markdown}");
    let (code, text, stderr) = compare_with(&["b", "--arms", "baseline,flora"], out.path());
    assert_eq!(code, 0, "{stderr}");
    assert!(text.contains("flora against baseline"), "{text}");
}

#[test]
fn bad_runs_and_arms() {
    let out = tempfile::tempdir().unwrap();
    let (a, b) = slower_machine();
    let directory = a.write(out.path());
    b.write(out.path());
    let refused = |arguments: &[&str], expected: &str| {
        let (code, stdout, stderr) = compare_with(arguments, out.path());
        assert_eq!(code, 2, "{arguments:?}: {stdout}{stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    };
    refused(&["a"], "<RUN_B>");
    refused(&["a", "nowhere"], "nowhere");
    refused(&["a", "--arms", "flora"], "baseline,flora");
    refused(&["a", "--arms", "flora,none-such"], "none-such");
    refused(&["a", "b", "--arms", "flora,baseline"], "--arms");
    let mut other = runs::run("other", DAY, &[("elsewhere", &[1e-4])]);
    other.write(out.path());
    refused(&["a", "other"], "no arm is in both runs");
    other.0.plan.run = "newer".into();
    other.0.plan.schema_version = 99;
    other.write(out.path());
    refused(&["a", "newer"], "schema version 99");
    fs::remove_file(directory.join("trials.jsonl")).unwrap();
    refused(&["a", "b"], "trials.jsonl");
}

#[test]
fn nothing_that_counts_is_an_invalid_measurement() {
    let out = tempfile::tempdir().unwrap();
    let (mut a, b) = slower_machine();
    a.spoil("flora");
    a.spoil("baseline");
    a.write(out.path());
    b.write(out.path());
    let (code, _, stderr) = compare_with(&["a", "b"], out.path());
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("0 of 6 trials count"), "{stderr}");
}

#[test]
fn an_arm_with_too_few_trials_is_shown_and_inconclusive() {
    let (mut a, b) = slower_machine();
    let flora = a.0.trials.iter_mut().filter(|t| t.arm == "flora");
    flora.skip(2).for_each(|t| t.status = TrialStatus::Invalid);
    let changes = between(&a, &b);
    let change = cpu(&changes, "flora", Subject::Target);
    assert_eq!(change.verdict, Verdict::Inconclusive);
    assert!(
        change
            .reason
            .as_ref()
            .unwrap()
            .contains("too few trials of flora count in A")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever was measured, every number that is printed is one, and every text is made.
    #[test]
    fn nothing_is_nan(
        a in proptest::collection::vec(prop_oneof![Just(0.0), 1e-12f64..1e3, any::<f64>()], 1..5),
        b in proptest::collection::vec(prop_oneof![Just(0.0), 1e-12f64..1e3, any::<f64>()], 1..5),
        c in proptest::collection::vec(1e-12f64..1e3, 1..5),
    ) {
        let first = runs::run("a", DAY, &[("baseline", &a), ("flora", &b)]);
        let second = runs::run("b", DAY, &[("baseline", &c), ("flora", &a)]);
        for changes in [between(&first, &second), arms(&first, "baseline", "flora").unwrap()] {
            for change in &changes.changes {
                let figure = &change.figures[0];
                prop_assert!(figure.change_ratio.is_finite());
                if let (Some(low), Some(high)) = (figure.low, figure.high) {
                    prop_assert!(low <= high);
                }
            }
            // JSON has no NaN; it would be written as null.
            let json = serde_json::to_string(&changes.changes).unwrap();
            prop_assert!(!json.contains("\"change_ratio\":null"));
            prop_assert!(!compare::console::render(&changes).contains("NaN"));
            prop_assert!(!compare::markdown::render(&changes).contains("NaN"));
        }
    }

    /// Comparing a run with itself finds nothing.
    #[test]
    fn a_run_is_like_itself(costs in proptest::collection::vec(1e-5f64..1e-3, 2..6)) {
        let run = runs::run("a", DAY, &[("baseline", &costs), ("flora", &costs)]);
        for change in between(&run, &run).changes {
            prop_assert!(change.figures[0].change_ratio.abs() < 1e-9);
            prop_assert!(!matches!(change.verdict, Verdict::Higher | Verdict::Lower));
        }
    }
}
