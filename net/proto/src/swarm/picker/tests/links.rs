//! What is left to links, and until when.

use super::*;

fn on_link(desk: &mut Desk, n: u8, cost: u32, has: &[u32]) {
    let new = Newcomer {
        who: who(n),
        kind: Group,
        preferred: true,
        round_trip: Duration::from_millis(50),
        link_cost: Some(cost),
    };
    desk.apply(Event::Joined(no(n), new));
    desk.apply(Event::HasPieces(no(n), field(desk.pieces, has)));
    desk.apply(Event::Unchoked(no(n)));
}

fn appliance(pieces: u32) -> Desk {
    Desk::new(pieces, |settings| {
        settings.look_around = Duration::ZERO;
        settings.preferred = true;
    })
}

fn is_left(desk: &Desk, piece: u32) -> bool {
    desk.picker.pieces[&piece].left_until > Some(at(desk.now_ms))
}

fn wants_for_a_client(desk: &mut Desk, piece: u32) {
    desk.apply(Event::Wanted {
        piece,
        deadline: at(desk.now_ms + 15_000),
        background: false,
    });
}

#[test]
fn what_is_on_its_way_to_the_other_end_is_waited_for_and_then_taken_from_there() {
    let mut desk = appliance(8);
    on_link(&mut desk, 1, 10, &[]);
    wants_for_a_client(&mut desk, 3);
    assert!(!is_left(&desk, 3), "nobody fetches it");
    desk.apply(Event::Coming(no(1), 4));
    wants_for_a_client(&mut desk, 4);
    assert!(is_left(&desk, 4));
    // It holds as long as it may take, and not for ever.
    desk.tick_until(3500);
    assert!(is_left(&desk, 4));
    let actions = desk.apply(Event::Has(no(1), 4));
    assert!(
        asked(&actions)
            .iter()
            .any(|(n, piece)| (*n, *piece) == (1, 4)),
        "{actions:?}"
    );
}

#[test]
fn what_was_announced_and_does_not_come_is_the_origins_after_seconds() {
    let mut desk = appliance(8);
    on_link(&mut desk, 1, 10, &[]);
    desk.apply(Event::Coming(no(1), 4));
    wants_for_a_client(&mut desk, 4);
    desk.tick_until(3000);
    // Saying it again gains no time.
    desk.apply(Event::Coming(no(1), 4));
    desk.tick_until(4500);
    assert!(!is_left(&desk, 4));
}

#[test]
fn a_connection_that_is_lost_releases_what_was_left_to_it() {
    let mut desk = appliance(8);
    on_link(&mut desk, 1, 10, &[]);
    desk.apply(Event::Coming(no(1), 4));
    wants_for_a_client(&mut desk, 4);
    assert!(is_left(&desk, 4));
    let actions = desk.apply(Event::Left(no(1)));
    assert!(
        actions.contains(&Action::LeaveToPeers(4, at(0))),
        "{actions:?}"
    );
}

#[test]
fn two_that_fetch_the_same_do_not_begin_with_the_same_piece() {
    let mut desk = appliance(64);
    on_link(&mut desk, 1, 10, &[]);
    on_link(&mut desk, 2, 10, &[]);
    desk.tick_until(1000);
    for piece in 0..64 {
        wants_for_a_client(&mut desk, piece);
        assert!(!is_left(&desk, piece), "nobody is known to fetch it");
    }
    desk.apply(Event::Coming(no(1), 0));
    desk.apply(Event::Coming(no(2), 1));
    let mut desk_at = desk.now_ms;
    let left = |desk: &Desk| (2..64).filter(|piece| is_left(desk, *piece)).count();
    // What is wanted from now on: a third is begun at once, the rest when its owner has said nothing for a moment.
    for piece in 2..64 {
        desk.apply(Event::Unwanted(piece));
        wants_for_a_client(&mut desk, piece);
    }
    assert!((30..55).contains(&left(&desk)), "{}", left(&desk));
    desk_at += 250;
    desk.now_ms = desk_at;
    assert_eq!(left(&desk), 0);
}

fn put_to(actions: &[Action]) -> Vec<(u64, u32)> {
    let put_to = actions.iter().filter_map(|action| match action {
        Action::Wanted(no, piece) => Some((no.0, *piece)),
        _ => None,
    });
    put_to.collect()
}

