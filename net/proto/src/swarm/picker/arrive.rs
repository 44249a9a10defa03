//! What becomes of what comes. The rule: a block counts once, a piece only after it was proved, and whoever had a part in
//! a bad one hears of it.

use super::event::{Action, PeerNo, Who};
use super::piece::{FROM_MAX, Part, Piece, Stand};
use super::{Picker, Time};
use crate::swarm::Block;

impl Picker {
    pub(super) fn received(&mut self, no: PeerNo, block: Block, now: Time) {
        let bytes = u64::from(block.len);
        let Some(peer) = self.peers.get_mut(&no).filter(|peer| !peer.dropped) else {
            return;
        };
        if !peer.owes_no_more(block) {
            self.wasted_bytes += bytes;
            return;
        }
        let idle = peer.asked.is_empty();
        peer.rate.received(now, bytes, idle);
        (peer.heard, peer.sent) = (now, now);
        peer.snubs = 0;
        let who = peer.new.who;
        self.last_from[peer.new.kind as usize] = now;
        self.from_peers.received(now, bytes);
        self.recent.received(now, bytes);
        if !self.keep(no, who, block) {
            self.wasted_bytes += bytes;
        }
        self.fill(no, now);
    }

    /// Puts a block in its place; false where it is of no use.
    fn keep(&mut self, no: PeerNo, who: Who, block: Block) -> bool {
        let mut mixes = self.may_mix(block.piece, who);
        let bringer = self.pieces.get(&block.piece).and_then(Piece::at_peer);
        if !mixes && bringer == Some(no) {
            // Since it began, others had a part who turned out to be suspects, or were too many. It goes on alone, or else
            // it would be asked for the same for ever.
            self.discard(block.piece);
            mixes = true;
        }
        let Some(piece) = self.pieces.get_mut(&block.piece) else {
            return false;
        };
        let Some(nth) = piece.part_of(block, self.settings.block_bytes) else {
            return false;
        };
        let Part::Asked(peers) = piece.parts[nth] else {
            return false;
        };
        if !mixes {
            piece.asked_less(nth);
            return false;
        }
        piece.parts[nth] = Part::Here;
        self.actions.push(Action::Keep(no, block));
        if !piece.from.contains(&who) {
            piece.from.push(who);
        }
        let whole = piece.is_whole();
        if whole {
            if let Some(bringer) = piece.at_peer() {
                self.brings_no_more(bringer, block.piece);
                self.with(bringer, |peer| peer.on_trial = true);
            }
            if let Some(piece) = self.pieces.get_mut(&block.piece) {
                piece.stand = Stand::Whole;
            }
        }
        if peers > 1 {
            self.call_off(|asked| asked == block);
        }
        if whole {
            self.actions.push(Action::Whole(block.piece));
        }
        true
    }

    /// Whether this peer's blocks may be put together with what is here of a piece.
    pub(super) fn may_mix(&self, number: u32, who: Who) -> bool {
        let Some(piece) = self.pieces.get(&number) else {
            return false;
        };
        let alone = piece.from.iter().all(|from| *from == who);
        let suspect = |who: &Who| self.suspects.contains_key(who);
        let room = piece.from.contains(&who) || piece.from.len() < FROM_MAX;
        alone || (!piece.solo && room && !suspect(&who) && !piece.from.iter().any(suspect))
    }

    pub(super) fn landed(&mut self, number: u32, now: Time) {
        if number < self.here.pieces() {
            self.here.set(number);
        }
        if let Some(piece) = self.pieces.get(&number)
            && let Stand::AtOrigin(since) = piece.stand
        {
            self.recent.received(now, u64::from(piece.len));
            // The next one may go out.
            self.review = true;
            let took = now.since(since);
            self.origin_pace = match self.origin_pace.is_zero() {
                true => took,
                false => (self.origin_pace * 3 + took) / 4,
            };
        }
        if let Some(piece) = self.pieces.get(&number)
            && piece.stand == Stand::Whole
        {
            let (at_links_since, len) = (piece.at_links_since, piece.len);
            self.tried(&piece.from.clone(), true);
            if let Some(since) = at_links_since {
                self.links_were_tried(since, len, true, now);
            }
        }
        self.gone(number, false);
    }

    /// A piece is not wanted any more, as it is here or as nobody waits for it.
    pub(super) fn gone(&mut self, number: u32, give_back: bool) {
        self.call_off(|asked| asked.piece == number);
        let Some(piece) = self.pieces.remove(&number) else {
            return;
        };
        if let Some(no) = piece.at_peer() {
            self.brings_no_more(no, number);
        }
        self.spilled -= usize::from(piece.is_spilled);
        self.open.remove(&number);
        self.at_peers.remove(&number);
        if piece.stand != Stand::Whole {
            self.wasted_bytes += piece.bytes_here(self.settings.block_bytes);
        }
        if give_back && piece.taken {
            self.actions.push(Action::GiveBack(number));
        }
        self.useful(number, None);
        self.refill = true;
    }

