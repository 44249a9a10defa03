//! One disk of the store: which pieces lie where in its slabs, and how they get there. The rule: one thread owns it,
//! and tells the others through the index and the slabs' tables: a header before the index that names it, and the
//! index forgets before the header goes.
//!
//! Why a crash at any moment leaves nothing wrong:
//! - Data is made durable before a header that names it is written, so a header on disk names what is there.
//! - A place whose piece is forgotten waits in quarantine until the table without it is durable; only then is it
//!   written again. So no header on disk, of either copy of a table page, names a place that holds something newer:
//!   the older copy of a page is overwritten only after the newer one is durable.
//! - The last sector of an open pack is written again as it fills, each time with the same bytes in front: torn or
//!   not, what was there before stays.
//! - And should all of that fail, by damage to the disk itself, the checksum in the header does not match the data.

mod economy;
mod extents;
mod load;
mod packs;
mod places;
mod room;
#[cfg(test)]
mod tests;

use crate::block_io::{AlignedBuf, BlockDir, SECTOR_BYTES};
use crate::evict::{Evictor, Touches};
use crate::index::{Headers, Index, Location, hash_of};
use crate::limits::SizeLimit;
use crate::ram_tier::RamFrame;
use crate::slab::file::{Slab, name_of, sums_of};
use crate::slab::layout::{SHARED_BELOW_BYTES, SlotHeader, sector_offset};
use crate::store::{Counters, DiskPiece};
use economy::InUse;
use extents::Extents;
use larder_content::{ContentNo, PieceId};
use packs::Packs;
use parking_lot::{Mutex, RwLock};
use places::{Books, Places};
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// So many errors of writing, and the disk is taken for broken.
const ERRORS_MAX: u32 = 3;

/// Contents that eviction spares.
pub(crate) type Pins = Arc<RwLock<HashSet<ContentNo>>>;

/// What any thread may see of a disk.
#[derive(Debug)]
pub(crate) struct DiskView {
    /// Its index among the disks.
    pub(crate) number: u16,
    slabs: RwLock<Vec<Option<Arc<Slab>>>>,
    /// Who was asked for.
    pub(crate) touches: Arc<Touches>,
    /// Bytes of slab files.
    pub(crate) slab_bytes: AtomicU64,
    /// Bytes of pieces.
    pub(crate) piece_bytes: AtomicU64,
    /// Pieces.
    pub(crate) pieces: AtomicU64,
    /// Bytes of memory for these pieces.
    pub(crate) index_bytes: AtomicU64,
    /// The cap on slab files and catalogue.
    pub(crate) cap_bytes: AtomicU64,
    /// Nothing is written to it any more.
    pub(crate) offline: AtomicBool,
    /// What does not work as it should.
    pub(crate) degraded: Mutex<Vec<String>>,
}

impl DiskView {
    /// A slab, if it is there.
    pub(crate) fn slab(&self, number: u32) -> Option<Arc<Slab>> {
        self.slabs.read().get(number as usize)?.clone()
    }

    /// No slab has this number or a higher one.
    pub(crate) fn slabs(&self) -> u32 {
        self.slabs.read().len() as u32
    }

    fn set_slab(&self, number: u32, slab: Option<Arc<Slab>>) {
        let mut slabs = self.slabs.write();
        let at = number as usize;
        if at >= slabs.len() {
            slabs.resize(at + 1, None);
        }
        slabs[at] = slab;
    }
}

impl Headers for DiskView {
    fn header(&self, location: Location) -> Option<SlotHeader> {
        let slabs = self.slabs.read();
        let slab = slabs.get(location.slab as usize)?.as_ref()?;
        slab.header(location.cell)
    }
}

/// What others are told of a piece on disk.
pub(crate) fn piece_at(location: Location, header: &SlotHeader, hot: bool) -> DiskPiece {
    DiskPiece {
        id: header.id,
        disk: location.disk,
        slab: location.slab,
        offset: sector_offset(header.sector),
        skip: header.skip,
        len: header.len,
        generation: header.generation,
        hot,
    }
}

