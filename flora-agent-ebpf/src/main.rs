//! Flora's kernel programs: HTTP requests counted where their packets pass.
//!
//! # Layout
//! - this file: the programs
//! - [`packet`]: where a TCP segment's payload is
//! - [`maps`]: what is kept
//! - [`early`]: requests that come before their sockets
//! - [`kernel`]: what [`flora_agent_common::connection`] asks of the kernel
//!
//! `ingress` and `egress` are attached to control groups and run once for each
//! packet of a socket in them. Nearly all requests need only these. What does
//! not keep to one message per segment is passed on by tail call: to
//! `ingress_heads` and `egress_heads`, which read a message per call, and to
//! `ingress_scan` and `egress_scan`, which are allowed to be slow and read
//! anything. They are programs of their own so that the verifier counts them
//! apart and the short way stays in few cache lines.
//!
//! A program here never changes a packet or the fate of one: every way out
//! returns [`PASS`].
#![feature(asm_experimental_arch)]
#![no_std]
#![no_main]

mod early;
mod kernel;
mod maps;
mod packet;

use aya_ebpf::btf_maps::ProgramArray;
use aya_ebpf::helpers::{bpf_sk_storage_get, bpf_tail_call};
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use flora_agent_common::connection::{
    self, Connection, Deep, Kernel, Next, Scanned, closed, phase,
};
use flora_agent_common::heads::{self, Headed};
use flora_agent_common::layout::lost;

use kernel::Packet;
use packet::{FIN, RST, Tcp};

/// The packet goes on its way. The only value that a program here returns.
const PASS: i32 = 1;

/// Creates a socket's storage, zeroed, where it has none (`BPF_SK_STORAGE_GET_F_CREATE`).
const CREATE: u64 = 1;

/// A packet that comes in to a socket.
#[cgroup_skb(ingress)]
pub fn ingress(ctx: SkBuffContext) -> i32 {
    let packet = Packet::new(&ctx);
    let Some(tcp) = packet::tcp(&packet) else {
        return PASS;
    };
    if tcp.start >= tcp.length {
        // A client that has said all may still be waiting for its answer.
        if tcp.flags & RST != 0
            && let Some(connection) = known(&packet, 0)
        {
            ended(&packet, connection, false);
        }
        return PASS;
    }
    let Some(connection) = known(&packet, CREATE) else {
        packet.count(lost::STORAGE);
        return PASS;
    };
    if connection.rx == phase::NEW {
        if early::is_early(&packet) {
            pass_on(&packet, tcp.start, &maps::INGRESS_PROGRAMS, maps::FIRST);
            return PASS;
        }
        if packet.begins().is_none() {
            // Its first bytes may have come before it: the packet behind them is its first.
            early::take(&packet, connection);
        }
        packet.introduce(connection);
    }
    let segment = tcp.segment();
    if let Next::Scan(offset) = connection::requests(&packet, connection, &segment) {
        pass_on(
            &packet,
            offset,
            &maps::INGRESS_PROGRAMS,
            slot(connection.rx),
        );
    }
    PASS
}

/// A packet that leaves a socket.
#[cgroup_skb(egress)]
pub fn egress(ctx: SkBuffContext) -> i32 {
    let packet = Packet::new(&ctx);
    let Some(tcp) = packet::tcp(&packet) else {
        return PASS;
    };
    if tcp.start < tcp.length {
        let Some(connection) = known(&packet, 0) else {
            pass_on(&packet, tcp.start, &maps::EGRESS_PROGRAMS, maps::FIRST);
            return PASS;
        };
        if let Next::Scan(offset) = connection::responses(&packet, connection, &tcp.segment()) {
            pass_on(&packet, offset, &maps::EGRESS_PROGRAMS, slot(connection.tx));
        }
        if connection.should_tell() {
            packet.called(connection);
        }
    }
    if tcp.flags & (FIN | RST) != 0
        && let Some(connection) = known(&packet, 0)
    {
        ended(&packet, connection, true);
    }
    PASS
}

