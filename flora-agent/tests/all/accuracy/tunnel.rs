//! Two network namespaces, and between them a wire that loses, doubles and swaps packets.
//!
//! Each has a tun device; a thread here reads IP packets from one and writes
//! them to the other, as a seeded generator says. On both ends is the kernel's own TCP.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};

/// A namespace that lives as long as this.
pub struct Namespace(File);

impl Namespace {
    fn new() -> std::io::Result<Self> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        made.join().unwrap().map(Namespace)
    }

    /// Does something in it.
    pub fn within<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let there = scope.spawn(|| {
                setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                action()
            });
            there.join().unwrap()
        })
    }

    /// Makes a tun device in it, with this address.
    fn device(&self, address: &str) -> std::io::Result<File> {
        self.within(|| {
            let device = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open("/dev/net/tun")?;
            name(&device)?;
            let address = format!("{address}/24");
            for arguments in [
                &["addr", "add", &address, "dev", "flora0"][..],
                &["link", "set", "flora0", "up"],
            ] {
                let status = Command::new("ip").args(arguments).status()?;
                assert!(status.success(), "ip {arguments:?}: {status}");
            }
            Ok(device)
        })
    }
}

/// Makes the device `flora0` of an open `/dev/net/tun`: whole IP packets, nothing before them.
fn name(device: &File) -> std::io::Result<()> {
    #[expect(unsafe_code, reason = "the request has no safe wrapper")]
    // SAFETY: all zeros is a valid request, which the kernel reads and writes within its bounds.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"flora0") {
            *to = *from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request)
    };
    if result < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

/// What happened to packets.
#[derive(Debug, Default)]
pub struct Faults {
    pub passed: AtomicU64,
    pub lost: AtomicU64,
    pub doubled: AtomicU64,
    pub late: AtomicU64,
}

pub struct Tunnel {
    pub client: Namespace,
    pub server: Namespace,
    pub faults: Arc<Faults>,
    stop: Arc<AtomicBool>,
    wire: Option<JoinHandle<()>>,
}

/// Where a server can listen in [`Tunnel::server`].
pub const SERVER: &str = "10.77.0.2:8080";

impl Tunnel {
    /// Makes both ends; of a thousand packets so many have each fault.
    pub fn new(seed: u64, faults_per_mille: u64) -> std::io::Result<Self> {
        let (client, server) = (Namespace::new()?, Namespace::new()?);
        let ends = [client.device("10.77.0.1")?, server.device("10.77.0.2")?];
        let (stop, faults) = <(Arc<AtomicBool>, Arc<Faults>)>::default();
        let (ended, counts) = (Arc::clone(&stop), Arc::clone(&faults));
        let wire = thread::spawn(move || {
            let mut wire = Wire {
                ends,
                random: seed,
                faults_per_mille,
                held: Vec::new(),
                counts,
            };
            while !ended.load(Ordering::Relaxed) {
                wire.turn();
            }
        });
        Ok(Tunnel {
            client,
            server,
            faults,
            stop,
            wire: Some(wire),
        })
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.wire.take().map(JoinHandle::join);
    }
}

struct Wire {
    ends: [File; 2],
    random: u64,
    faults_per_mille: u64,
    /// Packets that others may overtake: how many, where it goes, what it is.
    held: Vec<(u64, usize, Vec<u8>)>,
    counts: Arc<Faults>,
}

impl Wire {
    fn turn(&mut self) {
        let mut waits = self
            .ends
            .each_ref()
            .map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN));
        if poll(&mut waits, PollTimeout::from(5u8)).unwrap() == 0 {
            // Nothing comes that could overtake.
            for (_, to, packet) in std::mem::take(&mut self.held) {
                self.write(to, &packet);
            }
        }
        for from in 0..2 {
            let mut packet = [0; 2048];
            if let Ok(length) = self.ends[from].read(&mut packet) {
                self.packet(1 - from, &packet[..length]);
            }
        }
    }

    fn packet(&mut self, to: usize, packet: &[u8]) {
        let counts = Arc::clone(&self.counts);
        let one_more = |count: &AtomicU64| count.fetch_add(1, Ordering::Relaxed);
        one_more(&counts.passed);
        let (chance, places) = (self.next() % 1000, 1 + self.next() % 3);
        match chance / self.faults_per_mille {
            0 => {
                one_more(&counts.lost);
            }
            1 => {
                one_more(&counts.doubled);
                self.write(to, packet);
                self.write(to, packet);
            }
            2 => {
                one_more(&counts.late);
                self.held.push((places, to, packet.to_vec()));
                return;
            }
            _ => self.write(to, packet),
        }
        for (places, _, _) in &mut self.held {
            *places -= 1;
        }
        let (free, held) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|(places, _, _)| *places == 0);
        self.held = held;
        let free: Vec<_> = free;
        for (_, to, packet) in free {
            self.write(to, &packet);
        }
    }

    fn write(&mut self, to: usize, packet: &[u8]) {
        // A device whose queue is full drops it, as the real ones do.
        let _ = self.ends[to].write(packet);
    }

    /// xorshift64
    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }
}
