//! Where every piece is, for any thread to ask. The rule: each lock covers a handful of words and is never held
//! across I/O, and a hit allocates nothing.
//!
//! Memory: twelve bytes for each piece on disk and an eighth to spare. Which piece it is, its length and its checksums
//! are in the slab's table, as they are on disk; the index asks there whether what it has found is what was meant.

mod entries;

use crate::flight::Flight;
use crate::ram_tier::RamFrame;
use crate::slab::layout::SlotHeader;
use entries::{Entries, TAG_BITS};
use larder_content::PieceId;
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, OnceLock};

pub(crate) use entries::{CELLS_MAX, DISKS_MAX, SLABS_MAX};

/// A power of two, many times the threads that ask; more of them make the stretch shorter that grows at once.
const SHARDS: usize = 1024;

/// Where a piece's header is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Location {
    /// Number of its place, what eviction is told of touches by.
    pub(crate) place: u32,
    /// Index of the disk.
    pub(crate) disk: u16,
    /// Number of the slab.
    pub(crate) slab: u32,
    /// Number of the cell in the slab's table.
    pub(crate) cell: u32,
}

impl Location {
    pub(crate) fn new(disk: u16, slab: u32, cell: u32, place: u32) -> Self {
        debug_assert!(usize::from(disk) < DISKS_MAX && slab < SLABS_MAX && cell < CELLS_MAX);
        Self {
            place,
            disk,
            slab,
            cell,
        }
    }

    /// Whether both are the same header's cell.
    pub(crate) fn is(self, other: Self) -> bool {
        (self.disk, self.slab, self.cell) == (other.disk, other.slab, other.cell)
    }
}

/// A disk, as far as the index asks it.
pub(crate) trait Headers: Send + Sync + std::fmt::Debug {
    /// The header at a location of this disk. Never waits for the disk.
    fn header(&self, location: Location) -> Option<SlotHeader>;
}

type Disks = [OnceLock<Arc<dyn Headers>>; DISKS_MAX];

/// A piece in memory.
#[derive(Debug)]
pub(crate) struct Hot {
    /// Its bytes, whole.
    pub(crate) frame: Arc<RamFrame>,
    /// Asked for since it was last considered.
    pub(crate) touched: bool,
    /// Not on disk yet: it must stay.
    pub(crate) waits: bool,
    /// Where it is on disk, so that it can be touched there as well.
    pub(crate) location: Option<Location>,
}

/// Content numbers are random, so a plain mix serves; nobody outside can choose them.
pub(crate) fn hash_of(id: PieceId) -> u64 {
    let product =
        u128::from(id.content.get() ^ u64::from(id.piece).wrapping_mul(0xd6e8_feb8_6659_fd93))
            * 0x9e37_79b9_7f4a_7c15;
    (product >> 64) as u64 ^ product as u64
}

fn tag_of(id: PieceId) -> u32 {
    // Below 2^19. The lowest bits choose the shard.
    (hash_of(id) >> (64 - TAG_BITS)) as u32
}

/// The same mix for the maps of what is in memory and on its way.
#[derive(Default)]
pub(crate) struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.0.rotate_left(32) ^ number) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

type ByPiece<V> = HashMap<PieceId, V, BuildHasherDefault<Mixed>>;

/// One shard of the index, locked.
#[derive(Debug)]
pub(crate) struct Shard {
    disks: Arc<Disks>,
    disk: Entries,
    /// Pieces in memory.
    pub(crate) hot: ByPiece<Hot>,
    /// Pieces on their way in.
    pub(crate) flights: ByPiece<Arc<Flight>>,
}

impl Shard {
    fn header(&self, location: Location) -> Option<SlotHeader> {
        let disk = self.disks.get(usize::from(location.disk))?;
        disk.get()?.header(location)
    }

    fn entry(&self, id: PieceId) -> Option<(usize, Location, SlotHeader)> {
        let mut header = None;
        let (at, location) = self.disk.find(tag_of(id), |location| {
            header = self.header(location).filter(|header| header.id == id);
            header.is_some()
        })?;
        Some((at, location, header?))
    }

    /// Where a piece is on disk, and what is there.
    pub(crate) fn find(&self, id: PieceId) -> Option<(Location, SlotHeader)> {
        let (_, location, header) = self.entry(id)?;
        Some((location, header))
    }

    /// Where a piece is on disk.
    pub(crate) fn location(&self, id: PieceId) -> Option<Location> {
        Some(self.find(id)?.0)
    }

    /// A piece is there now; its header is in the table, and so is that of where it was, which is returned.
    pub(crate) fn insert(&mut self, id: PieceId, location: Location) -> Option<Location> {
        if let Some(hot) = self.hot.get_mut(&id) {
            hot.waits = false;
            hot.location = Some(location);
        }
        if let Some((at, before, _)) = self.entry(id) {
            self.disk.replace(at, location);
            return Some(before);
        }
        self.disk.add(tag_of(id), location);
        None
    }

    /// Forgets where a piece is on disk, if it is there still.
    pub(crate) fn remove_if(&mut self, id: PieceId, location: Location) -> bool {
        let found = self.disk.find(tag_of(id), |found| found.is(location));
        if let Some((at, _)) = found {
            self.disk.remove(at);
            if let Some(hot) = self.hot.get_mut(&id) {
                hot.location = None;
            }
        }
        found.is_some()
    }

    /// The pieces on disk.
    pub(crate) fn on_disk(&self) -> impl Iterator<Item = (PieceId, Location)> + '_ {
        let locations = self.disk.locations();
        locations.filter_map(|location| Some((self.header(location)?.id, location)))
    }

    pub(crate) fn count_on_disk(&self) -> usize {
        self.disk.len()
    }
}

/// The index.
#[derive(Debug)]
pub(crate) struct Index {
    disks: Arc<Disks>,
    shards: Box<[Mutex<Shard>]>,
}

impl Index {
    pub(crate) fn new() -> Self {
        let disks: Arc<Disks> = Arc::new(std::array::from_fn(|_| OnceLock::new()));
        let shard = |_| {
            Mutex::new(Shard {
                disks: Arc::clone(&disks),
                disk: Entries::default(),
                hot: HashMap::default(),
                flights: HashMap::default(),
            })
        };
        Self {
            shards: (0..SHARDS).map(shard).collect(),
            disks,
        }
    }

    /// From now on locations of the disk can be given; the first call for a number counts.
    pub(crate) fn attach(&self, disk: u16, headers: Arc<dyn Headers>) {
        if let Some(place) = self.disks.get(usize::from(disk)) {
            let _ = place.set(headers);
        }
    }

    /// The shard that a piece belongs to.
    pub(crate) fn shard(&self, id: PieceId) -> MutexGuard<'_, Shard> {
        self.shards[hash_of(id) as usize % SHARDS].lock()
    }

    /// Every shard in turn.
    pub(crate) fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> + '_ {
        self.shards.iter().map(Mutex::lock)
    }

    /// Makes room for so many pieces in all, before they are loaded.
    pub(crate) fn reserve(&self, pieces: usize) {
        for mut shard in self.shards() {
            shard.disk.reserve(pieces / SHARDS);
        }
    }

    /// Bytes that it takes for what is on disk.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let tables: usize = self.shards().map(|shard| shard.disk.bytes()).sum();
        tables + SHARDS * size_of::<Mutex<Shard>>()
    }
}

#[cfg(test)]
mod tests;
