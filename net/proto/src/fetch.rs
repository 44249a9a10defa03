//! What to ask the origins for next. The rule: earliest deadline first, and never more under way than the link brings
//! in about a second, so that on a thin link pieces complete one after the other instead of all too late.
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

mod pause;
mod window;

pub use pause::{PATIENCE_MAX, failure_of, pause_after};

use crate::Time;
use larder_content::{ContentNo, PIECE_BYTES, PieceId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;
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

/// A piece that somebody waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Want {
    /// Which piece.
    pub id: PieceId,
    /// Its bytes.
    pub len: u32,
    /// When the client that waits for it gives up.
    pub deadline: Time,
    /// Nobody waits for it right now: after everything else.
    pub background: bool,
}

/// One origin request: pieces `first..first + count` of one content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Job {
    /// Which content.
    pub content: ContentNo,
    /// The first piece.
    pub first: u32,
    /// How many pieces.
    pub count: u32,
    /// Which attempt it is for its first piece, from 1.
    pub attempt: u32,
    /// Tells this job from every other of the scheduler.
    pub serial: u64,
}

impl Job {
    /// The pieces it is about.
    #[must_use]
    pub const fn pieces(&self) -> Range<u32> {
        self.first..self.first + self.count
    }
}

/// How a job failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// No connection, no answer, an answer cut short or stalled: worth another attempt.
    Broken,
    /// The origin asked for patience (429, 503), so much where it said (`Retry-After`): worth another attempt, later.
    Busy(Duration),
    /// Another attempt would bring the same: not found, forbidden, another version.
    Final,
}

/// Where a wanted piece stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stand {
    Ready,
    Paused(Time),
    UnderWay(u64),
}

#[derive(Debug)]
struct Wanted {
    want: Want,
    arrival: u64,
    /// Attempts that failed.
    failures: u32,
    stand: Stand,
    /// Nobody wants it any more: not tried again.
    dropped: bool,
}

/// The order of what is ready: what is waited for before what is not, then the earliest deadline, then arrival.
type Rank = (bool, Time, u64, PieceId);

impl Wanted {
    fn rank(&self) -> Rank {
        let Want {
            id,
            deadline,
            background,
            ..
        } = self.want;
        (background, deadline, self.arrival, id)
    }
}

#[derive(Debug)]
struct UnderWay {
    first: PieceId,
    pieces: BTreeSet<PieceId>,
    bytes_left: u64,
    heard: Time,
}

impl UnderWay {
    fn is_silent(&self, now: Time) -> bool {
        now.since(self.heard) >= SILENT_AFTER
    }
}

/// Orders and sizes requests to all origins that share a link.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    wants: BTreeMap<PieceId, Wanted>,
    ready: BTreeSet<Rank>,
    paused: BTreeSet<(Time, PieceId)>,
    jobs: BTreeMap<u64, UnderWay>,
    window: Window,
    arrivals: u64,
    serials: u64,
}

impl Scheduler {
    /// A scheduler with nothing to do.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            wants: BTreeMap::new(),
            ready: BTreeSet::new(),
            paused: BTreeSet::new(),
            jobs: BTreeMap::new(),
            window: Window::new(limits.window_bytes_min(), limits.window_bytes_max),
            arrivals: 0,
            serials: 0,
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

    /// Adds a piece. One that is wanted already takes the earlier deadline.
    pub fn want(&mut self, want: Want) {
        if let Some(wanted) = self.wants.get_mut(&want.id) {
            let rank = wanted.rank();
            wanted.want.deadline = wanted.want.deadline.min(want.deadline);
            wanted.want.background &= want.background;
            wanted.dropped = false;
            let moved = wanted.rank();
            self.reorder(rank, moved);
            return;
        }
        let wanted = self.wanted(want, Stand::Ready);
        self.ready.insert(wanted.rank());
        self.wants.insert(want.id, wanted);
    }

    /// Lets a piece wait until a later deadline.
    pub fn extend(&mut self, id: PieceId, deadline: Time) {
        if let Some(wanted) = self.wants.get_mut(&id) {
            let rank = wanted.rank();
            wanted.want.deadline = wanted.want.deadline.max(deadline);
            let moved = wanted.rank();
            self.reorder(rank, moved);
        }
    }

