//! Takes spans out of the ring.

use std::mem::offset_of;
use std::os::fd::AsFd;

use aya::maps::{Map as AyaMap, MapData, MapError as AyaError, RingBuf};
use flora_agent_common::layout::Span;

use crate::bpf::map::Map;

/// Why the ring can't be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the ring of spans: {0}")]
pub enum RingError {
    /// The kernel refuses.
    #[error("cannot open the ring of spans: {0}")]
    Map(#[from] AyaError),
    /// No descriptor is left.
    #[error("cannot open the ring of spans: {0}")]
    Io(#[from] std::io::Error),
}

/// The reading end.
pub struct Ring(RingBuf<MapData>);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ring")
    }
}

impl Ring {
    /// Maps the ring into memory.
    ///
    /// # Errors
    /// [`RingError`]
    pub fn new(map: &Map) -> Result<Self, RingError> {
        let data = MapData::from_fd(map.as_fd().try_clone_to_owned()?)?;
        Ok(Ring(RingBuf::try_from(AyaMap::RingBuf(data))?))
    }

    /// Takes out at most `most` spans.
    pub fn drain(&mut self, most: usize, spans: &mut Vec<Span>) {
        while spans.len() < most {
            let Some(item) = self.0.next() else {
                return;
            };
            spans.extend(span(&item));
        }
    }
}

/// Reads a span, field by field: nothing is known of the bytes' alignment.
fn span(bytes: &[u8]) -> Option<Span> {
    if bytes.len() < size_of::<Span>() {
        return None;
    }
    let long = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let short = |at: usize| u16::from_ne_bytes(bytes[at..at + 2].try_into().expect("2 bytes"));
    let peer = offset_of!(Span, peer);
    Some(Span {
        start: long(offset_of!(Span, start)),
        first: long(offset_of!(Span, first)),
        end: long(offset_of!(Span, end)),
        request_bytes: long(offset_of!(Span, request_bytes)),
        response_bytes: long(offset_of!(Span, response_bytes)),
        peer: bytes[peer..peer + 16].try_into().expect("16 bytes"),
        peer_port: short(offset_of!(Span, peer_port)),
        port: short(offset_of!(Span, port)),
        status: short(offset_of!(Span, status)),
        route: short(offset_of!(Span, route)),
        container: short(offset_of!(Span, container)),
        reason: short(offset_of!(Span, reason)),
        reserved: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_they_are() {
        let mut bytes = [0u8; size_of::<Span>()];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = index as u8;
        }
        let span = span(&bytes).unwrap();
        assert_eq!(span.start.to_ne_bytes(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(span.peer[0], 40);
        assert_eq!(span.reason.to_ne_bytes(), [66, 67]);
        assert!(super::span(&bytes[1..]).is_none());
    }
}
