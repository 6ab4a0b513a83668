//! An array's values, mapped into this process: reading them costs no system call.
#![allow(unsafe_code, reason = "mmap(2) has no safe wrapper")]

use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::map::Map;

/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;

/// Why a map can't be mapped.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// It is not made for that.
    #[error("the map {0} is no array of 8-byte words that can be mapped")]
    Kind(String),
    /// The kernel refused.
    #[error("cannot map the map {map} into memory: {source}")]
    Mmap {
        /// Its name.
        map: String,
        /// Why.
        source: nix::Error,
    },
}

/// The words of an array that kernel programs write to.
#[derive(Debug)]
pub struct Memory {
    address: NonNull<AtomicU64>,
    words: usize,
    bytes: NonZeroUsize,
}

impl Memory {
    /// Maps the values of an array that was made with `BPF_F_MMAPABLE`.
    ///
    /// # Errors
    /// [`MemoryError`]
    pub fn new(map: &Map) -> Result<Self, MemoryError> {
        let info = map.info();
        let kind = || MemoryError::Kind(map.name().to_owned());
        if !map.is_array() || info.flags & MMAPABLE == 0 || !info.value_size.is_multiple_of(8) {
            return Err(kind());
        }
        let bytes = info.value_size as usize * info.max_entries as usize;
        let bytes = NonZeroUsize::new(bytes).ok_or_else(kind)?;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let address = unsafe {
            mmap(
                None,
                bytes,
                ProtFlags::PROT_READ,
                MapFlags::MAP_SHARED,
                map.as_fd(),
                0,
            )
        };
        let address = address.map_err(|source| MemoryError::Mmap {
            map: map.name().to_owned(),
            source,
        })?;
        Ok(Memory {
            address: address.cast(),
            words: bytes.get() / 8,
            bytes,
        })
    }

    /// Reads a word that a kernel program may be adding to.
    ///
    /// # Panics
    /// When it is not in the map.
    pub fn word(&self, index: usize) -> u64 {
        assert!(index < self.words, "word {index} of {}", self.words);
        // SAFETY: within the mapping, which lives as long as this value; the address is a page's,
        // so words are aligned. A relaxed load writes nothing, so read-only memory will do.
        unsafe { self.address.add(index).as_ref() }.load(Ordering::Relaxed)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: made by `mmap` with this length; no reference to it is left.
        let _ = unsafe { munmap(self.address.cast(), self.bytes.get()) };
    }
}
