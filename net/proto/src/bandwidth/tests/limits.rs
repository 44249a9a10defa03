//! Limits and shares, as the policies' documentation says them.

use super::*;
use crate::policy::settings::{Hours, MB, PerPriority};
use Priority::{Background, Foreground};

#[test]
fn half_a_minute_brings_what_the_limit_says() {
    for limit in [kb(100), kb(1000), 10 * MB, 100 * MB] {
        for connections in [1, 7] {
            let policies = policies(|p| p.download_bytes_s_max = limit);
            let mut governor = Governor::new(BEGIN);
            governor.set(&policies, 0, BEGIN);
            let mut readers: Vec<_> = (0..connections)
                .map(|n| reader(n, Foreground, true))
                .collect();
            run(&mut governor, &mut readers, None, seconds(30));
            let got = readers.iter().map(|r| r.of(BEGIN, seconds(30))).sum();
            within_percent(got, 30 * limit, 2, &format!("{limit}, {connections}"));
            // A second's worth, and never a second one in a rush.
            let most = fastest_second(&readers);
            assert!(
                most <= limit + limit / 3,
                "{most} in a second under {limit}"
            );
        }
    }
}

#[test]
fn two_and_two_share_as_documented() {
    // All four at once under one limit: who waits has 95 percent, each half of it; however many connections there are.
    let policies = policies(|p| p.download_bytes_s_max = MB);
    let mut governor = Governor::new(BEGIN);
    governor.set(&policies, 0, BEGIN);
    let mut readers = vec![
        reader(1, Foreground, true),
        reader(1, Foreground, true),
        reader(1, Foreground, true),
        reader(2, Foreground, true),
        reader(3, Background, true),
        reader(4, Background, true),
    ];
    run(&mut governor, &mut readers, None, seconds(30));
    let of = |download| {
        let of_it = readers.iter().filter(|r| r.flow.download == download);
        of_it.map(|r| r.of(BEGIN, seconds(30))).sum::<u64>()
    };
    let all = 30 * MB;
    within_percent(
        of(1),
        all * 475 / 1000,
        3,
        "the first that somebody waits for",
    );
    within_percent(of(2), all * 475 / 1000, 3, "the other");
    within_percent(of(3), all * 25 / 1000, 5, "the first in the background");
    within_percent(of(4), all * 25 / 1000, 5, "the other");
}

#[test]
fn who_waits_comes_first_at_once_and_leaves_all_when_done() {
    let policies = policies(|p| p.download_bytes_s_max = 10 * MB);
    let mut governor = Governor::new(BEGIN);
    governor.set(&policies, 0, BEGIN);
    let mut readers = vec![reader(1, Background, true), reader(2, Foreground, true)];
    (readers[1].from, readers[1].until, readers[1].back_at) =
        (seconds(10), seconds(20), seconds(10));
    run(&mut governor, &mut readers, None, seconds(30));
    let background = |from, to| readers[0].of(from, to);
    within_percent(background(seconds(1), seconds(10)), 90 * MB, 2, "alone");
    // The hundred milliseconds in which somebody came: what was in the bucket, and the twentieth.
    let at_once = background(seconds(10), seconds(10) + Duration::from_millis(100));
    assert!(at_once <= MB / 2, "{at_once}");
    within_percent(
        background(seconds(11), seconds(20)),
        90 * MB / 20,
        5,
        "beside one that waits",
    );
    within_percent(
        readers[1].of(seconds(11), seconds(20)),
        90 * MB * 19 / 20,
        2,
        "who waits",
    );
    within_percent(
        background(seconds(21), seconds(30)),
        90 * MB,
        2,
        "alone again",
    );
}

#[test]
fn the_background_has_what_a_slow_foreground_leaves() {
    let policies = policies(|p| p.download_bytes_s_max = 10 * MB);
    let mut governor = Governor::new(BEGIN);
    governor.set(&policies, 0, BEGIN);
    let mut readers = vec![reader(1, Background, true), reader(2, Foreground, true)];
    readers[1].speed = 3 * MB;
    run(&mut governor, &mut readers, None, seconds(30));
    within_percent(
        readers[1].of(BEGIN, seconds(30)),
        90 * MB,
        2,
        "all that its server sends",
    );
    within_percent(readers[0].of(BEGIN, seconds(30)), 210 * MB, 4, "the rest");
}

