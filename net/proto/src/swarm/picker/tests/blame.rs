//! Whom a bad piece is blamed on, and what of it is kept.

use super::*;

/// The actions that are about blame.
fn verdicts(actions: &[Action]) -> Vec<Action> {
    let verdicts = actions.iter().filter(|action| {
        matches!(
            action,
            Action::Blame(..) | Action::Drop(..) | Action::Discard(..)
        )
    });
    verdicts.copied().collect()
}

/// Blocks of one piece come until it is whole or `blocks` have come.
fn sends(desk: &mut Desk, n: u8, blocks: usize) -> Vec<Action> {
    let mut all = Vec::new();
    for _ in 0..blocks {
        let Some(block) = desk.picker.peers[&no(n)].asked.front().copied() else {
            break;
        };
        desk.now_ms += 10;
        all.extend(desk.apply(Event::Received(no(n), block)));
    }
    all
}

#[test]
fn a_bad_piece_of_one_peer_is_its_fault() {
    let mut desk = Desk::new(4, |_| ());
    desk.wants(&[0]);
    desk.peer(1, Lan, &[0]);
    assert!(sends(&mut desk, 1, 8).contains(&Action::Whole(0)));
    let actions = desk.apply(Event::Bad(0));
    let expected = [Action::Blame(who(1), 1), Action::Drop(no(1))];
    assert_eq!(verdicts(&actions), expected);
    assert_eq!(actions.last(), Some(&Action::GiveBack(0)));
    // It is not asked again, whatever it says, and another is.
    assert_eq!(asked(&desk.apply(Event::Has(no(1), 1))), []);
    assert_eq!(asked(&desk.peer(2, Lan, &[0])), [(2, 0)]);
    assert_eq!(desk.picker.wasted_bytes(), u64::from(PIECE_BYTES));
}

#[test]
fn what_came_is_kept_when_its_peer_leaves_and_another_brings_the_rest() {
    let mut desk = Desk::new(4, |_| ());
    desk.wants(&[0]);
    desk.peer(1, Lan, &[0]);
    sends(&mut desk, 1, 5);
    let actions = desk.apply(Event::Left(no(1)));
    assert_eq!(actions.last(), Some(&Action::GiveBack(0)));
    assert_eq!(verdicts(&actions), []);
    desk.peer(2, Lan, &[0]);
    assert!(sends(&mut desk, 2, 3).contains(&Action::Whole(0)));
    assert_eq!(verdicts(&desk.apply(Event::Landed(0))), []);
    assert_eq!(desk.picker.wasted_bytes(), 0);
}

/// Two peers had a part in piece 0, which was bad. The second is still there.
fn two_suspects() -> Desk {
    let mut desk = Desk::new(6, |_| ());
    desk.wants(&[0]);
    desk.peer(1, Lan, &[0, 1, 2]);
    sends(&mut desk, 1, 5);
    desk.apply(Event::Choked(no(1)));
    desk.peer(2, Lan, &[0, 1, 2]);
    assert!(sends(&mut desk, 2, 3).contains(&Action::Whole(0)));
    let actions = desk.apply(Event::Bad(0));
    assert_eq!(verdicts(&actions), []);
    desk
}

#[test]
fn a_bad_piece_of_several_makes_suspects_who_have_no_part_with_others_again() {
    let mut desk = two_suspects();
    // Alone each of them may send it.
    assert_eq!(desk.owes(2), [0]);
    sends(&mut desk, 2, 4);
    desk.apply(Event::Choked(no(2)));
    // But not with the other, and nobody else with them.
    let actions = desk.apply(Event::Unchoked(no(1)));
    assert_eq!(verdicts(&actions), [Action::Discard(0)]);
    assert_eq!(desk.owes(1), [0]);
    sends(&mut desk, 1, 8);
    assert_eq!(verdicts(&desk.apply(Event::Landed(0))), []);
    // The same with another piece.
    desk.wants(&[1]);
    sends(&mut desk, 1, 4);
    desk.apply(Event::Left(no(1)));
    let actions = desk.peer(3, Lan, &[1]);
    assert_eq!(verdicts(&actions), [Action::Discard(1)]);
}

