//! What the swarm is for, in figures: how often a content crosses a site's line, and how long the last of many devices
//! waits. Three sites of six devices, each site on 100 Mbit/s, and so is each device; 200 MiB, wanted by all at once.

use super::outcome::{Outcome, share};
use super::{Plan, World};
use std::fmt::Write as _;

const PIECES: u32 = 200;

fn run(plan: Plan) -> Outcome {
    let outcome = World::new(plan).run();
    assert!(outcome.unfinished.is_empty(), "{:?}", outcome.unfinished);
    outcome
}

/// Copies that came in at each site's line, of which the most, and of the origin.
fn copies(outcome: &Outcome) -> (f64, f64) {
    let whole = u64::from(PIECES) << 20;
    let most = outcome.wan_in.iter().max().copied().unwrap_or(0);
    eprintln!(
        "copies at the lines {:?}, of the origin {:.3}, between sites {:.3}; the last after {} ms",
        outcome
            .wan_in
            .iter()
            .map(|bytes| share(*bytes, whole))
            .collect::<Vec<_>>(),
        share(outcome.origin_bytes, whole),
        share(outcome.inter_site_bytes, whole),
        outcome.last_ms,
    );
    (share(most, whole), share(outcome.origin_bytes, whole))
}

#[test]
fn without_an_appliance_each_site_takes_in_about_one_copy() {
    let (most, _) = copies(&run(Plan {
        sites_meet: false,
        ..Plan::quiet(3, 6, PIECES)
    }));
    assert!(most <= 1.3, "{most}");
}

/// Devices do not begin at the same moment, objects are smaller, and some devices are late.
#[test]
fn however_they_begin_each_site_takes_in_little_more_than_one_copy() {
    let mut said = String::new();
    let mut worst: f64 = 0.0;
    for (pieces, start_ms) in [(60, 100), (60, 1000), (60, 3000), (200, 3000), (20, 500)] {
        for seed in 1..=5 {
            let outcome = run(Plan {
                seed,
                sites_meet: false,
                start_ms,
                ..Plan::quiet(3, 6, pieces)
            });
            let whole = u64::from(pieces) << 20;
            let most = outcome.wan_in.iter().max().copied().unwrap_or(0);
            let most = share(most, whole);
            let _ = write!(said, "{pieces} pieces within {start_ms} ms: {most:.2}; ");
            if pieces >= 60 {
                worst = worst.max(most);
            }
        }
    }
    eprintln!("{said}");
    assert!(worst <= 1.3, "{said}");
}

#[test]
fn sites_that_meet_take_one_copy_of_the_origin_in_all() {
    let (most, origin) = copies(&run(Plan::quiet(3, 6, PIECES)));
    assert!(most <= 1.3 && origin <= 1.1, "{most} {origin}");
}

#[test]
fn with_an_appliance_each_site_takes_in_one_copy() {
    let appliances = true;
    let (most, _) = copies(&run(Plan {
        appliances,
        sites_meet: false,
        ..Plan::quiet(3, 6, PIECES)
    }));
    assert!(most <= 1.05, "{most}");
    // Where the appliances meet, they share what they ask of the origin.
    let (most, origin) = copies(&run(Plan {
        appliances,
        ..Plan::quiet(3, 6, PIECES)
    }));
    assert!(most <= 1.05 && origin <= 1.1, "{most} {origin}");
}

#[test]
fn the_last_of_many_waits_hardly_longer_than_the_last_of_few() {
    let last = |devices, peers| {
        let sites_meet = false;
        let outcome = run(Plan {
            peers,
            sites_meet,
            ..Plan::quiet(1, devices, PIECES)
        });
        eprintln!("{devices} devices, peers {peers}: {} ms", outcome.last_ms);
        outcome.last_ms
    };
    let (few, many) = (last(6, true), last(18, true));
    assert!(many * 100 <= few * 115, "{few} {many}");
    // All of them at the origin: three times as many wait three times as long.
    let (few_alone, many_alone) = (last(6, false), last(18, false));
    assert!(few_alone > 4 * few && many_alone > 12 * many);
}
