//! A connection that a peer has opened, as a shard thread serves it: the session, and the socket around it. The rule:
//! what the peer says is read while it is sent to, so that it can call off what it does not want any more; and the
//! socket is closed only when nothing is under way for it.
//!
//! It hears the same words as an HTTP connection ([`crate::http::conn::Event`]), so that both are driven alike.

use super::PeerId;
use super::session::{self, Limits, Session, Why};
use super::wire::Block;
use crate::http::conn::Event;
use crate::time::Time;
use larder_content::ContentId;
use std::time::Duration;

/// How long the next bytes of a block may be waited for: a disk that hangs, or a limit that lets nothing through.
const STARVED: Duration = Duration::from_secs(300);

/// What is to be done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Nothing, until something happens.
    Rest,
    /// Receive once: `Received`, `Ended` or `Broken` follows.
    Receive,
    /// Look a content up; [`session::Event::Found`] is to follow.
    Find {
        /// Which.
        swarm: ContentId,
        /// For whom.
        peer: PeerId,
        /// The end of its handshake.
        suffix: [u8; 4],
    },
    /// Both have said who they are. Once.
    Opened {
        /// Who the other is.
        peer: PeerId,
    },
    /// The peer wants to ask for blocks, or no more.
    Interested(bool),
    /// The peer asks for a piece to be brought in that is not here.
    Wanted(u32),
    /// Add what [`Session::write`] gives to what is to be sent; `Answering` follows at once.
    Say,
    /// Begin this block: add what [`Session::write`] gives to what is to be sent, then the block; `Answering` follows
    /// at once.
    Begin(Block),
    /// Send what comes next: `Sent`, then `Full`, `Starved`, `Yielded`, `Done`, `Failed` or `Broken`.
    Send,
    /// Say when the socket has room: `Room` follows.
    AwaitRoom,
    /// Say that nothing more will be sent (shut down for writing).
    FinishSending,
    /// Call off what is under way for the socket: `Cancelled` follows.
    Cancel,
    /// Close the socket. The last action.
    Close(Why),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    Nothing,
    Room,
    Bytes,
    Turn,
}

/// One connection.
#[derive(Debug)]
pub struct Serving {
    session: Session,
    /// Why it ends, as soon as nothing is under way.
    leaving: Option<Why>,
    gone: bool,
    receiving: bool,
    awaiting_room: bool,
    cancelling: bool,
    /// Something is to be sent, a block or only words.
    sending: bool,
    /// A block is at hand.
    block: bool,
    wait: Wait,
    /// When the last byte was sent, or sending began.
    since: Time,
}

impl Serving {
    /// A connection that was accepted at `now`.
    #[must_use]
    pub fn new(me: PeerId, now: Time) -> Self {
        Self {
            session: Session::incoming(me, now),
            leaving: None,
            gone: false,
            receiving: false,
            awaiting_room: false,
            cancelling: false,
            sending: false,
            block: false,
            wait: Wait::Nothing,
            since: now,
        }
    }

