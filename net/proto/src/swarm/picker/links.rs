//! What is left to links: lines to appliances elsewhere that cost less than the origin. The rule: what is at the other
//! end, or on its way there, does not come from the origin a second time, as long as the link keeps up; and a link that
//! does not is a matter of seconds for nobody.
//!
//! Appliances that want the same content at once tell each other what they are asking the origin for ("coming"). Each
//! leaves that to the other, and gets it when it is there. So that two do not begin with the same piece at the same
//! moment, each piece has an owner among those who fetch (see `outside`), who begins at once. The others ask it to, as it
//! may not want the piece yet, and give it a moment to say that it does; where it does not, they go on.
//!
//! As much is left to all links together as they bring in [`AHEAD`], or as much as they were seen to bear: that grows with
//! each piece that comes by a link within that time, and shrinks with each that takes longer. A rate alone would not do:
//! on a full line a link shows what the requests to the origin leave it, and not what it could do in their place. What goes
//! beyond it is the origin's, a few pieces at a time: enough to keep the line busy, and little enough that they do not slow
//! the link down and so make for more of the same. What is urgent, or was announced too long ago, is the origin's as well.

use super::event::{Action, PeerNo};
use super::peer::Peer;
use super::piece::Piece;
use super::{Picker, Time};
use std::time::Duration;

/// As much is left to links as they bring in this time.
const AHEAD: Duration = Duration::from_secs(5);

/// Links are left so many bytes at least, or they would never show what they can.
pub(super) const BEAR_MIN: u64 = 4 * larder_content::PIECE_BYTES as u64;

/// And no more than so many for what they have shown.
const BEAR_MAX: u64 = 64 * larder_content::PIECE_BYTES as u64;

/// So many pieces that links would bring too late are with the origin at a time.
const SPILLED_MAX: usize = 2;

/// The owner of a piece has so long to say that it is on its way, and a word's way to it and back besides.
const OWNER_FIRST: Duration = Duration::from_millis(150);

/// Who is connected and fetches the content says so within this time.
pub(super) const SAYS_WITHIN: Duration = Duration::from_secs(1);

/// What was announced is waited for so long, and for three times as long as the origin needs for one of our own pieces.
const COMING: Duration = Duration::from_secs(4);

/// A piece is left to a link so long at a time: it is looked at again before.
const LEFT_FOR: Duration = Duration::from_secs(2);

/// It is said again when no more than this is left of it.
const RENEWED_AT: Duration = Duration::from_secs(1);

/// What is done with a piece where links are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AtLinks {
    /// It is left to them until then.
    Left(Time),
    /// The same; and this peer, which owns it, is to be asked to bring it in.
    PutTo(PeerNo, Time),
    /// Links would bring it too late, as they have enough to bring.
    Spilled,
}

impl Picker {
    /// A peer on a link is getting a piece from the origin.
    pub(super) fn coming(&mut self, no: PeerNo, number: u32, now: Time) {
        let Some(peer) = self.peers.get_mut(&no).filter(|peer| !peer.dropped) else {
            return;
        };
        let is_on_link = peer.new.link_cost.is_some();
        if !is_on_link || number >= self.here.pieces() || peer.pieces.has(number) {
            return;
        }
        // Said again it is as old as before, so that nobody is held up by words.
        peer.coming.entry(number).or_insert(now);
        self.review |= !peer.has_said;
        (peer.news, peer.has_said) = (now, true);
        if self.open.contains(&number) {
            self.leave_or_not(number, now);
        }
    }

    /// Bytes that peers on links were asked for and have not sent.
    pub(super) fn owed_by_links(&self) -> u64 {
        let on_links = self.on_links();
        on_links.map(|peer| peer.asked_bytes).sum()
    }

    /// Whether the other ends of all links are there that are expected.
    pub(super) fn links_are_there(&self) -> bool {
        self.settings.links > 0 && self.on_links().count() >= self.settings.links
    }

    fn on_links(&self) -> impl Iterator<Item = &Peer> {
        let peers = self.peers.values();
        peers.filter(|peer| peer.new.link_cost.is_some() && !peer.dropped)
    }

