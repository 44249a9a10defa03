//! What a piece costs in memory, and what happens where there is none left. The rule: what is counted is the room that
//! lists and tables have, whether it is used or not.

use super::*;
use crate::block_io::BlockIo;
use crate::disk::economy::CELL_BYTES;
use crate::slab::layout::{blocks, cells};
use crate::testing::mem_io::MemDir;
use std::os::fd::OwnedFd;

/// A disk without end that keeps nothing: what is of interest is what is in memory.
#[derive(Debug)]
pub(super) struct Hollow;

#[derive(Debug, Default)]
struct HollowFile(AtomicU64);

impl BlockDir for Hollow {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn open(&self, _: &str, _: bool) -> io::Result<Box<dyn BlockIo>> {
        Ok(Box::new(HollowFile::default()))
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 50)
    }
}

impl BlockIo for HollowFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.load(Ordering::Relaxed))
    }

    fn read_at(&self, buf: &mut [u8], _: u64) -> io::Result<()> {
        buf.fill(0);
        Ok(())
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        self.0.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn fd(&self) -> Option<Arc<OwnedFd>> {
        None
    }
}

/// Bytes of the index, of the disk's own books, and of the tables.
fn memory(bench: &Bench) -> [usize; 3] {
    let disk = &bench.disk;
    let books = || disk.books.iter().flatten();
    let rows: usize = books().map(|books| books.row.bytes()).sum();
    let runs: usize = books().map(|books| books.runs.memory_bytes()).sum();
    let own = disk.places.bytes() + disk.evictor.memory_bytes() + rows + runs;
    let tables = books().map(|books| books.slab.memory_bytes());
    [bench.common.index.bytes(), own, tables.sum()]
}

/// Puts a piece where the disk would, without its bytes: a million of them would take a while.
fn put_large(disk: &mut Disk, id: PieceId, len: u32) {
    let sectors = len.div_ceil(SECTOR_BYTES);
    let (slab, start) = disk.room(sectors).expect("there is room");
    let header = SlotHeader {
        id,
        generation: disk.next_generation(),
        place: start,
        sector: start,
        skip: 0,
        len,
    };
    let place = disk.add_place(slab, start, sectors);
    assert!(disk.publish(slab, place, &header, &[0; 16][..blocks(len)]));
    disk.close_place(place);
}

#[test]
fn a_piece_takes_64_bytes_of_memory_at_most() {
    for (len, many) in [
        (512, 40_000),
        (5000, 40_000),
        (64 << 10, 200_000),
        (300 << 10, 200_000),
        (1 << 20, 200_000),
    ] {
        let mut bench = Bench::open(Hollow, 1 << 50, 1 << 30).unwrap();
        let before = memory(&bench);
        let mut most = [0.0_f64; 3];
        for piece in 0..many {
            // Objects of ten pieces.
            let id = id(1 + u64::from(piece / 10), piece % 10);
            if len < SHARED_BELOW_BYTES {
                bench.put_all(&[(id, len)]);
            } else {
                put_large(&mut bench.disk, id, len);
            }
            // At lengths that tables and lists were not made for, from where what an empty store takes is little.
            if piece > many / 2 && piece % 997 == 0 {
                let now = memory(&bench);
                for at in 0..3 {
                    let each = (now[at] - before[at]) as f64 / f64::from(piece + 1);
                    most[at] = most[at].max(each);
                }
                let counted = bench.disk.index_bytes();
                let all: usize = (0..3).map(|at| now[at] - before[at]).sum();
                assert!(
                    all as u64 <= counted,
                    "{all} bytes are counted as {counted}"
                );
            }
        }
        let [index, own, table] = most;
        // The checksums of a piece's blocks, and its header with them, are in memory as they are on disk.
        let header = f64::from(cells(len)) * CELL_BYTES as f64;
        eprintln!(
            "pieces of {len:>7} bytes: {:.1} of memory each (index {index:.1}, places and eviction {own:.1}), header and checksums {table:.1}",
            index + own
        );
        assert!(index + own <= 64.0, "{len}: {index} and {own}");
        assert!(table <= header, "{len}: {table}");
        if len < SHARED_BELOW_BYTES {
            assert!(
                index + own + table <= 64.0,
                "{len}: {index}, {own} and {table}"
            );
        }
    }
}

#[test]
fn what_there_is_no_memory_for_is_evicted_though_there_is_room() {
    // Enough for 1000 pieces of 100 KiB, or twice as many small ones.
    const MAX: u64 = 1000 * (16 + 48 + 2 * 43);
    let mut bench = Bench::open_with(Hollow, 1 << 50, 1 << 30, MAX).unwrap();
    let evicted = |bench: &Bench| {
        bench
            .common
            .counters
            .index_evictions
            .load(Ordering::Relaxed)
    };
    for piece in 0..1000 {
        bench.put_all(&[(id(1, piece), 100 << 10)]);
    }
    assert_eq!((evicted(&bench), bench.stored().len()), (0, 1000));
    bench.disk.report();
    assert!(bench.disk.view.degraded.lock().is_empty());
    // What is asked for stays; what is not is the first to go.
    bench
        .disk
        .tick(bench.disk.now + std::time::Duration::from_secs(60));
    for piece in 500..600 {
        let location = bench
            .common
            .index
            .shard(id(1, piece))
            .location(id(1, piece));
        bench.disk.view.touches.touch(location.unwrap().place);
    }
    let slabs = bench.disk.view.slab_bytes.load(Ordering::Relaxed);
    for piece in 0..20_000 {
        let len = if piece % 3 == 0 { 100 << 10 } else { 3000 };
        bench.put_all(&[(id(2, piece), len)]);
        assert!(bench.disk.index_bytes() <= MAX);
        if piece % 100 == 0 {
            bench.disk.commit();
        }
    }
    bench.disk.commit();
    bench.audit();
    assert!(evicted(&bench) > 10_000);
    assert_eq!(bench.common.counters.not_kept.load(Ordering::Relaxed), 0);
    assert!((500..600).all(|piece| bench.stored().contains(&id(1, piece))));
    let now = bench.disk.view.slab_bytes.load(Ordering::Relaxed);
    assert_eq!(now, slabs, "room that is free already is used");
    let [_, _, tables] = memory(&bench);
    assert!(tables as u64 <= 2 * MAX, "what is left of pages: {tables}");
    bench.disk.report();
    let said = bench.disk.view.degraded.lock().join("\n");
    assert!(said.contains("memory_bytes_max"), "{said}");
}

#[test]
fn a_start_with_less_memory_evicts_what_it_has_none_for() {
    let dir = MemDir::new(1 << 30);
    let mut bench = Bench::open(dir.clone(), 64 << 20, 16 << 20).unwrap();
    for piece in 0..400 {
        bench.put_all(&[(id(1, piece), 70 << 10)]);
    }
    bench.disk.commit();
    let max = bench.disk.index_bytes() / 2;
    drop(bench);
    let mut bench = Bench::open_with(dir, 64 << 20, 16 << 20, max).unwrap();
    assert!(bench.disk.index_bytes() <= max);
    let left = bench.check_all();
    assert!((190..=200).contains(&left), "{left} are left");
    bench.audit();
}
