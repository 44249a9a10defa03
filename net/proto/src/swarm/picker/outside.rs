//! Who of a site asks outside of it for what. The rule: what nobody here has is brought in by one of us, and by another
//! as soon as that one is seen to bring nothing.
//!
//! When all devices of a site want the same content at once, each piece would cross the WAN as often as there are
//! devices. So each piece has an owner: of all that are known to fetch this content, the one whose id, mixed with the
//! piece's number, gives the highest number. Everybody finds the same owner without a word, as far as they know the same
//! peers. The owner among those of the site asks peers elsewhere; the owner among all asks the origin; the others wait
//! until one of the site has the piece.
//!
//! Who has begun alone, or knows not all of the others yet, takes too much to be its own. So each begins with what it would
//! own in the largest company, which is what has the highest of its own numbers: as others come, what it has done already is
//! what it would have had to do. (In the simulation, a site of six that begin within two seconds takes in a third less.)
//!
//! A wait ends when the owner is late: nothing new was heard of it for five seconds, and for three times as long as the
//! origin needs for one of our own pieces, since it is the same line. It ends, too, when a client's deadline is near.

use super::event::{Action, PeerNo};
use super::links::SAYS_WITHIN;
use super::piece::{Owner, Piece, Stand};
use super::{Picker, Time, mix};
use crate::swarm::PeerId;
use crate::tracker::message::PeerType;
use std::cmp::Reverse;
use std::time::Duration;

/// An owner of which nothing new is heard for so long is late.
const LATE: Duration = Duration::from_secs(5);

/// What somebody waits for goes to the origin when his deadline is no further away than this: time for the origin to
/// answer, and for a piece on a thin link.
const RESERVE: Duration = Duration::from_secs(5);

/// So long a piece is left to the peers at a time.
const LEFT_FOR: Duration = Duration::from_secs(10);

/// It is said again when no more than this is left of it.
const RENEWED_AT: Duration = Duration::from_secs(5);

/// Pieces that all devices of a site ask the origin for at once, about.
const OUT_OF_SITE: usize = 16;

/// Each of them asks for as many as this at least, so that its connections do not idle between two requests.
const OUT_MIN: usize = 2;

/// So long peers have to come up to the least rate, from when they first have something.
const QOS_AFTER: Duration = Duration::from_secs(4);

/// Those who fetch this content, besides us.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    of_site: Vec<(PeerNo, PeerId)>,
    elsewhere: Vec<(PeerNo, PeerId)>,
    on_links: Vec<(PeerNo, PeerId)>,
}

impl Members {
    pub(super) fn owner(&self, me: PeerId, piece: u32) -> Owner {
        let best = |among: &[(PeerNo, PeerId)]| {
            let scores = among.iter().map(|(no, id)| (score(*id, piece), Some(*no)));
            scores.max().unwrap_or_default()
        };
        let of_site = best(&self.of_site).max((score(me, piece), None));
        Owner {
            of_site: of_site.1,
            of_all: best(&self.elsewhere).max(of_site).1,
            of_links: best(&self.on_links).max((score(me, piece), None)).1,
        }
    }
}

/// How much a piece is this peer's own, in whatever company.
pub(super) fn score(id: PeerId, piece: u32) -> u64 {
    let bytes = id.0.chunks_exact(8);
    bytes.fold(mix(u64::from(piece)), |score, half| {
        let half = half
            .iter()
            .fold(0, |half, byte| half << 8 | u64::from(*byte));
        mix(score ^ half)
    })
}

impl Picker {
    /// Finds out who owns what, and what is left to whom.
    pub(super) fn look_outside(&mut self, now: Time) {
        let members = self.members_now(now);
        if members != self.members {
            self.members = members;
            for (number, piece) in &mut self.pieces {
                piece.owner = self.members.owner(self.me, *number);
            }
            self.refill = true;
        }
        let mut open: Vec<u32> = self.open.iter().copied().collect();
        // What is most wanted goes out first, where not all may at once.
        open.sort_by_key(|number| {
            let piece = self.pieces.get(number);
            piece.map(|piece| (piece.urgency(), Reverse(piece.own)))
        });
        let at_origin = |piece: &&Piece| matches!(piece.stand, Stand::AtOrigin(_));
        self.going_out = self.pieces.values().filter(at_origin).count();
        self.at_links_bytes = self.owed_by_links();
        let offers = |number: &u32| self.spread[*number as usize] != [0; 3];
        if self.at_peers.is_empty() && !open.iter().any(offers) {
            self.offered_since = None;
        } else {
            self.offered_since.get_or_insert(now);
        }
        for number in &open {
            if let Some(piece) = self.pieces.get_mut(number) {
                piece.is_counted = false;
            }
        }
        for number in open {
            self.leave_or_not(number, now);
        }
    }

