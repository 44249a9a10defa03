//! The n-th operation of each kind fails. The rule: every n of a whole run is tried, and what a failure costs is what it
//! touched: never a wrong byte, never the store.
//!
//! `LARDER_FAULTS` sets how long the run is: so long that it has that many reads, writes and syncs, each of which is
//! tried. Of opens, preallocations and removals there are as many as it happens to have.

use super::*;
use crate::testing::cow_io::CowDir;
use crate::testing::fault_io::{Fault, FaultDir, Faults, Op};
use crate::testing::number_from;
use crate::testing::seed::Seed;
use std::time::Duration;

const SLAB: u64 = 4 << 20;
/// Two slabs at most, so that some of what comes is evicted.
const CAP: u64 = 9 << 20;

const ALL: [Op; 8] = [
    Op::Open,
    Op::Read,
    Op::Write,
    Op::Sync,
    Op::Preallocate,
    Op::Remove,
    Op::List,
    Op::Free,
];

struct Life {
    dir: CowDir,
    faults: Faults,
    reads_fail: bool,
    /// Starts that failed.
    refused: u64,
    not_kept: u64,
    io_errors: u64,
}

impl Life {
    fn new(faults: &Faults) -> Self {
        Self {
            dir: CowDir::holding(&Arc::default(), []),
            faults: faults.clone(),
            reads_fail: false,
            refused: 0,
            not_kept: 0,
            io_errors: 0,
        }
    }

    /// A start; one that fails is tried again, as systemd does.
    fn start(&mut self) -> Bench {
        loop {
            let dir = FaultDir {
                inner: self.dir.clone(),
                faults: self.faults.clone(),
            };
            match Bench::open(dir, CAP, SLAB) {
                Ok(bench) => return bench,
                Err(_) => self.refused += 1,
            }
        }
    }

    fn end(&mut self, bench: &Bench) {
        bench.audit();
        let counters = &bench.common.counters;
        self.not_kept += counters.not_kept.load(Ordering::Relaxed);
        self.io_errors += counters.io_errors.load(Ordering::Relaxed);
    }

    /// Everything that a disk does, so many times over.
    fn lead(&mut self, rounds: u32) {
        let mut seed = Seed(5);
        let mut bench = self.start();
        for round in 0..rounds {
            let longest = if round % 9 == 8 { 1 << 20 } else { 6000 };
            for at in 0..2 {
                let piece = (
                    id(1 + seed.below(5), 2 * round + at),
                    1 + seed.below(longest) as u32,
                );
                bench.put_all(&[piece]);
                // It may not be kept; what is kept is what was put, unless it is the read that fails.
                let found = bench.read(piece.0);
                assert!(found != Some(false) || self.reads_fail, "{piece:?}");
            }
            if round % 2 == 1 {
                bench.disk.commit();
            }
            if round % 31 == 30 {
                bench.purge(2);
            }
            if round == 25 {
                // All of it, so that there are slabs to give back.
                (1..6).for_each(|content| bench.purge(content));
                bench.disk.tick(bench.disk.now);
            }
            if round % 5 == 4 {
                // Longer than a full disk is left alone.
                bench.disk.tick(bench.disk.now + Duration::from_secs(10));
            }
            if round % (rounds / 3).max(1) == 7 {
                self.end(&bench);
                drop(bench);
                bench = self.start();
            }
        }
        bench.disk.commit();
        self.end(&bench);
    }
}

/// How many of each kind there are in a run that long.
fn counts(rounds: u32) -> BTreeMap<Op, u64> {
    let faults = Faults::default();
    let mut life = Life::new(&faults);
    life.lead(rounds);
    assert_eq!((life.refused, life.not_kept, life.io_errors), (0, 0, 0));
    faults.counts()
}

#[test]
fn whichever_operation_fails_costs_only_what_it_touches() {
    let most = number_from("LARDER_FAULTS", 60);
    let mut rounds = 48;
    let mut all = counts(rounds);
    while [Op::Read, Op::Write, Op::Sync]
        .iter()
        .any(|op| all[op] < most)
    {
        rounds += rounds / 3;
        all = counts(rounds);
    }
    let mut tried = 0;
    let mut reached = Vec::new();
    for op in ALL {
        let last = all.get(&op).copied().unwrap_or(0).min(most.max(500));
        reached.push(format!(
            "{op:?} 1 to {last} of {}",
            all.get(&op).unwrap_or(&0)
        ));
        for first in 1..=last {
            // A read or a sync that fails is final, whatever the number; what else fails may be tried again or not.
            let numbers: &[i32] = match op {
                Op::Read | Op::Sync | Op::List | Op::Free => &[libc::EIO],
                _ => &[libc::EIO, libc::ENOSPC, libc::EROFS],
            };
            for errno in numbers {
                let faults = Faults::default();
                faults.set(Some(Fault {
                    op,
                    first,
                    for_ever: false,
                    errno: *errno,
                }));
                let _where = Where(op, first, *errno);
                one(&faults, rounds, op, *errno);
                tried += 1;
            }
        }
    }
    eprintln!(
        "{tried} faults in runs of {rounds} rounds: {}",
        reached.join(", ")
    );
}

fn one(faults: &Faults, rounds: u32, op: Op, errno: i32) {
    let mut life = Life::new(faults);
    life.reads_fail = op == Op::Read;
    life.lead(rounds);
    assert!(life.refused <= 1, "one fault refuses one start");
    assert!(life.io_errors <= 1, "{} errors", life.io_errors);
    // What else is not kept after a fault: what was on its way to the slab that failed, and all where the disk is
    // read-only, until it is started anew.
    if errno != libc::EROFS {
        assert!(life.not_kept <= 24, "{} not kept", life.not_kept);
    }
    faults.set(None);
    let mut bench = life.start();
    bench.audit();
    let stored = bench.check_all();
    assert!(stored > 10 || errno == libc::EROFS, "{stored} are left");
    for (piece, len) in [(0, 3000), (1, 1 << 20)] {
        bench.put_all(&[(id(9, piece), len)]);
        assert_eq!(bench.read(id(9, piece)), Some(true), "{len} bytes");
    }
    bench.audit();
}

/// Says where it was when something does not hold.
struct Where(Op, u64, i32);

impl Drop for Where {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(op, first, errno) = self;
            eprintln!("{op:?} {first}, errno {errno}");
        }
    }
}
