//! What is to be fetched, and who waits for it: the scheduler with the flights it is about. The rule: a flight is here
//! from the moment it is handed in until it has ended, and the scheduler knows the same pieces.

use super::Trouble;
use super::owned::Owned;
use super::progress::{Runs, UnderWay};
use crate::clock::Clock;
use larder_content::{ContentNo, PieceId};
use larder_proto::fetch::{Failure, Job, Limits, Scheduler, Want};
use larder_proto::http::route::OwnedRoute;
use larder_proto::policy::Priority;
use larder_proto::time::Time;
use larder_storage::flight::{Flight, FlightError};
use larder_storage::record::Content;
use larder_storage::store::Store;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How much longer a piece stays in the queue that somebody still waits for when its deadline is past: whoever it is
/// came later than the one who set it, half a patience later on average.
const EXTENSION: Duration = Duration::from_secs(7);

/// How long such a piece is kept before anybody must be seen to watch it: who has just asked may not have begun to.
const UNWATCHED_FOR: Duration = Duration::from_secs(1);

/// How long a piece that was wanted too late, and that nobody waits for any more, is still fetched when the link has
/// nothing else to bring: who was told 503 asks again after 2 to 16 s (facts: clients, section 1.13).
const RESTING_FOR: Duration = Duration::from_secs(60);

/// How many contents' good routes are remembered.
const GOOD_MAX: usize = 4096;

/// Flights that ended without their bytes, to be told so after the lock on the queue is gone.
pub(super) type GivenUp = Vec<(Owned, FlightError)>;

/// Where the pieces of a content come from.
pub(super) struct Source {
    pub(super) content: Arc<Content>,
    /// As the latest client named it, with the freshest signed query.
    pub(super) route: Arc<OwnedRoute>,
    /// Answers that contradicted themselves.
    pub(super) lies: u32,
    flights: usize,
}

/// See the file's head.
pub(super) struct Queue {
    pub(super) scheduler: Scheduler,
    owned: HashMap<PieceId, Owned>,
    sources: HashMap<ContentNo, Source>,
    /// By which route pieces of a content came last. A client's signed query may have run out, and another's still
    /// holds (facts: clients 1.3).
    good: HashMap<ContentNo, Arc<OwnedRoute>>,
    /// Past their deadlines, and from then on kept only while somebody watches.
    extended: BTreeMap<PieceId, Time>,
    /// Watched by nobody, and past their deadlines or wanted by no client: behind everything else until then.
    resting: BTreeMap<PieceId, Time>,
    /// Contents that peers are asked for as well.
    watched: HashMap<ContentNo, Watched>,
    /// How long each content was wanted.
    pub(super) runs: Runs,
    clock: Clock,
    closed: bool,
}

/// What has changed about a content since whoever asks its peers has looked.
struct Watched {
    touched: BTreeSet<u32>,
    landed: BTreeSet<u32>,
    bell: Arc<Notify>,
}

/// Where a piece stands now of which something has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// It waits for somebody to bring it.
    Waits(Want),
    /// Somebody brings it.
    UnderWay,
    /// It is here.
    Landed,
    /// Nobody wants it any more.
    Gone,
}

impl Queue {
    pub(super) fn new(limits: Limits, clock: Clock) -> Self {
        Self {
            scheduler: Scheduler::new(limits),
            owned: HashMap::new(),
            sources: HashMap::new(),
            good: HashMap::new(),
            extended: BTreeMap::new(),
            resting: BTreeMap::new(),
            watched: HashMap::new(),
            runs: Runs::default(),
            clock,
            closed: false,
        }
    }

    /// Takes a flight in, without asking for its piece yet. Returns what can not be taken.
    pub(super) fn enter(
        &mut self,
        store: &Store,
        content: &Arc<Content>,
        route: &Arc<OwnedRoute>,
        flight: Arc<Flight>,
    ) -> GivenUp {
        let id = flight.id();
        let mut given_up = GivenUp::new();
        let owned = Owned::new(store, flight);
        if self.closed {
            given_up.push((owned, FlightError::Closing));
            return given_up;
        }
        let source = self.sources.entry(content.no).or_insert_with(|| Source {
            content: Arc::clone(content),
            route: Arc::clone(route),
            lies: 0,
            flights: 0,
        });
        source.route = Arc::clone(route);
        match self.owned.insert(id, owned) {
            None => source.flights += 1,
            // The store forgot that flight, so nobody new will find it.
            Some(old) => given_up.push((old, FlightError::Origin)),
        }
        self.runs.begins(content.no, self.clock.now());
        self.touch(id);
        given_up
    }

