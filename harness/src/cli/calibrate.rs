//! `flora-bench calibrate`: measures a known cost and says whether it was found again.

use clap::Args;

use super::exit::{self, Failure};
use super::measure::{self, BackendName, Bench, Options};
use super::{Format, print, print_json, say};
use crate::backend::Backend;
use crate::calibration::{self, Row};
use crate::clock::RunClock;
use crate::metric::Metric;
use crate::plan::{self, LoadPlan, Plan, RateSource};
use crate::record::Recorder;
use crate::report::format;
use crate::sample::Subject;
use crate::scenario::{BASELINE, Inject, Scenario, wire};
use crate::trial::TrialStatus;
use crate::{report, run};

/// Measure an injected, known cost and say whether it was found again.
///
/// The target burns a stated CPU time in every request and holds a stated
/// amount of memory: a synthetic agent whose cost is known. Each injection is
/// an arm of one run, measured against the baseline like any agent. Without
/// --inject: 0, 1, 2, 5, 20 and 100 % of the baseline's cost, and 16 MiB.
///
/// The exit code is 4 when what was found contradicts what was injected, at a
/// level of one false alarm in a thousand calibrations.
///
/// Examples:
///   flora-bench calibrate --time 5m
///   flora-bench calibrate --inject cpu=0.05,memory=16MiB --inject cpu=0 --blocks 8
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// One injection: `cpu=` a share of the baseline's cost (0.05) or a time
    /// (2us), `memory=` a size (16MiB), or both; may be repeated.
    #[arg(long, value_name = "cpu=…,memory=…", value_parser = injection)]
    inject: Vec<Injection>,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    #[command(flatten)]
    options: Options,
}

/// What one arm injects, as it was asked for.
#[derive(Clone, Debug, PartialEq)]
struct Injection {
    cpu: Cpu,
    memory_bytes: u64,
    /// The arm's name.
    name: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cpu {
    /// Of what a request of the baseline costs.
    Share(f64),
    Seconds(f64),
}

fn injection(text: &str) -> Result<Injection, String> {
    let mut injection = Injection {
        cpu: Cpu::Seconds(0.0),
        memory_bytes: 0,
        name: "synthetic".into(),
    };
    for part in text.split(',') {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| format!("`{part}` is neither `cpu=…` nor `memory=…`"))?;
        match key.trim() {
            "cpu" => {
                injection.cpu = match value.parse::<f64>() {
                    Ok(share) if (0.0..=10.0).contains(&share) => Cpu::Share(share),
                    Ok(_) => return Err(format!("cpu={value} is not between 0 and 10")),
                    Err(_) => Cpu::Seconds(
                        humantime::parse_duration(value)
                            .map_err(|error| format!("cpu={value}: {error}"))?
                            .as_secs_f64(),
                    ),
                };
                injection.name += &match injection.cpu {
                    Cpu::Share(share) => format!("-cpu-{}pct", (share * 1e6).round() / 1e4),
                    Cpu::Seconds(_) => format!("-cpu-{value}"),
                };
            }
            "memory" => {
                injection.memory_bytes = wire::bytes(value)?;
                injection.name += &format!("-memory-{}", value.replace(' ', ""));
            }
            other => return Err(format!("`{other}` can't be injected; cpu and memory can")),
        }
    }
    Ok(injection)
}

/// What is injected when nothing is asked for.
fn usual() -> Vec<Injection> {
    let shares = ["0", "0.01", "0.02", "0.05", "0.2", "1"];
    let cpu = shares.iter().map(|share| format!("cpu={share}"));
    cpu.chain(["memory=16MiB".to_owned()])
        .map(|text| injection(&text).expect("these are well-formed"))
        .collect()
}

/// Runs the command.
///
/// # Errors
/// With the exit code that the error deserves.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    measure::block_on(carry_out(arguments))
}

