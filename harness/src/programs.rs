//! Finding programs, building what belongs to this workspace, telling versions.

use std::env;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{AccessFlags, access};
use sha2::{Digest, Sha256};

use crate::backend::TrialError;

/// Programs of this workspace that scenarios name without a path.
const WORKSPACE_PROGRAMS: [&str; 1] = ["target-app"];

/// The first program of that name on `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
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
}

/// The program that a scenario names, built if it is this workspace's.
///
/// # Errors
/// When there is none or it can't be built, with what to do about it.
pub fn target(name: &str) -> Result<PathBuf, TrialError> {
    match locate(name)? {
        Location::Installed(path) => Ok(path),
        Location::Workspace(root) => build(name, &root),
    }
}

/// Where a scenario's program is: a path as it stands, a program of this
/// workspace, or an installed one beside this program.
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
                "the target program `{name}` is not there or not executable"
            )))
        };
    }
    if WORKSPACE_PROGRAMS.contains(&name)
        && let Some(root) = checkout()
    {
        return Ok(Location::Workspace(root));
    }
    let beside = env::current_exe()
        .ok()
        .and_then(|path| Some(path.parent()?.join(name)));
    beside
        .filter(|path| is_executable(path))
        .or_else(|| on_path(name))
        .map(Location::Installed)
        .ok_or_else(|| {
            TrialError::Missing(format!(
                "the target program `{name}` is neither beside this program nor on PATH; \
                 install it with `cargo install --path target-app`, or give its path as `target.program`"
            ))
        })
}

/// Builds a program of the workspace, always optimised: it is what is measured.
fn build(name: &str, root: &Path) -> Result<PathBuf, TrialError> {
    let missing = |what: String| TrialError::Missing(what);
    let directory = env::current_exe()
        .ok()
        .and_then(|path| target_directory(&path))
        .unwrap_or_else(|| root.join("target"));
    log::info!("building {name} (cargo build --release --bin {name})");
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

/// SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When it can't be read.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// The first line that a program prints for the given arguments.
pub fn first_line(program: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = if output.stdout.is_empty() {
        output.stderr
    } else {
        output.stdout
    };
    let text = String::from_utf8_lossy(&text);
    Some(text.lines().next()?.trim().to_owned()).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_on_the_path() {
        assert!(on_path("sh").is_some());
        assert!(on_path("no-such-program-anywhere").is_none());
    }

    #[test]
    fn a_missing_path_says_so() {
        let message = target("./nowhere/app").unwrap_err().to_string();
        assert!(message.contains("./nowhere/app"), "{message}");
    }

    #[test]
    fn hashes_as_sha256sum_does() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        // FIPS 180-4, appendix B.1.
        assert_eq!(
            sha256(file.path()).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
