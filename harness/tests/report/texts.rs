//! Console, Markdown and CSV against files that a person has read.

use std::path::PathBuf;

use flora_bench::report::{Report, Verdict, console, csv, markdown};
use flora_bench::sample::Subject;

use crate::fixtures;

/// Compares with `tests/golden/NAME`; with `FLORA_BENCH_BLESS=1` writes it instead.
fn golden(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("FLORA_BENCH_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} differs from what was rendered; FLORA_BENCH_BLESS=1 accepts it:\n{actual}",
        path.display()
    );
}

#[test]
fn console_of_one_scenario() {
    golden(
        "console-baseline.txt",
        &console::render(&fixtures::baseline().0),
    );
}

#[test]
fn console_of_agents() {
    golden(
        "console-agents.txt",
        &console::render(&fixtures::agents().0),
    );
}

#[test]
fn console_of_an_amplified_agent() {
    golden(
        "console-amplified.txt",
        &console::render(&fixtures::amplified().0),
    );
}

#[test]
fn markdown_of_an_amplified_agent() {
    golden(
        "markdown-amplified.md",
        &markdown::render(&fixtures::amplified().0),
    );
}

#[test]
fn console_of_searches() {
    let (rates, memory) = (fixtures::cpu_limit().0, fixtures::memory_limit().0);
    golden("console-cpu-limit.txt", &console::render(&rates));
    golden("console-memory-limit.txt", &console::render(&memory));
}

#[test]
fn markdown_of_searches() {
    golden(
        "markdown-cpu-limit.md",
        &markdown::render(&fixtures::cpu_limit().0),
    );
}

#[test]
fn markdown_of_one_scenario() {
    golden(
        "markdown-baseline.md",
        &markdown::render(&fixtures::baseline().0),
    );
}

#[test]
fn markdown_of_agents() {
    golden(
        "markdown-agents.md",
        &markdown::render(&fixtures::agents().0),
    );
}

#[test]
fn console_lines_have_at_most_100_columns() {
    for report in [
        fixtures::baseline().0,
        fixtures::agents().0,
        fixtures::many().0,
        fixtures::turns().0,
        fixtures::amplified().0,
        fixtures::cpu_limit().0,
        fixtures::saturation().0,
        fixtures::memory_limit().0,
    ] {
        for line in console::render(&report).lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}

/// The fields of a line, read as RFC 4180 has it (no line break inside a field here).
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quoted) {
            ('"', true) if chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            ('"', _) => quoted = !quoted,
            (',', false) => fields.push(std::mem::take(&mut field)),
            (c, _) => field.push(c),
        }
    }
    fields.push(field);
    fields
}

#[test]
fn csv_reads_back() {
    let mut report: Report = fixtures::agents().0;
    report.scenarios[0].name = "a \"quoted\", name".to_owned();
    let text = csv::render(&report);
    let mut lines = text.lines().map(fields);
    let header = lines.next().unwrap();
    assert_eq!(header.join(","), csv::HEADER);
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    let statistics = || {
        report
            .scenarios
            .iter()
            .flat_map(|s| s.statistics.iter().map(move |stat| (s, stat)))
    };
    let told = report
        .scenarios
        .iter()
        .filter_map(|s| s.telemetry_yield_ratio);
    // Spans, points of metrics, log records, hits in statistics, bytes, refusals.
    let delivered = report.scenarios.iter().filter(|s| s.delivered.is_some());
    let rows = statistics().count()
        + report.comparisons.len()
        + report.noise_floor.len()
        + told.count()
        + 6 * delivered.count();
    assert_eq!(text.lines().count(), 1 + rows);
    for (line, (scenario, statistic)) in lines.by_ref().zip(statistics()) {
        assert_eq!(line.len(), header.len(), "{line:?}");
        assert_eq!(line[column("kind")], "statistic");
        assert_eq!(line[column("scenario")], scenario.name);
        assert_eq!(line[column("metric")], statistic.metric.as_str());
        assert_eq!(line[column("estimate")].parse(), Ok(statistic.estimate));
        assert_eq!(line[column("high")].parse().ok(), statistic.high);
        assert_eq!(line[column("quantile")].parse().ok(), statistic.quantile);
    }
}

