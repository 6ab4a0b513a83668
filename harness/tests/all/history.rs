//! `history`: many runs as table and chart. No measurement is made.

use std::fs;
use std::path::Path;

use flora_bench::history::{self, History, Query, console, csv};
use flora_bench::metric::Metric;
use flora_bench::report::chart::{self, Shape};
use flora_bench::report::{Report, ScenarioStatus};
use flora_bench::sample::Subject;
use flora_bench::trial::TrialStatus;
use proptest::prelude::*;
use serde_json::Value;

use crate::runs::{self, Run};
use crate::support::flora_bench;

fn query() -> Query {
    Query {
        metric: Metric::CpuSecondsPerRequest,
        subject: None,
        quantile: None,
        scenarios: Vec::new(),
    }
}

/// A run of this day whose machine costs `machine` times the usual, and its agent this overhead.
fn day(day: u32, machine: f64, overhead: f64) -> Run {
    let wobble = [1.0, 1.004, 0.998, 1.002, 0.996, 1.001];
    let base = wobble.map(|wobble| 100e-6 * machine * wobble);
    let flora: Vec<f64> = base
        .iter()
        .zip([1.0, 0.998, 1.003, 0.999, 1.002, 0.997])
        .map(|(cost, wobble)| cost * (1.0 + overhead) * wobble)
        .collect();
    let twin = wobble.map(|wobble| 100e-6 * machine * wobble.powi(2));
    let mut run = runs::run(
        &format!("2025-03-{day:02}T020000Z-all"),
        &format!("2025-03-{day:02}T02:00:00Z"),
        &[
            ("baseline", &base),
            ("baseline-twin", &twin),
            ("flora", &flora),
        ],
    );
    if machine > 1.5 {
        run.0.fingerprint.machine.cpu_model = "Model Two".into();
    }
    run
}

/// Twelve days; from the seventh to the ninth on another, slower machine; the overhead doubles on the tenth.
fn days() -> Vec<Run> {
    (1..=12)
        .map(|n| {
            let slow = (7..=9).contains(&n);
            let overhead = if n >= 10 { 0.10 } else { 0.05 };
            let mut run = day(
                n,
                if slow { 2.0 } else { 1.0 },
                overhead + f64::from(n % 3) * 0.003,
            );
            if n == 4 {
                run.spoil("flora");
            }
            run
        })
        .collect()
}

fn of(runs: &[Run]) -> History {
    let reports: Vec<Report> = runs.iter().map(Run::report).collect();
    history::history(&reports, &query())
}

fn written(runs: &[Run]) -> tempfile::TempDir {
    let out = tempfile::tempdir().unwrap();
    for run in runs {
        run.write(out.path());
    }
    out
}

fn history_of(out: &Path, more: &[&str]) -> (i32, String, String) {
    let mut command = flora_bench();
    crate::support::run(command.arg("history").arg(out).args(more))
}

#[test]
fn runs_stand_in_the_order_of_time_with_their_machine() {
    let mut runs = days();
    runs.reverse();
    let history = of(&runs);
    let started: Vec<&str> = history
        .runs
        .iter()
        .map(|run| run.started.as_str())
        .collect();
    assert!(started.is_sorted());
    let machines: Vec<usize> = history.runs.iter().map(|run| run.machine).collect();
    assert_eq!(machines, [0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0]);
    assert_eq!(history.machines.len(), 2);
    assert!(history.machines[1].contains("Model Two"));
    // The twin is part of the noise, not a scenario; the baseline comes last.
    let names: Vec<&str> = history
        .scenarios
        .iter()
        .map(|s| s.scenario.as_str())
        .collect();
    assert_eq!(names, ["flora", "baseline"]);
    assert!(history.notes.iter().any(|note| note.contains("2 machines")));
}

