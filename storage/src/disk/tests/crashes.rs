//! Power lost at every moment of a run, and every state that it may leave. The rule: what was durable and not forgotten
//! is there, what was forgotten durably stays away, and not one header names bytes that are not its own.
//!
//! `LARDER_CRASH_STATES` sets how many states are looked at, at least: 100,000 where it does not say.

use super::*;
use crate::testing::cow_io::{Change, CowDir};
use crate::testing::number_from;
use crate::testing::seed::Seed;
use crate::testing::states::{Bounds, Moment, each_state};
use std::collections::HashMap;

const SLAB: u64 = 4 << 20;
/// Two slabs at most, so that much is evicted and written again.
const TIGHT: u64 = 9 << 20;
/// Nothing is evicted.
const WIDE: u64 = 64 << 20;
const STEPS: u32 = 60;
const BOUNDS: Bounds = Bounds {
    subsets: 64,
    torn: 24,
};

/// How it stood at the end of a step.
struct Mark {
    changes: usize,
    /// Durable, and not forgotten since.
    durable: BTreeSet<PieceId>,
    /// Forgotten, and that durably.
    gone: BTreeSet<PieceId>,
    stored: BTreeSet<PieceId>,
}

/// A run, and what was promised in its course.
struct Run {
    dir: CowDir,
    changes: Vec<Change>,
    marks: Vec<Mark>,
    lens: HashMap<PieceId, u32>,
}

fn length(seed: &mut Seed) -> u32 {
    let longest = [600, 5000, 20 << 10, 20 << 10, 150 << 10, 1 << 20][seed.below(6) as usize];
    1 + seed.below(longest) as u32
}

fn run(seed: &mut Seed, cap: u64) -> Run {
    let dir = CowDir::remembering();
    let mut bench = Bench::open(dir.clone(), cap, SLAB).unwrap();
    let mut lens = HashMap::new();
    let mut marks: Vec<Mark> = Vec::new();
    let (mut durable, mut gone) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..STEPS {
        match seed.below(8) {
            0 => bench.purge(1 + seed.below(6)),
            1 => bench.disk.tick(Instant::now()),
            2..=3 => {
                bench.disk.commit();
                durable = bench.stored();
                let all: BTreeSet<PieceId> = lens.keys().copied().collect();
                gone.extend(all.difference(&durable).copied());
            }
            _ => {
                let pieces: Vec<_> = (0..=seed.below(3))
                    .map(|_| (id(1 + seed.below(6), lens.len() as u32), length(seed)))
                    .enumerate()
                    .map(|(at, (id, len))| {
                        let piece = id.piece + at as u32;
                        (PieceId { piece, ..id }, len)
                    })
                    .collect();
                lens.extend(pieces.iter().copied());
                bench.put_all(&pieces);
            }
        }
        let stored = bench.stored();
        durable.retain(|id| stored.contains(id));
        marks.push(Mark {
            changes: dir.now(),
            durable: durable.clone(),
            gone: gone.clone(),
            stored,
        });
    }
    assert_eq!(bench.common.counters.not_kept.load(Ordering::Relaxed), 0);
    Run {
        changes: dir.changes(),
        dir,
        marks,
        lens,
    }
}

/// Says where it was when something does not hold.
struct Where<'a>(u64, Moment, &'a Run);

impl Drop for Where<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(seed, moment, run) = self;
            let last = &run.changes[moment.changes - 1];
            eprintln!("seed {seed}, {moment:?}, after {last:?}");
        }
    }
}

impl Run {
    /// The last mark before a moment.
    fn mark(&self, changes: usize) -> usize {
        self.marks.partition_point(|mark| mark.changes <= changes)
    }

