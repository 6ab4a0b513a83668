//! Bodies: received with a limit, held within a limit of all of them together,
//! decompressed as they are read.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::time::Duration;

use flate2::bufread::{GzDecoder, ZlibDecoder};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use ruzstd::decoding::StreamingDecoder;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::refusal::Refusal;

/// The largest body, as it is sent. Agents send at most half of it.
pub const SENT: u64 = 8 << 20;
/// The largest body after decompression.
pub const DECODED: u64 = 64 << 20;
/// Bytes of all bodies together that are held at a time; others wait.
const HELD: u64 = 16 << 20;
/// How long a body may take to arrive once there is room for it.
const TIME: Duration = Duration::from_secs(10);
/// The largest window of a zstd frame: what a decoder must hold of what was decoded.
const ZSTD_WINDOW: u64 = 8 << 20;

/// Room for bodies, in KiB.
#[derive(Debug)]
pub struct Room(Semaphore);

impl Default for Room {
    fn default() -> Self {
        Room(Semaphore::new((HELD >> 10) as usize))
    }
}

/// A body that has arrived; its room is free again when it is gone.
pub struct Received<'r> {
    /// As it was sent.
    pub bytes: Vec<u8>,
    _room: SemaphorePermit<'r>,
}

impl Room {
    /// Receives a body that goes on to the end of its stream.
    ///
    /// # Errors
    /// When it is too large, too slow, or breaks off.
    pub async fn receive(
        &self,
        body: &mut Incoming,
        length: Option<u64>,
    ) -> Result<Received<'_>, Refusal> {
        self.rest(body, Vec::new(), length).await
    }

    /// Receives what comes after `begun`, `length` bytes in all where that is known.
    ///
    /// # Errors
    /// As [`Room::receive`].
    pub async fn rest(
        &self,
        body: &mut Incoming,
        begun: Vec<u8>,
        length: Option<u64>,
    ) -> Result<Received<'_>, Refusal> {
        let most = length.unwrap_or(SENT);
        if most > SENT {
            return Err(Refusal::TooLarge);
        }
        // Claimed before it arrives, so that those who wait for room hold none.
        let claim = most.div_ceil(1 << 10) as u32;
        let room = self.0.acquire_many(claim).await;
        let room = room.expect("the room is never closed");
        let mut bytes = begun;
        bytes.reserve_exact(
            length
                .map_or(0, |length| length as usize)
                .saturating_sub(bytes.len()),
        );
        let arrived = tokio::time::timeout(TIME, async {
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else {
                    return Err(Refusal::Broken);
                };
                if let Some(data) = frame.data_ref() {
                    if (bytes.len() + data.len()) as u64 > most {
                        return Err(Refusal::TooLarge);
                    }
                    bytes.extend_from_slice(data);
                }
            }
            Ok(())
        });
        arrived.await.map_err(|_| Refusal::Slow)??;
        if length.is_some_and(|length| length != bytes.len() as u64) {
            return Err(Refusal::Broken);
        }
        Ok(Received { bytes, _room: room })
    }
}

/// A body that can be read from its beginning as often as it takes.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'b> {
    /// As it was sent.
    pub bytes: &'b [u8],
    /// How it is compressed.
    pub encoding: Encoding,
}

