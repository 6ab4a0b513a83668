//! `flora-bench setup`: builds programs of others before anything is measured.

use clap::Args;

use super::exit::{self, Failure};
use super::print;
use crate::setup::{self, SetupError, Shelf, build};

/// Build programs that come as source, and say where they are.
///
/// Whatever a scenario needs is built before it is measured, once, and kept in
/// $XDG_CACHE_HOME/flora-bench/peers. This does it ahead of time. Without names
/// it lists what there is to build.
///
/// Examples:
///   flora-bench setup
///   flora-bench setup otelcol target-app-go-otel
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Programs; their paths are printed, one a line.
    #[arg(value_name = "PROGRAM")]
    programs: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When a program has no recipe, or can't be built.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let shelf = Shelf::here().ok_or_else(|| {
        Failure::message(
            exit::MISSING,
            "recipes are part of a checkout, and this program doesn't run from one",
        )
    })?;
    let recipes = shelf.recipes().map_err(failure)?;
    if arguments.programs.is_empty() {
        let width = recipes.iter().map(|recipe| recipe.program.len()).max();
        let width = width.unwrap_or(0);
        for recipe in &recipes {
            let state = match setup::find_built(recipe) {
                Ok(Some(built)) => format!("built    {}", built.receipt.version),
                Ok(None) => format!("to build {} in about {}", recipe.version, recipe.takes),
                Err(error) => format!("missing  {error}"),
            };
            print(&format!("{:width$}  {state}\n", recipe.program))?;
        }
        return Ok(());
    }
    for name in &arguments.programs {
        let recipe = recipes.iter().find(|recipe| recipe.program == *name);
        let recipe = recipe.ok_or_else(|| {
            let known: Vec<&str> = recipes.iter().map(|one| one.program.as_str()).collect();
            Failure::message(
                exit::USAGE,
                format!(
                    "nothing builds a program `{name}`; there are recipes for: {}",
                    known.join(", ")
                ),
            )
        })?;
        let built = build::cache().and_then(|cache| build::provide(recipe, &cache));
        print(&format!("{}\n", built.map_err(failure)?.path.display()))?;
    }
    Ok(())
}

fn failure(error: SetupError) -> Failure {
    match error {
        SetupError::Recipe(_) | SetupError::Twice { .. } => Failure::new(exit::USAGE, error),
        error => Failure::new(exit::MISSING, error),
    }
}
