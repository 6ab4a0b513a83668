//! What the programs keep. The layout of each value is in [`flora_agent_common::layout`].

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, ProgramArray, RingBuf, SkStorage};
use aya_ebpf::macros::btf_map;
use flora_agent_common::connection::{Connection, Deep};
use flora_agent_common::layout::{self, Peer, PeerKey, Route, Series, Span};

/// The state of each connection that sent something; freed with its socket.
#[btf_map]
pub static CONNECTIONS: SkStorage<Connection> = SkStorage::new();

/// More state, of the connections that need it.
#[btf_map]
pub static DEEP: SkStorage<Deep> = SkStorage::new();

/// The programs that `ingress` calls: [`HEADS`], [`SCAN`], [`FIRST`]. (One map for both directions would not do: since 6.17 a map
/// of programs is bound to the attach type of the first that uses it.)
#[btf_map]
pub static INGRESS_PROGRAMS: ProgramArray<4> = ProgramArray::new();

/// The programs that `egress` calls.
#[btf_map]
pub static EGRESS_PROGRAMS: ProgramArray<4> = ProgramArray::new();

/// Where the program is that reads one head after another.
pub const HEADS: u32 = 0;
/// Where the program is that reads byte by byte.
pub const SCAN: u32 = 1;

/// Where the program is that sees to what belongs to no connection that is known.
pub const FIRST: u32 = 2;
/// Where `egress` itself is.
pub const EGRESS: u32 = 3;

/// First requests that came before their sockets: see [`crate::early`].
#[btf_map]
pub static EARLY_CONNECTIONS: LruHashMap<EarlyKey, Connection, 512> = LruHashMap::new();

/// Which connection: the client's address and port (in network order), the server's port.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
pub struct EarlyKey {
    pub address: [u8; 16],
    pub peer_port: u16,
    pub port: u16,
}

/// Routes by slot.
#[btf_map]
pub static ROUTES: Array<Route, { layout::ROUTES }> = Array::new();

/// Numbers of routes by request line, for lines that were seen lately: the hash without its
/// last 16 bits, and the number there.
#[btf_map]
pub static ROUTE_CACHE: Array<u64, ROUTE_CACHE_ENTRIES> = Array::new();

/// Entries of [`ROUTE_CACHE`].
pub const ROUTE_CACHE_ENTRIES: usize = 512;

/// Who has which slot of [`ROUTES`] and [`SERIES_KEYS`]. Adding to a hash map
/// succeeds for one CPU alone, which settles who writes a slot (kernels before
/// 5.12 have no compare-and-exchange). The agent takes slots back: while it does, a slot is nobody's (0).
#[btf_map]
pub static OWNERS: HashMap<
    u32,
    u64,
    { layout::ROUTES + layout::SERIES },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

/// How often slots were taken back.
#[btf_map]
pub static ROUND: Array<u64, 1> = Array::new();

/// What each series is of, as [`layout::series_key`] packs it; 0 for a free slot.
#[btf_map]
pub static SERIES_KEYS: Array<u64, { layout::SERIES }> = Array::new();

/// Counters and histograms, a copy for a CPU; the agent sets how many and reads them by `mmap`.
#[btf_map]
pub static SERIES: Array<Series, { layout::SERIES }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// What is lost, by reason.
#[btf_map]
pub static LOST: Array<u64, { layout::lost::REASONS }> = Array::new();

/// Requests for traces.
#[btf_map]
pub static SPANS: RingBuf<Span, { 256 << 10 }> = RingBuf::new();

/// Who called.
#[btf_map]
pub static PEERS: LruHashMap<PeerKey, Peer, 1024> = LruHashMap::new();

/// Numbers of containers by the id of their control group.
#[btf_map]
pub static CONTAINERS: HashMap<u64, u32, 1024, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
