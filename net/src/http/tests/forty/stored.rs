//! Cases 19, 20, 28, 29, 31, 37 and 40: what is stored and when it may be given. The rule: the origin is asked for what
//! is missing and nothing else.

use super::{Office, Trial, Want, check, in_step, range};
use crate::download::tests::script::{Step, bare};
use crate::http::tests::version::Version;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const N: u64 = 1000;
const MIB: u64 = 1 << 20;

/// The ranges that the origin was asked for from the `from`th request on.
fn ranges(office: &Office<'_>, from: usize) -> Vec<(usize, Option<usize>)> {
    let asked = office.origin.asked();
    let ranges = asked[from..].iter().map(|asked| asked.range);
    ranges.map(|range| range.expect("a range")).collect()
}

pub(super) fn complete(trial: &Trial<'_>) {
    let version = Version::new(3 * MIB + 7, 0);
    let office = trial.of(&version);
    let mut client = office.client();
    let path = trial.path("a");
    check(&mut client, &path, "", &version, Want::Whole);
    office.landed(4);
    let asked = office.asked();
    for (set, want) in [
        ("0-0", Want::Part(0, 0)),
        ("1048570-2097160", Want::Part(1_048_570, 2_097_160)),
        ("-1", Want::Part(3 * MIB + 6, 3 * MIB + 6)),
        (
            "5-9,3145728-3145730",
            Want::Parts(&[(5, 9), (3 * MIB, 3 * MIB + 2)]),
        ),
        ("9999999-", Want::Beyond),
    ] {
        let got = check(&mut client, &path, &range(set), &version, want);
        assert_eq!(got.header("X-Cache-Status"), Some("HIT"), "{set}");
    }
    check(&mut client, &path, "", &version, Want::Whole);
    assert_eq!(office.asked(), asked, "nothing more is asked");
}

pub(super) fn gaps(trial: &Trial<'_>) {
    let version = Version::new(6 * MIB + 7, 0);
    let office = trial.of(&version);
    let mut client = office.client();
    let path = trial.path("a");
    let piece = |n: usize| (n << 20, Some(((n + 1) << 20) - 1));
    // Any order; whole pieces are asked for, and only those that are needed.
    for (nth, n) in [4, 1, 2].into_iter().enumerate() {
        let first = n as u64 * MIB + 5;
        check(
            &mut client,
            &path,
            &range(&format!("{first}-{}", first + 9)),
            &version,
            Want::Part(first, first + 9),
        );
        office.landed(nth as u64 + 1);
        assert_eq!(ranges(&office, nth), [piece(n)]);
    }
    // Partly stored: just the gap.
    check(
        &mut client,
        &path,
        &range("1048576-4194303"),
        &version,
        Want::Part(MIB, 4 * MIB - 1),
    );
    office.landed(4);
    assert_eq!(ranges(&office, 3), [piece(3)]);
    check(
        &mut client,
        &path,
        &range("5-3000000"),
        &version,
        Want::Part(5, 3_000_000),
    );
    assert_eq!(ranges(&office, 4), [piece(0)]);
    office.landed(5);
    // Several ranges, in parts: the last two pieces.
    let parts = [(6 * MIB + 1, 6 * MIB + 2), (5 * MIB, 5 * MIB + 1)];
    check(
        &mut client,
        &path,
        &range("6291457-6291458,5242880-5242881"),
        &version,
        Want::Parts(&parts),
    );
    office.landed(7);
    let mut last: Vec<_> = ranges(&office, 5)
        .iter()
        .map(|(first, last)| (*first, last.expect("closed")))
        .collect();
    last.sort_unstable();
    let bytes: usize = last.iter().map(|(first, last)| last + 1 - first).sum();
    assert_eq!((last[0].0, bytes as u64), (5 << 20, MIB + 7), "{last:?}");
    let asked = office.asked();
    check(&mut client, &path, "", &version, Want::Whole);
    assert_eq!(office.asked(), asked);
}

