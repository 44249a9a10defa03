//! What is left to peers, and until when.

use super::*;
use crate::swarm::picker::outside::score;

/// Whether the origin may be asked for a piece, by the last that was said of it.
fn is_left(desk: &Desk, piece: u32) -> bool {
    let left_until = desk.picker.pieces[&piece].left_until;
    left_until.is_some_and(|until| until > at(desk.now_ms))
}

fn foreground(desk: &mut Desk, piece: u32, deadline_ms: u64) {
    desk.apply(Event::Wanted {
        piece,
        deadline: at(deadline_ms),
        background: false,
    });
}

#[test]
fn for_a_moment_peers_are_looked_for_and_then_a_lonely_device_goes_to_the_origin() {
    let mut desk = Desk::new(4, |_| ());
    let actions = desk.wants(&[0]);
    assert_eq!(actions, [Action::LeaveToPeers(0, at(10_000))]);
    let actions = desk.tick_until(1000);
    assert_eq!(actions, [Action::LeaveToPeers(0, at(0))]);
}

#[test]
fn the_delay_from_http_lasts_as_long_as_a_peer_gives_hope() {
    let delays = |settings: &mut Settings| {
        settings.delay_background = Duration::from_secs(60);
        settings.delay_foreground = Duration::from_secs(20);
        settings.share_out = false;
    };
    let mut desk = Desk::new(8, delays);
    desk.wants(&[0]);
    foreground(&mut desk, 1, 900_000);
    desk.peer(1, Lan, &[]);
    desk.tick_until(15_000);
    // It gets pieces itself, if none yet that is wanted here.
    desk.apply(Event::Has(no(1), 5));
    desk.tick_until(19_500);
    assert!(is_left(&desk, 0) && is_left(&desk, 1));
    desk.tick_until(20_000);
    assert!(is_left(&desk, 0) && !is_left(&desk, 1));
    desk.tick_until(30_000);
    desk.apply(Event::Has(no(1), 6));
    desk.tick_until(49_000);
    desk.apply(Event::Has(no(1), 7));
    desk.tick_until(59_500);
    assert!(is_left(&desk, 0));
    desk.tick_until(60_000);
    assert!(!is_left(&desk, 0));
    // The last peer leaves.
    let mut desk = Desk::new(4, delays);
    desk.wants(&[0]);
    desk.peer(1, Lan, &[]);
    desk.tick_until(10_000);
    assert!(is_left(&desk, 0));
    let actions = desk.apply(Event::Left(no(1)));
    assert_eq!(actions, [Action::LeaveToPeers(0, at(0))]);
}

#[test]
fn the_delay_from_http_ends_with_the_use_of_the_peers_that_are_there() {
    let begin = || {
        let mut desk = Desk::new(8, |settings| {
            settings.delay_background = Duration::from_secs(3600);
            settings.share_out = false;
            settings.qos_bytes_per_second = 0;
        });
        desk.wants(&[0, 1]);
        desk
    };
    // It has nothing, and gets nothing.
    let mut desk = begin();
    desk.peer(1, Lan, &[]);
    desk.tick_until(19_500);
    assert!(is_left(&desk, 0));
    desk.tick_until(20_000);
    assert!(!is_left(&desk, 0) && !is_left(&desk, 1));
    // It has what is wanted, and lets nobody ask.
    let mut desk = begin();
    desk.newcomer(1, Lan, false);
    desk.tick_until(10_000);
    desk.apply(Event::HasPieces(no(1), field(8, &[0])));
    desk.tick_until(29_500);
    assert!(is_left(&desk, 1));
    desk.tick_until(30_000);
    assert!(!is_left(&desk, 1));
    // It sends one block, and then no more: it is asked no longer, and not waited for.
    let mut desk = begin();
    desk.newcomer(1, Lan, false);
    desk.apply(Event::HasPieces(no(1), field(8, &[0])));
    desk.tick_until(15_000);
    desk.apply(Event::Unchoked(no(1)));
    desk.sends(1, 10, 1);
    desk.tick_until(34_500);
    assert!(is_left(&desk, 1));
    desk.tick_until(35_500);
    assert!(!is_left(&desk, 1));
    // Another comes that has it: it is left to that one.
    desk.peer(2, Lan, &[0, 1]);
    desk.tick_until(36_000);
    assert!(is_left(&desk, 1));
}

