//! Who is let in again, and when.

use super::*;

fn at(secs: u64) -> Time {
    Time::from_micros(secs * 1_000_000)
}

fn who(id: u8, address: &str) -> Who {
    Who {
        id: PeerId([id; 16]),
        address: address.parse().expect("an address"),
    }
}

#[test]
fn one_bad_piece_drops_a_peer_and_three_ban_it_for_an_hour() {
    let mut bans = Bans::new();
    let liar = who(1, "203.0.113.7");
    assert_eq!(bans.not_before(liar, at(0)), None);
    assert_eq!(bans.bad(liar, 1, at(0)), Verdict::Dropped(at(300)));
    assert_eq!(bans.not_before(liar, at(299)), Some(at(300)));
    assert_eq!(bans.not_before(liar, at(300)), None);
    assert_eq!(bans.bad(liar, 1, at(400)), Verdict::Dropped(at(700)));
    assert_eq!(bans.banned(at(400)).count(), 0);
    assert_eq!(bans.bad(liar, 1, at(1000)), Verdict::Banned(at(4600)));
    assert_eq!(bans.not_before(liar, at(4599)), Some(at(4600)));
    let banned: Vec<_> = bans.banned(at(4599)).collect();
    assert_eq!(banned, [(Some(liar.id), liar.address, at(4600))]);
    // And then it begins anew.
    assert_eq!(bans.not_before(liar, at(4600)), None);
    assert_eq!(bans.bad(liar, 1, at(4600)), Verdict::Dropped(at(4900)));
}

#[test]
fn three_at_once_are_three() {
    let mut bans = Bans::new();
    let verdict = bans.bad(who(1, "203.0.113.7"), 3, at(0));
    assert_eq!(verdict, Verdict::Banned(at(3600)));
}

#[test]
fn others_behind_a_public_address_are_let_in_until_too_many_there_lie() {
    let mut bans = Bans::new();
    let honest = who(200, "203.0.113.7");
    for liar in 0..4 {
        assert_eq!(bans.not_before(honest, at(0)), None, "{liar}");
        bans.bad(who(liar, "203.0.113.7"), 3, at(0));
    }
    assert_eq!(bans.not_before(honest, at(0)), Some(at(3600)));
    assert!(bans.address_not_before(honest.address, at(0)).is_some());
    let elsewhere = who(0, "203.0.113.8");
    assert_eq!(bans.not_before(elsewhere, at(0)), None);
}

#[test]
fn a_machine_does_not_come_again_by_another_name() {
    for address in ["10.1.2.3", "::ffff:10.1.2.3", "169.254.1.1", "2001:db8::7"] {
        let mut bans = Bans::new();
        for id in 0..2 {
            let verdict = bans.bad(who(id, address), 1, at(0));
            assert!(matches!(verdict, Verdict::Dropped(_)), "{address}");
        }
        let verdict = bans.bad(who(2, address), 1, at(0));
        assert!(matches!(verdict, Verdict::Banned(_)), "{address}");
        assert!(bans.not_before(who(3, address), at(1)).is_some());
    }
    // However it is written.
    let mut bans = Bans::new();
    bans.bad(who(1, "::ffff:10.1.2.3"), 3, at(0));
    assert!(bans.not_before(who(2, "10.1.2.3"), at(1)).is_some());
}

#[test]
fn no_more_are_remembered_than_there_is_room_for() {
    let mut bans = Bans::new();
    for n in 0..=u16::try_from(ENTRIES_MAX).expect("small") {
        let [high, low] = n.to_be_bytes();
        let address = format!("203.0.{high}.{low}");
        bans.bad(who(1, &address), 3, at(u64::from(n) / 10));
    }
    assert_eq!(bans.peers.len(), ENTRIES_MAX);
    // The oldest made room.
    assert_eq!(bans.not_before(who(1, "203.0.0.0"), at(410)), None);
    assert!(bans.not_before(who(1, "203.0.0.1"), at(410)).is_some());
}
