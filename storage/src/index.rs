//! Where every piece is, for any thread to ask. The rule: each lock covers a handful of words and is never held
//! across I/O, and a hit allocates nothing.
//!
//! Memory: 24 bytes for each piece on disk, times the spare room of a hash map; its header and checksums are in the
//! slab's table, as they are on disk.

use crate::flight::Flight;
use crate::ram_tier::RamFrame;
use larder_content::{ContentNo, PieceId};
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// A power of two, several times the threads that ask.
const SHARDS: usize = 64;

/// Where a piece's header is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Location {
    /// Number of its place, what eviction is told of touches by.
    pub(crate) place: u32,
    /// Index of the disk above [`SLAB_BITS`] bits of slab number.
    disk_slab: u32,
    /// Whether it was touched, above [`CELL_BITS`] bits of cell number.
    cell_touched: u32,
}

const SLAB_BITS: u32 = 24;
const CELL_BITS: u32 = 31;

impl Location {
    pub(crate) fn new(disk: u16, slab: u32, cell: u32, place: u32) -> Self {
        debug_assert!(slab < 1 << SLAB_BITS && cell < 1 << CELL_BITS && disk < 1 << 8);
        Self {
            place,
            disk_slab: u32::from(disk) << SLAB_BITS | slab,
            cell_touched: cell,
        }
    }

    pub(crate) fn disk(self) -> u16 {
        (self.disk_slab >> SLAB_BITS) as u16
    }

    pub(crate) fn slab(self) -> u32 {
        self.disk_slab & ((1 << SLAB_BITS) - 1)
    }

    pub(crate) fn cell(self) -> u32 {
        self.cell_touched & ((1 << CELL_BITS) - 1)
    }

    /// Touches it, and says whether that was done before.
    pub(crate) fn touch(&mut self) -> bool {
        let before = self.cell_touched >> CELL_BITS != 0;
        self.cell_touched |= 1 << CELL_BITS;
        before
    }

    /// Whether both are the same use of the same header's cell.
    pub(crate) fn is(self, other: Self) -> bool {
        (self.disk_slab, self.cell()) == (other.disk_slab, other.cell())
    }
}

/// A piece in memory.
#[derive(Debug)]
pub(crate) struct Hot {
    /// Its bytes, whole.
    pub(crate) frame: Arc<RamFrame>,
    /// Asked for since it was last considered.
    pub(crate) touched: bool,
    /// Not on disk yet: it must stay.
    pub(crate) waits: bool,
}

/// A piece's name without padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key([u32; 3]);

impl Key {
    fn of(id: PieceId) -> Self {
        let content = id.content.get();
        Self([content as u32, (content >> 32) as u32, id.piece])
    }

    fn id(self) -> PieceId {
        let [low, high, piece] = self.0;
        PieceId {
            content: ContentNo::new(u64::from(high) << 32 | u64::from(low)),
            piece,
        }
    }
}

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(hash_of(self.id()));
    }
}

/// Content numbers are random, so a plain mix serves; nobody outside can choose them.
pub(crate) fn hash_of(id: PieceId) -> u64 {
    let product =
        u128::from(id.content.get() ^ u64::from(id.piece).wrapping_mul(0xd6e8_feb8_6659_fd93))
            * 0x9e37_79b9_7f4a_7c15;
    (product >> 64) as u64 ^ product as u64
}

#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, mixed: u64) {
        self.0 = self.0.rotate_left(5) ^ mixed;
    }
}

/// One shard of the index, locked.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    disk: HashMap<Key, Location, BuildHasherDefault<Mixed>>,
    /// Pieces in memory.
    pub(crate) hot: HashMap<PieceId, Hot>,
    /// Pieces on their way in.
    pub(crate) flights: HashMap<PieceId, Arc<Flight>>,
}

impl Shard {
    /// Where a piece is on disk.
    pub(crate) fn location(&mut self, id: PieceId) -> Option<&mut Location> {
        self.disk.get_mut(&Key::of(id))
    }

    pub(crate) fn insert(&mut self, id: PieceId, location: Location) -> Option<Location> {
        self.disk.insert(Key::of(id), location)
    }

    /// Forgets where a piece is on disk, if it is there still.
    pub(crate) fn remove_if(&mut self, id: PieceId, location: Location) -> bool {
        let is = self
            .disk
            .get(&Key::of(id))
            .is_some_and(|held| held.is(location));
        if is {
            self.disk.remove(&Key::of(id));
        }
        is
    }

    pub(crate) fn remove(&mut self, id: PieceId) -> Option<Location> {
        self.disk.remove(&Key::of(id))
    }

    /// The pieces on disk.
    pub(crate) fn on_disk(&self) -> impl Iterator<Item = (PieceId, Location)> + '_ {
        self.disk
            .iter()
            .map(|(key, location)| (key.id(), *location))
    }

    pub(crate) fn count_on_disk(&self) -> usize {
        self.disk.len()
    }
}

/// The index.
#[derive(Debug)]
pub(crate) struct Index {
    shards: Box<[Mutex<Shard>]>,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// The shard that a piece belongs to.
    pub(crate) fn shard(&self, id: PieceId) -> MutexGuard<'_, Shard> {
        // The map inside uses the low and the topmost bits of the hash.
        let at = (hash_of(id) >> 40) as usize % SHARDS;
        self.shards[at].lock()
    }

    /// Every shard in turn.
    pub(crate) fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> + '_ {
        self.shards.iter().map(Mutex::lock)
    }

    /// Makes room for so many pieces in all, before they are loaded.
    pub(crate) fn reserve(&self, pieces: usize) {
        let each = pieces / SHARDS + pieces / SHARDS / 16;
        for mut shard in self.shards() {
            shard.disk.reserve(each);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_twelve_bytes_and_an_entry_twenty_four() {
        assert_eq!(std::mem::size_of::<(Key, Location)>(), 24);
    }

    #[test]
    fn a_location_keeps_its_numbers_and_its_touch() {
        let mut location = Location::new(255, (1 << 24) - 1, (1 << 31) - 1, 7);
        assert_eq!(
            (location.disk(), location.slab(), location.cell()),
            (255, (1 << 24) - 1, (1 << 31) - 1)
        );
        let fresh = location;
        assert!(!location.touch());
        assert!(location.touch());
        assert_eq!(location.cell(), (1 << 31) - 1);
        assert!(location.is(fresh));
        assert!(!location.is(Location::new(254, (1 << 24) - 1, (1 << 31) - 1, 7)));
    }

    #[test]
    fn pieces_spread_over_the_shards() {
        let index = Index::new();
        let content = ContentNo::new(0x1234_5678_9abc_def0);
        for piece in 0..64 * 100 {
            let id = PieceId { content, piece };
            assert_eq!(Key::of(id).id(), id);
            index
                .shard(id)
                .insert(id, Location::new(0, 0, piece, piece));
        }
        for shard in index.shards() {
            assert!((50..200).contains(&shard.count_on_disk()));
        }
    }
}
