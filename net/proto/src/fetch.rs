//! What to ask the origin for next. The rule: earliest deadline first, and never more under way than the link brings
//! in about a second, so that on a thin link pieces complete one after the other instead of all too late.

use crate::Time;
use larder_content::{ContentNo, PieceId};
use std::ops::Range;

/// The bounds of a scheduler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Least bytes that may be under way; two pieces at least, whatever is given.
    pub window_bytes_min: u64,
    /// Most bytes that may be under way.
    pub window_bytes_max: u64,
    /// Most bytes of one origin request.
    pub run_bytes_max: u64,
    /// Most origin requests at a time.
    pub connections_max: u32,
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
    /// The origin asked for patience (429, 503): worth another attempt, later.
    Busy,
    /// Another attempt would bring the same: not found, forbidden, another version.
    Final,
}

/// Orders and sizes requests to one origin, or to all that share a link.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
}

impl Scheduler {
    /// A scheduler with nothing to do.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Adds a piece. One that is wanted already takes the earlier deadline.
    pub fn want(&mut self, now: Time, want: Want) {
        let _ = (now, want);
    }

    /// Forgets a piece that nobody wants any more. One under way is finished, but not tried again.
    pub fn drop_want(&mut self, id: PieceId) {
        let _ = id;
    }

    /// The next request to send, if one may be sent now.
    pub fn next(&mut self, now: Time) -> Option<Job> {
        let _ = now;
        None
    }

    /// Bytes arrived from the origin.
    pub fn received(&mut self, now: Time, bytes: u64) {
        let _ = (now, bytes);
    }

    /// A piece is whole.
    pub fn landed(&mut self, now: Time, id: PieceId) {
        let _ = (now, id);
    }

    /// A job ended before its pieces `missing` were whole. Returns those of them that are given up.
    pub fn failed(
        &mut self,
        now: Time,
        job: Job,
        missing: Range<u32>,
        kind: Failure,
    ) -> Vec<PieceId> {
        let _ = (now, kind);
        missing
            .map(|piece| PieceId {
                content: job.content,
                piece,
            })
            .collect()
    }

    /// When to call `next` again though nothing has landed: the end of the next pause.
    #[must_use]
    pub fn next_wake(&self) -> Option<Time> {
        None
    }

    /// How many bytes may be under way.
    #[must_use]
    pub fn window_bytes(&self) -> u64 {
        self.limits.window_bytes_min
    }
}
