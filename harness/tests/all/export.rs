//! `export`: what other tools read, and that benchstat really does. No measurement is made.

use std::fs;
use std::path::Path;
use std::process::Command;

use flora_bench::export::{bencher, figures, github_action_benchmark, go_bench, otava};
use flora_bench::trial::TrialStatus;
use proptest::prelude::*;
use serde_json::Value;

use crate::runs::{self, Run};
use crate::support::{flora_bench, skip};

const DAY: &str = "2025-01-02T03:04:05Z";
const BASELINE: [f64; 5] = [100e-6, 104e-6, 98e-6, 101e-6, 103e-6];
const FLORA: [f64; 5] = [110e-6, 115e-6, 108e-6, 111e-6, 119e-6];

fn agents() -> Run {
    runs::run("agents", DAY, &[("baseline", &BASELINE), ("flora", &FLORA)])
}

fn export(run: &Run, form: &str, more: &[&str]) -> (i32, String, String) {
    let out = tempfile::tempdir().unwrap();
    let directory = run.write(out.path());
    let mut command = flora_bench();
    command.arg("export").arg(directory);
    command.args(["--as", form]).args(more);
    crate::support::run(&mut command)
}

#[test]
fn go_bench_has_a_line_for_each_trial_that_counts() {
    let mut run = agents();
    run.0.trials[1].status = TrialStatus::Invalid;
    let (code, text, stderr) = export(&run, "go-bench", &[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let of = |start: &str| text.lines().filter(|l| l.starts_with(start)).count();
    assert_eq!(of("BenchmarkScenario/scenario=baseline/of=target-1 "), 5);
    assert_eq!(of("BenchmarkScenario/scenario=flora/of=target-1 "), 4);
    assert_eq!(of("BenchmarkScenario/scenario=flora/of=agent-1 "), 4);
    assert_eq!(of("BenchmarkScenario/scenario=flora/of=total-1 "), 4);
    assert_eq!(of("BenchmarkScenario/scenario=baseline/of=total-1 "), 0);
    for header in [
        "goos: linux",
        "goarch: ",
        "pkg: flora-bench",
        "cpu: Model One",
    ] {
        assert!(text.contains(&format!("\n{header}")), "{text}");
    }
    assert!(text.contains("Unit cpu-ns/op better=lower\n"), "{text}");
    // 100 µs, 8 000 requests, 8 MB.
    let line = text
        .lines()
        .find(|l| l.contains("baseline/of=target"))
        .unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[1], "8000");
    assert!(
        (words[2].parse::<f64>().unwrap() - 100_000.0).abs() < 1e-6,
        "{line}"
    );
    assert_eq!(words[3], "cpu-ns/op");
    assert!(line.contains(" 8000000 working-set-bytes"), "{line}");
    assert!(line.contains(" p99.9-ns"), "{line}");
}

/// benchstat's table as CSV, in cells.
fn benchstat(directory: &Path, text: &str) -> Option<Vec<Vec<String>>> {
    let Some(program) = flora_bench::program::on_path("benchstat") else {
        skip("benchstat_reads_it", "no benchstat");
        return None;
    };
    let file = directory.join("bench.txt");
    fs::write(&file, text).unwrap();
    let output = Command::new(program)
        .args(["-format", "csv", "-row", "/of"])
        .args(["-col", "/scenario@(baseline flora)"])
        .arg(file)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    let text = String::from_utf8(output.stdout).unwrap();
    Some(
        text.lines()
            .map(|line| line.split(',').map(str::to_owned).collect())
            .collect(),
    )
}

#[test]
fn benchstat_reads_it_and_sets_two_arms_side_by_side() {
    let directory = tempfile::tempdir().unwrap();
    let (_, text, _) = export(&agents(), "go-bench", &[]);
    let Some(rows) = benchstat(directory.path(), &text) else {
        return;
    };
    let head = rows
        .iter()
        .position(|row| row.len() > 3 && row[1] == "baseline");
    let head = head.unwrap_or_else(|| panic!("{rows:?}"));
    assert_eq!(rows[head][3], "flora");
    // It takes nanoseconds to seconds, and knows the unit by what is left of its name.
    assert_eq!(rows[head + 1][1], "cpu-sec/op");
    let target = rows.iter().find(|row| row[0] == "target").unwrap();
    let number = |n: usize| target[n].parse::<f64>().unwrap();
    // Medians of the five costs of each.
    assert!((number(1) - 101e-6).abs() < 1e-12, "{target:?}");
    assert!((number(3) - 111e-6).abs() < 1e-12, "{target:?}");
    // 111 ÷ 101 − 1, and all five above all five: p = 2 ÷ C(10, 5).
    assert_eq!(target[5], "+9.90%");
    assert!(target[6].starts_with("p=0.008 n=5"), "{target:?}");
}

#[test]
fn bencher_has_a_benchmark_for_each_scenario_and_subject() {
    let (code, text, _) = export(&agents(), "bencher", &[]);
    assert_eq!(code, 0);
    let json: Value = serde_json::from_str(&text).unwrap();
    let target = &json["flora/target"];
    let cost = &target["cpu-seconds-per-request"];
    let (low, value, high) = (
        cost["lower_value"].as_f64().unwrap(),
        cost["value"].as_f64().unwrap(),
        cost["upper_value"].as_f64().unwrap(),
    );
    // The geometric mean of the five costs.
    assert!((value - 112.533e-6).abs() < 1e-9, "{value}");
    assert!(low < value && value < high);
    let overhead = &target["cpu-seconds-per-request-overhead-ratio"]["value"];
    assert!(
        (overhead.as_f64().unwrap() - 0.112_4).abs() < 1e-3,
        "{overhead}"
    );
    assert!(target["request-duration-seconds-p99-9"]["value"].is_f64());
    assert_eq!(
        json["baseline/target"]["cpu-seconds-per-request-overhead-ratio"],
        Value::Null
    );
    // The format allows these keys and no others, names of up to 64 characters.
    for measures in json.as_object().unwrap().values() {
        for (name, measure) in measures.as_object().unwrap() {
            assert!(name.len() <= 64 && !name.contains(['_', '.']), "{name}");
            let keys = measure.as_object().unwrap().keys();
            for key in keys {
                assert!(["value", "lower_value", "upper_value"].contains(&key.as_str()));
            }
        }
    }
}

#[test]
fn github_action_benchmark_has_points_in_fixed_units() {
    let (code, text, _) = export(&agents(), "github-action-benchmark", &[]);
    assert_eq!(code, 0);
    let json: Value = serde_json::from_str(&text).unwrap();
    let points = json.as_array().unwrap();
    let point = |name: &str| points.iter().find(|p| p["name"] == name).unwrap();
    let cost = point("flora/target cpu_seconds_per_request");
    assert_eq!(cost["unit"], "µs");
    assert!((cost["value"].as_f64().unwrap() - 112.533).abs() < 1e-3);
    assert!(cost["range"].as_str().unwrap().contains(" to "));
    assert!(
        cost["extra"]
            .as_str()
            .unwrap()
            .contains("over baseline: +11 %"),
        "{cost}"
    );
    let memory = point("flora/target memory_working_set_bytes");
    assert_eq!(memory["unit"], "MiB");
    assert!((memory["value"].as_f64().unwrap() - 8e6 / 1_048_576.0).abs() < 1e-9);
}

#[test]
fn otava_has_a_row_and_an_output_file_can_be_named() {
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("run.csv");
    let (code, stdout, stderr) = export(&agents(), "otava", &["--output", path.to_str().unwrap()]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "", ""));
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split(',').collect()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].len(), lines[1].len());
    assert_eq!(lines[0][..3], ["time", "run", "machine"]);
    assert_eq!(lines[1][..2], [DAY, "agents"]);
    let name = "flora.target.cpu_seconds_per_request.over_baseline";
    let column = lines[0].iter().position(|c| *c == name).unwrap();
    let value: f64 = lines[1][column].parse().unwrap();
    assert!((value - 1.112_4).abs() < 1e-3, "{value}");
}

