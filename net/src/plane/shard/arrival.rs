//! How a connection comes to a shard, and how much room it may take there. The rule: it goes where the fewest are, and
//! whoever is one too many goes at once, before anything was done for it.

use super::Shard;
use super::link::{Brain, Link};
use crate::crowd::Seat;
use crate::plane::mailbox::{Mailbox, Note, Speaks};
use larder_proto::http::conn::{Conn, Event as Happened};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Shard {
    /// A connection was accepted here: it goes to the least loaded shard, which costs less than one that is served by a
    /// busy core for as long as it lives.
    pub(super) fn accepted(&mut self, listener: u32, fd: OwnedFd) {
        let figures = &self.common.parts.figures;
        let Ok(seat) = figures.crowd.enter(&fd, &self.settings.crowds) else {
            return figures.crowded.increment(1);
        };
        let speaks = if (listener as usize) < self.common.for_clients {
            figures.accepted.increment(1);
            figures.connections.increment(1.0);
            Speaks::Http
        } else {
            figures.peer_accepted.increment(1);
            Speaks::Peer
        };
        let load = |mailbox: &Arc<Mailbox>| mailbox.connections.load(Ordering::Relaxed);
        let others = self.common.mailboxes.iter().enumerate();
        let least = others
            .filter(|(_, mailbox)| mailbox.alive.load(Ordering::Acquire))
            .min_by_key(|(_, mailbox)| load(mailbox));
        if let Some((number, mailbox)) = least
            && number != self.number
            && load(mailbox) < load(&self.mailbox)
        {
            mailbox.connections.fetch_add(1, Ordering::Relaxed);
            mailbox.tell(Note::Socket(fd, speaks, seat));
            return;
        }
        self.mailbox.connections.fetch_add(1, Ordering::Relaxed);
        self.welcome(fd, speaks, seat);
    }

    pub(super) fn welcome(&mut self, socket: OwnedFd, speaks: Speaks, seat: Option<Seat>) {
        if speaks == Speaks::Peer {
            return self.welcome_peer(socket, seat);
        }
        let conn = Brain::Http(Conn::new(self.now, self.draining));
        let token = self.links.add(|token| Link::new(socket, token, conn, seat));
        let event = if self.stopping {
            Happened::Stop
        } else if self.last_answers {
            Happened::Last
        } else {
            // A connection begins as one that has something to look at.
            Happened::Arrived
        };
        self.tell(token, event);
    }

    /// Takes note of how much a connection holds. Whether that is too much.
    pub(super) fn is_crammed(&mut self, link: &mut Link) -> bool {
        let holds = link.inbox.capacity();
        self.room.changed(link.held, holds);
        link.held = holds;
        if link.crammed || !self.room.is_too_much(holds, self.links.len()) {
            return false;
        }
        link.crammed = true;
        self.common.parts.figures.crammed.increment(1);
        true
    }
}
