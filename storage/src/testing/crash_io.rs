//! A directory that loses power. The rule: what was synced is there; of every write since, any part of 512-byte
//! sectors may be there or not, each on its own.

use super::mem_io::{MemDir, check_alignment, range_in};
use super::seed::Seed;
use crate::block_io::{BlockDir, BlockIo};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What a disk writes at once, or not at all.
const TORN_BYTES: usize = 512;

#[derive(Clone, Debug, Default)]
struct State {
    /// As it is read.
    live: Vec<u8>,
    /// As it is after a loss of power in the worst case.
    durable: Vec<u8>,
    /// Written since the last sync, in order.
    pending: Vec<(usize, Vec<u8>)>,
}

type File = Arc<Mutex<State>>;

/// The directory. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct CrashDir {
    files: Arc<Mutex<BTreeMap<String, File>>>,
}

/// How much of what was not synced survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Survives {
    Nothing,
    Everything,
    /// Whole writes, or parts of them, as the seed decides.
    Some(u64),
}

impl CrashDir {
    /// A directory that holds what is in another, durably.
    pub(crate) fn holding(image: &MemDir) -> Self {
        let dir = Self::default();
        for (name, file) in &*image.files.lock() {
            let bytes = file.lock().clone();
            let state = State {
                live: bytes.clone(),
                durable: bytes,
                pending: Vec::new(),
            };
            dir.files
                .lock()
                .insert(name.clone(), Arc::new(Mutex::new(state)));
        }
        dir
    }

    /// What a start finds after power was lost now.
    pub(crate) fn after_power_loss(&self, survives: Survives, capacity: u64) -> MemDir {
        let dir = MemDir::new(capacity);
        let mut seed = Seed(match survives {
            Survives::Some(seed) => seed,
            Survives::Nothing | Survives::Everything => 0,
        });
        for (name, file) in &*self.files.lock() {
            let state = file.lock();
            let mut image = state.durable.clone();
            if state.live.len() > image.len() && survives != Survives::Nothing {
                image.resize(state.live.len(), 0);
            }
            for (offset, data) in &state.pending {
                // One third each: gone, there, torn.
                let fate = match survives {
                    Survives::Nothing => 0,
                    Survives::Everything => 1,
                    Survives::Some(_) => seed.below(3),
                };
                for (number, sector) in data.chunks(TORN_BYTES).enumerate() {
                    let at = offset + number * TORN_BYTES;
                    if fate == 1 || (fate == 2 && seed.below(2) == 0) {
                        image[at..at + sector.len()].copy_from_slice(sector);
                    }
                }
            }
            dir.files
                .lock()
                .insert(name.clone(), Arc::new(Mutex::new(image)));
        }
        dir
    }
}

impl BlockDir for CrashDir {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().keys().cloned().collect())
    }

    fn open(&self, name: &str, make: bool) -> io::Result<Box<dyn BlockIo>> {
        let mut files = self.files.lock();
        if make {
            files.insert(name.to_owned(), File::default());
        }
        let file = files.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(CrashFile(Arc::clone(file))))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().remove(name);
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 30)
    }
}

#[derive(Debug)]
struct CrashFile(File);

impl BlockIo for CrashFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.lock().live.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.0.lock();
        let range = range_in(&state.live, buf.len(), offset)?;
        buf.copy_from_slice(&state.live[range]);
        Ok(())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        check_alignment(data, offset);
        let mut state = self.0.lock();
        let range = range_in(&state.live, data.len(), offset)?;
        state.live[range.clone()].copy_from_slice(data);
        state.pending.push((range.start, data.to_vec()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        let state = &mut *state;
        state.durable.resize(state.live.len(), 0);
        for (offset, data) in state.pending.drain(..) {
            state.durable[offset..offset + data.len()].copy_from_slice(&data);
        }
        Ok(())
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        self.0.lock().live.resize(bytes, 0);
        Ok(())
    }

    fn fd(&self) -> Option<Arc<OwnedFd>> {
        None
    }
}