    /// Puts a piece that waits behind all that somebody waits for; [`Scheduler::want`] takes it forward again.
    pub fn demote(&mut self, id: PieceId) {
        if let Some(wanted) = self.wants.get_mut(&id) {
            let rank = wanted.rank();
            wanted.want.background = true;
            let moved = wanted.rank();
            self.reorder(rank, moved);
        }
    }

    /// Forgets a piece that nobody wants any more. One under way is finished, but not tried again.
    pub fn drop_want(&mut self, id: PieceId) {
        let Some(wanted) = self.wants.get_mut(&id) else {
            return;
        };
        if let Stand::UnderWay(_) = wanted.stand {
            wanted.dropped = true;
        } else {
            self.forget(id);
        }
    }

    /// Whether a piece is wanted, and not under way.
    #[must_use]
    pub fn waits(&self, id: PieceId) -> bool {
        self.wants
            .get(&id)
            .is_some_and(|wanted| !matches!(wanted.stand, Stand::UnderWay(_)))
    }

    /// Somebody came to wait for a piece that was dropped while it was under way: it is wanted again.
    pub fn revive(&mut self, id: PieceId, deadline: Time) {
        if let Some(wanted) = self.wants.get_mut(&id)
            && wanted.dropped
        {
            wanted.dropped = false;
            wanted.want.deadline = deadline;
        }
    }

    /// Whether a piece is wanted or under way.
    #[must_use]
    pub fn has(&self, id: PieceId) -> bool {
        self.wants.contains_key(&id)
    }

    /// Whether a job still has pieces to bring.
    #[must_use]
    pub fn is_under_way(&self, job: &Job) -> bool {
        self.jobs.contains_key(&job.serial)
    }

    /// The pieces whose deadline has passed, that somebody was to wait for, and that were not asked for yet. They stay
    /// as they are: [`Scheduler::extend`] or [`Scheduler::drop_want`] them.
    #[must_use]
    pub fn overdue(&self, now: Time) -> Vec<PieceId> {
        let ready = self
            .ready
            .iter()
            .take_while(|(background, deadline, ..)| !background && *deadline <= now);
        let paused = self.paused.iter().filter(|(_, id)| {
            self.wants
                .get(id)
                .is_some_and(|wanted| !wanted.want.background && wanted.want.deadline <= now)
        });
        ready
            .map(|rank| rank.3)
            .chain(paused.map(|(_, id)| *id))
            .collect()
    }

    /// The next request to send, if one may be sent now. `waiting` says how many wait for a piece at present.
    pub fn next(&mut self, now: Time, waiting: impl Fn(PieceId) -> usize) -> Option<Job> {
        self.end_pauses(now);
        let head = self.head(waiting)?;
        let (mut on_link, mut heard_jobs) = (0, 0);
        for job in self.jobs.values().filter(|job| !job.is_silent(now)) {
            on_link += job.bytes_left;
            heard_jobs += 1;
        }
        let connections_max = self.limits.connections_max.max(1) as usize;
        if heard_jobs >= connections_max || self.jobs.len() >= 2 * connections_max {
            return None;
        }
        let wanted = &self.wants[&head];
        let (attempt, background) = (wanted.failures + 1, wanted.want.background);
        let mut bytes = u64::from(wanted.want.len);
        if on_link > 0 && on_link + bytes > self.window.bytes() {
            self.window.was_full();
            return None;
        }
        let run_bytes = self.run_bytes();
        let mut pieces = BTreeSet::from([head]);
        let mut last = head;
        while let Some(piece) = last.piece.checked_add(1) {
            let id = PieceId { piece, ..head };
            let Some(next) = self.wants.get(&id) else {
                break;
            };
            // A piece that failed before is tried at the head of a request, where what came of it can be resumed.
            let joins = next.stand == Stand::Ready
                && next.failures == 0
                && next.want.background == background;
            let with_it = bytes + u64::from(next.want.len);
            if !joins || with_it > run_bytes || on_link + with_it > self.window.bytes() {
                break;
            }
            bytes = with_it;
            last = id;
            pieces.insert(id);
        }
        Some(self.begin(now, head, pieces, bytes, attempt))
    }

