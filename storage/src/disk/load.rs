//! How a disk is taken up at a start. The rule: the tables are the truth for pieces; of two headers that cannot both
//! be true the later one counts, and the other is cleared.

use super::places::{Books, Places};
use super::{Common, Disk, DiskOptions, DiskView};
use crate::block_io::{AlignedBuf, BlockDir, SECTOR_BYTES};
use crate::evict::Evictor;
use crate::index::Location;
use crate::slab::file::Slab;
use crate::slab::layout::{PACK_SECTORS, SlotHeader};
use crate::slab::scan::{Scanned, scan};
use larder_content::ContentNo;
use parking_lot::{Mutex, RwLock};
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

impl Disk {
    /// Opens a disk and puts what it holds into the index. Pieces of contents that `known` denies are dropped.
    ///
    /// # Errors
    /// Where its directory cannot be read; damage is no error.
    pub(crate) fn open(
        options: DiskOptions,
        dir: Box<dyn BlockDir>,
        common: Common,
        known: &dyn Fn(ContentNo) -> bool,
        now: Instant,
    ) -> io::Result<Self> {
        let scan = scan(&*dir)?;
        let counters = Arc::clone(&common.counters);
        counters.corrupt.fetch_add(scan.damaged, Ordering::Relaxed);
        let evictor = Evictor::new();
        let view = Arc::new(DiskView {
            number: options.number,
            slabs: RwLock::new(Vec::new()),
            touches: evictor.touches(),
            slab_bytes: AtomicU64::new(0),
            piece_bytes: AtomicU64::new(0),
            pieces: AtomicU64::new(0),
            index_bytes: AtomicU64::new(0),
            cap_bytes: AtomicU64::new(0),
            offline: AtomicBool::new(false),
            degraded: Mutex::default(),
        });
        let headers: Arc<DiskView> = Arc::clone(&view);
        common.index.attach(options.number, headers);
        let mut disk = Self {
            options,
            dir,
            common,
            view,
            books: Vec::new(),
            places: Places::default(),
            evictor,
            packs: super::Packs::default(),
            extents: super::Extents::default(),
            quarantine: Vec::new(),
            current: 0,
            errors: 0,
            in_use: super::InUse::default(),
            crowded: false,
            offline: None,
            read_only: false,
            lost_numbers: HashSet::new(),
            full_since: None,
            now,
            opened: now,
            tail: AlignedBuf::zeroed(SECTOR_BYTES as usize),
        };
        for (name, error) in scan.unreadable {
            tracing::error!(disk = %disk.options.name, slab = %name, %error, "slab: cannot be read; what it holds is fetched anew");
            counters.io_errors.fetch_add(1, Ordering::Relaxed);
        }
        disk.lost_numbers.extend(scan.taken);
        disk.load(scan.slabs, known);
        disk.tick(now);
        disk.report();
        Ok(disk)
    }

    pub(super) fn add_slab(&mut self, slab: Arc<Slab>) {
        let number = slab.number;
        if number as usize >= self.books.len() {
            self.books.resize_with(number as usize + 1, || None);
        }
        self.view
            .slab_bytes
            .fetch_add(slab.bytes(), Ordering::Relaxed);
        self.view.set_slab(number, Some(Arc::clone(&slab)));
        self.books[number as usize] = Some(Books::new(slab));
        self.current = number;
    }

    fn load(&mut self, slabs: Vec<Scanned>, known: &dyn Fn(ContentNo) -> bool) {
        let pieces = slabs.iter().map(|scanned| scanned.headers.len()).sum();
        self.common.index.reserve(pieces);
        // Which places were there, in the order in which they were written.
        let mut order: Vec<(u32, u32)> = Vec::new();
        let mut latest = self.common.generation.load(Ordering::Relaxed);
        let mut last_known = (None, false);
        for Scanned { slab, mut headers } in slabs {
            let number = slab.number;
            self.add_slab(Arc::clone(&slab));
            headers.sort_unstable_by_key(|(_, header)| (header.place, header.generation));
            for (cell, header) in headers {
                // Pieces of one content lie together, so that the answer is usually the same as before.
                if last_known.0 != Some(header.id.content) {
                    last_known = (Some(header.id.content), known(header.id.content));
                }
                if !last_known.1 {
                    slab.clear(cell, header.generation);
                    continue;
                }
                latest = latest.max(header.generation);
                match self.place_of(number, &header, &mut order) {
                    Some(place) => self.take_up(number, cell, &header, place),
                    None => {
                        // Two headers name the same sectors: one of them is not true.
                        slab.clear(cell, header.generation);
                        self.common.counters.corrupt.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
        self.common.generation.fetch_max(latest, Ordering::Relaxed);
        order.sort_unstable();
        for (_, place) in order {
            match self.places.weigh(place, &self.books) {
                Some((bytes, _)) => self.evictor.restored(place, bytes),
                None => {
                    self.drop_place(place);
                }
            }
        }
    }

    /// The place that a header lies in, new or known; None where its sectors are another's.
    fn place_of(
        &mut self,
        slab: u32,
        header: &SlotHeader,
        order: &mut Vec<(u32, u32)>,
    ) -> Option<u32> {
        let books = self.books.get_mut(slab as usize)?.as_mut()?;
        if let Some(place) = books.row.at(header.place, &self.places) {
            let shared = header.is_shared() && self.places.get(place).sectors == PACK_SECTORS;
            // A whole piece may be as long as a pack, so look at one of its pieces, too.
            let cell = self.places.cells(place).first();
            let other = cell.and_then(|cell| books.slab.header(*cell));
            let fits = shared && other.is_none_or(|other| other.is_shared());
            return fits.then_some(place);
        }
        if !books.runs.take_at(header.place, header.place_sectors()) {
            return None;
        }
        let place = self.add_place(slab, header.place, header.place_sectors());
        order.push((header.generation, place));
        Some(place)
    }

    fn take_up(&mut self, slab: u32, cell: u32, header: &SlotHeader, place: u32) {
        let location = Location::new(self.options.number, slab, cell, place);
        let before = self
            .common
            .index
            .shard(header.id)
            .insert(header.id, location);
        self.places.add_cell(place, cell);
        self.count(header.len, true);
        let Some(before) = before else { return };
        // Stored twice: found damaged, fetched anew, and the forgetting not yet durable. The later one counts.
        let later = self
            .generation_at(before)
            .is_some_and(|generation| header.generation.wrapping_sub(generation) < u32::MAX / 2);
        let loser = if later { before } else { location };
        if !later {
            self.common.index.shard(header.id).insert(header.id, before);
        }
        self.lose(loser);
    }

    /// Clears a header that lost to a later one. Its place stays until all slabs are read.
    fn lose(&mut self, loser: Location) {
        if loser.disk != self.options.number {
            return;
        }
        let Some(Some(books)) = self.books.get(loser.slab as usize) else {
            return;
        };
        let Some(header) = books.slab.header(loser.cell) else {
            return;
        };
        books.slab.clear(loser.cell, header.generation);
        self.count(header.len, false);
        self.places.remove_cell(loser.place, loser.cell);
    }

    fn generation_at(&self, location: Location) -> Option<u32> {
        if location.disk != self.options.number {
            return None;
        }
        let books = self.books.get(location.slab as usize)?.as_ref()?;
        Some(books.slab.header(location.cell)?.generation)
    }
}
