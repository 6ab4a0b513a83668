//! The system call and its arguments, as `include/uapi/linux/bpf.h` lays them out.
#![allow(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_DELETE_ELEM: libc::c_long = 3;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const PROG_QUERY: libc::c_long = 16;
const MAP_LOOKUP_BATCH: libc::c_long = 24;
const LINK_CREATE: libc::c_long = 28;
const ENABLE_STATS: libc::c_long = 32;

/// `BPF_STATS_RUN_TIME`.
const STATS_RUN_TIME: u32 = 0;

/// Runs of a program are seen on the way in, or on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Direction {
    /// `BPF_CGROUP_INET_INGRESS`.
    Ingress = 0,
    /// `BPF_CGROUP_INET_EGRESS`.
    Egress = 1,
}

/// Calls the kernel with `attributes`, which it may write to.
///
/// # Safety
/// Every address in `attributes` must be good for what the command does with it.
unsafe fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes at most the given size; addresses are the caller's promise.
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
    Ok(result)
}

fn descriptor(number: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel has just made it, for this caller alone.
    unsafe { OwnedFd::from_raw_fd(number as i32) }
}

#[repr(C)]
#[derive(Default)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Reads one value. Both slices must have the map's sizes; [`super::map::Map`] sees to it.
pub(super) fn map_lookup(map: BorrowedFd, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    let mut attributes = Element {
        map: map.as_raw_fd() as u32,
        key: key.as_ptr() as u64,
        value: value.as_mut_ptr() as u64,
        ..Element::default()
    };
    // SAFETY: the kernel reads a key and writes a value of the map's sizes, which the slices have.
    unsafe { bpf(MAP_LOOKUP_ELEM, &mut attributes) }.map(drop)
}

/// Writes one value. Both slices must have the map's sizes.
pub(super) fn map_update(map: BorrowedFd, key: &[u8], value: &[u8]) -> io::Result<()> {
    let mut attributes = Element {
        map: map.as_raw_fd() as u32,
        key: key.as_ptr() as u64,
        value: value.as_ptr() as u64,
        ..Element::default()
    };
    // SAFETY: the kernel reads a key and a value of the map's sizes, which the slices have.
    unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
}

/// Removes one value. The key must have the map's size.
pub(super) fn map_delete(map: BorrowedFd, key: &[u8]) -> io::Result<()> {
    let mut attributes = Element {
        map: map.as_raw_fd() as u32,
        key: key.as_ptr() as u64,
        ..Element::default()
    };
    // SAFETY: the kernel reads a key of the map's size, which the slice has.
    unsafe { bpf(MAP_DELETE_ELEM, &mut attributes) }.map(drop)
}

#[repr(C)]
#[derive(Default)]
struct Batch {
    before: u64,
    after: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Reads up to `count` entries from the start, and says how many. The slices must have room for them.
pub(super) fn map_lookup_batch(
    map: BorrowedFd,
    keys: &mut [u8],
    values: &mut [u8],
    count: u32,
) -> io::Result<u32> {
    // Where the next call would go on: a key of an array, a number of a bucket of a hash.
    let mut after = [0u8; 64];
    let mut attributes = Batch {
        after: after.as_mut_ptr() as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count,
        map: map.as_raw_fd() as u32,
        ..Batch::default()
    };
    // SAFETY: the kernel writes at most `count` keys and values, and in `after` at most a key.
    let result = unsafe { bpf(MAP_LOOKUP_BATCH, &mut attributes) };
    match result {
        Ok(_) => Ok(attributes.count),
        // The end of the map.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(attributes.count),
        Err(error) => Err(error),
    }
}

#[repr(C)]
#[derive(Default)]
struct Info {
    descriptor: u32,
    length: u32,
    address: u64,
}

/// Facts about a map (`struct bpf_map_info`, its first fields).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct MapInfo {
    /// `BPF_MAP_TYPE_…`.
    pub kind: u32,
    /// Number of the map.
    pub id: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Most entries.
    pub max_entries: u32,
    /// `BPF_F_…`.
    pub flags: u32,
}

