//! One disk, without threads, on every kind of bad day. The rule: what is read is right or missing; what was durable
//! and not forgotten is there.

mod bad_days;
mod crashes;
mod economy;
mod model;
mod nth;
mod order;

use super::*;
use crate::index::Hot;
use crate::ram_tier::RamTier;
use std::collections::{BTreeMap, BTreeSet};

/// A disk and what is around it.
struct Bench {
    disk: Disk,
    common: Common,
    /// Made when something is stored: most states after a crash are only looked at.
    ram: Option<RamTier>,
}

/// The bytes of a piece follow from its name; no two of its sectors are alike, nor do they tear unseen.
fn bytes_of(id: PieceId, len: u32) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    for (number, part) in bytes.chunks_mut(512).enumerate() {
        let name = (hash_of(id) ^ number as u64).wrapping_mul(0x5851_f42d_4c95_7f2d);
        part.fill((name >> 56) as u8);
        let begin = part.len().min(8);
        part[..begin].copy_from_slice(&name.to_le_bytes()[..begin]);
    }
    bytes
}

fn id(content: u64, piece: u32) -> PieceId {
    PieceId {
        content: ContentNo::new(content),
        piece,
    }
}

impl Bench {
    fn open(dir: impl BlockDir + 'static, cap: u64, slab_bytes: u64) -> io::Result<Self> {
        Self::open_with(dir, cap, slab_bytes, u64::MAX)
    }

    fn open_with(
        dir: impl BlockDir + 'static,
        cap: u64,
        slab_bytes: u64,
        index_bytes_max: u64,
    ) -> io::Result<Self> {
        let common = Common {
            index: Arc::new(Index::new()),
            counters: Arc::default(),
            pins: Pins::default(),
            generation: Arc::default(),
        };
        let options = DiskOptions {
            number: 0,
            name: "test".to_owned(),
            limit: SizeLimit::bytes(cap),
            slab_bytes,
            index_bytes_max,
            other_bytes: Arc::default(),
        };
        let disk = Disk::open(
            options,
            Box::new(dir),
            common.clone(),
            &|_| true,
            Instant::now(),
        )?;
        Ok(Self {
            disk,
            common,
            ram: None,
        })
    }

    fn put_all(&mut self, pieces: &[(PieceId, u32)]) {
        let mut jobs = Vec::new();
        let make = || RamTier::new(64 << 20).expect("memory");
        let ram = self.ram.get_or_insert_with(make);
        for (id, len) in pieces {
            let mut writer = ram.frame(*len).expect("the tier is large enough");
            writer.append(&bytes_of(*id, *len));
            let frame = Arc::clone(writer.frame());
            let hot = Hot {
                frame: Arc::clone(&frame),
                touched: false,
                waits: true,
                location: None,
            };
            self.common.index.shard(*id).hot.insert(*id, hot);
            let pieces = 0;
            jobs.push(Job {
                id: *id,
                frame,
                pieces,
            });
        }
        self.disk.store(jobs);
        for (id, _) in pieces {
            let hot = self.common.index.shard(*id).hot.remove(id);
            assert!(hot.is_none_or(|hot| !hot.waits), "{id:?} is forgotten");
        }
    }

    /// None: absent. Some(false): found damaged, and dropped. Panics where a byte is wrong.
    fn read(&mut self, id: PieceId) -> Option<bool> {
        let (location, header) = self.common.index.shard(id).find(id)?;
        let view = Arc::clone(self.disk.view());
        let piece = piece_at(location, &header, false);
        let slab = view.slab(piece.slab)?;
        let plan = piece.read_of(larder_content::Span::whole(u64::from(piece.len)));
        let mut buf = AlignedBuf::zeroed(plan.len as usize);
        let read = slab.read(plan.offset, buf.bytes_mut());
        let found = &buf.bytes()[plan.blocks];
        let good =
            read.is_ok() && slab.matches(location.cell, piece.generation, 0, found) == Some(true);
        if good {
            assert!(found == bytes_of(id, piece.len), "wrong bytes of {id:?}");
        } else {
            assert!(self.common.index.shard(id).remove_if(id, location));
            self.disk
                .forget(piece.slab, location.cell, piece.generation);
        }
        Some(good)
    }

