//! What to ask the origins for next. The rule: earliest deadline first, and never more under way than the link brings
//! in about a second, so that on a thin link pieces complete one after the other instead of all too late.
//!
//! Peers take pieces from the same list ([`Scheduler::take_for_peer`]), those first that wait for an origin that asked
//! for patience or that are left to peers for a while; what they bring does not cross the WAN, so it counts neither on
//! the link nor among its connections, and what they fail to bring is no attempt of the origin's.
//!
//! One scheduler stands for the link to the WAN, which all origins share. What an origin that fell silent has not
//! sent does not burden the link, so after [`SILENT_AFTER`] its requests no longer hold up those to other origins.
//!
//! Too late: clients that have waited for their first byte until their deadline are told 503 by whoever holds their
//! connections, whatever happens here. A piece whose deadline has passed before it was asked for is reported by
//! [`Scheduler::overdue`], and from then on it is only worth something while somebody still watches it, who came
//! later, as the deadline is the first one's. Whoever calls gives it a later deadline while somebody watches, and
//! [demotes](Scheduler::demote) it when nobody does: who was told 503 comes back for it seconds later, and until then
//! it may only have what the link has to spare, which would lie idle. To fail it at its deadline instead would turn
//! away all who wait at once. So nobody waits longer than the deadline without a 503, and what the link brings is of
//! use (`tests::thin_link` holds both in a simulation, with pieces that nobody watches dropped). And a client that is
//! being served is never starved by what is under way: that is at most about a second of the link, two pieces at
//! least, so each request under way gets its share of it until it is whole, which on any link over 8 kB/s is more
//! than 4000 B/s; between two pieces its next one has a deadline of its own like everybody's.

mod books;
mod end;
mod job;
mod late;
mod pause;
mod start;
mod want;
mod window;

pub use job::{Failure, Job};
pub use pause::{PATIENCE_MAX, failure_of, pause_after};
pub use want::Want;

use crate::Time;
use books::Books;
use job::UnderWay;
use larder_content::{ContentNo, PIECE_BYTES, PieceId};
use std::collections::BTreeMap;
use std::time::Duration;
use want::Stand;
use window::Window;

/// How often a piece is asked for before it is given up.
pub const ATTEMPTS_MAX: u32 = 4;

/// A request that has brought nothing for this long does not count as being on the link.
pub const SILENT_AFTER: Duration = Duration::from_secs(3);

/// Pieces whose deadlines lie no further apart than this come in the order of how many wait for them. A client takes
/// its pieces in an order of its own and waits for each on one of few connections (facts: clients 1.4), so that what
/// many wait for frees many. In the order of the asking all are stuck until nearly everything is there, and then want
/// most of it at once: of three objects for 200 clients about half of all bytes in the last fifth of the time, and under
/// a third this way (`what_most_wait_for_frees_many_before_the_end`).
const SAME_TIME: Duration = Duration::from_secs(2);

/// So many pieces are compared at most.
const LOOKED_AT_MAX: usize = 256;

/// One request may take this part of the window, so that several connections share it.
const RUNS_IN_WINDOW: u64 = 4;

/// The bounds of a scheduler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Least bytes that may be under way; two pieces at least, whatever is given.
    pub window_bytes_min: u64,
    /// Most bytes that may be under way.
    pub window_bytes_max: u64,
    /// Most bytes of one origin request.
    pub run_bytes_max: u64,
    /// Most origin requests at a time; silent ones beside them, as many again.
    pub connections_max: u32,
}

impl Limits {
    fn window_bytes_min(&self) -> u64 {
        self.window_bytes_min.max(2 * u64::from(PIECE_BYTES))
    }
}

/// Orders and sizes requests to all origins that share a link.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    books: Books,
    jobs: BTreeMap<u64, UnderWay>,
    window: Window,
    serials: u64,
    /// When [`Scheduler::next`] was last asked.
    looked: Time,
}

