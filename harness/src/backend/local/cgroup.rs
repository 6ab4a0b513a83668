//! Control groups of a run: a directory per role, in every hierarchy that there is.
//!
//! Works on version 1 (one hierarchy per controller), version 2, and both side
//! by side ("hybrid"). Nothing of the machine's own set-up is changed: groups
//! are made below the one that this process is in (or, on version 2, below the
//! root when only that hands the memory controller down), and removed again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::sample::Subject;

/// Every group of ours carries this prefix, so that leftovers can be found.
pub const PREFIX: &str = "flora-bench-";

/// The hierarchies of this machine, and where this process stands in each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hierarchies {
    /// Version 1: our own directory, by controller.
    pub v1: BTreeMap<String, PathBuf>,
    /// Version 1: the root directory, by controller.
    pub v1_roots: BTreeMap<String, PathBuf>,
    /// Version 2: the root directory and our own.
    pub v2: Option<(PathBuf, PathBuf)>,
}

impl Hierarchies {
    /// Looks at `/proc/self/mountinfo` and `/proc/self/cgroup`.
    pub fn discover() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
    }

    /// The same from the text of both files (formats: proc(5), cgroups(7)).
    pub fn parse(mountinfo: &str, own: &str) -> Self {
        let own: Vec<(Vec<&str>, &str)> = own
            .lines()
            .filter_map(|line| {
                let mut parts = line.splitn(3, ':');
                parts.next()?;
                let controllers = parts.next()?;
                Some((controllers.split(',').collect(), parts.next()?))
            })
            .collect();
        let mut found = Hierarchies::default();
        for line in mountinfo.lines() {
            // id parent major:minor root mount-point options… - type source super-options
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let left: Vec<&str> = left.split(' ').collect();
            let right: Vec<&str> = right.split(' ').collect();
            let (Some(root), Some(point), Some(kind), Some(options)) =
                (left.get(3), left.get(4), right.first(), right.get(2))
            else {
                continue;
            };
            let mount = PathBuf::from(unescape(point));
            // A container sees its own part of the tree mounted: the path in
            // /proc/self/cgroup counts from the hierarchy's root, not the mount's.
            let below = |path: &str| {
                let relative = path.strip_prefix(*root).unwrap_or(path);
                mount.join(relative.trim_start_matches('/'))
            };
            match *kind {
                "cgroup" => {
                    for controller in options.split(',') {
                        if let Some((_, path)) =
                            own.iter().find(|(names, _)| names.contains(&controller))
                        {
                            found.v1.insert(controller.to_owned(), below(path));
                            found.v1_roots.insert(controller.to_owned(), mount.clone());
                        }
                    }
                }
                "cgroup2" => {
                    if let Some((_, path)) = own.iter().find(|(names, _)| names == &[""]) {
                        found.v2 = Some((mount.clone(), below(path)));
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// The file with the CPU time of all tasks of the machine, where there is one.
    pub fn machine_cpu_usage(&self) -> Option<PathBuf> {
        Some(self.v1_roots.get("cpuacct")?.join("cpuacct.usage"))
    }

    /// The groups that hold whatever a run starts, the one that this process was in and all above it
    /// as far as they are mounted, one for each hierarchy that may have quotas. A run's own groups
    /// are below them; on version 2 `tree` says where.
    pub fn above(&self, tree: Option<&Tree>) -> Vec<Group> {
        let mut groups = Vec::new();
        if let (Some(own), Some(root)) = (self.v1.get("cpu"), self.v1_roots.get("cpu")) {
            let cpu = up(own, root).map(|path| Some(path.to_owned()));
            groups.extend(cpu.map(|path| Group::found(None, path, None, None)));
        }
        if let Some((root, own)) = &self.v2 {
            let made = tree.and_then(|tree| tree.v2.as_deref()?.parent());
            let v2 = up(made.unwrap_or(own), root).map(|path| Some(path.to_owned()));
            groups.extend(v2.map(|path| Group::found(None, None, None, path)));
        }
        groups
    }

    /// In words: `cgroup v1`, `cgroup v2`, `cgroup v1 and v2`, `no cgroups`.
    pub fn describe(&self) -> &'static str {
        match (self.v1.contains_key("cpuacct"), self.v2.is_some()) {
            (true, true) => "cgroup v1 and v2",
            (true, false) => "cgroup v1",
            (false, true) => "cgroup v2",
            (false, false) => "no cgroups",
        }
    }
}

/// A directory and those above it, up to a root.
fn up<'p>(from: &'p Path, root: &'p Path) -> impl Iterator<Item = &'p Path> {
    from.ancestors()
        .take_while(move |path| path.starts_with(root))
}

/// Spaces and such stand as octal escapes in mountinfo.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

/// A run's groups could not be made; accounting falls back to processes.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The kernel shows no hierarchy that counts CPU time.
    #[error("this machine has no cgroup hierarchy")]
    None,
    /// No right to make a group.
    #[error("cannot make a cgroup at {}: {source}", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No right to move a process.
    #[error("cannot move a process into {}: {source}", path.display())]
    Join {
        /// The file written to.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The groups of one run.
#[derive(Debug)]
pub struct Tree {
    v1: BTreeMap<String, PathBuf>,
    v2: Option<PathBuf>,
    /// Where the harness was before it joined its own group.
    origin: Vec<PathBuf>,
}

impl Tree {
    /// Makes the run's groups and moves this process into the harness's.
    ///
    /// Moving is the proof that roles can be placed: on version 2 the right
    /// to make a directory does not bring the right to fill it.
    ///
    /// # Errors
    /// When there is no hierarchy, or no right to use it; nothing is left behind then.
    pub fn create(hierarchies: &Hierarchies, name: &str) -> Result<Tree, CgroupError> {
        let mut tree = Tree {
            v1: BTreeMap::new(),
            v2: None,
            origin: Vec::new(),
        };
        for controller in ["cpuacct", "cpu", "memory"] {
            if let Some(own) = hierarchies.v1.get(controller) {
                let path = own.join(name);
                make_directory(&path)?;
                tree.v1.insert(controller.to_owned(), path);
                tree.origin.push(own.clone());
            }
        }
        if let Some((root, own)) = &hierarchies.v2 {
            match create_v2(root, own, name) {
                Ok(path) => {
                    tree.v2 = Some(path);
                    tree.origin.push(own.clone());
                }
                // With version 1 at hand, version 2 is a convenience.
                Err(error) if tree.v1.is_empty() => return Err(error),
                Err(error) => log::debug!("{error}"),
            }
        }
        if !tree.v1.contains_key("cpuacct") && tree.v2.is_none() {
            return Err(CgroupError::None);
        }
        let group = tree.group(Subject::Harness.as_str())?;
        for path in group.procs_files() {
            fs::write(&path, "0").map_err(|source| CgroupError::Join { path, source })?;
        }
        Ok(tree)
    }

    /// Whether roles get a group in the version 2 hierarchy.
    pub fn has_v2(&self) -> bool {
        self.v2.is_some()
    }

    /// Makes a group.
    ///
    /// # Errors
    /// When the directory can't be made.
    pub fn group(&self, name: &str) -> Result<Group, CgroupError> {
        let mut directories: Vec<PathBuf> = self.v1.values().cloned().collect();
        directories.extend(self.v2.clone());
        directories.dedup();
        for directory in &mut directories {
            directory.push(name);
            make_directory(directory)?;
        }
        let v1 = |controller| {
            self.v1
                .get(controller)
                .map(|path: &PathBuf| path.join(name))
        };
        Ok(Group {
            cpuacct: v1("cpuacct"),
            cpu: v1("cpu"),
            memory: v1("memory"),
            v2: self.v2.as_ref().map(|path| path.join(name)),
            directories,
        })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // The harness must leave before its group can go.
        for origin in &self.origin {
            if let Err(error) = fs::write(origin.join("cgroup.procs"), "0") {
                log::debug!("cannot return to {}: {error}", origin.display());
            }
        }
        for path in self.v1.values().chain(&self.v2) {
            if let Err(error) = remove_tree(path) {
                log::warn!("cannot remove the cgroup {}: {error}", path.display());
            }
        }
    }
}

/// One role's group: its directory in each hierarchy.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    cpuacct: Option<PathBuf>,
    cpu: Option<PathBuf>,
    memory: Option<PathBuf>,
    v2: Option<PathBuf>,
    directories: Vec<PathBuf>,
}

impl Group {
    /// A group that somebody else made, for reading: its directory below the
    /// hierarchy of each controller, and in version 2.
    pub fn found(
        cpuacct: Option<PathBuf>,
        cpu: Option<PathBuf>,
        memory: Option<PathBuf>,
        v2: Option<PathBuf>,
    ) -> Self {
        Group {
            cpuacct,
            cpu,
            memory,
            v2,
            directories: Vec::new(),
        }
    }

    /// The files that take a process id to move it in; `0` is the writer itself.
    pub fn procs_files(&self) -> Vec<PathBuf> {
        self.directories
            .iter()
            .map(|directory| directory.join("cgroup.procs"))
            .collect()
    }

    /// Ends every process that is still inside, and removes the group.
    ///
    /// # Errors
    /// When a directory can't be removed.
    pub fn remove(&self) -> io::Result<()> {
        self.directories
            .iter()
            .try_for_each(|path| remove_tree(path))
    }

    /// Version 1's `cpuacct` directory.
    pub fn cpuacct(&self) -> Option<&Path> {
        self.cpuacct.as_deref()
    }

    /// Version 1's `cpu` directory, which knows of quotas.
    pub fn cpu(&self) -> Option<&Path> {
        self.cpu.as_deref()
    }

    /// Version 1's `memory` directory.
    pub fn memory(&self) -> Option<&Path> {
        self.memory.as_deref()
    }

    /// Version 2's directory.
    pub fn v2(&self) -> Option<&Path> {
        self.v2.as_deref()
    }
}

fn make_directory(path: &Path) -> Result<(), CgroupError> {
    match fs::create_dir(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(CgroupError::Create {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Prefers a parent that hands the memory controller down, and asks none to change.
fn create_v2(root: &Path, own: &Path, name: &str) -> Result<PathBuf, CgroupError> {
    let mut fallback = None;
    let mut failure = CgroupError::None;
    for parent in [own, root] {
        let path = parent.join(name);
        if let Err(error) = make_directory(&path) {
            failure = error;
            continue;
        }
        let controllers = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
        let has = |name| controllers.split_whitespace().any(|other| other == name);
        if has("memory") {
            for controller in ["memory", "cpu"].into_iter().filter(|name| has(name)) {
                let file = path.join("cgroup.subtree_control");
                if let Err(error) = fs::write(&file, format!("+{controller}")) {
                    log::debug!("cannot enable {controller} in {}: {error}", file.display());
                }
            }
            if let Some(fallback) = fallback {
                let _ = fs::remove_dir(fallback);
            }
            return Ok(path);
        }
        if fallback.is_some() {
            let _ = fs::remove_dir(&path);
        } else {
            fallback = Some(path);
        }
        if parent == root {
            break;
        }
    }
    fallback.ok_or(failure)
}

/// Kills what is inside, then removes the directories from the leaves up.
///
/// # Errors
/// When a directory stays busy.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    let mut outcome = Ok(());
    // A killed process leaves its group only when it has been torn down, which
    // takes a moment; a second is plenty and still ends.
    for _ in 0..100 {
        kill_members(path);
        outcome = match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Ok(()) => return Ok(()),
            Err(error) => Err(error),
        };
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    outcome
}

fn kill_members(path: &Path) {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let own = std::process::id() as i32;
    let members = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines().filter_map(|line| line.parse::<i32>().ok()) {
        if pid > 0 && pid != own {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Opens the files that a child writes itself into between fork and exec.
///
/// # Errors
/// When one can't be opened for writing.
pub fn open_procs(group: &Group) -> Result<Vec<File>, CgroupError> {
    group
        .procs_files()
        .into_iter()
        .map(|path| {
            File::options()
                .write(true)
                .open(&path)
                .map_err(|source| CgroupError::Join { path, source })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID_MOUNTS: &str = "\
24 1 0:22 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
25 24 0:23 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
26 24 0:24 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
27 24 0:25 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
28 24 0:26 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const HYBRID_OWN: &str = "\
4:memory:/user/one
3:cpu,cpuacct:/
1:name=systemd:/
0::/scope
";

    #[test]
    fn hybrid() {
        let found = Hierarchies::parse(HYBRID_MOUNTS, HYBRID_OWN);
        assert_eq!(
            found.v1["memory"],
            Path::new("/sys/fs/cgroup/memory/user/one")
        );
        assert_eq!(
            found.v1["cpuacct"],
            Path::new("/sys/fs/cgroup/cpu,cpuacct/")
        );
        assert_eq!(found.v1["cpu"], found.v1["cpuacct"]);
        assert_eq!(
            found.v2,
            Some((
                "/sys/fs/cgroup/unified".into(),
                "/sys/fs/cgroup/unified/scope".into()
            ))
        );
        assert_eq!(found.describe(), "cgroup v1 and v2");
        assert_eq!(
            found.machine_cpu_usage().unwrap(),
            Path::new("/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage")
        );
    }

    #[test]
    fn groups_that_hold_a_run() {
        let found = Hierarchies::parse(HYBRID_MOUNTS, HYBRID_OWN);
        let root = Path::new("/sys/fs/cgroup");
        let unified = root.join("unified");
        let scope = unified.join("scope");
        let held = |tree| {
            let groups = found.above(tree);
            let cpu = groups
                .iter()
                .filter_map(|group| group.cpu().map(Path::to_owned));
            let v2 = groups
                .iter()
                .filter_map(|group| group.v2().map(Path::to_owned));
            (cpu.collect::<Vec<_>>(), v2.collect::<Vec<_>>())
        };
        let cpu = vec![root.join("cpu,cpuacct")];
        assert_eq!(held(None), (cpu.clone(), vec![scope, unified.clone()]));
        // Groups that are made below the root are not held by those beside it.
        let tree = Tree {
            v1: BTreeMap::new(),
            v2: Some(unified.join("run")),
            origin: Vec::new(),
        };
        assert_eq!(held(Some(&tree)), (cpu, vec![unified]));
        // It was never made, and is not to be looked for.
        std::mem::forget(tree);
    }

    #[test]
    fn version_2_in_a_container() {
        let mounts = "31 24 0:27 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw,nsdelegate\n";
        let found = Hierarchies::parse(mounts, "0::/docker/abc/x\n");
        assert_eq!(
            found.v2,
            Some(("/sys/fs/cgroup".into(), "/sys/fs/cgroup/x".into()))
        );
        assert_eq!(found.describe(), "cgroup v2");
        assert!(found.machine_cpu_usage().is_none());
    }

    #[test]
    fn odd_text_is_no_hierarchy() {
        for text in ["", "nonsense", "1 2 - cgroup", "a b c d e - cgroup2"] {
            assert_eq!(Hierarchies::parse(text, text), Hierarchies::default());
        }
        assert_eq!(Hierarchies::default().describe(), "no cgroups");
    }
}
