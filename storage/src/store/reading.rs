//! How pieces are found and read. The rule: a place on disk is looked up again by piece and generation whenever it
//! matters, so that nothing has to be held while a disk works.

use super::counters::read;
use super::{DiskPiece, Found, Store, Verified};
use crate::block_io::AlignedBuf;
use crate::disk::piece_at;
use crate::index::{Hot, Location};
use crate::ram_tier::FrameWriter;
use crate::slab::file::Slab;
use crate::writer::Order;
use larder_content::{PieceId, Span};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// So often a piece that moves away while it is read is looked up again.
const TRIES_MAX: u32 = 8;

impl Store {
    /// Where a piece is, all of which is wanted. Counts as a touch.
    #[must_use]
    pub fn find(&self, id: PieceId) -> Found {
        self.find_part(id, u32::MAX)
    }

    /// Where a piece is, of which so many bytes are wanted. Counts as a touch, but for 0: so whoever asked before looks
    /// it up again.
    #[must_use]
    pub fn find_part(&self, id: PieceId, bytes: u32) -> Found {
        let is_touch = bytes > 0;
        let mut shard = self.inner.common.index.shard(id);
        if let Some(hot) = shard.hot.get_mut(&id) {
            hot.touched |= is_touch;
            if let Some(location) = hot.location.filter(|_| is_touch) {
                self.touch_place(location);
            }
            return Found::Ram(Arc::clone(&hot.frame));
        }
        if let Some((location, header)) = shard.find(id) {
            if is_touch {
                self.touch_place(location);
            }
            let hot = is_touch && self.inner.lately.asks_again(id, header.len, bytes);
            return Found::Disk(piece_at(location, &header, hot));
        }
        shard
            .flights
            .get(&id)
            .map_or(Found::Absent, |flight| Found::Flight(Arc::clone(flight)))
    }

    fn touch_place(&self, location: Location) {
        if let Some(disk) = self.inner.disks.get(usize::from(location.disk)) {
            disk.view.touches.touch(location.place);
        }
    }

    /// Where a piece is on disk. No touch.
    pub(super) fn on_disk(&self, id: PieceId) -> Option<DiskPiece> {
        let shard = self.inner.common.index.shard(id);
        let (location, header) = shard.find(id)?;
        Some(piece_at(location, &header, false))
    }

    /// The descriptor of the slab file a piece lies in, opened for reading at offsets and lengths that are multiples
    /// of 4096. It stays valid as long as it is held, whatever happens to the slab. None: the piece has moved.
    #[must_use]
    pub fn slab_fd(&self, piece: &DiskPiece) -> Option<Arc<OwnedFd>> {
        let disk = self.inner.disks.get(usize::from(piece.disk))?;
        disk.view.slab(piece.slab)?.fd()
    }

    /// The slab and the location of a piece, where it still is what it was.
    pub(super) fn still(&self, piece: &DiskPiece) -> Option<(Arc<Slab>, Location)> {
        let (location, header) = self.inner.common.index.shard(piece.id).find(piece.id)?;
        if (location.disk, location.slab) != (piece.disk, piece.slab)
            || header.generation != piece.generation
        {
            return None;
        }
        let disk = self.inner.disks.get(usize::from(piece.disk))?;
        Some((disk.view.slab(piece.slab)?, location))
    }

    /// Checks bytes that were read: `data` is the piece's from block `first_block` (of 64 KiB) on, whole blocks or
    /// up to the piece's end. Never waits for a disk.
    #[must_use]
    pub fn verify(&self, piece: &DiskPiece, first_block: u32, data: &[u8]) -> Verified {
        let Some((slab, location)) = self.still(piece) else {
            return Verified::Moved;
        };
        match slab.matches(location.cell, piece.generation, first_block as usize, data) {
            Some(true) => Verified::Good,
            Some(false) => {
                let counter = &self.inner.common.counters.corrupt;
                if self.drop_piece(piece, location) {
                    counter.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(piece = ?piece.id, disk = piece.disk, slab = piece.slab, "piece: its bytes on disk are wrong; it is dropped and fetched anew");
                }
                Verified::Corrupt
            }
            None => Verified::Moved,
        }
    }

    /// A read failed: the piece is dropped and the error counted.
    pub fn read_failed(&self, piece: &DiskPiece, error: &io::Error) {
        let counter = &self.inner.common.counters.io_errors;
        counter.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(piece = ?piece.id, disk = piece.disk, slab = piece.slab, %error, "piece: reading it from disk failed; it is dropped and fetched anew");
        if let Some((_, location)) = self.still(piece) {
            self.drop_piece(piece, location);
        }
    }