#[test]
fn what_a_picker_has_not_seen_yet_it_releases_or_leaves_in_so_many_words() {
    let mut desk = Desk::new(4, |settings| settings.look_around = Duration::ZERO);
    // Whoever put it there may have left it to peers.
    let released = Action::LeaveToPeers(0, at(0));
    assert_eq!(desk.wants(&[0]), [released]);
    assert_eq!(desk.tick_until(5000), []);
    // Once more: it may have been left to peers in between.
    assert_eq!(desk.wants(&[0]), [released]);
}

#[test]
fn who_knows_one_other_begins_with_what_it_would_own_in_company() {
    let mut desk = Desk::new(60, |_| ());
    desk.peer(1, Lan, &[]);
    let all: Vec<u32> = (0..60).collect();
    desk.wants(&all);
    let mut actions = desk.tick_until(1500);
    let mut began = Vec::new();
    while began.len() < 10 {
        let out = actions.iter().filter_map(|action| match action {
            Action::LeaveToPeers(piece, until) if *until == at(0) => Some(*piece),
            _ => None,
        });
        let out: Vec<u32> = out.collect();
        assert!(!out.is_empty());
        actions.clear();
        for piece in out {
            began.push(piece);
            desk.apply(Event::AtOrigin(piece));
            actions.extend(desk.apply(Event::Landed(piece)));
        }
    }
    let mine = desk.picker.me;
    let owner = |piece: &u32| desk.picker.members.owner(mine, *piece).of_site.is_none();
    let mut order: Vec<u32> = (0..60).filter(owner).collect();
    order.sort_by_key(|piece| std::cmp::Reverse(score(mine, *piece)));
    assert_eq!(began[..10], order[..10]);
    // Four more come: of what it has brought in by then, most would have been its own.
    for n in 2..=5 {
        desk.peer(n, Lan, &[]);
    }
    desk.apply(Event::Tick);
    let owner = |piece: &&u32| desk.picker.members.owner(mine, **piece).of_site.is_none();
    let owned = began[..10].iter().filter(owner).count();
    // By chance it would be two.
    assert!(owned >= 5, "{owned} of 10");
}

#[test]
fn what_peers_have_is_left_to_them_while_they_bring_enough() {
    let run = |ms_a_block: u64| {
        let mut desk = Desk::new(64, |settings| settings.share_out = false);
        let all: Vec<u32> = (0..64).collect();
        desk.wants(&all);
        desk.peer(1, Lan, &all);
        let mut next_tick = 500;
        while desk.now_ms < 20_000 {
            desk.sends(1, ms_a_block, 1);
            if desk.now_ms >= next_tick {
                desk.apply(Event::Tick);
                next_tick = desk.now_ms + 500;
            }
        }
        let open = desk.picker.open.iter().next().copied();
        is_left(&desk, open.expect("more than came"))
    };
    // The least is 500 KB/s: one block each 262 ms.
    assert!(run(230));
    assert!(!run(300));
}

#[test]
fn who_waits_at_a_cache_host_gets_the_origin_in_time() {
    let mut desk = Desk::new(4, |settings| {
        settings.delay_foreground = Duration::from_secs(3600);
    });
    desk.peer(1, Lan, &[]);
    foreground(&mut desk, 0, 14_000);
    desk.tick_until(8500);
    assert!(is_left(&desk, 0));
    desk.tick_until(9000);
    assert!(!is_left(&desk, 0));
}

