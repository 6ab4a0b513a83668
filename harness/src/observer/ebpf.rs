//! eBPF programs: which are loaded, and which sit on a control group.
//!
//! A program that hangs on a group, a file or a system call taxes whoever
//! passes there, and the process that loaded it need not live any more. So
//! nobody's word is taken for it: the kernel is asked, by `bpf(2)`.
//!
//! Everything here needs a right that root has; without it the caller hears
//! `PermissionDenied` and says that it was not looked at.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::libc;

// From include/uapi/linux/bpf.h, where they are part of the kernel's promise.
const PROG_LOAD: libc::c_long = 5;
const PROG_GET_NEXT_ID: libc::c_long = 11;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const PROG_QUERY: libc::c_long = 16;

/// `enum bpf_attach_type`, as far as it is about control groups: sockets'
/// packets, creation, operations, addresses, options and release, devices, sysctls.
const CGROUP_ATTACH_TYPES: [u32; 27] = [
    0, 1, 2, 3, 6, 8, 9, 10, 11, 12, 13, 14, 15, 18, 19, 20, 21, 22, 29, 30, 31, 32, 34, 49, 50,
    51, 52,
];

/// systemd loads programs of its own for units that come and go, under these names.
const SYSTEMD: &str = "sd_";

/// How long the kernel may take to free what its last owner let go of.
const FREED_WITHIN: Duration = Duration::from_secs(2);

/// What was loaded at a moment.
#[derive(Clone, Debug, Default)]
pub struct Programs(BTreeSet<u32>);

