//! Whether the kernel lets its own functions be probed, found out by doing it.
//!
//! Agents that watch kernel functions need this right, and neither a list of
//! capabilities nor a configuration file says whether they have it: kernels are
//! built without kprobes, and locked down.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use nix::libc;

/// Where the kernel says by which number `perf_event_open` calls kprobes; not
/// there in a kernel that has none.
pub const TYPE: &str = "/sys/bus/event_source/devices/kprobe/type";

/// A function that every kernel with a network has, and that agents probe.
const FUNCTION: &CStr = c"tcp_sendmsg";

/// Puts a probe on a kernel function without switching it on. It is gone when
/// the descriptor is closed.
///
/// # Errors
/// When the kernel has no kprobes ([`io::ErrorKind::NotFound`]) or refuses.
pub fn smallest() -> io::Result<OwnedFd> {
    let kind = fs::read_to_string(TYPE)?;
    let kind = kind.trim().parse().map_err(io::Error::other)?;
    let attributes = Attributes {
        kind,
        size: size_of::<Attributes>() as u32,
        flags: DISABLED,
        function: FUNCTION.as_ptr() as u64,
        ..Attributes::default()
    };
    let (every_process, first_cpu, no_group) = (-1, 0, -1);
    // SAFETY: `Attributes` is `repr(C)` without hidden padding and begins as
    // `struct perf_event_attr` does; the kernel reads no more than the size
    // that stands in it, and the name that it points to is static.
    #[allow(unsafe_code)]
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            every_process,
            first_cpu,
            no_group,
            CLOSE_ON_EXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it for the caller, so nobody else owns it.
    #[allow(unsafe_code)]
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

// From include/uapi/linux/perf_event.h.
const DISABLED: u64 = 1;
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;

/// The beginning of `struct perf_event_attr`, as long as its second version (72 bytes).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint_type: u32,
    /// `config1`: the name of the function.
    function: u64,
    /// `config2`: how far behind its beginning.
    offset: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel with kprobes takes one or says that it must not; one without says so.
    #[test]
    fn what_the_kernel_offers_is_found_out() {
        assert_eq!(size_of::<Attributes>(), 72);
        match smallest() {
            Ok(_) => assert!(fs::exists(TYPE).unwrap()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                assert!(!fs::exists(TYPE).unwrap(), "{error}");
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}"),
        }
    }
}
