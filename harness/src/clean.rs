//! Removing what a run left behind that could not clean up after itself.
//!
//! Everything that a run makes carries its owner (see [`crate::owner`]). What
//! has a dead one goes: processes, control groups, work directories. What a
//! living run owns is not touched.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::backend::local::WorkDirectory;
use crate::backend::local::cgroup::{Hierarchies, PREFIX, remove_tree};
use crate::owner::{self, Owner};

/// What was removed, in words, and what could not be.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// One entry a thing.
    pub removed: Vec<String>,
    /// One entry a thing, with the reason.
    pub failed: Vec<String>,
}

/// Removes everything whose owner is dead.
pub fn leftovers() -> Cleaned {
    let mut cleaned = Cleaned::default();
    for (pid, owner) in processes() {
        if owner.is_alive() {
            continue;
        }
        match kill(Pid::from_raw(pid), Signal::SIGKILL) {
            Ok(()) => cleaned.removed.push(format!(
                "process {pid} of the run of process {}",
                owner.pid()
            )),
            Err(nix::errno::Errno::ESRCH) => {}
            Err(error) => cleaned.failed.push(format!("process {pid}: {error}")),
        }
    }
    let parents = group_parents();
    for path in owned(parents.iter().map(PathBuf::as_path)) {
        match remove_tree(&path) {
            Ok(()) => cleaned
                .removed
                .push(format!("control group {}", path.display())),
            Err(error) => cleaned
                .failed
                .push(format!("control group {}: {error}", path.display())),
        }
    }
    for path in owned([WorkDirectory::parent().as_path()]) {
        match fs::remove_dir_all(&path) {
            Ok(()) => cleaned
                .removed
                .push(format!("work directory {}", path.display())),
            Err(error) => cleaned
                .failed
                .push(format!("work directory {}: {error}", path.display())),
        }
    }
    cleaned
}

/// Every process that carries an owner and is not that owner itself.
fn processes() -> Vec<(i32, Owner)> {
    let prefix = format!("{}=", owner::VARIABLE);
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            // Unreadable means somebody else's, and not ours to end.
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let text = String::from_utf8_lossy(&environment).into_owned();
            let owner = text
                .split('\0')
                .find_map(|variable| variable.strip_prefix(&prefix))?;
            let owner = Owner::parse(owner)?;
            (pid != std::process::id() as i32).then_some((pid, owner))
        })
        .collect()
}

/// Where runs make their groups. The harness may have been started from
/// another group than this process, so the whole tree is looked through.
fn group_parents() -> BTreeSet<PathBuf> {
    let hierarchies = Hierarchies::discover();
    let mut parents = BTreeSet::new();
    let roots = hierarchies
        .v1_roots
        .iter()
        .filter(|(controller, _)| ["cpuacct", "cpu", "memory"].contains(&controller.as_str()))
        .map(|(_, root)| root.clone())
        .chain(hierarchies.v2.map(|(root, _)| root));
    for root in roots {
        collect_directories(&root, 0, &mut parents);
    }
    parents
}

fn collect_directories(directory: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) {
    /// Deeper than any service manager or container runtime nests.
    const DEPTH_MAX: usize = 12;
    if depth > DEPTH_MAX || !found.insert(directory.to_owned()) {
        return;
    }
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_directories(&entry.path(), depth + 1, found);
        }
    }
}

/// Directories below the parents that carry a dead owner's name.
fn owned<'a>(parents: impl IntoIterator<Item = &'a Path>) -> Vec<PathBuf> {
    parents
        .into_iter()
        .filter_map(|parent| fs::read_dir(parent).ok())
        .flat_map(|entries| entries.flatten())
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .and_then(|name| Owner::parse(name.strip_prefix(PREFIX)?))
                .is_some_and(|owner| !owner.is_alive())
        })
        .map(|entry| entry.path())
        .collect()
}