async fn carry_out(arguments: Arguments) -> Result<(), Failure> {
    let options = &arguments.options;
    if options.backend != BackendName::Local {
        return Err(Failure::message(
            exit::USAGE,
            "calibrate measures on this machine; in a cluster, measure the scenarios synthetic-cpu and synthetic-memory",
        ));
    }
    let injections = match arguments.inject.as_slice() {
        [] => usual(),
        given => given.to_vec(),
    };
    let library = super::scenario::library(options.scenarios.clone());
    let baseline = options.overrule(library.load(BASELINE)?);
    let load = options.load(std::slice::from_ref(&baseline))?;

    // Every arm runs before the first is measured, so that what is missing shows.
    let synthetic = |injection: &Injection, inject: Inject| {
        let mut arm = baseline.clone();
        arm.name.clone_from(&injection.name);
        arm.question = "Is an injected, known cost found again?".into();
        arm.analysis = None;
        arm.target.inject = Some(inject);
        arm
    };
    let nothing = Inject {
        cpu_seconds: 0.0,
        memory_bytes: 0,
    };
    let others = injections.iter().map(|i| synthetic(i, nothing)).collect();
    let arms = measure::arms(baseline.clone(), others);
    let groups = options.cgroups.into();
    let mut bench = Bench::take(
        &arms,
        RunClock::start(),
        &options.victoria_metrics(),
        groups,
    )?;
    let load = bench.preflight(&arms, load).await?;
    let fingerprint = bench.backend.fingerprint(&arms);
    let cpus = fingerprint.cpu_sets[Subject::Target.as_str()].len();
    let load = roomy(load, &injections, cpus);

    let cost = pilot(options, &mut bench, &baseline, &load).await?;
    say(format_args!(
        "a request costs the baseline {} of CPU",
        format::value(Metric::CpuSecondsPerRequest, cost)
    ));
    let others = injections
        .iter()
        .map(|injection| {
            let cpu_seconds = match injection.cpu {
                Cpu::Share(share) => share * cost,
                Cpu::Seconds(seconds) => seconds,
            };
            let inject = Inject {
                // What the target is told, which is whole nanoseconds.
                cpu_seconds: (cpu_seconds * 1e9).round() / 1e9,
                memory_bytes: injection.memory_bytes,
            };
            synthetic(injection, inject)
        })
        .collect();
    let arms = measure::arms(baseline, others);
    let limitations = bench.backend.limitations();
    let plan = options.draw_up("calibrate", arms, load, limitations)?;
    let mut recorder = Recorder::create(&options.out, &plan, &fingerprint)?;
    let directory = recorder.directory().to_owned();
    measure::announce(&plan, &directory);
    let end = bench
        .carry_out(&plan, &fingerprint, &mut recorder, 0)
        .await?;
    let (records, report) = measure::reported(&directory)?;
    let rows = calibration::rows(&report);
    match arguments.format {
        Format::Text => print(&table(&rows))?,
        Format::Json => print_json(&rows)?,
    }
    measure::judge(&records, &report, end)?;
    let wrong: Vec<String> = rows
        .iter()
        .filter(|row| row.contradicted)
        .map(|row| format!("{} ({})", row.scenario, row.metric.as_str()))
        .collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Failure::message(
            exit::INVALID,
            format!(
                "what was injected was not found again: {}; figures measured here can't be relied on",
                wrong.join(", ")
            ),
        ))
    }
}

/// A rate at which even the costliest arm has room, on so many CPUs.
///
/// Requests that wait for one another are answered with fewer wake-ups, so a
/// target near its capacity does not cost what it cost before plus what was
/// injected.
fn roomy(load: LoadPlan, injections: &[Injection], cpus: usize) -> LoadPlan {
    let (RateSource::Calibrated, Some(capacity)) = (load.rate_source, load.capacity) else {
        return load;
    };
    let share = |injection: &Injection| match injection.cpu {
        Cpu::Share(share) => share,
        // At its capacity a target spends all its CPUs on requests of its own.
        Cpu::Seconds(seconds) => seconds * capacity / cpus.max(1) as f64,
    };
    let most = injections.iter().map(share).fold(0.0, f64::max);
    LoadPlan {
        rate: plan::calibrated_rate(capacity / (1.0 + most)),
        ..load
    }
}

