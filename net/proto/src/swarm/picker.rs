//! Which peer is asked for which piece of one content. The rule: a piece is asked of a peer that says it has it, of one
//! peer at a time until the end game, and whoever sent a bad one can be named.
//!
//! Events go in, actions come out; the picker knows no socket, no clock and no byte of the content. What is decided:
//!
//! - **Order.** What a client waits for comes first, by its deadline; among what is alike, what fewest peers have; among
//!   that, by the seed, so that peers who see the same do not all ask for the same.
//! - **Whom.** The nearest: a peer of the group or of the internet is asked only for what no peer of the site has, unless
//!   these bring nothing, or it is urgent. Then preferred devices, then who owes least for its rate.
//! - **How much.** As much as a peer sends in a round trip and 0.3 s, two blocks at least.
//! - **Slow peers.** A peer with nothing else to bring takes over a piece from one that would need twice as long for the
//!   rest of it: what nobody was asked for yet. What came is kept, and what the other was asked for still comes from it.
//!   When nothing is left that nobody is asked for (the end game), single blocks are asked for a second time, and called
//!   off when they come. Who owes and keeps silent is snubbed for a while, and left after the third time.
//! - **Trust.** Who has not sent a good piece yet is asked for one at a time, and has no part in those of others.
//! - **Blame.** A bad piece from one peer is its fault, and it is dropped. One from several makes each of them a suspect:
//!   the piece is asked for again of one peer alone, and suspects never again have a part in a piece with others. When
//!   one of them sends a bad piece by itself, what it was suspected of counts too.
//! - **Links.** What is at the other end of a link, or on its way there, is left to it as far as it keeps up: `links`
//!   says how.
//! - **The origin.** It is left alone while peers bring enough (`DOMinBackgroundQoS`), and while the delay lasts and a peer
//!   may still be of use. What no peer has is shared out: `outside` says how.

mod arrive;
mod ask;
mod event;
mod links;
mod outside;
mod peer;
mod piece;
mod rate;

pub use event::{Action, Event, Newcomer, PeerNo, Settings, Who};

use crate::Time;
use crate::swarm::{Bitfield, PeerId};
use larder_content::span::{piece_count, piece_len};
use outside::Members;
use peer::{Peer, SNUBS_MAX};
use piece::{Piece, Stand};
use rate::Recent;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Contents below this are not worth a swarm (seed: "Download mode", Simple).
pub const SIMPLE_BYTES: u64 = 10 << 20;

/// Time is looked at so often while something is wanted.
const TICK: Duration = Duration::from_millis(500);

/// Far more rounds of asking than one event was ever seen to cause.
const ROUNDS_MAX: usize = 20;

/// So many pieces of which nobody is asked for the rest are kept half.
const HALVES_MAX: usize = 16;

/// Whether a download does without peers: the coordinator is not reached, or the content is small (seed: "Download
/// mode", Simple).
#[must_use]
pub const fn is_simple(coordinator_reached: bool, length: u64) -> bool {
    !coordinator_reached || length < SIMPLE_BYTES
}

/// The peers and the wanted pieces of one content.
#[derive(Debug)]
pub struct Picker {
    settings: Settings,
    me: PeerId,
    seed: u64,
    began: Time,
    /// Since when peers have had something that is wanted, without a break.
    offered_since: Option<Time>,
    /// Pieces that the origin is asked for, or may be.
    going_out: usize,
    /// Bytes of pieces that are left to links.
    at_links_bytes: u64,
    /// Pieces that the origin has because links would bring them too late.
    spilled: usize,
    /// So many bytes links were seen to bring in time.
    links_bear_bytes: u64,
    here: Bitfield,
    /// All that is wanted and not here.
    pieces: BTreeMap<u32, Piece>,
    open: BTreeSet<u32>,
    at_peers: BTreeSet<u32>,
    peers: BTreeMap<PeerNo, Peer>,
    /// How many peers have each piece, by how near they are.
    spread: Vec<[u32; 3]>,
    /// Had a part in so many bad pieces with others.
    suspects: BTreeMap<Who, u32>,
    from_peers: Recent,
    /// What came in all; of the origin, when a piece is whole.
    recent: Recent,
    /// When the last block came, by how near the peer is.
    last_from: [Time; 3],
    /// How long the origin takes for one of our pieces.
    origin_pace: Duration,
    members: Members,
    wasted_bytes: u64,
    next_tick: Time,
    /// What this event calls for, besides what it says itself.
    refill: bool,
    review: bool,
    loose: Vec<u32>,
    actions: Vec<Action>,
}