/// A site of four, who know each other, and two elsewhere: who asks whom for each of 32 pieces.
#[test]
fn each_piece_is_fetched_by_one_of_all_and_brought_in_by_one_of_the_site() {
    let sites: [&[u8]; 2] = [&[1, 2, 3, 4], &[5, 6]];
    let mut fetched_by = BTreeMap::<u32, Vec<u8>>::new();
    let mut brought_by = BTreeMap::<u32, Vec<u8>>::new();
    for me in 1..=6 {
        let settings = Settings::usual(32 << 20);
        let picker = Picker::new(settings, who(me).id, Bitfield::new(32), 7, at(0));
        let (pieces, now_ms) = (32, 0);
        let mut desk = Desk {
            picker,
            now_ms,
            pieces,
        };
        let all: Vec<u32> = (0..32).collect();
        let mine = |site: &&&[u8]| site.contains(&me);
        let my_site = sites.iter().find(mine).expect("there is one");
        for other in (1..=6).filter(|other| *other != me) {
            let kind = if my_site.contains(&other) { Lan } else { Group };
            desk.peer(other, kind, &[]);
        }
        desk.wants(&all);
        desk.tick_until(1500);
        for piece in all {
            let owner = desk.picker.pieces[&piece].owner;
            if owner.of_all.is_none() {
                fetched_by.entry(piece).or_default().push(me);
            } else {
                assert!(is_left(&desk, piece));
            }
            if owner.of_site.is_none() {
                brought_by.entry(piece).or_default().push(me);
            }
        }
    }
    for piece in 0..32 {
        assert_eq!(fetched_by[&piece].len(), 1, "{piece}: {fetched_by:?}");
        assert_eq!(brought_by[&piece].len(), 2, "{piece}: {brought_by:?}");
    }
    let busy: BTreeSet<u8> = fetched_by.values().flatten().copied().collect();
    assert_eq!(busy.len(), 6, "the work is shared: {fetched_by:?}");
}

#[test]
fn a_site_asks_the_origin_for_little_at_once_and_for_the_next_when_that_is_here() {
    for (others, at_once) in [(0, 64), (1, 8), (3, 4), (12, 2)] {
        let mut desk = Desk::new(64, |_| ());
        for other in 1..=others {
            desk.peer(other, Lan, &[]);
        }
        let all: Vec<u32> = (0..64).collect();
        desk.wants(&all);
        desk.tick_until(1500);
        let mut out: Vec<u32> = Vec::new();
        out.extend(all.iter().filter(|piece| !is_left(&desk, **piece)));
        // Who owns no more than that asks for all of it.
        let owner = |piece: &&u32| desk.picker.pieces[piece].owner.of_all;
        let mine = all.iter().filter(|piece| owner(piece).is_none()).count();
        assert_eq!(out.len(), at_once.min(mine), "{others}");
        if mine > at_once {
            desk.apply(Event::AtOrigin(out[0]));
            let actions = desk.apply(Event::Landed(out[0]));
            let next = actions.iter();
            let next = next.filter(
                |action| matches!(action, Action::LeaveToPeers(_, at) if *at == Time::default()),
            );
            assert_eq!(next.count(), 1, "{others}: {actions:?}");
        }
    }
}

#[test]
fn a_rate_is_judged_when_peers_have_had_something_for_a_while() {
    let mut desk = Desk::new(64, |settings| settings.share_out = false);
    let all: Vec<u32> = (0..64).collect();
    desk.wants(&all);
    desk.peer(1, Lan, &[]);
    desk.tick_until(30_000);
    desk.apply(Event::HasPieces(no(1), Bitfield::full(64)));
    desk.tick_until(33_500);
    assert!(is_left(&desk, 40));
    desk.tick_until(36_000);
    assert!(!is_left(&desk, 40));
}

#[test]
fn where_a_cache_host_is_near_far_peers_are_the_last_resort() {
    let mut desk = Desk::new(4, |settings| settings.share_out = false);
    desk.peer(1, Group, &[0, 1, 2, 3]);
    assert_eq!(asked(&desk.wants(&[0])), []);
    desk.apply(Event::AtOrigin(0));
    desk.tick_until(8000);
    desk.apply(Event::Landed(0));
    assert_eq!(asked(&desk.wants(&[1])), []);
    assert_eq!(asked(&desk.tick_until(13_000)), []);
    assert_eq!(asked(&desk.tick_until(16_000)), [(1, 1)]);
}

