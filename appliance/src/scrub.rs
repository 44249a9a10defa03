//! The scrubber: everything on disk is read once a week, so that damage is found before a client or a peer asks for what is
//! damaged. The rule: so slowly that nobody who is served notices, and only as much memory as one piece takes.
//!
//! What it finds wrong is dropped, and comes again from peers or the origin when somebody asks for it: nothing is fetched
//! that nobody wants.

use larder_storage::store::{Pass, Store};
use std::time::{Duration, Instant};

/// A start has better things to do.
pub(crate) const FIRST_AFTER: Duration = Duration::from_secs(60);
/// A pass is over in so long, however much there is.
const PASS_FOR: Duration = Duration::from_secs(6 * 24 * 3600);
/// The next one does not begin before.
const PASS_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Slower is of no use to anybody: four looks a second.
const BYTES_PER_S_MIN: u64 = 4 << 20;
/// Read in one go.
const TURN_BYTES: u64 = 1 << 20;

/// How fast a store with so much in it is read.
fn bytes_per_s(stored: u64) -> u64 {
    (stored / PASS_FOR.as_secs()).max(BYTES_PER_S_MIN)
}

/// Makes one pass after the other, as long as the runtime lives.
pub(crate) async fn run(store: Store, first_after: Duration) {
    tokio::time::sleep(first_after).await;
    loop {
        let begun = Instant::now();
        let mut pass = Pass::default();
        loop {
            let of_turn = store.clone();
            let turn = tokio::task::spawn_blocking(move || {
                let mut read = 0;
                while read < TURN_BYTES {
                    match of_turn.scrub(&mut pass) {
                        Some(bytes) => read += bytes,
                        None => return (read, None),
                    }
                }
                (read, Some(pass))
            });
            let read = match turn.await {
                Ok((read, Some(going_on))) => {
                    pass = going_on;
                    read
                }
                Ok((_, None)) => break,
                Err(error) => {
                    tracing::error!("scrubbing the store failed: {error}");
                    break;
                }
            };
            let rate = bytes_per_s(store.figures().piece_bytes);
            tokio::time::sleep(Duration::from_secs_f64(read as f64 / rate as f64)).await;
        }
        let took = begun.elapsed();
        tracing::debug!(
            took_s = took.as_secs(),
            "everything that is stored was read"
        );
        tokio::time::sleep(PASS_EVERY.saturating_sub(took)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_content::{PieceId, UrlKey};
    use larder_storage::record::Record;
    use larder_storage::{Claim, SizeLimit, StoreOptions};
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_pass_takes_a_week_at_most_and_is_never_a_crawl() {
        let large = 20 << 40;
        assert!(large / bytes_per_s(large) <= 7 * 24 * 3600);
        assert_eq!(bytes_per_s(0), BYTES_PER_S_MIN);
    }

    #[test]
    fn a_damaged_piece_is_found_though_nobody_asks_for_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(StoreOptions {
            bytes_max: SizeLimit::bytes(64 << 20),
            slab_bytes: 16 << 20,
            ..StoreOptions::new(dir.path())
        })
        .expect("a store");
        let record = Record {
            url: "http://a.example/x".to_owned(),
            length: 1 << 20,
            ..Record::default()
        };
        let content = store.create(UrlKey([1; 32]), record);
        let id = PieceId {
            content: content.no,
            piece: 0,
        };
        let Claim::Owner(flight) = store.claim(id, 1 << 20) else {
            panic!("nobody else fetches it");
        };
        assert!(flight.start(store.frame(1 << 20).expect("memory")));
        flight.append(&[7; 1 << 20]);
        assert!(flight.finish());
        store.keep(&flight);
        store.flush();
        let slab = dir.path().join("slab-00000000");
        let file = std::fs::File::options().read(true).write(true).open(slab);
        let file = file.expect("a slab");
        let mut sector = [0; 4096];
        let place = (0..).step_by(4096).find(|at| {
            file.read_exact_at(&mut sector, *at)
                .expect("the piece lies in it");
            sector == [7; 4096]
        });
        file.write_all_at(&[8], place.expect("just found") + 70_000)
            .expect("written");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let scrubbing = tokio::spawn(run(store.clone(), Duration::ZERO));
            let begun = Instant::now();
            while store.figures().corrupt_total == 0 || store.figures().pieces > 0 {
                assert!(
                    begun.elapsed() < Duration::from_secs(60),
                    "it was not found"
                );
                tokio::task::yield_now().await;
            }
            scrubbing.abort();
        });
        store.close();
    }
}
