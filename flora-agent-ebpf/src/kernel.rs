//! What [`flora_agent_common::connection`] asks of the kernel.

use core::arch::asm;
use core::ffi::c_void;
use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::bindings::{__sk_buff, BPF_NOEXIST, BPF_RB_NO_WAKEUP, bpf_sock};
use aya_ebpf::helpers::generated::{
    bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_skb_cgroup_id, bpf_skb_load_bytes, bpf_tcp_sock,
};
use aya_ebpf::programs::SkBuffContext;
use flora_agent_common::connection::{Answer, Connection, Kernel, TEXT_WORDS};
use flora_agent_common::head::{LINE_WORDS, Line, Room, Source, WORDS};
use flora_agent_common::layout::{
    self, BUCKETS, OTHER, Peer, PeerKey, ROUTES, Route, SERIES, TAKEN_BACK, bucket, lost,
    route_number, route_parts, series_key,
};
use flora_agent_common::machine::WINDOW;
use flora_agent_common::template::{TEXT_BYTES, Templater};

use crate::maps;

/// One less than the copies of the series there are, a power of two.
#[unsafe(no_mangle)]
static CPU_MASK: u32 = 0;

/// One request in so many (less one; a power of two less one) becomes a span; all ones: none.
#[unsafe(no_mangle)]
static SPAN_MASK: u32 = u32::MAX;

/// Requests that take so long become spans, in nanoseconds.
#[unsafe(no_mangle)]
static SLOW_NANOSECONDS: u64 = u64::MAX;

/// Whether requests that are answered with 5xx become spans.
#[unsafe(no_mangle)]
static SPAN_ERRORS: u8 = 0;

/// Whether all of a window is cleared before it is read into, as the verifier demands before
/// Linux 6.3 (6715df8d5d24). It takes a tenth of each program's time.
#[unsafe(no_mangle)]
static CLEAR_WINDOWS: u8 = 0;

/// How many slots are tried for a route or a series.
const PROBES: u32 = 8;

/// A packet in the hands of a program.
pub struct Packet<'a> {
    context: &'a SkBuffContext,
}

impl<'a> Packet<'a> {
    /// The program's packet.
    #[inline(always)]
    pub fn new(context: &'a SkBuffContext) -> Self {
        Packet { context }
    }

    /// The kernel's view of it.
    #[inline(always)]
    pub fn skb(&self) -> *mut __sk_buff {
        self.context.skb.skb
    }

    /// The program's argument.
    #[inline(always)]
    pub fn context(&self) -> *mut c_void {
        self.skb().cast()
    }

    /// The socket that it belongs to.
    #[inline(always)]
    pub fn socket(&self) -> Option<*mut c_void> {
        // SAFETY: a field of the context.
        let socket: *mut bpf_sock = unsafe { (*self.skb()).__bindgen_anon_2.sk };
        if socket.is_null() {
            None
        } else {
            Some(socket.cast())
        }
    }

    /// Leaves an offset for the program that is called next.
    #[inline(always)]
    pub fn hand_over(&self, offset: u32) {
        // SAFETY: the packet's scratch words, which the kernel saves around the programs.
        unsafe { (*self.skb()).cb[0] = offset };
    }

