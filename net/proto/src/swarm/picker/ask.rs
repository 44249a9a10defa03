//! Who is asked for what next. The rule: a peer goes on with what it brings, then begins what is most wanted, then helps
//! the slow, and only then does work twice.

use super::event::{Action, PeerNo};
use super::peer::Peer;
use super::piece::{Part, Piece, Stand};
use super::{Picker, Time};
use crate::swarm::Block;
use crate::tracker::message::PeerType;
use std::cmp::Reverse;
use std::time::Duration;

/// The rest of a piece is taken over from a peer that needs longer than this, and twice as long as the other.
const SLOW: Duration = Duration::from_secs(1);

/// In the end game a block is asked for a second time where that is so much sooner, and four times as soon: what is on
/// its way when it is called off comes all the same, for nothing.
const SOONER: Duration = Duration::from_millis(2000);

/// Peers that are nearer, and have what is wanted, and brought nothing for so long do not keep others from being asked.
const NEARER_SILENT: Duration = Duration::from_secs(3);

/// Where a cache host is near, peers elsewhere are asked when nothing has come from anywhere for so long.
const CACHE_HOST_SILENT: Duration = Duration::from_secs(10);

impl Picker {
    /// Asks a peer for as much as it is good for.
    pub(super) fn fill(&mut self, no: PeerNo, now: Time) {
        while let Some(peer) = self.peers.get(&no)
            && peer.has_room(now, self.settings.block_bytes)
        {
            let block = self.next_brought(no).or_else(|| {
                let begun = match self.choose(no, now) {
                    Some(number) => self.begin(no, number),
                    None => self.take_over(no, now),
                };
                begun.then(|| self.next_brought(no)).flatten()
            });
            let Some(block) = block.or_else(|| self.second(no, now)) else {
                return;
            };
            self.ask(no, block, now);
        }
    }

    fn ask(&mut self, no: PeerNo, block: Block, now: Time) {
        if let Some(peer) = self.peers.get_mut(&no)
            && let Some(piece) = self.pieces.get_mut(&block.piece)
            && let Some(nth) = piece.part_of(block, self.settings.block_bytes)
        {
            piece.parts[nth] = match piece.parts[nth] {
                Part::Asked(peers) => Part::Asked(peers + 1),
                Part::Missing | Part::Here => Part::Asked(1),
            };
            peer.asked_for(now, block);
            self.actions.push(Action::Ask(no, block));
        }
    }

    /// The next block of what a peer brings already.
    fn next_brought(&self, no: PeerNo) -> Option<Block> {
        let brings = &self.peers.get(&no)?.brings;
        brings.iter().find_map(|number| {
            let piece = self.pieces.get(number)?;
            let nth = piece.missing()?;
            Some(piece.block(*number, nth, self.settings.block_bytes))
        })
    }

    /// The piece that this peer should begin.
    fn choose(&self, no: PeerNo, now: Time) -> Option<u32> {
        if self.at_peers.len() >= self.settings.pieces_max {
            return None;
        }
        let peer = self.peers.get(&no).filter(|peer| peer.may_begin())?;
        let open = self.open.iter().filter(|number| peer.pieces.has(**number));
        let open = open.filter(|number| self.may_bring(peer, **number, now));
        open.copied().min_by_key(|number| {
            let urgency = self.pieces.get(number).map(Piece::urgency);
            let rarity: u32 = self.spread[*number as usize].iter().sum();
            (urgency, rarity, self.tie(*number))
        })
    }

    /// Whether a peer this far away may be asked for a piece: not, where one that is nearer has it, or is to get it.
    fn may_bring(&self, peer: &Peer, number: u32, now: Time) -> bool {
        let kind = peer.new.kind;
        let Some(piece) = self.pieces.get(&number).filter(|_| kind != PeerType::Lan) else {
            return kind == PeerType::Lan;
        };
        if self.is_urgent(piece, now) {
            return true;
        }
        let nearer = kind as usize;
        if self.spread[number as usize][..nearer].iter().sum::<u32>() > 0 {
            let silent = |last: &Time| now.since(*last) > NEARER_SILENT;
            return self.last_from[..nearer].iter().all(silent);
        }
        if peer.new.link_cost.is_some() {
            // It is cheaper than whatever is asked by HTTP.
            return piece.owner.of_site.is_none();
        }
        if !self.settings.share_out {
            // A cache host is nearer than they are.
            let mut recent = self.recent;
            return recent.per_second(now) == 0 && now > self.began + CACHE_HOST_SILENT;
        }
        piece.owner.of_site.is_none()
    }