    /// Takes a piece out of the index and lets its disk forget it. False where another did so first.
    pub(super) fn drop_piece(&self, piece: &DiskPiece, location: Location) -> bool {
        let index = &self.inner.common.index;
        let dropped = index.shard(piece.id).remove_if(piece.id, location);
        if dropped {
            let forget = Order::Forget {
                slab: piece.slab,
                cell: location.cell,
                generation: piece.generation,
            };
            // Only a closed store has nobody who listens; the table then still names it, and it is found damaged again.
            let _ = self.inner.disks[usize::from(piece.disk)]
                .orders
                .send(forget);
        }
        dropped
    }

    /// Memory for a hot piece that is about to be read whole, or None where there is no room or no need.
    #[must_use]
    pub fn admit(&self, piece: &DiskPiece) -> Option<FrameWriter> {
        let common = &self.inner.common;
        if common.index.shard(piece.id).hot.contains_key(&piece.id) {
            return None;
        }
        self.inner
            .hot
            .frame(&common.index, &self.inner.ram, piece.len)
    }

    /// The whole piece was read into the frame: it is verified, as [`Store::verify`] does, and from now on served from
    /// memory without another look.
    pub fn admitted(&self, piece: &DiskPiece, writer: FrameWriter) {
        let frame = Arc::clone(writer.frame());
        drop(writer);
        if frame.filled() != piece.len || self.verify(piece, 0, frame.bytes()) != Verified::Good {
            return;
        }
        let mut shard = self.inner.common.index.shard(piece.id);
        let location = shard.location(piece.id);
        if location.is_none() || shard.hot.contains_key(&piece.id) {
            return;
        }
        let hot = Hot {
            frame,
            touched: false,
            waits: false,
            location,
        };
        shard.hot.insert(piece.id, hot);
        drop(shard);
        self.inner.hot.admitted(piece.id);
    }

    /// Reads a hot piece whole, so that it is served from memory from now on. May wait for a disk: not for shard
    /// threads. False where there is no room or no need, or the piece is not what it was.
    #[must_use]
    pub fn admit_blocking(&self, piece: &DiskPiece) -> bool {
        let Some(mut writer) = piece.hot.then(|| self.admit(piece)).flatten() else {
            return false;
        };
        let whole = Span::new(0, u64::from(piece.len));
        let (Verified::Good, Some(bytes)) = self.read_from_disk(piece, whole) else {
            return false;
        };
        writer.append(&bytes);
        self.admitted(piece, writer);
        true
    }

    /// Reads and verifies bytes `within` a piece, from memory or disk. May wait for a disk: not for shard threads.
    /// None where the piece is absent, in flight, or turns out damaged.
    #[must_use]
    pub fn read_blocking(&self, id: PieceId, within: Span) -> Option<Vec<u8>> {
        for _ in 0..TRIES_MAX {
            match self.find(id) {
                Found::Ram(frame) => return part_of(frame.bytes(), within),
                Found::Disk(piece) => match self.read_from_disk(&piece, within) {
                    (Verified::Good, bytes) => return bytes,
                    (Verified::Corrupt, _) => return None,
                    (Verified::Moved, _) => {}
                },
                Found::Flight(_) | Found::Absent => return None,
            }
        }
        None
    }

    fn read_from_disk(&self, piece: &DiskPiece, within: Span) -> (Verified, Option<Vec<u8>>) {
        if within.end > u64::from(piece.len) || within.is_empty() {
            return (Verified::Good, within.is_empty().then(Vec::new));
        }
        let disk = &self.inner.disks[usize::from(piece.disk)];
        let Some(slab) = disk.view.slab(piece.slab) else {
            return (Verified::Moved, None);
        };
        let plan = piece.read_of(within);
        let mut buf = AlignedBuf::zeroed(plan.len as usize);
        if let Err(error) = slab.read(plan.offset, buf.bytes_mut()) {
            self.read_failed(piece, &error);
            return (Verified::Corrupt, None);
        }
        let blocks = &buf.bytes()[plan.blocks];
        let verified = self.verify(piece, plan.first_block, blocks);
        let skipped = u64::from(plan.first_block) * u64::from(larder_content::BLOCK_BYTES);
        let part = Span::new(within.start - skipped, within.end - skipped);
        (verified, part_of(blocks, part))
    }

    /// How many bytes are in pieces on disk.
    #[must_use]
    pub fn piece_bytes(&self) -> u64 {
        let disks = self.inner.disks.iter();
        disks.map(|disk| read(&disk.view.piece_bytes)).sum()
    }
}

fn part_of(bytes: &[u8], within: Span) -> Option<Vec<u8>> {
    let part = usize::try_from(within.start).ok()?..usize::try_from(within.end).ok()?;
    bytes.get(part).map(<[u8]>::to_vec)
}
