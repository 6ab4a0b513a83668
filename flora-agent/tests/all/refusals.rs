//! Machines that lack something, or refuse it: each is made here for one process.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::support::{Agent, Group, command, needs_root, run, skip, text};

/// Lets `bpf()` fail in the program, as the filter of a container does.
fn without_bpf(command: &mut Command, errno: i32) -> &mut Command {
    let load_number = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let instruction = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let filter = [
        instruction(load_number, 0, 0, 0),
        instruction(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_bpf as u32,
        ),
        instruction(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | errno as u32,
        ),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || {
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_ptr().cast_mut(),
        };
        #[expect(unsafe_code, reason = "the calls have no safe wrapper")]
        // SAFETY: two system calls; the second reads the program above.
        let result = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    #[expect(unsafe_code, reason = "between fork and exec")]
    // SAFETY: nothing in it allocates or locks.
    unsafe {
        command.pre_exec(install)
    }
}

#[test]
fn a_filter_that_refuses_bpf() {
    needs_root!("a_filter_that_refuses_bpf");
    let group = Group::new();
    for errno in [libc::EPERM, libc::ENOSYS] {
        let options = ["--cgroup", text(&group.path), "--listen", "127.0.0.1:0"];
        let (code, _, error) = run(without_bpf(command().args(options), errno));
        assert_eq!(code, 3, "{error}");
        assert!(error.contains("seccomp filter"), "{error}");
        assert!(error.contains("does not let this process load"), "{error}");
        let (code, out, _) = run(without_bpf(command().arg("--check"), errno));
        assert_eq!(code, 3, "{out}");
        assert!(out.contains("MISSING  bpf()"), "{out}");
        assert!(out.contains("seccomp filter"), "{out}");
    }
    assert_eq!(group.attached(), 0);
}

/// Hides a directory from the program, in a mount namespace of its own.
fn without_directory<'a>(command: &'a mut Command, path: &'static str) -> &'a mut Command {
    let hide = move || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some("none"), path, Some("tmpfs"), MsFlags::empty(), none)?;
        Ok(())
    };
    #[expect(unsafe_code, reason = "between fork and exec")]
    // SAFETY: system calls only.
    unsafe {
        command.pre_exec(hide)
    }
}

/// The kernel's own type information is not needed.
#[test]
fn a_kernel_without_type_information() {
    needs_root!("a_kernel_without_type_information");
    if !std::path::Path::new("/sys/kernel/btf").exists() {
        // That this works here is what all other tests show.
        return skip(
            "a_kernel_without_type_information",
            "there is none to be hidden",
        );
    }
    let group = Group::new();
    let options = ["--check", "--cgroup", text(&group.path)];
    let (code, out, error) = run(without_directory(
        command().args(options),
        "/sys/kernel/btf",
    ));
    assert_eq!(code, 0, "{out}{error}");
    assert!(out.contains("attached and detached again"), "{out}");
}

#[test]
fn no_hierarchy_of_control_groups() {
    needs_root!("no_hierarchy_of_control_groups");
    let group = Group::new();
    // The hierarchy is still mounted, below something else; nothing can be found in it.
    let options = ["--cgroup", text(&group.path), "--listen", "127.0.0.1:0"];
    let (code, _, error) = run(without_directory(command().args(options), "/sys/fs/cgroup"));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains(text(&group.path)), "{error}");
    // It harms no other.
    drop(Agent::watch(&group, &[]));
}