    /// The next request to send, if one may be sent now.
    pub(super) fn next(&mut self, now: Time) -> Option<Job> {
        let flight = |id| self.owned.get(&id)?.flight();
        let waiting = |id| flight(id).map_or(0, |flight| flight.watchers());
        let job = self.scheduler.next(now, waiting)?;
        for piece in job.pieces() {
            let content = job.content;
            self.touch(PieceId { content, piece });
        }
        Some(job)
    }

    /// Lets a job take over a piece; see [`Scheduler::take_over`].
    pub(super) fn take_over(&mut self, job: &Job, id: PieceId) -> bool {
        let taken = self.scheduler.take_over(job, id);
        if taken {
            self.touch(id);
        }
        taken
    }

    /// From now on `bell` rings when something changes about the pieces of a content; all that is wanted of it is news
    /// at first.
    pub(super) fn watch(&mut self, content: ContentNo, bell: &Arc<Notify>) {
        let wants = self.scheduler.open(content);
        let watched = Watched {
            touched: wants.map(|want| want.id.piece).collect(),
            landed: BTreeSet::new(),
            bell: Arc::clone(bell),
        };
        self.watched.insert(content, watched);
    }

    pub(super) fn unwatch(&mut self, content: ContentNo) {
        self.watched.remove(&content);
    }

    /// What has changed about a content that is watched.
    pub(super) fn news(&mut self, content: ContentNo) -> Vec<(u32, Standing)> {
        let Some(watched) = self.watched.get_mut(&content) else {
            return Vec::new();
        };
        let touched = std::mem::take(&mut watched.touched);
        let landed = std::mem::take(&mut watched.landed);
        let is_held = self.scheduler.is_held(content);
        let standing = |piece: u32| {
            let id = PieceId { content, piece };
            match self.scheduler.wanted(id) {
                // Peers leave off what they were asked for.
                Some(_) if is_held => Standing::Gone,
                Some(want) if self.scheduler.waits(id) => Standing::Waits(*want),
                Some(_) => Standing::UnderWay,
                None if landed.contains(&piece) => Standing::Landed,
                None => Standing::Gone,
            }
        };
        touched
            .into_iter()
            .map(|piece| (piece, standing(piece)))
            .collect()
    }

    /// These pieces are news once more.
    pub(super) fn look_again(&mut self, content: ContentNo, pieces: BTreeSet<u32>) {
        if let Some(watched) = self.watched.get_mut(&content) {
            watched.touched.extend(pieces);
        }
    }

    fn touch(&mut self, id: PieceId) {
        if let Some(watched) = self.watched.get_mut(&id.content) {
            watched.touched.insert(id.piece);
            watched.bell.notify_one();
        }
    }

    pub(super) fn flight(&self, id: PieceId) -> Option<Arc<Flight>> {
        self.owned.get(&id)?.flight().cloned()
    }

    pub(super) fn is_watched(&self, id: PieceId) -> bool {
        self.flight(id).is_some_and(|flight| flight.is_watched())
    }

    pub(super) fn source(&self, content: ContentNo) -> Option<&Source> {
        self.sources.get(&content)
    }

    /// A piece came by this route.
    pub(super) fn came_by(&mut self, content: ContentNo, route: &Arc<OwnedRoute>) {
        if self
            .good
            .get(&content)
            .is_some_and(|good| Arc::ptr_eq(good, route))
        {
            return;
        }
        if self.good.len() >= GOOD_MAX {
            self.good.clear();
        }
        self.good.insert(content, Arc::clone(route));
    }