impl Programs {
    /// Lists every program of the machine.
    ///
    /// # Errors
    /// When the kernel does not let this process know.
    pub fn list() -> io::Result<Self> {
        let mut ids = BTreeSet::new();
        let mut id = 0;
        loop {
            let mut request = NextId {
                start_id: id,
                ..NextId::default()
            };
            match call(PROG_GET_NEXT_ID, &mut request) {
                Ok(_) => id = request.next_id,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
                Err(error) => return Err(error),
            }
            ids.insert(id);
        }
        Ok(Programs(ids))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// What is loaded now and was not then, but for systemd's own: as the
    /// kernel frees programs a moment after their last owner ended, it is
    /// given that moment.
    ///
    /// # Errors
    /// As [`Programs::list`].
    pub async fn appeared(&self) -> io::Result<Vec<String>> {
        let deadline = tokio::time::Instant::now() + FREED_WITHIN;
        loop {
            let now = Self::list()?;
            let new: Vec<String> = now
                .0
                .difference(&self.0)
                // One that is gone again before it could be asked for its name is gone.
                .filter_map(|id| Some((id, name(*id).ok()?)))
                .filter(|(_, name)| !name.starts_with(SYSTEMD))
                .map(|(id, name)| match name.as_str() {
                    "" => format!("{id}"),
                    name => format!("{id} ({name})"),
                })
                .collect();
            if new.is_empty() || tokio::time::Instant::now() >= deadline {
                return Ok(new);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// How many programs are attached to a control group of version 2 itself;
/// those of the groups above it, which tax all arms alike, are not counted.
///
/// # Errors
/// When the kernel does not let this process know.
pub fn attached(group: &Path) -> io::Result<u32> {
    let directory = File::open(group)?;
    let mut count = 0;
    for attach_type in CGROUP_ATTACH_TYPES {
        let mut request = Query {
            target_fd: directory.as_raw_fd() as u32,
            attach_type,
            ..Query::default()
        };
        match call(PROG_QUERY, &mut request) {
            Ok(_) => count += request.prog_cnt,
            // An older kernel doesn't know this one, and so has none.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// Loads the smallest program of the kind that hangs on a control group's
/// packets, which shows better than any list of rights whether that can be
/// done here. It is gone when the descriptor is closed.
///
/// # Errors
/// When the kernel refuses.
pub fn smallest() -> io::Result<OwnedFd> {
    /// `BPF_PROG_TYPE_CGROUP_SKB`.
    const CGROUP_SKB: u32 = 8;
    // r0 = 1 (let the packet pass); exit.
    const INSTRUCTIONS: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 1, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
    let mut request = Load {
        kind: CGROUP_SKB,
        instruction_count: INSTRUCTIONS.len() as u32,
        instructions: INSTRUCTIONS.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        name: *b"flora_bench_try\0",
        ..Load::default()
    };
    owned(call(PROG_LOAD, &mut request)?)
}

/// Whether the kernel times every run of every program, which costs each of them.
pub fn is_timed() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled")
        .is_ok_and(|text| text.trim() != "0")
}

fn name(id: u32) -> io::Result<String> {
    let mut request = NextId {
        start_id: id,
        ..NextId::default()
    };
    let fd = owned(call(PROG_GET_FD_BY_ID, &mut request)?)?;
    let mut info = Info::default();
    let mut request = InfoRequest {
        fd: fd.as_raw_fd() as u32,
        length: size_of::<Info>() as u32,
        info: (&raw mut info) as u64,
    };
    call(OBJ_GET_INFO_BY_FD, &mut request)?;
    let end = info.name.iter().position(|byte| *byte == 0);
    let name = &info.name[..end.unwrap_or(info.name.len())];
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// A descriptor that the kernel has just handed out.
fn owned(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // SAFETY: the kernel has just opened it for the caller, so nobody else owns it.
    #[allow(unsafe_code)]
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Part of `union bpf_attr`: a program to be loaded.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// Part of `union bpf_attr`: programs by id.
#[repr(C)]
#[derive(Default)]
struct NextId {
    start_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Part of `union bpf_attr`: what is attached. Without room for ids the kernel
/// only counts.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// Part of `union bpf_attr`: what is known of an object.
#[repr(C)]
struct InfoRequest {
    fd: u32,
    length: u32,
    info: u64,
}

/// The beginning of `struct bpf_prog_info`; the kernel writes as much as is asked for.
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    lengths: [u32; 2],
    instructions: [u64; 2],
    load_time: u64,
    created_by_uid: u32,
    map_ids_count: u32,
    /// Null, so that no map ids are written anywhere.
    map_ids: u64,
    name: [u8; 16],
}

/// One `bpf(2)`.
fn call<T>(command: libc::c_long, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: each `T` of this module is `repr(C)` without hidden padding and
    // begins as `union bpf_attr` does for the commands that it is used with.
    // The kernel reads and writes within the given size, and what `InfoRequest`
    // points to lives until the call is over.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the right to look, what is loaded can be listed and is not new;
    /// without it, the error says so.
    #[tokio::test]
    async fn what_is_loaded_is_listed_or_refused() {
        match Programs::list() {
            Ok(programs) => {
                assert!(programs.count() < 100_000);
                assert_eq!(programs.0.iter().min().copied().unwrap_or(1).min(1), 1);
            }
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
                ),
                "{error}"
            ),
        }
    }

    /// Part of `union bpf_attr`: a program to be attached.
    #[repr(C)]
    struct Attach {
        target_fd: u32,
        program_fd: u32,
        attach_type: u32,
        flags: u32,
    }

    /// A real program on a real group: it is seen while it is there, by name, and not after.
    #[tokio::test]
    async fn a_program_on_a_group_is_seen_until_it_is_gone() {
        const PROG_ATTACH: libc::c_long = 8;
        let before = Programs::list();
        let (Ok(before), Ok(program)) = (before, smallest()) else {
            return crate::test_support::skip("no right to load eBPF programs");
        };
        let new = before.appeared().await.unwrap();
        assert!(
            new.iter().any(|name| name.contains("(flora_bench_try)")),
            "{new:?}"
        );
        let hierarchies = crate::backend::local::cgroup::Hierarchies::discover();
        if let Some((root, _)) = hierarchies.v2 {
            let group = root.join(format!("ebpf-test-{}", std::process::id()));
            std::fs::create_dir(&group).unwrap();
            assert_eq!(attached(&group).unwrap(), 0);
            let directory = File::open(&group).unwrap();
            let mut request = Attach {
                target_fd: directory.as_raw_fd() as u32,
                program_fd: program.as_raw_fd() as u32,
                attach_type: 0,
                flags: 0,
            };
            let outcome = call(PROG_ATTACH, &mut request);
            let seen = attached(&group);
            drop(directory);
            std::fs::remove_dir(&group).unwrap();
            outcome.unwrap();
            assert_eq!(seen.unwrap(), 1);
        }
        drop(program);
        let own = |names: Vec<String>| {
            let mut names = names.into_iter();
            names.find(|name| name.contains("(flora_bench_try)"))
        };
        assert_eq!(own(before.appeared().await.unwrap()), None);
    }

    #[test]
    fn the_structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<NextId>(), 12);
        assert_eq!(size_of::<Load>(), 64);
        assert_eq!(std::mem::offset_of!(Query, prog_cnt), 24);
        assert_eq!(size_of::<Query>(), 64);
        assert_eq!(std::mem::offset_of!(Info, name), 64);
        assert_eq!(size_of::<Info>(), 80);
    }
}
