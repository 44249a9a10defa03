//! Fetches all of an object of which clients have asked for enough. The rule: it is fetched behind everything that
//! somebody waits for, a step at a time, and what it brings never pushes out most of what the store has.

use super::{Bring, Download, Inner};
use crate::ask::FetchAsk;
use larder_content::ContentNo;
use larder_proto::http::route::OwnedRoute;
use larder_proto::prefetch::Touched;
use larder_storage::flight::FlightError;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Objects that are fetched at once; the others wait for their turn.
const AT_ONCE: usize = 2;

/// What one step asks for at most: so much may come for nobody where clients need the line.
const STEP_BYTES_MAX: u64 = 8 << 20;

/// How long one step may wait for an origin, or for room beside the clients.
const WITHIN: Duration = Duration::from_secs(30);

/// The pause after a step that brought nothing, twice as long after each further one.
const PAUSE: Duration = Duration::from_secs(1);

/// After so many steps in a row that brought nothing it is given up: 17 minutes.
const FRUITLESS_MAX: u32 = 10;

/// Of the store, an object may take one in so many parts.
const PART_OF_STORE: u64 = 4;

/// What was asked for, and who is fetching.
#[derive(Debug)]
pub(super) struct Prefetching {
    touched: Mutex<Touched>,
    turns: Arc<Semaphore>,
    under_way: AtomicUsize,
}

impl Default for Prefetching {
    fn default() -> Self {
        Self {
            touched: Mutex::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            under_way: AtomicUsize::new(0),
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Whole,
    GivenUp,
}

impl Download {
    /// Objects that are fetched because clients have asked for enough of them, or wait for that.
    #[must_use]
    pub fn prefetching(&self) -> usize {
        self.0.prefetching.under_way.load(Ordering::Relaxed)
    }

    /// Pieces are asked for that are not there.
    pub(super) fn asked_for(&self, ask: &FetchAsk) {
        if ask.spare_until.is_none() {
            let pieces = ask.flights.iter().map(|flight| flight.id().piece);
            self.touched(ask.content.no, &ask.route, pieces, None);
        }
    }

    /// A client asks for what is not there: where that makes all of the object worth it, its fetching begins.
    pub(super) fn touched(
        &self,
        no: ContentNo,
        route: &Arc<OwnedRoute>,
        pieces: impl IntoIterator<Item = u32>,
        client: Option<IpAddr>,
    ) {
        let rule = {
            let settings = self.0.settings.load();
            // A device fetches all of what it wants anyhow.
            if settings.own_store {
                return;
            }
            settings.prefetch
        };
        let prefetching = &self.0.prefetching;
        if rule.is_off()
            || !prefetching
                .touched
                .lock()
                .ask(no.get(), pieces, client, rule)
        {
            return;
        }
        let (inner, route) = (Arc::downgrade(&self.0), Arc::clone(route));
        let turns = Arc::clone(&prefetching.turns);
        prefetching.under_way.fetch_add(1, Ordering::Relaxed);
        self.0.runtime.spawn(async move {
            let Ok(_turn) = turns.acquire_owned().await else {
                return;
            };
            let end = all_of(&inner, &route, no).await;
            if let Some(inner) = inner.upgrade() {
                let figures = inner.figures();
                inner.prefetching.under_way.fetch_sub(1, Ordering::Relaxed);
                match end {
                    End::Whole => figures.prefetched_whole.increment(1),
                    End::GivenUp => figures.prefetched_in_part.increment(1),
                }
            }
        });
    }
}

/// One step after the other, until all of it is there.
async fn all_of(inner: &Weak<Inner>, route: &Arc<OwnedRoute>, no: ContentNo) -> End {
    let (mut from, mut fruitless) = (0, 0);
    while fruitless < FRUITLESS_MAX {
        let Some(inner) = inner.upgrade() else {
            return End::GivenUp;
        };
        let capacity_bytes = inner.store.figures().capacity_bytes;
        let download = Download(inner);
        let brought = download.bring(Bring {
            route: Arc::clone(route),
            version: Some(no),
            from,
            bytes_max: STEP_BYTES_MAX,
            beside_bytes: capacity_bytes - capacity_bytes / PART_OF_STORE,
            within: WITHIN,
        });
        match brought.await {
            Ok(brought) if brought.version != no => {
                tracing::debug!(url = %route.url, "not fetched to its end: it is another version by now");
                return End::GivenUp;
            }
            Ok(brought) => {
                if brought.next == brought.pieces {
                    tracing::info!(url = %route.url, bytes = brought.length_bytes, "all of it is fetched, since clients ask for so much of it");
                    return End::Whole;
                }
                if brought.unfinished == Some(FlightError::Changed) {
                    return End::GivenUp;
                }
                from = brought.next;
                if brought.unfinished.is_none() {
                    fruitless = 0;
                    continue;
                }
            }
            Err(not) if not.may_pass() => {}
            Err(not) => {
                tracing::info!(url = %route.url, why = ?not, "not all of it is fetched");
                return End::GivenUp;
            }
        }
        tokio::time::sleep(PAUSE * (1 << fruitless)).await;
        fruitless += 1;
    }
    tracing::info!(url = %route.url, "not all of it is fetched: its origin, or the line, has had no time for it");
    End::GivenUp
}