/// What a disk is opened with.
#[derive(Debug)]
pub(crate) struct DiskOptions {
    pub(crate) number: u16,
    /// Its directory, for people.
    pub(crate) name: String,
    pub(crate) limit: SizeLimit,
    /// Bytes of a new slab at most.
    pub(crate) slab_bytes: u64,
    /// Bytes of memory for the pieces on it at most.
    pub(crate) index_bytes_max: u64,
    /// Bytes on this disk that count against the limit besides the slabs: the catalogue.
    pub(crate) other_bytes: Arc<AtomicU64>,
}

/// What all disks of a store share.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) index: Arc<Index>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) pins: Pins,
    /// The last generation that was given out.
    pub(crate) generation: Arc<AtomicU32>,
}

/// A whole piece to be stored.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: PieceId,
    pub(crate) frame: Arc<RamFrame>,
    /// How many pieces its object has; 0 where that is not known.
    pub(crate) pieces: u32,
}

/// The disk, for the one thread that owns it.
#[derive(Debug)]
pub(crate) struct Disk {
    options: DiskOptions,
    dir: Box<dyn BlockDir>,
    common: Common,
    view: Arc<DiskView>,
    books: Vec<Option<Books>>,
    places: Places,
    evictor: Evictor,
    packs: Packs,
    extents: Extents,
    /// Sectors that may be written again once the tables are durable: slab, first, count.
    quarantine: Vec<(u32, u32, u32)>,
    /// The slab that was written last: what is stored in turn lies in turn.
    current: u32,
    errors: u32,
    in_use: InUse,
    /// Pieces were evicted for want of memory, and it is still scarce.
    crowded: bool,
    /// Why nothing is written any more.
    offline: Option<String>,
    /// Not even what was forgotten can be written down.
    read_only: bool,
    /// Slab files that could not be read or removed: their numbers are not used again.
    lost_numbers: HashSet<u32>,
    /// When there was no room on the disk, last: it is asked again after a while.
    full_since: Option<Instant>,
    now: Instant,
    opened: Instant,
    /// For sectors that are written from nowhere else.
    tail: AlignedBuf,
}

/// Why a piece is not on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NotKept {
    /// No room, and none to be made.
    NoRoom,
    /// The disk fails.
    Failed,
}

impl Disk {
    /// What other threads may see of it.
    pub(crate) fn view(&self) -> &Arc<DiskView> {
        &self.view
    }

    /// Stores pieces. Afterwards each is in the index, or is not kept and counted; none is durable yet.
    pub(crate) fn store(&mut self, mut jobs: Vec<Job>) {
        // Pieces of one object in a run.
        jobs.sort_by_key(|job| job.id);
        for job in jobs {
            if self.offline.is_some()
                || job.frame.filled() != job.frame.len()
                || self.room_in_memory(job.frame.len()).is_err()
            {
                self.not_kept(job.id);
            } else if job.frame.len() < SHARED_BELOW_BYTES {
                self.store_small(job);
            } else {
                self.store_large(&job);
            }
        }
        self.write_packs();
    }

    fn store_large(&mut self, job: &Job) {
        let bytes = job.frame.bytes();
        let (sums, blocks) = sums_of(bytes);
        let sectors = job.frame.len().div_ceil(SECTOR_BYTES);
        // A slab that fails is condemned; the piece gets another chance on another slab.
        for _ in 0..2 {
            let beside = self.room_in_order(job, sectors);
            let Ok((slab, start)) = beside.map_or_else(|| self.room(sectors), Ok) else {
                break;
            };
            let header = SlotHeader {
                id: job.id,
                generation: self.next_generation(),
                place: start,
                sector: start,
                skip: 0,
                len: job.frame.len(),
            };
            if let Err(error) = self.write_from(slab, start, bytes) {
                self.write_failed(slab, start, sectors, &error);
                continue;
            }
            let place = self.add_place(slab, start, sectors);
            if self.publish(slab, place, &header, &sums[..blocks]) {
                self.close_place(place);
                return;
            }
            self.drop_place(place);
        }
        self.not_kept(job.id);
    }