    /// The origin refused who asked by this route. True where there is another one to ask by, which is the source's
    /// from now on: the one by which pieces came last, or the `first`.
    pub(super) fn refused_by(
        &mut self,
        content: ContentNo,
        route: &OwnedRoute,
        first: Option<OwnedRoute>,
    ) -> bool {
        if self.good.get(&content).is_some_and(|good| **good == *route) {
            self.good.remove(&content);
        }
        let Some(source) = self.sources.get_mut(&content) else {
            return false;
        };
        if *source.route != *route {
            // Whoever came last may have a fresher one.
            return true;
        }
        let good = self.good.get(&content).map(Arc::clone);
        let good = good.or_else(|| first.map(Arc::new));
        good.is_some_and(|good| {
            source.route = good;
            true
        })
    }

    /// Counts a lie about a content, and says how many there were.
    pub(super) fn lied(&mut self, content: ContentNo) -> u32 {
        self.sources.get_mut(&content).map_or(u32::MAX, |source| {
            source.lies += 1;
            source.lies
        })
    }

    /// A piece's last byte has come: who was to see to it must keep it now.
    pub(super) fn landed(&mut self, id: PieceId) -> Option<Owned> {
        if let Some(watched) = self.watched.get_mut(&id.content) {
            watched.landed.insert(id.piece);
        }
        self.given_up(id)
    }

    /// A piece's last byte has come, and it can not be kept.
    pub(super) fn given_up(&mut self, id: PieceId) -> Option<Owned> {
        self.scheduler.landed(id);
        self.touch(id);
        self.leave(id)
    }

    /// A request is over. Returns the flights that will not be tried again.
    pub(super) fn failed(
        &mut self,
        now: Time,
        job: &Job,
        kind: Failure,
        error: FlightError,
    ) -> GivenUp {
        // What the request brought in passing is tried again only where somebody came to wait for it.
        for id in self.scheduler.missing(job) {
            self.touch(id);
            if self.is_watched(id) {
                self.scheduler.revive(id, now + EXTENSION);
            }
        }
        let ended = self.scheduler.failed(now, job, kind);
        ended
            .into_iter()
            .filter_map(|id| Some((self.leave(id)?, error)))
            .collect()
    }

    /// Begins nothing of a content from now on, and breaks off what is under way.
    pub(super) fn pause(&mut self, content: ContentNo) {
        self.scheduler.hold(content);
        self.touch_all(content);
    }

    /// The end of that. False where it was not so.
    pub(super) fn resume(&mut self, content: ContentNo) -> bool {
        let was_held = self.scheduler.is_held(content);
        self.scheduler.let_go(content);
        self.touch_all(content);
        was_held
    }

    /// Ends all flights of a content, and breaks off what is under way.
    pub(super) fn cancel(&mut self, content: ContentNo) -> GivenUp {
        self.resume(content);
        let ids = self.owned.keys().filter(|id| id.content == content);
        let ids: Vec<PieceId> = ids.copied().collect();
        ids.into_iter()
            .filter_map(|id| {
                self.scheduler.drop_want(id);
                Some((self.leave(id)?, FlightError::Cancelled))
            })
            .collect()
    }

    /// Why a request that brings bytes is to be broken off, if it is: its content is held, or all of its pieces were
    /// called off.
    pub(super) fn breaks_off(&self, job: &Job) -> Option<Trouble> {
        let failure = if self.scheduler.is_held(job.content) {
            Failure::Held
        } else if self
            .scheduler
            .brings_none(job, |id| self.owned.contains_key(&id))
        {
            Failure::Final
        } else {
            return None;
        };
        let error = FlightError::Cancelled;
        Some(Trouble { failure, error })
    }

    fn touch_all(&mut self, content: ContentNo) {
        let wanted: Vec<PieceId> = self.scheduler.of(content).collect();
        for id in wanted {
            self.touch(id);
        }
    }