#[test]
fn what_cannot_be_used_is_not_exported() {
    let mut run = agents();
    run.spoil("flora");
    for form in ["go-bench", "bencher", "github-action-benchmark", "otava"] {
        let (code, text, stderr) = export(&run, form, &[]);
        assert_eq!(code, 0, "{stderr}");
        assert!(
            !text.contains("flora/") && !text.contains("scenario=flora"),
            "{text}"
        );
        assert!(stderr.contains("flora is not exported"), "{stderr}");
        assert!(stderr.contains("0 of 5 trials count"), "{stderr}");
    }
    run.spoil("baseline");
    let (code, stdout, stderr) = export(&run, "bencher", &[]);
    assert_eq!((code, stdout.as_str()), (4, ""), "{stderr}");
}

#[test]
fn bad_runs_and_forms() {
    let (code, _, stderr) = export(&agents(), "junit", &[]);
    assert_eq!(code, 2);
    assert!(stderr.contains("go-bench"), "{stderr}");
    let (code, _, stderr) = export(&agents(), "otava", &["--output", "/no/such/place/x.csv"]);
    assert_eq!(code, 3);
    assert!(stderr.contains("/no/such/place"), "{stderr}");
    let mut run = agents();
    run.0.plan.schema_version = 99;
    let (code, _, stderr) = export(&run, "bencher", &[]);
    assert_eq!(code, 2);
    assert!(stderr.contains("schema version 99"), "{stderr}");
    let (code, _, stderr) =
        crate::support::run(flora_bench().args(["export", "no-such-run", "--as", "bencher"]));
    assert_eq!(code, 2);
    assert!(stderr.contains("no-such-run"), "{stderr}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever names and figures there are: every format is made, holds no NaN,
    /// and its lines have the fields that they should.
    #[test]
    fn every_format_is_sound(
        costs in proptest::collection::vec(any::<f64>(), 1..4),
        name in "\\PC{1,12}",
    ) {
        let run = runs::run(&name, DAY, &[("baseline", &costs), (&format!("x{name}"), &costs)]);
        let report = run.report();
        for line in go_bench::render(&report).lines().filter(|l| l.starts_with("Benchmark")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            prop_assert!(words.len() >= 4 && words.len().is_multiple_of(2), "{}", line);
            for value in words[2..].iter().step_by(2) {
                prop_assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{}", line);
            }
        }
        let csv = otava::render(&[&report, &report], &[]).text;
        let commas: Vec<usize> = csv.lines().map(|line| line.matches(',').count()).collect();
        prop_assert_eq!(commas.len(), 3);
        prop_assert!(commas.iter().all(|n| *n == commas[0]), "{}", csv);
        prop_assert!(!csv.contains("NaN"));
        let json = serde_json::to_string(&bencher::benchmarks(&report)).unwrap();
        prop_assert!(!json.contains("null"));
        let points = github_action_benchmark::points(&report);
        prop_assert!(points.len() <= figures(&report).count());
        prop_assert!(!serde_json::to_string(&points).unwrap().contains("null"));
    }
}
