//! `scenario --amplify`: what one copy of an agent's programs costs.

use flora_bench::amplification::amplification;
use flora_bench::report::{self, Payer, Slope};
use flora_bench::sample::Subject;
use flora_bench::trial::{Ledger, LedgerRow, TrialStatus};

use crate::runs::{self, REQUESTS, Run};
use crate::support::{
    flora_bench, leftovers, measuring, report, run, run_until_all_count, scenarios, script,
};

const BLOCKS: usize = 6;
/// What one copy is made to cost the target, and the load driver, in seconds per request.
const COPY: (f64, f64) = (2e-7, 3e-7);
/// What the agent costs the target beside its copies.
const BESIDE: f64 = 4e-7;
/// What the agent's own processes cost a request, however many copies there are.
const AGENT: f64 = 1e-7;

/// A run whose truth is known: the machine's mood moves whole blocks, and every
/// copy adds the same.
fn truth() -> Run {
    let arms = [
        ("baseline", 0u32),
        ("baseline-twin", 0),
        ("flora", 1),
        ("flora-x8", 8),
        ("flora-x16", 16),
    ];
    let mood = |block: u32| 2e-6 * f64::from(block * 7 % 5);
    let costs: Vec<Vec<f64>> = arms
        .iter()
        .map(|(_, copies)| {
            let beside = if *copies > 0 { BESIDE } else { 0.0 };
            (1..=BLOCKS as u32)
                .map(|block| 6e-5 + mood(block) + beside + COPY.0 * f64::from(*copies))
                .collect()
        })
        .collect();
    let named: Vec<(&str, &[f64])> = arms
        .iter()
        .zip(&costs)
        .map(|((name, _), costs)| (*name, costs.as_slice()))
        .collect();
    let mut run = runs::run("amplified", "2025-01-02T03:04:05Z", &named);
    run.0.plan.amplified = Some("flora".to_owned());
    for (arm, (_, copies)) in run.0.plan.arms.iter_mut().zip(arms) {
        if let Some(agent) = &mut arm.agent {
            agent.copies = Some(copies);
        }
    }
    for trial in &mut run.0.trials {
        let copies = arms.iter().find(|(name, _)| *name == trial.arm).unwrap().1;
        let block = trial.block as usize - 1;
        let arm = arms.iter().position(|(name, _)| *name == trial.arm);
        let target = costs[arm.unwrap()][block];
        let load = 3e-5 + COPY.1 * f64::from(copies);
        let agent = if copies > 0 { AGENT } else { 0.0 };
        let row = |subject, seconds: f64| LedgerRow {
            subject,
            cpu_seconds: seconds * REQUESTS as f64,
        };
        let mut rows = vec![row(Subject::Target, target), row(Subject::Load, load)];
        if copies > 0 {
            rows.push(row(Subject::Agent, agent));
        }
        trial.analysis.ledger = Some(Ledger {
            node_busy_seconds: (target + load + agent + 5e-6) * REQUESTS as f64,
            steal_seconds: 0.0,
            rows,
            remainder_seconds: 5e-6 * REQUESTS as f64,
            other_tasks_seconds: None,
            remainder_ratio: 0.05,
            requests: REQUESTS,
        });
    }
    run
}

fn slope(slopes: &[Slope], of: Payer) -> &Slope {
    slopes.iter().find(|slope| slope.of == of).unwrap()
}

#[test]
fn what_every_copy_adds_is_found_whoever_pays() {
    let run = truth();
    let found = amplification(&run.0).unwrap();
    assert_eq!((found.scenario.as_str(), found.blocks), ("flora", 6));
    assert_eq!(found.copies, [1, 8, 16]);
    for (payer, copy, beside) in [
        (Payer::Everyone, COPY.0 + COPY.1, BESIDE + AGENT),
        (Payer::Machine, COPY.0 + COPY.1, BESIDE + AGENT),
        (Payer::Target, COPY.0, BESIDE),
        (Payer::Load, COPY.1, 0.0),
        (Payer::Agent, 0.0, AGENT),
        (Payer::Total, COPY.0, BESIDE + AGENT),
    ] {
        let slope = slope(&found.slopes, payer);
        let close = |found: f64, truth: f64| (found - truth).abs() < 1e-12;
        assert!(close(slope.per_copy.estimate, copy), "{slope:?}");
        assert!(close(slope.beside_copies.estimate, beside), "{slope:?}");
        assert!(close(slope.two_baselines.estimate, 0.0), "{slope:?}");
        assert!(close(slope.bend.unwrap().estimate, 0.0), "{slope:?}");
        assert_eq!(slope.points.len(), BLOCKS * 3);
    }
}