    /// The session, for what it is asked.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The session, for what is told to it and what it says.
    pub const fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// True where another block follows the one at hand.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.session.requests() > 0
    }

    /// When a `Tick` is due, unless something happens before. `stall`: how long the peer may take no byte.
    #[must_use]
    pub fn deadline(&self, limits: &Limits, stall: Duration) -> Option<Time> {
        if self.leaving.is_some() || self.gone {
            return None;
        }
        let session = self.session.deadline(limits);
        match self.stalls(stall) {
            Some(stalls) => Some(session.map_or(stalls, |due| due.min(stalls))),
            None => session,
        }
    }

    fn stalls(&self, stall: Duration) -> Option<Time> {
        let waits = self.sending.then_some(self.wait)?;
        match waits {
            Wait::Room => Some(self.since + stall),
            Wait::Bytes => Some(self.since + STARVED),
            Wait::Nothing | Wait::Turn => None,
        }
    }

    /// Takes note of what has happened. What concerns requests of HTTP alone has no effect.
    pub fn apply(&mut self, event: Event, limits: &Limits, stall: Duration, now: Time) {
        let mut tell = |event| self.session.apply(event, limits, now);
        match event {
            Event::Received => self.receiving = false,
            Event::Ended => {
                self.receiving = false;
                tell(session::Event::Ended);
            }
            Event::Broken => {
                self.receiving = false;
                tell(session::Event::Broken);
            }
            Event::Room => {
                self.awaiting_room = false;
                self.wakes(Wait::Room);
            }
            Event::Cancelled => {
                self.cancelling = false;
                self.receiving = false;
                self.awaiting_room = false;
            }
            Event::Arrived => {
                self.wakes(Wait::Bytes);
                self.wakes(Wait::Turn);
            }
            Event::Answering { .. } => {
                if !self.sending {
                    self.sending = true;
                    self.wait = Wait::Nothing;
                    self.since = now;
                }
            }
            Event::Sent => {
                if self.block {
                    tell(session::Event::Progress);
                }
                self.since = now;
            }
            Event::Full => self.wait = Wait::Room,
            Event::Starved => self.wait = Wait::Bytes,
            Event::Yielded => self.wait = Wait::Turn,
            Event::Done => {
                self.sending = false;
                if std::mem::take(&mut self.block) {
                    tell(session::Event::Uploaded);
                }
            }
            Event::Failed(_) => tell(session::Event::Lost),
            Event::Tick => {
                tell(session::Event::Tick);
                if self.stalls(stall).is_some_and(|due| now >= due) {
                    self.leaving.get_or_insert(Why::Stalled);
                }
            }
            Event::Drain => tell(session::Event::Drain),
            Event::Stop => tell(session::Event::Stop),
            // Peers ask again wherever they were cut off.
            Event::Resolving | Event::HandOver | Event::Last => {}
        }
    }

    fn wakes(&mut self, from: Wait) {
        if self.wait == from {
            self.wait = Wait::Nothing;
        }
    }

    /// What to do now; `input` is shortened by what was read of it. To be called, and done, until it says
    /// [`Action::Rest`] or is the last one.
    pub fn next(&mut self, input: &mut &[u8], limits: &Limits, now: Time) -> Action {
        if self.gone {
            return Action::Rest;
        }
        if let Some(why) = self.leaving {
            return self.leave(why);
        }
        self.session.mute(self.sending);
        loop {
            return match self.session.next(input, limits, now) {
                session::Action::Rest => break,
                session::Action::Say => Action::Say,
                session::Action::Upload(block) => {
                    self.session.apply(session::Event::Uploading, limits, now);
                    self.block = true;
                    Action::Begin(block)
                }
                session::Action::Find {
                    swarm,
                    peer,
                    suffix,
                } => Action::Find {
                    swarm,
                    peer,
                    suffix,
                },
                session::Action::Opened { peer } => Action::Opened { peer },
                session::Action::Interested(wants) => Action::Interested(wants),
                session::Action::Wanted(piece) => Action::Wanted(piece),
                // It comes when nothing is being sent.
                session::Action::Finish => Action::FinishSending,
                session::Action::Close(why) => {
                    self.leaving = Some(why);
                    self.leave(why)
                }
                // What the peer has is nothing to one that asks it for nothing.
                session::Action::HasPieces
                | session::Action::Has(_)
                | session::Action::Coming(_)
                | session::Action::Choked
                | session::Action::Unchoked
                | session::Action::Data { .. }
                | session::Action::Late(_) => continue,
            };
        }
        match self.wait {
            Wait::Nothing if self.sending => return Action::Send,
            Wait::Room if self.sending && !self.awaiting_room => {
                self.awaiting_room = true;
                return Action::AwaitRoom;
            }
            _ => {}
        }
        if !self.receiving && input.is_empty() && self.session.reads(limits) {
            self.receiving = true;
            return Action::Receive;
        }
        Action::Rest
    }

    fn leave(&mut self, why: Why) -> Action {
        if self.cancelling {
            return Action::Rest;
        }
        if self.receiving || self.awaiting_room {
            self.cancelling = true;
            return Action::Cancel;
        }
        self.gone = true;
        Action::Close(why)
    }
}

#[cfg(test)]
mod tests;
