//! The disk as the store sees it: files that are read and written in whole sectors. The rule: a read or a write is
//! all or an error, and what an error leaves behind is unknown.
//!
//! Two small traits, so that the same store runs on a real directory, in memory, on a disk that fails and on one that
//! loses power (`testing`).

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What O_DIRECT reads and writes in: memory, offsets and lengths are multiples of it.
pub const SECTOR_BYTES: u32 = 4096;

/// One file. Offsets, lengths and the memory lent are multiples of [`SECTOR_BYTES`].
pub trait BlockIo: Send + Sync + fmt::Debug {
    /// Bytes in the file.
    ///
    /// # Errors
    /// The disk's.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buf` with the bytes at `offset`.
    ///
    /// # Errors
    /// The disk's; `UnexpectedEof` where the file ends before.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `data` at `offset`. It is durable only after [`BlockIo::sync`].
    ///
    /// # Errors
    /// The disk's. Any part may have been written.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;

    /// Makes durable what was written before the call.
    ///
    /// # Errors
    /// The disk's. It is final: what was not durable may be gone, and a second call proves nothing.
    fn sync(&self) -> io::Result<()>;

    /// Makes the file `bytes` long and takes the room for them; they read as zeros.
    ///
    /// # Errors
    /// The disk's; `StorageFull` where there is no room.
    fn preallocate(&self, bytes: u64) -> io::Result<()>;

    /// The descriptor that drivers read from, where there is one.
    fn fd(&self) -> Option<Arc<OwnedFd>>;
}

/// A directory of such files.
pub trait BlockDir: Send + Sync + fmt::Debug {
    /// The names of its files.
    ///
    /// # Errors
    /// The disk's.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file, or makes it: then it must not be there, and its name is durable on return.
    ///
    /// # Errors
    /// The disk's.
    fn open(&self, name: &str, make: bool) -> io::Result<Box<dyn BlockIo>>;

    /// Removes a file, durably. Who has it open keeps it.
    ///
    /// # Errors
    /// The disk's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Bytes of the disk that are free for larder.
    ///
    /// # Errors
    /// The disk's.
    fn free_bytes(&self) -> io::Result<u64>;

    /// What makes this directory slower or less safe than it could be, in plain words.
    fn advice(&self) -> Option<String> {
        None
    }
}

/// A directory of a real file system.
#[derive(Debug)]
pub struct DirectDir {
    path: PathBuf,
    direct: bool,
}

impl DirectDir {
    /// The directory at `path`, which is there. Finds out whether its file system can bypass the page cache.
    ///
    /// # Errors
    /// Where no file can be made there.
    pub fn new(path: &Path) -> io::Result<Self> {
        let trial = path.join(".larder-trial");
        let made = options(true).create(true).truncate(true).open(&trial);
        let direct = match made {
            Ok(file) => {
                let mut buf = AlignedBuf::zeroed(SECTOR_BYTES as usize);
                let tried = file
                    .write_all_at(buf.bytes(), 0)
                    .and_then(|()| file.read_exact_at(buf.bytes_mut(), 0));
                match tried {
                    // A full disk or a broken one says nothing about O_DIRECT.
                    Err(error) => error.kind() != io::ErrorKind::InvalidInput,
                    Ok(()) => true,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => false,
            Err(error) => return Err(error),
        };
        let removed = std::fs::remove_file(&trial);
        if direct {
            removed?;
        }
        Ok(Self {
            path: path.to_path_buf(),
            direct,
        })
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

fn options(direct: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let flags = if direct { libc::O_DIRECT } else { 0 };
    options.custom_flags(flags | libc::O_NOFOLLOW).mode(0o600);
    options
}

impl BlockDir for DirectDir {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str, make: bool) -> io::Result<Box<dyn BlockIo>> {
        let path = self.path.join(name);
        let file = options(self.direct).create_new(make).open(path)?;
        if make {
            self.sync()?;
        }
        Ok(Box::new(DirectFile(Arc::new(OwnedFd::from(file)))))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))?;
        self.sync()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = statvfs(&self.path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn advice(&self) -> Option<String> {
        (!self.direct).then(|| {
            format!(
                "the file system at {} does not take O_DIRECT: content passes through the page cache, which costs memory and CPU",
                self.path.display()
            )
        })
    }
}

#[derive(Debug)]
struct DirectFile(Arc<OwnedFd>);

impl DirectFile {
    /// A second handle for the calls that `File` has; the descriptor is shared with readers that outlive this file.
    fn file(&self) -> io::Result<File> {
        Ok(File::from(self.0.try_clone()?))
    }
}

impl BlockIo for DirectFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file()?.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file()?.read_exact_at(buf, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file()?.write_all_at(data, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file()?.sync_data()
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        loop {
            match fallocate(&*self.0, FallocateFlags::empty(), 0, bytes) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                // Without it the file is sparse: a full disk then shows when it is written.
                Err(rustix::io::Errno::OPNOTSUPP) => return self.file()?.set_len(bytes),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn fd(&self) -> Option<Arc<OwnedFd>> {
        Some(Arc::clone(&self.0))
    }
}

/// Memory that begins at a multiple of [`SECTOR_BYTES`], as O_DIRECT wants it.
#[derive(Debug)]
pub struct AlignedBuf {
    memory: Vec<u8>,
    begin: usize,
    len: usize,
}

impl AlignedBuf {
    /// `len` zeros.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let memory = vec![0; len + SECTOR_BYTES as usize];
        let past = memory.as_ptr().addr() % SECTOR_BYTES as usize;
        let begin = if past == 0 {
            0
        } else {
            SECTOR_BYTES as usize - past
        };
        Self { memory, begin, len }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.begin..self.begin + self.len]
    }

    /// The bytes, to write to.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.begin..self.begin + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_file_is_made_preallocated_written_read_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let blocks = DirectDir::new(dir.path()).unwrap();
        assert!(
            blocks.list().unwrap().is_empty(),
            "the trial leaves nothing"
        );
        let file = blocks.open("one", true).unwrap();
        assert!(blocks.open("one", true).is_err());
        file.preallocate(3 * 4096).unwrap();
        assert_eq!(file.size().unwrap(), 3 * 4096);
        let mut buf = AlignedBuf::zeroed(4096);
        buf.bytes_mut().fill(7);
        file.write_at(buf.bytes(), 4096).unwrap();
        file.sync().unwrap();
        let mut read = AlignedBuf::zeroed(3 * 4096);
        file.read_at(read.bytes_mut(), 0).unwrap();
        assert!(read.bytes()[..4096].iter().all(|byte| *byte == 0));
        assert_eq!(&read.bytes()[4096..8192], buf.bytes());
        let past = file.read_at(read.bytes_mut(), 4096).unwrap_err();
        assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof);
        assert!(blocks.free_bytes().unwrap() > 0);
        blocks.remove("one").unwrap();
        assert!(blocks.open("one", false).is_err());
        file.read_at(buf.bytes_mut(), 4096)
            .expect("who has it open keeps it");
    }
}