impl<'b> Sent<'b> {
    /// A reader of what is in it.
    ///
    /// # Errors
    /// As [`Encoding::reader`].
    pub fn reader(&self) -> Result<Box<dyn BufRead + 'b>, Refusal> {
        self.encoding.reader(self.bytes)
    }
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Encoding {
    /// Not at all.
    #[default]
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, as HTTP's `deflate` is.
    Deflate,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// By the value of `Content-Encoding` or `grpc-encoding`.
    pub fn of(name: &str) -> Option<Encoding> {
        Some(match name.trim() {
            "" | "identity" => Encoding::Identity,
            "gzip" => Encoding::Gzip,
            "deflate" => Encoding::Deflate,
            "zstd" => Encoding::Zstd,
            _ => return None,
        })
    }

    /// A reader of what is in a body, up to the limit.
    ///
    /// # Errors
    /// When the body does not begin as it should.
    pub fn reader<'b>(self, bytes: &'b [u8]) -> Result<Box<dyn BufRead + 'b>, Refusal> {
        fn limited<'b>(reader: impl Read + 'b) -> Box<dyn BufRead + 'b> {
            let limited = Limited {
                reader,
                left: DECODED,
            };
            Box::new(BufReader::with_capacity(16 << 10, limited))
        }
        Ok(match self {
            Encoding::Identity => Box::new(bytes),
            // Nothing at all is an empty body, whatever it is said to be.
            _ if bytes.is_empty() => Box::new(bytes),
            Encoding::Gzip => limited(GzDecoder::new(bytes)),
            Encoding::Deflate => limited(ZlibDecoder::new(bytes)),
            Encoding::Zstd => {
                if zstd_window(bytes).ok_or(Refusal::Malformed)? > ZSTD_WINDOW {
                    return Err(Refusal::TooLarge);
                }
                limited(StreamingDecoder::new(bytes).map_err(|_| Refusal::Malformed)?)
            }
        })
    }
}

/// How far back a zstd frame refers, by its header (RFC 8878, 3.1.1.1).
fn zstd_window(frame: &[u8]) -> Option<u64> {
    let header = frame.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])?;
    let descriptor = *header.first()?;
    let single_segment = descriptor >> 5 & 1 == 1;
    if !single_segment {
        let window = *header.get(1)?;
        let base = 1u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let mut bytes = [0; 8];
    bytes[..size].copy_from_slice(header.get(1 + dictionary..1 + dictionary + size)?);
    let size_offset = if size == 2 { 256 } else { 0 };
    u64::from_le_bytes(bytes).checked_add(size_offset)
}

/// Gives so many bytes and then an error of its own kind.
struct Limited<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or(ErrorKind::FileTooLarge)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn read(encoding: Encoding, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut all = Vec::new();
        encoding.reader(bytes)?.read_to_end(&mut all)?;
        Ok(all)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_compression_gives_back_what_went_in() {
        let bytes = b"some text, some text, some text".repeat(1000);
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&bytes).unwrap();
        for (encoding, compressed) in [
            (Encoding::Identity, bytes.clone()),
            (Encoding::Gzip, gzip(&bytes)),
            (Encoding::Deflate, zlib.finish().unwrap()),
            (
                Encoding::Zstd,
                compress_to_vec(&bytes[..], CompressionLevel::Fastest),
            ),
        ] {
            assert!(
                read(encoding, &compressed) == Ok(bytes.clone()),
                "{encoding:?}"
            );
        }
    }

    #[test]
    fn what_unpacks_to_more_than_the_limit_is_refused() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let zeros = vec![0; 1 << 20];
        for _ in 0..=DECODED >> 20 {
            encoder.write_all(&zeros).unwrap();
        }
        let bomb = encoder.finish().unwrap();
        let mut reader = Encoding::Gzip.reader(&bomb).unwrap();
        let outcome = io::copy(&mut reader, &mut io::sink()).map_err(Refusal::from);
        assert_eq!(outcome, Err(Refusal::TooLarge));
    }

    #[test]
    fn a_window_as_large_as_memory_is_refused() {
        // No content size, a window of 2^41 bytes; and 100 MiB in a single segment.
        let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0, 0, 0];
        let single = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0x40, 0x06, 0, 0, 0];
        for frame in [&wide[..], &single[..]] {
            assert_eq!(read(Encoding::Zstd, frame), Err(Refusal::TooLarge));
        }
    }

    proptest! {
        /// No bytes make a decompressor panic.
        #[test]
        fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let magic = |magic: &[u8]| [magic, &bytes[..]].concat();
            let _ = read(Encoding::Gzip, &magic(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0]));
            let _ = read(Encoding::Deflate, &magic(&[0x78, 0x01]));
            let _ = read(Encoding::Zstd, &magic(&[0x28, 0xb5, 0x2f, 0xfd]));
            let _ = read(Encoding::Gzip, &bytes);
            let _ = read(Encoding::Zstd, &bytes);
        }
    }
}
