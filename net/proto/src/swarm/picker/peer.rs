//! One peer: what it has, what it owes, how fast it is. The rule: what is thought of a peer comes from what it sent.

use super::event::{Newcomer, PeerNo};
use super::rate::Rate;
use crate::Time;
use crate::swarm::{Bitfield, Block};
use crate::tracker::message::PeerType;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A peer is asked for as much as it sends in this time and in a round trip: enough that it never waits for the next
/// request, and little enough that what is urgent gets its turn.
const AHEAD: Duration = Duration::from_millis(300);

/// Blocks that a peer is asked for at least: one on the way, and one behind it.
const AHEAD_BLOCKS_MIN: u64 = 2;

/// Bytes that a peer is asked for at most.
const AHEAD_BYTES_MAX: u64 = 8 << 20;

/// A peer that owes something and sends nothing for so long is snubbed, however slow it is.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Nobody is snubbed sooner.
const SILENCE_MIN: Duration = Duration::from_secs(8);

/// Who has what is wanted and has sent nothing for so long, or lacks it and has got nothing new, is of no use: twice the time
/// for which a peer holds a slot while others wait.
const HOPE: Duration = Duration::from_secs(20);

/// So long a peer that was snubbed is not asked; twice as long each further time.
const SNUBBED: Duration = Duration::from_secs(15);

/// So often a peer may be snubbed in a row before it is left.
pub(super) const SNUBS_MAX: u32 = 3;

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) new: Newcomer,
    pub(super) pieces: Bitfield,
    pub(super) choked: bool,
    /// What it is asked for and has not sent, in the order of asking.
    pub(super) asked: VecDeque<Block>,
    pub(super) asked_bytes: u64,
    /// The pieces that it is to send, of which some block may not be asked for yet.
    pub(super) brings: Vec<u32>,
    pub(super) rate: Rate,
    /// Of the last block, or of the asking where nothing was owed before it.
    pub(super) heard: Time,
    pub(super) snubs: u32,
    pub(super) snubbed_until: Time,
    /// How many wanted pieces it has.
    pub(super) useful: u32,
    /// Since when it has some, without a break.
    pub(super) useful_since: Time,
    /// When it last sent a block.
    pub(super) sent: Time,
    pub(super) interested: bool,
    /// When it last said that it has one more piece, or joined.
    pub(super) news: Time,
    /// It has told of one more piece since it joined, or of one on its way: it fetches this content.
    pub(super) has_said: bool,
    /// A piece in which it had a part was good. Until then it is asked for one piece at a time, and none of others.
    pub(super) proven: bool,
    /// A piece of its own is being proved.
    pub(super) on_trial: bool,
    /// It sent a bad piece, or keeps silent: it is asked no more.
    pub(super) dropped: bool,
    /// What is on its way to it from the origin, and since when that is known; of peers on links alone.
    pub(super) coming: BTreeMap<u32, Time>,
}

impl Peer {
    pub(super) fn new(new: Newcomer, pieces: u32, now: Time) -> Self {
        Self {
            new,
            pieces: Bitfield::new(pieces),
            choked: true,
            asked: VecDeque::new(),
            asked_bytes: 0,
            brings: Vec::new(),
            rate: Rate::default(),
            heard: now,
            snubs: 0,
            snubbed_until: Time::default(),
            useful: 0,
            useful_since: now,
            sent: now,
            interested: false,
            news: now,
            has_said: false,
            proven: false,
            on_trial: false,
            dropped: false,
            coming: BTreeMap::new(),
        }
    }

    /// Bytes a second.
    pub(super) fn per_second(&self, now: Time) -> u64 {
        // What is usual, until it is known: these only decide how much is asked for at first.
        let guess = match self.new.kind {
            // Until it is known, it is worth finding out.
            _ if self.new.link_cost.is_some() => 12_500_000,
            PeerType::Lan => 2_500_000,
            PeerType::Group => 1_000_000,
            PeerType::Internet => 300_000,
        };
        self.rate.per_second(now, guess).max(1)
    }