    /// How many pieces this device asks the origin for at once, of those that it owns. All of a site share a line: were
    /// each of them to ask for much, all pieces would be under way for long, and none of them here to be passed on.
    fn out_max(&self) -> usize {
        (OUT_OF_SITE / (1 + self.members.of_site.len())).max(OUT_MIN)
    }

    fn members_now(&self, now: Time) -> Members {
        let mut members = Members::default();
        if !self.settings.share_out {
            return members;
        }
        let patience = self.patience(now);
        for (no, peer) in &self.peers {
            // Who has everything fetches nothing.
            let fetches = !peer.dropped && !peer.pieces.is_full() && now >= peer.snubbed_until;
            let waits_for_us = self.settings.preferred && !peer.new.preferred;
            if !fetches || waits_for_us || now.since(peer.news) > patience {
                continue;
            }
            let member = (*no, peer.new.who.id);
            if peer.new.link_cost.is_some() {
                if peer.has_said || now.since(peer.news) < SAYS_WITHIN {
                    members.on_links.push(member);
                }
                continue;
            }
            match peer.new.kind {
                PeerType::Lan => members.of_site.push(member),
                PeerType::Group => members.elsewhere.push(member),
                // Its line and its origin are not ours.
                PeerType::Internet => {}
            }
        }
        members
    }

    fn patience(&self, now: Time) -> Duration {
        let waits = self.pieces.values().filter_map(|piece| match piece.stand {
            Stand::AtOrigin(since) => Some(now.since(since)),
            _ => None,
        });
        // One of ours that is not here yet says that the line is slow as well as one that came.
        let pace = waits.max().unwrap_or_default().max(self.origin_pace);
        LATE.max(3 * pace)
    }

    /// Tells the scheduler whether a piece is left to the peers, where that has changed.
    pub(super) fn leave_or_not(&mut self, number: u32, now: Time) {
        let Some(piece) = self.pieces.get(&number) else {
            return;
        };
        let left_until = piece.left_until;
        if let Some(at_links) = self.at_links(number, piece, now)
            && self.leave_to_links(number, at_links, now)
        {
            return;
        }
        self.at_no_link(number, now);
        let Some(piece) = self.pieces.get(&number) else {
            return;
        };
        let leave = self.is_left_to_peers(number, piece, now);
        self.going_out += usize::from(!leave);
        let until = match leave {
            true if left_until.is_none_or(|until| until <= now + RENEWED_AT) => now + LEFT_FOR,
            false if left_until.is_none_or(|until| until > now) => Time::default(),
            _ => return,
        };
        if let Some(piece) = self.pieces.get_mut(&number) {
            piece.left_until = Some(until);
        }
        self.actions.push(Action::LeaveToPeers(number, until));
    }

    fn is_left_to_peers(&self, number: u32, piece: &Piece, now: Time) -> bool {
        if self.is_urgent(piece, now) {
            return false;
        }
        if now < self.began + self.settings.look_around && !self.links_are_there() {
            return true;
        }
        if self.peers.values().all(|peer| peer.dropped) {
            return false;
        }
        let delay = match piece.background {
            true => self.settings.delay_background,
            false => self.settings.delay_foreground,
        };
        if now < self.began + delay && self.peers.values().any(|peer| peer.gives_hope(now)) {
            return true;
        }
        let [near, group, internet] = self.spread[number as usize];
        let (mine_to_bring, mine_to_fetch) =
            (piece.owner.of_site.is_none(), piece.owner.of_all.is_none());
        if near > 0 {
            self.peers_bring_enough(now)
        } else if group + internet > self.links_with(number) {
            !mine_to_bring || self.peers_bring_enough(now)
        } else {
            // Others are there, if none that is known to fetch: it may be joined by some any time.
            let is_device = self.settings.stretch_pieces.is_some();
            let shares = (is_device && self.settings.share_out) || !self.members.of_site.is_empty();
            !mine_to_fetch || (shares && self.going_out >= self.out_max())
        }
    }

    /// Whether as much comes as must, in all, or peers have not had the time to show it.
    fn peers_bring_enough(&self, now: Time) -> bool {
        let mut recent = self.recent;
        let since = self.offered_since.unwrap_or(now);
        now < since + QOS_AFTER || recent.per_second(now) >= self.settings.qos_bytes_per_second
    }

    /// Somebody waits for it, and not much longer.
    pub(super) fn is_urgent(&self, piece: &Piece, now: Time) -> bool {
        !piece.background && piece.deadline <= now + RESERVE
    }
}