#[test]
fn one_that_needs_little_has_it_and_the_others_share_the_rest() {
    let policies = policies(|p| p.download_bytes_s_max = 9 * MB);
    let mut governor = Governor::new(BEGIN);
    governor.set(&policies, 0, BEGIN);
    let mut readers: Vec<_> = (0..3).map(|n| reader(n, Foreground, true)).collect();
    readers[0].speed = MB;
    (readers[2].from, readers[2].back_at) = (seconds(15), seconds(15));
    run(&mut governor, &mut readers, None, seconds(30));
    within_percent(
        readers[0].of(seconds(1), seconds(30)),
        29 * MB,
        2,
        "the one",
    );
    within_percent(
        readers[1].of(seconds(1), seconds(15)),
        14 * 8 * MB,
        3,
        "two of them",
    );
    within_percent(
        readers[1].of(seconds(16), seconds(30)),
        14 * 4 * MB,
        3,
        "three",
    );
    within_percent(
        readers[2].of(seconds(16), seconds(30)),
        14 * 4 * MB,
        3,
        "who came late",
    );
}

#[test]
fn a_limit_that_changes_holds_from_the_next_step_on() {
    let of = |limit| policies(|p| p.download_bytes_s_max = limit);
    let mut governor = Governor::new(BEGIN);
    let mut readers = vec![reader(1, Foreground, true)];
    for (nth, limit) in [(0, MB), (1, 10 * MB), (2, kb(100)), (3, 0), (4, MB)] {
        assert!(
            governor.set(&of(limit), 0, seconds(10 * nth)),
            "{limit} is news"
        );
        assert!(!governor.set(&of(limit), 0, seconds(10 * nth)));
        let (from, to) = (seconds(10 * nth), seconds(10 * nth + 10));
        readers[0].from = from;
        run(&mut governor, &mut readers, Some(50 * MB), to);
        let expected = if limit == 0 { 50 * MB } else { limit };
        within_percent(
            readers[0].of(from, to),
            10 * expected,
            4,
            &limit.to_string(),
        );
    }
}

/// What two downloads, one of each priority, and a peer of the LAN get of a line of 8 MB/s in half a minute, together
/// or each alone.
fn measured(change: impl Fn(&mut Policies), unix: u64) -> [u64; 3] {
    let readers = [(Foreground, true), (Background, true), (Foreground, false)];
    readers.map(|(priority, by_line)| {
        let policies = policies(&change);
        let mut governor = Governor::new(BEGIN);
        governor.set(&policies, unix, BEGIN);
        let mut readers = vec![reader(1, priority, by_line)];
        readers[0].speed = 64 * MB;
        run(&mut governor, &mut readers, Some(8 * MB), seconds(38));
        readers[0].of(seconds(8), seconds(38)) / 30
    })
}