    /// Writes a piece to whole sectors; the last one is filled up with zeros.
    fn write_from(&mut self, slab: u32, start: u32, bytes: &[u8]) -> io::Result<()> {
        let sector = SECTOR_BYTES as usize;
        let slab = self.slab(slab)?;
        let whole = bytes.len() / sector * sector;
        // Frames of the memory tier lie as O_DIRECT wants them.
        debug_assert!(bytes.as_ptr().addr().is_multiple_of(sector));
        slab.write(start, &bytes[..whole])?;
        if whole < bytes.len() {
            let tail = self.tail.bytes_mut();
            let rest = bytes.len() - whole;
            tail[..rest].copy_from_slice(&bytes[whole..]);
            tail[rest..].fill(0);
            slab.write(start + (whole / sector) as u32, self.tail.bytes())?;
        }
        Ok(())
    }

    fn add_place(&mut self, slab: u32, start: u32, sectors: u32) -> u32 {
        let place = self.places.add(slab, start, sectors);
        if let Some(Some(books)) = self.books.get_mut(slab as usize) {
            books.row.insert(place, &self.places);
        }
        place
    }

    fn slab(&self, number: u32) -> io::Result<Arc<Slab>> {
        let books = self.books.get(number as usize).and_then(Option::as_ref);
        books
            .map(|books| Arc::clone(&books.slab))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A header into the table, and then into the index. False where the table has no room.
    fn publish(&mut self, slab: u32, place: u32, header: &SlotHeader, sums: &[u64]) -> bool {
        let Some(Some(books)) = self.books.get_mut(slab as usize) else {
            return false;
        };
        let Some(cell) = books.slab.put(header, sums) else {
            books.table_is_full = true;
            return false;
        };
        books.wrote = true;
        self.places.add_cell(place, cell);
        self.count(header.len, true);
        let location = Location::new(self.options.number, slab, cell, place);
        let before = self
            .common
            .index
            .shard(header.id)
            .insert(header.id, location);
        if let Some(before) = before.filter(|before| before.disk == self.options.number) {
            // It was stored before, which only a second store of the same piece can bring about.
            self.forget_cell(before.slab, before.cell, None);
        }
        true
    }

    /// A place is complete: from now on it may be evicted.
    fn close_place(&mut self, place: u32) {
        if let Some((bytes, id)) = self.places.weigh(place, &self.books) {
            self.evictor.inserted(place, bytes, hash_of(id));
        } else {
            // Everything in it was forgotten while it was open.
            self.drop_place(place);
        }
    }

    fn next_generation(&self) -> u32 {
        let generation = &self.common.generation;
        generation.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    fn not_kept(&self, id: PieceId) {
        self.common
            .counters
            .not_kept
            .fetch_add(1, Ordering::Relaxed);
        let mut shard = self.common.index.shard(id);
        // Who waits for it holds the frame.
        if shard.hot.get(&id).is_some_and(|hot| hot.waits) {
            shard.hot.remove(&id);
        }
    }

    fn count(&mut self, len: u32, more: bool) {
        let (bytes, pieces) = (&self.view.piece_bytes, &self.view.pieces);
        if more {
            bytes.fetch_add(u64::from(len), Ordering::Relaxed);
            pieces.fetch_add(1, Ordering::Relaxed);
            self.in_use.add(len);
        } else {
            bytes.fetch_sub(u64::from(len), Ordering::Relaxed);
            pieces.fetch_sub(1, Ordering::Relaxed);
            self.in_use.remove(len);
        }
    }

    /// Makes durable what was stored and what was forgotten, and frees the places of the latter.
    pub(crate) fn commit(&mut self) {
        self.write_packs();
        if self.read_only {
            // What is forgotten comes back with the next start, which finds it as it was.
            return;
        }
        let mut failed = Vec::new();
        for (number, books) in self.books.iter_mut().enumerate() {
            let Some(books) = books else { continue };
            if !books.wrote && !books.slab.is_dirty() {
                continue;
            }
            match books.slab.commit() {
                Ok(()) => books.wrote = false,
                Err(error) => failed.push((number as u32, error)),
            }
        }
        for (slab, error) in failed {
            self.condemn(slab, &error);
        }
        for (slab, start, sectors) in std::mem::take(&mut self.quarantine) {
            if let Some(Some(books)) = self.books.get_mut(slab as usize) {
                books.runs.give(start, sectors);
            }
        }
    }

    /// Whether a commit has something to do.
    pub(crate) fn is_dirty(&self) -> bool {
        let mut books = self.books.iter().flatten();
        !self.read_only
            && (!self.quarantine.is_empty()
                || books.any(|books| books.wrote || books.slab.is_dirty()))
    }

    /// A thread that serves has found the piece damaged and taken it out of the index.
    pub(crate) fn forget(&mut self, slab: u32, cell: u32, generation: u32) {
        self.forget_cell(slab, cell, Some(generation));
    }

    /// Forgets pieces of a content that is purged; they leave the index, too. Returns their bytes.
    pub(crate) fn forget_pieces(&mut self, pieces: &[(PieceId, Location)]) -> u64 {
        let mut bytes = 0;
        for (id, location) in pieces {
            if location.disk != self.options.number
                || !self.common.index.shard(*id).remove_if(*id, *location)
            {
                continue;
            }
            if let Some(header) = self.forget_cell(location.slab, location.cell, None) {
                bytes += u64::from(header.len);
            }
        }
        bytes
    }

    fn forget_cell(&mut self, slab: u32, cell: u32, generation: Option<u32>) -> Option<SlotHeader> {
        let books = self.books.get_mut(slab as usize)?.as_mut()?;
        let header = books.slab.header(cell)?;
        let header = books
            .slab
            .clear(cell, generation.unwrap_or(header.generation))?;
        books.table_is_full = false;
        let place = books.row.at(header.place, &self.places);
        self.count(header.len, false);
        if let Some(place) = place
            && self.places.remove_cell(place, cell)
            && !self.packs.is_open(place)
        {
            self.evictor.removed(place);
            self.drop_place(place);
        }
        Some(header)
    }

    /// Forgets whatever is in a place, and puts its sectors into quarantine.
    fn drop_place(&mut self, place: u32) -> u32 {
        let slab = self.places.get(place).slab;
        if let Some(Some(books)) = self.books.get_mut(slab as usize) {
            books.row.remove(place, &self.places);
        }
        let (dropped, cells) = self.places.remove(place);
        let Some(Some(books)) = self.books.get_mut(dropped.slab as usize) else {
            return 0;
        };
        let slab = Arc::clone(&books.slab);
        let mut pieces = 0;
        for cell in cells {
            let Some(header) = slab.header(cell) else {
                continue;
            };
            let location = Location::new(self.options.number, dropped.slab, cell, place);
            self.common
                .index
                .shard(header.id)
                .remove_if(header.id, location);
            slab.clear(cell, header.generation);
            self.count(header.len, false);
            pieces += 1;
        }
        if pieces > 0
            && let Some(Some(books)) = self.books.get_mut(dropped.slab as usize)
        {
            books.table_is_full = false;
        }
        self.quarantine
            .push((dropped.slab, dropped.start, dropped.sectors));
        pieces
    }

    /// A write to a place that nothing names yet has failed.
    fn write_failed(&mut self, slab: u32, start: u32, sectors: u32, error: &io::Error) {
        if is_full(error) {
            // Only where the file system could not take the room beforehand.
            self.common
                .counters
                .io_errors
                .fetch_add(1, Ordering::Relaxed);
            self.full_since = Some(self.now);
            if let Some(Some(books)) = self.books.get_mut(slab as usize) {
                books.runs.give(start, sectors);
                books.table_is_full = true;
            }
        } else {
            self.condemn(slab, error);
            // It is there still where the file system has become read-only.
            if let Some(Some(books)) = self.books.get_mut(slab as usize) {
                books.runs.give(start, sectors);
            }
        }
    }

    /// A slab failed: nothing in it is trusted any more, and it is never tried again.
    fn condemn(&mut self, number: u32, error: &io::Error) {
        self.common
            .counters
            .io_errors
            .fetch_add(1, Ordering::Relaxed);
        if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
            self.read_only = true;
            self.go_offline(format!("is mounted read-only ({error}); what it holds is served, nothing is added until larder is started anew on a writable disk"));
            return;
        }
        tracing::error!(disk = %self.options.name, slab = number, %error, "slab: writing failed; its pieces are dropped and it is not used again");
        self.remove_slab(number);
        self.errors += 1;
        if self.errors >= ERRORS_MAX {
            self.go_offline(format!("failed {} times, last with: {error}; what is left on it is served, nothing is added; check the disk and start larder anew", self.errors));
        }
    }

    fn go_offline(&mut self, why: String) {
        if self.offline.is_some() {
            return;
        }
        tracing::error!(disk = %self.options.name, "disk: {why}");
        self.offline = Some(why);
    }

    /// Forgets a slab and what is in it, and gives its file back.
    fn remove_slab(&mut self, number: u32) -> u32 {
        for id in self.packs.forget_slab(number) {
            self.not_kept(id);
        }
        let Some(books) = self.books.get_mut(number as usize).and_then(Option::take) else {
            return 0;
        };
        let mut pieces = 0;
        for place in books.row.iter() {
            self.evictor.removed(place);
            for cell in self.places.remove(place).1 {
                let Some(header) = books.slab.header(cell) else {
                    continue;
                };
                let location = Location::new(self.options.number, number, cell, place);
                self.common
                    .index
                    .shard(header.id)
                    .remove_if(header.id, location);
                self.count(header.len, false);
                pieces += 1;
            }
        }
        self.quarantine.retain(|(slab, ..)| *slab != number);
        self.extents.forget_slab(number);
        self.view.set_slab(number, None);
        self.view
            .slab_bytes
            .fetch_sub(books.slab.bytes(), Ordering::Relaxed);
        if let Err(error) = self.dir.remove(&name_of(number)) {
            tracing::warn!(disk = %self.options.name, slab = number, %error, "slab: its file cannot be removed");
            self.lost_numbers.insert(number);
        }
        pieces
    }

    /// Says to others how it stands.
    pub(crate) fn report(&self) {
        let mut degraded = Vec::new();
        let name = &self.options.name;
        if let Some(why) = &self.offline {
            degraded.push(format!("the disk at {name} {why}"));
        } else if self.full_since.is_some() {
            degraded.push(format!(
                "the disk at {name} is full: what is fetched is passed through and stored only where older content makes room; free some space there or lower the limit on the cache"
            ));
        }
        if self.crowded {
            degraded.push(format!(
                "the disk at {name} holds as many pieces as there is memory for ({} MiB): the least wanted are evicted though there may be room; raise [server] memory_bytes_max",
                self.options.index_bytes_max >> 20
            ));
        }
        degraded.extend(self.dir.advice());
        self.view
            .index_bytes
            .store(self.index_bytes(), Ordering::Relaxed);
        self.view
            .offline
            .store(self.offline.is_some(), Ordering::Relaxed);
        *self.view.degraded.lock() = degraded;
    }
}

/// Whether an error says that there is no room, which passes.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