    /// Of what is due at about the same time, the piece that most wait for.
    fn head(&self, waiting: impl Fn(PieceId) -> usize) -> Option<PieceId> {
        let (background, first, ..) = *self.ready.first()?;
        let about_then = self.ready.iter().take(LOOKED_AT_MAX).take_while(|rank| {
            let (of_background, deadline, ..) = **rank;
            of_background == background && deadline <= first + SAME_TIME
        });
        // The first of those that are alike, which is the one that is due first.
        about_then
            .map(|rank| rank.3)
            .min_by_key(|id| Reverse(waiting(*id)))
    }

    /// Takes a request that was sent already, without being asked for here: its answer brings these pieces.
    pub fn adopt(&mut self, now: Time, wants: &[Want]) -> Option<Job> {
        let first = wants.iter().map(|want| want.id).min()?;
        let mut bytes = 0;
        let mut pieces = BTreeSet::new();
        for want in wants.iter().filter(|want| want.id.content == first.content) {
            self.want(*want);
            if !matches!(self.wants[&want.id].stand, Stand::UnderWay(_)) {
                bytes += u64::from(want.len);
                pieces.insert(want.id);
            }
        }
        let first = *pieces.first()?;
        Some(self.begin(now, first, pieces, bytes, 1))
    }

    /// Lets a job take over a wanted piece that its answer turns out to bring as well. True where the piece is the
    /// job's now, or was before.
    pub fn take_over(&mut self, job: &Job, id: PieceId) -> bool {
        let Some(wanted) = self.wants.get(&id) else {
            return false;
        };
        if let Stand::UnderWay(serial) = wanted.stand {
            return serial == job.serial;
        }
        let Some(under_way) = self.jobs.get_mut(&job.serial) else {
            return false;
        };
        under_way.bytes_left += u64::from(wanted.want.len);
        under_way.pieces.insert(id);
        self.stand(id, Stand::UnderWay(job.serial));
        true
    }

    /// What a job still has to bring.
    #[must_use]
    pub fn missing(&self, job: &Job) -> Vec<PieceId> {
        let under_way = self.jobs.get(&job.serial);
        under_way.map_or_else(Vec::new, |job| job.pieces.iter().copied().collect())
    }

    /// Bytes of a job arrived.
    pub fn received(&mut self, now: Time, job: &Job, bytes: u64) {
        if let Some(under_way) = self.jobs.get_mut(&job.serial) {
            under_way.bytes_left = under_way.bytes_left.saturating_sub(bytes);
            under_way.heard = now;
        }
        self.window.received(now, bytes);
    }

    /// A piece is whole. A job whose last piece it was is over.
    pub fn landed(&mut self, id: PieceId) {
        if let Some(wanted) = self.forget(id)
            && let Stand::UnderWay(serial) = wanted.stand
            && let Some(under_way) = self.jobs.get_mut(&serial)
        {
            under_way.pieces.remove(&id);
            if under_way.pieces.is_empty() {
                self.end(serial);
            }
        }
    }

    /// A job ended; what is not whole of it is tried again after a pause. Returns the pieces that are given up. Without
    /// effect where all of its pieces have landed.
    pub fn failed(&mut self, now: Time, job: &Job, kind: Failure) -> Vec<PieceId> {
        let Some(under_way) = self.end(job.serial) else {
            return Vec::new();
        };
        let Some(broke_at) = under_way.pieces.first().copied() else {
            return Vec::new();
        };
        let mut given_up = Vec::new();
        let mut pause = Duration::ZERO;
        for id in under_way.pieces {
            let Some(wanted) = self.wants.get_mut(&id) else {
                continue;
            };
            // Where the request brought pieces, only the one at which it broke has had its attempt.
            if id == broke_at || broke_at == under_way.first {
                wanted.failures += 1;
            }
            if kind == Failure::Final || wanted.dropped || wanted.failures >= ATTEMPTS_MAX {
                self.forget(id);
                given_up.push(id);
                continue;
            }
            pause = pause.max(pause_after(kind, wanted.failures));
            // One pause for the whole run, so that it stays together.
            self.stand(id, Stand::Paused(now + pause));
        }
        if let Failure::Busy(_) = kind {
            self.pause_content(job.content, now + pause);
        }
        given_up
    }

