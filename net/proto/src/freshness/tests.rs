//! Tables of answers and verdicts. The rule: each row names the section of RFC 9111 (or the fact) that it holds.

mod storing;

use super::*;
use crate::date::http_date;
use proptest::prelude::*;

const NOW: UnixSecs = 1_700_000_000;

/// Header lines of an answer.
type Lines<'l> = &'l [(&'l str, &'l str)];

fn judged(lines: Lines<'_>, immutable: bool, authorized: bool, status: u16) -> Verdict {
    let mut headers = lines.iter().map(|(name, value)| (*name, value.as_bytes()));
    let exchange = Exchange {
        immutable,
        authorized,
        asked_at: NOW,
        now: NOW,
    };
    judge(status, &mut headers, exchange)
}

fn plain(lines: Lines<'_>) -> Verdict {
    judged(lines, false, false, 200)
}

fn date(unix: UnixSecs) -> String {
    String::from_utf8(http_date(unix).to_vec()).expect("dates are ASCII")
}

#[test]
fn how_long_it_is_fresh() {
    let at = |seconds: i64| date(NOW.saturating_add_signed(seconds));
    let (now, past, later) = (at(0), at(-100), at(300));
    let (long_ago, this_year) = (at(-1_000_000_000), at(-36_000));
    // section, header lines, seconds of freshness left
    let table: &[(&str, Lines<'_>, u64)] = &[
        ("4.2.1 max-age", &[("Cache-Control", "max-age=60")], 60),
        (
            "4.2.1 s-maxage first",
            &[("Cache-Control", "max-age=60, s-maxage=90")],
            90,
        ),
        (
            "4.2.1 s-maxage first",
            &[("Cache-Control", "s-maxage=30, max-age=60")],
            30,
        ),
        (
            "4.2.1 max-age before Expires",
            &[("Cache-Control", "max-age=60"), ("Expires", &later)],
            60,
        ),
        ("4.2.1 Expires", &[("Expires", &later), ("Date", &now)], 300),
        ("4.2.1 Expires, no Date", &[("Expires", &later)], 300),
        (
            "5.3 against the origin's own clock",
            &[("Expires", &later), ("Date", &past)],
            300,
        ),
        ("5.3 in the past", &[("Expires", &past), ("Date", &now)], 0),
        ("5.3 no date", &[("Expires", "0")], 0),
        (
            "5.3 no date, with a change to guess by",
            &[("Expires", "-1"), ("Last-Modified", &long_ago)],
            0,
        ),
        (
            "4.2.1 two of Expires",
            &[("Expires", &later), ("Expires", &now), ("Date", &now)],
            0,
        ),
        (
            "4.2.1 no number",
            &[("Cache-Control", "max-age=abc"), ("Expires", &later)],
            0,
        ),
        ("4.2.1 no number", &[("Cache-Control", "max-age=-5")], 0),
        ("4.2.1 no number", &[("Cache-Control", "max-age=1.5")], 0),
        ("4.2.1 no number", &[("Cache-Control", "max-age")], 0),
        ("4.2.1 no number", &[("Cache-Control", "max-age= ")], 0),
        ("5.2 spaces", &[("Cache-Control", "max-age =60")], 0),
        ("5.2 spaces", &[("Cache-Control", "max-age= 60")], 0),
        ("5.2 other quotes", &[("Cache-Control", "max-age='60'")], 0),
        (
            "5.2 zeros in front",
            &[("Cache-Control", "max-age=0060")],
            60,
        ),
        (
            "5.2 not in quotes",
            &[("Cache-Control", "x=\"max-age=60\", max-age=1")],
            1,
        ),
        (
            "4.2 case",
            &[
                ("Expires", "THU, 14 nov 2999 22:13:20 gmt"),
                ("Date", "tue, 14 NOV 2999 22:13:00 GMT"),
            ],
            20,
        ),
        (
            "RFC 9213 first",
            &[
                ("CDN-Cache-Control", "max-age=60"),
                ("Cache-Control", "max-age=1"),
                ("Expires", "0"),
            ],
            60,
        ),
        (
            "RFC 9213 first",
            &[
                ("CDN-Cache-Control", "max-age=0"),
                ("Cache-Control", "s-maxage=60"),
                ("Expires", &later),
            ],
            0,
        ),
        (
            "RFC 9213: says nothing of it",
            &[
                ("CDN-Cache-Control", "public"),
                ("Cache-Control", "max-age=60"),
                ("Expires", &later),
            ],
            0,
        ),
        (
            "4.2.1 two values",
            &[("Cache-Control", "max-age=60, max-age=600")],
            0,
        ),
        (
            "4.2.1 twice the same",
            &[("Cache-Control", "max-age=60, max-age=60")],
            60,
        ),
        ("5.2 both forms", &[("Cache-Control", "max-age=\"60\"")], 60),
        ("5.2 case", &[("CACHE-CONTROL", "MAX-AGE=60")], 60),
        (
            "5.2.2.10 no number",
            &[("Cache-Control", "s-maxage=x, max-age=60")],
            0,
        ),
        (
            "1.2.2 too large",
            &[("Cache-Control", "max-age=99999999999999999999999")],
            1 << 31,
        ),
        ("5.2.2.4", &[("Cache-Control", "no-cache, max-age=60")], 0),
        (
            "5.2.2.4 with fields",
            &[("Cache-Control", "no-cache=\"set-cookie\", max-age=60")],
            60,
        ),
        (
            "4.2.2 a tenth",
            &[("Last-Modified", &this_year), ("Date", &now)],
            3600,
        ),
        ("4.2.2 capped", &[("Last-Modified", &long_ago)], 24 * 3600),
        ("4.2.2 from the future", &[("Last-Modified", &later)], 0),
        ("4.2.2 no date", &[("Last-Modified", "yesterday")], 0),
        ("4.2.2 nothing to go by", &[], 0),
        (
            "4.2.2 not beside what is explicit",
            &[("Cache-Control", "max-age=0"), ("Last-Modified", &long_ago)],
            0,
        ),
        (
            "4.2.3 Age",
            &[("Cache-Control", "max-age=60"), ("Age", "20")],
            40,
        ),
        (
            "4.2.3 Age",
            &[("Cache-Control", "max-age=60"), ("Age", "60")],
            0,
        ),
        (
            "4.2.3 Age",
            &[("Cache-Control", "max-age=60"), ("Age", "100")],
            0,
        ),
        (
            "4.2.3 apparent age",
            &[("Cache-Control", "max-age=160"), ("Date", &past)],
            60,
        ),
        (
            "4.2.3 the larger of both",
            &[
                ("Cache-Control", "max-age=160"),
                ("Date", &past),
                ("Age", "130"),
            ],
            30,
        ),
        (
            "4.2.3 a clock ahead is no age",
            &[("Cache-Control", "max-age=60"), ("Date", &later)],
            60,
        ),
        (
            "5.1 the first",
            &[("Cache-Control", "max-age=60"), ("Age", "20, 50")],
            40,
        ),
        (
            "5.1 the first",
            &[
                ("Cache-Control", "max-age=60"),
                ("Age", "20"),
                ("Age", "50"),
            ],
            40,
        ),
        (
            "5.1 no number",
            &[("Cache-Control", "max-age=60"), ("Age", "-20")],
            60,
        ),
        (
            "5.1 no number",
            &[("Cache-Control", "max-age=60"), ("Age", "2x")],
            60,
        ),
        (
            "5.1 too large",
            &[
                ("Cache-Control", "max-age=60"),
                ("Age", "99999999999999999999999"),
            ],
            0,
        ),
    ];
    for (section, lines, left) in table {
        let verdict = plain(lines);
        let fresh_for = verdict.fresh_until.saturating_sub(NOW);
        assert_eq!(fresh_for, *left, "{section}: {lines:?}");
    }
}

#[test]
fn what_comes_stale_has_been_so_for_a_while() {
    // Section 4.2.4 and RFC 5861: how long it may be stale counts from when it became so.
    let hour_ago = date(NOW - 3600);
    for (lines, stale_for) in [
        (
            [
                ("Cache-Control", "max-age=60, stale-if-error=30"),
                ("Age", "100"),
            ],
            40,
        ),
        (
            [("Cache-Control", "max-age=600"), ("Date", &*hour_ago)],
            3000,
        ),
        ([("Cache-Control", "max-age=60"), ("Age", "60")], 0),
    ] {
        assert_eq!(plain(&lines).fresh_until, NOW - stale_for, "{lines:?}");
    }
}

#[test]
fn what_may_be_served_stale() {
    // section, Cache-Control, must be confirmed, seconds on error, seconds meanwhile
    let table = [
        ("4.2.4", "max-age=1", false, None, None),
        ("5.2.2.2", "max-age=1, must-revalidate", true, None, None),
        ("5.2.2.8", "max-age=1, proxy-revalidate", true, None, None),
        ("5.2.2.10", "s-maxage=1", true, None, None),
        ("5.2.2.4", "no-cache", true, None, None),
        (
            "RFC 5861, 4",
            "max-age=1, stale-if-error=600",
            false,
            Some(600),
            None,
        ),
        (
            "RFC 5861, 3",
            "stale-while-revalidate=30",
            false,
            None,
            Some(30),
        ),
        (
            "RFC 5861, 4: no number",
            "stale-if-error=soon",
            false,
            None,
            None,
        ),
        (
            "5.2.2.2 holds",
            "must-revalidate, stale-if-error=600",
            true,
            None,
            None,
        ),
    ];
    for (section, value, must, on_error, meanwhile) in table {
        let verdict = plain(&[("Cache-Control", value)]);
        assert_eq!(verdict.must_revalidate, must, "{section}");
        assert_eq!(verdict.stale_if_error_s, on_error, "{section}");
        assert_eq!(verdict.stale_while_revalidate_s, meanwhile, "{section}");
    }
}

#[test]
fn ages_and_dates_as_they_are_kept() {
    let past = date(NOW - 100);
    assert_eq!(plain(&[("Date", &past)]).date, NOW - 100);
    assert_eq!(plain(&[("Date", &past)]).age_at_receipt_s, 100);
    assert_eq!(plain(&[("Date", "now")]).date, NOW);
    assert_eq!(plain(&[("Age", "7")]).age_at_receipt_s, 7);
    assert_eq!(plain(&[]).age_at_receipt_s, 0);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_fresh_for_ever(
        value in proptest::collection::vec(any::<u8>(), 0..60),
        name in 0_usize..6,
        now in any::<u64>(),
    ) {
        let names = ["Cache-Control", "Age", "Expires", "Date", "Vary", "Last-Modified"];
        let mut headers = [(names[name], value.as_slice())].into_iter();
        let exchange = Exchange { immutable: false, authorized: false, asked_at: now, now };
        let verdict = judge(200, &mut headers, exchange);
        // A date of the year 9999 is as far as it goes.
        prop_assert!(verdict.fresh_until <= now.saturating_add(253_402_300_800));
    }

    /// What a directive is surrounded by does not hide it.
    #[test]
    fn no_store_is_found_anywhere(
        before in "[a-z-]{1,12}(=[0-9]{1,3})?",
        after in "[a-z-]{1,12}(=\"[a-z, ]{0,9}\")?",
        space in "[ \t]{0,3}",
    ) {
        let line = format!("{before}{space},{space}no-store{space},{after}");
        prop_assert!(!plain(&[("Cache-Control", &line)]).storable);
    }
}
