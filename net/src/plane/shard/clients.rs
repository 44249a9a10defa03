//! What a shard thread notes of its clients. The rule: it is noted when an answer is over, or somebody asks for the book,
//! and never allocates where a client that is known gets what it asked for.

use super::Shard;
use super::link::{Brain, Link, Peer};
use crate::uploads::{Noted, Taker};
use larder_proto::clients::Book;
use larder_proto::time::Time;
use std::sync::mpsc::Sender;

/// What a connection was sent and nobody was told of.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Sent {
    /// Of bodies, out of the store.
    pub(super) stored: u64,
    /// Of bodies, while they came in.
    pub(super) fetched: u64,
}

/// What of a body was not stored when it was asked for. A piece that is whole and on its way to the disk is stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Misses {
    Nothing,
    /// Some; what comes from a flight is that.
    Some,
    /// All of it.
    All,
}

impl Shard {
    /// Notes what the connection was sent.
    pub(super) fn note_sent(&mut self, link: &mut Link) {
        let sent = std::mem::take(&mut link.sent);
        link.sent_bytes += sent.stored + sent.fetched;
        let bytes = sent.stored + sent.fetched;
        if bytes == 0 {
            return;
        }
        if let Brain::Peer(peer) = &mut link.conn {
            peer.pace.went(bytes, self.now);
            if let (Some(content), Some(near)) = (peer.registered, peer.near) {
                self.peers.noted.gave(content, near.kind, bytes);
            }
        }
        let Some(from) = link.from else {
            return;
        };
        let client = self.clients.met(from, self.now);
        match link.conn {
            Brain::Http(_) => client.sent(sent.stored, sent.fetched),
            Brain::Peer(_) => client.bytes_as_peer += bytes,
        }
    }

    /// Notes an answer that is over, or will not be.
    pub(super) fn note_answer(&mut self, link: &mut Link, over: Over) {
        self.note_sent(link);
        let bytes = std::mem::take(&mut link.sent_bytes);
        let (Some(from), asked) = (link.from, link.asked.take()) else {
            return;
        };
        if asked.is_none() && link.said.is_none() {
            return;
        }
        let (host, content) = (link.refused_host.take(), link.sends.take());
        let client = self.clients.met(from, self.now);
        if let Some((status, cache)) = link.said {
            client.answered(status, cache, host.as_deref(), content, self.now);
        }
        match (over, asked) {
            (Over::Cut, _) => client.cut += 1,
            (Over::Left, Some(asked)) => client.left(asked, bytes, self.now),
            (Over::Whole, _) | (Over::Left, None) => {}
        }
    }

    /// Gives away what was noted since this was asked last.
    pub(super) fn give_clients(&mut self, to: &Sender<(Book, Noted)>) {
        let mut takers = Vec::new();
        for token in self.links.tokens() {
            if let Some(mut link) = self.links.take(token) {
                self.note_sent(&mut link);
                takers.extend(link.conn.peer().and_then(|peer| taker(peer, self.now)));
                self.links.put(link);
            }
        }
        let mut noted = std::mem::take(&mut self.peers.noted);
        noted.takers = takers;
        if let Err(unsent) = to.send((self.clients.take(), noted)) {
            // Whoever asked has not waited; the next one gets it.
            let (clients, noted) = unsent.0;
            self.clients.join(clients);
            self.peers.noted = noted;
        }
    }
}

/// What is told of a peer that has said what it wants.
fn taker(peer: &Peer, now: Time) -> Option<Taker> {
    Some(Taker {
        content: peer.registered?,
        address: peer.address?,
        kind: peer.near?.kind,
        since: peer.pace.began(),
        bytes: peer.pace.bytes(),
        bytes_s: peer.pace.bytes_s(now),
    })
}

/// How an answer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Over {
    /// All of it was sent.
    Whole,
    /// It was broken off here.
    Cut,
    /// The client broke it off.
    Left,
}
