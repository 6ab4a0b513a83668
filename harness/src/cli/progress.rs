//! What is seen while a run goes on: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::say;
use crate::experiment::Experiment;
use crate::metric::Metric;
use crate::plan::{Plan, TrialPlan};
use crate::report::format;
use crate::run::Progress;
use crate::sample::{Phase, Subject};
use crate::stats;
use crate::trial::{TrialRecord, TrialStatus};

/// How often a terminal is drawn anew; each time costs the harness's CPU a little.
const REDRAW: Duration = Duration::from_millis(500);

/// Watches a run for a person.
pub struct Watcher {
    bar: Option<ProgressBar>,
    trials: usize,
    blocks: u32,
    trial_seconds: f64,
    confidence: f64,
    /// The figure of the target that is shown as it comes.
    shown: Metric,
    current: String,
    /// That figure, over the trials of each arm that count.
    values: Vec<(String, Vec<f64>)>,
}

impl Watcher {
    /// A watcher of this plan.
    pub fn new(plan: &Plan) -> Self {
        let seconds = plan.estimate().trials().as_secs_f64();
        Watcher {
            bar: std::io::stderr().is_terminal().then(|| bar(seconds)),
            trials: plan.trials.len(),
            blocks: plan.blocks(),
            trial_seconds: seconds / plan.trials.len().max(1) as f64,
            confidence: plan.confidence,
            shown: plan
                .experiment
                .as_ref()
                .map_or(Metric::CpuSecondsPerRequest, Experiment::metric),
            current: String::new(),
            values: Vec::new(),
        }
    }

    /// The estimate so far of one arm, in words.
    fn running(&self, arm: &str) -> Option<String> {
        let (_, values) = self.values.iter().find(|(name, _)| name == arm)?;
        let estimate = stats::estimate(values, self.confidence)?;
        if self.shown != Metric::CpuSecondsPerRequest {
            let (low, high) = estimate.interval.unzip();
            let estimate = format::estimate(self.shown.unit(), estimate.point, low, high);
            let interval = estimate.interval.map(|interval| format!(" ({interval})"));
            return Some(estimate.point + &interval.unwrap_or_default());
        }
        let micros = estimate.point * 1e6;
        Some(match estimate.interval {
            Some((low, high)) => {
                format!(
                    "{micros:.1} ± {:.1} µs CPU per request",
                    (high - low) / 2.0 * 1e6
                )
            }
            None => format!("{micros:.1} µs CPU per request"),
        })
    }
}

/// The one place that says how the bar looks.
fn bar(total_seconds: f64) -> ProgressBar {
    let began = Instant::now();
    let left = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let left = (total_seconds - began.elapsed().as_secs_f64()).max(0.0);
        let _ = state;
        let _ = write!(out, "{}:{:02}", left as u64 / 60, left as u64 % 60);
    };
    let style = ProgressStyle::with_template("{bar:24} {msg} · {left} left")
        .expect("the template is well-formed")
        .with_key("left", left)
        .progress_chars("━╸─");
    let bar = ProgressBar::with_draw_target(
        Some((total_seconds * 10.0) as u64),
        ProgressDrawTarget::stderr_with_hz(4),
    )
    .with_style(style);
    bar.enable_steady_tick(REDRAW);
    bar
}

impl Progress for Watcher {
    fn batch(&mut self, trials: &[TrialPlan]) {
        let [first, ..] = trials else { return };
        let arms: Vec<&str> = trials.iter().map(|trial| trial.arm.as_str()).collect();
        self.current = format!("block {}/{} {}", first.block, self.blocks, arms.join(", "));
        if let Some(bar) = &self.bar {
            bar.set_position(((f64::from(first.trial) - 1.0) * self.trial_seconds * 10.0) as u64);
        }
    }

    fn phase(&mut self, phase: Phase, _seconds: Option<f64>) {
        if let Some(bar) = &self.bar {
            let mut message = format!("{} {}", self.current, phase.as_str());
            if let Some(running) = self.running(crate::scenario::BASELINE) {
                message.push_str(&format!(" · {running}"));
            }
            bar.set_message(message);
        }
    }

    fn done(&mut self, record: &TrialRecord) {
        let value = record.analysis.value(self.shown, Subject::Target);
        let outcome = match (record.status, value) {
            (TrialStatus::Valid, Some(value)) => {
                match self.values.iter_mut().find(|(name, _)| *name == record.arm) {
                    Some((_, values)) => values.push(value),
                    None => self.values.push((record.arm.clone(), vec![value])),
                }
                let running = self.running(&record.arm).unwrap_or_default();
                let own = match self.shown {
                    Metric::CpuSecondsPerRequest => format!("{:.1} µs", value * 1e6),
                    shown => format::value(shown, value),
                };
                format!("{own}; so far {running}")
            }
            (TrialStatus::Failed, _) => format!(
                "failed: {}",
                record.error.as_deref().unwrap_or("for no stated reason")
            ),
            _ => {
                let reasons: Vec<&str> = record
                    .analysis
                    .broken()
                    .map(|check| check.detail.as_str())
                    .collect();
                format!("does not count: {}", reasons.join("; "))
            }
        };
        let name = format!(
            "block {}/{} trial {}/{} {}",
            record.block, self.blocks, record.trial, self.trials, record.arm
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position((f64::from(record.trial) * self.trial_seconds * 10.0) as u64);
                if record.status != TrialStatus::Valid {
                    bar.println(format!("{name}: {outcome}"));
                }
                if record.trial as usize == self.trials {
                    bar.finish_and_clear();
                }
            }
            None => say(format_args!("{name}: {outcome}")),
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
