//! Ranges one by one, then against a reader that marks every byte.

use super::*;
use proptest::prelude::*;

fn one(start: u64, end: u64) -> Ranges {
    Ranges::One(Span::new(start, end))
}

fn many(spans: &[(u64, u64)]) -> Ranges {
    Ranges::Many(spans.iter().map(|&(a, b)| Span::new(a, b)).collect())
}

#[test]
fn ranges_of_a_thousand_bytes() {
    let digits = "9".repeat(30);
    let zeros = format!("{}5", "0".repeat(30));
    for (value, expected) in [
        // 1: plain ones.
        ("bytes=0-0", one(0, 1)),
        ("bytes=0-499", one(0, 500)),
        ("bytes=500-", one(500, 1000)),
        ("bytes=0-", one(0, 1000)),
        ("bytes=999-999", one(999, 1000)),
        // 2: clamped.
        ("bytes=990-1990", one(990, 1000)),
        // 3 and 4: suffixes.
        ("bytes=-500", one(500, 1000)),
        ("bytes=-5000", one(0, 1000)),
        ("bytes=-1", one(999, 1000)),
        ("bytes=-0", Ranges::Unsatisfiable),
        // 5: beyond the end.
        ("bytes=1000-", Ranges::Unsatisfiable),
        ("bytes=1000-1000", Ranges::Unsatisfiable),
        ("bytes=5000-6000", Ranges::Unsatisfiable),
        // 6: nonsense in a known unit.
        ("bytes=5-2", Ranges::Unsatisfiable),
        ("bytes=a-", Ranges::Unsatisfiable),
        ("bytes=0-a", Ranges::Unsatisfiable),
        ("bytes=-", Ranges::Unsatisfiable),
        ("bytes=--1", Ranges::Unsatisfiable),
        ("bytes=10", Ranges::Unsatisfiable),
        ("bytes=", Ranges::Unsatisfiable),
        ("bytes=,", Ranges::Unsatisfiable),
        ("bytes=0 - 1", Ranges::Unsatisfiable),
        ("bytes=+0-1", Ranges::Unsatisfiable),
        ("bytes=0-1-2", Ranges::Unsatisfiable),
        ("bytes=0-1;2-3", Ranges::Unsatisfiable),
        ("bytes=0-1,x", Ranges::Unsatisfiable),
        ("bytes=0-1,5-2", Ranges::Unsatisfiable),
        ("bytes=\u{0661}-2", Ranges::Unsatisfiable),
        // 7: units.
        ("lines=1-2", Ranges::None),
        ("BYTES=0-1", one(0, 2)),
        ("bytes 0-1", Ranges::None),
        ("bytes =0-1", Ranges::None),
        ("bytes", Ranges::None),
        ("10", Ranges::None),
        ("", Ranges::None),
        // 8: numbers that overflow.
        ("bytes=0-18446744073709551615", one(0, 1000)),
        ("bytes=0-18446744073709551616", one(0, 1000)),
        (
            "bytes=18446744073709551615-18446744073709551615",
            Ranges::Unsatisfiable,
        ),
        (&format!("bytes={digits}-"), Ranges::Unsatisfiable),
        (&format!("bytes=1-{digits}"), one(1, 1000)),
        (&format!("bytes=-{digits}"), one(0, 1000)),
        (&format!("bytes={zeros}-0000009"), one(5, 10)),
        // 9 and 10: several, some of which can be satisfied.
        ("bytes=0-1,10-11", many(&[(0, 2), (10, 12)])),
        ("bytes= 0-1 ,\t10-11 , ", many(&[(0, 2), (10, 12)])),
        ("bytes=10-11,0-1", many(&[(10, 12), (0, 2)])),
        ("bytes=0-1,2000-", one(0, 2)),
        ("bytes=2000-,-1", one(999, 1000)),
        ("bytes=2000-,3000-", Ranges::Unsatisfiable),
        ("bytes=-0,0-0", one(0, 1)),
        // 11: overlapping, touching, descending, too many.
        ("bytes=0-9,5-14", one(0, 15)),
        ("bytes=0-9,10-19", one(0, 20)),
        ("bytes=20-29,0-9,10-19", one(0, 30)),
        ("bytes=20-29,0-9,40-49,8-21", many(&[(0, 30), (40, 50)])),
        ("bytes=0-9,11-19", many(&[(0, 10), (11, 20)])),
        ("bytes=0-,0-", Ranges::None),
        ("bytes=0-,0-0", Ranges::None),
        ("bytes=0-998,999-999", one(0, 1000)),
    ] {
        assert_eq!(
            parse_range(Some(value.as_bytes()), 1000),
            expected,
            "{value}"
        );
    }
    assert_eq!(parse_range(None, 1000), Ranges::None);
}

