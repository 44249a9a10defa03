//! Cases 1 to 14 and 38: which bytes a `Range` names. The rule: each is tried twice, once while nothing is stored and
//! once when it is.

use super::{Trial, Want, check, in_step, range};
use crate::download::tests::script::Step;
use crate::http::tests::branch::Way;
use crate::http::tests::version::Version;

const N: u64 = 1000;
const MIB: u64 = 1 << 20;

/// Tries ranges of one object, each cold, on an object of its own, and warm.
fn table(trial: &Trial<'_>, length: u64, rows: &[(&str, Want<'_>)]) {
    let version = Version::new(length, 0);
    let office = trial.of(&version);
    let mut client = office.client();
    for (number, (field, want)) in rows.iter().enumerate() {
        let path = trial.path(&number.to_string());
        for _ in 0..2 {
            check(
                &mut client,
                &path,
                &format!("Range: {field}\r\n"),
                &version,
                *want,
            );
        }
        // Of what others had stored, as the native client asks (facts: clients, section 1.6).
        let native = format!("Content-Length: 0\r\nRange: {field}\r\n");
        check(&mut client, &trial.path("0"), &native, &version, *want);
    }
    if trial.fixed && trial.way != Way::Service {
        assert_eq!(office.served().1, 0, "nothing of it is handed over");
    }
}

pub(super) fn single(trial: &Trial<'_>) {
    table(
        trial,
        N,
        &[
            ("bytes=0-0", Want::Part(0, 0)),
            ("bytes=0-499", Want::Part(0, 499)),
            ("bytes=500-", Want::Part(500, 999)),
            ("bytes=999-999", Want::Part(999, 999)),
            ("bytes=0-", Want::Part(0, 999)),
        ],
    );
    table(
        trial,
        3 * MIB + 7,
        &[
            ("bytes=1048575-1048576", Want::Part(MIB - 1, MIB)),
            ("bytes=2097152-", Want::Part(2 * MIB, 3 * MIB + 6)),
            ("bytes=70000-3000000", Want::Part(70_000, 3_000_000)),
        ],
    );
}

pub(super) fn clamped(trial: &Trial<'_>) {
    table(
        trial,
        N,
        &[
            ("bytes=990-1990", Want::Part(990, 999)),
            ("bytes=999-1000", Want::Part(999, 999)),
            ("bytes=0-4294967296", Want::Part(0, 999)),
        ],
    );
}

pub(super) fn suffixes(trial: &Trial<'_>) {
    table(
        trial,
        N,
        &[
            ("bytes=-500", Want::Part(500, 999)),
            ("bytes=-1", Want::Part(999, 999)),
            ("bytes=-5000", Want::Part(0, 999)),
        ],
    );
    table(
        trial,
        2 * MIB + 5,
        &[("bytes=-6", Want::Part(2 * MIB - 1, 2 * MIB + 4))],
    );
    // Where nothing is known, the length and the end are asked for, and nothing between them.
    let version = Version::new(20 * MIB, 0);
    let office = trial.of(&version);
    let (path, last) = (trial.path("a"), 20 * MIB - 1);
    let want = Want::Part(last - 99, last);
    check(&mut office.client(), &path, &range("-100"), &version, want);
    assert_eq!(office.origin.bytes_asked() as u64, 2 * MIB);
}

pub(super) fn empty_suffix(trial: &Trial<'_>) {
    table(
        trial,
        N,
        &[("bytes=-0", Want::Beyond), ("bytes=-000", Want::Beyond)],
    );
}

pub(super) fn beyond_the_end(trial: &Trial<'_>) {
    table(
        trial,
        N,
        &[
            ("bytes=1000-", Want::Beyond),
            ("bytes=1000-1001", Want::Beyond),
            ("bytes=5000000-6000000", Want::Beyond),
            ("bytes=1000-,2000-", Want::Beyond),
        ],
    );
}

pub(super) fn malformed(trial: &Trial<'_>) {
    let sets = [
        "5-2", "a-", "-", "10", "1 - 2", "1- 2", "0-0x5", "+1-2", "1--2", "-5-", "", ",", "1-2;3-4",
    ];
    let rows: Vec<_> = sets
        .iter()
        .map(|set| (format!("bytes={set}"), Want::Beyond))
        .collect();
    let rows: Vec<_> = rows
        .iter()
        .map(|(set, want)| (set.as_str(), *want))
        .collect();
    table(trial, N, &rows);
}

pub(super) fn units(trial: &Trial<'_>) {
    table(
        trial,
        N,
        &[
            ("lines=1-2", Want::Whole),
            ("nonsense", Want::Whole),
            ("byte=0-1", Want::Whole),
            ("BYTES=0-1", Want::Part(0, 1)),
            ("Bytes=0-1", Want::Part(0, 1)),
        ],
    );
}

pub(super) fn huge_numbers(trial: &Trial<'_>) {
    table(
        trial,
        N,
        &[
            ("bytes=0-9223372036854775808", Want::Part(0, 999)),
            ("bytes=0-18446744073709551615", Want::Part(0, 999)),
            (
                "bytes=0-99999999999999999999999999999999",
                Want::Part(0, 999),
            ),
            (
                "bytes=0000000000-000000000000000000000009",
                Want::Part(0, 9),
            ),
            ("bytes=-99999999999999999999", Want::Part(0, 999)),
            ("bytes=9223372036854775808-", Want::Beyond),
            ("bytes=18446744073709551615-", Want::Beyond),
            ("bytes=99999999999999999999-", Want::Beyond),
            (
                "bytes=18446744073709551615-18446744073709551615",
                Want::Beyond,
            ),
        ],
    );
}

