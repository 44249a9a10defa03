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
    /// Until then it is left to the peers, and no origin is asked for it; the clock's beginning where there are none.
    /// Whoever sets it leaves the origin enough time before the deadline.
    pub http_not_before: Time,
}

/// Where a wanted piece stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stand {
    /// Anybody may ask for it.
    Ready,
    /// Only peers may, until then.
    Paused(Time),
    /// A job brings it.
    UnderWay(u64),
}

#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) want: Want,
    pub(super) arrival: u64,
    /// Attempts at the origin that failed.
    pub(super) failures: u32,
    /// Until then the origin is left alone, as that is what it asked for, or as an attempt has just failed.
    pub(super) patience_until: Time,
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

    /// Where it stands when no job brings it.
    pub(super) fn at_rest(&self) -> Stand {
        let until = self.patience_until.max(self.want.http_not_before);
        if until == Time::default() {
            Stand::Ready
        } else {
            // That may be over by now: who asks for what is ready ends the pauses first.
            Stand::Paused(until)
        }
    }
}
