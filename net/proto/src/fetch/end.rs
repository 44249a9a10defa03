//! How jobs end. The rule: what a job did not bring is wanted as before, after a pause, until its attempts are used up.

use super::job::UnderWay;
use super::want::Stand;
use super::{ATTEMPTS_MAX, Failure, Job, Scheduler, pause_after};
use crate::Time;
use larder_content::PieceId;
use std::time::Duration;

impl Scheduler {
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
            if under_way.by_peers {
                return;
            }
        }
        self.window.received(now, bytes);
    }

    /// A piece is whole. A job whose last piece it was is over.
    pub fn landed(&mut self, id: PieceId) {
        if let Some(wanted) = self.books.forget(id)
            && let Stand::UnderWay(serial) = wanted.stand
            && let Some(under_way) = self.jobs.get_mut(&serial)
        {
            under_way.pieces.remove(&id);
            if under_way.pieces.is_empty() {
                self.end(serial);
            }
        }
    }

    /// A job ended; what is not whole of it is tried again, after a pause where it was the origin's: what peers did not
    /// bring, or what was broken off here, is as it was before it was asked for. Returns the pieces that are given up. Without
    /// effect where all of its pieces have landed.
    pub fn failed(&mut self, now: Time, job: &Job, kind: Failure) -> Vec<PieceId> {
        let Some(under_way) = self.end(job.serial) else {
            return Vec::new();
        };
        let Some(broke_at) = under_way.pieces.first().copied() else {
            return Vec::new();
        };
        if under_way.by_peers || kind == Failure::Held {
            return self.as_before(&under_way);
        }
        let mut given_up = Vec::new();
        let mut pause = Duration::ZERO;
        for id in under_way.pieces {
            let Some(wanted) = self.books.get(id) else {
                continue;
            };
            // Where the request brought pieces, only the one at which it broke has had its attempt.
            let had_it = id == broke_at || broke_at == under_way.first;
            let failures = wanted.failures + u32::from(had_it);
            if kind == Failure::Final || wanted.dropped || failures >= ATTEMPTS_MAX {
                self.books.forget(id);
                given_up.push(id);
                continue;
            }
            // One pause for the whole run, so that it stays together.
            pause = pause.max(pause_after(kind, failures));
            self.books.change(id, |wanted| {
                wanted.failures = failures;
                wanted.patience_until = now + pause;
                wanted.stand = wanted.at_rest();
            });
        }
        if let Failure::Busy(_) = kind {
            self.books.pause_content(job.content, now, now + pause);
        }
        given_up
    }

    fn as_before(&mut self, under_way: &UnderWay) -> Vec<PieceId> {
        let mut given_up = Vec::new();
        for id in &under_way.pieces {
            if self.books.get(*id).is_some_and(|wanted| wanted.dropped) {
                self.books.forget(*id);
                given_up.push(*id);
            } else {
                self.books
                    .change(*id, |wanted| wanted.stand = wanted.at_rest());
            }
        }
        given_up
    }

    fn end(&mut self, serial: u64) -> Option<UnderWay> {
        let ended = self.jobs.remove(&serial);
        if self.origin_jobs().next().is_none() {
            self.window.idle();
        }
        ended
    }
}