impl Picker {
    /// A picker of a content of which some pieces are here. `seed` decides between what is alike.
    #[must_use]
    pub fn new(settings: Settings, me: PeerId, here: Bitfield, seed: u64, now: Time) -> Self {
        let pieces = piece_count(settings.length) as usize;
        Self {
            settings,
            me,
            seed,
            began: now,
            offered_since: None,
            going_out: 0,
            at_links_bytes: 0,
            spilled: 0,
            links_bear_bytes: links::BEAR_MIN,
            here,
            pieces: BTreeMap::new(),
            open: BTreeSet::new(),
            at_peers: BTreeSet::new(),
            peers: BTreeMap::new(),
            spread: vec![[0; 3]; pieces],
            suspects: BTreeMap::new(),
            from_peers: Recent::default(),
            recent: Recent::default(),
            last_from: [now; 3],
            origin_pace: Duration::ZERO,
            members: Members::default(),
            wasted_bytes: 0,
            next_tick: now + TICK,
            refill: false,
            review: false,
            loose: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// Takes note of what happened, and says what is to be done, in order.
    #[must_use]
    pub fn apply(&mut self, event: Event, now: Time) -> Vec<Action> {
        match event {
            Event::Joined(no, new) => self.joined(no, new, now),
            Event::Left(no) => self.left(no, now),
            Event::HasPieces(no, pieces) => self.has_pieces(no, pieces, now),
            Event::Has(no, piece) => self.has(no, piece, now),
            Event::Coming(no, piece) => self.coming(no, piece, now),
            Event::Choked(no) => {
                self.free(no, now, false);
                self.with(no, |peer| peer.choked = true);
            }
            Event::Unchoked(no) => {
                self.with(no, |peer| peer.choked = false);
                self.fill(no, now);
            }
            Event::Received(no, block) => self.received(no, block, now),
            Event::Late(no, block) => {
                if let Some(peer) = self.peers.get_mut(&no)
                    && peer.owes_no_more(block)
                {
                    self.not_asked(block);
                    self.snub(no, now);
                }
            }
            Event::Wanted {
                piece,
                deadline,
                background,
            } => self.wanted(piece, deadline, background, now),
            Event::Unwanted(piece) => self.gone(piece, true),
            Event::AtOrigin(piece) => self.at_origin(piece, now),
            Event::Landed(piece) => self.landed(piece, now),
            Event::Bad(piece) => self.bad(piece, now),
            Event::Tick => self.tick(now),
        }
        self.settle(now);
        std::mem::take(&mut self.actions)
    }

    /// When an [`Event::Tick`] is due; `None` while nothing is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        (!self.pieces.is_empty()).then_some(self.next_tick)
    }

    /// Whether a piece that is wanted is left to peers now.
    #[must_use]
    pub fn is_left(&self, piece: u32, now: Time) -> bool {
        let piece = self.pieces.get(&piece);
        piece
            .and_then(|piece| piece.left_until)
            .is_some_and(|until| until > now)
    }

    /// Bytes that came from peers and were of no use: bad, double, or of pieces that came from elsewhere.
    #[must_use]
    pub const fn wasted_bytes(&self) -> u64 {
        self.wasted_bytes
    }

    /// The pieces that are here, as far as the picker was told.
    #[must_use]
    pub const fn here(&self) -> &Bitfield {
        &self.here
    }

    /// Bytes a second that came from peers lately.
    #[must_use]
    pub fn bytes_per_second(&mut self, now: Time) -> u64 {
        self.from_peers.per_second(now)
    }

    fn joined(&mut self, no: PeerNo, new: Newcomer, now: Time) {
        let peer = Peer::new(new, self.here.pieces(), now);
        self.peers.insert(no, peer);
        self.review = true;
    }

    fn left(&mut self, no: PeerNo, now: Time) {
        self.free(no, now, false);
        self.withdraw(no);
        self.peers.remove(&no);
        self.review = true;
    }

    fn has_pieces(&mut self, no: PeerNo, pieces: Bitfield, now: Time) {
        if pieces.pieces() != self.here.pieces() {
            return;
        }
        // What it no longer has can not be asked of it.
        self.free(no, now, true);
        self.withdraw(no);
        let wanted = |piece: &u32| self.pieces.contains_key(piece);
        let useful = pieces.iter().filter(wanted).count();
        let Some(peer) = self.peers.get_mut(&no).filter(|peer| !peer.dropped) else {
            return;
        };
        let kind = peer.new.kind as usize;
        for piece in pieces.iter() {
            self.spread[piece as usize][kind] += 1;
        }
        peer.is_of_use(u32::try_from(useful).unwrap_or(u32::MAX), now);
        peer.pieces = pieces;
        self.interest(no);
        self.fill(no, now);
        self.review = true;
    }

    fn has(&mut self, no: PeerNo, piece: u32, now: Time) {
        let Some(peer) = self.peers.get_mut(&no).filter(|peer| !peer.dropped) else {
            return;
        };
        if !peer.pieces.set(piece) {
            return;
        }
        (peer.news, peer.has_said) = (now, true);
        peer.coming.remove(&piece);
        self.spread[piece as usize][peer.new.kind as usize] += 1;
        if self.pieces.contains_key(&piece) {
            peer.is_of_use(peer.useful + 1, now);
            self.interest(no);
            if self.open.contains(&piece) {
                self.fill(no, now);
            }
        }
    }

    /// A peer's pieces do not count any more.
    fn withdraw(&mut self, no: PeerNo) {
        if let Some(peer) = self.peers.get_mut(&no) {
            let kind = peer.new.kind as usize;
            let none = Bitfield::new(self.here.pieces());
            for piece in std::mem::replace(&mut peer.pieces, none).iter() {
                self.spread[piece as usize][kind] -= 1;
            }
            peer.useful = 0;
        }
    }

    fn wanted(&mut self, number: u32, deadline: Time, background: bool, now: Time) {
        if number >= self.here.pieces() || self.here.has(number) {
            return;
        }
        if let Some(piece) = self.pieces.get_mut(&number) {
            (piece.deadline, piece.background) = (deadline, background);
            piece.left_until = None;
            if let Stand::AtOrigin(_) = piece.stand {
                self.reopen(number);
            }
        } else {
            if self.pieces.is_empty() {
                self.next_tick = now + TICK;
            }
            let len = piece_len(self.settings.length, number);
            let own = outside::score(self.me, number);
            let mut piece = Piece::new(len, own, self.stretch(number), deadline, background);
            piece.owner = self.members.owner(self.me, number);
            self.pieces.insert(number, piece);
            self.open.insert(number);
            self.useful(number, Some(now));
        }
        self.leave_or_not(number, now);
        self.refill = true;
    }

    /// The stretch in which a piece lies, where all of the content is wanted. None is shorter than the rest: of few pieces
    /// at its end few devices would be the owners, and each of these would have to give them to all others.
    fn stretch(&self, number: u32) -> u32 {
        let Some(least) = self.settings.stretch_pieces else {
            return 0;
        };
        let pieces = u64::from(self.here.pieces().max(1));
        let stretches = (pieces / u64::from(least.max(1))).max(1);
        // Below the number of pieces.
        u32::try_from(u64::from(number) * stretches / pieces).unwrap_or(u32::MAX)
    }

    /// Whoever has a piece is of more use from then on, or of less.
    fn useful(&mut self, number: u32, more_from: Option<Time>) {
        let having = self.peers.iter_mut();
        let having: Vec<PeerNo> = having
            .filter(|(_, peer)| peer.pieces.has(number))
            .map(|(no, peer)| {
                match more_from {
                    Some(now) => peer.is_of_use(peer.useful + 1, now),
                    None => peer.useful = peer.useful.saturating_sub(1),
                }
                *no
            })
            .collect();
        for no in having {
            self.interest(no);
        }
    }

    fn interest(&mut self, no: PeerNo) {
        if let Some(peer) = self.peers.get_mut(&no) {
            let interested = peer.useful > 0;
            if interested != peer.interested && !peer.dropped {
                peer.interested = interested;
                self.actions.push(Action::Interest(no, interested));
            }
        }
    }

    fn tick(&mut self, now: Time) {
        self.next_tick = now + TICK;
        let silent: Vec<PeerNo> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_silent(now))
            .map(|(no, _)| *no)
            .collect();
        for no in silent {
            self.snub(no, now);
        }
        (self.refill, self.review) = (true, true);
    }

