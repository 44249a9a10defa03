//! A directory in memory. The rule: it checks what O_DIRECT would refuse, so that a test here is a test there.

use crate::block_io::{BlockDir, BlockIo, SECTOR_BYTES};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

type File = Arc<Mutex<Vec<u8>>>;

/// The directory. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct MemDir {
    pub(crate) files: Arc<Mutex<BTreeMap<String, File>>>,
    capacity: Arc<Mutex<u64>>,
}

impl MemDir {
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            files: Arc::default(),
            capacity: Arc::new(Mutex::new(capacity)),
        }
    }

    /// Another program takes or gives back room.
    #[cfg(test)]
    pub(crate) fn set_capacity(&self, capacity: u64) {
        *self.capacity.lock() = capacity;
    }

    fn used(&self) -> u64 {
        let files = self.files.lock();
        files.values().map(|file| file.lock().len() as u64).sum()
    }
}

/// What O_DIRECT asks for.
pub(crate) fn check_alignment(bytes: &[u8], offset: u64) {
    let sector = SECTOR_BYTES as usize;
    assert!(bytes.as_ptr().addr().is_multiple_of(sector), "memory");
    assert!(bytes.len().is_multiple_of(sector), "length");
    assert!(offset.is_multiple_of(sector as u64), "offset");
}

/// Where a read or write lies in a file.
pub(crate) fn range_in(file: &[u8], len: usize, offset: u64) -> io::Result<std::ops::Range<usize>> {
    let start = usize::try_from(offset).map_err(io::Error::other)?;
    if start + len > file.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(start..start + len)
}

impl BlockDir for MemDir {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().keys().cloned().collect())
    }

    fn open(&self, name: &str, make: bool) -> io::Result<Box<dyn BlockIo>> {
        let mut files = self.files.lock();
        let file = match (files.get(name), make) {
            (Some(_), true) => return Err(io::ErrorKind::AlreadyExists.into()),
            (None, false) => return Err(io::ErrorKind::NotFound.into()),
            (Some(file), false) => Arc::clone(file),
            (None, true) => {
                let file = File::default();
                files.insert(name.to_owned(), Arc::clone(&file));
                file
            }
        };
        Ok(Box::new(MemFile(file, self.clone())))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.files.lock().remove(name);
        removed
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.capacity.lock().saturating_sub(self.used()))
    }
}

#[derive(Debug)]
struct MemFile(File, MemDir);

impl BlockIo for MemFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        check_alignment(buf, offset);
        let file = self.0.lock();
        let range = range_in(&file, buf.len(), offset)?;
        buf.copy_from_slice(&file[range]);
        Ok(())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        check_alignment(data, offset);
        let mut file = self.0.lock();
        let range = range_in(&file, data.len(), offset)?;
        file[range].copy_from_slice(data);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        let more = bytes.saturating_sub(self.size()?);
        if self.1.free_bytes()? < more {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        self.0.lock().resize(bytes, 0);
        Ok(())
    }

    fn fd(&self) -> Option<Arc<OwnedFd>> {
        None
    }
}
