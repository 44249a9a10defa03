//! Any sequence of stores, purges, evictions, restarts and power losses, against a plain set of what must be there.
//! The rule: the disk is held to the promise, not to what it happens to do.

use super::*;
use crate::testing::crash_io::{CrashDir, Survives};
use crate::testing::fault_io::{Fault, FaultDir, Faults};
use crate::testing::one_in;
use crate::testing::seed::Seed;

const CAP: u64 = 10 << 20;
const SLAB: u64 = 4 << 20;

/// What must be there: durable, and not forgotten since.
#[derive(Clone, Default)]
struct Promise {
    durable: BTreeSet<PieceId>,
    /// Purged, but not durably yet: it may be there or not.
    leaving: BTreeSet<PieceId>,
    /// Forgotten, and that durable.
    gone: BTreeSet<PieceId>,
}

impl Promise {
    fn committed(&mut self, bench: &Bench) {
        let stored = bench.stored();
        self.gone.extend(self.durable.difference(&stored).copied());
        self.gone.append(&mut self.leaving);
        self.durable = stored;
    }

    /// What is in the index still is promised; what is not was evicted or purged, and may come back after a crash.
    fn must_be_there(&self, bench: &Bench) -> BTreeSet<PieceId> {
        self.durable
            .intersection(&bench.stored())
            .copied()
            .collect()
    }
}

fn length(seed: &mut Seed) -> u32 {
    let longest = [300, 8 << 10, 70 << 10, 300 << 10, 1 << 20][seed.below(5) as usize];
    1 + seed.below(longest) as u32
}

/// One step of a run. Returns false where the disk's power is gone.
fn step(bench: &mut Bench, promise: &mut Promise, seed: &mut Seed, next: &mut u32) {
    match seed.below(12) {
        0 => {
            let content = 1 + seed.below(6);
            bench.purge(content);
            let content = ContentNo::new(content);
            let leaving = |id: &PieceId| id.content == content;
            promise
                .leaving
                .extend(promise.durable.iter().copied().filter(leaving));
            promise.durable.retain(|id| !leaving(id));
        }
        1..=3 => {
            bench.disk.commit();
            // A commit may have condemned slabs or cut the power; only what a whole commit says counts.
            promise.committed(bench);
        }
        4 => bench.disk.tick(Instant::now()),
        _ => {
            let many = 1 + seed.below(6);
            let pieces: Vec<_> = (0..many)
                .map(|_| {
                    *next += 1;
                    (id(1 + seed.below(6), *next), length(seed))
                })
                .collect();
            // Eviction commits on its way, so what is durable grows; the promise is the smaller one.
            bench.put_all(&pieces);
        }
    }
}

#[test]
fn what_is_durable_survives_and_nothing_is_ever_wrong() {
    for number in (0..20).step_by(one_in(4)) {
        let mut seed = Seed(number);
        let mut next = 0;
        let mut promise = Promise::default();
        let first = CrashDir::default();
        let mut dir = first.clone();
        let mut bench = Bench::open(first, CAP, SLAB).unwrap();
        for _ in 0..120 {
            step(&mut bench, &mut promise, &mut seed, &mut next);
            bench.audit();
            if seed.below(25) == 0 {
                let stored = bench.check_all();
                assert!(stored <= next as usize);
            }
            if seed.below(30) == 0 {
                let must = promise.must_be_there(&bench);
                let survives = [
                    Survives::Nothing,
                    Survives::Everything,
                    Survives::Some(seed.next()),
                ][seed.below(3) as usize];
                let image = dir.after_power_loss(survives, 1 << 30);
                drop(bench);
                // The next life begins with what the last one left, all of it durable.
                dir = CrashDir::holding(&image);
                bench = Bench::open(dir.clone(), CAP, SLAB).unwrap();
                bench.audit();
                let corrupt = bench.common.counters.corrupt.load(Ordering::Relaxed);
                assert_eq!(corrupt, 0, "seed {number}, {survives:?}");
                let stored = bench.stored();
                let missing: Vec<_> = must.difference(&stored).collect();
                assert!(
                    missing.is_empty(),
                    "seed {number}, {survives:?}: {missing:?}"
                );
                bench.check_all();
                promise.committed(&bench);
            }
        }
        assert_eq!(
            bench.common.counters.not_kept.load(Ordering::Relaxed),
            0,
            "seed {number}"
        );
    }
}

/// The run that is cut at every operation.
fn script(bench: &mut Bench, faults: &Faults, promise: &mut Promise) {
    let mut seed = Seed(4711);
    let mut next = 0;
    for _ in 0..50 {
        let mut after = promise.clone();
        step(bench, &mut after, &mut seed, &mut next);
        if faults.power_is_gone() {
            // Nothing that a call says after the power is gone counts.
            return;
        }
        *promise = after;
    }
}

/// Cuts the script at every operation, and takes several samples of what may be left each time. Without evictions
/// (a large cap) all that was durable must be there; with them it may have been evicted in the very step that was cut.
fn cut_everywhere(cap: u64) -> u64 {
    let faults = Faults::default();
    let open = |faults: &Faults| {
        let inner = CrashDir::default();
        let dir = FaultDir {
            inner: inner.clone(),
            faults: faults.clone(),
        };
        (inner, Bench::open(dir, cap, SLAB).unwrap())
    };
    let (_, mut bench) = open(&faults);
    script(&mut bench, &faults, &mut Promise::default());
    let total = faults.changes();
    assert!(total > 100, "{total} operations are a short run");
    let mut states = 0;
    for cut in (1..=total).step_by(one_in(7)) {
        faults.set(Some(Fault {
            op: None,
            first: cut,
            for_ever: true,
            errno: libc::EIO,
        }));
        let mut promise = Promise::default();
        let (inner, mut bench) = open(&faults);
        script(&mut bench, &faults, &mut promise);
        let evicted = bench.common.counters.evictions.load(Ordering::Relaxed) > 0;
        let samples = (0..2).map(|sample| Survives::Some(cut * 1000 + sample));
        for survives in [Survives::Nothing, Survives::Everything]
            .into_iter()
            .chain(samples)
        {
            let image = inner.after_power_loss(survives, 1 << 30);
            let mut after = Bench::open(image, cap, SLAB).unwrap();
            let corrupt = after.common.counters.corrupt.load(Ordering::Relaxed);
            // A slab that was just being made has half a head: that is a file to remove, not a loss.
            assert!(
                corrupt <= u64::from(ERRORS_MAX),
                "cut {cut}, {survives:?}: {corrupt} damaged"
            );
            after.audit();
            after.check_all();
            let stored = after.stored();
            let missing: Vec<_> = promise.durable.difference(&stored).collect();
            assert!(
                evicted || missing.is_empty(),
                "cut {cut}, {survives:?}: {missing:?}"
            );
            let back: Vec<_> = promise.gone.intersection(&stored).collect();
            assert!(
                back.is_empty(),
                "cut {cut}, {survives:?}: {back:?} came back"
            );
            states += 1;
        }
    }
    states
}

#[test]
fn power_lost_at_any_operation_leaves_what_was_durable() {
    let states = cut_everywhere(48 << 20);
    eprintln!("{states} states without evictions");
}

#[test]
fn power_lost_while_room_is_made_leaves_nothing_wrong() {
    let states = cut_everywhere(CAP);
    eprintln!("{states} states with evictions");
}
