//! One connection between two peers, from its first byte to its last, whoever opened it: events and bytes in, actions
//! out. The rule: what a peer may cost is bounded before it is spent, whatever it says; who breaks the rules is left.
//!
//! Whoever drives it reads bytes, hands them to [`Session::next`] and does what that says until it says
//! [`Action::Rest`]; tells what happens by [`Session::apply`], and then asks for the next action again; and comes back
//! with [`Event::Tick`] at [`Session::deadline`].
//!
//! What is decided here, where the description leaves it open (facts: clients, section 3):
//! - The initiator speaks first; the other answers only if it shares that content, and closes without a word otherwise.
//! - A request is an error where it is empty, larger than [`Limits::block_bytes_max`], reaches over the end of its piece,
//!   or names a piece that was not offered. Requests in excess of [`Limits::requests_max`] are not read yet.
//! - Who asks before the first unchoke is taken to be interested, and its requests wait for the unchoke. After a choke of
//!   ours, requests are passed over: they have crossed with it.
//! - A request on a connection that we opened is never answered: on those nobody is ever unchoked.
//! - The block at hand is always finished, also when it is cancelled, or its peer choked.
//! - Bytes that were not asked for are an error, but for blocks that were called off or choked away, which may have been
//!   on their way.

mod asking;
mod event;

pub use event::{Action, Event, Limits, Offer, Why};

use crate::swarm::PeerId;
use crate::swarm::bitfield::{Bitfield, bytes_of};
use crate::swarm::wire::{
    Block, Decoder, Handshake, Incoming, Message, PIECES_MAX, write_bitfield,
};
use crate::time::Time;
use event::earlier;
use larder_content::ContentId;
use larder_content::span::{piece_count, piece_len};
use std::collections::VecDeque;
use std::time::Duration;

/// How long a peer may take to close after the last block.
const LINGER: Duration = Duration::from_secs(2);

/// With so much unsaid a peer is not read from: who does not listen is not listened to.
const OUT_BYTES_MAX: usize = 64 << 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The peer's handshake has not come.
    Greeting,
    /// The content is being looked up.
    Finding(Handshake),
    Open,
    /// Nothing more is said; the peer may read the rest.
    Finishing,
    Over(Why),
    Gone,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    me: PeerId,
    /// The end of our handshake.
    suffix: [u8; 4],
    /// The peer, as soon as it has said who it is.
    peer: Option<PeerId>,
    /// What is shared. On a connection that came in, nothing until it was looked up.
    swarm: Option<ContentId>,
    length: u64,
    /// What the peer may ask for.
    ours: Bitfield,
    /// What it says that it has.
    theirs: Bitfield,
    /// A bitfield that is coming in.
    filling: Vec<u8>,
    /// Pieces that have landed since the content was asked for.
    landed: Vec<u32>,
    decoder: Decoder,
    phase: Phase,
    since: Time,
    heard: Time,
    said: Time,
    /// To be written, as soon as no block is at hand.
    out: Vec<u8>,
    /// What was said before is being sent.
    muted: bool,
    is_incoming: bool,
    ended: bool,
    draining: bool,
    /// To be told: both have said who they are.
    opened: bool,
    // What the peer wants of us.
    interested: bool,
    choking: bool,
    unchoked_once: bool,
    requests: VecDeque<Block>,
    uploading: bool,
    // What we want of the peer.
    want: bool,
    choked: bool,
    /// In the order they were asked for, and when.
    asked: VecDeque<(Block, Time)>,
    /// When the last bytes came that were asked for.
    delivered: Time,
    /// Called off, the latest last.
    void: VecDeque<Block>,
    late: VecDeque<Block>,
    /// The block that is coming in, where it is wanted.
    coming: Option<Block>,
}

impl Session {
    /// A connection that was accepted at `now`.
    #[must_use]
    pub fn incoming(me: PeerId, now: Time) -> Self {
        Self::new(me, now, true, None, 0, Bitfield::new(0))
    }

    /// A connection that was opened at `now` to get pieces of a content of `length` bytes. `have`: the pieces that are
    /// here, which the peer is told; of as many as the content has.
    #[must_use]
    pub fn outgoing(me: PeerId, swarm: ContentId, length: u64, have: Bitfield, now: Time) -> Self {
        Self::outgoing_marked(me, swarm, length, have, [0; 4], now)
    }

    /// The same, where the end of the handshake says something to the other.
    #[must_use]
    pub fn outgoing_marked(
        me: PeerId,
        swarm: ContentId,
        length: u64,
        have: Bitfield,
        suffix: [u8; 4],
        now: Time,
    ) -> Self {
        let mut session = Self::new(me, now, false, Some(swarm), length, have);
        session.suffix = suffix;
        session.theirs = Bitfield::new(piece_count(length));
        session.greet(swarm);
        session
    }

