//! CPU-intensive tasks: draw a block, sort it, hash it.

use std::fmt::{self, Display};

use sha2::{Digest as _, Sha256};

use crate::random::Random;

/// Numbers in the block of one unit of work. The size makes a unit cost some 20 to 40 µs.
pub const BLOCK: usize = 2048;

/// Units done before other tasks of the same thread get their turn, about a quarter of a
/// millisecond: often enough that nobody waits long, seldom enough to cost nothing.
const UNITS_PER_TURN: u32 = 8;

/// What came out of a request's work. It goes into the answer, so that no compiler can leave the
/// work out and everyone can check that it was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Does `units` of work and returns the last unit's digest; none if there was nothing to do.
pub async fn run(units: u32, random: &mut Random) -> Option<Digest> {
    let mut digest = None;
    for done in 1..=units {
        digest = Some(unit(digest, random));
        if done % UNITS_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    digest
}

/// One unit: the SHA-256 of the digest before it (nothing, for the first unit) followed by
/// [`BLOCK`] numbers, sorted, each as 8 bytes in little-endian order.
fn unit(before: Option<Digest>, random: &mut Random) -> Digest {
    let mut block = [0_u64; BLOCK];
    block.fill_with(|| random.next());
    block.sort_unstable();

    let mut bytes = [0_u8; BLOCK * 8];
    for (bytes, number) in bytes.chunks_exact_mut(8).zip(block) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    let mut hash = Sha256::new();
    if let Some(before) = before {
        hash.update(before.0);
    }
    hash.update(bytes);
    Digest(hash.finalize().into())
}
