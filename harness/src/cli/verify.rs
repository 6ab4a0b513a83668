//! `flora-bench verify`: recomputes every figure from the raw samples.

use std::path::PathBuf;

use clap::Args;

use super::exit::{self, Failure};
use crate::analysis;
use crate::record::{self, Records};
use crate::report::{self, Report};
use crate::sample::Sample;
use crate::trial::TrialStatus;

/// Recompute every figure of a run from its raw samples, and say whether it agrees.
///
/// Each trial's statistics, ledger and checks are computed again from
/// samples.jsonl and compared with trials.jsonl; then the report from these
/// with report.json. Any difference is named, and the exit code is 2.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// A run directory, the name of one, or `latest`.
    #[arg(default_value = "latest")]
    run: String,

    /// Where run directories are.
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// When the run directory can't be used, or a figure does not agree.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let directory = record::resolve(&arguments.run, &arguments.out);
    let records = Records::read(&directory)?;
    let mut differences = trials(&records);
    let recorded: Report = record::read_json(&directory.join("report.json"))?;
    differences.extend(reports(&recorded, &report::build::build(&records)));
    if differences.is_empty() {
        super::print(&format!(
            "{}: {} samples, {} trials and the report agree\n",
            directory.display(),
            records.samples.len(),
            records.trials.len()
        ))
    } else {
        for difference in &differences {
            super::print(&format!("{difference}\n"))?;
        }
        Err(Failure::message(
            exit::USAGE,
            format!(
                "{} does not agree with its own samples in {} places; its files were changed after the run",
                directory.display(),
                differences.len()
            ),
        ))
    }
}

/// Differences between recorded trials and what their samples say.
fn trials(records: &Records) -> Vec<String> {
    let mut differences = Vec::new();
    for (planned, trial) in records.plan.trials.iter().zip(&records.trials) {
        let name = format!("trials.jsonl:{}: trial {}", trial.trial, trial.trial);
        if (planned.trial, planned.block, &planned.arm) != (trial.trial, trial.block, &trial.arm) {
            differences.push(format!(
                "{name} is block {} of {}, the plan has block {} of {}",
                trial.block, trial.arm, planned.block, planned.arm
            ));
        }
        if trial.status == TrialStatus::Failed {
            continue;
        }
        let samples: Vec<Sample> = records
            .samples
            .iter()
            .filter(|sample| sample.trial == trial.trial)
            .cloned()
            .collect();
        let again = analysis::trial(&records.plan, &records.fingerprint, &samples);
        if again.is_valid() != (trial.status == TrialStatus::Valid) {
            differences.push(format!(
                "{name} is recorded as {:?}, its samples say {}",
                trial.status,
                if again.is_valid() { "valid" } else { "invalid" }
            ));
        }
        differences.extend(json_differences(&name, &trial.analysis, &again));
    }
    if records.trials.len() > records.plan.trials.len() {
        differences.push(format!(
            "trials.jsonl has {} trials, the plan {}",
            records.trials.len(),
            records.plan.trials.len()
        ));
    }
    differences
}

fn reports(recorded: &Report, again: &Report) -> Vec<String> {
    json_differences("report.json", recorded, again)
}

/// Where two values differ, by their path in JSON.
fn json_differences<T: serde::Serialize>(name: &str, recorded: &T, again: &T) -> Vec<String> {
    let (recorded, again) = (
        serde_json::to_value(recorded).unwrap_or_default(),
        serde_json::to_value(again).unwrap_or_default(),
    );
    let mut differences = Vec::new();
    compare(name, "", &recorded, &again, &mut differences);
    differences
}

fn compare(
    name: &str,
    path: &str,
    recorded: &serde_json::Value,
    again: &serde_json::Value,
    differences: &mut Vec<String>,
) {
    use serde_json::Value::{Array, Object};

    match (recorded, again) {
        (Object(a), Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let missing = serde_json::Value::Null;
                compare(
                    name,
                    &format!("{path}.{key}"),
                    a.get(key).unwrap_or(&missing),
                    b.get(key).unwrap_or(&missing),
                    differences,
                );
            }
        }
        (Array(a), Array(b)) if a.len() == b.len() => {
            for (n, (a, b)) in a.iter().zip(b).enumerate() {
                compare(name, &format!("{path}[{n}]"), a, b, differences);
            }
        }
        (a, b) if a == b => {}
        (a, b) => differences.push(format!(
            "{name}: {} is {}, the samples give {}",
            path.trim_start_matches('.'),
            brief(a),
            brief(b)
        )),
    }
}

fn brief(value: &serde_json::Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
