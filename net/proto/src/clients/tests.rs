//! Books of clients, by tables: who is taken to have left, what two books add up to, and what is forgotten. The rule: time
//! is an argument, and a client is met as a thread would meet it.

use super::*;

fn at(seconds: u64) -> Time {
    Time::from_micros(seconds * 1_000_000)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

const UPDATES: &str = "download.windowsupdate.com";

#[test]
fn a_refusal_bans_its_host_for_a_quarter_of_an_hour() {
    let mut book = Book::new(8);
    let client = book.met(ip("10.0.0.1"), at(100));
    client.answered(403, None, Some("evil.example"), None, at(100));
    let ban = client.banned(at(100), |_| None).expect("banned");
    assert_eq!(ban.why, Refused::Host);
    assert_eq!(ban.host.as_deref(), Some("evil.example"));
    assert_eq!(ban.until(), at(1000));
    assert!(client.banned(at(999), |_| None).is_some());
    assert!(client.banned(at(1000), |_| None).is_none());
    assert_eq!((client.refused_hosts, client.client_errors), (1, 0));
}

#[test]
fn who_is_served_again_from_that_host_is_back() {
    let mut book = Book::new(8);
    let no = ContentNo::new(7);
    let client = book.met(ip("10.0.0.1"), at(100));
    client.answered(404, Some(CacheStatus::Miss), Some(UPDATES), None, at(100));
    client.answered(206, Some(CacheStatus::Hit), None, Some(no), at(101));
    let other = |_| Some("officecdn.microsoft.com".to_owned());
    assert!(client.banned(at(102), other).is_some(), "of another host");
    let same = |_| Some("Download.windowsupdate.com".to_owned());
    assert!(client.banned(at(102), same).is_none());
}

#[test]
fn what_was_served_before_the_error_proves_nothing() {
    let mut book = Book::new(8);
    let client = book.met(ip("10.0.0.1"), at(1));
    let no = ContentNo::new(7);
    client.answered(206, Some(CacheStatus::Hit), None, Some(no), at(1));
    client.answered(416, Some(CacheStatus::Hit), Some(UPDATES), None, at(2));
    assert!(client.banned(at(3), |_| Some(UPDATES.to_owned())).is_some());
}

#[test]
fn errors_of_the_server_ban_nobody_and_nor_does_what_is_no_request() {
    let mut book = Book::new(8);
    let client = book.met(ip("10.0.0.1"), at(1));
    for status in [500, 502, 503, 504] {
        client.answered(status, None, Some(UPDATES), None, at(1));
    }
    client.answered(400, None, None, None, at(1));
    assert_eq!((client.server_errors, client.client_errors), (4, 1));
    assert_eq!(client.banned(at(2), |_| None), None);
}

#[test]
fn who_left_after_too_little_has_left_for_everything() {
    let leave = |waited: u64, bytes: u64| {
        let mut book = Book::new(8);
        let client = book.met(ip("10.0.0.1"), at(0));
        client.left(at(0), bytes, at(waited));
        client
            .banned(at(waited), |_| None)
            .map(|ban| (ban.why, ban.host.clone()))
    };
    assert_eq!(leave(20, 0), Some((Refused::TooSlow, None)));
    assert_eq!(leave(20, 79_999), Some((Refused::TooSlow, None)));
    assert_eq!(leave(20, 80_000), None, "fast enough");
    assert_eq!(leave(19, 0), None, "it has changed its mind");
}

#[test]
fn books_are_bounded_and_keep_those_who_came_last() {
    let mut book = Book::new(100);
    for n in 0..1000_u32 {
        let from = IpAddr::V4(n.into());
        book.met(from, at(n.into())).requests += 1;
        book.met(ip("10.9.9.9"), at(n.into())).requests += 1;
    }
    assert!(book.len() <= 100, "{}", book.len());
    assert!(book.forgotten() > 800, "{}", book.forgotten());
    let often = book.clients().find(|(from, _)| *from == ip("10.9.9.9"));
    assert_eq!(often.map(|(_, client)| client.requests), Some(1000));
    let last = IpAddr::V4(999.into());
    assert!(book.clients().any(|(from, _)| from == last));
}

#[test]
fn what_two_books_know_of_one_client_adds_up() {
    let (mut one, mut two) = (Book::new(8), Book::new(8));
    let from = ip("10.0.0.1");
    let client = one.met(from, at(5));
    client.answered(
        206,
        Some(CacheStatus::Hit),
        None,
        Some(ContentNo::new(1)),
        at(5),
    );
    client.sent(100, 1);
    let client = two.met(ip("::ffff:10.0.0.1"), at(3));
    client.answered(404, Some(CacheStatus::Miss), Some(UPDATES), None, at(3));
    client.sent(10, 20);
    let taken = two.take();
    assert!(two.is_empty());
    one.join(taken);
    assert_eq!(one.len(), 1);
    let (_, client) = one.clients().next().expect("one");
    assert_eq!((client.requests, client.client_errors), (2, 1));
    assert_eq!((client.bytes_stored, client.bytes_fetched), (110, 21));
    assert_eq!((client.first, client.last), (at(3), at(5)));
    assert_eq!(client.content, Some(ContentNo::new(1)));
    assert_eq!(client.banned(at(6), |_| Some(UPDATES.to_owned())), None);
    assert!(client.banned(at(6), |_| None).is_some());
}

#[test]
fn who_was_not_met_for_long_is_forgotten() {
    let mut book = Book::new(8);
    book.met(ip("10.0.0.1"), at(10));
    book.met(ip("10.0.0.2"), at(20));
    book.forget_before(at(20));
    let left: Vec<IpAddr> = book.clients().map(|(from, _)| from).collect();
    assert_eq!(left, [ip("10.0.0.2")]);
}

#[test]
fn addresses_are_shown_as_far_as_they_may_be() {
    let cases = [
        ("10.1.2.3", Privacy::Full, "10.1.2.3"),
        ("::ffff:10.1.2.3", Privacy::Full, "10.1.2.3"),
        ("10.1.2.3", Privacy::Subnet, "10.1.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", Privacy::Subnet, "2001:db8:1:2::/64"),
        ("10.1.2.3", Privacy::Hashed, "client-0123456789ab"),
    ];
    for (address, privacy, expected) in cases {
        let hash = |_| 0x0123_4567_89ab_cdef;
        assert_eq!(shown(ip(address), privacy, hash), expected);
    }
}
