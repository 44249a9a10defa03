//! What is begun next. The rule: of what is ready the most urgent goes first, with its neighbours as far as their share
//! of the window goes.

use super::job::UnderWay;
use super::want::Stand;
use super::{Job, LOOKED_AT_MAX, SAME_TIME, Scheduler, Want};
use crate::Time;
use larder_content::PieceId;
use std::cmp::Reverse;
use std::collections::BTreeSet;

impl Scheduler {
    /// The next request to send, if one may be sent now. `waiting` says how many wait for a piece at present.
    pub fn next(&mut self, now: Time, waiting: impl Fn(PieceId) -> usize) -> Option<Job> {
        self.looked = now;
        self.books.end_pauses(now);
        let head = self.head(waiting)?;
        let (mut on_link, mut heard_jobs) = (0, 0);
        for job in self.origin_jobs().filter(|job| !job.is_silent(now)) {
            on_link += job.bytes_left;
            heard_jobs += 1;
        }
        let connections_max = self.limits.connections_max.max(1) as usize;
        if heard_jobs >= connections_max || self.origin_jobs().count() >= 2 * connections_max {
            return None;
        }
        let wanted = self.books.get(head)?;
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
            let Some(next) = self.books.get(id) else {
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
        let (background, first, ..) = *self.books.ready().next()?;
        let about_then = self.books.ready().take(LOOKED_AT_MAX).take_while(|rank| {
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
            if self.waits(want.id) {
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
        let Some(wanted) = self.books.get(id) else {
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
        self.books.stand(id, Stand::UnderWay(job.serial));
        true
    }

    /// Takes a piece for peers, whether or not it waits for the origin. `None` where it is not wanted, or under way.
    ///
    /// The job is the piece's, whichever peers are asked for its parts meanwhile. It ends like every job: with
    /// [`Scheduler::landed`], or with [`Scheduler::failed`] when no peer is asked for it any more.
    pub fn take_for_peer(&mut self, now: Time, id: PieceId) -> Option<Job> {
        let wanted = self.books.get(id)?;
        if !self.waits(id) || self.books.is_held(id.content) {
            return None;
        }
        let (bytes, attempt) = (u64::from(wanted.want.len), wanted.failures + 1);
        let job = self.begin(now, id, BTreeSet::from([id]), bytes, attempt);
        if let Some(under_way) = self.jobs.get_mut(&job.serial) {
            under_way.by_peers = true;
        }
        Some(job)
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
            self.books.stand(*id, Stand::UnderWay(serial));
        }
        let last = pieces.last().map_or(first.piece, |id| id.piece);
        let under_way = UnderWay {
            first,
            pieces,
            bytes_left: bytes,
            heard: now,
            by_peers: false,
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
}