    fn place_of(&self, id: PieceId) -> DiskPiece {
        let (location, header) = self.common.index.shard(id).find(id).expect("it is stored");
        piece_at(location, &header, false)
    }

    fn stored(&self) -> BTreeSet<PieceId> {
        let shards = self.common.index.shards();
        shards
            .flat_map(|s| s.on_disk().map(|(id, _)| id).collect::<Vec<_>>())
            .collect()
    }

    /// Every piece in the index is right; returns how many are.
    fn check_all(&mut self) -> usize {
        let stored = self.stored();
        for id in &stored {
            assert_eq!(self.read(*id), Some(true), "{id:?}");
        }
        stored.len()
    }

    fn purge(&mut self, content: u64) {
        let wanted = ContentNo::new(content);
        let index = Arc::clone(&self.common.index);
        let mut pieces = Vec::new();
        for shard in index.shards() {
            pieces.extend(shard.on_disk().filter(|(id, _)| id.content == wanted));
        }
        self.disk.forget_pieces(&pieces);
    }

    /// What must always hold of the books.
    fn audit(&self) {
        let view = &self.disk.view;
        let stored = self.stored();
        assert_eq!(view.pieces.load(Ordering::Relaxed), stored.len() as u64);
        let mut bytes = 0;
        for id in &stored {
            let found = self.common.index.shard(*id).find(*id);
            let (_, header) = found.expect("just listed");
            bytes += u64::from(header.len);
        }
        assert_eq!(view.piece_bytes.load(Ordering::Relaxed), bytes);
        let mut slab_bytes = 0;
        for (number, books) in self.disk.books.iter().enumerate() {
            let Some(books) = books else { continue };
            slab_bytes += books.slab.bytes();
            let geometry = books.slab.geometry;
            let taken: u32 = books
                .row
                .iter()
                .map(|p| self.disk.places.get(p).sectors)
                .sum();
            let waits = self
                .disk
                .quarantine
                .iter()
                .filter(|q| q.0 as usize == number);
            let waiting: u32 = waits.map(|q| q.2).sum();
            let data = geometry.sectors - geometry.data_sector;
            let kept = self.disk.extents.spare_sectors_in(number as u32);
            assert_eq!(
                books.runs.free() + taken + waiting + kept,
                data,
                "slab {number}"
            );
        }
        assert_eq!(view.slab_bytes.load(Ordering::Relaxed), slab_bytes);
    }
}

#[test]
fn each_size_class_loses_at_most_a_twentieth() {
    for (from, to) in [
        (4 << 10, 8 << 10),
        (8 << 10, 16 << 10),
        (16 << 10, 32 << 10),
        (32 << 10, 64 << 10),
        (64 << 10, 128 << 10),
        (128 << 10, 1 << 20),
        ((1 << 20) - 1, 1 << 20),
    ] {
        let dir = crate::testing::mem_io::MemDir::new(1 << 30);
        // Slabs of an eighth of that: the room at the end of each, too short for a piece, is little.
        let cap = if from < 64 << 10 { 64 << 20 } else { 512 << 20 };
        let mut bench = Bench::open(dir, cap, 1 << 30).unwrap();
        let mut seed = crate::testing::seed::Seed(from);
        // As much as fits without evicting: what is lost then is lost for good.
        let (mut piece, mut stored, mut used) = (0, 0, 0);
        while bench.common.counters.evictions.load(Ordering::Relaxed) == 0 {
            stored = bench.disk.view.piece_bytes.load(Ordering::Relaxed);
            used = bench.disk.view.slab_bytes.load(Ordering::Relaxed);
            let len = (from + 1 + seed.below(to - from)) as u32;
            bench.put_all(&[(id(1, piece), len)]);
            piece += 1;
        }
        let lost = 1.0 - stored as f64 / used as f64;
        eprintln!(
            "{:>7} to {to:>7} bytes: {:.1} % lost",
            from + 1,
            lost * 100.0
        );
        assert!(lost <= 0.05, "{from}..{to}: {lost}");
        bench.audit();
    }
}
