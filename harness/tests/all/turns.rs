//! Arms that take turns, half a second of load and a second of pause each: what is asked of their
//! trials, and what is made of them.

use flora_bench::analysis;
use flora_bench::sample::{Edge, Phase, Reading, Sample, Subject};
use flora_bench::trial::{Check, PhaseSpan, TrialAnalysis};

use crate::runs;

const TURNS: u32 = 4;
const TURN: f64 = 0.5;
const PAUSE: f64 = 1.0;
const RATE: f64 = 800.0;

/// What happened in each turn, its pause included, in CPU seconds; and how many answers came in
/// time in all.
#[derive(Clone, Copy)]
struct Happened {
    load_cpu: f64,
    steal: f64,
    in_time: f64,
}

const FINE: Happened = Happened {
    load_cpu: 0.1,
    steal: 0.0,
    in_time: RATE * TURN * TURNS as f64,
};

fn analysed(happened: Happened) -> TrialAnalysis {
    let arms: [(&str, &[f64]); 1] = [("baseline", &[1e-4])];
    let mut run = runs::run("x", "2025-01-02T03:04:05Z", &arms).0;
    run.plan.slices = TURNS;
    run.plan.pause_seconds = PAUSE;
    run.plan.measure_seconds = TURN * f64::from(TURNS);
    let own = |subject, reading, value, time| {
        Sample::new(1, Phase::Measure, subject, reading, value, time)
    };
    let counters = [
        (Subject::Target, Reading::CpuUsageSecondsTotal, 0.04),
        (
            Subject::Load,
            Reading::CpuUsageSecondsTotal,
            happened.load_cpu,
        ),
        (Subject::Node, Reading::NodeCpuIdleSecondsTotal, 2.5),
        (
            Subject::Node,
            Reading::NodeCpuStealSecondsTotal,
            happened.steal,
        ),
        (Subject::Node, Reading::NodeCpus, 0.0),
    ];
    let mut samples = Vec::new();
    for turn in 0..TURNS {
        let begins = f64::from(turn) * 2.0 * (TURN + PAUSE);
        for (subject, reading, each) in counters {
            for (edge, time, n) in [
                (Edge::Open, begins, turn),
                (Edge::Close, begins + TURN + PAUSE, turn + 1),
            ] {
                let value = match reading {
                    Reading::NodeCpus => 2.0,
                    _ => each * f64::from(n),
                };
                samples.push(Sample {
                    edge: Some(edge),
                    ..own(subject, reading, value, time)
                });
            }
        }
    }
    let answers = RATE * TURN * f64::from(TURNS);
    for (reading, value) in [
        (Reading::RequestsOffered, answers),
        (Reading::RequestsCompleted, answers),
        (Reading::RequestsCompletedInTime, happened.in_time),
        (Reading::WindowSeconds, TURN * f64::from(TURNS)),
    ] {
        samples.push(own(Subject::Load, reading, value, 20.0));
    }
    analysis::trial(&run.plan, &run.fingerprint, &samples)
}

fn check<'a>(analysis: &'a TrialAnalysis, name: &str) -> &'a Check {
    analysis.checks.iter().find(|c| c.name == name).unwrap()
}

#[test]
fn the_driver_is_busy_in_turns_only() {
    let fine = analysed(FINE);
    let driver = check(&fine, "load_driver_cpu");
    assert!(driver.passed, "{driver:?}");
    // 0.1 s of 0.5 s, whatever the pause.
    assert!(driver.detail.contains("used 20 %"), "{driver:?}");
    let busy = analysed(Happened {
        load_cpu: 0.45,
        ..FINE
    });
    assert!(!check(&busy, "load_driver_cpu").passed);
}

#[test]
fn stolen_time_is_a_share_of_all_that_was_looked_at() {
    // 0.05 s of 2 CPUs in 1.5 s: 1.67 %.
    let some = analysed(Happened {
        steal: 0.05,
        ..FINE
    });
    let steal = check(&some, "steal");
    assert!(steal.passed, "{steal:?}");
    assert!(steal.detail.contains("1.67 %"), "{steal:?}");
    let more = analysed(Happened {
        steal: 0.07,
        ..FINE
    });
    assert!(!check(&more, "steal").passed);
}

#[test]
fn a_backlog_that_is_worked_off_in_the_pause_is_no_rate_that_was_reached() {
    assert!(check(&analysed(FINE), "offered_rate").passed);
    let late = analysed(Happened {
        in_time: 0.8 * FINE.in_time,
        ..FINE
    });
    let rate = check(&late, "offered_rate");
    assert!(!rate.passed);
    assert!(rate.detail.contains("640.0 of 800.0"), "{rate:?}");
    // What it cost is a matter of all that was answered.
    assert_eq!(late.requests, FINE.in_time as u64);
}

/// Arms of a block share whatever the machine did meanwhile, so more of them make a drift no surer.
#[test]
fn a_block_is_one_point_of_a_drift() {
    let costs = [1.0, 1.02, 0.99, 1.03, 1.0, 1.04].map(|factor| 1e-4 * factor);
    let drift = |arms: &[&str]| {
        let arms: Vec<(&str, &[f64])> = arms.iter().map(|arm| (*arm, &costs[..])).collect();
        let mut run = runs::run("x", "2025-01-02T03:04:05Z", &arms);
        for trial in &mut run.0.trials {
            let start = f64::from(trial.block) * 60.0;
            trial.phases = vec![PhaseSpan {
                phase: Phase::Measure,
                start,
                end: start + 10.0,
            }];
        }
        run.report().drifts.remove(0)
    };
    let (one, four) = (drift(&["baseline"]), drift(&["baseline", "a", "b", "c"]));
    assert!(
        (one.p_value - four.p_value).abs() < 1e-9,
        "{one:?} {four:?}"
    );
    assert!((one.per_hour_ratio - four.per_hour_ratio).abs() < 1e-9);
    assert!(one.p_value > 0.1, "{one:?}");
}