pub(super) fn two(trial: &Trial<'_>) {
    table(
        trial,
        N,
        &[
            ("bytes=0-9,200-299", Want::Parts(&[(0, 9), (200, 299)])),
            ("bytes=-1,0-0", Want::Parts(&[(999, 999), (0, 0)])),
            ("bytes= 0-9 , 20-29", Want::Parts(&[(0, 9), (20, 29)])),
        ],
    );
    let last = 2 * MIB + 6;
    table(
        trial,
        last + 1,
        &[
            (
                "bytes=5-1500000,1600000-2097158",
                Want::Parts(&[(5, 1_500_000), (1_600_000, last)]),
            ),
            (
                "bytes=2097150-2097158,0-0",
                Want::Parts(&[(2_097_150, last), (0, 0)]),
            ),
        ],
    );
}

pub(super) fn one_of_two(trial: &Trial<'_>) {
    table(
        trial,
        N,
        &[
            ("bytes=5-9,2000-3000", Want::Part(5, 9)),
            ("bytes=2000-,5-9", Want::Part(5, 9)),
            ("bytes=-0,5-9", Want::Part(5, 9)),
            ("bytes=5-9,2000-,20-29", Want::Parts(&[(5, 9), (20, 29)])),
        ],
    );
}

pub(super) fn many(trial: &Trial<'_>) {
    let tiny: String = (0..200).map(|n| format!("{},", 2 * n)).collect();
    let tiny: String = tiny
        .split_terminator(',')
        .map(|n| format!("{n}-{n},"))
        .collect();
    // CVE-2011-3192 asks 1,300 times for nearly all of it.
    let amplified: String = (0..1300).map(|n| format!("5-{},", n % 990 + 5)).collect();
    let (tiny, amplified) = (format!("bytes={tiny}"), format!("bytes={amplified}"));
    table(
        trial,
        N,
        &[
            ("bytes=0-,0-,0-", Want::Whole),
            ("bytes=0-899,100-999,5-", Want::Whole),
            (&tiny, Want::Whole),
            (&amplified, Want::Whole),
            ("bytes=0-9,5-19,20-24", Want::Part(0, 24)),
            ("bytes=500-599,0-99", Want::Parts(&[(500, 599), (0, 99)])),
            ("bytes=20-29,0-9,5-21", Want::Part(0, 29)),
        ],
    );
}

pub(super) fn of_an_empty_object(trial: &Trial<'_>) {
    table(
        trial,
        0,
        &[
            ("bytes=0-0", Want::Whole),
            ("bytes=-5", Want::Whole),
            ("bytes=5-9,20-29", Want::Whole),
        ],
    );
}

pub(super) fn head(trial: &Trial<'_>) {
    let version = Version::new(2 * MIB + 1, 0);
    let office = trial.of(&version);
    let mut client = office.client();
    for _ in 0..2 {
        for more in ["", "Range: bytes=0-9\r\n", "Range: bytes=9999999-\r\n"] {
            let got = client.ask("HEAD", &trial.path("a"), more);
            assert_eq!(got.status, 200, "{more}");
            assert_eq!(got.header("Content-Length"), Some("2097153"), "{more}");
            assert_eq!(got.header("Content-Range"), None, "{more}");
            in_step(&mut client);
        }
        // Nothing of it is in the way of a GET.
        let path = trial.path("a");
        check(
            &mut client,
            &path,
            &range("5-9"),
            &version,
            Want::Part(5, 9),
        );
        check(&mut client, &path, "", &version, Want::Whole);
    }
}

pub(super) fn with_other_methods(trial: &Trial<'_>) {
    let version = Version::new(N, 0);
    let served = version.clone();
    let office = trial.with(move |asked| {
        let is_get = asked.head.starts_with("get ");
        vec![Step::Send(if is_get {
            served.answer(asked)
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone".to_vec()
        })]
    });
    let mut client = office.client();
    check(&mut client, &trial.path("a"), "", &version, Want::Whole);
    for method in ["POST", "PUT"] {
        let more = "Content-Length: 0\r\nRange: bytes=0-1\r\n";
        let got = client.ask(method, &trial.path("b"), more);
        assert_eq!((got.status, &got.body[..]), (200, &b"done"[..]), "{method}");
        in_step(&mut client);
    }
    check(
        &mut client,
        &trial.path("a"),
        &range("0-1"),
        &version,
        Want::Part(0, 1),
    );
}

pub(super) fn sizes(trial: &Trial<'_>) {
    for length in [1, MIB - 1, MIB, MIB + 1, 2 * MIB] {
        let version = Version::new(length, 0);
        let office = trial.of(&version);
        let mut client = office.client();
        let path = trial.path("a");
        for _ in 0..2 {
            check(
                &mut client,
                &path,
                &range("-1"),
                &version,
                Want::Part(length - 1, length - 1),
            );
            check(&mut client, &path, "", &version, Want::Whole);
            check(
                &mut client,
                &path,
                &range(&format!("{length}-")),
                &version,
                Want::Beyond,
            );
        }
    }
    let far = 1 << 40;
    let edges = [
        ((1 << 32) - 2, (1 << 32) + 1),
        ((1 << 31) - 1, 1 << 31),
        (far, far + 2),
        ((5 << 30) + 1_048_570, (5 << 30) + 1_048_580),
    ];
    let version = Version::new(far + 3, 0);
    let office = trial.of(&version);
    let mut client = office.client();
    for (first, last) in edges {
        let set = range(&format!("{first}-{last}"));
        for _ in 0..2 {
            check(
                &mut client,
                &trial.path("far"),
                &set,
                &version,
                Want::Part(first, last),
            );
        }
    }
}