pub(super) fn varying(trial: &Trial<'_>) {
    let star = Version::bare(
        N,
        0,
        "ETag: \"v0\"\r\nVary: *\r\nCache-Control: max-age=3600\r\n",
    );
    let tongue = |shift, tag| {
        let headers =
            format!("ETag: \"{tag}\"\r\nVary: Accept-Language\r\nCache-Control: max-age=3600\r\n");
        Version::bare(N, shift, &headers)
    };
    let (english, german) = (tongue(1, "en"), tongue(2, "de"));
    let (any, one, two) = (star.clone(), english.clone(), german.clone());
    let office = trial.with(move |asked| {
        let version = match asked.header("accept-language") {
            _ if asked.target.ends_with("star") => &any,
            Some("de") => &two,
            _ => &one,
        };
        vec![Step::Send(version.answer(asked))]
    });
    let mut client = office.client();
    let path = trial.path("star");
    for (more, want) in [
        ("", Want::Whole),
        ("Range: bytes=5-9\r\n", Want::Part(5, 9)),
    ] {
        for _ in 0..2 {
            let asked = office.asked();
            let got = client.get(&path, more);
            let body = match want {
                Want::Part(first, last) => star.bytes(first..last + 1),
                _ => star.whole(),
            };
            assert!(got.body == body, "{more}");
            in_step(&mut client);
            if !trial.fixed {
                assert!(
                    office.asked() > asked,
                    "what varies by anything is not stored"
                );
            }
        }
    }
    // Where a URL names its content, there is one variant.
    if trial.fixed {
        return;
    }
    let path = trial.path("tongue");
    for (field, version) in [
        ("de", &german),
        ("en", &english),
        ("de", &german),
        ("en", &english),
    ] {
        let whole = client.get(&path, &format!("Accept-Language: {field}\r\n"));
        assert!(whole.body == version.whole(), "{field}");
        let more = format!("Accept-Language: {field}\r\nRange: bytes=5-9\r\n");
        let part = client.get(&path, &more);
        let is_part = part.status == 206 && part.body == version.bytes(5..10);
        assert!(is_part || part.body == version.whole(), "{field}");
        in_step(&mut client);
    }
}

pub(super) fn confirmed_in_part(trial: &Trial<'_>) {
    let version = Version::bare(3 * MIB, 0, "ETag: \"v0\"\r\nCache-Control: no-cache\r\n");
    let office = trial.of(&version);
    let mut client = office.client();
    let path = trial.path("a");
    let part = |client: &mut _, first: u64| {
        check(
            client,
            &path,
            &range(&format!("{first}-{}", first + 9)),
            &version,
            Want::Part(first, first + 9),
        );
    };
    part(&mut client, 5);
    office.landed(1);
    part(&mut client, MIB);
    part(&mut client, 100);
    let bodies: Vec<_> = office
        .origin
        .asked()
        .into_iter()
        .filter(|asked| asked.header("if-none-match").is_none())
        .map(|asked| asked.range)
        .collect();
    let piece = |n: usize| Some((n << 20, Some(((n + 1) << 20) - 1)));
    assert_eq!(
        bodies,
        [piece(0), piece(1)],
        "each piece once, the rest was confirmed"
    );
    check(&mut client, &path, "", &version, Want::Whole);

    // A 304 that names another version confirms nothing; nor does one that nobody asked for.
    let (one, two) = (
        version.clone(),
        Version::bare(3 * MIB, 1, "ETag: \"v1\"\r\nCache-Control: no-cache\r\n"),
    );
    let second = two.clone();
    let office = trial.with(move |asked| match asked.number {
        0 if asked.target.ends_with("unasked") => {
            vec![bare("304 Not Modified", "ETag: \"v0\"\r\n")]
        }
        0 => vec![Step::Send(one.answer(asked))],
        1 if asked.header("if-none-match").is_some() => {
            vec![bare("304 Not Modified", "ETag: \"v1\"\r\n")]
        }
        _ => vec![Step::Send(second.answer(asked))],
    });
    let mut client = office.client();
    if !trial.fixed {
        check(
            &mut client,
            &trial.path("b"),
            &range("5-9"),
            &version,
            Want::Part(5, 9),
        );
        check(
            &mut client,
            &trial.path("b"),
            &range("5-9"),
            &two,
            Want::Part(5, 9),
        );
        check(&mut client, &trial.path("b"), "", &two, Want::Whole);
        return;
    }
    check(
        &mut client,
        &trial.path("unasked"),
        &range("5-9"),
        &two,
        Want::Part(5, 9),
    );
    check(&mut client, &trial.path("unasked"), "", &two, Want::Whole);
}

