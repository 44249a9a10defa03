//! How a shard ends: it says so, accepts no more, and is over. The rule: a connection that was accepted has its answer,
//! unless there is no more time.

use super::Shard;
use larder_proto::http::conn::Event;
use larder_storage::driver::Driver;
use std::sync::atomic::Ordering;

impl Shard {
    /// Each answer says that it is the last one on its connection.
    pub(super) fn say_last(&mut self) {
        self.last_answers = true;
        self.tell_all(Event::Last);
    }

    /// Nothing is accepted any more, and what is idle is closed.
    pub(super) fn drain(&mut self) {
        self.last_answers = true;
        self.draining = true;
        for listener in 0..self.common.listeners.len() {
            self.driver
                .unlisten(u32::try_from(listener).unwrap_or(u32::MAX));
        }
        self.tell_all(Event::Drain);
    }

    /// There is no more time.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.tell_all(Event::Stop);
    }

    /// Whether nothing is left, and nothing can come. What was accepted is in the driver until it is news, and is counted
    /// once it was heard.
    pub(super) fn is_over(&mut self) -> bool {
        if !self.draining || self.driver.accepting() || !self.news.is_empty() {
            return false;
        }
        self.mailbox.accepting.store(false, Ordering::Release);
        self.stopping && self.links.len() == 0
    }

    fn tell_all(&mut self, event: Event) {
        for token in self.links.tokens() {
            self.tell(token, event);
        }
    }
}
