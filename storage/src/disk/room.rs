//! Where room comes from: free sectors, a new slab under the limit, or what is evicted. The rule: room is made before
//! a write, and slabs and catalogue together never exceed the limit.

use super::{Disk, NotKept, is_full};
use crate::block_io::SECTOR_BYTES;
use crate::index::{SLABS_MAX, hash_of};
use crate::limits::SizeLimit;
use crate::slab::file::Slab;
use crate::slab::layout::{Geometry, SLAB_BYTES_MAX, SLAB_BYTES_MIN, SlotHeader};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Evicted at a time, at most: it costs one commit, so not for every piece.
const EVICT_BYTES: u64 = 16 << 20;

/// So often neighbours are evicted to make one run of what is scattered, before a piece is given up.
const WIDEN_MAX: u32 = 8;

/// How long a disk that had no room is not asked for more.
const FULL_FOR: Duration = Duration::from_secs(5);

/// Left free on the disk for others: log files, the catalogue's next transaction. A sixteenth on a small one.
const SPARE_BYTES: u64 = 64 << 20;

impl Disk {
    /// Takes a run of sectors, making room where there is none.
    pub(super) fn room(&mut self, sectors: u32) -> Result<(u32, u32), NotKept> {
        if let Some(place) = self.take(sectors) {
            return Ok(place);
        }
        if self.grow()
            && let Some(place) = self.take(sectors)
        {
            return Ok(place);
        }
        if self.offline.is_some() {
            return Err(NotKept::Failed);
        }
        self.evict_for(sectors);
        if let Some(place) = self.take(sectors) {
            return Ok(place);
        }
        self.close_extents(true);
        self.take(sectors).ok_or(NotKept::NoRoom)
    }

    pub(super) fn take(&mut self, sectors: u32) -> Option<(u32, u32)> {
        if self.offline.is_some() {
            return None;
        }
        let fits = |at: u32, this: &Self| {
            this.books
                .get(at as usize)
                .and_then(Option::as_ref)
                .is_some_and(|books| !books.table_is_full && books.runs.longest() >= sectors)
        };
        if !fits(self.current, self) {
            self.current = (0..self.books.len() as u32).find(|at| fits(*at, self))?;
        }
        let books = self.books[self.current as usize].as_mut()?;
        Some((self.current, books.runs.take(sectors)?))
    }

    /// The limit now, and how many bytes may be added under it and on the disk.
    fn allowance(&self) -> (u64, u64) {
        let own = self.view.slab_bytes.load(Ordering::Relaxed)
            + self.options.other_bytes.load(Ordering::Relaxed);
        // Where the disk does not say, nothing is added.
        let free = self.dir.free_bytes().unwrap_or(0);
        let cap = self.options.limit.cap(free, own);
        let spare = SPARE_BYTES.min((own + free) / 16);
        let room = cap.saturating_sub(own).min(free.saturating_sub(spare));
        (cap, room)
    }

