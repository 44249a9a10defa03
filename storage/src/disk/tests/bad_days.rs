//! Errors, damage, and a full disk. The rule: each costs what it must and is counted, and what can be done is done.

use super::*;
use crate::testing::fault_io::{Fault, FaultDir, Faults, Op};
use crate::testing::mem_io::MemDir;
use std::time::Duration;

const CAP: u64 = 32 << 20;
const SLAB: u64 = 4 << 20;

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// A run of everything a disk does. Returns how many pieces were offered.
fn script(bench: &mut Bench) -> u64 {
    let lens = [700, 1 << 20, 9000, 70_000, 300_000];
    let mut offered = 0;
    for round in 0..12_u64 {
        let pieces: Vec<_> = (0..8)
            .map(|n| {
                (
                    id(1 + n % 3, (round * 8 + n) as u32),
                    lens[(n % 5) as usize],
                )
            })
            .collect();
        offered += pieces.len() as u64;
        bench.put_all(&pieces);
        if round % 3 == 2 {
            bench.disk.commit();
        }
        if round == 7 {
            bench.purge(2);
        }
        // Longer than a full disk is left alone.
        let later = Duration::from_secs(10 * (round + 1));
        bench.disk.tick(Instant::now() + later);
    }
    bench.disk.commit();
    offered
}

#[test]
fn a_disk_that_keeps_failing_goes_offline_and_says_so() {
    let faults = Faults::default();
    let dir = FaultDir {
        inner: MemDir::new(1 << 30),
        faults: faults.clone(),
    };
    let mut bench = Bench::open(dir, 64 << 20, SLAB).unwrap();
    script(&mut bench);
    let before = bench.check_all();
    faults.set(Some(Fault {
        op: Op::Write,
        first: 1,
        for_ever: true,
        errno: libc::EIO,
    }));
    for piece in 0..6 {
        bench.put_all(&[(id(9, piece), 1 << 20)]);
    }
    bench.disk.report();
    assert!(bench.disk.view.offline.load(Ordering::Relaxed));
    let degraded = bench.disk.view.degraded.lock().clone();
    assert!(degraded[0].contains("nothing is added"), "{degraded:?}");
    assert_eq!(
        read(&bench.common.counters.io_errors),
        u64::from(ERRORS_MAX)
    );
    assert_eq!(read(&bench.common.counters.not_kept), 6);
    // What lies on other slabs is still served.
    let after = bench.check_all();
    assert!(after > 0 && after < before);
    bench.audit();
}

#[test]
fn a_disk_that_turns_read_only_is_left_alone_and_serves_what_it_has() {
    let faults = Faults::default();
    let dir = FaultDir {
        inner: MemDir::new(1 << 30),
        faults: faults.clone(),
    };
    let mut bench = Bench::open(dir, 64 << 20, SLAB).unwrap();
    script(&mut bench);
    let before = bench.check_all();
    faults.set(Some(Fault {
        op: Op::Write,
        first: 1,
        for_ever: true,
        errno: libc::EROFS,
    }));
    // Something is forgotten, which cannot be written down.
    bench.purge(2);
    let left = bench.stored().len();
    for piece in 0..6 {
        bench.disk.commit();
        bench.put_all(&[(id(9, piece), 1 << 20)]);
    }
    assert!(!bench.disk.is_dirty(), "or its thread tries for ever");
    let slabs = bench.disk.books.iter().flatten().count() as u64;
    let errors = read(&bench.common.counters.io_errors);
    assert!((1..=slabs).contains(&errors), "{errors} of {slabs} slabs");
    assert_eq!(read(&bench.common.counters.not_kept), 6);
    bench.disk.report();
    let degraded = bench.disk.view.degraded.lock().clone();
    assert!(degraded[0].contains("read-only"), "{degraded:?}");
    assert!(left < before && bench.check_all() == left);
    bench.audit();
}