pub(super) fn stale(trial: &Trial<'_>) {
    for (control, forbidden) in [
        ("max-age=0, stale-if-error=600", false),
        ("max-age=0, must-revalidate", true),
    ] {
        let version = Version::bare(
            N,
            0,
            &format!("ETag: \"v0\"\r\nCache-Control: {control}\r\n"),
        );
        let mood = Arc::new(AtomicUsize::new(0));
        let (served, now) = (version.clone(), Arc::clone(&mood));
        let office = trial.with(move |asked| match now.load(Ordering::SeqCst) {
            0 => vec![Step::Send(served.answer(asked))],
            1 => vec![bare("500 Oops", "")],
            2 => vec![Step::Reset],
            _ => vec![Step::Hang],
        });
        let mut client = office.client();
        let path = trial.path("a");
        check(&mut client, &path, "", &version, Want::Whole);
        office.landed(1);
        for trouble in 1..=3 {
            mood.store(trouble, Ordering::SeqCst);
            for (more, want) in [
                ("", Want::Whole),
                ("Range: bytes=5-9\r\n", Want::Part(5, 9)),
            ] {
                if forbidden && !trial.fixed {
                    let got = client.get(&path, more);
                    let right = got.status == 504 || (trouble == 1 && got.status == 500);
                    assert!(right, "trouble {trouble}: {}", got.status);
                    in_step(&mut client);
                } else {
                    let got = check(&mut client, &path, more, &version, want);
                    assert!(got.header("Age").is_some());
                }
            }
        }
        mood.store(0, Ordering::SeqCst);
        office.until("it is confirmed again", || {
            client.get(&path, "").status == 200
        });
        check(&mut client, &path, "", &version, Want::Whole);
    }
}

pub(super) fn names(trial: &Trial<'_>) {
    let version = Version::new(N, 0);
    let office = trial.of(&version);
    let mut client = office.client();
    let path = trial.path("a");
    let heads = [
        format!("GET {path}?x=%2f&cacheHostOrigin=files.example HTTP/1.1\r\nHost: 10.0.0.1\r\n"),
        format!("GET {path}?cacheHostOrigin=files.example&x=%2f HTTP/1.1\r\nHost: 10.0.0.1\r\n"),
        format!("GET http://files.example{path}?x=%2f HTTP/1.1\r\nHost: other\r\n"),
        format!("GET {path}?x=%2f HTTP/1.1\r\nHost: files.example:8080\r\n"),
        format!("GET {path}?x=%2f HTTP/1.1\r\nHost: FILES.example\r\n"),
    ];
    for head in &heads {
        client.write(format!("{head}\r\n").as_bytes());
        let got = client.read(false);
        assert!(
            got.status == 200 && got.body == version.whole(),
            "{head}: {}",
            got.status
        );
        office.landed(1);
        in_step(&mut client);
    }
    let asked = office.origin.asked();
    assert_eq!(asked.len(), 1, "one object by all its names");
    assert_eq!(
        asked[0].target,
        format!("{path}?x=%2f"),
        "without that parameter alone"
    );
    assert!(asked[0].head.contains("\r\nhost: files.example\r\n"));
    // Another query is another object.
    check(
        &mut client,
        &format!("{path}?x=/"),
        "",
        &version,
        Want::Whole,
    );
    assert_eq!(office.asked(), 2);
    let refused = format!(
        "GET {path}?cacheHostOrigin=elsewhere.example HTTP/1.1\r\nHost: files.example\r\n\r\n"
    );
    client.write(refused.as_bytes());
    assert_eq!(client.read(false).status, 403);
    assert_eq!(office.asked(), 2);
}

pub(super) fn two_urls(trial: &Trial<'_>) {
    let version = Version::new(2 * MIB + 3, 0);
    let office = trial.of(&version);
    let mut client = office.client();
    let mut fetch = |host: &str, path: &str| {
        client.write(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let got = client.read(false);
        assert!(
            got.status == 200 && got.body == version.whole(),
            "{host}{path}"
        );
        in_step(&mut client);
    };
    let hosts = [
        "a.dl.delivery.mp.microsoft.com",
        "b.dl.delivery.mp.microsoft.com",
    ];
    if !trial.fixed {
        // Nothing says that they are one: two objects, both right.
        for host in hosts {
            fetch(host, "/may-change/a");
        }
        return;
    }
    let path = "/filestreamingservice/files/0f8fad5b-d9cb-469f-a165-70867728950e";
    for (host, query) in [
        (hosts[0], "?P1=1&P2=404"),
        (hosts[1], "?P1=2&P4=x"),
        (hosts[0], ""),
    ] {
        fetch(host, &format!("{path}{query}"));
    }
    assert_eq!(office.world.store.figures().objects, 1, "one copy");
    let bytes: usize = ranges(&office, 0)
        .iter()
        .map(|(first, last)| last.expect("closed") + 1 - first)
        .sum();
    assert!(
        bytes as u64 >= version.length && bytes as u64 <= 8 * MIB,
        "{bytes}"
    );
    let hosts_asked = office.origin.asked();
    assert!(
        hosts_asked
            .iter()
            .all(|asked| asked.head.contains("host: a.dl.")),
        "the second asks for nothing"
    );
}
