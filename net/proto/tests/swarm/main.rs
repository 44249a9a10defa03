//! The swarm in virtual time: the real picker, scheduler, choker, bans and coordinator of many devices, over simulated
//! lines, with everything going wrong that can. The rule: a seed gives one history, and a failure names its seed.
//!
//! `LARDER_SEED=7 cargo test -p larder-proto --test swarm` runs one seed again; without it, 200 or `LARDER_SEEDS`.
//! `cargo test --profile quick -p larder-proto --test swarm -- --ignored --nocapture` runs five seeds of 10,000 devices
//! in 50 sites, and `--profile release` does as well.

mod figures;
mod http;
mod node;
mod outcome;
mod peers;
mod plan;
mod rough;
mod world;

use outcome::Outcome;
use plan::Plan;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use world::World;

/// The seeds of this run.
fn seeds(count: u64) -> Range<u64> {
    match std::env::var("LARDER_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("LARDER_SEED is a number");
            seed..seed + 1
        }
        Err(_) => {
            let count = std::env::var("LARDER_SEEDS").map_or(Ok(count), |count| count.parse());
            1..1 + count.expect("LARDER_SEEDS is a number")
        }
    }
}

/// Runs plans on all cores; the order of the outcomes is that of the plans.
fn run_all(plans: &[Plan]) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut mine = Vec::new();
        while let Some((n, plan)) = {
            let n = next.fetch_add(1, Ordering::Relaxed);
            plans.get(n).map(|plan| (n, plan))
        } {
            let world = World::new(plan.clone());
            let run = std::panic::AssertUnwindSafe(|| world.run());
            let outcome = std::panic::catch_unwind(run);
            mine.push((n, outcome.unwrap_or_else(|_| panic!("seed {}", plan.seed))));
        }
        mine
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut outcomes: Vec<(usize, Outcome)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|worker| worker.join());
        ended
            .flat_map(|mine| mine.expect("the seed is named above"))
            .collect()
    });
    outcomes.sort_by_key(|(n, _)| *n);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}
