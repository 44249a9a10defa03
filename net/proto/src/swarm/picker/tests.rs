//! The picker's rules one by one, on a content of a few pieces of eight blocks.

mod blame;
mod links;
mod model;
mod outside;
mod speed;

use super::*;
use crate::swarm::Block;
use crate::tracker::message::PeerType;
use PeerType::{Group, Internet, Lan};
use larder_content::PIECE_BYTES;

pub(super) const BLOCK: u32 = 128 << 10;

pub(super) fn at(ms: u64) -> Time {
    Time::from_micros(ms * 1000)
}

pub(super) fn no(n: u8) -> PeerNo {
    PeerNo(u64::from(n))
}

pub(super) fn who(n: u8) -> Who {
    Who {
        id: PeerId([n; 16]),
        address: [10, 0, 0, n].into(),
    }
}

pub(super) fn field(pieces: u32, has: &[u32]) -> Bitfield {
    let mut field = Bitfield::new(pieces);
    for piece in has {
        field.set(*piece);
    }
    field
}

/// A picker, the clock, and all actions that it ever wanted done.
pub(super) struct Desk {
    pub(super) picker: Picker,
    pub(super) now_ms: u64,
    pub(super) pieces: u32,
}

impl Desk {
    pub(super) fn new(pieces: u32, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::usual(u64::from(pieces) * u64::from(PIECE_BYTES));
        change(&mut settings);
        let me = PeerId([100; 16]);
        Self {
            picker: Picker::new(settings, me, Bitfield::new(pieces), 7, at(0)),
            now_ms: 0,
            pieces,
        }
    }

    pub(super) fn apply(&mut self, event: Event) -> Vec<Action> {
        self.picker.apply(event, at(self.now_ms))
    }

    pub(super) fn wants(&mut self, pieces: &[u32]) -> Vec<Action> {
        let mut all = Vec::new();
        for piece in pieces {
            all.extend(self.apply(Event::Wanted {
                piece: *piece,
                deadline: at(1_000_000),
                background: true,
            }));
        }
        all
    }

    /// A peer comes that may be asked at once.
    pub(super) fn peer(&mut self, n: u8, kind: PeerType, has: &[u32]) -> Vec<Action> {
        self.newcomer(n, kind, false);
        let mut all = self.apply(Event::HasPieces(no(n), field(self.pieces, has)));
        all.extend(self.apply(Event::Unchoked(no(n))));
        all
    }

    pub(super) fn newcomer(&mut self, n: u8, kind: PeerType, preferred: bool) {
        let new = Newcomer {
            who: who(n),
            kind,
            preferred,
            round_trip: Duration::from_millis(1),
            link_cost: None,
        };
        let actions = self.apply(Event::Joined(no(n), new));
        assert_eq!(asked(&actions), []);
    }

    pub(super) fn tick_until(&mut self, ms: u64) -> Vec<Action> {
        let mut all = Vec::new();
        while self.now_ms < ms {
            self.now_ms += 500;
            all.extend(self.apply(Event::Tick));
        }
        all
    }

    /// Lets a peer send what it is asked for, a block each `ms`, until it owes nothing or `blocks` have come.
    pub(super) fn sends(&mut self, n: u8, ms: u64, blocks: usize) -> Vec<Action> {
        let mut all = Vec::new();
        for _ in 0..blocks {
            let owed = self.picker.peers.get(&no(n));
            let Some(block) = owed.and_then(|peer| peer.asked.front().copied()) else {
                break;
            };
            self.now_ms += ms;
            let actions = self.apply(Event::Received(no(n), block));
            for action in &actions {
                if let Action::Whole(piece) = action {
                    all.extend(self.apply(Event::Landed(*piece)));
                }
            }
            all.extend(actions);
        }
        all
    }

    /// What a peer owes: pieces, each once.
    pub(super) fn owes(&self, n: u8) -> Vec<u32> {
        let mut pieces: Vec<u32> = self.picker.peers[&no(n)]
            .asked
            .iter()
            .map(|block| block.piece)
            .collect();
        pieces.dedup();
        pieces
    }
}

/// Who was asked for which piece, each once and in order.
pub(super) fn asked(actions: &[Action]) -> Vec<(u8, u32)> {
    let asked = actions.iter().filter_map(|action| match action {
        Action::Ask(no, block) => Some((u8::try_from(no.0).expect("small"), block.piece)),
        _ => None,
    });
    let mut asked: Vec<_> = asked.collect();
    asked.dedup();
    asked
}