    /// A peer owes something and keeps silent: others are asked.
    fn snub(&mut self, no: PeerNo, now: Time) {
        self.free(no, now, true);
        self.review = true;
        if let Some(peer) = self.peers.get_mut(&no).filter(|peer| !peer.dropped) {
            peer.snub(now);
            if peer.snubs >= SNUBS_MAX {
                self.drop_peer(no);
            }
        }
    }

    fn drop_peer(&mut self, no: PeerNo) {
        self.withdraw(no);
        self.with(no, |peer| peer.dropped = true);
        self.actions.push(Action::Drop(no));
    }

    /// A peer is asked for nothing any more.
    fn free(&mut self, no: PeerNo, now: Time, call_off: bool) {
        let Some(peer) = self.peers.get_mut(&no) else {
            return;
        };
        let asked = std::mem::take(&mut peer.asked);
        let brings = std::mem::take(&mut peer.brings);
        peer.asked_bytes = 0;
        peer.rate.end(now);
        for block in asked {
            self.not_asked(block);
            if call_off {
                self.actions.push(Action::CallOff(no, block));
            }
        }
        for number in brings {
            // In the end game another may be asked for a part of it already.
            let is_heir = |peer: &Peer| peer.asked.iter().any(|block| block.piece == number);
            let heir = self.peers.iter_mut().find(|(_, peer)| is_heir(peer));
            let heir = heir.map(|(heir, peer)| {
                peer.brings.push(number);
                *heir
            });
            match (heir, self.pieces.get_mut(&number)) {
                (Some(heir), Some(piece)) => piece.stand = Stand::AtPeer(heir),
                _ => self.reopen(number),
            }
        }
    }