    fn new(
        me: PeerId,
        now: Time,
        is_incoming: bool,
        swarm: Option<ContentId>,
        length: u64,
        ours: Bitfield,
    ) -> Self {
        Self {
            me,
            suffix: [0; 4],
            peer: None,
            swarm,
            length,
            ours,
            theirs: Bitfield::new(0),
            filling: Vec::new(),
            landed: Vec::new(),
            decoder: Decoder::new(),
            phase: Phase::Greeting,
            since: now,
            heard: now,
            said: now,
            out: Vec::new(),
            muted: false,
            is_incoming,
            ended: false,
            draining: false,
            opened: false,
            interested: false,
            choking: true,
            unchoked_once: false,
            requests: VecDeque::new(),
            uploading: false,
            want: false,
            choked: true,
            asked: VecDeque::new(),
            delivered: now,
            void: VecDeque::new(),
            late: VecDeque::new(),
            coming: None,
        }
    }

    /// Who the peer says it is; None before its handshake.
    #[must_use]
    pub const fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    /// The content; None on a connection that came in and has not said.
    #[must_use]
    pub const fn swarm(&self) -> Option<ContentId> {
        self.swarm
    }

    /// The pieces that the peer says it has.
    #[must_use]
    pub const fn theirs(&self) -> &Bitfield {
        &self.theirs
    }

    /// True where the peer wants something of us and may not ask, or may.
    #[must_use]
    pub const fn is_interested(&self) -> bool {
        self.interested
    }

