//! Memory of target and agent: the working set, and the peak since their start.

use super::figures::{self, Figure};
use super::palette::look;
use super::rows::{self, Rows};
use super::scene::Scene;
use crate::metric::{Metric, Unit};
use crate::report::{Report, words};
use crate::sample::Subject;

/// Draws the chart.
pub fn draw(report: &Report, width: f64) -> Scene {
    let groups = report.scenarios.iter().map(|scenario| {
        let mut rows = Vec::new();
        for subject in [Subject::Target, Subject::Agent, Subject::Total] {
            if subject == Subject::Total && !scenario.has_agent() {
                continue;
            }
            for (metric, name) in [
                (Metric::MemoryWorkingSetBytes, "working set"),
                (Metric::MemoryPeakBytes, "peak"),
            ] {
                let figure = Figure {
                    metric,
                    subject,
                    quantile: None,
                };
                let label = format!("{}, {name}", words::subject(subject));
                rows.extend(figures::row(report, scenario, figure, label, look(subject)));
            }
        }
        figures::group(report, scenario, rows)
    });
    rows::draw(
        &Rows {
            title: "Memory: working set in the window, and peak since the start".to_owned(),
            subtitle: figures::subtitle(report),
            axis: "memory",
            unit: Unit::Bytes,
            bars: true,
            groups: groups.collect(),
        },
        width,
    )
}