/// The connection is over, for one side at least.
#[inline(always)]
fn ended(packet: &Packet, connection: &mut Connection, by_server: bool) {
    if connection.answered > 0 {
        packet.called(connection);
    }
    closed(packet, connection, by_server);
}

/// A request that comes before its socket.
#[cgroup_skb(ingress)]
pub fn ingress_first(ctx: SkBuffContext) -> i32 {
    let packet = Packet::new(&ctx);
    if let Some(tcp) = packet::tcp(&packet)
        && tcp.start < tcp.length
    {
        early::keep(&packet, &tcp);
    }
    PASS
}

/// A request among others in a segment.
#[cgroup_skb(ingress)]
pub fn ingress_heads(ctx: SkBuffContext) -> i32 {
    let packet = Packet::new(&ctx);
    let Some((tcp, offset)) = goes_on(&packet) else {
        return PASS;
    };
    let Some((connection, deep)) = both(&packet) else {
        return PASS;
    };
    let (offset, slot) =
        match heads::head_of_request(&packet, connection, deep, &tcp.segment(), offset) {
            Headed::Done => return PASS,
            Headed::Again(offset) => (offset, maps::HEADS),
            Headed::Machine(offset) => (offset, maps::SCAN),
        };
    pass_on(&packet, offset, &maps::INGRESS_PROGRAMS, slot);
    heads::give_up_requests(&packet, connection);
    PASS
}

/// Requests that need the machine.
#[cgroup_skb(ingress)]
pub fn ingress_scan(ctx: SkBuffContext) -> i32 {
    let packet = Packet::new(&ctx);
    let Some((tcp, offset)) = goes_on(&packet) else {
        return PASS;
    };
    let Some((connection, deep)) = both(&packet) else {
        return PASS;
    };
    if let Scanned::Again(offset) =
        connection::scan_requests(&packet, connection, deep, &tcp.segment(), offset)
    {
        let slot = slot(connection.rx);
        pass_on(&packet, offset, &maps::INGRESS_PROGRAMS, slot);
        // Only a segment full of heads gets here: a program may call another 33 times.
        heads::give_up_requests(&packet, connection);
    }
    PASS
}

/// What leaves a socket of which nothing is known.
#[cgroup_skb(egress)]
pub fn egress_first(ctx: SkBuffContext) -> i32 {
    let packet = Packet::new(&ctx);
    if let Some(tcp) = packet::tcp(&packet)
        && tcp.start < tcp.length
        && stranger(&packet, &tcp).is_some()
    {
        // Now that there is something.
        pass_on(&packet, tcp.start, &maps::EGRESS_PROGRAMS, maps::EGRESS);
    }
    PASS
}

/// A response among others in a segment.
#[cgroup_skb(egress)]
pub fn egress_heads(ctx: SkBuffContext) -> i32 {
    let packet = Packet::new(&ctx);
    let Some((tcp, offset)) = goes_on(&packet) else {
        return PASS;
    };
    let Some((connection, deep)) = both(&packet) else {
        return PASS;
    };
    let headed = heads::head_of_response(&packet, connection, deep, &tcp.segment(), offset);
    let (offset, slot) = match headed {
        Headed::Done => {
            passed(&packet, connection, &tcp);
            return PASS;
        }
        Headed::Again(offset) => (offset, maps::HEADS),
        Headed::Machine(offset) => (offset, maps::SCAN),
    };
    pass_on(&packet, offset, &maps::EGRESS_PROGRAMS, slot);
    heads::give_up_responses(&packet, connection, deep);
    PASS
}

/// Responses that need the machine.
#[cgroup_skb(egress)]
pub fn egress_scan(ctx: SkBuffContext) -> i32 {
    let packet = Packet::new(&ctx);
    let Some((tcp, offset)) = goes_on(&packet) else {
        return PASS;
    };
    let Some((connection, deep)) = both(&packet) else {
        return PASS;
    };
    match connection::scan_responses(&packet, connection, deep, &tcp.segment(), offset) {
        Scanned::Again(offset) => {
            let slot = slot(connection.tx);
            pass_on(&packet, offset, &maps::EGRESS_PROGRAMS, slot);
            heads::give_up_responses(&packet, connection, deep);
        }
        Scanned::Done => passed(&packet, connection, &tcp),
    }
    PASS
}

