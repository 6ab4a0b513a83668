//! `flora-bench clean`: removes what an ended run left behind.

use clap::Args;

use super::exit::{self, Failure};
use crate::clean;

/// Remove what a run left behind that could not clean up after itself.
///
/// Processes, control groups and work directories of runs that no longer
/// live. A run that is going on is not touched; nor are results.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {}

/// Runs the command.
///
/// # Errors
/// When something can't be removed.
pub fn run(_arguments: Arguments) -> Result<(), Failure> {
    let cleaned = clean::leftovers();
    for thing in &cleaned.removed {
        super::print(&format!("removed {thing}\n"))?;
    }
    if !cleaned.failed.is_empty() {
        return Err(Failure::message(
            exit::MISSING,
            format!("could not remove {}", cleaned.failed.join("; ")),
        ));
    }
    if cleaned.removed.is_empty() {
        super::print("nothing was left behind\n")?;
    }
    Ok(())
}
