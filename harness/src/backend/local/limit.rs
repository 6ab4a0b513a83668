//! Limits of a role's control group, as a container has them in `resources.limits`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::cgroup::{CgroupError, Group, Tree};
use crate::experiment::Limits;

/// Length of a quota's period, in microseconds: what container runtimes use.
const PERIOD_US: f64 = 100_000.0;

/// A limit can't be set.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// The group has no such controller.
    #[error(
        "{what} can't be limited here: the target has no control group with the {controller} controller; run as root where version 1 is mounted, or where /sys/fs/cgroup/cgroup.subtree_control names `{controller}`, and without --cgroups off"
    )]
    NoController {
        /// What was to be limited.
        what: &'static str,
        /// The controller.
        controller: &'static str,
    },
    /// No right to set it, or the kernel does not take it.
    #[error("{what} can't be limited here: cannot write {value} to {}: {source}; run as root", path.display())]
    Write {
        /// What was to be limited.
        what: &'static str,
        /// What was to be written.
        value: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No group to limit.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

impl Limits {
    /// Limits a group, which must be there; they go with it.
    ///
    /// # Errors
    /// When there is no controller, or no right to use it.
    pub fn apply(self, group: &Group) -> Result<(), LimitError> {
        if let Some(cores) = self.cpu_cores {
            limit_cpu(group, cores)?;
        }
        if let Some(bytes) = self.memory_bytes {
            limit_memory(group, bytes)?;
        }
        Ok(())
    }

    /// Whether a group of a run can be limited so, found out by limiting one that is removed again.
    ///
    /// # Errors
    /// When it can't.
    pub fn try_on(self, tree: Option<&Tree>) -> Result<(), LimitError> {
        let Some(tree) = tree else {
            return self.apply(&Group::found(None, None, None, None));
        };
        let group = tree.group("limit")?;
        let outcome = self.apply(&group);
        if let Err(error) = group.remove() {
            log::warn!("cannot remove a control group: {error}");
        }
        outcome
    }
}

fn limit_cpu(group: &Group, cores: f64) -> Result<(), LimitError> {
    let what = "CPU time";
    let quota = (cores * PERIOD_US).round();
    let v1 = group.cpu().filter(|path| has(path, "cpu.cfs_quota_us"));
    let v2 = group.v2().filter(|path| has(path, "cpu.max"));
    match (v1, v2) {
        (Some(path), _) => {
            write(what, path, "cpu.cfs_period_us", PERIOD_US.to_string())?;
            write(what, path, "cpu.cfs_quota_us", quota.to_string())
        }
        (None, Some(path)) => write(what, path, "cpu.max", format!("{quota} {PERIOD_US}")),
        (None, None) => Err(LimitError::NoController {
            what,
            controller: "cpu",
        }),
    }
}

fn limit_memory(group: &Group, bytes: f64) -> Result<(), LimitError> {
    let what = "memory";
    let limit = (bytes as u64).to_string();
    let v1 = group
        .memory()
        .filter(|path| has(path, "memory.limit_in_bytes"));
    let v2 = group.v2().filter(|path| has(path, "memory.max"));
    match (v1, v2) {
        (Some(path), _) => {
            write(what, path, "memory.limit_in_bytes", limit.clone())?;
            // Kernels that don't account for swap have no such file.
            if has(path, "memory.memsw.limit_in_bytes") {
                write(what, path, "memory.memsw.limit_in_bytes", limit)?;
            }
        }
        (None, Some(path)) => {
            write(what, path, "memory.max", limit)?;
            if has(path, "memory.swap.max") {
                write(what, path, "memory.swap.max", "0".into())?;
            }
        }
        (None, None) => {
            return Err(LimitError::NoController {
                what,
                controller: "memory",
            });
        }
    }
    Ok(())
}

fn has(directory: &Path, file: &str) -> bool {
    directory.join(file).exists()
}

fn write(
    what: &'static str,
    directory: &Path,
    file: &str,
    value: String,
) -> Result<(), LimitError> {
    let path = directory.join(file);
    fs::write(&path, &value).map_err(|source| LimitError::Write {
        what,
        value,
        path,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(directory.path().join(file), "").unwrap();
        }
        directory
    }

    fn text(directory: &tempfile::TempDir, file: &str) -> String {
        fs::read_to_string(directory.path().join(file)).unwrap()
    }

    const HALF: Limits = Limits {
        cpu_cores: Some(0.5),
        memory_bytes: Some(6_000_000.7),
    };

    #[test]
    fn version_1() {
        let cpu = directory(&["cpu.cfs_quota_us", "cpu.cfs_period_us"]);
        let memory = directory(&["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]);
        let path = |directory: &tempfile::TempDir| Some(directory.path().to_owned());
        let group = Group::found(None, path(&cpu), path(&memory), None);
        HALF.apply(&group).unwrap();
        assert_eq!(text(&cpu, "cpu.cfs_quota_us"), "50000");
        assert_eq!(text(&cpu, "cpu.cfs_period_us"), "100000");
        assert_eq!(text(&memory, "memory.limit_in_bytes"), "6000000");
        assert_eq!(text(&memory, "memory.memsw.limit_in_bytes"), "6000000");
    }

    #[test]
    fn version_2() {
        let own = directory(&["cpu.max", "memory.max", "memory.swap.max"]);
        let group = Group::found(None, None, None, Some(own.path().to_owned()));
        HALF.apply(&group).unwrap();
        assert_eq!(text(&own, "cpu.max"), "50000 100000");
        assert_eq!(text(&own, "memory.max"), "6000000");
        assert_eq!(text(&own, "memory.swap.max"), "0");
    }

    #[test]
    fn what_is_missing_is_named() {
        let own = directory(&["cgroup.procs"]);
        let group = Group::found(None, None, None, Some(own.path().to_owned()));
        for (limits, named) in [
            (
                Limits {
                    memory_bytes: None,
                    ..HALF
                },
                "the cpu controller",
            ),
            (
                Limits {
                    cpu_cores: None,
                    ..HALF
                },
                "the memory controller",
            ),
        ] {
            for error in [limits.apply(&group), limits.try_on(None)] {
                let error = error.unwrap_err().to_string();
                assert!(error.contains(named), "{error}");
            }
        }
        Limits::default().apply(&group).unwrap();
    }
}
