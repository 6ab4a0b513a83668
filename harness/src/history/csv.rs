//! `History` → CSV in long form: a row per scenario and run, in the metric's own unit.

use super::History;
use crate::report::csv::{number, quote};
use crate::report::{Interval, words};

/// The first line.
pub const HEADER: &str = "scenario,run,started,machine,request_rate,status,trials,metric,subject,\
                          quantile,estimate,low,high,coefficient_of_variation,overhead_ratio,\
                          overhead_low,overhead_high,verdict,detectable_ratio";

/// The text. What is not known is an empty field.
pub fn render(history: &History) -> String {
    let mut text = format!("{HEADER}\n");
    for series in &history.scenarios {
        for point in &series.points {
            let run = &history.runs[point.run];
            let parts = |interval: &Option<Interval>| match interval {
                Some(i) => [number(Some(i.estimate)), number(i.low), number(i.high)],
                None => Default::default(),
            };
            let [estimate, low, high] = parts(&point.figure);
            let [ratio, ratio_low, ratio_high] = parts(&point.overhead);
            let fields = [
                quote(&series.scenario),
                quote(&run.run),
                quote(&run.started),
                quote(&history.machines[run.machine]),
                number(Some(run.request_rate)),
                words::status(point.status).to_owned(),
                point.trials.to_string(),
                history.metric.as_str().to_owned(),
                point.subject.as_str().to_owned(),
                number(history.quantile),
                estimate,
                low,
                high,
                number(point.coefficient_of_variation),
                ratio,
                ratio_low,
                ratio_high,
                point
                    .verdict
                    .map_or(String::new(), |v| words::verdict(v).replace(' ', "_")),
                number(point.detectable_ratio),
            ];
            text += &fields.join(",");
            text.push('\n');
        }
    }
    text
}