#[test]
fn each_setting_limits_what_it_is_for() {
    const LINE: u64 = 8 * MB;
    const LAN: u64 = 64 * MB;
    let none = [LINE, LINE, LAN];
    let both = PerPriority::both;
    fn only_of<T>(foreground: T, background: T) -> PerPriority<T> {
        PerPriority {
            foreground,
            background,
        }
    }
    let office = Hours {
        days: "mon-fri".parse().expect("days"),
        from: 8,
        to: 17,
        inside: 25,
        outside: 50,
    };
    // Thursday, 1 January 1970, at noon and in the evening, and the Saturday after it.
    let (noon, evening, saturday) = (12 * 3600, 20 * 3600, 60 * 3600);
    type Change = Box<dyn Fn(&mut Policies)>;
    let row = |change: fn(&mut Policies)| -> Change { Box::new(change) };
    let rows: Vec<(&str, Change, u64, [u64; 3])> = vec![
        ("nothing is set", row(|_| {}), noon, none),
        (
            "KB/s of all",
            row(|p| p.download_bytes_s_max = MB),
            noon,
            [MB; 3],
        ),
        (
            "the least of it",
            row(|p| p.download_bytes_s_max = KB),
            noon,
            [KB; 3],
        ),
        (
            "the most of it",
            row(|p| p.download_bytes_s_max = KB * u64::from(u32::MAX)),
            noon,
            none,
        ),
        (
            "percent of all",
            row(|p| p.download_percent_max = 50),
            noon,
            [LINE / 2, LINE / 2, LAN],
        ),
        (
            "the least of it",
            row(|p| p.download_percent_max = 1),
            noon,
            [LINE / 100, LINE / 100, LAN],
        ),
        (
            "the most of it",
            row(|p| p.download_percent_max = 100),
            noon,
            none,
        ),
        (
            "percent of the foreground",
            Box::new(move |p| p.download_percent_max_of = only_of(25, 0)),
            noon,
            [LINE / 4, LINE, LAN],
        ),
        (
            "percent of the background",
            Box::new(move |p| p.download_percent_max_of = only_of(0, 25)),
            noon,
            [LINE, LINE / 4, LAN],
        ),
        (
            "the least of both",
            Box::new(move |p| p.download_percent_max_of = only_of(1, 1)),
            noon,
            [LINE / 100, LINE / 100, LAN],
        ),
        (
            "the most of both",
            Box::new(move |p| p.download_percent_max_of = only_of(100, 100)),
            noon,
            none,
        ),
        (
            "KB/s of the foreground",
            Box::new(move |p| p.download_bytes_s_max_of = only_of(MB, 0)),
            noon,
            [MB, LINE, LAN],
        ),
        (
            "KB/s of the background",
            Box::new(move |p| p.download_bytes_s_max_of = only_of(0, MB)),
            noon,
            [LINE, MB, LAN],
        ),
        (
            "hours of both, in them",
            Box::new(move |p| p.hours = both(Some(office))),
            noon,
            [LINE / 4, LINE / 4, LAN],
        ),
        (
            "in the evening",
            Box::new(move |p| p.hours = both(Some(office))),
            evening,
            [LINE / 2, LINE / 2, LAN],
        ),
        (
            "on a day off",
            Box::new(move |p| p.hours = both(Some(office))),
            saturday,
            [LINE / 2, LINE / 2, LAN],
        ),
        (
            "hours of the background alone",
            Box::new(move |p| p.hours = only(office)),
            noon,
            [LINE, LINE / 4, LAN],
        ),
        (
            "outside of them all of it",
            Box::new(move |p| {
                p.hours = only(Hours {
                    outside: 100,
                    ..office
                })
            }),
            evening,
            none,
        ),
        (
            "0 in them is no limit",
            Box::new(move |p| {
                p.hours = only(Hours {
                    inside: 0,
                    ..office
                })
            }),
            noon,
            none,
        ),
        (
            "the least of all decides",
            Box::new(move |p| {
                p.download_bytes_s_max = 3 * MB;
                p.download_percent_max = 50;
                p.download_percent_max_of = only_of(75, 10);
                p.hours = only(office);
            }),
            noon,
            // No more is measured than is allowed.
            [3 * MB / 2, 3 * MB / 10, 3 * MB],
        ),
    ];
    fn only(hours: Hours) -> PerPriority<Option<Hours>> {
        PerPriority {
            foreground: None,
            background: Some(hours),
        }
    }
    for (what, change, unix, expected) in rows {
        let got = measured(change, unix);
        for (nth, (got, expected)) in got.into_iter().zip(expected).enumerate() {
            // What measuring took was paid back before.
            within_percent(got, expected, 2, &format!("{what}, {nth}"));
        }
    }
}

#[test]
fn what_measuring_took_is_paid_back() {
    let policies = policies(|p| p.download_percent_max = 50);
    let mut governor = Governor::new(BEGIN);
    governor.set(&policies, 0, BEGIN);
    let mut readers = vec![reader(1, Foreground, true)];
    run(&mut governor, &mut readers, Some(10 * MB), seconds(30));
    let measured = governor.available().expect("it was measured");
    within_percent(measured, 10 * MB, 2, "the line");
    within_percent(readers[0].of(BEGIN, seconds(30)), 150 * MB, 4, "half of it");
    // The line is faster by now; that is seen when it is measured again.
    run(&mut governor, &mut readers, Some(20 * MB), seconds(700));
    within_percent(
        readers[0].of(seconds(660), seconds(690)),
        300 * MB,
        4,
        "half of more",
    );
}

#[test]
fn who_asks_for_little_says_nothing_of_the_line() {
    let policies = policies(|p| p.download_percent_max = 50);
    let mut governor = Governor::new(BEGIN);
    governor.set(&policies, 0, BEGIN);
    // A little now and then, minutes apart.
    for minute in 0..20 {
        let mut little = reader(1, Foreground, true);
        little.from = seconds(60 * minute);
        (little.back_at, little.until) = (little.from, little.from + Duration::from_millis(3));
        little.speed = MB;
        let until = little.until + TICK;
        run(
            &mut governor,
            std::slice::from_mut(&mut little),
            None,
            until,
        );
    }
    assert_eq!(governor.available(), None);
    let mut whole = reader(2, Foreground, true);
    (whole.from, whole.back_at) = (seconds(1300), seconds(1300));
    let readers = std::slice::from_mut(&mut whole);
    run(&mut governor, readers, Some(10 * MB), seconds(1340));
    let measured = governor.available().expect("it was measured");
    within_percent(measured, 10 * MB, 2, "the line");
    within_percent(
        whole.of(seconds(1310), seconds(1340)),
        150 * MB,
        4,
        "half of it",
    );
}