/// All of a segment of the server is read, by a program that was called.
#[inline(always)]
fn passed(packet: &Packet, connection: &mut Connection, tcp: &Tcp) {
    if tcp.flags & (FIN | RST) != 0 {
        ended(packet, connection, true);
    } else if connection.should_tell() {
        packet.called(connection);
    }
}

/// The packet in the hands of a program that was called, and where that goes on.
#[inline(always)]
fn goes_on(packet: &Packet) -> Option<(Tcp, u32)> {
    let tcp = packet::tcp(packet)?;
    let offset = packet.handed_over();
    if offset < tcp.start || offset > tcp.length {
        return None;
    }
    Some((tcp, offset))
}

/// The program that goes on with a direction in this phase.
#[inline(always)]
fn slot(phase: u8) -> u32 {
    if phase == phase::MACHINE || phase == phase::NEW {
        maps::SCAN
    } else {
        maps::HEADS
    }
}

/// Goes on in another program; returns when that can't be.
#[inline(always)]
fn pass_on(packet: &Packet, offset: u32, programs: &'static ProgramArray<4>, slot: u32) {
    packet.hand_over(offset);
    // SAFETY: the map holds programs of the same type; the context is this program's own.
    unsafe {
        bpf_tail_call(
            packet.context(),
            core::ptr::from_ref(programs).cast_mut().cast(),
            slot,
        );
    }
}

/// The state of the packet's connection.
#[inline(always)]
fn known<'a>(packet: &Packet, flags: u64) -> Option<&'a mut Connection> {
    let socket = packet.socket()?;
    // SAFETY: the map is of this type; the kernel checks the socket; the value is of type
    // `Connection`, zeroed at first, which is a valid one, and lives until the program ends.
    unsafe {
        bpf_sk_storage_get(
            (&raw const maps::CONNECTIONS).cast_mut().cast(),
            socket,
            core::ptr::null_mut(),
            flags,
        )
        .cast::<Connection>()
        .as_mut()
    }
}

/// The state of the packet's connection, and what it needs on top.
#[inline(always)]
fn both<'a>(packet: &Packet) -> Option<(&'a mut Connection, &'a mut Deep)> {
    let connection = known(packet, 0)?;
    let socket = packet.socket()?;
    // SAFETY: as in `known`; a zeroed `Deep` is a valid one.
    let deep = unsafe {
        bpf_sk_storage_get(
            (&raw const maps::DEEP).cast_mut().cast(),
            socket,
            core::ptr::null_mut(),
            CREATE,
        )
        .cast::<Deep>()
        .as_mut()
    };
    if deep.is_none() {
        packet.count(lost::STORAGE);
        connection.rx = phase::RESYNC;
        connection.tx = phase::RESYNC;
    }
    Some((connection, deep?))
}

/// What leaves a socket of which nothing is known: a client's request, or the
/// answer to a request that came before the programs were attached.
#[inline(always)]
fn stranger<'a>(packet: &Packet, tcp: &Tcp) -> Option<&'a mut Connection> {
    match packet.speaks(tcp) {
        packet::Speech::Request => {
            client(packet);
            None
        }
        packet::Speech::Response => {
            let connection = known(packet, CREATE)?;
            early::take(packet, connection);
            packet.introduce(connection);
            Some(connection)
        }
        packet::Speech::Neither => {
            // Whoever speaks first is the client, but where nobody speaks HTTP: what comes back,
            // encrypted or not, is no request that could not be read.
            if packet.begins().is_some() {
                client(packet);
            }
            None
        }
    }
}

/// The socket is a client's: nothing that comes or goes is looked at.
#[inline(always)]
fn client(packet: &Packet) {
    if let Some(connection) = known(packet, CREATE) {
        connection.rx = phase::OPAQUE;
        connection.tx = phase::OPAQUE;
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // The verifier refuses a program that could get here.
    loop {}
}

/// What the kernel asks for before it lets helpers be used that are for GPL-compatible programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
