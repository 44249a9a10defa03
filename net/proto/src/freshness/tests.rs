//! Tables of answers and verdicts. The rule: each row names the section of RFC 9111 (or the fact) that it holds.

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
fn what_is_stored() {
    // section, header lines, request with Authorization, stored
    let table: &[(&str, Lines<'_>, bool, bool)] = &[
        ("3: status 200 by itself", &[], false, true),
        ("5.2.2.5", &[("Cache-Control", "no-store")], false, false),
        ("5.2: case", &[("cache-control", "No-Store")], false, false),
        (
            "5.2.2.5 beside others",
            &[("Cache-Control", "max-age=60 , no-store")],
            false,
            false,
        ),
        (
            "5.2: two lines",
            &[
                ("Cache-Control", "max-age=60"),
                ("Cache-Control", "no-store"),
            ],
            false,
            false,
        ),
        (
            "5.2.2.3: who understands the status",
            &[("Cache-Control", "must-understand, no-store")],
            false,
            true,
        ),
        ("5.2.2.7", &[("Cache-Control", "private")], false, false),
        (
            "5.2.2.7 with fields, less these",
            &[("Cache-Control", "private=\"x-id, x-no\"")],
            false,
            true,
        ),
        (
            "5.2.2.7 with what are no fields",
            &[("Cache-Control", "private=\"x id\"")],
            false,
            false,
        ),
        (
            "5.2.2.7 with nothing",
            &[("Cache-Control", "private=\"\"")],
            false,
            false,
        ),
        (
            "5.2.2.7 both",
            &[("Cache-Control", "private=\"x-id\", private")],
            false,
            false,
        ),
        (
            "5.2: no directive inside quotes",
            &[("Cache-Control", "x=\"a, no-store\", max-age=1")],
            false,
            true,
        ),
        (
            "5.2.3: unknown ones",
            &[("Cache-Control", "no-stores, immutable")],
            false,
            true,
        ),
        (
            "5.2.2.4: stored, never fresh",
            &[("Cache-Control", "no-cache"), ("ETag", "\"a\"")],
            false,
            true,
        ),
        (
            "5.2.2.4: and nothing to confirm it by",
            &[("Cache-Control", "no-cache")],
            false,
            false,
        ),
        ("3.5", &[("Cache-Control", "max-age=60")], true, false),
        ("3.5 public", &[("Cache-Control", "public")], true, true),
        (
            "3.5 s-maxage",
            &[("Cache-Control", "s-maxage=60")],
            true,
            true,
        ),
        (
            "3.5 must-revalidate",
            &[("Cache-Control", "max-age=9, must-revalidate")],
            true,
            true,
        ),
        (
            "3.5 proxy-revalidate is none",
            &[("Cache-Control", "proxy-revalidate")],
            true,
            false,
        ),
        ("4.1", &[("Vary", "*")], false, false),
        (
            "4.1 in a list",
            &[("Vary", "Accept-Encoding, *")],
            false,
            false,
        ),
        (
            "4.1 identity is asked for",
            &[("Vary", "Accept-Encoding")],
            false,
            true,
        ),
        (
            "4.1 twice",
            &[("Vary", "accept-encoding"), ("Vary", "Accept-Encoding ,")],
            false,
            true,
        ),
        ("4.1 others", &[("Vary", "Origin")], false, true),
        ("4.1 what is no field", &[("Vary", "a b")], false, false),
        (
            "4.1 after an empty line",
            &[("Vary", ""), ("Vary", " , *")],
            false,
            false,
        ),
        ("7.3", &[("Set-Cookie", "a=b")], false, false),
        (
            "7.3 for everybody, as it says",
            &[("Set-Cookie", "a=b"), ("Cache-Control", "max-age=9")],
            false,
            true,
        ),
        (
            "7.3 stale",
            &[("Set-Cookie", "a=b"), ("Cache-Control", "max-age=0")],
            false,
            false,
        ),
        (
            "5.2.2.7 the cookie alone",
            &[
                ("Set-Cookie", "a=b"),
                ("Cache-Control", "private=\"Set-Cookie\""),
            ],
            false,
            true,
        ),
        (
            "5.4 means nothing here",
            &[("Pragma", "no-cache")],
            false,
            true,
        ),
        (
            "RFC 9213: no-store",
            &[
                ("CDN-Cache-Control", "no-store"),
                ("Cache-Control", "max-age=9"),
            ],
            false,
            false,
        ),
        (
            "RFC 9213: wins over no-store",
            &[
                ("CDN-Cache-Control", "max-age=9"),
                ("Cache-Control", "no-store"),
            ],
            false,
            true,
        ),
        (
            "RFC 9213: not where it is no dictionary",
            &[
                ("CDN-Cache-Control", "max-age=9, &"),
                ("Cache-Control", "no-store"),
            ],
            false,
            false,
        ),
        (
            "RFC 9213: two lines",
            &[
                ("CDN-Cache-Control", "max-age=9"),
                ("CDN-Cache-Control", "private"),
            ],
            false,
            false,
        ),
    ];
    for (section, lines, authorized, stored) in table {
        let verdict = judged(lines, false, *authorized, 200);
        assert_eq!(verdict.storable, *stored, "{section}: {verdict:?}");
        assert_eq!(verdict.why_not.is_none(), *stored, "{section}");
        // Facts: clients 1.12. The first request fills, whatever the headers say.
        let fixed = judged(lines, true, *authorized, 200);
        assert!(
            fixed.storable && fixed.fresh_until == UnixSecs::MAX,
            "{section}"
        );
        assert!(!fixed.must_revalidate, "{section}");
    }
    for status in [100, 201, 203, 204, 301, 304, 404, 416, 500, 503] {
        assert!(
            !judged(&[], true, false, status).storable,
            "section 3: {status}"
        );
    }
    assert!(judged(&[], false, false, 206).storable, "section 3.3");
}

#[test]
fn which_statuses_are_stored() {
    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let plain: Lines<'_> = &[("Last-Modified", OLD)];
    let explicit: Lines<'_> = &[("Cache-Control", "max-age=600"), ("Last-Modified", OLD)];
    let public: Lines<'_> = &[("Cache-Control", "public"), ("Last-Modified", OLD)];
    let understood: Lines<'_> = &[("Cache-Control", "max-age=600, no-store, must-understand")];
    for status in 100..=599 {
        // RFC 9110, section 15.1.
        let by_itself = [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414].contains(&status);
        let about_the_request = [
            304, 401, 407, 408, 412, 416, 417, 421, 425, 426, 428, 429, 431,
        ];
        let ever = (200..500).contains(&status) && !about_the_request.contains(&status);
        let stored = |lines| judged(lines, false, false, status).storable;
        assert_eq!(stored(plain), by_itself, "{status}");
        assert_eq!(stored(explicit), ever, "{status}");
        assert_eq!(stored(public), ever, "{status}");
        let known = by_itself || [302, 303, 307].contains(&status);
        assert_eq!(stored(understood), known, "{status}");
        // Errors live for 5 seconds and are never given stale.
        let verdict = judged(
            &[("Cache-Control", "max-age=600, stale-if-error=600")],
            false,
            false,
            status,
        );
        if (400..500).contains(&status) {
            assert_eq!(verdict.fresh_until, NOW + 5, "{status}");
            assert_eq!(verdict.stale_if_error_s, None, "{status}");
        } else if ever {
            assert_eq!(verdict.fresh_until, NOW + 600, "{status}");
        }
        // Section 4.2.2.
        let guessed = judged(plain, false, false, status).fresh_until - NOW;
        let by_itself_s = if status < 400 { 24 * 3600 } else { 5 };
        assert_eq!(guessed, if by_itself { by_itself_s } else { 0 }, "{status}");
    }
}

#[test]
fn what_else_a_verdict_says() {
    let vary = |lines| plain(lines).vary;
    assert_eq!(
        vary(&[("Vary", "Foo, accept-encoding"), ("vary", "foo,, Bar ")]),
        ["accept-encoding", "bar", "foo"]
    );
    assert!(plain(&[("Vary", "Accept-Encoding")]).varies_by_coding_alone());
    assert!(plain(&[]).varies_by_coding_alone());
    assert!(!plain(&[("Vary", "Accept-Encoding, Origin")]).varies_by_coding_alone());
    let hidden = [(
        "Cache-Control",
        "no-cache=\"A, b\", max-age=9, private=Set-Cookie",
    )];
    assert_eq!(plain(&hidden).without, ["a", "b", "set-cookie"]);
    assert!(plain(&[("Cache-Control", "max-age=9, immutable")]).immutable_while_fresh);
    let fixed = judged(&[("Vary", "Origin"), hidden[0]], true, false, 200);
    assert!(fixed.vary.is_empty() && fixed.without.is_empty());
    // Section 4.2.3: the time that the answer took counts as age, too.
    let exchange = Exchange {
        immutable: false,
        authorized: false,
        asked_at: NOW - 3,
        now: NOW,
    };
    let lines = [
        ("Age", b"4".as_slice()),
        ("Cache-Control", b"max-age=9".as_slice()),
    ];
    let verdict = judge(200, &mut lines.into_iter(), exchange);
    assert_eq!(
        (verdict.age_at_receipt_s, verdict.fresh_until),
        (7, NOW + 2)
    );
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
        assert_eq!(verdict.fresh_until, NOW + left, "{section}: {lines:?}");
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
