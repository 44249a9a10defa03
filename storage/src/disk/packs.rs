//! Small pieces together in packs of 1 MiB. The rule: a pack is only ever added to, and goes as a whole.

use super::{Disk, Job, is_full};
use crate::block_io::{AlignedBuf, SECTOR_BYTES};
use crate::slab::file::sums_of;
use crate::slab::layout::{PACK_SECTORS, SlotHeader};
use larder_content::PieceId;

/// Packs that are open at once: a piece goes into the one where it just fits.
const OPEN_MAX: usize = 2;

const PACK_BYTES: usize = (PACK_SECTORS * SECTOR_BYTES) as usize;

/// The packs that are being filled.
#[derive(Debug, Default)]
pub(super) struct Packs {
    open: Vec<Pack>,
    /// Pieces are being put into another slab: those that do not fit there either are given up.
    moving: bool,
}

#[derive(Debug)]
struct Pack {
    slab: u32,
    start: u32,
    place: u32,
    bytes: AlignedBuf,
    filled: usize,
    /// Everything before is on disk.
    written: usize,
    pending: Vec<(Job, usize)>,
}

impl Packs {
    pub(super) fn is_open(&self, place: u32) -> bool {
        self.open.iter().any(|pack| pack.place == place)
    }

    /// Drops the packs of a slab, and says which pieces were still to be written.
    pub(super) fn forget_slab(&mut self, slab: u32) -> Vec<PieceId> {
        let mut pending = Vec::new();
        self.open.retain_mut(|pack| {
            if pack.slab == slab {
                pending.extend(pack.pending.drain(..).map(|(job, _)| job.id));
            }
            pack.slab != slab
        });
        pending
    }
}

impl Disk {
    /// Puts a small piece into an open pack. It is written, and named, by [`Disk::write_packs`].
    pub(super) fn store_small(&mut self, job: Job) {
        let len = job.frame.len() as usize;
        let books = &self.books;
        let takes_names = |pack: &Pack| {
            let books = books.get(pack.slab as usize).and_then(Option::as_ref);
            books.is_some_and(|books| !books.table_is_full)
        };
        let fitting = self
            .packs
            .open
            .iter_mut()
            .filter(|pack| PACK_BYTES - pack.filled >= len && takes_names(pack))
            .min_by_key(|pack| PACK_BYTES - pack.filled);
        let pack = match fitting {
            Some(pack) => pack,
            None => {
                if self.packs.open.len() == OPEN_MAX {
                    self.close_fullest_pack();
                }
                let Ok((slab, start)) = self.room(PACK_SECTORS) else {
                    self.not_kept(job.id);
                    return;
                };
                let place = self.add_place(slab, start, PACK_SECTORS);
                self.packs.open.push(Pack {
                    slab,
                    start,
                    place,
                    bytes: AlignedBuf::zeroed(PACK_BYTES),
                    filled: 0,
                    written: 0,
                    pending: Vec::new(),
                });
                let Some(pack) = self.packs.open.last_mut() else {
                    return;
                };
                pack
            }
        };
        let at = pack.filled;
        pack.bytes.bytes_mut()[at..at + len].copy_from_slice(job.frame.bytes());
        pack.filled += len;
        pack.pending.push((job, at));
    }

    fn close_fullest_pack(&mut self) {
        self.write_packs();
        let fullest = (0..self.packs.open.len()).max_by_key(|at| self.packs.open[*at].filled);
        if let Some(at) = fullest {
            let pack = self.packs.open.swap_remove(at);
            self.close_place(pack.place);
        }
    }

    /// Writes what was added to the packs, and names it. Pieces whose names the table of their slab has no room for
    /// get a place in another slab.
    pub(super) fn write_packs(&mut self) {
        let unnamed = self.write_open_packs();
        if self.packs.moving {
            // Making room for those that move may bring this about; a third slab is not tried.
            for job in unnamed {
                self.not_kept(job.id);
            }
            return;
        }
        if unnamed.is_empty() {
            return;
        }
        self.packs.moving = true;
        for job in unnamed {
            self.store_small(job);
        }
        self.write_packs();
        self.packs.moving = false;
    }

    /// What could not be named is returned.
    fn write_open_packs(&mut self) -> Vec<Job> {
        let mut unnamed = Vec::new();
        for mut pack in std::mem::take(&mut self.packs.open) {
            if pack.pending.is_empty() {
                self.packs.open.push(pack);
                continue;
            }
            let there = self
                .books
                .get(pack.slab as usize)
                .is_some_and(Option::is_some);
            if self.offline.is_some() || !there {
                for (job, _) in pack.pending {
                    self.not_kept(job.id);
                }
                continue;
            }
            let sector = SECTOR_BYTES as usize;
            let from = pack.written / sector * sector;
            let to = pack.filled.next_multiple_of(sector);
            let first = pack.start + (from / sector) as u32;
            let written = self
                .slab(pack.slab)
                .and_then(|slab| slab.write(first, &pack.bytes.bytes()[from..to]));
            let pending = std::mem::take(&mut pack.pending);
            if let Err(error) = written {
                for (job, _) in &pending {
                    self.not_kept(job.id);
                }
                if is_full(&error) {
                    // What was in it before stays; nothing is added.
                    self.full_since = Some(self.now);
                    self.close_place(pack.place);
                } else {
                    self.condemn(pack.slab, &error);
                }
                continue;
            }
            pack.written = pack.filled;
            let mut full = false;
            for (job, at) in pending {
                if full || !self.name_in_pack(&pack, &job, at) {
                    // No header fits: the pack is done.
                    full = true;
                    unnamed.push(job);
                }
            }
            if full {
                self.close_place(pack.place);
            } else {
                self.packs.open.push(pack);
            }
        }
        unnamed
    }

    fn name_in_pack(&mut self, pack: &Pack, job: &Job, at: usize) -> bool {
        let bytes = job.frame.bytes();
        let (sums, blocks) = sums_of(bytes);
        let sector = SECTOR_BYTES as usize;
        let header = SlotHeader {
            id: job.id,
            generation: self.next_generation(),
            place: pack.start,
            sector: pack.start + (at / sector) as u32,
            // Below 4096, so it fits.
            skip: (at % sector) as u16,
            len: job.frame.len(),
        };
        self.publish(pack.slab, pack.place, &header, &sums[..blocks])
    }
}