    /// Whether a piece is left to links; None where it is not.
    pub(super) fn at_links(&self, number: u32, piece: &Piece, now: Time) -> Option<AtLinks> {
        // Who is near has it, or it can not wait.
        if self.spread[number as usize][0] > 0 || self.is_urgent(piece, now) {
            return None;
        }
        if piece.is_spilled {
            return Some(AtLinks::Spilled);
        }
        let has_room = piece.is_counted
            || self.spilled >= SPILLED_MAX
            || self.at_links_bytes < self.links_may_owe(now);
        let unless_spilled = |at_links| Some(if has_room { at_links } else { AtLinks::Spilled });
        let waits_for = COMING.max(3 * self.origin_pace);
        let brings = |peer: &Peer| {
            let fresh = |since: &Time| now.since(*since) < waits_for;
            let speaks = !peer.choked || fresh(&peer.news);
            let has = peer.pieces.has(number) && speaks;
            now >= peer.snubbed_until && (has || peer.coming.get(&number).is_some_and(fresh))
        };
        if self.on_links().any(brings) {
            let fresh = |until: &Time| *until > now + RENEWED_AT && *until <= now + LEFT_FOR;
            let until = piece.left_until.filter(fresh).unwrap_or(now + LEFT_FOR);
            return unless_spilled(AtLinks::Left(until));
        }
        let no = piece.owner.of_links?;
        let owner = self.peers.get(&no)?;
        let answers_within = OWNER_FIRST + owner.new.round_trip.min(COMING);
        match piece.put_to {
            Some((asked, since)) if asked == no => {
                let until = since + answers_within;
                (now < until).then_some(AtLinks::Left(until))
            }
            _ => unless_spilled(AtLinks::PutTo(no, now + answers_within)),
        }
    }

    /// Leaves a piece to links, as [`Picker::at_links`] says; false where it is the origin's.
    pub(super) fn leave_to_links(&mut self, number: u32, at_links: AtLinks, now: Time) -> bool {
        let Some(piece) = self.pieces.get_mut(&number) else {
            return true;
        };
        let until = match at_links {
            AtLinks::Left(until) => until,
            AtLinks::PutTo(owner, until) => {
                piece.put_to = Some((owner, now));
                self.actions.push(Action::Wanted(owner, number));
                until
            }
            AtLinks::Spilled => {
                self.spilled += usize::from(!std::mem::replace(&mut piece.is_spilled, true));
                return false;
            }
        };
        if !std::mem::replace(&mut piece.is_counted, true) {
            self.at_links_bytes += u64::from(piece.len);
        }
        piece.at_links_since.get_or_insert(now);
        if piece.left_until.replace(until) != Some(until) {
            self.actions.push(Action::LeaveToLink(number, until));
        }
        true
    }

    /// A piece is not left to links any more.
    pub(super) fn at_no_link(&mut self, number: u32, now: Time) {
        let Some(piece) = self.pieces.get_mut(&number) else {
            return;
        };
        let Some(since) = piece.at_links_since.take() else {
            return;
        };
        let len = piece.len;
        if std::mem::take(&mut piece.is_counted) {
            self.at_links_bytes = self.at_links_bytes.saturating_sub(len.into());
        }
        self.links_were_tried(since, len, false, now);
    }

    /// A piece is here by a link, or is not left to links any more: what they bear is known better by now.
    pub(super) fn links_were_tried(&mut self, since: Time, len: u32, came: bool, now: Time) {
        let bytes = u64::from(len);
        if now.since(since) >= AHEAD {
            self.links_bear_bytes = self.links_bear_bytes.saturating_sub(bytes).max(BEAR_MIN);
        } else if came {
            self.links_bear_bytes = (self.links_bear_bytes + bytes).min(BEAR_MAX);
        }
    }

    /// How many peers on links have a piece.
    pub(super) fn links_with(&self, number: u32) -> u32 {
        let having = self.on_links().filter(|peer| peer.pieces.has(number));
        u32::try_from(having.count()).unwrap_or(u32::MAX)
    }

    /// As many bytes may be left to links.
    fn links_may_owe(&self, now: Time) -> u64 {
        let usable = self.on_links().filter(|peer| now >= peer.snubbed_until);
        let per_second: u64 = usable.map(|peer| peer.per_second(now)).sum();
        let in_time = per_second.saturating_mul(AHEAD.as_secs());
        in_time.max(self.links_bear_bytes)
    }
}
