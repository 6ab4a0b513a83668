//! `flora-bench list`: every scenario, and whether it can run here.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::exit::Failure;
use super::{Format, print, print_json, say};
use crate::backend::local::needs;
use crate::plan::LeftOut;
use crate::scenario::Scenario;
use crate::scenario::library::{Library, LibraryError};
use crate::{program, workspace};

/// List every scenario, and whether it can run here.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Where scenario files are.
    #[arg(long, value_name = "DIR")]
    scenarios: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    question: String,
    runs_here: bool,
    missing: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When the scenario directory can't be read.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let library = super::scenario::library(arguments.scenarios);
    let entries = entries(&library, missing_here)?;
    match arguments.format {
        Format::Json => print_json(&entries),
        Format::Text => {
            let width = entries.iter().map(|entry| entry.name.len()).max();
            let width = width.unwrap_or(0);
            for entry in &entries {
                let state = if entry.runs_here {
                    "runs here"
                } else {
                    "missing  "
                };
                print(&format!(
                    "{:width$}  {state}  {}\n",
                    entry.name, entry.question
                ))?;
                for missing in &entry.missing {
                    print(&format!("{:width$}             {missing}\n", ""))?;
                }
            }
            Ok(())
        }
    }
}

/// The names of all scenarios that can run where `missing` says what one lacks. Those that can't
/// are named on standard error, with the reason.
///
/// # Errors
/// When the scenario directory can't be read.
pub fn runnable(
    library: &Library,
    missing: impl Fn(&Scenario) -> Vec<String>,
) -> Result<Vec<String>, LibraryError> {
    let (here, elsewhere): (Vec<Entry>, Vec<Entry>) = entries(library, missing)?
        .into_iter()
        .partition(|entry| entry.runs_here);
    for entry in elsewhere {
        let missing = entry.missing.join("; ");
        say(format_args!("left out: {}: {missing}", entry.name));
    }
    Ok(here.into_iter().map(|entry| entry.name).collect())
}

/// Every scenario that can't run there and is measured against this baseline,
/// for the record of a run of all.
///
/// # Errors
/// When the scenario directory can't be read.
pub fn unsupported(
    library: &Library,
    baseline: &str,
    missing: impl Fn(&Scenario) -> Vec<String>,
) -> Result<Vec<LeftOut>, LibraryError> {
    let mut left_out = Vec::new();
    for name in library.names()? {
        // One whose file can't be read is nobody's; `list` says why.
        let Ok(scenario) = library.load(&name) else {
            continue;
        };
        let missing = missing(&scenario);
        if scenario.baseline() == baseline && !missing.is_empty() {
            left_out.push(LeftOut {
                name,
                question: scenario.question,
                missing,
            });
        }
    }
    Ok(left_out)
}

fn entries(
    library: &Library,
    missing: impl Fn(&Scenario) -> Vec<String>,
) -> Result<Vec<Entry>, LibraryError> {
    Ok(library
        .names()?
        .into_iter()
        .map(|name| match library.load(&name) {
            Ok(scenario) => {
                let missing = missing(&scenario);
                Entry {
                    name,
                    question: scenario.question,
                    runs_here: missing.is_empty(),
                    missing,
                }
            }
            Err(error) => Entry {
                name,
                question: String::new(),
                runs_here: false,
                missing: vec![error.to_string()],
            },
        })
        .collect())
}

/// What a scenario needs and this machine lacks.
pub fn missing_here(scenario: &Scenario) -> Vec<String> {
    let mut missing = Vec::new();
    if let Err(error) = workspace::locate(&scenario.target.program) {
        missing.push(error.to_string());
    }
    if let Some(agent) = &scenario.agent {
        // What the scenario itself says of a program says how to get it, too.
        let programs = agent.processes.iter();
        let others = programs.filter(|one| agent.needed_program(&one.command[0]).is_none());
        for process in others {
            if let Err(error) = agent_program(&process.command[0]) {
                missing.push(error);
            }
        }
        missing.extend(needs::missing(agent));
    }
    missing
}

fn agent_program(name: &str) -> Result<(), String> {
    let recipe = workspace::recipe(name).map_err(|error| error.to_string())?;
    let there = if workspace::is_program(name) || recipe.is_some() {
        return workspace::locate(name)
            .map(|_| ())
            .map_err(|error| error.to_string());
    } else if name.contains('/') {
        std::path::Path::new(name).is_file()
    } else {
        program::on_path(name).is_some()
    };
    if there {
        Ok(())
    } else {
        Err(format!("the agent's program `{name}` is not installed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::kubernetes::images::Images;
    use crate::backend::kubernetes::system;

    #[test]
    fn what_is_left_out_is_recorded_with_its_baseline() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("baseline", "question: q\n"),
            ("plain", "question: q\n"),
            ("old", "question: why\ntarget: {program: nobodys-app}\n"),
            (
                "other",
                "question: q\nbaseline: plain\ntarget: {program: nobodys-app}\n",
            ),
        ] {
            std::fs::write(directory.path().join(format!("{name}.yaml")), text).unwrap();
        }
        let library = Library::new(directory.path());
        let missing = |arm: &Scenario| system::missing(arm, &Images::default(), |_| None);
        assert_eq!(runnable(&library, missing).unwrap(), ["baseline", "plain"]);
        let left_out = unsupported(&library, "baseline", missing).unwrap();
        let [old] = &left_out[..] else {
            panic!("{left_out:?}");
        };
        assert_eq!((old.name.as_str(), old.question.as_str()), ("old", "why"));
        assert!(old.missing[0].contains("nobodys-app"), "{old:?}");
    }
}
