//! How much is asked of whom, and what becomes of the slow and the silent.

use super::*;

#[test]
fn a_peer_is_asked_for_as_much_as_it_is_good_for() {
    let mut desk = Desk::new(64, |_| ());
    let all: Vec<u32> = (0..64).collect();
    desk.wants(&all);
    desk.peer(1, Lan, &all);
    let owed = |desk: &Desk| desk.picker.peers[&no(1)].asked_bytes;
    // 50 MB/s: 15 MB would be 0.3 s, and 8 MiB are the most.
    desk.sends(1, 2, 200);
    assert_eq!(owed(&desk), 8 << 20);
    // 2.6 MB/s: 0.8 MB.
    let mut desk = Desk::new(64, |_| ());
    desk.wants(&all);
    desk.peer(1, Lan, &all);
    desk.sends(1, 50, 100);
    let six_blocks = u64::from(BLOCK) * 6;
    assert!((six_blocks..=six_blocks + u64::from(BLOCK)).contains(&owed(&desk)));
    // However slow: one block on the way and one behind it.
    let mut desk = Desk::new(64, |_| ());
    desk.wants(&all);
    desk.peer(1, Lan, &all);
    desk.sends(1, 3000, 20);
    assert_eq!(owed(&desk), 2 * u64::from(BLOCK));
}

/// Piece 0 is with a peer that takes 4 s a block; a second one takes 10 ms, and has it as well as piece 1.
fn slow_and_fast(open: bool) -> Desk {
    let mut desk = Desk::new(4, |_| ());
    desk.wants(&[0]);
    desk.peer(1, Lan, &[0]);
    desk.sends(1, 4000, 2);
    if open {
        // Nobody has it, so that the end game has not come.
        desk.wants(&[3]);
    }
    desk.wants(&[1]);
    desk.peer(2, Lan, &[0, 1]);
    desk
}

#[test]
fn a_fast_peer_takes_over_from_a_slow_one_and_what_came_is_kept() {
    let mut desk = slow_and_fast(true);
    assert_eq!(desk.owes(2)[0], 1);
    desk.sends(2, 10, 8);
    // Two blocks have come and four are on their way: two are left for the fast one.
    let offsets: Vec<u32> = desk.picker.peers[&no(2)]
        .asked
        .iter()
        .map(|block| block.offset / BLOCK)
        .collect();
    assert_eq!((desk.owes(2), offsets), (vec![0], vec![6, 7]));
    assert_eq!(desk.owes(1), [0]);
    desk.sends(2, 10, 2);
    let actions = desk.sends(1, 4000, 4);
    assert!(actions.contains(&Action::Whole(0)));
    assert_eq!(desk.picker.wasted_bytes(), 0);
}

#[test]
fn who_has_not_sent_a_good_piece_is_asked_for_one_at_a_time_and_has_no_part_in_others() {
    let mut desk = Desk::new(8, |_| ());
    desk.wants(&[0]);
    desk.peer(1, Lan, &[0]);
    desk.sends(1, 4000, 2);
    // It is free and fast, and might take over: but nobody knows whether it is to be trusted.
    desk.peer(2, Lan, &[0, 1, 2, 3]);
    assert!(desk.owes(2).is_empty());
    desk.wants(&[1, 2, 3]);
    let first = desk.owes(2);
    assert_eq!(first.len(), 1);
    for _ in 0..8 {
        assert_eq!(desk.owes(2), first);
        let block = desk.picker.peers[&no(2)].asked[0];
        desk.now_ms += 5;
        desk.apply(Event::Received(no(2), block));
    }
    // Nor for the next one, before the first is proved.
    assert!(desk.owes(2).is_empty());
    desk.apply(Event::Landed(first[0]));
    assert!(desk.owes(2).len() > 1);
}

#[test]
fn a_peer_that_is_as_fast_takes_nothing_over() {
    let mut desk = Desk::new(4, |_| ());
    desk.wants(&[0, 3]);
    desk.peer(1, Lan, &[0]);
    desk.sends(1, 10, 2);
    desk.peer(2, Lan, &[0]);
    assert!(desk.owes(2).is_empty());
}