    /// The offset that the program before has left.
    #[inline(always)]
    pub fn handed_over(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.skb()).cb[0] }
    }

    /// Counts what is lost.
    #[inline(always)]
    pub fn count(&self, reason: u32) {
        if let Some(counter) = maps::LOST.get_ptr_mut(reason) {
            add(counter, 1);
        }
    }

    /// The payload's first bytes.
    #[inline(always)]
    pub fn sixteen(&self, offset: u32, words: &mut [u64; 2]) -> bool {
        // SAFETY: sixteen bytes of room.
        unsafe { bpf_skb_load_bytes(self.context(), offset, words.as_mut_ptr().cast(), 16) == 0 }
    }

    /// A connection of which nothing is known yet: whose it is.
    #[inline(always)]
    pub fn introduce(&self, connection: &mut Connection) {
        // SAFETY: the context is the program's own.
        let group = unsafe { bpf_skb_cgroup_id(self.skb()) };
        // SAFETY: the value is copied at once.
        if let Some(number) = unsafe { maps::CONTAINERS.get(group) } {
            connection.container = *number as u16;
        }
    }

    /// The peer's address, as the socket has it: packets may be translated on their way.
    #[inline(always)]
    pub fn peer(&self) -> ([u8; 16], u16, u16) {
        const AF_INET: u32 = 2;
        let skb = self.skb();
        // SAFETY: fields of the context, each read by itself: the verifier permits no computed one.
        unsafe {
            let family = read_volatile(&raw const (*skb).family);
            let four = read_volatile(&raw const (*skb).remote_ip4);
            let mut address = [
                read_volatile(&raw const (*skb).remote_ip6[0]),
                read_volatile(&raw const (*skb).remote_ip6[1]),
                read_volatile(&raw const (*skb).remote_ip6[2]),
                read_volatile(&raw const (*skb).remote_ip6[3]),
            ];
            if family == AF_INET {
                address = [0, 0, 0xffff_0000, four];
            }
            (
                core::mem::transmute::<[u32; 4], [u8; 16]>(address),
                // In network order, as a word of four bytes (`__sk_buff` in `net/core/filter.c`).
                (read_volatile(&raw const (*skb).remote_port).to_be() as u16).to_be(),
                read_volatile(&raw const (*skb).local_port) as u16,
            )
        }
    }

    /// Brings the caller's entry up to date.
    #[inline(always)]
    pub fn called(&self, connection: &mut Connection) {
        let (address, _, _) = self.peer();
        let key = PeerKey {
            address,
            container: u32::from(connection.container),
        };
        let (connections, requests) = connection.tell();
        let peer = match maps::PEERS.get_ptr_mut(key) {
            Some(peer) => peer,
            None => {
                let none = Peer {
                    connections: 0,
                    requests: 0,
                };
                // Of two CPUs one adds it, and both find it.
                let _ = maps::PEERS.insert(key, none, BPF_NOEXIST.into());
                match maps::PEERS.get_ptr_mut(key) {
                    Some(peer) => peer,
                    None => return,
                }
            }
        };
        // SAFETY: an entry of the map.
        unsafe {
            add(&raw mut (*peer).connections, connections);
            add(&raw mut (*peer).requests, requests);
        }
    }

    /// The series' counters, of the copy that belongs to this CPU.
    #[inline(always)]
    fn counters(&self, series: u16) -> Option<*mut layout::Series> {
        // SAFETY: set by the loader, never written here.
        let mask = unsafe { read_volatile(&raw const CPU_MASK) };
        // SAFETY: has no preconditions.
        let cpu = unsafe { bpf_get_smp_processor_id() } & mask;
        maps::SERIES.get_ptr_mut(cpu * SERIES as u32 + u32::from(series))
    }

    /// Keeps a request for a trace, when it is one that is asked for.
    #[inline(always)]
    fn span(&self, answer: &Answer, first: u64, end: u64) {
        // SAFETY: set by the loader, never written here.
        let (mask, slow, errors) = unsafe {
            (
                read_volatile(&raw const SPAN_MASK),
                read_volatile(&raw const SLOW_NANOSECONDS),
                read_volatile(&raw const SPAN_ERRORS),
            )
        };
        let mut reason = 0;
        if errors != 0 && answer.status >= 500 {
            reason |= 1;
        }
        if end.wrapping_sub(answer.start) >= slow {
            reason |= 2;
        }
        // The clock's lower bits are as good as chance.
        if mask != u32::MAX && (answer.start >> 5) as u32 & mask == 0 {
            reason |= 4;
        }
        if reason == 0 {
            return;
        }
        let Some(mut entry) = maps::SPANS.reserve(0) else {
            self.count(lost::SPAN);
            return;
        };
        let (peer, peer_port, port) = self.peer();
        let span = entry.as_mut_ptr();
        // SAFETY: room for a span, written field by field: a copy of the whole would be a loop.
        unsafe {
            (*span).start = answer.start;
            (*span).first = first;
            (*span).end = end;
            (*span).request_bytes = answer.request_bytes;
            (*span).response_bytes = answer.response_bytes;
            (*span).peer = peer;
            (*span).peer_port = u16::from_be(peer_port);
            (*span).port = port;
            (*span).status = answer.status;
            (*span).route = answer.route;
            (*span).container = answer.container;
            (*span).reason = reason;
            (*span).reserved = 0;
        }
        // Never woken: that would cost more than all the rest ten times over.
        entry.submit(BPF_RB_NO_WAKEUP.into());
    }

    /// The slot of a route that is not in the cache.
    #[inline(always)]
    fn find_route(&self, text: &[u64; TEXT_WORDS], line: &Line, cut: bool) -> u16 {
        let length = self.forget(u64::from(line.length)) as u32;
        let mut templater = Templater::new();
        let mut n = 0u32;
        while n < TEXT_BYTES as u32 {
            if n >= length {
                break;
            }
            templater.push((text[(n >> 3) as usize & 7] >> (8 * (n & 7))) as u8);
            templater.forget(|value| self.forget(value));
            n += 1;
        }
        // Not from `length`, of which the verifier knows by now how many turns there were.
        let length = self.forget(u64::from(line.length)) as u32;
        let hash = templater.finish(cut);
        let mut probe = 0;
        while probe < PROBES {
            let slot = 1 + ((hash >> 8) as u32).wrapping_add(probe) % (ROUTES as u32 - 1);
            probe += 1;
            let Some(route) = maps::ROUTES.get_ptr_mut(slot) else {
                return OTHER;
            };
            // SAFETY: a slot of the map. The hash is written last, in one piece.
            let found = unsafe { read_volatile(&raw const (*route).hash) };
            if found == hash {
                return number_of(slot, route);
            }
            if found != 0 {
                continue;
            }
            if maps::OWNERS.insert(slot, hash, BPF_NOEXIST.into()).is_ok() {
                // SAFETY: this CPU alone has the slot.
                unsafe {
                    let words = (&raw mut (*route).text).cast::<u64>();
                    let mut n = 0;
                    while n < TEXT_WORDS {
                        write_volatile(words.add(n), text[n]);
                        n += 1;
                    }
                    (*route).method = line.method;
                    (*route).length = length as u8;
                    (*route).cut = cut as u8;
                    write_volatile(&raw mut (*route).ready, 1);
                    write_volatile(&raw mut (*route).hash, hash);
                }
                return number_of(slot, route);
            }
            // Another CPU is about to write the same.
            // SAFETY: the value is compared at once.
            if unsafe { maps::OWNERS.get(slot) }.is_some_and(|owner| *owner == hash) {
                return number_of(slot, route);
            }
        }
        self.count(lost::ROUTE);
        OTHER
    }

    /// The route that a number stands for, unless its slot is another's by now.
    #[inline(always)]
    fn route_of(&self, number: u16) -> Option<*mut Route> {
        let slot = u32::from(route_parts(number).0);
        let route = maps::ROUTES.get_ptr_mut(slot)?;
        if number_of(slot, route) == number {
            Some(route)
        } else {
            None
        }
    }
}