    /// Takes out everything of a content that is not under way.
    pub(super) fn superseded(&mut self, content: ContentNo) -> GivenUp {
        let of_it: Vec<PieceId> = self
            .owned
            .keys()
            .filter(|id| id.content == content)
            .copied()
            .collect();
        let mut given_up = GivenUp::new();
        for id in of_it {
            self.touch(id);
            self.scheduler.drop_want(id);
            if !self.scheduler.has(id) {
                given_up.extend(self.leave(id).map(|owned| (owned, FlightError::Changed)));
            }
        }
        given_up
    }

    /// This piece is wanted only as far as the link has room for it, until somebody watches it, and no longer than
    /// until then.
    pub(super) fn rest(&mut self, id: PieceId, until: Time) {
        self.resting.insert(id, until);
    }

    /// Sees to what was not asked for before its deadline (see [`larder_proto::fetch`] for why it is so).
    pub(super) fn sort_out_overdue(&mut self, now: Time) -> GivenUp {
        for id in self.scheduler.overdue(now) {
            self.touch(id);
            self.scheduler.extend(id, now + EXTENSION);
            self.extended.entry(id).or_insert(now + UNWATCHED_FOR);
        }
        // Those who wait give up at their deadlines on their own, so each look may find another one unwatched.
        for (id, from) in std::mem::take(&mut self.extended) {
            if !self.scheduler.waits(id) {
                continue;
            }
            if now < from || self.is_watched(id) {
                self.extended.insert(id, from);
            } else {
                self.touch(id);
                self.scheduler.demote(id);
                self.resting.insert(id, now + RESTING_FOR);
            }
        }
        let mut given_up = GivenUp::new();
        for (id, until) in std::mem::take(&mut self.resting) {
            if !self.scheduler.waits(id) {
                // What is under way may still fail, and rest again.
                if self.scheduler.has(id) {
                    self.resting.insert(id, until);
                }
                continue;
            }
            if let Some(flight) = self.flight(id).filter(|flight| flight.is_watched()) {
                self.touch(id);
                self.scheduler.want(want(&flight, now + EXTENSION));
            } else if now < until {
                self.resting.insert(id, until);
            } else {
                self.touch(id);
                self.scheduler.drop_want(id);
                given_up.extend(self.leave(id).map(|owned| (owned, FlightError::Overloaded)));
            }
        }
        given_up
    }

    /// Ends everything, and whatever will be entered.
    pub(super) fn close(&mut self) -> GivenUp {
        self.closed = true;
        let ids: Vec<PieceId> = self.owned.keys().copied().collect();
        ids.into_iter()
            .filter_map(|id| {
                self.scheduler.drop_want(id);
                Some((self.leave(id)?, FlightError::Closing))
            })
            .collect()
    }

    /// The downloads of which something is wanted.
    pub(super) fn under_way(&self) -> HashMap<ContentNo, UnderWay> {
        let mut all: HashMap<ContentNo, UnderWay> = HashMap::new();
        for (no, source) in &self.sources {
            let content = Arc::clone(&source.content);
            let under_way = UnderWay {
                content,
                pieces: source.flights,
                http_requests: 0,
                priority: Priority::Background,
            };
            all.insert(*no, under_way);
        }
        for id in self.owned.keys() {
            let want = self.scheduler.wanted(*id);
            let is_spare = want.is_none_or(|want| want.background) && !self.is_watched(*id);
            if let Some(one) = all.get_mut(&id.content).filter(|_| !is_spare) {
                one.priority = Priority::Foreground;
            }
        }
        for no in self.scheduler.origin_requests() {
            if let Some(one) = all.get_mut(&no) {
                one.http_requests += 1;
            }
        }
        all
    }

    fn leave(&mut self, id: PieceId) -> Option<Owned> {
        let owned = self.owned.remove(&id)?;
        if let Some(source) = self.sources.get_mut(&id.content) {
            source.flights -= 1;
            if source.flights == 0 {
                self.sources.remove(&id.content);
                self.runs.rests(id.content, self.clock.now());
            }
        }
        Some(owned)
    }
}

/// The want for a flight.
pub(super) fn want(flight: &Flight, deadline: Time) -> Want {
    Want {
        id: flight.id(),
        len: flight.len(),
        deadline,
        background: false,
        http_not_before: Time::default(),
    }
}

#[cfg(test)]
mod tests;
