//! `flora-bench schema`: the JSON Schemas.

use clap::{Args, ValueEnum};

use super::exit::Failure;
use crate::gate::wire::WireBudgets;
use crate::scenario::wire::WireScenario;

/// Print the JSON Schema of a file.
///
/// Editors that know JSON Schema complete and check scenario files with it;
/// the same text is in docs/schema/.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Which file.
    #[arg(value_enum)]
    file: File,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum File {
    /// scenarios/NAME.yaml
    Scenario,
    /// report.json
    Report,
    /// A budgets file, for `gate`.
    Budgets,
}

/// Runs the command.
///
/// # Errors
/// When standard output can't be written to.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.file {
        File::Scenario => super::print_json(&schemars::schema_for!(WireScenario)),
        File::Report => super::print(&crate::report::schema()),
        File::Budgets => super::print_json(&schemars::schema_for!(WireBudgets)),
    }
}
