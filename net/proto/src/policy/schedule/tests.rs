//! Business hours against a calendar that knows nothing of this file, minute by minute.

use super::*;
use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use proptest::prelude::*;

/// Zones with changes north and south of the equator, by half an hour, at midnight, backwards in summer, and with none.
const ZONES: [&str; 10] = [
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Europe/Dublin",
    "Asia/Beirut",
    "Pacific/Chatham",
    "Asia/Kolkata",
];

fn seconds(text: &str) -> i64 {
    text.parse::<Timestamp>().expect("a moment").as_second()
}

/// The zone as data, and its changes of two years.
fn zone(name: &str) -> (TimeZone, Zone, Vec<i64>) {
    let tz = TimeZone::get(name).expect("the zone is installed");
    let (from, to) = (
        seconds("2025-12-01T00:00:00Z"),
        seconds("2028-02-01T00:00:00Z"),
    );
    let begin = Timestamp::from_second(from).expect("a moment");
    let changes: Vec<(i64, i32)> = tz
        .following(begin)
        .map(|change| (change.timestamp().as_second(), change.offset().seconds()))
        .take_while(|(at, _)| *at < to)
        .collect();
    let data = Zone::new(name, tz.to_offset(begin).seconds(), changes.clone());
    (tz, data, changes.into_iter().map(|(at, _)| at).collect())
}

/// What a clerk with a calendar would say.
fn clerk(hours: &Hours, tz: &TimeZone, unix: i64) -> bool {
    let now = Timestamp::from_second(unix)
        .expect("a moment")
        .to_zoned(tz.clone());
    let hour = u8::try_from(now.hour()).expect("an hour");
    let works_on = |day: Weekday| {
        let nth = u8::try_from(day.to_monday_zero_offset()).expect("a day");
        hours.days.has(nth)
    };
    let today = works_on(now.weekday());
    let yesterday = works_on(now.weekday().previous());
    let begun = today && hour >= hours.from;
    if hours.from < hours.to {
        begun && hour < hours.to
    } else {
        begun || (yesterday && hour < hours.to)
    }
}

fn check(hours: &Hours, name: &str, from: i64, to: i64) {
    let (tz, zone, _) = zone(name);
    let mut change = None;
    let mut before: Option<bool> = None;
    for unix in (from..to).step_by(60) {
        let inside = clerk(hours, &tz, unix);
        let at = u64::try_from(unix).expect("after 1970");
        let percent = if inside { hours.inside } else { hours.outside };
        assert_eq!(
            hours.percent_at(at, &zone),
            percent,
            "{hours:?} {name} {unix}"
        );
        let expected = change.is_none_or(|change| unix < change);
        if let Some(before) = before {
            assert_eq!(
                before == inside,
                expected,
                "{hours:?} {name} {unix} {change:?}"
            );
        }
        if before != Some(inside) {
            change = hours
                .changes_after(at, &zone)
                .map(|change| i64::try_from(change).expect("soon"));
        }
        before = Some(inside);
    }
}

#[test]
fn each_change_of_the_clock_in_two_years_is_as_on_the_wall() {
    let office = Hours {
        days: "mon-fri".parse().expect("days"),
        from: 8,
        to: 17,
        inside: 20,
        outside: 100,
    };
    let night = Hours {
        days: "sat,sun".parse().expect("days"),
        from: 23,
        to: 3,
        ..office
    };
    let at_the_change = Hours {
        days: Days::ALL,
        from: 2,
        to: 3,
        ..office
    };
    let mut looked = 0;
    for name in ZONES {
        let (.., changes) = zone(name);
        for change in changes {
            for hours in [&office, &night, &at_the_change] {
                check(hours, name, change - 36 * 3600, change + 36 * 3600);
            }
            looked += 1;
        }
        // A year and a day without looking for changes.
        let year = seconds("2026-01-01T00:00:00Z");
        check(&night, name, year, year + 40 * DAY_S);
    }
    assert!(looked >= 36, "{looked} changes of the clock");
}

proptest! {
    #[test]
    fn any_hours_are_as_on_the_wall(
        days in 1..128_u8,
        from in 0..24_u8,
        to in 0..=24_u8,
        nth in 0..ZONES.len(),
        which in any::<prop::sample::Index>(),
        ahead_minutes in 0..4320_i64,
    ) {
        let hours = Hours { days: Days(days), from, to, inside: 1, outside: 2 };
        let (.., changes) = zone(ZONES[nth]);
        let middle = match changes.len() {
            0 => seconds("2026-07-01T00:00:00Z"),
            count => changes[which.index(count)],
        };
        let from = middle - ahead_minutes * 60;
        check(&hours, ZONES[nth], from, from + 3 * DAY_S);
    }
}

#[test]
fn days_are_read_and_written() {
    for (text, written) in [
        ("mon-fri", "mon,tue,wed,thu,fri"),
        ("Sat , sun", "sat,sun"),
        ("fri-mon", "mon,fri,sat,sun"),
        ("sun", "sun"),
        ("mon-sun", "mon-sun"),
    ] {
        let days: Days = text.parse().expect(text);
        assert_eq!(days.to_string(), written);
        assert_eq!(written.parse(), Ok(days));
    }
    for text in ["", "monday", "mon-", "mon;tue", "0"] {
        assert!(text.parse::<Days>().is_err(), "{text:?}");
    }
}

#[test]
fn hours_that_never_change_say_so() {
    let always = Hours {
        days: Days::ALL,
        from: 9,
        to: 9,
        inside: 1,
        outside: 2,
    };
    let zone = Zone::default();
    assert!((0..200).all(|hour| always.percent_at(hour * 3600, &zone) == 1));
    assert_eq!(always.changes_after(0, &zone), None);
    let once = Hours {
        days: "wed".parse().expect("a day"),
        to: 10,
        ..always
    };
    // 1970 began with a Thursday.
    let wednesday = 6 * 86_400;
    assert_eq!(once.changes_after(0, &zone), Some(wednesday + 9 * 3600));
    let end = once.changes_after(wednesday + 9 * 3600, &zone);
    assert_eq!(end, Some(wednesday + 10 * 3600));
    assert_eq!(once.changes_after(u64::MAX, &zone), None, "no such moment");
}
