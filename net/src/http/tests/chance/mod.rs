//! Any faults in any order, through everything: sockets, shards or the service, downloads, store. The rule: what a
//! client gets is the slice of one true version or a visible error; the store keeps no wrong byte; and when the origin
//! is well again, so is the object, without a purge.
//!
//! `LARDER_SEEDS` says how many seeds are tried each way, `LARDER_SEED` tries one of them again.

mod clients;
mod dice;
mod fate;

use super::branch::{Branch, Way};
use clients::Clients;
use dice::Dice;
use fate::{Fate, Fates};
use larder_content::{PieceId, Span};
use larder_storage::store::Filter;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::runtime::Builder;

/// How many seeds are tried each way where nobody says.
const SEEDS: u64 = 60;

/// Pauses before further attempts are most of the time, so that many seeds are tried side by side.
const SIDE_BY_SIDE: usize = 48;

/// What clients saw, by kind.
type Seen = Mutex<BTreeMap<&'static str, u64>>;

/// Tries one seed.
fn one(branch: &Branch, fates: &Fates, seed: u64, seen: &Seen) {
    let mut dice = Dice::new(seed);
    let fate = Arc::new(Mutex::new(Fate::new(seed, &mut dice)));
    fates.put(seed, &fate);
    let path = fate.lock().expect("unpoisoned").path.clone();
    let mut clients = Clients::new(branch, &fate, seen);
    let rounds = 3 + dice.below(6);
    for _ in 0..rounds {
        clients.round(&mut dice);
    }
    fate.lock().expect("unpoisoned").faults = 0;
    clients.are_served_again();
    let versions = clients.versions();
    drop(clients);
    // What is stored, read back.
    let key = branch
        .world
        .route(&format!("http://{}{path}", super::HOST))
        .identity
        .key;
    if let Some(content) = branch.world.store.content(&key) {
        let record = content.record();
        let version = versions.iter().find(|version| {
            version.length == record.length
                && version.header("etag") == record.etag.as_deref()
                && version.header("last-modified") == record.last_modified.as_deref()
        });
        for piece in Span::whole(content.length()).pieces() {
            let id = PieceId {
                content: content.no,
                piece,
            };
            let len = u64::from(content.piece_len(piece));
            let stored = branch.world.store.read_blocking(id, Span::new(0, len));
            if let Some(bytes) = stored {
                let start = u64::from(piece) << 20;
                let all = versions.iter().any(|version| version.holds(start, &bytes));
                let its = version.is_some_and(|version| version.holds(start, &bytes));
                assert!(
                    all && (its || versions[0].header("etag").is_none()),
                    "a wrong byte is stored in piece {piece}"
                );
            }
        }
        branch.world.store.purge(&Filter::Content(content.no));
    }
    fates.take(seed);
}

fn try_all(way: Way) {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let seeds = match number("LARDER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("LARDER_SEEDS").unwrap_or(SEEDS) + 1,
    };
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let fates = Arc::new(Fates::default());
    let asked = Arc::clone(&fates);
    let branch = runtime.block_on(Branch::with(
        way,
        move |request| asked.answer(request),
        |options| options.memory_bytes_max = 128 << 20,
        |settings| {
            settings.first_byte_timeout_ms = 6_000;
            settings.origin_head_timeout_ms = 3_000;
            settings.origin_connections_max = 64;
        },
    ));
    let begun = std::time::Instant::now();
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicUsize::new(0));
    let seen = Seen::default();
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds.end || failed.load(Ordering::SeqCst) > 10 {
                        return;
                    }
                    let tried = AssertUnwindSafe(|| one(&branch, &fates, seed, &seen));
                    if catch_unwind(tried).is_err() {
                        failed.fetch_add(1, Ordering::SeqCst);
                        eprintln!("{way:?}: LARDER_SEED={seed} fails: {}", fates.story(seed));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    let count = seeds.end - seeds.start;
    let seen = seen.into_inner().expect("unpoisoned");
    eprintln!(
        "{way:?}: seeds {count}, failed {failed}, {:?}: {seen:?}",
        begun.elapsed()
    );
    assert_eq!(failed, 0, "see above");
    let of = |kind| seen.get(kind).copied().unwrap_or(0);
    // What is never right proves nothing. A refusal counts as often as it is met with another try, so it says little.
    let right = of("right");
    assert!(right > 4 * count && right > of("cut"), "{seen:?}");
}

#[test]
fn by_shards_with_the_ring_driver() {
    try_all(Way::Ring);
}

#[test]
fn by_shards_with_the_epoll_driver() {
    try_all(Way::Epoll);
}

#[test]
fn by_the_service() {
    try_all(Way::Service);
}
