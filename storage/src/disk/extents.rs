//! Stretches kept for the pieces of one object, so that they lie in order however they arrive: clients ask for them in
//! shuffled order, and for several objects at once. The rule: what is kept is a hint. It is taken back where the room is
//! needed or nobody comes, and what a stretch has no room for is put anywhere.

use super::{Disk, Job};
use crate::slab::layout::{PACK_SECTORS, sector_offset};
use larder_content::{ContentNo, PIECE_BYTES, PieceId};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Pieces in a stretch, where it fits: a disk of 150 seeks and 150 MB a second reads it at 0.89 of its rate.
const PIECES: u32 = 8;
/// Where that does not fit.
const SHORTER: [u32; 2] = [4, 2];
/// Stretches that are kept at once: 8 GiB of objects under way.
const OPEN_MAX: usize = 1024;
/// What is kept and empty is at most this part of what the disk may hold.
const SPARE_PART: u64 = 8;
/// Room that is free is left alone while it is less than this part, where no stretch fits in.
const SCATTERED_PART: u64 = 16;
/// In a smaller store every piece counts, and nothing is evicted for the sake of order.
const ORDER_FROM_BYTES: u64 = 1 << 30;
/// For how long a stretch waits for the next piece.
const IDLE_FOR: Duration = Duration::from_secs(120);

/// A stretch: the room of each piece from the first one on, a MiB each.
#[derive(Debug)]
struct Extent {
    slab: u32,
    start: u32,
    pieces: u32,
    /// Room that was given out, a bit each.
    used: u32,
    /// When it was used last, in the order of uses and as time.
    turn: u64,
    at: Instant,
}

impl Extent {
    fn spare(&self) -> u32 {
        self.pieces - self.used.count_ones()
    }
}

/// The stretches that are kept, by content and first piece.
#[derive(Debug, Default)]
pub(super) struct Extents {
    open: HashMap<(ContentNo, u32), Extent>,
    /// Pieces that there is empty room for.
    spare: u64,
    turn: u64,
}

impl Extents {
    /// Takes the room for a piece; the whole stretch is done with its last.
    fn take(&mut self, id: PieceId, now: Instant) -> Option<(u32, u32)> {
        let key = [PIECES, SHORTER[0], SHORTER[1]]
            .map(|many| (id.content, id.piece / many * many))
            .into_iter()
            .find(|key| {
                let extent = self.open.get(key);
                extent.is_some_and(|extent| id.piece - key.1 < extent.pieces)
            })?;
        let extent = self.open.get_mut(&key)?;
        let at = id.piece - key.1;
        if extent.used & (1 << at) != 0 {
            return None;
        }
        self.turn += 1;
        self.spare -= 1;
        extent.used |= 1 << at;
        (extent.turn, extent.at) = (self.turn, now);
        let place = (extent.slab, extent.start + at * PACK_SECTORS);
        if extent.spare() == 0 {
            self.open.remove(&key);
        }
        Some(place)
    }

    fn close(&mut self, key: (ContentNo, u32)) -> Option<Extent> {
        let extent = self.open.remove(&key)?;
        self.spare -= u64::from(extent.spare());
        Some(extent)
    }

    /// Forgets those in a slab that is gone.
    pub(super) fn forget_slab(&mut self, slab: u32) {
        let in_it = |extent: &Extent| extent.slab == slab;
        let gone = self.open.values().filter(|extent| in_it(extent));
        self.spare -= gone.map(|extent| u64::from(extent.spare())).sum::<u64>();
        self.open.retain(|_, extent| !in_it(extent));
    }

    #[cfg(test)]
    pub(super) fn spare_sectors_in(&self, slab: u32) -> u32 {
        let in_it = self.open.values().filter(|extent| extent.slab == slab);
        in_it.map(|extent| extent.spare() * PACK_SECTORS).sum()
    }
}

impl Disk {
    /// Room for a piece beside the others of its object. None: anywhere is as good.
    pub(super) fn room_in_order(&mut self, job: &Job, sectors: u32) -> Option<(u32, u32)> {
        let found = self.extents.take(job.id, self.now);
        let (slab, start) = match found {
            Some(place) => place,
            None => {
                self.keep_extent(job)?;
                self.extents.take(job.id, self.now)?
            }
        };
        if sectors < PACK_SECTORS
            && let Some(Some(books)) = self.books.get_mut(slab as usize)
        {
            // The last piece of its object is shorter.
            books.runs.give(start + sectors, PACK_SECTORS - sectors);
        }
        Some((slab, start))
    }

