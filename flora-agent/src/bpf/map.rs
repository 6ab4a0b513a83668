//! A map, read and written with its sizes checked.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::call::{self, MapInfo};

/// `BPF_MAP_TYPE_ARRAY`.
const ARRAY: u32 = 2;
/// Types whose values the kernel has one of for each CPU.
const PER_CPU: [u32; 4] = [5, 6, 10, 21];

/// A map that is open in this process.
#[derive(Debug)]
pub struct Map {
    name: String,
    descriptor: OwnedFd,
    info: MapInfo,
}

/// What could not be done with a map.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the map {map}: {source}")]
pub struct MapError {
    action: &'static str,
    map: String,
    source: io::Error,
}

/// Keys and values, one after another.
#[derive(Debug, Default)]
pub struct Entries {
    keys: Vec<u8>,
    values: Vec<u8>,
    key_size: usize,
    value_size: usize,
}

impl Entries {
    /// Each key with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.keys
            .chunks_exact(self.key_size.max(1))
            .zip(self.values())
    }

    /// Some, for tests.
    #[cfg(test)]
    pub(crate) fn example(of: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        let mut entries = Entries::default();
        for (key, value) in of {
            (entries.key_size, entries.value_size) = (key.len(), value.len());
            entries.keys.extend(key);
            entries.values.extend(value);
        }
        entries
    }

    /// Each value; those of an array are in order.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.values.chunks_exact(self.value_size.max(1))
    }
}

impl Map {
    /// A map by its descriptor.
    ///
    /// # Errors
    /// When it is no map.
    pub fn new(name: &str, descriptor: OwnedFd) -> Result<Self, MapError> {
        let info = call::map_info(descriptor.as_fd()).map_err(|source| MapError {
            action: "open",
            map: name.to_owned(),
            source,
        })?;
        Ok(Map {
            name: name.to_owned(),
            descriptor,
            info,
        })
    }

    /// Its name in the object.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the kernel says of it.
    pub fn info(&self) -> &MapInfo {
        &self.info
    }

    fn error(&self, action: &'static str, source: io::Error) -> MapError {
        MapError {
            action,
            map: self.name.clone(),
            source,
        }
    }

    fn check(&self, action: &'static str, key: usize, value: usize) -> Result<(), MapError> {
        let info = &self.info;
        // A value of these is one for each CPU, so that its size here is not what is written.
        if PER_CPU.contains(&info.kind) {
            return Err(self.error(action, io::ErrorKind::Unsupported.into()));
        }
        if (key, value) == (info.key_size as usize, info.value_size as usize) {
            return Ok(());
        }
        let message = format!(
            "keys of {} and values of {} bytes were expected, not of {key} and {value}",
            info.key_size, info.value_size
        );
        Err(self.error(action, io::Error::new(io::ErrorKind::InvalidInput, message)))
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// When the sizes are wrong, or the map is full.
    pub fn update(&self, key: &[u8], value: &[u8]) -> Result<(), MapError> {
        self.check("write to", key.len(), value.len())?;
        call::map_update(self.as_fd(), key, value).map_err(|source| self.error("write to", source))
    }

    /// Reads the value of a key.
    ///
    /// # Errors
    /// When the sizes are wrong, or there is none.
    pub fn lookup(&self, key: &[u8], value: &mut [u8]) -> Result<(), MapError> {
        self.check("read", key.len(), value.len())?;
        call::map_lookup(self.as_fd(), key, value).map_err(|source| self.error("read", source))
    }

    /// Removes a key; one that is not there is removed already.
    ///
    /// # Errors
    /// When its size is wrong.
    pub fn remove(&self, key: &[u8]) -> Result<(), MapError> {
        self.check("write to", key.len(), self.info.value_size as usize)?;
        match call::map_delete(self.as_fd(), key) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.error("write to", error))
            }
            _ => Ok(()),
        }
    }

    /// All that is in it, by one call.
    ///
    /// # Errors
    /// When the kernel refuses; a batch of reads is known from Linux 5.6 on.
    pub fn entries(&self) -> Result<Entries, MapError> {
        let key_size = self.info.key_size as usize;
        let value_size = self.info.value_size as usize;
        self.check("read", key_size, value_size)?;
        let most = self.info.max_entries as usize;
        let mut keys = vec![0; key_size * most];
        let mut values = vec![0; value_size * most];
        let count =
            call::map_lookup_batch(self.as_fd(), &mut keys, &mut values, self.info.max_entries)
                .map_err(|source| self.error("read", source))? as usize;
        keys.truncate(key_size * count);
        values.truncate(value_size * count);
        Ok(Entries {
            keys,
            values,
            key_size,
            value_size,
        })
    }

    /// Whether it is an array.
    pub fn is_array(&self) -> bool {
        self.info.kind == ARRAY
    }

    /// Bytes of kernel memory that it takes, as the kernel accounts for it.
    pub fn memory(&self) -> Option<u64> {
        let path = format!("/proc/self/fdinfo/{}", self.descriptor.as_raw_fd());
        let text = std::fs::read_to_string(path).ok()?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("memlock:"))?;
        line.trim().parse().ok()
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