    /// The origin brings a piece.
    pub(super) fn at_origin(&mut self, number: u32, now: Time) {
        let Some(piece) = self.pieces.get(&number) else {
            return;
        };
        if piece.stand == Stand::Whole {
            return;
        }
        if let Some(no) = piece.at_peer() {
            self.brings_no_more(no, number);
        }
        self.call_off(|asked| asked.piece == number);
        self.discard(number);
        self.at_no_link(number, now);
        self.open.remove(&number);
        self.at_peers.remove(&number);
        if let Some(piece) = self.pieces.get_mut(&number) {
            piece.taken = false;
            piece.stand = Stand::AtOrigin(now);
        }
        self.refill = true;
    }

    /// A whole piece is not what it should be.
    pub(super) fn bad(&mut self, number: u32, now: Time) {
        let Some(piece) = self.pieces.get_mut(&number) else {
            return;
        };
        if piece.stand != Stand::Whole {
            return;
        }
        let from = std::mem::take(&mut piece.from);
        piece.parts.clear();
        self.wasted_bytes += u64::from(piece.len);
        piece.solo |= from.len() > 1;
        self.tried(&from, false);
        self.reopen(number);
        match from.as_slice() {
            [who] => self.blame(*who, now),
            several => {
                for who in several {
                    *self.suspects.entry(*who).or_default() += 1;
                }
            }
        }
    }

    /// A piece was proved in which these had a part.
    fn tried(&mut self, from: &[Who], good: bool) {
        let peers = self.peers.values_mut();
        for peer in peers.filter(|peer| from.contains(&peer.new.who)) {
            peer.proven |= good;
            peer.on_trial = false;
        }
        self.refill = true;
    }

    /// A peer sent a bad piece that nobody else had a part in.
    fn blame(&mut self, who: Who, now: Time) {
        let suspected = self.suspects.get_mut(&who).map_or(0, std::mem::take);
        // Whatever else it had a part in is not to be trusted to be told from the rest.
        self.suspects.insert(who, 0);
        self.actions.push(Action::Blame(who, 1 + suspected));
        let halves: Vec<u32> = self
            .pieces
            .iter()
            .filter(|(_, piece)| piece.stand != Stand::Whole && piece.from.contains(&who))
            .map(|(number, _)| *number)
            .collect();
        let connected = self.peers.iter();
        let connected: Vec<PeerNo> = connected
            .filter(|(_, peer)| peer.new.who == who && !peer.dropped)
            .map(|(no, _)| *no)
            .collect();
        for no in connected {
            self.free(no, now, false);
            self.drop_peer(no);
        }
        for number in halves {
            self.discard(number);
        }
        self.review = true;
    }

    /// What has come of a piece is of no use.
    pub(super) fn discard(&mut self, number: u32) {
        let block_bytes = self.settings.block_bytes;
        if let Some(piece) = self.pieces.get_mut(&number)
            && !piece.from.is_empty()
        {
            self.wasted_bytes += piece.bytes_here(block_bytes);
            forget(piece);
            self.actions.push(Action::Discard(number));
        }
    }

    pub(super) fn brings_no_more(&mut self, no: PeerNo, number: u32) {
        self.with(no, |peer| peer.brings.retain(|brought| *brought != number));
        self.at_peers.remove(&number);
    }

    /// Nobody is asked for these blocks any more.
    pub(super) fn call_off(&mut self, which: impl Fn(Block) -> bool) {
        let mut off = Vec::new();
        for (no, peer) in &self.peers {
            let asked = peer.asked.iter().filter(|block| which(**block));
            off.extend(asked.map(|block| (*no, *block)));
        }
        for (no, block) in off {
            self.call_off_one(no, block);
        }
    }

    pub(super) fn call_off_one(&mut self, no: PeerNo, block: Block) {
        if let Some(peer) = self.peers.get_mut(&no) {
            peer.owes_no_more(block);
            self.not_asked(block);
            self.actions.push(Action::CallOff(no, block));
            // It has room for something else.
            self.refill = true;
        }
    }

    /// A peer is not asked for a block any more.
    pub(super) fn not_asked(&mut self, block: Block) {
        if let Some(piece) = self.pieces.get_mut(&block.piece)
            && let Some(nth) = piece.part_of(block, self.settings.block_bytes)
        {
            piece.asked_less(nth);
        }
    }
}

fn forget(piece: &mut Piece) {
    piece.from.clear();
    for part in &mut piece.parts {
        if *part == Part::Here {
            *part = Part::Missing;
        }
    }
}
