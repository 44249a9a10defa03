//! The picker under any order of events, seen from outside: what a driver would have noted down, against the rules said
//! slowly.

use super::*;
use proptest::prelude::*;

const PIECES: u32 = 6;

/// What the driver knows.
#[derive(Default)]
struct Notes {
    peers: BTreeMap<PeerNo, Seen>,
    wanted: BTreeMap<u32, (bool, u64)>,
    at_origin: BTreeSet<u32>,
    taken: BTreeSet<u32>,
    whole: BTreeSet<u32>,
    here: BTreeSet<u32>,
    /// What has come of each piece that is not whole, and from whom.
    halves: BTreeMap<u32, BTreeMap<u32, PeerNo>>,
    came_bytes: u64,
}

#[derive(Default)]
struct Seen {
    has: BTreeSet<u32>,
    unchoked: bool,
    dropped: bool,
    asked: BTreeSet<Block>,
}

#[derive(Clone, Debug)]
enum Step {
    Join(u8),
    Leave(u8),
    HasPieces(u8, u8),
    Has(u8, u32),
    Choke(u8),
    Unchoke(u8),
    Send(u8, usize),
    Late(u8, usize),
    Want(u32, bool, u64),
    Unwant(u32),
    AtOrigin(u32),
    Land(u32),
    Prove(bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let peer = 1_u8..6;
    let piece = 0..PIECES;
    prop_oneof![
        2 => peer.clone().prop_map(Step::Join),
        1 => peer.clone().prop_map(Step::Leave),
        2 => (peer.clone(), any::<u8>()).prop_map(|(n, has)| Step::HasPieces(n, has)),
        2 => (peer.clone(), piece.clone()).prop_map(|(n, piece)| Step::Has(n, piece)),
        1 => peer.clone().prop_map(Step::Choke),
        4 => peer.clone().prop_map(Step::Unchoke),
        16 => (peer.clone(), 0_usize..6).prop_map(|(n, nth)| Step::Send(n, nth)),
        1 => (peer, 0_usize..6).prop_map(|(n, nth)| Step::Late(n, nth)),
        6 => (piece.clone(), any::<bool>(), 0_u64..60_000)
            .prop_map(|(piece, background, ms)| Step::Want(piece, background, ms)),
        1 => piece.clone().prop_map(Step::Unwant),
        1 => piece.clone().prop_map(Step::AtOrigin),
        1 => piece.prop_map(Step::Land),
        3 => prop::bool::weighted(0.7).prop_map(Step::Prove),
        3 => (0_u64..4000).prop_map(Step::Wait),
    ]
}

fn kind_of(n: u8) -> PeerType {
    if n < 4 { Lan } else { Group }
}

/// The last of them are at the other ends of links.
fn link_cost(n: u8) -> Option<u32> {
    (n >= 5).then_some(u32::from(n))
}

/// Turns a step into an event where it can happen.
fn event(step: &Step, notes: &mut Notes, desk: &mut Desk) -> Option<Event> {
    if let Step::HasPieces(n, _) | Step::Has(n, _) = step
        && notes.peers.get(&no(*n)).is_none_or(|seen| seen.dropped)
    {
        // Its connection is being closed.
        return None;
    }
    let connected = |n: &u8| notes.peers.contains_key(&no(*n));
    let owed = |n: &u8, nth: &usize| {
        let asked = &notes.peers.get(&no(*n))?.asked;
        asked.iter().nth(*nth).copied()
    };
    Some(match step {
        Step::Join(n) if !connected(n) => {
            notes.peers.insert(no(*n), Seen::default());
            Event::Joined(
                no(*n),
                Newcomer {
                    who: who(*n),
                    kind: kind_of(*n),
                    preferred: *n == 2,
                    round_trip: Duration::from_millis(2),
                    link_cost: link_cost(*n),
                },
            )
        }
        Step::Leave(n) => {
            notes.peers.remove(&no(*n))?;
            Event::Left(no(*n))
        }
        Step::HasPieces(n, has) => {
            let pieces = (0..PIECES).filter(|piece| has >> piece & 1 == 1);
            let seen = notes.peers.get_mut(&no(*n))?;
            seen.has = pieces.collect();
            let has: Vec<u32> = seen.has.iter().copied().collect();
            Event::HasPieces(no(*n), field(PIECES, &has))
        }
        Step::Has(n, piece) => {
            notes.peers.get_mut(&no(*n))?.has.insert(*piece);
            Event::Has(no(*n), *piece)
        }
        Step::Choke(n) => {
            let seen = notes.peers.get_mut(&no(*n))?;
            seen.unchoked = false;
            seen.asked.clear();
            Event::Choked(no(*n))
        }
        Step::Unchoke(n) => {
            notes.peers.get_mut(&no(*n))?.unchoked = true;
            Event::Unchoked(no(*n))
        }
        Step::Send(n, nth) => {
            let block = owed(n, nth)?;
            notes.peers.get_mut(&no(*n))?.asked.remove(&block);
            notes.came_bytes += u64::from(block.len);
            Event::Received(no(*n), block)
        }
        Step::Late(n, nth) => {
            let block = owed(n, nth)?;
            notes.peers.get_mut(&no(*n))?.asked.remove(&block);
            Event::Late(no(*n), block)
        }
        Step::Want(piece, background, ms) if !notes.here.contains(piece) => {
            let deadline_ms = desk.now_ms + ms;
            notes.wanted.insert(*piece, (*background, deadline_ms));
            notes.at_origin.remove(piece);
            Event::Wanted {
                piece: *piece,
                deadline: at(deadline_ms),
                background: *background,
            }
        }
        Step::Unwant(piece) => {
            notes.wanted.remove(piece)?;
            notes.at_origin.remove(piece);
            notes.whole.remove(piece);
            notes.halves.remove(piece);
            Event::Unwanted(*piece)
        }
        // The scheduler gives the origin what is not taken.
        Step::AtOrigin(piece) if notes.wanted.contains_key(piece) => {
            if notes.taken.contains(piece) || !notes.at_origin.insert(*piece) {
                return None;
            }
            Event::AtOrigin(*piece)
        }
        Step::Land(piece) if notes.at_origin.remove(piece) => {
            notes.wanted.remove(piece);
            notes.here.insert(*piece);
            Event::Landed(*piece)
        }
        Step::Prove(good) => {
            let piece = notes.whole.pop_first()?;
            notes.halves.remove(&piece);
            if *good {
                notes.wanted.remove(&piece);
                notes.taken.remove(&piece);
                notes.here.insert(piece);
                Event::Landed(piece)
            } else {
                Event::Bad(piece)
            }
        }
        Step::Wait(ms) => {
            desk.now_ms += ms;
            Event::Tick
        }
        _ => return None,
    })
}

/// Does what is to be done, and holds it to the rules.
fn note(actions: &[Action], notes: &mut Notes, end_game: bool) -> Result<(), TestCaseError> {
    for action in actions {
        match *action {
            Action::Take(piece) => prop_assert!(notes.taken.insert(piece), "taken twice"),
            Action::GiveBack(piece) => prop_assert!(notes.taken.remove(&piece), "not taken"),
            Action::Ask(no, block) => {
                let piece = block.piece;
                let elsewhere = notes.peers.values();
                let elsewhere = elsewhere.filter(|seen| seen.asked.contains(&block));
                prop_assert!(end_game || elsewhere.count() == 0, "asked of two");
                prop_assert!(notes.taken.contains(&piece), "not taken before");
                prop_assert!(notes.wanted.contains_key(&piece), "not wanted");
                prop_assert!(!notes.at_origin.contains(&piece), "at the origin");
                let came = notes.halves.get(&piece);
                prop_assert!(came.is_none_or(|came| !came.contains_key(&block.offset)));
                let seen = notes.peers.get_mut(&no).expect("it is connected");
                prop_assert!(seen.unchoked && !seen.dropped && seen.has.contains(&piece));
                prop_assert!(seen.asked.insert(block), "asked of the same twice");
            }
            Action::CallOff(no, block) => {
                let seen = notes.peers.get_mut(&no).expect("it is connected");
                prop_assert!(seen.asked.remove(&block), "was not asked");
            }
            Action::Keep(no, block) => {
                let half = notes.halves.entry(block.piece).or_default();
                prop_assert!(half.insert(block.offset, no).is_none(), "kept twice");
            }
            Action::Discard(piece) => _ = notes.halves.remove(&piece),
            Action::Whole(piece) => {
                let came = notes.halves.get(&piece).map_or(0, BTreeMap::len);
                prop_assert_eq!(came, 8, "not whole");
                notes.whole.insert(piece);
            }
            Action::Drop(no) => {
                let seen = notes.peers.get_mut(&no).expect("it is connected");
                seen.dropped = true;
                seen.asked.clear();
                seen.has.clear();
            }
            Action::Blame(..)
            | Action::Interest(..)
            | Action::LeaveToPeers(..)
            | Action::LeaveToLink(..)
            | Action::Wanted(..) => {}
        }
    }
    Ok(())
}

/// What a peer of the site that becomes free must begin with: the rules, with nothing kept ready.
fn first_choice(desk: &Desk, notes: &Notes, n: u8) -> Option<u32> {
    let seen = notes.peers.get(&no(n))?;
    let mut best = None;
    for (piece, (background, deadline_ms)) in &notes.wanted {
        let busy = notes.taken.contains(piece) || notes.at_origin.contains(piece);
        if busy || !seen.has.contains(piece) {
            continue;
        }
        let having = notes.peers.values();
        let rarity = having.filter(|seen| seen.has.contains(piece)).count();
        let tie = desk.picker.tie(*piece);
        let rank = (*background, deadline_ms / 2000, rarity, tie, *piece);
        best = best.max(Some(std::cmp::Reverse(rank)));
    }
    best.map(|rank| rank.0.4)
}

proptest! {
    #[test]
    fn it_keeps_the_rules_whatever_happens(steps in prop::collection::vec(step(), 0..250)) {
        let mut desk = Desk::new(PIECES, |_| ());
        let mut notes = Notes::default();
        for step in steps {
            let expected = match step {
                // Who is asked for something may have room for nothing more.
                Step::Unchoke(n) if n < 4 => {
                    let idle = |seen: &Seen| seen.asked.is_empty() && !seen.dropped;
                    let usable = |peer: &peer::Peer| {
                        at(desk.now_ms) >= peer.snubbed_until && peer.may_begin()
                    };
                    let peer = desk.picker.peers.get(&no(n));
                    let free = notes.peers.get(&no(n)).is_some_and(idle) && peer.is_some_and(usable);
                    if free { first_choice(&desk, &notes, n) } else { None }
                }
                _ => None,
            };
            let Some(event) = event(&step, &mut notes, &mut desk) else {
                continue;
            };
            if let Event::Bad(piece) = &event {
                // Its bytes are gone, and it may come from anybody.
                prop_assert!(notes.taken.contains(piece));
            }
            let actions = desk.apply(event);
            let end_game = desk.picker.open.is_empty();
            note(&actions, &mut notes, end_game)?;
            if let Some(piece) = expected {
                let first = actions.iter().find_map(|action| match action {
                    Action::Ask(_, block) => Some(block.piece),
                    _ => None,
                });
                prop_assert_eq!(first, Some(piece));
            }
            // What is kept ready is what would be counted.
            for (no, seen) in &notes.peers {
                let peer = &desk.picker.peers[no];
                let has: BTreeSet<u32> = peer.pieces.iter().collect();
                prop_assert_eq!(&has, &seen.has);
                let asked: BTreeSet<Block> = peer.asked.iter().copied().collect();
                prop_assert_eq!(&asked, &seen.asked);
                let useful = has.iter().filter(|piece| notes.wanted.contains_key(piece));
                prop_assert_eq!(peer.useful as usize, useful.count());
                // Nobody of the site is idle who could bring something.
                let idle = peer.has_room(at(desk.now_ms), BLOCK)
                    && peer.may_begin()
                    && peer.new.kind == Lan;
                let open = desk.picker.open.iter().any(|piece| has.contains(piece));
                prop_assert!(!idle || !open, "idle: {no:?}");
            }
            for piece in 0..PIECES {
                let having = notes.peers.values();
                let having = having.filter(|seen| seen.has.contains(&piece)).count();
                let spread: u32 = desk.picker.spread[piece as usize].iter().sum();
                prop_assert_eq!(spread as usize, having);
            }
            // What is taken is asked for, or is being proved.
            for piece in &notes.taken {
                let asked = notes.peers.values();
                let asked = asked.flat_map(|seen| &seen.asked).any(|block| block.piece == *piece);
                let brought = desk.picker.at_peers.contains(piece);
                prop_assert!(asked || brought || notes.whole.contains(piece), "{piece} is nobody's");
            }
            prop_assert!(desk.picker.wasted_bytes() <= notes.came_bytes);
            prop_assert_eq!(desk.picker.deadline().is_some(), !notes.wanted.is_empty());
        }
    }
}