    /// Makes a new slab, if limit and disk permit.
    pub(super) fn grow(&mut self) -> bool {
        if self.offline.is_some() || self.full_since.is_some() || self.crowded {
            return false;
        }
        let (cap, room) = self.allowance();
        let usual = self.options.slab_bytes.min(cap / 8);
        let usual = usual.clamp(SLAB_BYTES_MIN, SLAB_BYTES_MAX);
        // What is left under the limit is used by a smaller one, unless that is hardly worth a file.
        let bytes = Geometry::fitting(usual.min(room)).filter(|bytes| *bytes >= usual / 4);
        let Some(bytes) = bytes else {
            if self.books.iter().all(Option::is_none) {
                self.full_since = Some(self.now);
            }
            return false;
        };
        let number = (0..).find(|number| {
            !self.lost_numbers.contains(number)
                && self.books.get(*number as usize).is_none_or(Option::is_none)
        });
        let Some(number) = number.filter(|number| *number < SLABS_MAX) else {
            return false;
        };
        let birth = RandomState::new().hash_one(number);
        match Slab::make(&*self.dir, number, bytes, birth) {
            Ok(slab) => {
                self.add_slab(slab);
                true
            }
            Err(error) if is_full(&error) => {
                self.full_since = Some(self.now);
                false
            }
            Err(error) if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
                self.condemn(number, &error);
                false
            }
            Err(error) => {
                self.common
                    .counters
                    .io_errors
                    .fetch_add(1, Ordering::Relaxed);
                tracing::error!(disk = %self.options.name, slab = number, %error, "slab: cannot be made");
                // What is left of it, if anything, must not be written over.
                self.lost_numbers.insert(number);
                self.errors += 1;
                if self.errors >= super::ERRORS_MAX {
                    self.go_offline(format!("takes no new files ({error}); what is on it is served, nothing is added; check the disk and start larder anew"));
                }
                false
            }
        }
    }

    /// Evicts until a run of `sectors` is free, or nothing more may go.
    pub(super) fn evict_for(&mut self, sectors: u32) {
        let own = self.view.slab_bytes.load(Ordering::Relaxed);
        let step = EVICT_BYTES.min(own / 32);
        let (mut freed, mut fits, mut widened) = (0, false, 0);
        while (freed < step || !fits) && widened < WIDEN_MAX {
            let Some(victim) = self.victim() else { break };
            let place = self.places.get(victim);
            let (slab, start) = (place.slab, place.start);
            let sectors_freed = self.evict_in_order(victim);
            freed += u64::from(sectors_freed) * u64::from(SECTOR_BYTES);
            fits |= self.gap(slab, start).1 >= sectors;
            if !fits && freed >= step {
                widened += 1;
                fits = self.widen(slab, start, sectors);
            }
        }
        if !self.quarantine.is_empty() {
            self.commit();
        }
    }

    pub(super) fn evict(&mut self, place: u32) -> u32 {
        let pieces = self.drop_place(place);
        self.common
            .counters
            .evictions
            .fetch_add(u64::from(pieces), Ordering::Relaxed);
        pieces
    }

    fn gap(&self, slab: u32, start: u32) -> (u32, u32) {
        self.books
            .get(slab as usize)
            .and_then(Option::as_ref)
            .map_or((start, 0), |books| books.gap_around(start, &self.places))
    }

    /// Evicts neighbours of an empty stretch until it is long enough.
    fn widen(&mut self, slab: u32, start: u32, sectors: u32) -> bool {
        loop {
            let (begin, len) = self.gap(slab, start);
            if len >= sectors {
                return true;
            }
            let Some(Some(books)) = self.books.get(slab as usize) else {
                return false;
            };
            let after = books.row.from(begin, &self.places);
            let before = books.row.before(begin, &self.places);
            let next = [after, before]
                .into_iter()
                .flatten()
                .find(|place| !self.packs.is_open(*place) && !self.is_pinned(*place));
            let Some(next) = next else { return false };
            self.evictor.removed(next);
            self.evict(next);
        }
    }

    pub(super) fn victim(&mut self) -> Option<u32> {
        let Self {
            evictor,
            places,
            books,
            common,
            ..
        } = self;
        let pins = common.pins.read();
        evictor.victim(&mut |place| {
            let books = books.get(places.get(place).slab as usize)?.as_ref()?;
            let header = |cell: &u32| books.slab.header(*cell);
            let cells = places.cells(place);
            let pinned = |header: SlotHeader| pins.contains(&header.id.content);
            if !pins.is_empty() && cells.iter().filter_map(header).any(pinned) {
                return None;
            }
            // What has lost its first piece is remembered by the one that is first now, which costs little.
            Some(hash_of(header(cells.first()?)?.id))
        })
    }

    pub(super) fn is_pinned(&self, place: u32) -> bool {
        let pins = self.common.pins.read();
        let slab = self.places.get(place).slab;
        let Some(Some(books)) = self.books.get(slab as usize) else {
            return false;
        };
        !pins.is_empty()
            && self
                .places
                .cells(place)
                .iter()
                .filter_map(|cell| books.slab.header(*cell))
                .any(|header| pins.contains(&header.id.content))
    }

    /// Has another limit from now on; what is above it goes at the next ticks.
    pub(crate) fn limit_to(&mut self, limit: SizeLimit) {
        self.options.limit = limit;
        // There may be room now.
        self.full_since = None;
    }

    /// To be called about once a second: the limit is assessed anew, slabs above it and empty ones are given back.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.now = now;
        let up_for = now.saturating_duration_since(self.opened);
        self.view.touches.tell(up_for.as_secs());
        if let Some(since) = self.full_since {
            let (_, room) = self.allowance();
            if now.saturating_duration_since(since) >= FULL_FOR && room >= SLAB_BYTES_MIN {
                self.full_since = None;
            }
        }
        let empty: Vec<u32> = self.numbers_where(|places| places == 0);
        // One empty slab is kept: it is the next to be written.
        for number in empty.into_iter().skip(1) {
            self.remove_slab(number);
        }
        self.assess_memory();
        self.close_extents(false);
        let (cap, _) = self.allowance();
        self.view.cap_bytes.store(cap, Ordering::Relaxed);
        let own = self.view.slab_bytes.load(Ordering::Relaxed)
            + self.options.other_bytes.load(Ordering::Relaxed);
        if own > cap {
            self.shrink();
        }
    }

    fn numbers_where(&self, holds: impl Fn(usize) -> bool) -> Vec<u32> {
        let all = self.books.iter().enumerate();
        all.filter_map(|(number, books)| {
            let books = books.as_ref()?;
            holds(books.row.len()).then_some(number as u32)
        })
        .collect()
    }

    /// Gives back the slab with the least in it that holds nothing pinned.
    fn shrink(&mut self) {
        let mut slabs: Vec<(u32, u32)> = Vec::new();
        for number in self.numbers_where(|_| true) {
            let Some(Some(books)) = self.books.get(number as usize) else {
                continue;
            };
            let used = books.slab.geometry.sectors - books.runs.free();
            let spared = books.row.iter().any(|place| self.is_pinned(place));
            if !spared {
                slabs.push((used, number));
            }
        }
        if let Some((_, number)) = slabs.into_iter().min() {
            let pieces = self.remove_slab(number);
            tracing::info!(disk = %self.options.name, slab = number, pieces, "slab: given back, since the cache is above its limit");
            self.common
                .counters
                .evictions
                .fetch_add(u64::from(pieces), Ordering::Relaxed);
        }
    }
}