#[test]
fn csv_has_comparisons_and_the_noise_floor() {
    let report = fixtures::agents().0;
    let text = csv::render(&report);
    let lines: Vec<Vec<String>> = text.lines().map(fields).collect();
    let column = |name: &str| lines[0].iter().position(|column| column == name).unwrap();
    let of = |kind: &str| {
        let (kind, at) = (kind.to_owned(), column("kind"));
        lines.iter().filter(move |line| line[at] == kind)
    };
    for (line, comparison) in of("comparison").zip(&report.comparisons) {
        assert_eq!(line.len(), lines[0].len(), "{line:?}");
        assert_eq!(line[column("scenario")], comparison.scenario);
        assert_eq!(line[column("baseline")], "baseline");
        assert_eq!(line[column("estimate")].parse(), Ok(comparison.overhead));
        assert_eq!(line[column("low")].parse().ok(), comparison.overhead_low);
        assert_eq!(
            line[column("overhead_ratio")].parse(),
            Ok(comparison.overhead_ratio)
        );
        assert_eq!(line[column("ratio_high")].parse().ok(), comparison.high);
        assert_eq!(line[column("p_value")].parse().ok(), comparison.p_value);
        assert_eq!(line[column("blocks")].parse(), Ok(comparison.blocks));
        assert_eq!(line[column("headline")].parse(), Ok(comparison.headline));
        assert_eq!(
            line[column("reason")],
            comparison.reason.clone().unwrap_or_default()
        );
    }
    assert_eq!(of("comparison").count(), report.comparisons.len());
    let floor: Vec<_> = of("noise_floor").collect();
    assert_eq!(floor.len(), 1);
    assert_eq!(floor[0][column("scenario")], "baseline-twin");
    assert_eq!(floor[0][column("overhead_ratio")], "0.001");
    assert_eq!(floor[0][column("estimate")], "");
    let delivered: Vec<_> = of("delivered").collect();
    assert_eq!(delivered.len(), 6);
    for (row, metric, estimate) in [
        (0, "delivered_spans", 101_400.0 / 104_000.0),
        (1, "delivered_metric_points", 24.0 / 104_000.0),
        (5, "delivered_bodies_refused", 2.0 / 104_000.0),
    ] {
        let line = delivered[row];
        assert_eq!(line[column("metric")], metric);
        assert_eq!(line[column("unit")], "per_request");
        assert_eq!(line[column("estimate")].parse(), Ok(estimate));
    }
}

/// One sentence per verdict, with everything that it rests on.
#[test]
fn verdicts_are_sentences() {
    let mut report = fixtures::agents().0;
    report.comparisons.truncate(1);
    let mut say = |verdict, ratio: f64, base: f64, reason: Option<&str>| {
        let found = &mut report.comparisons[0];
        found.verdict = verdict;
        found.reason = reason.map(str::to_owned);
        found.overhead_ratio = ratio;
        (found.low, found.high) = (Some(ratio - 0.004), Some(ratio + 0.004));
        found.overhead = ratio * base;
        found.overhead_low = Some((ratio - 0.004) * base);
        found.overhead_high = Some((ratio + 0.004) * base);
        found.detectable_ratio = Some(0.005);
        (found.blocks, found.subject) = (12, Subject::Target);
        console::render(&report)
            .lines()
            .skip(2)
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (verdict, ratio, reason, expected) in [
        (
            Verdict::Higher,
            0.012,
            None,
            "flora adds 1.2 µs (+1.2 %, 0.8 to 1.6 %, 95 %, 12 blocks) of target CPU per request: higher; this run could have seen 0.5 %",
        ),
        (
            Verdict::Lower,
            -0.012,
            None,
            "flora saves 1.2 µs (−1.2 %, −1.6 to −0.8 %, 95 %, 12 blocks) of target CPU per request: lower; this run could have seen 0.5 %",
        ),
        (
            Verdict::NoDifference,
            0.001,
            None,
            "flora: no difference beyond ±2 % in target CPU per request (+0.1 %, −0.3 to 0.5 %, 95 %, 12 blocks); this run could have seen 0.5 %",
        ),
        (
            Verdict::Inconclusive,
            0.019,
            Some("it reaches beyond the margin of ±2 %"),
            "flora: inconclusive in target CPU per request (+1.9 %, 1.5 to 2.3 %, 95 %, 12 blocks): it reaches beyond the margin of ±2 %; this run could have seen 0.5 %",
        ),
    ] {
        let said = say(verdict, ratio, 1e-4, reason);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = said.trim_start_matches("• ");
        assert!(said.contains(expected), "{said}\n{expected}");
    }
}