    fn begin(&mut self, no: PeerNo, number: u32) -> bool {
        let Some(who) = self.peers.get(&no).map(|peer| peer.new.who) else {
            return false;
        };
        if !self.may_mix(number, who) {
            self.discard(number);
        }
        let Some(piece) = self.pieces.get_mut(&number) else {
            return false;
        };
        piece.lay_out(self.settings.block_bytes);
        piece.stand = Stand::AtPeer(no);
        if !piece.taken {
            piece.taken = true;
            self.actions.push(Action::Take(number));
        }
        self.open.remove(&number);
        self.at_peers.insert(number);
        self.with(no, |peer| peer.brings.push(number));
        true
    }

    /// Takes a piece over from a slow peer; false where there is none to be taken.
    fn take_over(&mut self, no: PeerNo, now: Time) -> bool {
        let Some((number, slow)) = self.slowest(no, now) else {
            return false;
        };
        // What it was asked for already is on its way, as likely as not.
        self.brings_no_more(slow, number);
        self.begin(no, number)
    }

    /// The piece that another peer is slowest with, where this one would be much faster.
    fn slowest(&self, no: PeerNo, now: Time) -> Option<(u32, PeerNo)> {
        // In the end game nothing is taken away, as blocks are asked for twice.
        if self.open.is_empty() {
            return None;
        }
        let peer = self.peers.get(&no).filter(|peer| peer.proven)?;
        let has = self.at_peers.iter().filter(|n| peer.pieces.has(**n));
        let slow = has.filter_map(|number| {
            let piece = self.pieces.get(number)?;
            let bringer = piece.at_peer().filter(|bringer| *bringer != no)?;
            let other = self.peers.get(&bringer)?;
            if piece.missing().is_none() || !self.may_share(*number, other, peer) {
                return None;
            }
            let left = piece.bytes_left(self.settings.block_bytes);
            let theirs = other.time_for(now, 0);
            let ours = peer.time_for(now, left);
            let nearer = peer.new.kind <= other.new.kind || self.may_bring(peer, *number, now);
            (theirs > SLOW && theirs > 2 * ours && nearer).then_some((theirs, *number, bringer))
        });
        let slowest = slow.max_by_key(|(time, number, _)| (*time, Reverse(*number)));
        slowest.map(|(_, number, bringer)| (number, bringer))
    }

    /// Whether one peer may bring a part of what another brings.
    fn may_share(&self, number: u32, bringer: &Peer, peer: &Peer) -> bool {
        let suspect = |peer: &Peer| self.suspects.contains_key(&peer.new.who);
        let solo = self.pieces.get(&number).is_none_or(|piece| piece.solo);
        !solo && !suspect(bringer) && !suspect(peer) && self.may_mix(number, peer.new.who)
    }

    /// In the end game: a block that another peer is asked for, where this one would be much faster.
    fn second(&self, no: PeerNo, now: Time) -> Option<Block> {
        if !self.open.is_empty() {
            return None;
        }
        let block_bytes = self.settings.block_bytes;
        let peer = self.peers.get(&no).filter(|peer| peer.proven)?;
        let ours = peer.time_for(now, u64::from(block_bytes));
        let has = self.at_peers.iter().filter(|n| peer.pieces.has(**n));
        let late = has.filter_map(|number| {
            let piece = self.pieces.get(number)?;
            let bringer = piece.at_peer().filter(|bringer| *bringer != no)?;
            let other = self.peers.get(&bringer)?;
            let theirs = other.time_for(now, 0);
            let nearer = peer.new.kind <= other.new.kind || self.may_bring(peer, *number, now);
            if !nearer || !self.may_share(*number, other, peer) || theirs < 4 * ours + SOONER {
                return None;
            }
            // From the end, where the other has furthest to go.
            let parts = piece.parts.iter().enumerate().rev();
            let mut blocks = parts
                .filter(|(_, part)| matches!(part, Part::Missing | Part::Asked(1)))
                .map(|(nth, _)| piece.block(*number, nth, block_bytes));
            let block = blocks.find(|block| !peer.asked.contains(block))?;
            Some((theirs, block))
        });
        late.max_by_key(|(time, block)| (*time, Reverse(*block)))
            .map(|(_, block)| block)
    }
}