/// The first piece of a desk with one other fetching peer of the site that the other owns.
fn owned_by_the_other(desk: &mut Desk) -> u32 {
    let all: Vec<u32> = (0..desk.pieces).collect();
    desk.peer(1, Lan, &[]);
    desk.wants(&all);
    desk.tick_until(1500);
    let mut owned = all.into_iter().filter(|piece| is_left(desk, *piece));
    owned.next().expect("about half of them")
}

#[test]
fn an_owner_that_brings_nothing_is_passed_over() {
    let mut desk = Desk::new(16, |_| ());
    let piece = owned_by_the_other(&mut desk);
    desk.tick_until(5000);
    assert!(is_left(&desk, piece));
    // News of any kind shows that it works.
    let other = (0..16).find(|other| *other != piece).expect("many");
    desk.apply(Event::Has(no(1), other));
    desk.tick_until(10_000);
    assert!(is_left(&desk, piece));
    desk.tick_until(10_500);
    assert!(!is_left(&desk, piece));
}

#[test]
fn an_owner_behind_the_same_slow_line_is_given_as_long_as_one_needs_oneself() {
    let mut desk = Desk::new(16, |_| ());
    let piece = owned_by_the_other(&mut desk);
    let mine = (0..16).find(|piece| !is_left(&desk, *piece));
    let mine = mine.expect("about half of them");
    desk.apply(Event::AtOrigin(mine));
    desk.tick_until(20_000);
    // Not here after 18 s: nor is theirs.
    assert!(is_left(&desk, piece));
    desk.apply(Event::Landed(mine));
    desk.tick_until(55_000);
    assert!(is_left(&desk, piece));
    desk.tick_until(58_000);
    assert!(!is_left(&desk, piece));
}

#[test]
fn an_owner_that_leaves_or_is_silent_is_replaced_at_once() {
    let mut desk = Desk::new(16, |_| ());
    let piece = owned_by_the_other(&mut desk);
    desk.peer(2, Lan, &[]);
    desk.apply(Event::Left(no(1)));
    let owner = desk.picker.pieces[&piece].owner.of_site;
    assert!(owner.is_none() || owner == Some(no(2)));
    desk.apply(Event::Left(no(2)));
    assert!(!is_left(&desk, piece));
}

#[test]
fn who_has_everything_owns_nothing() {
    let mut desk = Desk::new(4, |_| ());
    desk.peer(1, Group, &[0, 1, 2, 3]);
    assert_eq!(desk.picker.members, Members::default());
}

#[test]
fn an_appliance_waits_for_no_device() {
    let mut desk = Desk::new(4, |settings| settings.preferred = true);
    desk.peer(1, Lan, &[]);
    assert_eq!(desk.picker.members, Members::default());
    desk.newcomer(2, Group, true);
    desk.apply(Event::Tick);
    assert_ne!(desk.picker.members, Members::default());
}

#[test]
fn only_the_owner_of_the_site_asks_far_peers() {
    let mut desk = Desk::new(16, |_| ());
    let theirs = owned_by_the_other(&mut desk);
    let all: Vec<u32> = (0..16).collect();
    let actions = desk.peer(2, Group, &all);
    let first = asked(&actions);
    assert!(!first.is_empty());
    let mut brought: BTreeSet<u32> = BTreeSet::new();
    for _ in 0..40 {
        brought.extend(desk.owes(2));
        desk.sends(2, 5, 8);
    }
    assert!(!brought.contains(&theirs), "{brought:?}");
    assert!(brought.len() > 3, "{brought:?}");
    for piece in &brought {
        assert!(!is_left_to(&desk, *piece), "{piece}");
    }
}

/// Whether the other of the site owned a piece.
fn is_left_to(desk: &Desk, piece: u32) -> bool {
    let owner = desk.picker.members.owner(desk.picker.me, piece);
    owner.of_site.is_some()
}
