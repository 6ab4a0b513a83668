//! Requests that come before their sockets.
//!
//! The packet that ends a handshake belongs to the listener: only with it the
//! connection's own socket is made. Mostly it is empty, but it brings the first
//! request when the client's answer to the handshake was lost, when the client
//! puts it off, or when the server waits for data before it accepts
//! (`TCP_DEFER_ACCEPT`, as some do by default). What such a packet comes to is kept by its
//! addresses, until the socket is first seen: with its answer, or with more of the request.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::generated::bpf_skb_load_bytes;
use flora_agent_common::connection::{self, Connection, Next};
use flora_agent_common::head::Source;

use crate::kernel::Packet;
use crate::maps::{EARLY_CONNECTIONS, EarlyKey};
use crate::packet::{SYN, Tcp};

/// A listening socket (`TCP_LISTEN`).
const LISTEN: u32 = 10;

/// A connection of which nothing is known; not on the stack, which has no room for it.
#[unsafe(no_mangle)]
// SAFETY: numbers all.
static NONE: Connection = unsafe { core::mem::zeroed() };

const WORDS: usize = size_of::<Connection>() / 8;

/// Whether the packet is in the hands of a listener.
#[inline(always)]
pub fn is_early(packet: &Packet) -> bool {
    match packet.socket() {
        // SAFETY: a field of the socket, which the verifier lets be read.
        Some(socket) => unsafe { (*socket.cast::<bpf_sock>()).state == LISTEN },
        None => false,
    }
}

/// Reads a request, and keeps it.
#[inline(always)]
pub fn keep(packet: &Packet, tcp: &Tcp) {
    let Some(key) = sender(packet, tcp) else {
        return;
    };
    if EARLY_CONNECTIONS.insert(key, &NONE, 0).is_err() {
        return;
    }
    let Some(kept) = EARLY_CONNECTIONS.get_ptr_mut(key) else {
        return;
    };
    // SAFETY: an entry of the map.
    let connection = unsafe { &mut *kept };
    let mut segment = tcp.segment();
    if tcp.flags & SYN != 0 {
        segment.sequence = segment.sequence.wrapping_add(1);
    }
    // What needs more than the short way is lost, as its answer will tell.
    let next = connection::requests(packet, connection, &segment);
    if !matches!(next, Next::Done) || connection.head == connection.tail {
        let _ = EARLY_CONNECTIONS.remove(key);
    }
}

/// Takes over what was kept of a connection of which nothing else is known.
#[inline(always)]
pub fn take(packet: &Packet, connection: &mut Connection) {
    let (address, peer_port, port) = packet.peer();
    let key = EarlyKey {
        address,
        peer_port,
        port,
    };
    let Some(kept) = EARLY_CONNECTIONS.get_ptr_mut(key) else {
        return;
    };
    let from: *const u64 = kept.cast_const().cast();
    let to: *mut u64 = core::ptr::from_mut(connection).cast();
    let mut n = 0;
    while n < WORDS {
        // SAFETY: both are connections. Word by word: a copy of the whole would be a loop of bytes.
        unsafe { write_volatile(to.add(n), read_volatile(from.add(n))) };
        n += 1;
    }
    let _ = EARLY_CONNECTIONS.remove(key);
}

/// The packet's sender, as a key.
#[inline(always)]
fn sender(packet: &Packet, tcp: &Tcp) -> Option<EarlyKey> {
    const PREFIX: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    let mut key = EarlyKey {
        address: PREFIX,
        peer_port: 0,
        port: 0,
    };
    let load = |offset: u32, to: *mut u8, length: u32| {
        // SAFETY: the callers below have so much room.
        unsafe { bpf_skb_load_bytes(packet.context(), offset, to.cast(), length) == 0 }
    };
    let address = (&raw mut key.address).cast::<u8>();
    let found = if tcp.four {
        load(12, address.wrapping_add(12), 4)
    } else {
        load(8, address, 16)
    };
    let mut ports = [0u8; 4];
    if !found || !load(tcp.header, ports.as_mut_ptr(), 4) {
        return None;
    }
    // So that the verifier knows the same of both kinds of address.
    let address = address.cast::<u32>();
    let mut n = 0;
    while n < 4 {
        // SAFETY: four words of four bytes, aligned as the key is.
        unsafe {
            let word = read_volatile(address.add(n));
            write_volatile(address.add(n), packet.forget(u64::from(word)) as u32);
        }
        n += 1;
    }
    key.peer_port = u16::from_ne_bytes([ports[0], ports[1]]);
    key.port = u16::from_be_bytes([ports[2], ports[3]]);
    Some(key)
}
