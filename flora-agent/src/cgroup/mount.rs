//! Where the hierarchy of version 2 is mounted.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// A mount of type `cgroup2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The control group that is seen at the mount point: `/`, unless only a part is mounted.
    pub root: PathBuf,
    /// The mount point.
    pub point: PathBuf,
}

/// Why there is no hierarchy to work with.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The list can't be read.
    #[error("cannot read /proc/self/mountinfo: {0}")]
    Read(#[from] io::Error),
    /// Nothing in it.
    #[error(
        "no cgroup2 hierarchy is mounted here; it is where programs are attached \
         (mount -t cgroup2 none /sys/fs/cgroup/unified, or boot with systemd.unified_cgroup_hierarchy=1)"
    )]
    None,
    /// The group is outside what is mounted.
    #[error(
        "the control group {0} is outside of what is mounted here; \
         run in the host's cgroup namespace, with its /sys/fs/cgroup"
    )]
    Outside(PathBuf),
}

impl Mount {
    /// The mount of this process's mount namespace that shows most.
    ///
    /// # Errors
    /// [`MountError`]
    pub fn find() -> Result<Self, MountError> {
        let text = fs::read_to_string("/proc/self/mountinfo")?;
        // The shortest root shows most.
        mounts(&text)
            .min_by_key(|mount| mount.root.components().count())
            .ok_or(MountError::None)
    }

    /// The directory of a control group, as `/proc/PID/cgroup` names it.
    ///
    /// # Errors
    /// [`MountError::Outside`]
    pub fn directory(&self, group: &Path) -> Result<PathBuf, MountError> {
        let outside = || MountError::Outside(group.to_owned());
        // Names beyond the own cgroup namespace begin with `/..`.
        if group.components().any(|part| part == Component::ParentDir) {
            return Err(outside());
        }
        let inner = group.strip_prefix(&self.root).map_err(|_| outside())?;
        Ok(self.point.join(inner))
    }

    /// The name of a directory's control group: `/` and what is below the mount point.
    pub fn group(&self, directory: &Path) -> PathBuf {
        match directory.strip_prefix(&self.point) {
            Ok(inner) => self.root.join(inner),
            Err(_) => directory.to_owned(),
        }
    }
}

/// The mounts of type `cgroup2` in a mountinfo file (proc_pid_mountinfo(5)).
fn mounts(text: &str) -> impl Iterator<Item = Mount> {
    text.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        if after.split(' ').next()? != "cgroup2" {
            return None;
        }
        let mut fields = before.split(' ').skip(3);
        Some(Mount {
            root: unescape(fields.next()?).into(),
            point: unescape(fields.next()?).into(),
        })
    })
}

/// Spaces, tabs, newlines and backslashes are written as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let code = rest
            .get(1..4)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) if code.is_ascii() => {
                out.push(char::from(code));
                rest = &rest[4..];
            }
            _ => {
                out.push('\\');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The control group of version 2 in a `/proc/PID/cgroup` file.
pub fn group_of(text: &str) -> Option<PathBuf> {
    let line = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    // The kernel marks a group that has been removed.
    Some(line.strip_suffix(" (deleted)").unwrap_or(line).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
40 31 0:41 /docker/0a /mnt/a\\040b rw,relatime shared:9 - cgroup2 cgroup2 rw
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn the_mount_that_shows_most() {
        let all: Vec<_> = mounts(HYBRID).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].point, Path::new("/mnt/a b"));
        assert_eq!(all[1].root, Path::new("/"));
    }

    #[test]
    fn directories_and_groups() {
        let mount = Mount {
            root: "/docker/0a".into(),
            point: "/mnt".into(),
        };
        let directory = mount.directory(Path::new("/docker/0a/x")).unwrap();
        assert_eq!(directory, Path::new("/mnt/x"));
        assert_eq!(mount.group(&directory), Path::new("/docker/0a/x"));
        assert!(mount.directory(Path::new("/docker/0b")).is_err());
        assert!(mount.directory(Path::new("/../x")).is_err());
    }

    #[test]
    fn lines_of_version_1_are_passed_over() {
        let text = "9:name=systemd:/a\n4:memory:/b\n0::/c (deleted)\n";
        assert_eq!(group_of(text).unwrap(), Path::new("/c"));
        assert_eq!(group_of("4:memory:/b\n"), None);
    }

    proptest! {
        #[test]
        fn whatever_is_read(text: String) {
            let _ = mounts(&text).count();
            let _ = group_of(&text);
            let _ = unescape(&text);
        }
    }
}
