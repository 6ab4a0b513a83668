//! `Report` and samples → charts, each as SVG and as PNG from the same drawing.
//!
//! # Layout
//! - `amplification`, `steps`, `overhead`, `ledger`, `cost`, `latency`, `memory`, `blocks`, `timeline`: `Report` → [`Scene`]
//! - [`history`]: many runs → [`Scene`]
//! - `figures`, `rows`, `legend`, `series`, `axis`, `palette`, `font`: what they share
//! - `scene`, `svg`, `paint`: shapes, and their way to SVG and PNG

mod amplification;
mod axis;
mod blocks;
mod cost;
mod figures;
mod font;
pub mod history;
mod latency;
mod ledger;
mod legend;
mod memory;
mod overhead;
mod paint;
mod palette;
mod rows;
mod scene;
mod series;
mod steps;
mod stroke;
mod svg;
mod timeline;

use std::path::Path;

use super::{Report, claims};
use crate::experiment::Experiment;
use crate::sample::Sample;
pub use font::width as text_width;
pub use overhead::{draw_claim, draw_key};
pub use paint::{ChartError, png};
pub use scene::{Scene, Shape};
pub use svg::svg;

/// Width of a chart that stands on a page, in pixels.
pub const WIDE: f64 = 860.0;
/// Width of the same chart on a phone.
pub const NARROW: f64 = 340.0;

/// One of the charts of a run.
#[derive(Clone, Copy, Debug)]
pub struct Chart {
    /// Name of its files, without the ending.
    pub file: &'static str,
    /// What it shows.
    pub title: &'static str,
    draw: fn(&Report, &[Sample], f64) -> Scene,
    applies: fn(&Report) -> bool,
}

/// The charts, in the order in which reports show them.
pub const CHARTS: [Chart; 9] = [
    Chart {
        file: "amplification",
        title: "What one copy of the agent's programs costs",
        draw: |report, _, width| amplification::draw(report, width),
        applies: |report| {
            let amplification = report.amplification.as_ref();
            amplification.is_some_and(|a| !a.slopes.is_empty())
        },
    },
    Chart {
        file: "steps",
        title: "Throughput and latency against the offered rate",
        draw: |report, _, width| steps::draw(report, width),
        applies: |report| {
            let experiment = report.experiment.as_ref();
            experiment.is_some_and(Experiment::is_of_rates)
        },
    },
    Chart {
        file: "overhead",
        title: "Overhead of each scenario",
        draw: |report, _, width| overhead::draw(report, width),
        applies: |report| !claims::claims(report, true).is_empty(),
    },
    Chart {
        file: "ledger",
        title: "Where the CPU time of one request goes",
        draw: |report, _, width| ledger::draw(report, width),
        applies: has_windows,
    },
    Chart {
        file: "cost",
        title: "CPU time per request",
        draw: |report, _, width| cost::draw(report, width),
        applies: has_windows,
    },
    Chart {
        file: "latency",
        title: "Latency percentiles",
        draw: |report, _, width| latency::draw(report, width),
        applies: has_windows,
    },
    Chart {
        file: "memory",
        title: "Memory",
        draw: |report, _, width| memory::draw(report, width),
        applies: has_windows,
    },
    Chart {
        file: "blocks",
        title: "Every trial, block by block",
        draw: |report, _, width| blocks::draw(report, width),
        applies: |_| true,
    },
    Chart {
        file: "timeline",
        title: "Timeline of the run",
        draw: timeline::draw,
        applies: has_windows,
    },
];

/// Whether trials had one window each, of which there are costs; a search has steps.
fn has_windows(report: &Report) -> bool {
    report.experiment.is_none()
}

impl Chart {
    /// Whether it has something to show of this report.
    pub fn applies(&self, report: &Report) -> bool {
        (self.applies)(report)
    }

    /// The drawing, as wide as asked and as high as it needs.
    pub fn scene(&self, report: &Report, samples: &[Sample], width: f64) -> Scene {
        (self.draw)(report, samples, width)
    }

    /// The text of the SVG file.
    pub fn svg(&self, report: &Report, samples: &[Sample]) -> String {
        svg(&self.scene(report, samples, WIDE), self.file)
    }

    /// Writes the PNG file, whose name must end in `.png`.
    pub fn png(&self, report: &Report, samples: &[Sample], path: &Path) -> Result<(), ChartError> {
        png(&self.scene(report, samples, WIDE), path)
    }
}
