//! What is stored of which answer. The rule: each row names the section of RFC 9111 (or the fact) that it holds.

use super::{Lines, NOW, judged, plain};
use crate::UnixSecs;
use crate::freshness::{Exchange, judge};

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
