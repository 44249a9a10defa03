//! A directory whose sectors are numbers, so that a copy of it costs next to nothing, and which remembers its changes
//! where that is wanted. The rule: what a number stands for never changes, so equal numbers are equal bytes.

use super::mem_io::check_alignment;
use crate::block_io::{BlockDir, BlockIo, SECTOR_BYTES};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

const BYTES: usize = SECTOR_BYTES as usize;
/// Sectors are written in eighths, each of which is there or not when the power fails.
const EIGHTH: usize = BYTES / 8;
/// From this number on it is a blend.
const BLENDS: u32 = 1 << 31;

/// What the numbers stand for; 0 is a sector of zeros.
#[derive(Debug)]
pub(crate) struct Sectors {
    whole: Vec<[u8; BYTES]>,
    /// Of which two sectors, and which eighths are the second's.
    blends: Vec<(u32, u32, u8)>,
    known: HashMap<(u32, u32, u8), u32>,
}

impl Default for Sectors {
    fn default() -> Self {
        Self {
            whole: vec![[0; BYTES]],
            blends: Vec::new(),
            known: HashMap::new(),
        }
    }
}

impl Sectors {
    fn add(&mut self, data: &[u8]) -> u32 {
        let mut sector = [0; BYTES];
        sector.copy_from_slice(data);
        self.whole.push(sector);
        self.whole.len() as u32 - 1
    }

    /// A sector whose write was torn: those eighths are new.
    pub(crate) fn blend(&mut self, old: u32, new: u32, eighths: u8) -> u32 {
        let Self { blends, known, .. } = self;
        *known.entry((old, new, eighths)).or_insert_with(|| {
            blends.push((old, new, eighths));
            BLENDS + blends.len() as u32 - 1
        })
    }

    fn read(&self, number: u32, out: &mut [u8]) {
        let Some(blend) = number.checked_sub(BLENDS) else {
            out.copy_from_slice(&self.whole[number as usize]);
            return;
        };
        let (old, new, eighths) = self.blends[blend as usize];
        self.read(old, out);
        let mut other = [0; BYTES];
        self.read(new, &mut other);
        for at in (0..8).filter(|at| eighths & (1 << at) != 0) {
            let part = at * EIGHTH..(at + 1) * EIGHTH;
            out[part.clone()].copy_from_slice(&other[part]);
        }
    }
}

/// What changed. Files are known by a number, since a name may come again.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Make(usize, String),
    Remove(usize),
    /// It has so many sectors from now on; new ones are zeros.
    Size(usize, usize),
    /// From this sector on.
    Write(usize, usize, Vec<u32>),
    Sync(usize),
}

type File = Arc<Mutex<Vec<u32>>>;

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<String, (usize, File)>,
    made: usize,
    changes: Option<Vec<Change>>,
}

impl Inner {
    fn note(&mut self, change: impl FnOnce() -> Change) {
        if let Some(changes) = &mut self.changes {
            changes.push(change());
        }
    }
}

/// The directory. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct CowDir {
    pub(crate) sectors: Arc<Mutex<Sectors>>,
    inner: Arc<Mutex<Inner>>,
}

impl CowDir {
    /// An empty one that remembers its changes.
    pub(crate) fn remembering() -> Self {
        let inner = Inner {
            changes: Some(Vec::new()),
            ..Inner::default()
        };
        Self {
            sectors: Arc::default(),
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// One that holds these files.
    pub(crate) fn holding(
        sectors: &Arc<Mutex<Sectors>>,
        files: impl IntoIterator<Item = (String, Vec<u32>)>,
    ) -> Self {
        let files = files.into_iter().enumerate();
        let files: BTreeMap<_, _> = files
            .map(|(at, (name, numbers))| (name, (at, Arc::new(Mutex::new(numbers)))))
            .collect();
        let made = files.len();
        let changes = None;
        Self {
            sectors: Arc::clone(sectors),
            inner: Arc::new(Mutex::new(Inner {
                files,
                made,
                changes,
            })),
        }
    }

    /// How many changes there were so far.
    pub(crate) fn now(&self) -> usize {
        self.inner.lock().changes.as_ref().map_or(0, Vec::len)
    }

    /// The changes; from now on none is remembered.
    pub(crate) fn changes(&self) -> Vec<Change> {
        self.inner.lock().changes.take().unwrap_or_default()
    }

    /// The numbers of some sectors of a file.
    pub(crate) fn numbers(&self, name: &str, sectors: std::ops::Range<usize>) -> Vec<u32> {
        let file = Arc::clone(&self.inner.lock().files[name].1);
        let numbers = file.lock();
        numbers[sectors].to_vec()
    }
}

impl BlockDir for CowDir {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.inner.lock().files.keys().cloned().collect())
    }

    fn open(&self, name: &str, make: bool) -> io::Result<Box<dyn BlockIo>> {
        let mut inner = self.inner.lock();
        if make {
            if inner.files.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let number = inner.made;
            inner.made += 1;
            inner
                .files
                .insert(name.to_owned(), (number, File::default()));
            inner.note(|| Change::Make(number, name.to_owned()));
        }
        let (number, file) = inner.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(CowFile {
            number: *number,
            numbers: Arc::clone(file),
            dir: self.clone(),
        }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let (number, _) = inner.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        inner.note(|| Change::Remove(number));
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 30)
    }
}

#[derive(Debug)]
struct CowFile {
    number: usize,
    numbers: File,
    dir: CowDir,
}

impl CowFile {
    fn note(&self, change: impl FnOnce() -> Change) {
        self.dir.inner.lock().note(change);
    }
}

impl BlockIo for CowFile {
    fn size(&self) -> io::Result<u64> {
        Ok((self.numbers.lock().len() * BYTES) as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        check_alignment(buf, offset);
        let first = offset as usize / BYTES;
        let numbers = self.numbers.lock();
        let found = numbers.get(first..first + buf.len() / BYTES);
        let sectors = self.dir.sectors.lock();
        let found = found.ok_or(io::ErrorKind::UnexpectedEof)?;
        for (number, out) in found.iter().zip(buf.chunks_exact_mut(BYTES)) {
            sectors.read(*number, out);
        }
        Ok(())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        check_alignment(data, offset);
        let first = offset as usize / BYTES;
        let mut sectors = self.dir.sectors.lock();
        let written: Vec<u32> = data.chunks(BYTES).map(|part| sectors.add(part)).collect();
        let mut numbers = self.numbers.lock();
        let place = numbers.get_mut(first..first + written.len());
        place
            .ok_or(io::ErrorKind::UnexpectedEof)?
            .copy_from_slice(&written);
        self.note(|| Change::Write(self.number, first, written));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.note(|| Change::Sync(self.number));
        Ok(())
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        let sectors = bytes as usize / BYTES;
        self.numbers.lock().resize(sectors, 0);
        self.note(|| Change::Size(self.number, sectors));
        Ok(())
    }

    fn fd(&self) -> Option<Arc<OwnedFd>> {
        None
    }
}
