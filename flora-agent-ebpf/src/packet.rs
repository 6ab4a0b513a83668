//! Where a TCP segment's payload is.

use aya_ebpf::bindings::__sk_buff;
use flora_agent_common::connection::Segment;
use flora_agent_common::head;

use crate::kernel::Packet;

/// The sender has no more to say (RFC 9293 §3.1).
pub const FIN: u8 = 1;
/// A handshake begins.
pub const SYN: u8 = 2;
/// The connection is no more.
pub const RST: u8 = 4;

const PROTOCOL_TCP: u8 = 6;
const IPV6_BYTES: u32 = 40;

/// What a TCP packet says of itself.
#[derive(Clone, Copy)]
pub struct Tcp {
    /// Whether it is a packet of IPv4, and not of IPv6.
    pub four: bool,
    /// Where its TCP header starts.
    pub header: u32,
    /// Sequence number of its first payload byte.
    pub sequence: u32,
    /// Where the payload starts.
    pub start: u32,
    /// Where it ends.
    pub length: u32,
    /// Its flags.
    pub flags: u8,
}

impl Tcp {
    /// Its payload.
    #[inline(always)]
    pub fn segment(&self) -> Segment {
        Segment {
            sequence: self.sequence,
            start: self.start,
            length: self.length,
        }
    }
}

/// Reads the headers, which are in the packet's linear part; nothing for what is not TCP.
///
/// The packet starts at its IP header. IPv6 extension headers are rare enough
/// before TCP that packets with them are let pass unseen.
#[inline(always)]
pub fn tcp(packet: &Packet) -> Option<Tcp> {
    let skb: *const __sk_buff = packet.skb();
    // SAFETY: the context's fields; the verifier turns these reads into the kernel's own.
    let (data, end, length) =
        unsafe { ((*skb).data as usize, (*skb).data_end as usize, (*skb).len) };
    if data + 20 > end {
        return None;
    }
    // SAFETY (and below): each read lies before `end`, which the line before it has checked.
    let first = unsafe { *(data as *const u8) };
    let four = first >> 4 == 4;
    let (header, protocol) = if four {
        (u32::from(first & 15) * 4, unsafe {
            *((data + 9) as *const u8)
        })
    } else {
        (IPV6_BYTES, unsafe { *((data + 6) as *const u8) })
    };
    if protocol != PROTOCOL_TCP {
        return None;
    }
    let at = data + header as usize;
    if at + 20 > end {
        return None;
    }
    let (sequence, offset, flags) = unsafe {
        (
            u32::from_be(*((at + 4) as *const u32)),
            *((at + 12) as *const u8) >> 4,
            *((at + 13) as *const u8),
        )
    };
    Some(Tcp {
        four,
        header,
        sequence,
        start: header + u32::from(offset) * 4,
        length,
        flags,
    })
}

/// What a payload starts like.
pub enum Speech {
    /// A request.
    Request,
    /// A response.
    Response,
    /// Neither.
    Neither,
}

impl Packet<'_> {
    /// What the payload starts like.
    #[inline(always)]
    pub fn speaks(&self, tcp: &Tcp) -> Speech {
        let mut words = [0u64; 2];
        if tcp.length - tcp.start < 16 || !self.sixteen(tcp.start, &mut words) {
            return Speech::Neither;
        }
        if head::status(words[0], words[1]).is_some() {
            Speech::Response
        } else if head::usual_method(words[0]).is_some() {
            Speech::Request
        } else {
            Speech::Neither
        }
    }
}
