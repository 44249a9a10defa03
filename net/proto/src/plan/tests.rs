//! Conditions and ranges together, case by case.

use super::*;
use crate::answer::http_date;

const MODIFIED: UnixSecs = 784_111_777;

fn stored() -> Representation<'static> {
    Representation {
        length: 1000,
        etag: Some("\"x\""),
        last_modified: Some(MODIFIED),
        date: MODIFIED + 1000,
    }
}

/// The plan for a GET with these fields.
fn get(r: &Representation<'_>, fields: &[(&str, &str)]) -> Plan {
    let mut text = "GET / HTTP/1.1\r\nHost: a\r\n".to_owned();
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    match crate::http::head::parse_head(text.as_bytes()) {
        crate::http::head::Parsed::Head(head) => plan(&Conditions::from(&head), r),
        other => panic!("{other:?}"),
    }
}

fn date(unix: UnixSecs) -> String {
    String::from_utf8(http_date(unix).to_vec()).expect("ASCII")
}

const PART: Plan = Plan::Partial(Span { start: 0, end: 10 });

#[test]
fn ranges_become_plans() {
    let r = stored();
    assert_eq!(get(&r, &[]), Plan::Full);
    assert_eq!(get(&r, &[("Range", "bytes=0-9")]), PART);
    assert_eq!(
        get(&r, &[("Range", "bytes=0-1,5-6")]),
        Plan::Parts(vec![Span::new(0, 2), Span::new(5, 7)])
    );
    assert_eq!(get(&r, &[("Range", "bytes=1000-")]), Plan::Unsatisfiable);
    assert_eq!(get(&r, &[("Range", "lines=0-9")]), Plan::Full);
    let empty = Representation { length: 0, ..r };
    assert_eq!(get(&empty, &[("Range", "bytes=0-0")]), Plan::Full);
    assert_eq!(get(&empty, &[("Range", "bytes=-5")]), Plan::Full);
}

#[test]
fn head_has_no_ranges_but_conditions() {
    let range = Conditions {
        head_only: true,
        range: Some(b"bytes=0-9"),
        ..Conditions::default()
    };
    assert_eq!(plan(&range, &stored()), Plan::Full);
    assert_eq!(
        plan(
            &Conditions {
                range: Some(b"bytes=1000-"),
                ..range
            },
            &stored()
        ),
        Plan::Full
    );
    assert_eq!(
        plan(
            &Conditions {
                if_none_match: Some(b"\"x\""),
                ..range
            },
            &stored()
        ),
        Plan::NotModified
    );
}

#[test]
fn if_range() {
    let r = stored();
    let part = |r: &Representation<'_>, validator: &str| {
        get(r, &[("Range", "bytes=0-9"), ("If-Range", validator)])
    };
    assert_eq!(part(&r, "\"x\""), PART);
    for no in [
        "\"y\"",
        "W/\"x\"",
        "x",
        "",
        "junk",
        "*",
        "\"x\", \"y\"",
        "Sun, 06 Nov 1994",
        "\"X\"",
    ] {
        assert_eq!(part(&r, no), Plan::Full, "{no}");
    }
    let weak = Representation {
        etag: Some("W/\"x\""),
        ..r
    };
    assert_eq!(part(&weak, "W/\"x\""), Plan::Full);
    assert_eq!(part(&weak, "\"x\""), Plan::Full);
    // Dates: the very one, in whatever form, and only where it is strong.
    assert_eq!(part(&r, &date(MODIFIED)), PART);
    assert_eq!(part(&r, "Sunday, 06-Nov-94 08:49:37 GMT"), PART);
    assert_eq!(part(&r, &date(MODIFIED + 1)), Plan::Full);
    assert_eq!(part(&r, &date(MODIFIED - 1)), Plan::Full);
    assert_eq!(
        part(
            &Representation {
                date: MODIFIED + 1,
                ..r
            },
            &date(MODIFIED)
        ),
        PART
    );
    assert_eq!(
        part(
            &Representation {
                date: MODIFIED,
                ..r
            },
            &date(MODIFIED)
        ),
        Plan::Full
    );
    assert_eq!(
        part(
            &Representation {
                last_modified: None,
                ..r
            },
            &date(MODIFIED)
        ),
        Plan::Full
    );
    // A mismatch makes even a range that can not be satisfied a plain answer.
    assert_eq!(
        get(&r, &[("Range", "bytes=1000-"), ("If-Range", "\"y\"")]),
        Plan::Full
    );
    assert_eq!(get(&r, &[("If-Range", "\"x\"")]), Plan::Full);
}

