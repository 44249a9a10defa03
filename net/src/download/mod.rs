//! The sources of one object, together: what a URL is, and how its missing pieces come in. The rule: every ask is
//! answered and every flight ends, whole or failed, whatever becomes of the task that works on it.
//!
//! `resolve` finds out what a URL is, for all who ask at once; `lead` puts the question to the origin. `queue` holds
//! the flights with the scheduler that orders them, `job` is one request to an origin, `fill` places its bytes, `proving`
//! judges them, `doubt` asks once more for those that are not what they should be, and `appeal` for the whole file. `bring`
//! fills the store where no client waits, and `prefetch` does so with what clients have asked for enough of.
//! `exchange` is the way of what is not immutable, where a client wants all of it.

mod adopt;
mod appeal;
mod bring;
mod by_peer;
mod doubt;
pub(crate) mod exchange;
mod fill;
mod job;
mod lead;
mod owned;
mod pause;
mod prefetch;
mod progress;
mod proving;
mod queue;
mod reading;
mod resolve;
mod sources;
mod through;

pub use bring::{Bring, Brought, NotBrought};
pub(crate) use by_peer::PeerJob;
pub use pause::NotPaused;
pub use progress::{Progress, UnderWay};
pub(crate) use queue::Standing;
pub(crate) use resolve::Outcome;
pub use sources::{Sources, Way};
pub use through::ThroughBody;
pub(crate) use through::end_to_end;

use crate::ask::{Answer, Ask, FetchAsk, OfferAsk};
use crate::bandwidth::Bandwidth;
use crate::clock::Clock;
use crate::metrics::Figures;
use crate::origin::OriginClient;
use crate::settings::Settings;
use crate::swarm::{self, Swarm, SwarmOptions};
use arc_swap::ArcSwap;
use exchange::Turns;
use job::Task;
use larder_content::ContentNo;
use larder_proto::fetch::{Failure, Limits, Want};
use larder_proto::http::route::OwnedRoute;
use larder_proto::policy::Priority;
use larder_proto::time::Time;
use larder_storage::flight::FlightError;
use larder_storage::record::Content;
use larder_storage::store::{Filter, Store};
use parking_lot::Mutex;
use prefetch::Prefetching;
use proving::Proving;
use queue::{GivenUp, Queue, want};
use resolve::Resolving;
use sources::Books;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// How much later each further piece of one ask is due than the one before it. Its client takes them one by one, and
/// leaves if it gets under 4000 B/s over 20 s (facts: clients 1.6): a piece in half that time will do, and meanwhile
/// the first pieces of other clients come in on a thin link.
const NEXT_PIECE_AFTER: Duration = Duration::from_secs(10);

/// By so much a client that is being served comes before those that are not yet: turning one of these away costs less
/// than breaking off an answer.
const SERVED_BEFORE: Duration = Duration::from_secs(7);

/// How long a client waits for a stale object to be confirmed, before it gets it as it is.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(5);

/// The last attempt at an origin must leave the client time to hear of it.
const LEFT_MIN: Duration = Duration::from_secs(2);

/// An object that another answer could not complete is only stored where it is at most so long, and one answer brings
/// all of it; larger ones pass through.
const UNPROVED_BYTES_MAX: u64 = 64 << 20;

/// From when on pieces of a device's own download are due, by its clock, which begins with the process: nobody leaves for
/// want of them, so that their deadlines say nothing but their order, and none of them is ever past.
const OWN_DUE_FROM: Duration = Duration::from_secs(365 * 24 * 3600);

/// When the `nth` piece of an ask is due, the first of which is due at `deadline`.
fn due(deadline: Time, nth: u32) -> Time {
    deadline + (NEXT_PIECE_AFTER * nth).saturating_sub(SERVED_BEFORE)
}

/// The download side; clones share it.
#[derive(Clone)]
pub struct Download(Arc<Inner>);

pub(crate) struct Inner {
    store: Store,
    settings: Arc<ArcSwap<Settings>>,
    origin: OriginClient,
    clock: Clock,
    runtime: Handle,
    queue: Mutex<Queue>,
    resolving: Resolving,
    turns: Turns,
    proving: Proving,
    prefetching: Prefetching,
    sources: Books,
    /// Where pieces come from besides origins, if they do.
    swarm: OnceLock<Arc<swarm::Shared>>,
    /// Wakes the one who starts requests.
    work: Arc<Notify>,
}

