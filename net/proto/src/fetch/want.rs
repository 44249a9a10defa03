//! One wanted piece. The rule: where it stands says who may ask for it, and its rank says when.

use crate::Time;
use larder_content::PieceId;

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

/// Where a wanted piece stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stand {
    Ready,
    Paused(Time),
    UnderWay(u64),
}

#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) want: Want,
    pub(super) arrival: u64,
    /// Attempts that failed.
    pub(super) failures: u32,
    pub(super) stand: Stand,
    /// Nobody wants it any more: not tried again.
    pub(super) dropped: bool,
}

/// The order of what is ready: what is waited for before what is not, then the earliest deadline, then arrival.
pub(super) type Rank = (bool, Time, u64, PieceId);

impl Wanted {
    pub(super) fn rank(&self) -> Rank {
        let Want {
            id,
            deadline,
            background,
            ..
        } = self.want;
        (background, deadline, self.arrival, id)
    }
}
