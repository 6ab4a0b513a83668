//! The files of a run directory.

use std::fs;

use flora_bench::report::{Report, render, schema};

use crate::fixtures;

#[test]
fn everything_is_written_and_nothing_is_left_over() {
    let (report, samples) = fixtures::baseline();
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("charts")).unwrap();
    fs::write(directory.path().join("charts/overhead.svg"), "old").unwrap();
    // Twice, for a report may be rendered again over an older one.
    for _ in 0..2 {
        render(&report, &samples, directory.path()).unwrap();
    }
    let names = |path: &str| {
        let entries = fs::read_dir(directory.path().join(path)).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        names("."),
        [
            "charts",
            "report.csv",
            "report.html",
            "report.json",
            "report.md"
        ]
    );
    let charts = ["blocks", "cost", "latency", "ledger", "memory", "timeline"]
        .map(|n| [format!("{n}.png"), format!("{n}.svg")]);
    // Nothing was compared, so there is no overhead to draw, nor one from an older rendering.
    assert_eq!(names("charts"), charts.concat());

    let json = fs::read_to_string(directory.path().join("report.json")).unwrap();
    let read: Report = serde_json::from_str(&json).unwrap();
    assert!(read == report, "report.json loses something");
}

#[test]
fn png_has_twice_the_pixels_of_its_svg() {
    let (report, samples) = fixtures::single();
    let directory = tempfile::tempdir().unwrap();
    render(&report, &samples, directory.path()).unwrap();
    let svg = fs::read_to_string(directory.path().join("charts/cost.svg")).unwrap();
    let png = fs::read(directory.path().join("charts/cost.png")).unwrap();
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    // Width and height stand at the beginning of the first chunk.
    let size = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    let head = format!("width=\"{}\" height=\"{}\"", size(16) / 2, size(20) / 2);
    assert!(svg.contains(&head), "{head}");
}

#[test]
fn errors_name_the_path() {
    let (report, samples) = fixtures::single();
    let directory = tempfile::tempdir().unwrap();
    let blocked = directory.path().join("a-file");
    fs::write(&blocked, "").unwrap();
    let error = render(&report, &samples, &blocked).unwrap_err();
    assert!(error.to_string().contains("a-file"), "{error}");
}

#[test]
fn schema_names_what_the_report_holds() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    let report = serde_json::to_value(fixtures::agents().0).unwrap();
    for key in report.as_object().unwrap().keys() {
        assert!(schema["properties"].get(key).is_some(), "{key}");
    }
}