impl Scheduler {
    /// A scheduler with nothing to do.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            books: Books::default(),
            jobs: BTreeMap::new(),
            window: Window::new(limits.window_bytes_min(), limits.window_bytes_max),
            serials: 0,
            looked: Time::default(),
        }
    }

    /// New bounds from now on; what is under way stays.
    pub fn set_limits(&mut self, limits: Limits) {
        if limits != self.limits {
            self.limits = limits;
            self.window
                .set_bounds(limits.window_bytes_min(), limits.window_bytes_max);
        }
    }

    /// Adds a piece. One that is wanted already takes the earlier deadline, and may go to the origin as soon as the
    /// earlier of the two.
    pub fn want(&mut self, want: Want) {
        let known = self.books.change(want.id, |wanted| {
            wanted.want.deadline = wanted.want.deadline.min(want.deadline);
            wanted.want.background &= want.background;
            wanted.want.http_not_before = wanted.want.http_not_before.min(want.http_not_before);
            wanted.dropped = false;
            if !matches!(wanted.stand, Stand::UnderWay(_)) {
                wanted.stand = wanted.at_rest();
            }
        });
        if !known {
            self.books.add(want);
        }
    }

    /// Lets a piece wait until a later deadline.
    pub fn extend(&mut self, id: PieceId, deadline: Time) {
        self.books.change(id, |wanted| {
            wanted.want.deadline = wanted.want.deadline.max(deadline);
        });
    }

    /// Puts a piece that waits behind all that somebody waits for; [`Scheduler::want`] takes it forward again.
    pub fn demote(&mut self, id: PieceId) {
        self.books
            .change(id, |wanted| wanted.want.background = true);
    }

    /// Forgets a piece that nobody wants any more. One under way is finished, but not tried again.
    pub fn drop_want(&mut self, id: PieceId) {
        if self.waits(id) {
            self.books.forget(id);
        } else {
            self.books.change(id, |wanted| wanted.dropped = true);
        }
    }

    /// Leaves a piece to the peers until then, however long it was left to them before.
    pub fn hold_http(&mut self, id: PieceId, until: Time) {
        self.books.hold_http(id, until);
    }

    /// Lets the origin be asked at once for all that is wanted of a content, as there is no peer left or they are too
    /// slow. What is wanted later comes with a time of its own.
    pub fn release_http(&mut self, content: ContentNo) {
        self.books.release_http(content);
    }

    /// Begins nothing of a content from now on, by whichever way; what is wanted of it waits, and is never overdue. What is
    /// under way is for the caller to break off ([`Failure::Held`]).
    pub fn hold(&mut self, content: ContentNo) {
        self.books.hold(content);
    }

    /// The end of that.
    pub fn let_go(&mut self, content: ContentNo) {
        self.books.let_go(content);
    }

    /// Whether a content is held.
    #[must_use]
    pub fn is_held(&self, content: ContentNo) -> bool {
        self.books.is_held(content)
    }

    /// The contents that are held.
    pub fn held(&self) -> impl Iterator<Item = ContentNo> {
        self.books.held()
    }

    /// All that is wanted of a content, whether it waits or is under way.
    pub fn of(&self, content: ContentNo) -> impl Iterator<Item = PieceId> {
        self.books.of(content)
    }

    /// Whether a job has pieces to bring, and none of them is one of these.
    #[must_use]
    pub fn brings_none(&self, job: &Job, these: impl Fn(PieceId) -> bool) -> bool {
        let job = self.jobs.get(&job.serial);
        job.is_some_and(|job| !job.pieces.is_empty() && !job.pieces.iter().any(|id| these(*id)))
    }

    /// What is wanted of a content and not under way, most urgent first: what peers may be asked for.
    pub fn open(&self, content: ContentNo) -> impl Iterator<Item = &Want> {
        self.books.open_of(content)
    }

    /// Whether a piece is wanted, and not under way.
    #[must_use]
    pub fn waits(&self, id: PieceId) -> bool {
        let wanted = self.books.get(id);
        wanted.is_some_and(|wanted| !matches!(wanted.stand, Stand::UnderWay(_)))
    }

    /// Somebody came to wait for a piece that was dropped while it was under way: it is wanted again.
    pub fn revive(&mut self, id: PieceId, deadline: Time) {
        self.books.change(id, |wanted| {
            if wanted.dropped {
                wanted.dropped = false;
                wanted.want.deadline = deadline;
            }
        });
    }

    /// What is wanted of a piece, whether it waits or is under way.
    #[must_use]
    pub fn wanted(&self, id: PieceId) -> Option<&Want> {
        self.books.get(id).map(|wanted| &wanted.want)
    }

    /// Whether a piece is wanted or under way.
    #[must_use]
    pub fn has(&self, id: PieceId) -> bool {
        self.books.get(id).is_some()
    }

    /// Whether a job still has pieces to bring.
    #[must_use]
    pub fn is_under_way(&self, job: &Job) -> bool {
        self.jobs.contains_key(&job.serial)
    }

    /// How many bytes may be under way.
    #[must_use]
    pub fn window_bytes(&self) -> u64 {
        self.window.bytes()
    }

    /// How many bytes one request may ask for now.
    #[must_use]
    pub fn run_bytes(&self) -> u64 {
        let share = self.window.bytes() / RUNS_IN_WINDOW;
        self.limits
            .run_bytes_max
            .min(share)
            .max(u64::from(PIECE_BYTES))
    }

    /// How many requests to origins are under way, and how many pieces wait.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        (self.origin_jobs().count(), self.books.open().len())
    }

    /// The pieces of a content that its origin is asked for.
    #[must_use]
    pub fn at_origin(&self, content: ContentNo) -> Vec<PieceId> {
        let pieces = self.origin_jobs().flat_map(|job| &job.pieces);
        pieces.filter(|id| id.content == content).copied().collect()
    }

    /// The contents that origins are asked for, each as often as there are requests.
    pub fn origin_requests(&self) -> impl Iterator<Item = ContentNo> {
        self.origin_jobs().map(|job| job.first.content)
    }

    fn origin_jobs(&self) -> impl Iterator<Item = &UnderWay> {
        self.jobs.values().filter(|job| !job.by_peers)
    }
}

#[cfg(test)]
mod tests;