#[test]
fn a_full_disk_keeps_serving_and_recovers_by_itself() {
    let dir = MemDir::new(10 << 20);
    let mut bench = Bench::open(dir.clone(), 64 << 20, SLAB).unwrap();
    for piece in 0..20 {
        bench.put_all(&[(id(1, piece), 1 << 20)]);
    }
    bench.disk.report();
    // Room for one slab or two: what is new replaces what is old, and the rest of the disk is left alone.
    assert!(bench.check_all() >= 3);
    assert_eq!(read(&bench.common.counters.not_kept), 0);
    // Another program takes everything: there is not even room for a first slab.
    let dir = MemDir::new(1 << 20);
    let mut bench = Bench::open(dir.clone(), 64 << 20, SLAB).unwrap();
    bench.put_all(&[(id(1, 0), 1 << 20), (id(1, 1), 500)]);
    bench.disk.report();
    assert_eq!(read(&bench.common.counters.not_kept), 2);
    let degraded = bench.disk.view.degraded.lock().clone();
    assert!(degraded[0].contains("is full"), "{degraded:?}");
    dir.set_capacity(1 << 30);
    let later = Instant::now() + Duration::from_secs(60);
    bench.disk.tick(later);
    bench.disk.report();
    assert!(bench.disk.view.degraded.lock().is_empty());
    bench.put_all(&[(id(1, 2), 1 << 20), (id(1, 3), 500)]);
    assert_eq!(bench.check_all(), 2);
}

#[test]
fn a_lower_limit_gives_slabs_back() {
    let dir = MemDir::new(1 << 30);
    let mut bench = Bench::open(dir.clone(), 64 << 20, SLAB).unwrap();
    let pieces: Vec<_> = (0..40).map(|piece| (id(1, piece), 1 << 20)).collect();
    bench.put_all(&pieces);
    bench.disk.commit();
    let before = read(&bench.disk.view.slab_bytes);
    drop(bench);
    let mut bench = Bench::open(dir.clone(), 16 << 20, SLAB).unwrap();
    for _ in 0..20 {
        bench.disk.tick(Instant::now());
    }
    let after = read(&bench.disk.view.slab_bytes);
    assert!(after <= 16 << 20 && after < before);
    assert_eq!(
        dir.list().unwrap().len() as u64,
        after / (after / bench.disk.books.iter().flatten().count() as u64)
    );
    assert!(bench.check_all() > 0);
    bench.audit();
}

#[test]
fn a_damaged_block_page_or_head_is_dropped_and_counted() {
    let dir = MemDir::new(1 << 30);
    let mut bench = Bench::open(dir.clone(), CAP, SLAB).unwrap();
    let pieces: Vec<_> = (0..7).map(|piece| (id(1, piece), 1 << 20)).collect();
    bench.put_all(&pieces);
    bench.disk.commit();
    let piece = bench.place_of(id(1, 0));
    drop(bench);
    let file = |slab: u32| Arc::clone(&dir.files.lock()[&name_of(slab)]);
    // A block of one piece.
    file(piece.slab).lock()[piece.offset as usize + 70_000] ^= 1;
    let mut bench = Bench::open(dir.clone(), CAP, SLAB).unwrap();
    assert_eq!(bench.read(id(1, 0)), Some(false));
    assert_eq!(bench.read(id(1, 0)), None);
    assert_eq!(bench.check_all(), 6);
    bench.disk.commit();
    bench.audit();
    drop(bench);
    // Both copies of the first page of one table.
    for sector in [2, 3] {
        file(0).lock()[sector * 4096 + 100] ^= 1;
    }
    let mut bench = Bench::open(dir.clone(), CAP, SLAB).unwrap();
    assert_eq!(read(&bench.common.counters.corrupt), 1);
    let left = bench.check_all();
    assert!(left > 0 && left < 6);
    // The room is used again, and the page as well.
    bench.put_all(&[(id(2, 0), 1 << 20), (id(2, 1), 1 << 20)]);
    bench.disk.commit();
    drop(bench);
    let mut bench = Bench::open(dir.clone(), CAP, SLAB).unwrap();
    assert_eq!(read(&bench.common.counters.corrupt), 0);
    assert_eq!(bench.check_all(), left + 2);
    // One head: nothing is lost. Both: that slab.
    let slab = bench.place_of(id(2, 0)).slab;
    drop(bench);
    file(slab).lock()[20] ^= 1;
    let mut bench = Bench::open(dir.clone(), CAP, SLAB).unwrap();
    assert_eq!(bench.check_all(), left + 2);
    drop(bench);
    file(slab).lock()[4096 + 20] ^= 1;
    let mut bench = Bench::open(dir.clone(), CAP, SLAB).unwrap();
    assert_eq!(read(&bench.common.counters.corrupt), 1);
    assert!(bench.check_all() < left + 2);
    bench.audit();
}

