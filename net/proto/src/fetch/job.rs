//! One request under way, and how it may end. The rule: a job is known by its serial, and ends once.

use super::SILENT_AFTER;
use crate::Time;
use larder_content::{ContentNo, PieceId};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

/// One origin request, or one piece that peers are asked for: pieces `first..first + count` of one content.
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
    /// It was broken off here, as its content is held: no attempt, and nothing to wait for but the end of that.
    Held,
    /// Another attempt would bring the same: not found, forbidden, another version.
    Final,
}

#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) first: PieceId,
    pub(super) pieces: BTreeSet<PieceId>,
    pub(super) bytes_left: u64,
    pub(super) heard: Time,
    /// Peers bring it, and nothing of it crosses the WAN.
    pub(super) by_peers: bool,
}

impl UnderWay {
    pub(super) fn is_silent(&self, now: Time) -> bool {
        now.since(self.heard) >= SILENT_AFTER
    }
}
