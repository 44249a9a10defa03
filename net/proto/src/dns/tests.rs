//! Answers as name servers give them, and as somebody gives them who wants to do harm.

use super::*;
use proptest::prelude::*;

const NAME: &str = "_ldap._tcp.dc._msdcs.corp.example";

/// An answer to a question: its flags, and its records as they stand.
fn reply(question: &[u8], flags: u16, counts: [u8; 3], records: &[u8]) -> Vec<u8> {
    let mut out = question[..question.len() - 11].to_vec();
    out[2..4].copy_from_slice(&flags.to_be_bytes());
    out[4..12].copy_from_slice(&[0, 1, 0, counts[0], 0, counts[1], 0, counts[2]]);
    out.extend_from_slice(records);
    out
}

fn srv(priority: u8, weight: u8, name: &[u8]) -> Vec<u8> {
    let len = u8::try_from(6 + name.len()).expect("short");
    let mut out = vec![0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, len];
    out.extend_from_slice(&[0, priority, 0, weight, 0x01, 0x85]);
    out.extend_from_slice(name);
    out
}

/// `corp.example`, where it stands in the question.
const DOMAIN: [u8; 2] = [0xc0, 12 + 6 + 5 + 3 + 7];

fn question_of(name: &str) -> Vec<u8> {
    question(7, name, Kind::Srv).expect("a name")
}

#[test]
fn servers_come_in_the_order_in_which_they_are_to_be_asked() {
    let asked = question_of(NAME);
    let mut records = srv(10, 100, &[&[3, b'd', b'c', b'3'][..], &DOMAIN].concat());
    records.extend(srv(0, 50, &[&[3, b'd', b'c', b'2'][..], &DOMAIN].concat()));
    records.extend(srv(0, 100, &[&[3, b'D', b'C', b'1'][..], &DOMAIN].concat()));
    records.extend_from_slice(&[
        3, b'd', b'c', b'1', 0xc0, DOMAIN[1], 0, 1, 0, 1, 0, 0, 0, 60,
    ]);
    records.extend_from_slice(&[0, 4, 10, 1, 2, 3]);
    records.extend_from_slice(&[
        3, b'd', b'c', b'1', 0xc0, DOMAIN[1], 0, 28, 0, 1, 0, 0, 0, 60,
    ]);
    records.extend_from_slice(&[0, 16]);
    records.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
    let answer = answer(
        &reply(&asked, 0x8580, [3, 0, 2], &records),
        7,
        NAME,
        Kind::Srv,
    );
    let answer = answer.expect("an answer");
    let names: Vec<_> = answer
        .servers
        .iter()
        .map(|server| server.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["DC1.corp.example", "dc2.corp.example", "dc3.corp.example"]
    );
    assert_eq!((answer.servers[0].port, answer.is_cut), (389, false));
    let addresses = [
        ("dc1.corp.example".to_owned(), IpAddr::from([10, 1, 2, 3])),
        (
            "dc1.corp.example".to_owned(),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ),
    ];
    assert_eq!(answer.addresses, addresses);
}

#[test]
fn what_is_no_answer_is_told_from_what_is_one() {
    let asked = question_of(NAME);
    let of = |flags, id, name: &str| {
        answer(&reply(&asked, flags, [0; 3], &[]), id, name, Kind::Srv).map(|a| a.servers.len())
    };
    assert_eq!(of(0x8180, 7, NAME), Ok(0), "a name without servers");
    assert_eq!(of(0x8180, 7, "_LDAP._tcp.dc._msdcs.corp.example."), Ok(0));
    assert_eq!(of(0x8183, 7, NAME), Err(DnsError::NoSuchName));
    assert_eq!(of(0x8182, 7, NAME), Err(DnsError::Code(2)));
    assert_eq!(of(0x0100, 7, NAME), Err(DnsError::NotOurs), "a question");
    assert_eq!(of(0x8180, 8, NAME), Err(DnsError::NotOurs), "another's");
    assert_eq!(of(0x8180, 7, "other.example"), Err(DnsError::NotOurs));
    let other = answer(&reply(&asked, 0x8180, [0; 3], &[]), 7, NAME, Kind::A);
    assert_eq!(other, Err(DnsError::NotOurs), "another kind");
    let mut cut = srv(0, 0, &[&[3, b'd', b'c', b'1'][..], &DOMAIN].concat());
    cut.extend_from_slice(&[0xc0, 12, 0]);
    let cut_off = answer(&reply(&asked, 0x8380, [9, 0, 0], &cut), 7, NAME, Kind::Srv);
    assert!(cut_off.is_ok_and(|answer| answer.is_cut && answer.servers.len() == 1));
    let broken = answer(&reply(&asked, 0x8180, [9, 0, 0], &cut), 7, NAME, Kind::Srv);
    assert_eq!(broken, Err(DnsError::Malformed));
    let gone = answer(
        &reply(&asked, 0x8180, [1, 0, 0], &srv(0, 0, &[0])),
        7,
        NAME,
        Kind::Srv,
    );
    assert!(
        gone.is_ok_and(|answer| answer.servers.is_empty()),
        "not to be had"
    );
}

#[test]
fn names_lead_back_and_nowhere_else() {
    let to_itself = [0xc0, 0];
    assert_eq!(name_at(&to_itself, 0), None);
    let circle = [1, b'a', 0xc0, 5, 0, 1, b'b', 0xc0, 0];
    assert_eq!(name_at(&circle, 0), None, "forward");
    assert_eq!(name_at(&circle, 5), None, "back, and forward again");
    let back = [1, b'a', 0, 1, b'b', 0xc0, 0, 9];
    assert_eq!(name_at(&back, 3), Some(("b.a".to_owned(), 7)));
    assert_eq!(name_at(&[0], 0), Some((String::new(), 1)));
    assert_eq!(name_at(&[0x40, 0], 0), None, "a label of an unknown kind");
    let long: Vec<u8> = [[63; 64]; 5].concat();
    assert_eq!(name_at(&long, 0), None, "too long");
    for bad in ["", ".", "a..b", &"x".repeat(64), &"x.".repeat(128)] {
        assert_eq!(question(1, bad, Kind::A), Err(DnsError::Name), "{bad}");
    }
}

proptest! {
    #[test]
    fn garbage_is_no_answer_or_a_short_one(
        garbage in prop::collection::vec(any::<u8>(), 0..600),
        counts in any::<[u8; 3]>(),
    ) {
        let asked = question_of(NAME);
        let message = reply(&asked, 0x8180, counts, &garbage);
        if let Ok(answer) = answer(&message, 7, NAME, Kind::Srv) {
            prop_assert!(answer.servers.len() + answer.addresses.len() <= 256);
        }
        let _ = answer(&garbage, 7, NAME, Kind::Srv);
    }
}