    /// Whether it may be asked for anything.
    pub(super) fn is_usable(&self, now: Time) -> bool {
        !self.choked && !self.dropped && now >= self.snubbed_until
    }

    /// Whether it may be asked for one more block.
    pub(super) fn has_room(&self, now: Time, block_bytes: u32) -> bool {
        if !self.is_usable(now) {
            return false;
        }
        let ahead = AHEAD + self.new.round_trip.min(SILENCE_MIN);
        let of_rate = bytes_in(self.per_second(now), ahead);
        let least = AHEAD_BLOCKS_MIN * u64::from(block_bytes);
        self.asked_bytes < of_rate.clamp(least, AHEAD_BYTES_MAX.max(least))
    }

    /// How long it would take for so many more bytes, with all that it owes before them.
    pub(super) fn time_for(&self, now: Time, bytes: u64) -> Duration {
        let bytes = u128::from(self.asked_bytes + bytes);
        let micros = bytes * 1_000_000 / u128::from(self.per_second(now));
        self.new.round_trip + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// How long it may keep silent.
    pub(super) fn patience(&self, now: Time) -> Duration {
        let block = self.asked.front().map_or(0, |block| u64::from(block.len));
        let micros = block * 1_000_000 / self.per_second(now);
        // Several times what a block takes: others are served by turns.
        let expected = self.new.round_trip + Duration::from_micros(micros);
        (4 * expected).clamp(SILENCE_MIN, SILENCE_MAX)
    }

    /// It owes something, and nothing was heard of it for too long.
    pub(super) fn is_silent(&self, now: Time) -> bool {
        !self.asked.is_empty() && now.since(self.heard) > self.patience(now)
    }

    /// Whether it may still bring something of what is wanted: it has some and sends, or has not had the time to; or it
    /// lacks all of it, and is getting pieces itself.
    pub(super) fn gives_hope(&self, now: Time) -> bool {
        let since = match self.useful {
            0 if self.pieces.is_full() => return false,
            0 => self.news,
            _ => self.useful_since.max(self.sent),
        };
        !self.dropped && now < since + HOPE
    }

    /// How many wanted pieces it has by now.
    pub(super) fn is_of_use(&mut self, useful: u32, now: Time) {
        if self.useful == 0 {
            self.useful_since = now;
        }
        self.useful = useful;
    }

    /// Whether it may begin with one more piece.
    pub(super) fn may_begin(&self) -> bool {
        self.proven || (self.brings.is_empty() && !self.on_trial)
    }

    pub(super) fn snub(&mut self, now: Time) {
        self.snubs += 1;
        self.snubbed_until = now + SNUBBED * (1 << (self.snubs - 1).min(4));
    }

    /// Who is asked first: the nearest, of those on links who costs least, then who keeps everything, then who owes least for its rate.
    pub(super) fn preference(&self, now: Time, no: PeerNo) -> impl Ord + use<> {
        let preferred = Reverse(self.new.preferred);
        let cost = self.new.link_cost;
        (self.new.kind, cost, preferred, self.time_for(now, 0), no)
    }

    pub(super) fn asked_for(&mut self, now: Time, block: Block) {
        if self.asked.is_empty() {
            self.heard = now;
        }
        self.rate.begin(now);
        self.asked.push_back(block);
        self.asked_bytes += u64::from(block.len);
    }

    /// It does not owe a block any more; false where it did not.
    pub(super) fn owes_no_more(&mut self, block: Block) -> bool {
        let Some(at) = self.asked.iter().position(|asked| *asked == block) else {
            return false;
        };
        self.asked.remove(at);
        self.asked_bytes -= u64::from(block.len);
        true
    }
}

fn bytes_in(per_second: u64, time: Duration) -> u64 {
    let bytes = u128::from(per_second) * time.as_millis() / 1000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
