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
        let ready = self
            .books
            .ready()
            .take_while(|(background, deadline, ..)| !background && *deadline <= now);
        let paused = self.books.paused().filter(|(_, id)| {
            self.books
                .get(*id)
                .is_some_and(|wanted| !wanted.want.background && wanted.want.deadline <= now)
        });
        ready
            .map(|rank| rank.3)
            .chain(paused.map(|(_, id)| *id))
            .collect()
    }

    /// When to call `overdue` and `next` again though nothing has happened: the end of the next pause, the next
    /// deadline, or the moment when a request counts as silent.
    #[must_use]
    pub fn next_wake(&self) -> Option<Time> {
        let pause = self.books.paused().next().map(|(until, _)| *until);
        let first = self.books.ready().next();
        let deadline = first
            .filter(|rank| !rank.0)
            .map(|(_, deadline, ..)| *deadline);
        let heard = self.jobs.values().map(|job| job.heard + SILENT_AFTER);
        let silence = heard.min().filter(|_| first.is_some());
        [pause, deadline, silence].into_iter().flatten().min()
    }
}