/// A block in which an arm does not count says nothing of the slope.
#[test]
fn only_whole_blocks_count() {
    let mut run = truth();
    let spoilt = run.0.trials.iter_mut().find(|t| t.arm == "flora-x16");
    spoilt.unwrap().status = TrialStatus::Invalid;
    let found = amplification(&run.0).unwrap();
    assert_eq!(found.blocks, 5);
    for trial in run.0.trials.iter_mut().filter(|t| t.arm == "baseline-twin") {
        trial.status = TrialStatus::Invalid;
    }
    let found = amplification(&run.0).unwrap();
    assert_eq!((found.blocks, found.slopes.len()), (0, 0));
    run.0.plan.amplified = None;
    assert_eq!(amplification(&run.0), None);
}

/// Sixteen copies are nobody's overhead: only the agent as it is used is compared.
#[test]
fn amplified_arms_are_not_compared() {
    let report = report::build::build(&truth().0);
    assert!(report.comparisons.iter().all(|c| c.scenario == "flora"));
    assert!(!report.comparisons.is_empty());
    let told =
        |sentence: &&String| sentence.contains("labelled") || sentence.contains("experiment");
    assert!(
        report.notes.iter().any(|note| told(&note)),
        "{:?}",
        report.notes
    );
}

#[test]
fn what_cannot_be_amplified_is_refused() {
    let agent = |command: &str| {
        format!(
            "question: q\nagent: {{version: '1', scope: target, processes: [{{name: a, command: [{command}]}}]}}\n"
        )
    };
    let scenarios = scenarios(&[
        ("told", &agent("sleep, '60{copies}'")),
        ("untold", &agent("sleep, '60'")),
        ("alone", "question: q\n"),
    ]);
    let amplify = |arguments: &[&str]| {
        run(flora_bench()
            .arg("scenario")
            .args(arguments)
            .args(["--dry-run", "--rate", "100", "--scenarios"])
            .arg(scenarios.path()))
    };
    for (arguments, expected) in [
        (&["untold", "--amplify", "4"][..], "how many copies"),
        (&["alone", "--amplify", "4"][..], "how many copies"),
        (&["baseline", "--amplify", "4"][..], "exactly one scenario"),
        (
            &["told", "untold", "--amplify", "4"][..],
            "exactly one scenario",
        ),
        (&["told", "--amplify", "1"][..], "2..=64"),
        (&["told", "--amplify", "65"][..], "2..=64"),
    ] {
        let (code, _, stderr) = amplify(arguments);
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
    let (code, stdout, stderr) = amplify(&["told", "--amplify", "16"]);
    assert_eq!(code, 0, "{stderr}");
    for arm in ["baseline-twin", "  told\n", "told-x8", "told-x16"] {
        assert!(stdout.contains(arm), "{arm}: {stdout}");
    }
}

/// From the command line to the report, with an agent that only notes down what it was told.
#[test]
fn a_real_run_tells_each_arm_its_number_and_reports_a_slope() {
    let _guard = measuring();
    let directory = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    let told = directory.path().join("told");
    let program = script(
        directory.path(),
        "agent",
        &format!("echo \"$1\" >> {}; exec sleep 600", told.display()),
    );
    let text = format!(
        "question: q\nagent:\n  version: '1'\n  scope: target\n  processes:\n    - {{name: a, command: [{}, '{{copies}}']}}\n",
        program.display()
    );
    let scenarios = scenarios(&[("counted", &text)]);
    let (code, stdout, stderr) = run_until_all_count(
        flora_bench()
            .args(["scenario", "counted", "--amplify", "4", "--rate", "200"])
            .args(["--blocks", "2", "--warmup", "200ms", "--measure", "400ms"])
            .args(["--slices", "2", "--scenarios"])
            .arg(scenarios.path())
            .arg("--out")
            .arg(out.path()),
        out.path(),
    );
    assert_eq!(code, 0, "{stderr}");
    let told = std::fs::read_to_string(told).unwrap();
    for copies in ["1", "2", "4"] {
        assert!(told.lines().any(|line| line == copies), "{told}");
    }
    let report = report(out.path());
    assert!(
        report["run"]
            .as_str()
            .unwrap()
            .contains("counted-amplified")
    );
    let amplification = &report["amplification"];
    assert_eq!(amplification["scenario"], "counted");
    assert_eq!(amplification["copies"], serde_json::json!([1, 2, 4]));
    let slopes = amplification["slopes"].as_array().unwrap();
    assert_eq!(slopes.len(), 6);
    assert_eq!(slopes[0]["of"], "everyone");
    assert_eq!(slopes[0]["points"].as_array().unwrap().len(), 6);
    assert!(
        stdout.contains("Amplification, a labelled experiment"),
        "{stdout}"
    );
    assert!(out.path().join("latest/charts/amplification.svg").is_file());
    assert_eq!(leftovers(), Vec::<String>::new());
    let (code, _, stderr) = run(flora_bench()
        .args(["verify", "latest", "--out"])
        .arg(out.path()));
    assert_eq!(code, 0, "{stderr}");
}
