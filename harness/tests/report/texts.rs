//! Console, Markdown and CSV against files that a person has read.

use std::path::PathBuf;

use flora_bench::report::{Report, console, csv, markdown};

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
    for report in [fixtures::baseline().0, fixtures::agents().0] {
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
    assert_eq!(text.lines().count(), 1 + statistics().count());
    for (line, (scenario, statistic)) in lines.zip(statistics()) {
        assert_eq!(line.len(), header.len(), "{line:?}");
        assert_eq!(line[column("scenario")], scenario.name);
        assert_eq!(line[column("metric")], statistic.metric.as_str());
        assert_eq!(line[column("estimate")].parse(), Ok(statistic.estimate));
        assert_eq!(line[column("high")].parse().ok(), statistic.high);
        assert_eq!(line[column("quantile")].parse().ok(), statistic.quantile);
    }
}