#[test]
fn of_two_headers_for_one_piece_the_later_counts() {
    let dir = MemDir::new(1 << 30);
    let mut bench = Bench::open(dir.clone(), CAP, SLAB).unwrap();
    bench.put_all(&[(id(1, 0), 1 << 20), (id(1, 1), 500)]);
    bench.disk.commit();
    // Found damaged by a thread that serves, fetched anew, and power lost before the forgetting was durable.
    for piece in 0..2 {
        let mut shard = bench.common.index.shard(id(1, piece));
        let location = shard.location(id(1, piece)).unwrap();
        assert!(shard.remove_if(id(1, piece), location));
    }
    bench.put_all(&[(id(1, 0), 1 << 20), (id(1, 1), 500)]);
    bench.disk.commit();
    drop(bench);
    let mut bench = Bench::open(dir, CAP, SLAB).unwrap();
    assert_eq!(bench.check_all(), 2);
    bench.audit();
    let piece = bench.place_of(id(1, 0));
    assert_eq!(piece.generation, 3);
    bench.disk.commit();
    bench.audit();
}

#[test]
fn scattered_room_is_made_into_runs() {
    let dir = MemDir::new(1 << 30);
    let mut bench = Bench::open(dir, CAP, SLAB).unwrap();
    let mut piece = 0;
    // Full of pieces of a sixth, then whole pieces: no single victim leaves room for one.
    while read(&bench.common.counters.evictions) == 0 {
        bench.put_all(&[(id(1, piece), 170_000)]);
        piece += 1;
    }
    for piece in 0..40 {
        bench.put_all(&[(id(2, piece), 1 << 20)]);
        bench.audit();
    }
    assert_eq!(read(&bench.common.counters.not_kept), 0);
    // Everything pinned: nothing gives way, and the piece is not kept.
    let all: HashSet<_> = bench.stored().iter().map(|id| id.content).collect();
    *bench.common.pins.write() = all;
    bench.put_all(&[(id(3, 0), 1 << 20), (id(3, 1), 1 << 20)]);
    assert_eq!(bench.read(id(3, 1)), None);
    assert!(read(&bench.common.counters.not_kept) >= 1);
    bench.check_all();
    bench.audit();
}

#[test]
fn small_pieces_move_on_when_the_table_of_their_slab_is_full() {
    let dir = MemDir::new(1 << 30);
    let mut bench = Bench::open(dir, CAP, SLAB).unwrap();
    // So small that names run out long before sectors do, in batches that do not divide a table evenly.
    let mut piece = 0;
    while bench.disk.books.iter().flatten().count() < 3 {
        let batch: Vec<_> = (piece..piece + 37).map(|at| (id(1, at), 512)).collect();
        bench.put_all(&batch);
        piece += 37;
    }
    assert_eq!(read(&bench.common.counters.not_kept), 0);
    assert_eq!(read(&bench.common.counters.evictions), 0);
    assert_eq!(bench.check_all(), piece as usize);
    bench.disk.commit();
    bench.audit();
}