#[test]
fn in_the_end_game_blocks_of_slow_peers_are_asked_for_twice_and_called_off() {
    let mut desk = slow_and_fast(false);
    // At first there is something else to bring.
    let first = desk.owes(2);
    assert_eq!(first[0], 1);
    desk.sends(2, 10, 8);
    // The slow one keeps what it was asked for, and the fast one begins at the other end.
    let slow_owes = desk.picker.peers[&no(1)].asked.clone();
    assert!(!slow_owes.is_empty());
    let last = desk.picker.peers[&no(2)].asked[0];
    assert_eq!((last.piece, last.offset), (0, 7 * BLOCK));
    let actions = desk.sends(2, 10, 6);
    for block in slow_owes {
        assert!(actions.contains(&Action::CallOff(no(1), block)));
    }
    assert!(actions.contains(&Action::Whole(0)));
    assert_eq!(desk.picker.wasted_bytes(), 0);
}

#[test]
fn the_second_who_was_asked_for_a_block_is_called_off_as_soon_as_it_came() {
    let mut desk = slow_and_fast(false);
    desk.sends(2, 10, 8);
    // The last block that the slow one was asked for is the first that both were.
    let twice = *desk.picker.peers[&no(1)].asked.back().expect("some");
    let mut actions = Vec::new();
    while desk.picker.peers[&no(2)].asked.contains(&twice) {
        actions = desk.sends(2, 10, 1);
    }
    assert!(actions.contains(&Action::CallOff(no(1), twice)));
    assert!(!actions.contains(&Action::Whole(0)));
    assert!(!desk.picker.peers[&no(1)].asked.contains(&twice));
}

#[test]
fn a_block_that_came_twice_counts_once() {
    let mut desk = slow_and_fast(false);
    desk.sends(2, 10, 8);
    let block = desk.picker.peers[&no(1)].asked[0];
    desk.sends(2, 10, 6);
    // It had crossed with the calling off.
    desk.apply(Event::Received(no(1), block));
    assert_eq!(desk.picker.wasted_bytes(), u64::from(BLOCK));
}

#[test]
fn who_keeps_silent_is_snubbed_for_longer_and_longer_and_then_left() {
    let mut desk = Desk::new(4, |_| ());
    desk.wants(&[0]);
    desk.peer(1, Lan, &[0]);
    assert_eq!(desk.owes(1), [0]);
    desk.tick_until(8000);
    assert_eq!(desk.owes(1), [0]);
    let actions = desk.tick_until(8500);
    assert!(desk.owes(1).is_empty());
    assert!(actions.contains(&Action::GiveBack(0)));
    // Another chance after 15 s, and after 30 more.
    assert_eq!(asked(&desk.tick_until(23_000)), []);
    assert_eq!(asked(&desk.tick_until(23_500)), [(1, 0)]);
    assert_eq!(asked(&desk.tick_until(61_500)), []);
    assert_eq!(asked(&desk.tick_until(62_500)), [(1, 0)]);
    let actions = desk.tick_until(72_000);
    assert!(actions.contains(&Action::Drop(no(1))));
}

#[test]
fn who_was_snubbed_and_sends_again_begins_anew() {
    let mut desk = Desk::new(4, |_| ());
    desk.wants(&[0]);
    desk.peer(1, Lan, &[0]);
    for _ in 0..5 {
        while desk.owes(1).is_empty() {
            let until = desk.now_ms + 500;
            desk.tick_until(until);
        }
        let actions = desk.sends(1, 100, 1);
        assert!(!actions.contains(&Action::Drop(no(1))));
        let until = desk.now_ms + 9000;
        let actions = desk.tick_until(until);
        assert!(!actions.contains(&Action::Drop(no(1))));
    }
}

#[test]
fn what_is_late_goes_to_another() {
    let mut desk = Desk::new(4, |_| ());
    desk.wants(&[0]);
    desk.peer(1, Lan, &[0]);
    desk.peer(2, Lan, &[0]);
    let block = desk.picker.peers[&no(1)].asked[0];
    let actions = desk.apply(Event::Late(no(1), block));
    assert!(desk.owes(1).is_empty());
    assert_eq!(asked(&actions), [(2, 0)]);
    assert!(!actions.contains(&Action::GiveBack(0)));
}