#[test]
fn if_none_match_compares_weakly_and_lists() {
    let r = stored();
    for yes in [
        "\"x\"",
        "W/\"x\"",
        "*",
        " * ",
        "\"a\", \"x\"",
        "\"a,b\",W/\"x\" , \"c\"",
        ",, \"x\"",
    ] {
        assert_eq!(
            get(&r, &[("If-None-Match", yes), ("Range", "bytes=0-9")]),
            Plan::NotModified,
            "{yes}"
        );
    }
    for no in ["\"y\"", "x", "\"x", "\"a,\"x\"\"", "w/\"x\"", "", "\"*\""] {
        assert_eq!(
            get(&r, &[("If-None-Match", no), ("Range", "bytes=0-9")]),
            PART,
            "{no}"
        );
    }
    let comma = Representation {
        etag: Some("\"a,b\""),
        ..r
    };
    assert_eq!(
        get(&comma, &[("If-None-Match", "\"z\", \"a,b\"")]),
        Plan::NotModified
    );
    assert_eq!(
        get(&comma, &[("If-None-Match", "\"a\", \"b\"")]),
        Plan::Full
    );
    let bare = Representation {
        etag: Some("abc"),
        ..r
    };
    assert_eq!(
        get(&bare, &[("If-None-Match", "x, abc")]),
        Plan::NotModified
    );
    let none = Representation { etag: None, ..r };
    assert_eq!(get(&none, &[("If-None-Match", "\"x\"")]), Plan::Full);
    assert_eq!(get(&none, &[("If-None-Match", "*")]), Plan::NotModified);
}

#[test]
fn if_match_compares_strongly() {
    let r = stored();
    for yes in ["\"x\"", "*", "\"a\", \"x\""] {
        assert_eq!(get(&r, &[("If-Match", yes)]), Plan::Full, "{yes}");
    }
    for no in ["\"y\"", "W/\"x\"", "x", ""] {
        assert_eq!(
            get(&r, &[("If-Match", no), ("Range", "bytes=0-9")]),
            Plan::PreconditionFailed,
            "{no}"
        );
    }
    let weak = Representation {
        etag: Some("W/\"x\""),
        ..r
    };
    assert_eq!(
        get(&weak, &[("If-Match", "W/\"x\"")]),
        Plan::PreconditionFailed
    );
}

#[test]
fn dates_of_conditions() {
    let r = stored();
    let (at, before, after) = (date(MODIFIED), date(MODIFIED - 1), date(MODIFIED + 1));
    assert_eq!(get(&r, &[("If-Modified-Since", &at)]), Plan::NotModified);
    assert_eq!(get(&r, &[("If-Modified-Since", &after)]), Plan::NotModified);
    assert_eq!(get(&r, &[("If-Modified-Since", &before)]), Plan::Full);
    assert_eq!(get(&r, &[("If-Modified-Since", "junk")]), Plan::Full);
    assert_eq!(get(&r, &[("If-Unmodified-Since", &at)]), Plan::Full);
    assert_eq!(get(&r, &[("If-Unmodified-Since", &after)]), Plan::Full);
    assert_eq!(
        get(&r, &[("If-Unmodified-Since", &before)]),
        Plan::PreconditionFailed
    );
    assert_eq!(get(&r, &[("If-Unmodified-Since", "junk")]), Plan::Full);
    let undated = Representation {
        last_modified: None,
        ..r
    };
    assert_eq!(get(&undated, &[("If-Modified-Since", &after)]), Plan::Full);
    assert_eq!(
        get(&undated, &[("If-Unmodified-Since", &before)]),
        Plan::Full
    );
}

#[test]
fn conditions_are_evaluated_in_order() {
    let r = stored();
    let (before, after) = (date(MODIFIED - 1), date(MODIFIED + 1));
    // If-Match beats If-Unmodified-Since, both ways.
    assert_eq!(
        get(
            &r,
            &[("If-Match", "\"x\""), ("If-Unmodified-Since", &before)]
        ),
        Plan::Full
    );
    assert_eq!(
        get(
            &r,
            &[("If-Match", "\"y\""), ("If-Unmodified-Since", &after)]
        ),
        Plan::PreconditionFailed
    );
    // If-None-Match beats If-Modified-Since, both ways.
    assert_eq!(
        get(
            &r,
            &[("If-None-Match", "\"y\""), ("If-Modified-Since", &after)]
        ),
        Plan::Full
    );
    assert_eq!(
        get(
            &r,
            &[("If-None-Match", "\"x\""), ("If-Modified-Since", &before)]
        ),
        Plan::NotModified
    );
    // 412 before 304 before ranges.
    assert_eq!(
        get(&r, &[("If-None-Match", "\"x\""), ("If-Match", "\"y\"")]),
        Plan::PreconditionFailed
    );
    assert_eq!(
        get(
            &r,
            &[("If-None-Match", "\"x\""), ("If-Unmodified-Since", &before)]
        ),
        Plan::PreconditionFailed
    );
    assert_eq!(
        get(&r, &[("If-None-Match", "\"x\""), ("Range", "bytes=1000-")]),
        Plan::NotModified
    );
    assert_eq!(
        get(
            &r,
            &[
                ("If-Match", "\"x\""),
                ("If-None-Match", "\"y\""),
                ("Range", "bytes=0-9")
            ]
        ),
        PART
    );
}