/// Facts about a program (`struct bpf_prog_info`, all fields up to `verified_insns`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgramInfo {
    /// `BPF_PROG_TYPE_…`.
    pub kind: u32,
    /// Number of the program.
    pub id: u32,
    reserved: [u64; 23],
    /// Nanoseconds in the program while statistics were on.
    pub run_nanoseconds: u64,
    /// Runs while statistics were on.
    pub runs: u64,
    /// Runs that did not happen, because one was under way on that CPU.
    pub recursion_misses: u64,
    /// Instructions that the verifier went through; 0 before Linux 5.16.
    pub verified_instructions: u32,
    reserved_end: u32,
}

/// Marks types that the kernel can fill in whatever they held.
///
/// # Safety
/// Any bytes must be a valid value.
unsafe trait Facts: Default {}
// SAFETY: all fields are integers.
unsafe impl Facts for MapInfo {}
// SAFETY: all fields are integers.
unsafe impl Facts for ProgramInfo {}

fn info<T: Facts>(object: BorrowedFd) -> io::Result<T> {
    let mut info = T::default();
    let mut attributes = Info {
        descriptor: object.as_raw_fd() as u32,
        length: size_of::<T>() as u32,
        address: std::ptr::from_mut(&mut info) as u64,
    };
    // SAFETY: the kernel writes at most the given length. It reads addresses from it for the
    // lists that can be asked for, and those are zero.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes)? };
    Ok(info)
}

pub(super) fn map_info(map: BorrowedFd) -> io::Result<MapInfo> {
    info(map)
}

pub(super) fn program_info(program: BorrowedFd) -> io::Result<ProgramInfo> {
    info(program)
}

#[repr(C)]
#[derive(Default)]
struct Link {
    program: u32,
    target: u32,
    direction: u32,
    flags: u32,
}

/// Attaches a program to a control group, for as long as the descriptor is open.
pub(super) fn link_create(
    program: BorrowedFd,
    cgroup: BorrowedFd,
    direction: Direction,
) -> io::Result<OwnedFd> {
    let mut attributes = Link {
        program: program.as_raw_fd() as u32,
        target: cgroup.as_raw_fd() as u32,
        direction: direction as u32,
        flags: 0,
    };
    // SAFETY: there is no address in it.
    unsafe { bpf(LINK_CREATE, &mut attributes) }.map(descriptor)
}

#[repr(C)]
#[derive(Default)]
struct Query {
    target: u32,
    direction: u32,
    flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    padding: u32,
}

/// How many programs are attached to a control group, in both directions.
///
/// # Errors
/// When it is none, or the kernel does not say.
pub fn attached(cgroup: impl AsFd) -> io::Result<u32> {
    let mut sum = 0;
    for direction in [Direction::Ingress, Direction::Egress] {
        let mut attributes = Query {
            target: cgroup.as_fd().as_raw_fd() as u32,
            direction: direction as u32,
            ..Query::default()
        };
        // SAFETY: there is no room for a list in it, so only the count is written.
        unsafe { bpf(PROG_QUERY, &mut attributes)? };
        sum += attributes.count;
    }
    Ok(sum)
}

/// Has the kernel time every run of every program, for as long as the descriptor is open.
pub fn enable_statistics() -> io::Result<OwnedFd> {
    let mut attributes = STATS_RUN_TIME;
    // SAFETY: there is no address in it.
    unsafe { bpf(ENABLE_STATS, &mut attributes) }.map(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn as_in_bpf_h() {
        assert_eq!(size_of::<Batch>(), 56);
        assert_eq!(size_of::<Element>(), 32);
        assert_eq!(offset_of!(ProgramInfo, run_nanoseconds), 192);
        assert_eq!(offset_of!(ProgramInfo, verified_instructions), 216);
    }
}
