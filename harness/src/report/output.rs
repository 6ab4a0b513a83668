//! The files of a rendered run: everything that people open, written beside the records.

use std::fs;
use std::path::Path;

use super::chart::{CHARTS, ChartError};
use super::{Report, csv, html, markdown};
use crate::record::{self, RecordError};
use crate::sample::Sample;

/// What can go wrong when a report is written.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A file or directory could not be written.
    #[error(transparent)]
    Write(#[from] RecordError),
    /// A chart could not be drawn.
    #[error(transparent)]
    Chart(#[from] ChartError),
}

/// Writes `report.json`, `report.html`, `report.md`, `report.csv` and
/// `charts/*.{svg,png}` into a run directory.
///
/// Each file is written under another name and then renamed, so that a reader,
/// or a crash, never meets half a file.
pub fn render(report: &Report, samples: &[Sample], directory: &Path) -> Result<(), RenderError> {
    let charts = directory.join("charts");
    fs::create_dir_all(&charts).map_err(|source| write_error(&charts, source))?;
    let write = |name: &str, text: &str| record::write_file(&directory.join(name), text.as_bytes());
    record::write_json(&directory.join("report.json"), report)?;
    write("report.csv", &csv::render(report))?;
    write("report.md", &markdown::render(report))?;
    write("report.html", &html::render(report, samples))?;
    for chart in CHARTS {
        if !chart.applies(report) {
            // An older rendering may have had more to show.
            for ending in ["svg", "png"] {
                let _ = fs::remove_file(charts.join(format!("{}.{ending}", chart.file)));
            }
            continue;
        }
        let svg = chart.svg(report, samples);
        write(&format!("charts/{}.svg", chart.file), &svg)?;
        // The drawing library writes its file itself, and tells the format from the name.
        let png = charts.join(format!("{}.png", chart.file));
        let partial = charts.join(format!(".partial-{}.png", chart.file));
        chart.png(report, samples, &partial)?;
        fs::rename(&partial, &png).map_err(|source| write_error(&png, source))?;
    }
    Ok(())
}

fn write_error(path: &Path, source: std::io::Error) -> RecordError {
    RecordError::Write {
        path: path.to_owned(),
        source,
    }
}

/// The JSON Schema of `report.json`, with a line break at its end.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Report);
    let text = serde_json::to_string_pretty(schema.as_value());
    text.expect("a schema is JSON from the start") + "\n"
}