    /// Nobody is asked for a piece any more.
    fn reopen(&mut self, number: u32) {
        if let Some(piece) = self.pieces.get_mut(&number) {
            piece.stand = Stand::Open;
            self.at_peers.remove(&number);
            self.open.insert(number);
            self.loose.push(number);
            self.refill = true;
        }
    }

    fn with(&mut self, no: PeerNo, change: impl FnOnce(&mut Peer)) {
        if let Some(peer) = self.peers.get_mut(&no) {
            change(peer);
        }
    }

    /// Does what several events call for, once.
    fn settle(&mut self, now: Time) {
        if std::mem::take(&mut self.review) {
            self.look_outside(now);
        }
        // From whom something was taken over may have room for something else, and so on; not for ever.
        for _ in 0..ROUNDS_MAX {
            if !std::mem::take(&mut self.refill) {
                break;
            }
            let room = self.peers.iter().filter(|(_, peer)| {
                peer.useful > 0 && peer.has_room(now, self.settings.block_bytes)
            });
            let mut room: Vec<_> = room
                .map(|(no, peer)| (peer.preference(now, *no), *no))
                .collect();
            room.sort();
            for (_, no) in room {
                self.fill(no, now);
            }
        }
        let loose = std::mem::take(&mut self.loose);
        if !loose.is_empty() {
            self.forget_halves();
        }
        for number in loose {
            if let Some(piece) = self.pieces.get_mut(&number)
                && piece.stand == Stand::Open
                && std::mem::take(&mut piece.taken)
            {
                self.leave_or_not(number, now);
                self.actions.push(Action::GiveBack(number));
            }
        }
    }

    /// What is half here and nobody is asked for takes memory: only so much is kept.
    fn forget_halves(&mut self) {
        let halves = self.open.iter().filter(|number| {
            let piece = self.pieces.get(number);
            piece.is_some_and(|piece| !piece.from.is_empty())
        });
        let halves: Vec<u32> = halves.copied().collect();
        let too_many = halves.len().saturating_sub(HALVES_MAX);
        for number in halves.into_iter().take(too_many) {
            self.discard(number);
        }
    }

    /// A number of this picker's own for a piece: decides between what is alike.
    fn tie(&self, piece: u32) -> u64 {
        mix(self.seed ^ u64::from(piece))
    }
}

/// A number in which every bit depends on every bit of the other (the end of SplitMix64, by Steele, Lea and Flood).
const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