#[test]
fn what_is_brought_while_others_become_suspects_comes_to_an_end() {
    let mut desk = Desk::new(6, |_| ());
    // Piece 1 has a part of the first, and is brought by the third.
    desk.wants(&[1]);
    desk.peer(1, Lan, &[0, 1]);
    sends(&mut desk, 1, 3);
    desk.apply(Event::Choked(no(1)));
    desk.peer(3, Lan, &[1]);
    sends(&mut desk, 3, 1);
    // Meanwhile the first becomes a suspect.
    desk.wants(&[0]);
    desk.apply(Event::Unchoked(no(1)));
    sends(&mut desk, 1, 5);
    desk.apply(Event::Choked(no(1)));
    desk.peer(2, Lan, &[0]);
    assert!(sends(&mut desk, 2, 3).contains(&Action::Whole(0)));
    desk.apply(Event::Bad(0));
    let actions = sends(&mut desk, 3, 12);
    assert!(actions.contains(&Action::Discard(1)));
    assert!(actions.contains(&Action::Whole(1)), "{actions:?}");
    assert_eq!(desk.picker.pieces[&1].from, [who(3)]);
}

#[test]
fn a_suspect_that_sends_a_bad_piece_alone_pays_for_both() {
    let mut desk = two_suspects();
    sends(&mut desk, 2, 8);
    let actions = desk.apply(Event::Bad(0));
    let expected = [Action::Blame(who(2), 2), Action::Drop(no(2))];
    assert_eq!(verdicts(&actions), expected);
    // The other was innocent, and nothing is counted twice.
    desk.apply(Event::Unchoked(no(1)));
    sends(&mut desk, 1, 8);
    assert_eq!(verdicts(&desk.apply(Event::Landed(0))), []);
    desk.apply(Event::Left(no(2)));
    desk.wants(&[1]);
    desk.apply(Event::Choked(no(1)));
    desk.peer(2, Lan, &[1]);
    sends(&mut desk, 2, 8);
    let actions = desk.apply(Event::Bad(1));
    assert_eq!(verdicts(&actions)[0], Action::Blame(who(2), 1));
}

#[test]
fn with_a_liar_all_that_it_had_a_part_in_goes() {
    let mut desk = Desk::new(6, |_| ());
    // It has sent a good piece, so that it is asked for two at once.
    desk.wants(&[5]);
    desk.peer(1, Lan, &[0, 1, 5]);
    desk.sends(1, 10, 8);
    desk.wants(&[0, 1]);
    while !desk.owes(1).contains(&1) || !desk.owes(1).contains(&0) {
        sends(&mut desk, 1, 1);
    }
    let mut whole = None;
    while whole.is_none() {
        whole = sends(&mut desk, 1, 1)
            .iter()
            .find_map(|action| match action {
                Action::Whole(piece) => Some(*piece),
                _ => None,
            });
    }
    let whole = whole.expect("it has become so");
    // Some of the other is here as well.
    sends(&mut desk, 1, 2);
    let actions = desk.apply(Event::Bad(whole));
    assert!(verdicts(&actions).contains(&Action::Discard(1 - whole)));
}

#[test]
fn halves_are_kept_as_long_as_there_is_room_for_them() {
    let mut desk = Desk::new(40, |_| ());
    let all: Vec<u32> = (0..40).collect();
    desk.wants(&all);
    let mut discarded = 0;
    for piece in all {
        desk.peer(1, Lan, &[piece]);
        sends(&mut desk, 1, 1);
        let actions = desk.apply(Event::Left(no(1)));
        discarded += verdicts(&actions).len();
    }
    assert_eq!(discarded, 40 - HALVES_MAX);
}
