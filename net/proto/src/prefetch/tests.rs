//! Objects that become worth it, by pieces, by clients, and never twice.

use super::{OBJECTS_MAX, Prefetch, Touched};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

fn client(last: u8) -> Option<IpAddr> {
    Some(Ipv4Addr::new(10, 0, 0, last).into())
}

#[test]
fn so_many_different_pieces_are_worth_all_of_it_once() {
    let rule = Prefetch {
        pieces: 3,
        clients: 0,
    };
    let mut touched = Touched::default();
    assert!(!touched.ask(1, [0, 0, 0], client(1), rule));
    assert!(!touched.ask(1, [0, 7], client(2), rule));
    assert!(!touched.ask(2, [8], client(3), rule), "another object");
    assert!(touched.ask(1, [8], client(1), rule));
    assert!(!touched.ask(1, [9], client(1), rule), "it was named");
}

#[test]
fn so_many_different_clients_are_worth_all_of_it() {
    let rule = Prefetch {
        pieces: 0,
        clients: 2,
    };
    let mut touched = Touched::default();
    assert!(!touched.ask(1, 0..100, client(1), rule));
    assert!(!touched.ask(1, [7], None, rule), "it is nobody's");
    assert!(!touched.ask(1, [7], client(1), rule), "the same again");
    assert!(touched.ask(1, [7], client(2), rule));
}

#[test]
fn nothing_is_worth_it_where_both_are_off() {
    let mut touched = Touched::default();
    for piece in 0..100 {
        assert!(!touched.ask(1, [piece], client(1), Prefetch::default()));
    }
    assert!(touched.young.is_empty(), "and nothing is remembered");
}

/// Against a memory that forgets nothing, with a rule that is changed midway.
#[test]
fn what_is_asked_for_often_is_not_forgotten_for_others() {
    let mut touched = Touched::default();
    let mut all: HashMap<u64, HashSet<u32>> = HashMap::new();
    let mut named = HashSet::new();
    let rule = |turn: u64| Prefetch {
        pieces: if turn < 5_000 { 6 } else { 5 },
        clients: 0,
    };
    for turn in 0..20_000_u64 {
        // One in ten asks is for one of 64 objects, the others are each for one of their own.
        let object = if turn % 10 == 0 {
            turn / 10 % 64
        } else {
            turn + 1_000
        };
        let piece = u32::try_from(turn % 7919).expect("small");
        let pieces = all.entry(object).or_default();
        pieces.insert(piece);
        let wanted = rule(turn).pieces as usize;
        let is_new = touched.ask(object, [piece], client(1), rule(turn));
        assert_eq!(
            is_new,
            pieces.len() >= wanted && named.insert(object),
            "turn {turn}"
        );
    }
    assert_eq!(named.len(), 64);
    assert!(touched.young.len() + touched.old.len() <= 2 * OBJECTS_MAX);
}
