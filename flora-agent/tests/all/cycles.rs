//! Started and ended again and again, it leaves nothing: no process, no attachment, no port, and no
//! object of the kernel's.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use crate::server::Server;
use crate::support::{Agent, Group, needs_root, wait_until};

/// How often in the ordinary run; each time the kernel verifies the programs anew.
/// `FLORA_AGENT_CYCLES=200` asks for more.
const CYCLES: u32 = 6;

/// An object of the kernel's, by the commands of bpf(2) that open one by its id.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Object {
    command: libc::c_long,
    id: u32,
}

impl Object {
    /// What a process has open, as `/proc/PID/fdinfo` tells it.
    fn of(pid: u32) -> BTreeSet<Object> {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
        let texts = descriptors.filter_map(|file| fs::read_to_string(file.unwrap().path()).ok());
        texts
            .flat_map(|text| text.lines().filter_map(Object::read).collect::<Vec<_>>())
            .collect()
    }

    fn read(line: &str) -> Option<Object> {
        let (key, id) = line.split_once(':')?;
        // From include/uapi/linux/bpf.h.
        let command = match key {
            "prog_id" => 13,
            "map_id" => 14,
            "link_id" => 30,
            _ => return None,
        };
        let id = id.trim().parse().ok()?;
        Some(Object { command, id })
    }

    /// Whether the kernel still has it; ids are not given out again.
    fn exists(&self) -> bool {
        let mut attributes = [self.id, 0, 0, 0];
        let size = size_of_val(&attributes);
        #[expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]
        // SAFETY: the kernel reads as many bytes as there are.
        let descriptor =
            unsafe { libc::syscall(libc::SYS_bpf, self.command, attributes.as_mut_ptr(), size) };
        if descriptor < 0 {
            return false;
        }
        #[expect(unsafe_code, reason = "the descriptor has no owner yet")]
        // SAFETY: the kernel has just opened it for this call.
        drop(unsafe {
            <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(descriptor as i32)
        });
        true
    }
}

fn cycles() -> u32 {
    let asked = std::env::var("FLORA_AGENT_CYCLES").ok();
    asked.map_or(CYCLES, |count| count.parse().unwrap())
}

#[test]
fn nothing_is_left_of_it() {
    needs_root!("nothing_is_left_of_it");
    let group = Group::new();
    let server = Server::start(&group);
    let mut descriptors = BTreeSet::new();
    for cycle in 0..cycles() {
        let mut agent = Agent::watch(&group, &[]);
        server.connect().get("/a");
        let metrics = agent.scrape();
        assert_eq!(metrics.requests(&[]), 1.0);
        descriptors.insert(metrics.sum("process_open_fds", &[]) as u64);
        let objects = Object::of(agent.pid());
        assert!(
            objects.len() > 10 && objects.iter().all(Object::exists),
            "{objects:?}"
        );
        let (process, address) = (
            PathBuf::from(format!("/proc/{}", agent.pid())),
            agent.address,
        );
        // Now in good order, now not.
        if cycle % 2 == 0 {
            let (status, log) = agent.terminate();
            assert!(status.success(), "{log}");
        } else {
            agent.kill();
        }
        assert!(!process.exists());
        assert!(TcpListener::bind(address).is_ok(), "{address} is taken");
        // The kernel frees them a moment after their last descriptor is closed.
        wait_until("programs, maps and attachments are gone", || {
            group.attached() == 0 && !objects.iter().any(Object::exists)
        });
    }
    assert_eq!(descriptors.len(), 1, "{descriptors:?}");
}