#[test]
fn nobody_is_asked_before_it_says_so_and_nobody_for_what_it_lacks() {
    let mut desk = Desk::new(4, |_| ());
    assert_eq!(asked(&desk.wants(&[0, 1, 2, 3])), []);
    desk.newcomer(1, Lan, false);
    let actions = desk.apply(Event::HasPieces(no(1), field(4, &[2])));
    assert_eq!(actions[0], Action::Interest(no(1), true));
    assert_eq!(asked(&actions), []);
    let actions = desk.apply(Event::Unchoked(no(1)));
    assert_eq!(actions[0], Action::Take(2));
    assert_eq!(asked(&actions), [(1, 2)]);
    desk.sends(1, 10, 100);
    // It has nothing more of use, until it says so.
    assert!(desk.owes(1).is_empty());
    let actions = desk.apply(Event::Has(no(1), 3));
    assert_eq!(asked(&actions), [(1, 3)]);
}

#[test]
fn interest_lasts_as_long_as_a_peer_has_something_that_is_wanted() {
    let mut desk = Desk::new(4, |_| ());
    assert_eq!(desk.peer(1, Lan, &[0, 1]), []);
    let actions = desk.wants(&[0]);
    assert_eq!(actions[0], Action::Interest(no(1), true));
    let actions = desk.sends(1, 10, 100);
    assert!(actions.contains(&Action::Interest(no(1), false)));
    assert_eq!(asked(&desk.wants(&[3])), []);
    let actions = desk.apply(Event::Has(no(1), 3));
    assert_eq!(actions[0], Action::Interest(no(1), true));
}

#[test]
fn a_piece_is_asked_of_one_peer_alone() {
    let mut desk = Desk::new(2, |_| ());
    desk.wants(&[0, 1]);
    let first = asked(&desk.peer(1, Lan, &[0, 1]));
    let second = asked(&desk.peer(2, Lan, &[0, 1]));
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first[0].1, second[0].1);
    // All of it, block by block.
    let piece = first[0].1;
    let actions = desk.sends(1, 10, 8);
    assert!(actions.contains(&Action::Whole(piece)));
    assert!(desk.picker.here().has(piece));
}

#[test]
fn the_rarest_goes_first_among_what_is_equally_urgent() {
    let mut desk = Desk::new(6, |_| ());
    desk.peer(1, Lan, &[0, 1, 2, 3]);
    desk.peer(2, Lan, &[0, 1, 2, 4]);
    desk.apply(Event::Choked(no(2)));
    desk.apply(Event::Choked(no(1)));
    desk.wants(&[0, 1, 2, 3]);
    // The first has the only copy of 3.
    assert_eq!(asked(&desk.apply(Event::Unchoked(no(1)))), [(1, 3)]);
}

#[test]
fn a_clients_deadline_comes_before_rarity_and_what_nobody_waits_for_comes_last() {
    let mut desk = Desk::new(6, |_| ());
    desk.peer(1, Lan, &[0, 1, 2, 3]);
    desk.peer(2, Lan, &[0, 1]);
    for n in [1, 2] {
        desk.apply(Event::Choked(no(n)));
    }
    for (piece, deadline_ms, background) in [
        (3, 1000, true),
        (2, 90_000, false),
        (1, 60_000, false),
        (0, 61_500, false),
    ] {
        let deadline = at(deadline_ms);
        desk.apply(Event::Wanted {
            piece,
            deadline,
            background,
        });
    }
    let mut order = Vec::new();
    desk.apply(Event::Unchoked(no(1)));
    while let Some(piece) = desk.owes(1).first().copied() {
        order.push(piece);
        desk.sends(1, 10, 8);
    }
    // 0 and 1 are due at the same time as far as it matters, so either may come first.
    order[..2].sort_unstable();
    assert_eq!(order, [0, 1, 2, 3]);
}