impl Download {
    /// Starts the download side on the present tokio runtime. `clock` is the one that deadlines in asks are told by.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn spawn(
        store: Store,
        settings: Arc<ArcSwap<Settings>>,
        origin: OriginClient,
        clock: Clock,
    ) -> Self {
        let limits = limits(&settings.load());
        let proving = Proving::start(&store, origin.figures());
        let inner = Arc::new(Inner {
            store,
            settings,
            origin,
            clock,
            runtime: Handle::current(),
            queue: Mutex::new(Queue::new(limits, clock)),
            resolving: Resolving::default(),
            turns: Turns::default(),
            proving,
            prefetching: Prefetching::default(),
            sources: Books::default(),
            swarm: OnceLock::new(),
            work: Arc::new(Notify::new()),
        });
        let closing = CloseOnDrop(Arc::downgrade(&inner));
        tokio::spawn(start_requests(closing, Arc::clone(&inner.work)));
        Self(inner)
    }

    /// From now on pieces come from peers as well, as far as the policies allow. Once; on the present tokio runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn join_swarm(&self, options: SwarmOptions) -> Swarm {
        let inner = &self.0;
        let swarm = inner.swarm.get_or_init(|| {
            let parts = (
                inner.store.clone(),
                Arc::clone(&inner.settings),
                Arc::clone(inner.origin.figures()),
                inner.clock,
            );
            swarm::Shared::start(Arc::downgrade(inner), parts, options)
        });
        Swarm(Arc::clone(swarm))
    }

    /// Where the pieces of a content came from that were fetched since the start. Whoever asks for it finds nothing
    /// where nothing was fetched, or that was so long ago that it is forgotten.
    #[must_use]
    pub fn sources(&self, content: ContentNo) -> Sources {
        self.0.sources_of(content)
    }

    /// The store that it fills.
    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    /// The clock that deadlines are told by.
    pub(crate) fn clock(&self) -> Clock {
        self.0.clock
    }
}

impl Answer for Download {
    fn ask(&self, ask: Ask) {
        match ask {
            Ask::Resolve(ask) => {
                let inner = Arc::clone(&self.0);
                self.0.runtime.spawn(inner.resolve(ask));
            }
            Ask::Fetch(ask) => {
                self.asked_for(&ask);
                self.0.fetch(ask);
            }
            Ask::Touched(ask) => self.touched(ask.content.no, &ask.route, [], Some(ask.client)),
            Ask::Wanted(content, piece) => self.0.wanted_by_link(&content, piece),
            Ask::Offer(OfferAsk {
                content,
                swarm,
                reply,
            }) => {
                let store = self.0.store.clone();
                let inner = Arc::clone(&self.0);
                // Where the runtime is being shut down, the reply is dropped, and says that there is nothing.
                drop(self.0.runtime.spawn_blocking(move || {
                    reply.send(store.offered(&content, &swarm));
                    if !inner.settings.load().links.is_empty() {
                        // Who has just come over a link has missed what was said of these.
                        let coming = inner.queue.lock().scheduler.at_origin(content.no);
                        coming.into_iter().for_each(|id| store.tell_coming(id));
                    }
                }));
            }
        }
    }
}

impl Inner {
    fn figures(&self) -> &Figures {
        self.origin.figures()
    }

    /// What all downloads share.
    pub(crate) fn bandwidth(&self) -> &Bandwidth {
        self.origin.bandwidth()
    }

    pub(crate) fn sources_of(&self, content: ContentNo) -> Sources {
        self.sources.of(content)
    }

    /// A piece is kept: who brought it is written down.
    fn came(&self, content: ContentNo, way: Way, bytes: u32) {
        if self.sources.add(content, way, bytes) {
            self.figures().files_downloaded.increment(1);
        }
        self.figures()
            .fetched_bytes(way)
            .increment(u64::from(bytes));
    }

