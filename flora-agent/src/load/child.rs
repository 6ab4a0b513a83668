//! What the child does: loads the object with aya, passes every descriptor on, and ends.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use aya::maps::{Map, MapData, ProgramArray};
use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfLoader};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};

use super::handoff::{self, Item};
use super::{OBJECT, Settings};

/// Programs that go on where others leave off, and where those look for them: map and slot.
const CALLED: [(&str, u32, &str); 7] = [
    ("INGRESS_PROGRAMS", 0, "ingress_heads"),
    ("INGRESS_PROGRAMS", 1, "ingress_scan"),
    ("INGRESS_PROGRAMS", 2, "ingress_first"),
    ("EGRESS_PROGRAMS", 0, "egress_heads"),
    ("EGRESS_PROGRAMS", 1, "egress_scan"),
    ("EGRESS_PROGRAMS", 2, "egress_first"),
    ("EGRESS_PROGRAMS", 3, "egress"),
];

/// Why the object can't be loaded.
#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error(transparent)]
    Ebpf(#[from] aya::EbpfError),
    #[error("{name}: {source}")]
    Program { name: String, source: ProgramError },
    #[error("a map of programs: {0}")]
    Map(#[from] aya::maps::MapError),
    #[error("the object has a program {0} that is not for control groups")]
    Kind(String),
    #[error("{0}")]
    Send(#[from] nix::Error),
}

/// Loads, sends, ends the process.
pub(super) fn run(settings: Settings, copies: usize, channel: &OwnedFd) -> ! {
    let code = match copies_of(settings, copies, channel) {
        Ok(()) => 0,
        Err(error) => {
            let text = crate::error::text(&error);
            let _ = handoff::send_failure(channel, is_refusal(&error), &text);
            1
        }
    };
    // Nothing of the parent's that this process has a copy of may be flushed or dropped twice.
    exit(code)
}

#[allow(unsafe_code, reason = "_exit(2) has no safe wrapper")]
fn exit(code: i32) -> ! {
    // SAFETY: ends the process, whatever its state.
    unsafe { libc::_exit(code) }
}

fn copies_of(settings: Settings, copies: usize, channel: &OwnedFd) -> Result<(), ChildError> {
    let hash = super::object_hash();
    let mut settings = settings;
    for _ in 0..copies {
        let loaded = match one(&settings) {
            Err(error @ ChildError::Program { .. })
                if !settings.clear_windows && !is_refusal(&error) =>
            {
                settings.clear_windows = true;
                one(&settings)
            }
            loaded => loaded,
        };
        let (object, times) = loaded?;
        send(&object, &hash, &times, channel)?;
    }
    Ok(())
}

/// One copy, and what loading each program took.
fn one(settings: &Settings) -> Result<(Ebpf, BTreeMap<String, Duration>), ChildError> {
    let mut object = open(settings)?;
    let mut times = BTreeMap::new();
    for (name, program) in object.programs_mut() {
        let Program::CgroupSkb(program) = program else {
            return Err(ChildError::Kind(name.to_owned()));
        };
        let before = cpu_time()?;
        program.load().map_err(in_program(name))?;
        times.insert(name.to_owned(), cpu_time()?.saturating_sub(before));
    }
    chain(&mut object)?;
    Ok((object, times))
}

/// What this process has had of a CPU: the kernel verifies and translates in its time, and
/// who else is on the machine makes no difference.
fn cpu_time() -> nix::Result<Duration> {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from)
}

fn in_program(name: &str) -> impl FnOnce(ProgramError) -> ChildError {
    let name = name.to_owned();
    |source| ChildError::Program { name, source }
}

/// Parses the object, makes its maps.
fn open(settings: &Settings) -> Result<Ebpf, ChildError> {
    let span_errors = u8::from(settings.span_errors);
    let clear_windows = u8::from(settings.clear_windows);
    let mask = settings.cpus - 1;
    Ok(loader()
        .map_max_entries("SERIES", settings.series())
        .map_max_entries("SPANS", settings.ring_bytes())
        .override_global("CPU_MASK", &mask, true)
        .override_global("SPAN_MASK", &settings.span_mask, true)
        .override_global("SLOW_NANOSECONDS", &settings.slow_nanoseconds, true)
        .override_global("SPAN_ERRORS", &span_errors, true)
        .override_global("CLEAR_WINDOWS", &clear_windows, true)
        .load(OBJECT)?)
}

/// A loader that has not read the kernel's own type information.
///
/// The programs need none of it, yet aya reads and indexes all of it (20 MB)
/// before it can be told so. Without a descriptor to open the file with, it
/// goes on without.
fn loader<'a>() -> EbpfLoader<'a> {
    let limits = getrlimit(Resource::RLIMIT_NOFILE);
    if let Ok((_, hard)) = limits {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, 0, hard);
    }
    let mut loader = EbpfLoader::new();
    if let Ok((soft, hard)) = limits {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
    }
    loader.btf(None);
    loader
}

/// Puts the programs that are called from others where those look for them.
fn chain(object: &mut Ebpf) -> Result<(), ChildError> {
    for (map, slot, name) in CALLED {
        let Some(program) = object.program(name) else {
            continue;
        };
        let descriptor = program.fd().map_err(in_program(name))?;
        let descriptor = descriptor
            .try_clone()
            .map_err(|error| in_program(name)(error.into()))?;
        if let Some(map) = object.map_mut(map) {
            ProgramArray::try_from(map)?.set(slot, &descriptor, 0)?;
        }
    }
    Ok(())
}

fn send(
    object: &Ebpf,
    hash: &str,
    times: &BTreeMap<String, Duration>,
    channel: &OwnedFd,
) -> Result<(), ChildError> {
    let mut items = Vec::new();
    for (name, program) in object.programs() {
        let item = Item::Program {
            name: name.to_owned(),
            load_time: times.get(name).copied().unwrap_or_default(),
        };
        let descriptor = program.fd().map_err(in_program(name))?;
        items.push((item, descriptor.as_fd()));
    }
    for (name, map) in object.maps() {
        let item = Item::Map {
            name: name.to_owned(),
        };
        items.push((item, data(map).fd().as_fd()));
    }
    Ok(handoff::send_copy(channel, hash, &items)?)
}

/// What each kind of map has in common.
fn data(map: &Map) -> &MapData {
    match map {
        Map::Array(data)
        | Map::ArrayOfMaps(data)
        | Map::BloomFilter(data)
        | Map::CgroupArray(data)
        | Map::CgroupStorage(data)
        | Map::CgrpStorage(data)
        | Map::CpuMap(data)
        | Map::DevMap(data)
        | Map::DevMapHash(data)
        | Map::HashMap(data)
        | Map::HashOfMaps(data)
        | Map::InodeStorage(data)
        | Map::LpmTrie(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuCgroupStorage(data)
        | Map::PerCpuHashMap(data)
        | Map::PerCpuLruHashMap(data)
        | Map::PerfEventArray(data)
        | Map::ProgramArray(data)
        | Map::Queue(data)
        | Map::ReusePortSockArray(data)
        | Map::RingBuf(data)
        | Map::SockHash(data)
        | Map::SockMap(data)
        | Map::SkStorage(data)
        | Map::Stack(data)
        | Map::StackTraceMap(data)
        | Map::Unsupported(data)
        | Map::XskMap(data) => data,
    }
}

/// Whether the kernel said no to this process, rather than to the object.
///
/// The verifier says EACCES of a program; EPERM is about who asks, and ENOSYS what some
/// filters of containers say of the whole system call.
fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS));
        }
        next = error.source();
    }
    false
}