    /// When to call `overdue` and `next` again though nothing has happened: the end of the next pause, the next
    /// deadline, or the moment when a request counts as silent.
    #[must_use]
    pub fn next_wake(&self) -> Option<Time> {
        let pause = self.paused.first().map(|(until, _)| *until);
        let first = self.ready.first();
        let deadline = first
            .filter(|rank| !rank.0)
            .map(|(_, deadline, ..)| *deadline);
        let heard = self.jobs.values().map(|job| job.heard + SILENT_AFTER);
        let silence = heard.min().filter(|_| first.is_some());
        [pause, deadline, silence].into_iter().flatten().min()
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

    /// How many requests are under way, and how many pieces wait.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        (self.jobs.len(), self.ready.len() + self.paused.len())
    }

    fn wanted(&mut self, want: Want, stand: Stand) -> Wanted {
        self.arrivals += 1;
        Wanted {
            want,
            arrival: self.arrivals,
            failures: 0,
            stand,
            dropped: false,
        }
    }

    fn begin(
        &mut self,
        now: Time,
        first: PieceId,
        pieces: BTreeSet<PieceId>,
        bytes: u64,
        attempt: u32,
    ) -> Job {
        self.serials += 1;
        let serial = self.serials;
        for id in &pieces {
            self.stand(*id, Stand::UnderWay(serial));
        }
        let last = pieces.last().map_or(first.piece, |id| id.piece);
        let under_way = UnderWay {
            first,
            pieces,
            bytes_left: bytes,
            heard: now,
        };
        self.jobs.insert(serial, under_way);
        Job {
            content: first.content,
            first: first.piece,
            count: last - first.piece + 1,
            attempt,
            serial,
        }
    }

    fn end(&mut self, serial: u64) -> Option<UnderWay> {
        let ended = self.jobs.remove(&serial);
        if self.jobs.is_empty() {
            self.window.idle();
        }
        ended
    }

    /// Moves a wanted piece from where it stands to `stand`, in all books.
    fn stand(&mut self, id: PieceId, stand: Stand) {
        let Some(wanted) = self.wants.get_mut(&id) else {
            return;
        };
        let rank = wanted.rank();
        match std::mem::replace(&mut wanted.stand, stand) {
            Stand::Ready => _ = self.ready.remove(&rank),
            Stand::Paused(until) => _ = self.paused.remove(&(until, id)),
            Stand::UnderWay(_) => {}
        }
        match stand {
            Stand::Ready => _ = self.ready.insert(rank),
            Stand::Paused(until) => _ = self.paused.insert((until, id)),
            Stand::UnderWay(_) => {}
        }
    }

    fn reorder(&mut self, from: Rank, to: Rank) {
        if self.ready.remove(&from) {
            self.ready.insert(to);
        }
    }

    fn forget(&mut self, id: PieceId) -> Option<Wanted> {
        let wanted = self.wants.remove(&id)?;
        match wanted.stand {
            Stand::Ready => _ = self.ready.remove(&wanted.rank()),
            Stand::Paused(until) => _ = self.paused.remove(&(until, id)),
            Stand::UnderWay(_) => {}
        }
        Some(wanted)
    }

    fn end_pauses(&mut self, now: Time) {
        while let Some((until, id)) = self.paused.first().copied()
            && until <= now
        {
            self.stand(id, Stand::Ready);
        }
    }

    /// What else is ready of a content whose origin asked for patience waits as well.
    fn pause_content(&mut self, content: ContentNo, until: Time) {
        let all = PieceId { content, piece: 0 }..=PieceId {
            content,
            piece: u32::MAX,
        };
        let ready: Vec<PieceId> = self
            .wants
            .range(all)
            .filter(|(_, wanted)| wanted.stand == Stand::Ready)
            .map(|(id, _)| *id)
            .collect();
        for id in ready {
            self.stand(id, Stand::Paused(until));
        }
    }
}

#[cfg(test)]
mod tests;
