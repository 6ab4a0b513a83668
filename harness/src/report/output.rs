//! The files of a rendered run: everything that people open, written beside the records.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::chart::{CHARTS, ChartError};
use super::{Report, csv, html, markdown};
use crate::sample::Sample;

/// What can go wrong when a report is written.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A file or directory could not be written.
    #[error("write {path}")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The report has no JSON form.
    #[error("write {path}: the report can't be put into JSON")]
    Json {
        /// The file.
        path: PathBuf,
        /// The library's words.
        source: serde_json::Error,
    },
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
    let json = directory.join("report.json");
    let text = serde_json::to_string_pretty(report).map_err(|source| RenderError::Json {
        path: json.clone(),
        source,
    })?;
    write(&json, &(text + "\n"))?;
    write(&directory.join("report.csv"), &csv::render(report))?;
    write(&directory.join("report.md"), &markdown::render(report))?;
    write(
        &directory.join("report.html"),
        &html::render(report, samples)?,
    )?;
    for chart in CHARTS {
        write(
            &charts.join(format!("{}.svg", chart.file)),
            &chart.svg(report, samples)?,
        )?;
        let png = charts.join(format!("{}.png", chart.file));
        let partial = partial(&png);
        chart.png(report, samples, &partial)?;
        fs::rename(&partial, &png).map_err(|source| write_error(&png, source))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), RenderError> {
    let partial = partial(path);
    fs::write(&partial, text)
        .and_then(|()| fs::rename(&partial, path))
        .map_err(|source| write_error(path, source))
}

/// A name beside the file that keeps its ending, from which the drawing library tells the format.
fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".partial-{name}"))
}

fn write_error(path: &Path, source: io::Error) -> RenderError {
    RenderError::Write {
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
