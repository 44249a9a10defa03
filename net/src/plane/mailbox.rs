//! What other threads tell a shard thread. The rule: telling never blocks and never loses anything; the shard is woken
//! and reads its mail in its next turn.

use crate::ask::Resolution;
use crate::crowd::Seat;
use crate::uploads::Noted;
use crossbeam::queue::SegQueue;
use larder_content::PieceId;
use larder_proto::clients::Book;
use larder_storage::driver::{Token, Wake};
use larder_storage::flight::Watch;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};

/// What is spoken on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speaks {
    Http,
    Peer,
}

/// One piece of news.
pub(crate) enum Note {
    /// A connection that another shard accepted.
    Socket(OwnedFd, Speaks, Option<Seat>),
    /// What a connection's request number `serial` asked to be resolved.
    Resolved {
        token: Token,
        serial: u32,
        resolution: Resolution,
    },
    /// A piece that a connection watches has more bytes, is whole, or failed.
    Progress(Token, PieceId),
    /// Which pieces a peer's connection may be offered; None where its content is not shared after all.
    Offered {
        token: Token,
        serial: u32,
        pieces: Option<Vec<u32>>,
    },
    /// A piece can be offered to peers from now on.
    Landed(PieceId),
    /// A piece is on its way in from its origin, which peers on links are told.
    Coming(PieceId),
    /// Somebody wants to know what was noted of clients, and of what peers were sent.
    Clients(Sender<(Book, Noted)>),
    /// Let each answer say that it is the last one; go on accepting.
    Last,
    /// Stop accepting, end connections as they become idle.
    Drain,
    /// End now.
    Stop,
}

/// A shard's mail, and what others may know of it.
pub(crate) struct Mailbox {
    notes: SegQueue<Note>,
    wake: OnceLock<Arc<dyn Wake>>,
    /// Connections it has or will have.
    pub(crate) connections: AtomicUsize,
    /// Those of them that are peers'.
    pub(crate) peers: AtomicUsize,
    /// Turns of its loop.
    pub(crate) turns: AtomicU64,
    /// Its thread runs.
    pub(crate) alive: AtomicBool,
    /// It may still accept connections, or has some that are not counted yet.
    pub(crate) accepting: AtomicBool,
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        Self {
            notes: SegQueue::new(),
            wake: OnceLock::new(),
            connections: AtomicUsize::new(0),
            peers: AtomicUsize::new(0),
            turns: AtomicU64::new(0),
            alive: AtomicBool::new(false),
            accepting: AtomicBool::new(false),
        }
    }

    /// From now on the shard is woken so.
    pub(crate) fn open(&self, wake: Arc<dyn Wake>) {
        // A shard opens its mailbox once.
        let _ = self.wake.set(wake);
        self.accepting.store(true, Ordering::Release);
        self.alive.store(true, Ordering::Release);
    }

    pub(crate) fn tell(&self, note: Note) {
        self.notes.push(note);
        if let Some(wake) = self.wake.get() {
            wake.wake();
        }
    }

    pub(crate) fn read(&self) -> Option<Note> {
        self.notes.pop()
    }
}

impl Watch for Mailbox {
    fn progress(&self, token: Token, id: PieceId) {
        self.tell(Note::Progress(token, id));
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}
