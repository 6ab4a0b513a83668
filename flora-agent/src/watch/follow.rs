//! Notices control groups that come and go.
//!
//! The kernel tells of directories that are made and removed; where it can't
//! (too many watches), the survey of every `REGULAR` interval finds them.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// A survey that nothing asked for.
const REGULAR: Duration = Duration::from_secs(10);

/// The same when the kernel does not tell of changes.
const BLIND: Duration = Duration::from_secs(1);

/// Surveys are at least this far apart: a container's start makes several directories.
const APART: Duration = Duration::from_millis(100);

/// Says when a survey is due.
#[derive(Debug)]
pub struct Follower {
    inotify: Option<Inotify>,
    watched: HashSet<WatchDescriptor>,
    changed: bool,
    last: Instant,
}

impl Follower {
    pub(super) fn new() -> Self {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK);
        Follower {
            inotify: inotify
                .inspect_err(|error| log::warn!("the kernel won't tell of changes: {error}"))
                .ok(),
            watched: HashSet::new(),
            changed: false,
            last: Instant::now(),
        }
    }

    /// What becomes readable when something has changed.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Watches these directories; those that are watched already stay so.
    pub(super) fn watch<'a>(&mut self, directories: impl Iterator<Item = &'a Path>) {
        self.changed = false;
        self.last = Instant::now();
        let Some(inotify) = &self.inotify else {
            return;
        };
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_ONLYDIR;
        for directory in directories {
            match inotify.add_watch(directory, flags) {
                // What was made in it before it was watched is found by one more survey.
                Ok(descriptor) => self.changed |= self.watched.insert(descriptor),
                // One that has just gone is missed by the next survey.
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(error) => {
                    log::warn!(
                        "the kernel won't tell of changes below {}: {error}",
                        directory.display()
                    );
                    self.inotify = None;
                    return;
                }
            }
        }
    }

    /// Takes note of what the kernel tells.
    pub fn read(&mut self) {
        let Some(inotify) = &self.inotify else {
            return;
        };
        while let Ok(events) = inotify.read_events() {
            if events.is_empty() {
                break;
            }
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    self.watched.remove(&event.wd);
                }
            }
            self.changed = true;
        }
    }

    /// When the next survey is due.
    pub fn due(&self) -> Instant {
        self.last
            + match (self.changed, &self.inotify) {
                (true, _) => APART,
                (false, Some(_)) => REGULAR,
                (false, None) => BLIND,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_directory_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let mut follower = Follower::new();
        follower.watch([directory.path()].into_iter());
        follower.watch([directory.path()].into_iter());
        follower.read();
        assert!(follower.due() > Instant::now() + APART);
        std::fs::create_dir(directory.path().join("x")).unwrap();
        follower.read();
        assert!(follower.due() <= Instant::now() + APART);
    }
}