/// What a request costs the baseline at this rate: one block, kept nowhere.
async fn pilot(
    options: &Options,
    bench: &mut Bench,
    baseline: &Scenario,
    load: &LoadPlan,
) -> Result<f64, Failure> {
    let mut arms = measure::arms(baseline.clone(), Vec::new());
    for arm in &mut arms {
        arm.trials.blocks = 1;
    }
    let one_block = Options {
        time: None,
        blocks: Some(1),
        ..options.clone()
    };
    let plan: Plan = one_block.draw_up("pilot", arms, load.clone(), Vec::new())?;
    let fingerprint = bench.backend.fingerprint(&plan.arms);
    let work = bench.backend.work_directory().join("pilot");
    let mut recorder = Recorder::create(&work, &plan, &fingerprint)?;
    let backend = &mut bench.backend;
    let silent = &mut run::Silent;
    let records = run::execute(&plan, &fingerprint, backend, &mut recorder, 0, silent).await?;
    let costs: Vec<f64> = records
        .iter()
        .filter(|record| record.status == TrialStatus::Valid)
        .filter_map(|record| {
            let metric = Metric::CpuSecondsPerRequest;
            record.analysis.value(metric, Subject::Target)
        })
        .collect();
    if costs.is_empty() {
        let reasons: Vec<String> = records
            .iter()
            .flat_map(|record| {
                let failed = record.analysis.checks.iter().filter(|check| !check.passed);
                let failed = failed.map(|check| check.detail.clone());
                failed.chain(record.error.clone())
            })
            .collect();
        return Err(Failure::message(
            exit::INVALID,
            format!("the baseline could not be measured: {}", reasons.join("; ")),
        ));
    }
    Ok(costs.iter().sum::<f64>() / costs.len() as f64)
}

fn table(rows: &[Row]) -> String {
    let mut lines = vec![[
        "arm".to_owned(),
        "figure".to_owned(),
        "injected".to_owned(),
        "found".to_owned(),
        "95 % interval".to_owned(),
        "inside".to_owned(),
        "verdict".to_owned(),
    ]];
    for row in rows {
        let value = |value: f64| format::value(row.metric, value);
        lines.push([
            row.scenario.clone(),
            report::metric_name(row.metric),
            value(row.injected),
            format!(
                "{} ({})",
                value(row.found),
                format::change(row.found_ratio, None, None).point
            ),
            row.low
                .zip(row.high)
                .map_or("none".to_owned(), |(low, high)| {
                    format!("{} to {}", value(low), value(high))
                }),
            match (row.contradicted, row.inside) {
                (true, _) => "contradicted".to_owned(),
                (_, Some(true)) => "yes".to_owned(),
                (_, Some(false)) => "no".to_owned(),
                (_, None) => "unknown".to_owned(),
            },
            report::verdict_name(row.verdict).to_owned(),
        ]);
    }
    report::columns(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::LoadDriver;

    #[test]
    fn injections() {
        let both = injection("cpu=0.05,memory=16MiB").unwrap();
        assert_eq!(both.cpu, Cpu::Share(0.05));
        assert_eq!(both.memory_bytes, 16 << 20);
        assert_eq!(both.name, "synthetic-cpu-5pct-memory-16MiB");
        let time = injection("cpu=2us").unwrap();
        assert_eq!(time.cpu, Cpu::Seconds(2e-6));
        for (text, part) in [
            ("cpu", "neither"),
            ("cpu=-1", "between"),
            ("cpu=NaN", "between"),
            ("cpu=fast", "cpu=fast"),
            ("memory=16", "16 MiB"),
            ("disk=1", "disk"),
            ("", "neither"),
        ] {
            let error = injection(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(usual().len(), 7);
    }

    #[test]
    fn the_costliest_arm_has_room() {
        let rate = |texts: &[&str], rate_source, cpus| {
            let injections: Vec<_> = texts.iter().map(|text| injection(text).unwrap()).collect();
            let load = LoadPlan {
                driver: LoadDriver::Builtin,
                rate: 4_000.0,
                rate_source,
                capacity: Some(10_000.0),
            };
            roomy(load, &injections, cpus).rate
        };
        let found = RateSource::Calibrated;
        assert_eq!(rate(&["memory=16MiB"], found, 1), 4_000.0);
        assert_eq!(rate(&["cpu=0.01", "cpu=1"], found, 1), 2_000.0);
        // A request costs 100 µs of one CPU, and 400 µs with what is injected.
        assert_eq!(rate(&["cpu=300us"], found, 1), 1_000.0);
        // One of two CPUs costs 200 µs.
        assert_eq!(rate(&["cpu=300us"], found, 2), 1_600.0);
        assert_eq!(rate(&["cpu=300us"], RateSource::Given, 1), 4_000.0);
    }
}
