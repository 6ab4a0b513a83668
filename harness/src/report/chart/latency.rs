//! Latency percentiles. Scenarios stand together under each percentile, because
//! a percentile is only ever compared with itself.

use super::figures::{self, Figure};
use super::palette::look;
use super::rows::{self, Group, Rows};
use super::scene::Scene;
use crate::metric::{Metric, QUANTILES};
use crate::report::{Report, format};
use crate::sample::Subject;

/// Draws the chart.
pub fn draw(report: &Report, width: f64) -> Scene {
    let metric = Metric::RequestDurationSeconds;
    let several = report.scenarios.len() > 1;
    let mut groups = Vec::new();
    for quantile in QUANTILES {
        let name = format::quantile(quantile);
        let rows = report.scenarios.iter().filter_map(|scenario| {
            let subject = scenario
                .statistics
                .iter()
                .find(|s| s.metric == metric)?
                .subject;
            let figure = Figure {
                metric,
                subject,
                quantile: Some(quantile),
            };
            let label = if several {
                scenario.name.clone()
            } else {
                name.clone()
            };
            figures::row(report, scenario, figure, label, look(Subject::Target))
        });
        let rows: Vec<_> = rows.collect();
        if !rows.is_empty() {
            groups.push(Group {
                name: if several { name } else { String::new() },
                note: None,
                rows,
            });
        }
    }
    // Scenarios without figures are named once, below the last percentile.
    for scenario in &report.scenarios {
        if let Some(note) = figures::note(scenario) {
            let name = if several {
                scenario.name.clone()
            } else {
                String::new()
            };
            groups.push(Group {
                name,
                note: Some(note),
                rows: Vec::new(),
            });
        }
    }
    rows::draw(
        &Rows {
            title: "Latency of a request, from its intended start to the end of its answer"
                .to_owned(),
            subtitle: figures::subtitle(report),
            axis: "latency",
            unit: metric.unit(),
            bars: false,
            groups,
        },
        width,
    )
}