#[test]
fn ranges_are_counted_on_both_sides_of_the_edge() {
    let set = |count: usize| {
        let list: Vec<_> = (0..count)
            .map(|i| format!("{}-{}", i * 10, i * 10 + 1))
            .collect();
        format!("bytes={}", list.join(","))
    };
    assert!(
        matches!(parse_range(Some(set(16).as_bytes()), 1000), Ranges::Many(spans) if spans.len() == 16)
    );
    assert_eq!(parse_range(Some(set(17).as_bytes()), 1000), Ranges::None);
    assert_eq!(
        parse_range(Some(set(1300).as_bytes()), 1 << 40),
        Ranges::None
    );
    let tiny = format!("bytes={}", vec!["0-0"; 1300].join(","));
    assert_eq!(parse_range(Some(tiny.as_bytes()), 1000), Ranges::None);
}

#[test]
fn an_empty_object_has_no_ranges() {
    for value in ["bytes=0-0", "bytes=-5", "bytes=0-", "bytes=x"] {
        assert_eq!(
            parse_range(Some(value.as_bytes()), 0),
            Ranges::None,
            "{value}"
        );
    }
}

#[test]
fn large_objects_are_exact() {
    let length = (5 << 32) + 1;
    assert_eq!(
        parse_range(Some(b"bytes=21474836480-"), length),
        one(5 << 32, length)
    );
    assert_eq!(
        parse_range(Some(b"bytes=-1"), u64::MAX),
        one(u64::MAX - 1, u64::MAX)
    );
    assert_eq!(
        parse_range(Some(b"bytes=0-18446744073709551615"), u64::MAX),
        one(0, u64::MAX)
    );
}

#[test]
fn what_is_wanted_first() {
    for (value, expected) in [
        ("bytes=5-9", Some((5, Some(10)))),
        ("bytes=5-", Some((5, None))),
        ("bytes=-5", Some((0, Some(1)))),
        ("bytes=-5,7-7", Some((7, Some(8)))),
        ("bytes=9-5", None),
        ("lines=1-2", None),
        ("bytes=0-18446744073709551615", Some((0, Some(u64::MAX)))),
        ("", None),
    ] {
        assert_eq!(first_wanted(Some(value.as_bytes())), expected, "{value}");
    }
    assert_eq!(first_wanted(None), None);
}

/// Marks every byte that is asked for. `None` stands for nonsense.
fn slow(specs: &[(Option<u64>, Option<u64>)], length: u64) -> Option<Vec<bool>> {
    let mut marks = vec![false; usize::try_from(length).expect("small")];
    for &(first, last) in specs {
        for (at, mark) in (0..length).zip(&mut marks) {
            *mark |= match (first, last) {
                (None, None) => return None,
                (Some(first), None) => at >= first,
                (Some(first), Some(last)) if last < first => return None,
                (Some(first), Some(last)) => first <= at && at <= last,
                (None, Some(count)) => at + count >= length,
            };
        }
    }
    Some(marks)
}

proptest! {
    #[test]
    fn every_byte_asked_for_is_in_exactly_one_span(
        length in 1_u64..60,
        specs in proptest::collection::vec((proptest::option::of(0_u64..80), proptest::option::of(0_u64..80)), 1..6),
    ) {
        let text = |n: &Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
        let list: Vec<_> = specs.iter().map(|(a, b)| format!("{}-{}", text(a), text(b))).collect();
        let value = format!("bytes={}", list.join(","));
        let spans = match parse_range(Some(value.as_bytes()), length) {
            // The only way there from here: more bytes asked for than there are.
            Ranges::None => {
                let each = |spec| slow(&[spec], length).expect("sense").iter().filter(|m| **m).count() as u64;
                prop_assert!(specs.iter().copied().map(each).sum::<u64>() > length);
                return Ok(());
            }
            Ranges::Unsatisfiable => {
                prop_assert!(slow(&specs, length).is_none_or(|marks| !marks.contains(&true)));
                return Ok(());
            }
            Ranges::One(span) => vec![span],
            Ranges::Many(spans) => {
                prop_assert!(spans.len() > 1);
                spans
            }
        };
        let marks = slow(&specs, length).expect("sense");
        for (at, mark) in (0..length).zip(marks) {
            let holders = spans.iter().filter(|span| span.start <= at && at < span.end).count();
            prop_assert_eq!(holders, usize::from(mark), "byte {} of {:?}", at, spans);
        }
        for (i, a) in spans.iter().enumerate() {
            prop_assert!(!a.is_empty() && a.end <= length);
            prop_assert!(spans[i + 1..].iter().all(|b| a.end < b.start || b.end < a.start));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        value in proptest::collection::vec(proptest::sample::select(b"bytes=0123456789-, \tx\xff".to_vec()), 0..60),
        length in any::<u64>(),
    ) {
        for value in [value.clone(), [b"bytes=".as_slice(), &value].concat()] {
            let _ = first_wanted(Some(&value));
            if let Ranges::One(span) = parse_range(Some(&value), length) {
                prop_assert!(!span.is_empty() && span.end <= length);
            }
        }
    }
}