#[test]
fn a_slower_machine_moves_the_cost_and_not_the_overhead() {
    let history = of(&[day(1, 1.0, 0.05), day(2, 2.0, 0.05)]);
    let flora = &history.scenarios[0].points;
    let baseline = &history.scenarios[1].points;
    let cost = |n: usize| baseline[n].figure.unwrap().estimate;
    assert!((cost(1) / cost(0) - 2.0).abs() < 1e-9);
    // The agent's own 5 µs weigh half as much on a machine that takes twice as long.
    assert_eq!(flora[0].subject, Subject::Total);
    let overhead = |n: usize| flora[n].overhead.unwrap();
    assert!(
        (overhead(0).estimate - 0.10).abs() < 2e-3,
        "{:?}",
        overhead(0)
    );
    assert!(
        (overhead(1).estimate - 0.075).abs() < 2e-3,
        "{:?}",
        overhead(1)
    );
    assert!(overhead(0).low.unwrap() < 0.10 && 0.10 < overhead(0).high.unwrap());
    assert!(baseline[0].detectable_ratio.is_some(), "the noise floor's");
    assert_eq!(baseline[0].overhead, None);
}

#[test]
fn what_differs_between_runs_is_a_note() {
    let mut other = day(2, 1.0, 0.05);
    other.0.plan.load.rate = 900.0;
    other.0.fingerprint.programs[0].sha256 = Some("ef".repeat(32));
    let history = of(&[day(1, 1.0, 0.05), other]);
    let notes = history.notes.join("\n");
    assert!(notes.contains("request rate (800/s, 900/s)"), "{notes}");
    assert!(notes.contains("the target's program"), "{notes}");
    assert!(!notes.contains("machines"), "{notes}");
}

#[test]
fn one_block_has_a_point_and_no_interval() {
    let run = runs::run(
        "a",
        "2025-03-01T00:00:00Z",
        &[("baseline", &[1e-4]), ("flora", &[2e-4])],
    );
    let history = of(&[run]);
    let overhead = history.scenarios[0].points[0].overhead.unwrap();
    assert_eq!((overhead.low, overhead.high), (None, None));
    assert!(console::render(&history).contains("inconclusive"));
}

#[test]
fn the_command_prints_and_draws() {
    let out = written(&days());
    std::os::unix::fs::symlink("2025-03-12T020000Z-all", out.path().join("latest")).unwrap();
    let (code, text, stderr) = history_of(out.path(), &[]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stderr}");
    assert!(text.starts_with("CPU per request, 12 runs\n"), "{text}");
    assert!(text.contains("flora, of the target + agent"), "{text}");
    assert!(text.contains("B: 4 × Model Two, kernel 6.1.0"), "{text}");
    assert!(text.contains("flora in 2025-03-04T020000Z-all"), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    let svg = fs::read_to_string(out.path().join("history.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("role=\"img\""));
    assert!(svg.contains("Model Two"));
    let png = fs::read(out.path().join("history.png")).unwrap();
    assert_eq!(png[..4], [0x89, b'P', b'N', b'G']);

    let (code, json, _) = history_of(out.path(), &["--format", "json", "--no-chart"]);
    assert_eq!(code, 0);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["runs"].as_array().unwrap().len(), 12);
    assert_eq!(json["scenarios"][0]["points"][3]["status"], "invalid");
    let (code, csv, _) = history_of(out.path(), &["--format", "csv", "--no-chart"]);
    assert_eq!(code, 0);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 24);
    assert_eq!(lines[0], csv::HEADER);
}

