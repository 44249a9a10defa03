//! What time alone does to the pieces that wait. The rule: whoever calls is told when to look again, and is told of
//! every piece that became late.

use super::{SILENT_AFTER, Scheduler};
use crate::Time;
use larder_content::PieceId;

impl Scheduler {
    /// The pieces whose deadline has passed, that somebody was to wait for, and that were not asked for yet. They stay
    /// as they are: [`Scheduler::extend`] or [`Scheduler::drop_want`] them.
    #[must_use]
    pub fn overdue(&self, now: Time) -> Vec<PieceId> {
        let open = self.books.open();
        open.take_while(|(background, deadline, ..)| !background && *deadline <= now)
            .map(|rank| rank.3)
            .collect()
    }

    /// When to call `overdue` and `next` again though nothing has happened: the end of the next pause or of the time
    /// that is left to peers, the next deadline, or the moment when a request to an origin counts as silent.
    #[must_use]
    pub fn next_wake(&self) -> Option<Time> {
        let pause = self.books.pause_end();
        let first = self.books.open().next().filter(|rank| !rank.0);
        let deadline = first.map(|(_, deadline, ..)| *deadline);
        // What was silent already when it was looked at changes nothing any more.
        let silences = self.origin_jobs().map(|job| job.heard + SILENT_AFTER);
        let is_ready = self.books.ready().next().is_some();
        let silence = silences.filter(|at| is_ready && *at > self.looked).min();
        [pause, deadline, silence].into_iter().flatten().min()
    }
}