#[test]
fn who_takes_all_of_it_takes_stretch_by_stretch_whatever_is_due_when() {
    let mut desk = Desk::new(12, |settings| settings.stretch_pieces = Some(4));
    let all: Vec<u32> = (0..12).collect();
    desk.peer(1, Lan, &all);
    desk.apply(Event::Choked(no(1)));
    for piece in all {
        desk.apply(Event::Wanted {
            piece,
            deadline: at(u64::from(1000 - piece)),
            background: false,
        });
    }
    let mut order = Vec::new();
    desk.apply(Event::Unchoked(no(1)));
    while let Some(piece) = desk.owes(1).first().copied() {
        order.push(piece / 4);
        desk.sends(1, 10, 8);
    }
    assert_eq!(order, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
}

#[test]
fn the_seed_decides_between_what_is_alike() {
    let first = |seed: u64| {
        let settings = Settings::usual(64 << 20);
        let mut picker = Picker::new(settings, PeerId([9; 16]), Bitfield::new(64), seed, at(0));
        for piece in 0..64 {
            let _ = picker.apply(
                Event::Wanted {
                    piece,
                    deadline: at(0),
                    background: true,
                },
                at(0),
            );
        }
        let new = Newcomer {
            who: who(1),
            kind: Lan,
            preferred: false,
            round_trip: Duration::ZERO,
            link_cost: None,
        };
        let _ = picker.apply(Event::Joined(no(1), new), at(0));
        let _ = picker.apply(Event::Unchoked(no(1)), at(0));
        let actions = picker.apply(Event::HasPieces(no(1), Bitfield::full(64)), at(0));
        asked(&actions)[0].1
    };
    assert_eq!(first(1), first(1));
    let firsts: BTreeSet<u32> = (0..20).map(first).collect();
    assert!(firsts.len() > 12, "{firsts:?}");
}

#[test]
fn near_peers_come_before_far_ones_and_preferred_ones_before_others() {
    let mut desk = Desk::new(3, |settings| settings.share_out = false);
    for (n, kind, preferred) in [
        (1, Internet, true),
        (2, Group, false),
        (3, Lan, false),
        (4, Lan, true),
    ] {
        desk.newcomer(n, kind, preferred);
        desk.apply(Event::HasPieces(no(n), field(3, &[0, 1, 2])));
        desk.apply(Event::Unchoked(no(n)));
    }
    assert_eq!(asked(&desk.wants(&[0, 1, 2])), [(4, 0), (3, 1)]);
}

#[test]
fn what_is_urgent_is_asked_of_the_nearest_first_too() {
    let mut desk = Desk::new(3, |_| ());
    desk.peer(1, Internet, &[0, 1]);
    desk.peer(2, Group, &[0, 1]);
    desk.peer(3, Lan, &[0, 1]);
    let (deadline, background) = (at(1000), false);
    let mut order = Vec::new();
    for piece in [0, 1] {
        order.extend(asked(&desk.apply(Event::Wanted {
            piece,
            deadline,
            background,
        })));
    }
    assert_eq!(order, [(3, 0), (2, 1)]);
}

#[test]
fn far_peers_are_asked_for_what_no_near_one_has_or_when_near_ones_bring_nothing() {
    let mut desk = Desk::new(16, |_| ());
    let all: Vec<u32> = (0..16).collect();
    desk.peer(1, Lan, &[0, 1, 2]);
    desk.apply(Event::Choked(no(1)));
    let owner = |piece: &u32| desk.picker.members.owner(desk.picker.me, *piece);
    let mine = (3..16).find(|piece| owner(piece).of_site.is_none());
    let mine = mine.expect("about half of them");
    desk.peer(2, Group, &all);
    assert_eq!(asked(&desk.wants(&[0, mine])), [(2, mine)]);
    desk.sends(2, 125, 8);
    assert_eq!(asked(&desk.tick_until(3000)), []);
    assert_eq!(asked(&desk.tick_until(3500)), [(2, 0)]);
    // Who waits for something does not wait for near peers.
    let deadline = at(desk.now_ms + 3000);
    let background = false;
    desk.sends(2, 1, 8);
    let piece = 1;
    let urgent = desk.apply(Event::Wanted {
        piece,
        deadline,
        background,
    });
    assert_eq!(asked(&urgent), [(2, 1)]);
}

#[test]
fn what_the_scheduler_refuses_is_called_off() {
    let mut desk = Desk::new(4, |_| ());
    desk.peer(1, Lan, &[0, 1]);
    let actions = desk.wants(&[0]);
    let asks = actions
        .iter()
        .filter(|action| matches!(action, Action::Ask(..)));
    let asks = asks.count();
    let actions = desk.apply(Event::AtOrigin(0));
    let off = actions.iter();
    let off = off.filter(|action| matches!(action, Action::CallOff(..)));
    assert_eq!(off.count(), asks);
    assert!(desk.owes(1).is_empty());
    // It comes back from there.
    assert_eq!(asked(&desk.wants(&[0])), [(1, 0)]);
    // Or it is wanted no more: then the job ends.
    let actions = desk.apply(Event::Unwanted(0));
    assert!(actions.contains(&Action::GiveBack(0)));
    assert!(desk.owes(1).is_empty());
    assert_eq!(desk.picker.deadline(), None);
}

#[test]
fn no_more_is_begun_than_there_is_memory_for() {
    let mut desk = Desk::new(8, |settings| settings.pieces_max = 3);
    desk.wants(&[0, 1, 2, 3, 4, 5, 6, 7]);
    let begun: usize = (1..8)
        .map(|n| asked(&desk.peer(n, Lan, &[0, 1, 2, 3, 4, 5, 6, 7])).len())
        .sum();
    assert_eq!(begun, 3);
}

#[test]
fn small_contents_and_lonely_devices_do_without_peers() {
    assert!(is_simple(false, 1 << 40));
    assert!(is_simple(true, SIMPLE_BYTES - 1));
    assert!(!is_simple(true, SIMPLE_BYTES));
}
