//! Code that only the start needed leaves this process's memory.
#![allow(unsafe_code, reason = "madvise(2) has no safe wrapper")]

use std::fs;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};

/// Gives back the pages of all code. What is used again comes back from the
/// page cache, a few microseconds a page; parsing options does not.
pub fn shrink() {
    let text = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, length) in code(&text) {
        let Some(start) = NonNull::new(std::ptr::with_exposed_provenance_mut(start)) else {
            continue;
        };
        // SAFETY: code of a file that is mapped without write permission, so no page of it has
        // been changed, and the kernel reads it from the file when it is needed again.
        let _ = unsafe { madvise(start, length, MmapAdvise::MADV_DONTNEED) };
    }
}

/// Start and length of mappings of files that are code and can't be written (proc_pid_maps(5)).
fn code(text: &str) -> impl Iterator<Item = (usize, usize)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let permissions = fields.next()?;
        let file = fields.nth(3)?;
        if permissions != "r-xp" || !file.starts_with('/') {
            return None;
        }
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        Some((start, end.checked_sub(start)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files() {
        let text = "\
5000-6000 r--p 00000000 fe:00 10 /usr/bin/x
6000-9000 r-xp 00001000 fe:00 10 /usr/bin/x
9000-a000 rw-p 00004000 fe:00 10 /usr/bin/x
b000-c000 rwxp 00004000 fe:00 10 /usr/bin/x
7f00-7f10 r-xp 00000000 00:00 0  [vdso]
";
        assert_eq!(code(text).collect::<Vec<_>>(), [(0x6000, 0x3000)]);
    }

    #[test]
    fn code_runs_on() {
        shrink();
        assert_eq!(format!("{}", 40 + 2), "42");
    }
}