/// Bits of an entry of the cache that hold the route's number.
const NUMBER: u64 = 0xffff;

/// The number of a slot's route.
#[inline(always)]
fn number_of(slot: u32, route: *const Route) -> u16 {
    // SAFETY: a field of the map's. The agent alone writes it, while nobody can have the slot.
    route_number(slot as u16, unsafe {
        read_volatile(&raw const (*route).generation)
    })
}

/// Where a request line with this hash is in the cache.
#[inline(always)]
fn cache_index(hash: u64) -> u32 {
    (hash >> 16) as u32 % maps::ROUTE_CACHE_ENTRIES as u32
}

/// Adds to a counter that interrupts and other CPUs add to as well.
#[inline(always)]
fn add(counter: *mut u64, value: u64) {
    // SAFETY: a counter in a map. `lock add`; what it would return is not asked for.
    unsafe {
        asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) value);
    }
}

impl Source for Packet<'_> {
    #[inline(always)]
    fn window(&self, offset: u32, length: u32, window: &mut [u64; WORDS]) -> bool {
        let mut n = u64::from(length);
        // Hidden from the compiler, which has proved the bound, so that the verifier sees it.
        // SAFETY: adds nothing.
        unsafe { asm!("{0} += 0", inout(reg) n) };
        if n == 0 || n > 8 * WORDS as u64 {
            return false;
        }
        // SAFETY: so many bytes of room.
        unsafe {
            bpf_skb_load_bytes(self.context(), offset, window.as_mut_ptr().cast(), n as u32) == 0
        }
    }

    #[inline(always)]
    fn blank<'a>(&self, room: &'a mut Room) -> &'a mut [u64; WORDS] {
        let words = room.as_mut_ptr().cast::<u64>();
        // Of a plain 0 the compiler makes a call that writes byte by byte: 0.1 µs a request.
        let zero = self.forget(0);
        let mut n = 0;
        while n < LINE_WORDS {
            // SAFETY: a word of the room.
            unsafe { write_volatile(words.add(n), zero) };
            n += 1;
        }
        // SAFETY: set by the loader, never written here.
        if unsafe { read_volatile(&raw const CLEAR_WINDOWS) } != 0 {
            while n < WORDS {
                // SAFETY: a word of the room.
                unsafe { write_volatile(words.add(n), zero) };
                n += 1;
            }
        }
        // SAFETY: changes nothing, but the compiler can't know that.
        unsafe { asm!("{0} += 0", inout(reg) words => _) };
        // SAFETY: the code above may have written it.
        unsafe { room.assume_init_mut() }
    }

    #[inline(always)]
    fn forget(&self, value: u64) -> u64 {
        let mut value = value;
        // SAFETY: a field of the context.
        let unknown = u64::from(unsafe { read_volatile(&raw const (*self.skb()).hash) });
        // SAFETY: twice the same, so nothing changes.
        unsafe {
            asm!("{0} ^= {1}", "{0} ^= {1}", inout(reg) value, in(reg) unknown);
        }
        value
    }
}