#[test]
fn charts_go_where_they_are_asked_to_or_nowhere() {
    let out = written(&days()[..2]);
    let elsewhere = tempfile::tempdir().unwrap();
    let to = elsewhere.path().to_str().unwrap();
    let (code, _, stderr) = history_of(out.path(), &["--output", to]);
    assert_eq!(code, 0, "{stderr}");
    assert!(elsewhere.path().join("history.svg").is_file());
    assert!(elsewhere.path().join("history.png").is_file());
    assert!(!out.path().join("history.svg").exists());
    let (code, _, _) = history_of(out.path(), &["--no-chart"]);
    assert_eq!(code, 0);
    assert!(!out.path().join("history.svg").exists());
    let (code, _, stderr) = history_of(out.path(), &["--output", "/no/such/place"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("/no/such/place"), "{stderr}");
}

#[test]
fn metric_subject_and_scenario_can_be_chosen() {
    let out = written(&days()[..2]);
    let json = |more: &[&str]| -> Value {
        let (code, text, stderr) = history_of(
            out.path(),
            &[&["--no-chart", "--format", "json"], more].concat(),
        );
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str(&text).unwrap()
    };
    let memory = json(&[
        "--metric",
        "memory_working_set_bytes",
        "--scenario",
        "flora",
    ]);
    assert_eq!(memory["scenarios"].as_array().unwrap().len(), 1);
    let point = &memory["scenarios"][0]["points"][0];
    assert_eq!(
        point["subject"], "target",
        "nobody has a total of memory here"
    );
    assert!((point["figure"]["estimate"].as_f64().unwrap() - 8e6).abs() < 1.0);
    let agent = json(&["--subject", "agent"]);
    let point = &agent["scenarios"][0]["points"][0];
    assert!((point["figure"]["estimate"].as_f64().unwrap() - 5e-6).abs() < 1e-12);
    assert_eq!(point["overhead"], Value::Null);
    let slowest = json(&[
        "--metric",
        "request_duration_seconds",
        "--quantile",
        "0.999",
    ]);
    assert_eq!(slowest["quantile"], 0.999);
    assert!(slowest["scenarios"][0]["points"][0]["overhead"].is_object());
    for (more, expected) in [
        (
            ["--scenario", "none-such"],
            "baseline, baseline-twin, flora",
        ),
        (["--metric", "luck"], "cpu_seconds_per_request"),
        (["--subject", "moon"], "target"),
        (["--quantile", "0.42"], "0.999"),
    ] {
        let (code, _, stderr) = history_of(out.path(), &more);
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn what_cannot_be_read_is_named_and_skipped() {
    let out = written(&days()[..3]);
    let mut newer = day(20, 1.0, 0.05);
    newer.0.plan.schema_version = 99;
    newer.write(out.path());
    fs::create_dir(out.path().join("notes")).unwrap();
    fs::write(out.path().join("README.md"), "not a run").unwrap();
    let cut = day(21, 1.0, 0.05).write(out.path());
    fs::write(cut.join("trials.jsonl"), "{\"trial\":1,").unwrap();
    let (code, text, stderr) = history_of(out.path(), &["--no-chart"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(text.contains("3 runs"), "{text}");
    assert!(stderr.contains("notes is skipped"), "{stderr}");
    assert!(stderr.contains("schema version 99"), "{stderr}");
    assert!(stderr.contains("trials.jsonl:1"), "{stderr}");
    assert!(!stderr.contains("README"), "{stderr}");

    let empty = tempfile::tempdir().unwrap();
    let (code, _, stderr) = history_of(empty.path(), &[]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("no run in"), "{stderr}");
    assert!(!empty.path().join("history.svg").exists());
    let (code, _, stderr) = history_of(Path::new("/no/such/place"), &[]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("/no/such/place"), "{stderr}");
}

#[test]
fn otava_gets_complete_columns() {
    let out = written(&days());
    let (code, all, stderr) = history_of(out.path(), &["--format", "otava", "--no-chart"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.contains("left out") && stderr.contains("flora.total"),
        "{stderr}"
    );
    assert!(stderr.contains("2 machines"), "{stderr}");
    let header = all.lines().next().unwrap();
    assert!(
        header.contains("baseline.target.cpu_seconds_per_request"),
        "{header}"
    );
    assert!(!header.contains("flora"), "{header}");
    assert_eq!(all.lines().count(), 13);
    // With the scenario named, the run in which it does not count goes instead.
    let (_, flora, stderr) = history_of(
        out.path(),
        &["--format", "otava", "--no-chart", "--scenario", "flora"],
    );
    assert!(!stderr.contains("left out"), "{stderr}");
    assert_eq!(flora.lines().count(), 12);
    let header = flora.lines().next().unwrap();
    assert!(
        header.contains("flora.total.cpu_seconds_per_request.over_baseline"),
        "{header}"
    );
    assert!(!header.contains("baseline.target"), "{header}");
}

/// Where everything drawn lies.
fn inside(history: &History, width: f64) {
    let scene = chart::history::draw(history, width);
    let check = |x: f64, y: f64| {
        assert!(x.is_finite() && y.is_finite());
        assert!(
            (-1.0..=scene.width + 1.0).contains(&x),
            "{x} of {}",
            scene.width
        );
        assert!(
            (-1.0..=scene.height + 1.0).contains(&y),
            "{y} of {}",
            scene.height
        );
    };
    for shape in &scene.shapes {
        match shape {
            Shape::Line { points, .. } | Shape::Area { points, .. } => {
                points.iter().for_each(|(x, y)| check(*x, *y));
            }
            Shape::Disc { center, .. } => check(center.0, center.1),
            Shape::Text {
                at,
                text,
                size,
                bold,
                ..
            } => {
                check(at.0, at.1);
                check(at.0 + chart::text_width(text, *size, *bold), at.1);
            }
        }
    }
}

#[test]
fn charts_hold_everything_at_any_length() {
    let many: Vec<Run> = (0..300)
        .map(|n| {
            let mut run = day(1 + n % 28, 1.0 + f64::from(n % 40) * 0.01, 0.05);
            run.0.fingerprint.machine.kernel = format!("6.{}", n / 20);
            run.0.plan.run = format!("run-{n}");
            run
        })
        .collect();
    let none = history::history(&[], &query());
    for history in [of(&days()), of(&days()[..1]), of(&many), none] {
        inside(&history, chart::WIDE);
        inside(&history, chart::NARROW);
    }
}

#[test]
fn a_run_without_figures_is_a_cross_and_not_a_gap_in_the_line() {
    let history = of(&days());
    let flora = &history.scenarios[0];
    assert_eq!(flora.points[3].status, ScenarioStatus::Invalid);
    assert_eq!(flora.points[3].overhead, None);
    assert!(console::render(&history).contains("invalid"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever was measured whenever, table, CSV and chart are made and hold no NaN.
    #[test]
    fn every_output_is_sound(
        costs in proptest::collection::vec(proptest::collection::vec(any::<f64>(), 1..4), 1..4),
        started in "\\PC{0,25}",
        spoilt: bool,
    ) {
        let mut made: Vec<Run> = costs
            .iter()
            .map(|costs| runs::run("r", &started, &[("baseline", costs), ("flora", costs)]))
            .collect();
        if spoilt {
            made[0].0.trials[0].status = TrialStatus::Failed;
        }
        let history = of(&made);
        let texts = [
            console::render(&history),
            csv::render(&history),
            serde_json::to_string(&history).unwrap(),
            chart::svg(&chart::history::draw(&history, chart::WIDE), "history"),
        ];
        for text in texts {
            prop_assert!(!text.contains("NaN") && !text.contains("inf,"), "{}", text);
        }
        inside(&history, chart::WIDE);
    }
}

/// `cargo test --test all history_for_people -- --ignored` writes to `target/tmp/history`.
#[test]
#[ignore = "writes files for a person to look at"]
fn history_for_people() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("history");
    for (name, runs) in [
        ("days", days()),
        ("one", days()[..1].to_vec()),
        (
            "many",
            (0..120)
                .map(|n| {
                    let mut run = day(
                        1 + n / 5,
                        1.0 + f64::from(n % 7) * 0.01,
                        0.05 + f64::from(n % 5) * 0.004,
                    );
                    run.0.plan.started =
                        format!("2025-03-{:02}T{:02}:00:00Z", 1 + n / 5, n % 5 * 4);
                    run.0.plan.run = format!("run-{n}");
                    run.0.fingerprint.machine.kernel = format!("6.{}", n % 3);
                    run
                })
                .collect(),
        ),
    ] {
        let out = directory.join(name);
        fs::create_dir_all(&out).unwrap();
        for run in &runs {
            run.write(&out);
        }
        let (code, text, stderr) = history_of(&out, &[]);
        println!("{code} {stderr}{text}{}", out.join("history.png").display());
    }
}