    /// Queues the pieces that an asker owns.
    fn fetch(&self, ask: FetchAsk) {
        let FetchAsk {
            content,
            route,
            mut flights,
            deadline,
            spare_until,
        } = ask;
        flights.sort_by_key(|flight| flight.id());
        let swarm = self.swarm.get();
        // The deadline is that of the first byte. Where it is past, the client is being served and asks for more.
        let now = self.clock.now();
        let deadline = if deadline <= now {
            now + SERVED_BEFORE
        } else {
            deadline
        };
        let left_to_peers = swarm.map_or(Time::default(), |swarm| swarm.wanted(&content, deadline));
        let (background, own_store) = {
            let settings = self.settings.load();
            let background = spare_until.is_some() || settings.priority == Priority::Background;
            (background, settings.own_store)
        };
        let mut given_up = GivenUp::new();
        {
            let mut queue = self.queue.lock();
            for (nth, flight) in (0..).zip(flights) {
                let due = if own_store {
                    Time::default() + OWN_DUE_FROM + NEXT_PIECE_AFTER * flight.id().piece
                } else {
                    due(deadline, nth)
                };
                let want = Want {
                    http_not_before: left_to_peers,
                    background,
                    ..want(&flight, due)
                };
                let refused = queue.enter(&self.store, &content, &route, flight);
                if refused.is_empty() {
                    queue.scheduler.want(want);
                    if let Some(until) = spare_until {
                        queue.rest(want.id, until);
                    }
                }
                given_up.extend(refused);
            }
        }
        abandon(given_up);
        // Peers that are there are asked first, as far as they take it at once; the origin is, right after, for the rest.
        if let Some(swarm) = swarm {
            swarm.pump(content.no);
            if left_to_peers > Time::default() {
                swarm.release_if_nobody(content.no);
            }
        }
        self.work.notify_one();
    }

    /// Starts what may be started now, and says when to look again.
    fn start_what_may(self: &Arc<Self>) -> Option<Time> {
        let limits = limits(&self.settings.load());
        let now = self.clock.now();
        let mut tasks = Vec::new();
        let (given_up, wake) = {
            let mut queue = self.queue.lock();
            queue.scheduler.set_limits(limits);
            let given_up = queue.sort_out_overdue(now);
            while let Some(job) = queue.next(now) {
                if let Some(source) = queue.source(job.content) {
                    tasks.push(Task::new(Arc::clone(self), job, Task::source(source)));
                } else {
                    // Without a source there is no flight, and nobody who waits.
                    queue.failed(now, &job, Failure::Final, FlightError::Closing);
                }
            }
            (given_up, queue.scheduler.next_wake())
        };
        abandon(given_up);
        for task in tasks {
            self.runtime.spawn(task.run());
        }
        wake
    }

    /// The origin has another version of a content by now: nobody shall find the old one any more. Where the new one
    /// is that of another host of the family, the hosts go separate ways from here on.
    fn superseded(&self, content: &Arc<Content>, route: &OwnedRoute) {
        let record = content.record();
        if route.identity.family && record.host != route.origin.to_string() {
            tracing::warn!(url = %route.url, stored_from = %record.host, "two hosts of a family have different objects under one name; they are kept apart");
            self.resolving.keep_apart(route.identity.key);
        } else {
            tracing::info!(url = %record.url, "the origin has another version; the stored one is forgotten");
        }
        let given_up = self.queue.lock().superseded(content.no);
        self.store.purge(&Filter::Content(content.no));
        abandon(given_up);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.work.notify_one();
    }
}

/// The present bounds of the scheduler.
fn limits(settings: &Settings) -> Limits {
    Limits {
        window_bytes_min: 0,
        window_bytes_max: settings.window_bytes_max,
        run_bytes_max: settings.run_bytes_max,
        connections_max: u32::try_from(settings.origin_connections_max).unwrap_or(u32::MAX),
    }
}

/// Tells those who wait. Not under the lock of the queue: they may ask again at once.
fn abandon(given_up: GivenUp) {
    for (owned, error) in given_up {
        owned.abandon(error);
    }
}

/// Starts requests as wants, pauses and deadlines come, until the download side or the runtime ends.
async fn start_requests(closing: CloseOnDrop, work: Arc<Notify>) {
    loop {
        let Some(inner) = closing.0.upgrade() else {
            return;
        };
        let wake = inner.start_what_may();
        let pause = wake.map(|at| at.since(inner.clock.now()));
        drop(inner);
        match pause {
            None => work.notified().await,
            // A moment that is past was seen to; what is left of it must not make this spin.
            Some(pause) => {
                let pause = pause.max(Duration::from_millis(5));
                let _ = tokio::time::timeout(pause, work.notified()).await;
            }
        }
    }
}

/// Ends all flights when the one who starts requests is gone.
struct CloseOnDrop(Weak<Inner>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            let given_up = inner.queue.lock().close();
            abandon(given_up);
        }
    }
}

/// Why a request did not bring its pieces.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    failure: Failure,
    error: FlightError,
}

#[cfg(test)]
pub(crate) mod tests;
