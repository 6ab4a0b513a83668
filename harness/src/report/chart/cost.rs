//! What one request costs in CPU time, by scenario and by whose time it is.

use super::figures::{self, Figure};
use super::palette::look;
use super::rows::{self, Rows};
use super::scene::Scene;
use crate::metric::Metric;
use crate::report::{Report, format, words};
use crate::sample::Subject;

/// Whose time is shown. Load driver and harness are the experiment's, not the application's.
const SUBJECTS: [Subject; 4] = [
    Subject::Target,
    Subject::Agent,
    Subject::Total,
    Subject::Node,
];

/// Draws the chart.
pub fn draw(report: &Report, width: f64) -> Scene {
    let metric = Metric::CpuSecondsPerRequest;
    let groups = report.scenarios.iter().map(|scenario| {
        let mut rows = Vec::new();
        for subject in SUBJECTS {
            if subject == Subject::Total && !scenario.has_agent() {
                continue;
            }
            let figure = Figure {
                metric,
                subject,
                quantile: None,
            };
            let name = words::subject(subject).to_owned();
            rows.extend(figures::row(report, scenario, figure, name, look(subject)));
        }
        figures::group(report, scenario, rows)
    });
    let groups: Vec<_> = groups.collect();
    let node = groups
        .iter()
        .flat_map(|g| &g.rows)
        .any(|row| row.label == words::subject(Subject::Node));
    let mut subtitle = figures::subtitle(report);
    if node {
        subtitle += "; node is the whole machine less load driver and harness";
    }
    rows::draw(
        &Rows {
            title: title(report),
            subtitle,
            axis: "CPU time per request",
            unit: metric.unit(),
            bars: true,
            groups,
        },
        width,
    )
}

fn title(report: &Report) -> String {
    let [scenario] = report.scenarios.as_slice() else {
        return "CPU time per request, by scenario".to_owned();
    };
    match words::statistic(scenario, Metric::CpuSecondsPerRequest, Subject::Target) {
        Some(s) => {
            let point = format::estimate(s.metric.unit(), s.estimate, s.low, s.high).point;
            format!("One request costs the target {point} of CPU")
        }
        None => "CPU time per request".to_owned(),
    }
}
