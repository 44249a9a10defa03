//! Objects that arrive all at once and in no order, and are read in order. The rule: a rotating disk of 150 seeks and
//! 150 MB a second is what counts, and what it would take is computed, not waited for.

use super::economy::Hollow;
use super::*;
use crate::slab::layout::PACK_SECTORS;
use crate::testing::seed::Seed;
use std::time::Duration;

const PIECE: u32 = 1 << 20;

/// Stores so many pieces of each object, four at a time as the writer does, shuffled over all of them.
fn fill(bench: &mut Bench, seed: &mut Seed, objects: std::ops::Range<u64>, pieces: u32) {
    let all = objects.flat_map(|object| (0..pieces).map(move |piece| (id(object, piece), PIECE)));
    let mut all: Vec<_> = all.collect();
    for at in (1..all.len()).rev() {
        all.swap(at, seed.below(at as u64 + 1) as usize);
    }
    for (turn, some) in all.chunks(4).enumerate() {
        bench.put_all(some);
        if turn % 4 == 3 {
            bench.disk.commit();
        }
    }
}

/// The share of the sequential rate at which an object is read.
fn share_of_rate(bench: &Bench, object: u64, pieces: u32) -> f64 {
    let mut seeks = 0;
    let mut next = None;
    for piece in 0..pieces {
        let place = bench.place_of(id(object, piece));
        seeks += u32::from(next != Some((place.slab, place.offset)));
        next = Some((place.slab, place.offset + u64::from(place.len)));
    }
    let sequential = f64::from(pieces) * f64::from(PIECE) / 150e6;
    sequential / (sequential + f64::from(seeks) / 150.0)
}

#[test]
fn objects_that_arrive_shuffled_and_together_are_read_in_runs() {
    let mut seed = Seed(7);
    let mut bench = Bench::open(Hollow, 16 << 30, 1 << 30).unwrap();
    fill(&mut bench, &mut seed, 1..4, 150);
    bench.audit();
    let shares: Vec<f64> = (1..4)
        .map(|object| share_of_rate(&bench, object, 150))
        .collect();
    eprintln!("empty store: {shares:.2?} of the sequential rate");
    assert!(shares.iter().all(|share| *share >= 0.8), "{shares:?}");
}

#[test]
fn a_full_store_makes_room_in_runs() {
    let mut seed = Seed(8);
    let mut bench = Bench::open(Hollow, 2 << 30, 1 << 30).unwrap();
    let mut now = bench.disk.now;
    let mut sum = (0.0, 0);
    for generation in 0..20_u64 {
        let objects = 10 * generation + 1..10 * generation + 4;
        fill(&mut bench, &mut seed, objects.clone(), 60);
        bench.audit();
        // The next ones come an hour later.
        for _ in 0..6 {
            now += Duration::from_secs(600);
            bench.disk.tick(now);
        }
        if generation >= 13 {
            let shares: Vec<f64> = objects
                .map(|object| share_of_rate(&bench, object, 60))
                .collect();
            eprintln!("full store, turn {generation}: {shares:.2?} of the sequential rate");
            sum = (sum.0 + shares.iter().sum::<f64>(), sum.1 + shares.len());
        }
    }
    assert!(bench.common.counters.evictions.load(Ordering::Relaxed) > 500);
    let mean = sum.0 / sum.1 as f64;
    assert!(mean >= 0.75, "{mean}");
}

#[test]
fn what_is_kept_for_pieces_that_do_not_come_is_given_back() {
    let mut bench = Bench::open(Hollow, 600 << 20, 1 << 30).unwrap();
    for object in 1..5 {
        bench.put_all(&[(id(object, 3), PIECE)]);
    }
    let kept = |bench: &Bench| bench.disk.extents.spare_sectors_in(0);
    assert_eq!(kept(&bench), 4 * 7 * PACK_SECTORS);
    bench.audit();
    // At most an eighth of what the disk may hold is kept: 75 pieces.
    for object in 5..40 {
        bench.put_all(&[(id(object, 3), PIECE)]);
    }
    assert!(kept(&bench) <= 75 * PACK_SECTORS, "{}", kept(&bench));
    bench.audit();
    bench.disk.tick(bench.disk.now + Duration::from_secs(121));
    assert_eq!(kept(&bench), 0);
    bench.audit();
    assert_eq!(bench.stored().len(), 39);
}
