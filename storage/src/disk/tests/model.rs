//! Any sequence of stores, purges, evictions, restarts and power losses, against a plain set of what must be there.
//! The rule: the disk is held to the promise, not to what it happens to do.

use super::*;
use crate::testing::crash_io::{CrashDir, Survives};
use crate::testing::number_from;
use crate::testing::seed::Seed;

const CAP: u64 = 10 << 20;
const SLAB: u64 = 4 << 20;

/// What must be there: durable, and not forgotten since.
#[derive(Clone, Default)]
struct Promise {
    durable: BTreeSet<PieceId>,
}

impl Promise {
    fn committed(&mut self, bench: &Bench) {
        self.durable = bench.stored();
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

/// One step of a run.
fn step(bench: &mut Bench, promise: &mut Promise, seed: &mut Seed, next: &mut u32) {
    match seed.below(12) {
        0 => {
            let content = 1 + seed.below(6);
            bench.purge(content);
            let content = ContentNo::new(content);
            promise.durable.retain(|id| id.content != content);
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
    let runs = number_from("LARDER_MODEL_RUNS", 20);
    let (mut lives, mut pieces) = (0, 0);
    for number in 0..runs {
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
                lives += 1;
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
        pieces += next;
    }
    eprintln!("{runs} runs of 120 steps: {pieces} pieces, power lost {lives} times");
}