impl Kernel for Packet<'_> {
    #[inline(always)]
    fn begins(&self) -> Option<u32> {
        let socket = self.socket()?;
        // SAFETY: the kernel gives nothing when the socket is none of TCP.
        let tcp = unsafe { bpf_tcp_sock(socket.cast()).as_ref() }?;
        if tcp.bytes_received == 0 {
            Some(tcp.rcv_nxt)
        } else {
            None
        }
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: has no preconditions.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn sent(&self) -> u64 {
        // TCP notes when a segment is sent, in CLOCK_MONOTONIC (`skb_set_delivery_time`), which
        // saves a reading of the clock.
        // SAFETY: a field of the context.
        let sent = unsafe { (*self.skb()).tstamp };
        if sent != 0 { sent } else { self.now() }
    }

    #[inline(always)]
    fn known_route(&self, hash: u64) -> Option<u16> {
        let entry = maps::ROUTE_CACHE.get_ptr_mut(cache_index(hash))?;
        // SAFETY: an entry of the map, read and written in one piece.
        let cached = unsafe { read_volatile(entry) };
        if (cached ^ hash) & !NUMBER != 0 {
            return None;
        }
        let route = self.route_of(cached as u16)?;
        // SAFETY: a slot of the map, read in one piece.
        if unsafe { read_volatile(&raw const (*route).hash) } == TAKEN_BACK {
            return None;
        }
        Some(cached as u16)
    }

    #[inline(always)]
    fn route(&self, text: &[u64; TEXT_WORDS], line: &Line, cut: bool) -> u16 {
        let route = self.find_route(text, line, cut);
        // What found no slot is counted each time, so it is not kept.
        if route != OTHER
            && let Some(entry) = maps::ROUTE_CACHE.get_ptr_mut(cache_index(line.hash))
        {
            // SAFETY: as above.
            unsafe { write_volatile(entry, line.hash & !NUMBER | u64::from(route)) };
        }
        route
    }

    #[inline(always)]
    fn series(&self, container: u16, route: u16, status: u16) -> u16 {
        let mut route = route;
        if self.route_of(route).is_none() {
            // It was taken back while the request waited, and may be another's by now.
            self.count(lost::ROUTE);
            route = OTHER;
        }
        let route = self.forget(u64::from(route)) as u16;
        let key = series_key(container, route, status);
        let hash = key.wrapping_mul(0xff51_afd7_ed55_8ccd) >> 40;
        let mut probe = 0;
        while probe < PROBES {
            let slot = 1 + (hash as u32).wrapping_add(probe) % (SERIES as u32 - 1);
            probe += 1;
            let Some(entry) = maps::SERIES_KEYS.get_ptr_mut(slot) else {
                return 0;
            };
            // SAFETY: an entry of the map, read and written in one piece.
            let found = unsafe { read_volatile(entry) };
            if found == key {
                return slot as u16;
            }
            if found != 0 {
                continue;
            }
            let number = ROUTES as u32 + slot;
            if maps::OWNERS.insert(number, key, BPF_NOEXIST.into()).is_ok() {
                // SAFETY: this CPU alone has the slot.
                unsafe { write_volatile(entry, key) };
                return slot as u16;
            }
            // SAFETY: the value is compared at once.
            if unsafe { maps::OWNERS.get(number) }.is_some_and(|owner| *owner == key) {
                return slot as u16;
            }
        }
        self.count(lost::SERIES);
        0
    }

    #[inline(always)]
    fn is_series(&self, series: u16, container: u16, route: u16, status: u16) -> bool {
        // What found no slot tries again when some have come back.
        if series == 0 {
            return true;
        }
        match maps::SERIES_KEYS.get_ptr_mut(u32::from(series)) {
            // SAFETY: an entry of the map, read in one piece. It is emptied long after it is
            // closed, when no program runs that has read it before.
            Some(entry) => unsafe { read_volatile(entry) == series_key(container, route, status) },
            None => false,
        }
    }

    #[inline(always)]
    fn round(&self) -> u16 {
        match maps::ROUND.get_ptr_mut(0) {
            // SAFETY: as above.
            Some(round) => unsafe { read_volatile(round) as u16 },
            None => 0,
        }
    }

    #[inline(always)]
    fn single(&self, series: u16, answer: &Answer, now: u64) {
        let Some(counters) = self.counters(series) else {
            return;
        };
        let duration = now.saturating_sub(answer.start);
        let index = bucket(duration) as usize;
        // SAFETY: fields of the counters.
        unsafe {
            add(&raw mut (*counters).single_nanoseconds, duration);
            add(&raw mut (*counters).request_bytes, answer.request_bytes);
            add(&raw mut (*counters).response_bytes, answer.response_bytes);
            if index < BUCKETS {
                add((&raw mut (*counters).single).cast::<u64>().add(index), 1);
            }
        }
        self.span(answer, now, now);
    }

    #[inline(always)]
    fn first(&self, series: u16, answer: &Answer, now: u64) {
        let Some(counters) = self.counters(series) else {
            return;
        };
        let duration = now.saturating_sub(answer.start);
        let index = bucket(duration) as usize;
        // SAFETY: fields of the counters.
        unsafe {
            add(&raw mut (*counters).first_nanoseconds, duration);
            add(&raw mut (*counters).request_bytes, answer.request_bytes);
            add(&raw mut (*counters).response_bytes, answer.response_bytes);
            if index < BUCKETS {
                add((&raw mut (*counters).first).cast::<u64>().add(index), 1);
            }
        }
    }

    #[inline(always)]
    fn bytes(&self, series: u16, bytes: u64) {
        if let Some(counters) = self.counters(series) {
            // SAFETY: a field of the counters.
            unsafe { add(&raw mut (*counters).response_bytes, bytes) };
        }
    }

    #[inline(always)]
    fn last(&self, series: u16, answer: &Answer, first: u64, uncounted: u64, now: u64) {
        let Some(counters) = self.counters(series) else {
            return;
        };
        let duration = now.saturating_sub(answer.start);
        let index = bucket(duration) as usize;
        // SAFETY: fields of the counters.
        unsafe {
            add(&raw mut (*counters).last_nanoseconds, duration);
            add(&raw mut (*counters).response_bytes, uncounted);
            if index < BUCKETS {
                add((&raw mut (*counters).last).cast::<u64>().add(index), 1);
            }
        }
        self.span(answer, first, now);
    }

    #[inline(always)]
    fn lost(&self, reason: u32) {
        self.count(reason);
    }

    #[inline(always)]
    fn all_lost(&self, reason: u32, times: u64) {
        if let Some(counter) = maps::LOST.get_ptr_mut(reason) {
            add(counter, times);
        }
    }

    #[inline(always)]
    fn some(&self, offset: u32, length: u32, words: &mut [u64; WINDOW]) -> bool {
        let mut n = u64::from(length);
        // SAFETY: adds nothing; see `window`.
        unsafe { asm!("{0} += 0", inout(reg) n) };
        if n == 0 || n > 8 * WINDOW as u64 {
            return false;
        }
        // SAFETY: so many bytes of room.
        unsafe {
            bpf_skb_load_bytes(self.context(), offset, words.as_mut_ptr().cast(), n as u32) == 0
        }
    }

    #[inline(always)]
    fn opaque(&self, counter: u32) -> u32 {
        let mut counter = u64::from(counter);
        // SAFETY: adds nothing, but the compiler can't know, nor that memory stays as it is.
        unsafe { asm!("{0} += 0", inout(reg) counter) };
        counter as u32
    }
}
