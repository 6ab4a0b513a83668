//! The programs that scenarios name: where they are, building them from a checkout.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::backend::TrialError;
use crate::program::{is_executable, on_path};
use crate::setup::recipe::Recipe;
use crate::setup::{self, Shelf};
use crate::terminal::say;

/// Programs of this workspace that scenarios name without a path.
const WORKSPACE_PROGRAMS: [&str; 2] = ["target-app", "flora-agent"];

/// Whether a scenario that says just this name means a program of this workspace.
pub fn is_program(name: &str) -> bool {
    WORKSPACE_PROGRAMS.contains(&name)
}

/// The checkout that this program was built from, when it still runs from there.
pub fn checkout() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let manifest = root.join("Cargo.toml");
    // An installed copy must not build from a checkout that happens to exist.
    let installed = env::current_exe().ok()?;
    (manifest.is_file() && target_directory(&installed).is_some()).then(|| root.to_owned())
}

/// Cargo's target directory, from the path of a program in it.
fn target_directory(program: &Path) -> Option<PathBuf> {
    program
        .ancestors()
        .skip(1)
        .find(|directory| {
            directory.join("CACHEDIR.TAG").is_file() || directory.join(".rustc_info.json").is_file()
        })
        .map(Path::to_owned)
}

/// Where a program is, or what it has to be built from.
#[derive(Debug)]
pub enum Location {
    /// It is there.
    Installed(PathBuf),
    /// It belongs to the checkout with this root.
    Workspace(PathBuf),
    /// It is built by a recipe, whose tools are there.
    Recipe(Box<Recipe>),
}

/// The program that a scenario names, built if it is this workspace's.
///
/// # Errors
/// When there is none or it can't be built, with what to do about it.
pub fn provide(name: &str) -> Result<PathBuf, TrialError> {
    match locate(name)? {
        Location::Installed(path) => Ok(path),
        Location::Workspace(root) => build(name, &root),
        Location::Recipe(recipe) => setup::provide(&recipe)
            .map(|built| built.path)
            .map_err(|error| TrialError::Missing(error.to_string())),
    }
}

/// The recipe of a program, where the checkout has one.
///
/// # Errors
/// When recipes can't be used.
pub fn recipe(name: &str) -> Result<Option<Recipe>, TrialError> {
    let Some(shelf) = Shelf::here() else {
        return Ok(None);
    };
    shelf
        .recipe(name)
        .map_err(|error| TrialError::Missing(error.to_string()))
}

/// Where a scenario's program is: a path as it stands, a program of this
/// workspace, one that a recipe builds, or an installed one beside this program.
///
/// # Errors
/// When there is none, with what to do about it.
pub fn locate(name: &str) -> Result<Location, TrialError> {
    if name.contains('/') {
        let path = PathBuf::from(name);
        return if is_executable(&path) {
            Ok(Location::Installed(path))
        } else {
            Err(TrialError::Missing(format!(
                "the program `{name}` is not there or not executable"
            )))
        };
    }
    if is_program(name)
        && let Some(root) = checkout().filter(|root| root.join(name).is_dir())
    {
        return Ok(Location::Workspace(root));
    }
    if let Some(recipe) = recipe(name)? {
        setup::build::tools(&recipe).map_err(|error| TrialError::Missing(error.to_string()))?;
        return Ok(Location::Recipe(Box::new(recipe)));
    }
    let beside = env::current_exe()
        .ok()
        .and_then(|path| Some(path.parent()?.join(name)));
    beside
        .filter(|path| is_executable(path))
        .or_else(|| on_path(name))
        .map(Location::Installed)
        .ok_or_else(|| {
            let how = if is_program(name) {
                format!("install it with `cargo install --path {name}`, or give its path")
            } else {
                "install it, or give its path".to_owned()
            };
            TrialError::Missing(format!(
                "the program `{name}` is neither beside this program nor on PATH; {how}"
            ))
        })
}

/// Says that something is built unless what this gives is dropped within a moment, as it is where
/// there is nothing to do.
fn say_if_it_takes_long(name: &str) -> mpsc::Sender<()> {
    const MOMENT: Duration = Duration::from_secs(2);
    let (until_over, waiting) = mpsc::channel();
    let line = format!("building {name} (cargo build --release --bin {name})");
    thread::spawn(move || {
        if waiting.recv_timeout(MOMENT) == Err(mpsc::RecvTimeoutError::Timeout) {
            say(line);
        }
    });
    until_over
}

/// Builds a program of the workspace, always optimised: it is what is measured.
fn build(name: &str, root: &Path) -> Result<PathBuf, TrialError> {
    let missing = |what: String| TrialError::Missing(what);
    let directory = env::current_exe()
        .ok()
        .and_then(|path| target_directory(&path))
        .unwrap_or_else(|| root.join("target"));
    let _until_over = say_if_it_takes_long(name);
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Without `-p`, cargo resolves features as `cargo run` did for this
    // program, so that every dependency is compiled once.
    let output = Command::new(cargo)
        .args(["build", "--release", "--locked", "--bin", name])
        .arg("--target-dir")
        .arg(&directory)
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| missing(format!("cannot run cargo to build {name}: {error}")))?;
    if !output.status.success() {
        return Err(missing(format!(
            "cargo could not build {name}:\n{}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        )));
    }
    Ok(directory.join("release").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_path_says_so() {
        let message = provide("./nowhere/app").unwrap_err().to_string();
        assert!(message.contains("./nowhere/app"), "{message}");
    }
}