    fn keep_extent(&mut self, job: &Job) -> Option<()> {
        // Where it is not known how many there are, a short piece may be the only one.
        let unknown = if job.frame.len() < PIECE_BYTES {
            1
        } else {
            u32::MAX
        };
        let all = if job.pieces == 0 { unknown } else { job.pieces };
        let first_of = |many: u32| job.id.piece / many * many;
        let ahead = |many: u32| many.min(all.saturating_sub(first_of(many)));
        if all == 1 || first_of(PIECES) >= all {
            return None;
        }
        let take = |disk: &mut Self, sizes: &[u32]| {
            sizes.iter().find_map(|many| {
                let place = disk.take(ahead(*many) * PACK_SECTORS)?;
                Some((*many, place))
            })
        };
        let mut taken = take(self, &[PIECES]);
        if taken.is_none() && self.grow() {
            taken = take(self, &[PIECES]);
        }
        taken = taken.or_else(|| take(self, &[SHORTER[0]]));
        if taken.is_none() {
            // Rather than into what is scattered: but scattered room is no loss that grows.
            let own = self.view.slab_bytes.load(Ordering::Relaxed);
            if own >= ORDER_FROM_BYTES && self.free_bytes() < own / SCATTERED_PART {
                self.evict_for(PACK_SECTORS);
            }
            taken = take(self, &[PIECES, SHORTER[0], SHORTER[1]]);
        }
        let (many, (slab, start)) = taken?;
        let pieces = ahead(many);
        let extent = Extent {
            slab,
            start,
            pieces,
            used: 0,
            turn: u64::MAX,
            at: self.now,
        };
        let key = (job.id.content, first_of(many));
        if let Some(before) = self.extents.close(key) {
            self.give_back(&before);
        }
        self.extents.spare += u64::from(pieces);
        self.extents.open.insert(key, extent);
        let cap = self.view.cap_bytes.load(Ordering::Relaxed);
        let spare_max = cap / SPARE_PART / u64::from(PIECE_BYTES);
        while self.extents.open.len() > OPEN_MAX || self.extents.spare > spare_max {
            let oldest = self
                .extents
                .open
                .iter()
                .min_by_key(|(_, extent)| extent.turn);
            let oldest = *oldest?.0;
            let gone = self.extents.close(oldest)?;
            self.give_back(&gone);
        }
        Some(())
    }

    fn free_bytes(&self) -> u64 {
        let books = self.books.iter().flatten();
        books.map(|books| sector_offset(books.runs.free())).sum()
    }

    fn give_back(&mut self, extent: &Extent) {
        let Some(Some(books)) = self.books.get_mut(extent.slab as usize) else {
            return;
        };
        for at in (0..extent.pieces).filter(|at| extent.used & (1 << at) == 0) {
            let start = extent.start + at * PACK_SECTORS;
            books.runs.give(start, PACK_SECTORS);
        }
    }

    /// Takes back what nobody has used for a while, or all.
    pub(super) fn close_extents(&mut self, all: bool) {
        let idle = |extent: &Extent| self.now.saturating_duration_since(extent.at) >= IDLE_FOR;
        let open = self.extents.open.iter();
        let keys: Vec<_> = open
            .filter(|(_, extent)| all || idle(extent))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            if let Some(extent) = self.extents.close(key) {
                self.give_back(&extent);
            }
        }
    }

    /// Evicts a place, and with it the pieces beside it that nobody has asked for either: what is free then is a
    /// stretch. Returns sectors.
    pub(super) fn evict_in_order(&mut self, place: u32) -> u32 {
        let victim = self.places.get(place);
        let alone = match self.places.cells(place) {
            [cell] => self
                .slab(victim.slab)
                .ok()
                .and_then(|slab| slab.header(*cell)),
            _ => None,
        };
        self.evict(place);
        let mut sectors = victim.sectors;
        let Some(header) = alone else { return sectors };
        let first = header.id.piece / PIECES * PIECES;
        for piece in (first..first + PIECES).filter(|piece| *piece != header.id.piece) {
            let id = PieceId { piece, ..header.id };
            let Some(location) = self.common.index.shard(id).location(id) else {
                continue;
            };
            let place = location.place;
            let beside = (location.disk, location.slab) == (self.options.number, victim.slab)
                && self.places.cells(place).len() == 1
                && self.evictor.goes_along(place)
                && !self.packs.is_open(place)
                && !self.is_pinned(place);
            if beside {
                sectors += self.places.get(place).sectors;
                self.evictor.removed(place);
                self.evict(place);
            }
        }
        sectors
    }
}