    /// True where both have said who they are, and neither has left.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Requests of the peer that wait for their turn.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.len()
    }

    /// Whether more bytes are of use now. Where not, they are to be left in the socket.
    #[must_use]
    pub fn reads(&self, limits: &Limits) -> bool {
        match self.phase {
            Phase::Greeting | Phase::Finishing => !self.ended,
            Phase::Open => !self.ended && self.listens(limits),
            Phase::Finding(_) | Phase::Over(_) | Phase::Gone => false,
        }
    }

    fn listens(&self, limits: &Limits) -> bool {
        self.requests.len() < limits.requests_max && self.out.len() < OUT_BYTES_MAX
    }

    /// While something is being sent, nothing is to be said, nor a block begun: so what waits is bounded here.
    pub const fn mute(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// Moves what is to be said to the end of `out`. To be called when [`Action::Say`] or [`Action::Upload`] asks for it.
    pub fn write(&mut self, out: &mut Vec<u8>, now: Time) {
        out.append(&mut self.out);
        self.said = now;
    }

    /// When an [`Event::Tick`] is due, unless something happens before.
    #[must_use]
    pub fn deadline(&self, limits: &Limits) -> Option<Time> {
        match self.phase {
            Phase::Greeting => Some(self.since + limits.silence),
            Phase::Finishing => Some(self.since + LINGER),
            Phase::Open => {
                let speak = (self.out.is_empty() && !self.uploading)
                    .then_some(self.said + limits.keep_alive);
                let late = self.late_at(limits);
                earlier(Some(self.heard + limits.idle), earlier(speak, late))
            }
            Phase::Finding(_) | Phase::Over(_) | Phase::Gone => None,
        }
    }

    /// Takes note of what has happened.
    pub fn apply(&mut self, event: Event, limits: &Limits, now: Time) {
        match event {
            Event::Found(found) => self.found(found, now),
            Event::Landed(piece) if matches!(self.phase, Phase::Finding(_)) => {
                self.landed.push(piece);
            }
            Event::Landed(piece) => {
                if self.ours.set(piece) && self.phase == Phase::Open && !self.theirs.has(piece) {
                    self.say(Message::Have(piece));
                }
            }
            Event::Coming(piece) => {
                let is_news = !self.ours.has(piece) && !self.theirs.has(piece);
                if self.phase == Phase::Open && piece < self.ours.pieces() && is_news {
                    self.say(Message::Coming(piece));
                }
            }
            Event::Wanted(piece) => {
                let lacks = piece < self.theirs.pieces() && !self.theirs.has(piece);
                if self.phase == Phase::Open && lacks {
                    self.say(Message::Wanted(piece));
                }
            }
            Event::Unchoke => self.unchoke(),
            Event::Choke => self.choke(),
            Event::Uploading => {
                self.uploading = !self.requests.is_empty();
                self.requests.pop_front();
                self.heard = now;
            }
            Event::Progress => (self.heard, self.said) = (now, now),
            Event::Uploaded => {
                self.uploading = false;
                (self.heard, self.said) = (now, now);
            }
            Event::Want(want) => {
                if self.want != want && self.phase == Phase::Open {
                    self.want = want;
                    self.say(if want {
                        Message::Interested
                    } else {
                        Message::NotInterested
                    });
                }
            }
            Event::Ask(block) => self.ask(block, limits, now),
            Event::CallOff(block) => self.call_off(block),
            Event::Ended => {
                self.ended = true;
                if self.phase != Phase::Open {
                    self.end(Why::Ended);
                }
            }
            Event::Broken => self.end(Why::Broken),
            Event::Tick => self.tick(limits, now),
            Event::Drain => self.drain(),
            Event::Stop => self.end(Why::Stopped),
            Event::Lost => self.end(Why::Lost),
        }
    }

    /// What to do now, by what was noted and the bytes of `input`, which is shortened by what was read of it. To be
    /// called, and done, until it says [`Action::Rest`] or is the last one.
    pub fn next<'b>(&mut self, input: &mut &'b [u8], limits: &Limits, now: Time) -> Action<'b> {
        loop {
            match self.phase {
                Phase::Over(why) => {
                    self.phase = Phase::Gone;
                    return Action::Close(why);
                }
                Phase::Gone | Phase::Finding(_) => return Action::Rest,
                Phase::Finishing => {
                    *input = &[];
                    return Action::Rest;
                }
                Phase::Greeting | Phase::Open => {}
            }
            if let Some(peer) = self.peer.filter(|_| std::mem::take(&mut self.opened)) {
                return Action::Opened { peer };
            }
            if let Some(block) = self.late.pop_front() {
                return Action::Late(block);
            }
            if self.listens(limits) {
                match self.decoder.next(input) {
                    Ok(Some(incoming)) => {
                        self.heard = now;
                        match self.hear(incoming, limits, now) {
                            Ok(Some(action)) => return action,
                            Ok(None) => {}
                            Err(why) => self.end(why),
                        }
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        self.end(error.into());
                        continue;
                    }
                }
            }
            if self.uploading || self.muted {
                return Action::Rest;
            }
            if let Some(block) = self.requests.front().filter(|_| !self.choking) {
                return Action::Upload(*block);
            }
            if !self.out.is_empty() {
                return Action::Say;
            }
            if self.ended {
                self.end(Why::Ended);
                continue;
            }
            if self.draining && self.phase == Phase::Open {
                self.phase = Phase::Finishing;
                self.since = now;
                return Action::Finish;
            }
            return Action::Rest;
        }
    }

    fn hear<'b>(
        &mut self,
        incoming: Incoming<'b>,
        limits: &Limits,
        now: Time,
    ) -> Result<Option<Action<'b>>, Why> {
        match incoming {
            Incoming::Handshake(handshake) => self.met(handshake),
            Incoming::Message(message) => self.told(message, limits),
            Incoming::Bitfield { at, of, bytes } => {
                if of != bytes_of(self.theirs.pieces()) {
                    return Err(Why::Bitfield(super::bitfield::BitfieldError::Length {
                        found: of.into(),
                        pieces: self.theirs.pieces(),
                    }));
                }
                if at == 0 {
                    self.filling.clear();
                }
                self.filling.extend_from_slice(bytes);
                if self.filling.len() < of as usize {
                    return Ok(None);
                }
                let filled = std::mem::take(&mut self.filling);
                self.theirs = Bitfield::from_wire(self.theirs.pieces(), filled)?;
                Ok(Some(Action::HasPieces))
            }
            Incoming::Piece { block, at, bytes } => self.data(block, at, bytes, now),
            Incoming::Discard { .. } => Ok(None),
        }
    }

    fn met<'b>(&mut self, handshake: Handshake) -> Result<Option<Action<'b>>, Why> {
        let Handshake {
            swarm,
            peer,
            suffix,
        } = handshake;
        if peer == self.me {
            return Err(Why::Itself);
        }
        self.peer = Some(peer);
        if self.is_incoming {
            self.phase = Phase::Finding(handshake);
            return Ok(Some(Action::Find {
                swarm,
                peer,
                suffix,
            }));
        }
        if self.swarm != Some(swarm) {
            return Err(Why::OtherSwarm);
        }
        self.open();
        Ok(None)
    }

    fn found(&mut self, found: Option<Offer>, now: Time) {
        let Phase::Finding(handshake) = self.phase else {
            return;
        };
        let fits = |offer: &Offer| {
            let pieces = piece_count(offer.length);
            offer.pieces.pieces() == pieces && pieces <= PIECES_MAX
        };
        let Some(offer) = found.filter(fits) else {
            return self.end(Why::UnknownSwarm);
        };
        self.swarm = Some(handshake.swarm);
        self.length = offer.length;
        self.theirs = Bitfield::new(offer.pieces.pieces());
        self.ours = offer.pieces;
        for piece in std::mem::take(&mut self.landed) {
            self.ours.set(piece);
        }
        self.heard = now;
        self.greet(handshake.swarm);
        self.open();
    }

    fn greet(&mut self, swarm: ContentId) {
        let handshake = Handshake {
            swarm,
            peer: self.me,
            suffix: self.suffix,
        };
        self.out.extend_from_slice(&handshake.to_bytes());
    }

    fn open(&mut self) {
        self.phase = Phase::Open;
        self.opened = true;
        if self.ours.count() > 0 {
            write_bitfield(&mut self.out, self.ours.bytes());
        }
    }

    fn told<'b>(&mut self, message: Message, limits: &Limits) -> Result<Option<Action<'b>>, Why> {
        match message {
            Message::KeepAlive => Ok(None),
            Message::Choke => {
                self.choked = true;
                while let Some((block, _)) = self.asked.pop_front() {
                    self.void(block);
                }
                Ok(Some(Action::Choked))
            }
            Message::Unchoke => {
                self.choked = false;
                Ok(Some(Action::Unchoked))
            }
            Message::Interested => Ok(self.takes_interest(true)),
            Message::NotInterested => Ok(self.takes_interest(false)),
            Message::Have(piece) if piece >= self.theirs.pieces() => Err(Why::NoSuchPiece(piece)),
            Message::Have(piece) => Ok(self.theirs.set(piece).then_some(Action::Has(piece))),
            Message::Request(block) => {
                if !self.is_block(block, limits) {
                    return Err(Why::NoSuchBlock(block));
                }
                if !self.ours.has(block.piece) {
                    return Err(Why::NotOffered(block.piece));
                }
                if !self.is_incoming || self.draining || (self.choking && self.unchoked_once) {
                    return Ok(None);
                }
                self.requests.push_back(block);
                Ok(self.takes_interest(true))
            }
            Message::Coming(piece) => {
                let is_news = piece < self.theirs.pieces() && !self.theirs.has(piece);
                Ok(is_news.then_some(Action::Coming(piece)))
            }
            Message::Wanted(piece) => {
                let is_lacking = piece < self.ours.pieces() && !self.ours.has(piece);
                let may_ask = self.is_incoming && !self.draining;
                Ok((is_lacking && may_ask).then_some(Action::Wanted(piece)))
            }
            Message::Cancel(block) => {
                if let Some(at) = self.requests.iter().position(|held| *held == block) {
                    self.requests.remove(at);
                }
                Ok(None)
            }
        }
    }

    fn takes_interest<'b>(&mut self, interested: bool) -> Option<Action<'b>> {
        let is_news = self.interested != interested;
        self.interested = interested;
        is_news.then_some(Action::Interested(interested))
    }

    /// Whether these are bytes of one piece, not too many.
    fn is_block(&self, block: Block, limits: &Limits) -> bool {
        let piece = u64::from(piece_len(self.length, block.piece));
        block.piece < self.ours.pieces()
            && block.len > 0
            && block.len <= limits.block_bytes_max
            && u64::from(block.offset) + u64::from(block.len) <= piece
    }

    fn unchoke(&mut self) {
        if self.choking && self.is_incoming && self.phase == Phase::Open && !self.draining {
            self.choking = false;
            self.unchoked_once = true;
            self.say(Message::Unchoke);
        }
    }

    fn choke(&mut self) {
        if !self.choking && self.phase == Phase::Open {
            self.choking = true;
            self.requests.clear();
            self.say(Message::Choke);
        }
    }

    fn say(&mut self, message: Message) {
        message.write(&mut self.out);
    }

    fn tick(&mut self, limits: &Limits, now: Time) {
        match self.phase {
            Phase::Greeting if now >= self.since + limits.silence => self.end(Why::Silent),
            Phase::Finishing if now >= self.since + LINGER => self.end(Why::Stopped),
            Phase::Open => {
                if now >= self.heard + limits.idle {
                    return self.end(Why::Idle);
                }
                self.call_off_late(limits, now);
                let silent = self.out.is_empty() && !self.uploading;
                if silent && now >= self.said + limits.keep_alive {
                    self.say(Message::KeepAlive);
                }
            }
            _ => {}
        }
    }

    fn drain(&mut self) {
        self.draining = true;
        self.requests.clear();
        if matches!(self.phase, Phase::Greeting | Phase::Finding(_)) {
            self.end(Why::Stopped);
        }
    }

    fn end(&mut self, why: Why) {
        if !matches!(self.phase, Phase::Over(_) | Phase::Gone) {
            self.phase = Phase::Over(why);
        }
    }
}

#[cfg(test)]
mod tests;