#[test]
fn who_owns_a_piece_is_asked_once_to_bring_it_in_and_given_a_moment_to_say_that_it_does() {
    let mut desk = appliance(64);
    on_link(&mut desk, 1, 10, &[]);
    desk.apply(Event::Coming(no(1), 0));
    let wanted = |desk: &mut Desk, piece| {
        desk.apply(Event::Wanted {
            piece,
            deadline: at(desk.now_ms + 15_000),
            background: false,
        })
    };
    let mut theirs = Vec::new();
    for piece in 1..64 {
        let asked = put_to(&wanted(&mut desk, piece));
        assert_eq!(is_left(&desk, piece), !asked.is_empty());
        theirs.extend(asked);
    }
    assert!((20..44).contains(&theirs.len()), "about half: {theirs:?}");
    let (_, first) = theirs[0];
    desk.apply(Event::Coming(no(1), first));
    // What it says it brings is left to it from then on; the rest is not, and it is not asked again.
    let again = desk.tick_until(1000);
    assert_eq!(put_to(&again), []);
    let left: Vec<u32> = (1..64).filter(|piece| is_left(&desk, *piece)).collect();
    assert_eq!(left, [first]);
}

#[test]
fn links_are_left_more_as_long_as_what_is_left_to_them_comes_in_time() {
    let mut desk = appliance(200);
    let all: Vec<u32> = (0..200).collect();
    on_link(&mut desk, 1, 10, &all);
    let least = desk.picker.links_bear_bytes;
    for piece in 0..40 {
        wants_for_a_client(&mut desk, piece);
    }
    desk.sends(1, 100, 8 * 5);
    let most = desk.picker.links_bear_bytes;
    assert_eq!(most, least + (5 << 20));
    // From here on it is five times as slow.
    desk.sends(1, 500, 8 * 12);
    assert_eq!(desk.picker.links_bear_bytes, least);
}

#[test]
fn what_a_link_would_bring_too_late_is_the_origins_two_pieces_at_a_time() {
    let mut desk = appliance(200);
    let all: Vec<u32> = (0..200).collect();
    on_link(&mut desk, 1, 10, &all);
    for piece in 0..50 {
        wants_for_a_client(&mut desk, piece);
    }
    desk.tick_until(500);
    let out = |desk: &Desk| {
        let open = desk.picker.pieces.iter().filter(|(number, piece)| {
            desk.picker.open.contains(number) && piece.left_until <= Some(at(desk.now_ms))
        });
        open.map(|(number, _)| *number).collect::<Vec<u32>>()
    };
    // At first it is taken for a fast one.
    assert!(out(&desk).is_empty());
    // When it turns out to be slow not all is left to it: here 640 KiB a second.
    desk.sends(1, 200, 30);
    desk.apply(Event::Tick);
    let first = out(&desk);
    assert_eq!(first.len(), 2, "{first:?}");
    for piece in &first {
        desk.apply(Event::AtOrigin(*piece));
    }
    desk.apply(Event::Tick);
    assert!(out(&desk).is_empty(), "no more before they are here");
    for piece in &first {
        desk.apply(Event::Landed(*piece));
    }
    assert_eq!(out(&desk).len(), 2);
}

#[test]
fn of_two_links_the_cheaper_is_asked_and_a_peer_nearby_before_both() {
    let mut desk = appliance(4);
    on_link(&mut desk, 1, 20, &[0, 1]);
    on_link(&mut desk, 2, 10, &[0, 1, 2]);
    wants_for_a_client(&mut desk, 0);
    assert_eq!((desk.owes(1), desk.owes(2)), (vec![], vec![0]));
    desk.peer(3, Lan, &[2]);
    wants_for_a_client(&mut desk, 2);
    assert_eq!(desk.owes(3), [2]);
}

#[test]
fn a_client_that_can_not_wait_gets_it_from_the_origin() {
    let mut desk = appliance(4);
    on_link(&mut desk, 1, 20, &[]);
    desk.apply(Event::Coming(no(1), 0));
    desk.apply(Event::Wanted {
        piece: 0,
        deadline: at(desk.now_ms + 4000),
        background: false,
    });
    assert!(!is_left(&desk, 0));
}