    /// Starts on what is left, and holds it to what was promised.
    fn look(&self, cap: u64, moment: Moment, image: &CowDir, good: &mut HashSet<u64>) -> Bench {
        let mut bench = Bench::open(image.clone(), cap, SLAB).unwrap();
        // A slab whose making was cut off may have a torn head, which is a file to remove, and a page that was being
        // written for the first time is torn or damaged, which nobody can tell. Neither is a loss.
        let corrupt = bench.common.counters.corrupt.load(Ordering::Relaxed);
        let torn = moment.unfinished + moment.pending;
        assert!(corrupt <= torn as u64, "{corrupt} damaged");
        bench.audit();
        let stored = bench.stored();
        for id in &stored {
            let piece = bench.place_of(*id);
            assert_eq!(Some(&piece.len), self.lens.get(id), "the length of {id:?}");
            if good.insert(self.fingerprint(&bench, &piece, image)) {
                assert_eq!(bench.read(*id), Some(true), "{id:?}");
            }
        }
        let at = self.mark(moment.changes);
        // What the step that was cut forgets may be gone or not.
        let then = self.marks.get(at);
        if let Some(before) = at.checked_sub(1).map(|at| &self.marks[at]) {
            let kept = |id: &&PieceId| then.is_none_or(|then| then.stored.contains(id));
            let must = before.durable.iter().filter(kept);
            let missing: Vec<_> = must.filter(|id| !stored.contains(id)).collect();
            assert!(missing.is_empty(), "{missing:?} are lost");
            let back: Vec<_> = before.gone.intersection(&stored).collect();
            assert!(back.is_empty(), "{back:?} came back");
        }
        bench
    }

    /// Equal for pieces whose bytes and checksums are equal: what was found good once is good.
    fn fingerprint(&self, bench: &Bench, piece: &DiskPiece, image: &CowDir) -> u64 {
        let plan = piece.read_of(larder_content::Span::whole(u64::from(piece.len)));
        let first = (plan.offset / u64::from(SECTOR_BYTES)) as usize;
        let count = (plan.len / SECTOR_BYTES) as usize;
        let (location, _) = bench.common.index.shard(piece.id).find(piece.id).unwrap();
        let slab = bench.disk.view.slab(piece.slab).unwrap();
        let sums = slab.promised(location.cell, piece.len).unwrap();
        let mut all = Vec::with_capacity(4 * count + 160);
        all.extend(piece.id.content.get().to_le_bytes());
        for word in [piece.id.piece, piece.len, u32::from(piece.skip)] {
            all.extend(word.to_le_bytes());
        }
        for sum in sums {
            all.extend(sum.to_le_bytes());
        }
        for number in image.numbers(&name_of(piece.slab), first..first + count) {
            all.extend(number.to_le_bytes());
        }
        xxhash_rust::xxh3::xxh3_64(&all)
    }

    /// What was found is a store like any other: what is stored now is there after a start, beside the rest.
    fn goes_on(&self, mut bench: Bench, cap: u64, image: &CowDir) {
        let new = [(id(9, 0), 3000), (id(9, 1), 70 << 10)];
        bench.put_all(&new);
        bench.disk.commit();
        bench.audit();
        let stored = bench.stored();
        assert!(new.iter().all(|(id, _)| stored.contains(id)));
        drop(bench);
        let mut bench = Bench::open(image.clone(), cap, SLAB).unwrap();
        assert_eq!(bench.common.counters.corrupt.load(Ordering::Relaxed), 0);
        assert_eq!(bench.stored(), stored);
        bench.audit();
        bench.check_all();
    }
}

#[test]
fn whatever_power_that_is_lost_leaves_is_what_was_promised() {
    let wanted = number_from("LARDER_CRASH_STATES", 100_000);
    let (mut seeds, mut moments, mut states, mut images, mut lives) = (0, 0, 0, 0, 0);
    let (mut most, mut evictions) = (0, 0);
    while images < wanted {
        let cap = if seeds % 3 == 2 { WIDE } else { TIGHT };
        let mut seed = Seed(seeds);
        let run = run(&mut seed, cap);
        moments += run.changes.len();
        evictions += run.marks.last().map_or(0, |mark| mark.gone.len());
        let mut good = HashSet::new();
        let mut look = |moment: Moment, image: &CowDir| {
            let _where = Where(seeds, moment, &run);
            most = most.max(moment.pending);
            let bench = run.look(cap, moment, image, &mut good);
            states += 1;
            if states % 64 == 0 {
                lives += 1;
                run.goes_on(bench, cap, image);
            }
        };
        let promise = |changes| run.mark(changes);
        let sectors = &run.dir.sectors;
        images += each_state(
            sectors,
            &run.changes,
            BOUNDS,
            &mut seed,
            &promise,
            &mut look,
        );
        seeds += 1;
    }
    eprintln!(
        "{images} different images in {states} states after power was lost at {moments} moments of {seeds} runs, with {most} unsynced writes at most and {evictions} pieces forgotten; {lives} went on"
    );
    assert!(evictions > 0 && most > 6);
}
