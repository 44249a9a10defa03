//! One wanted piece: where it stands and what has come of it. The rule: whoever had a part in it is remembered until it
//! is proved, so that blame can be decided.

use super::event::{PeerNo, Who};
use crate::Time;
use crate::swarm::Block;

/// No piece is put together from more peers than this: with many, a bad one says little of each.
pub(super) const FROM_MAX: usize = 3;

/// Deadlines that lie no further apart than this are alike: rarity decides.
const CLASS_MICROS: u64 = 2_000_000;

/// Where a piece stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stand {
    /// Nobody is asked for it.
    Open,
    /// This peer is asked for it; in the end game others are, too.
    AtPeer(PeerNo),
    /// The origin is asked for it.
    AtOrigin(Time),
    /// All of it is here, and is being proved.
    Whole,
}

/// Where a block stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Missing,
    /// So many peers are asked for it.
    Asked(u32),
    Here,
}

#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) len: u32,
    /// How far in front it goes of what this peer asks the origin for, among what is equally wanted.
    pub(super) own: u64,
    /// The stretch of the content in which it lies, where all of it is wanted; else zero.
    pub(super) stretch: u32,
    pub(super) deadline: Time,
    pub(super) background: bool,
    pub(super) stand: Stand,
    /// Taken from the scheduler, and not given back.
    pub(super) taken: bool,
    /// Its blocks; empty before it is first asked for.
    pub(super) parts: Vec<Part>,
    /// Whose blocks are here.
    pub(super) from: Vec<Who>,
    /// It came bad from several: only one may send it now.
    pub(super) solo: bool,
    /// The scheduler was told to leave it to peers until then. `None`: it was told nothing yet, and whoever put it there
    /// may have left it to peers until this picker has seen it.
    pub(super) left_until: Option<Time>,
    /// Since when it is left to links, without a break.
    pub(super) at_links_since: Option<Time>,
    /// It is among [what is left to links](super::Picker::at_links_bytes).
    pub(super) is_counted: bool,
    /// Links would have brought it too late: it is the origin's.
    pub(super) is_spilled: bool,
    /// Which peer was asked to bring it in, and when.
    pub(super) put_to: Option<(PeerNo, Time)>,
    /// Who of the site is to bring it in from outside, and who of all is to ask the origin; `None`: this peer.
    pub(super) owner: Owner,
}

/// See [`Piece::owner`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Owner {
    pub(super) of_site: Option<PeerNo>,
    pub(super) of_all: Option<PeerNo>,
    /// Who of those that links join.
    pub(super) of_links: Option<PeerNo>,
}

impl Piece {
    pub(super) fn new(len: u32, own: u64, stretch: u32, deadline: Time, background: bool) -> Self {
        Self {
            len,
            own,
            stretch,
            deadline,
            background,
            stand: Stand::Open,
            taken: false,
            parts: Vec::new(),
            from: Vec::new(),
            solo: false,
            left_until: None,
            at_links_since: None,
            is_counted: false,
            is_spilled: false,
            put_to: None,
            owner: Owner::default(),
        }
    }

    /// The order in which pieces are wanted, before rarity: what is waited for, then the stretch or the deadline, as far
    /// as it matters.
    pub(super) fn urgency(&self) -> (bool, u32, u64) {
        let class = self.deadline.as_micros() / CLASS_MICROS;
        (self.background, self.stretch, class)
    }

    /// The peer that is asked for it.
    pub(super) fn at_peer(&self) -> Option<PeerNo> {
        match self.stand {
            Stand::AtPeer(peer) => Some(peer),
            _ => None,
        }
    }

    /// Lays out its blocks, where that was not done yet.
    pub(super) fn lay_out(&mut self, block_bytes: u32) {
        if self.parts.is_empty() {
            let parts = self.len.div_ceil(block_bytes.max(1)) as usize;
            self.parts = vec![Part::Missing; parts];
        }
    }

    /// The `nth` block of piece `number`.
    pub(super) fn block(&self, number: u32, nth: usize, block_bytes: u32) -> Block {
        let nth = u32::try_from(nth).unwrap_or(u32::MAX);
        let offset = nth.saturating_mul(block_bytes).min(self.len);
        Block {
            piece: number,
            offset,
            len: block_bytes.min(self.len - offset),
        }
    }

    /// Which of its blocks that is, if it is one.
    pub(super) fn part_of(&self, block: Block, block_bytes: u32) -> Option<usize> {
        let nth = (block.offset / block_bytes.max(1)) as usize;
        let is_one = nth < self.parts.len() && self.block(block.piece, nth, block_bytes) == block;
        is_one.then_some(nth)
    }

    /// The first block that nobody is asked for.
    pub(super) fn missing(&self) -> Option<usize> {
        self.parts.iter().position(|part| *part == Part::Missing)
    }

    /// Bytes that are not here.
    pub(super) fn bytes_left(&self, block_bytes: u32) -> u64 {
        if self.parts.is_empty() {
            return u64::from(self.len);
        }
        let left = self.parts.iter().enumerate();
        left.filter(|(_, part)| **part != Part::Here)
            .map(|(nth, _)| u64::from(self.block(0, nth, block_bytes).len))
            .sum()
    }

    /// Bytes that are here.
    pub(super) fn bytes_here(&self, block_bytes: u32) -> u64 {
        u64::from(self.len) - self.bytes_left(block_bytes)
    }

    pub(super) fn is_whole(&self) -> bool {
        !self.parts.is_empty() && self.parts.iter().all(|part| *part == Part::Here)
    }

    /// One peer less is asked for a block.
    pub(super) fn asked_less(&mut self, nth: usize) {
        if let Some(part) = self.parts.get_mut(nth)
            && let Part::Asked(peers) = *part
        {
            *part = match peers {
                0 | 1 => Part::Missing,
                more => Part::Asked(more - 1),
            };
        }
    }
}
