//! Cases 21 to 27, 30 and 36: origins that lie, break off, change their minds or send elsewhere. The rule: a client gets
//! right bytes or sees that it does not, and when the origin is well again, so is the object, without a purge.

use super::{Office, Trial, Want, check, check_got, in_step, range};
use crate::download::tests::script::{Asked, Step, bare};
use crate::http::tests::lies::{LIES, Lie};
use crate::http::tests::raw::{Client, Outcome};
use crate::http::tests::version::Version;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

const N: u64 = 1000;
const MIB: u64 = 1 << 20;

/// Counts the requests for each path, so that a script can lie to the first ones.
#[derive(Default)]
struct Counts(Mutex<HashMap<String, usize>>);

impl Counts {
    /// How many requests for its path came before this one.
    fn before(&self, asked: &Asked) -> usize {
        let mut counts = self.0.lock().expect("unpoisoned");
        let count = counts.entry(asked.target.clone()).or_default();
        *count += 1;
        *count - 1
    }
}

/// Asks again until the answer is right: what was told of an error may be told again for some seconds.
fn well_again(office: &Office<'_>, path: &str, version: &Version) {
    office.until("the object is well again", || {
        let got = office.client().get(path, "");
        assert!(
            got.status >= 400 || version.holds(0, &got.body),
            "wrong bytes"
        );
        got.status == 200
    });
    let mut client = office.client();
    check(&mut client, path, &range("5-9"), version, Want::Part(5, 9));
    check(&mut client, path, "", version, Want::Whole);
}

/// Sends a request whose answer may be cut.
fn begin(client: &mut Client, path: &str, more: &str) {
    let head = format!("GET {path} HTTP/1.1\r\nHost: files.example\r\n{more}\r\n");
    client.write(head.as_bytes());
}

fn is_visible(came: &Outcome) -> bool {
    came.got.status >= 400 || !came.whole
}

pub(super) fn ignores_ranges(trial: &Trial<'_>) {
    let version = Version::new(3 * MIB + 5, 0);
    let served = version.clone();
    let office = trial.with(move |_| vec![Step::Send(served.full())]);
    let mut client = office.client();
    let path = trial.path("a");
    let sets = [("2000000-2000099", 2_000_000, 2_000_099), ("5-9", 5, 9)];
    for (set, first, last) in sets {
        check(
            &mut client,
            &path,
            &range(set),
            &version,
            Want::Part(first, last),
        );
    }
    check(&mut client, &path, "", &version, Want::Whole);
    assert_eq!(office.asked(), 1, "all of it was kept of the first answer");
}

pub(super) fn lies(trial: &Trial<'_>) {
    let version = Version::new(N, 0);
    let well = Arc::new(AtomicBool::new(false));
    let (served, is_well, counts) = (version.clone(), Arc::clone(&well), Counts::default());
    let office = trial.with(move |asked| {
        let (_, name) = asked.target.rsplit_once('/').expect("a path");
        let lie = LIES.iter().find(|(what, _)| name.ends_with(what));
        let before = counts.before(asked);
        let lying = (name.starts_with("once") && before == 0)
            || (name.starts_with("always") && !is_well.load(Ordering::SeqCst));
        vec![Step::Send(match lie {
            Some((_, lie)) if lying => {
                let end = asked
                    .range
                    .and_then(|(_, last)| last)
                    .map_or(N, |last| N.min(last as u64 + 1));
                lie(&served, 0..end)
            }
            _ => served.answer(asked),
        })]
    });
    let paths = |kind: &str| -> Vec<String> {
        let name = |(what, _): &(&str, Lie)| trial.path(&format!("{kind}-{what}"));
        LIES.iter().map(name).collect()
    };
    let mut client = office.client();
    for path in paths("once") {
        check(
            &mut client,
            &path,
            &range("300-399"),
            &version,
            Want::Part(300, 399),
        );
        check(&mut client, &path, "", &version, Want::Whole);
    }
    // Those who always lie take their time: all at once.
    let mut clients: Vec<_> = paths("always")
        .into_iter()
        .map(|path| (office.client(), path))
        .collect();
    for (client, path) in &mut clients {
        begin(client, path, &range("300-399"));
    }
    for (client, path) in &mut clients {
        let got = client.read(false);
        assert_eq!(got.status, 502, "{path}");
        in_step(client);
    }
    well.store(true, Ordering::SeqCst);
    for path in paths("always") {
        well_again(&office, &path, &version);
    }
}

pub(super) fn changes(trial: &Trial<'_>) {
    let hour = "Cache-Control: max-age=3600\r\n";
    let date =
        |second: u32| format!("Last-Modified: Sun, 06 Nov 1994 08:49:{second} GMT\r\n{hour}");
    let long = 20 * MIB + 77;
    let kinds = [
        ("tag", Version::new(long, 0), Version::new(long, 1)),
        (
            "size",
            Version::bare(long, 0, hour),
            Version::bare(long - 5, 1, hour),
        ),
        (
            "date",
            Version::bare(long, 0, &date(37)),
            Version::bare(long, 1, &date(38)),
        ),
        ("all", Version::new(long, 0), Version::new(long + 5, 1)),
    ];
    for (what, one, two) in kinds {
        let counts = Counts::default();
        let (first, second) = (one.clone(), two.clone());
        let office = trial.with(move |asked| {
            let version = if counts.before(asked) == 0 {
                &first
            } else {
                &second
            };
            vec![Step::Send(version.answer(asked))]
        });
        let path = trial.path(what);
        let mut client = office.client();
        begin(&mut client, &path, "");
        let came = client.outcome(false).expect("a head");
        let version = [&one, &two]
            .into_iter()
            .find(|v| v.holds(0, &came.got.body));
        let version = version.unwrap_or_else(|| panic!("{what}: a mixture"));
        if came.whole {
            assert_eq!(came.got.body.len() as u64, version.length, "{what}");
        } else {
            assert!(client.is_over(), "{what}: nothing follows what is cut");
            // A resume never gets a piece of another version.
            if let Some(tag) = came.got.header("ETag") {
                let fields = format!(
                    "Range: bytes={}-\r\nIf-Range: {tag}\r\n",
                    came.got.body.len()
                );
                let got = office.client().get(&path, &fields);
                let is_same = got.status == 206 && got.header("ETag") == Some(tag);
                assert!(
                    got.status == 200 || got.status >= 400 || is_same,
                    "{what}: {}",
                    got.status
                );
                if got.status < 400 {
                    let start = if got.status == 200 {
                        0
                    } else {
                        came.got.body.len() as u64
                    };
                    let all = [&one, &two].into_iter();
                    let of_it = all.filter(|v| got.header("ETag") == v.header("etag"));
                    assert!(
                        of_it.into_iter().any(|v| v.holds(start, &got.body)),
                        "{what}"
                    );
                }
            }
        }
        // From then on it is one of them, and stays so.
        let got = office.client().get(&path, "");
        let now = [&one, &two].into_iter().find(|v| v.whole() == got.body);
        let now = now.unwrap_or_else(|| panic!("{what}: {} and no version", got.status));
        if !came.whole {
            assert_eq!(now.length, two.length, "{what}");
            assert!(
                now.holds(0, &two.bytes(0..9)),
                "{what}: the old one was dropped"
            );
        }
        let mut client = office.client();
        check(
            &mut client,
            &path,
            &range("3000000-3000009"),
            now,
            Want::Part(3_000_000, 3_000_009),
        );
    }
}

pub(super) fn truncates(trial: &Trial<'_>) {
    let version = Version::new(2 * MIB + 9, 0);
    let well = Arc::new(AtomicBool::new(false));
    let (served, is_well, counts) = (version.clone(), Arc::clone(&well), Counts::default());
    let office = trial.with(move |asked| {
        let before = counts.before(asked);
        let answer = served.answer(asked);
        let (_, name) = asked.target.rsplit_once('/').expect("a path");
        let (kind, bytes) = name.split_once('-').expect("a name");
        let lying = (kind == "once" && before == 0)
            || (kind == "always" && !is_well.load(Ordering::SeqCst));
        if !lying {
            return vec![Step::Send(answer)];
        }
        let head = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("a head")
            + 4;
        let bytes: usize = bytes.parse().expect("a number");
        // Each further answer is cut at its beginning, so that it does not come bit by bit.
        let count = if before == 0 { bytes } else { 0 };
        let cut = answer[..answer.len().min(head + count)].to_vec();
        vec![Step::Send(cut), Step::Close]
    });
    let mut client = office.client();
    for cut in [
        0,
        1,
        65_535,
        65_536,
        65_537,
        MIB - 1,
        MIB,
        MIB + 1,
        2 * MIB,
        2 * MIB + 8,
    ] {
        check(
            &mut client,
            &trial.path(&format!("once-{cut}")),
            "",
            &version,
            Want::Whole,
        );
    }
    let path = trial.path("always-1500000");
    let mut client = office.client();
    begin(&mut client, &path, "");
    let came = client.outcome(false).expect("an answer");
    assert!(is_visible(&came), "it never ends as if it were whole");
    let had = came.got.body.len();
    if came.got.status < 400 {
        assert!(version.holds(0, &came.got.body));
        assert!(client.is_over(), "39: nothing follows a cut answer");
    }
    well.store(true, Ordering::SeqCst);
    if came.got.status < 400 {
        let fields = format!("Range: bytes={had}-\r\nIf-Range: \"v0\"\r\n");
        let got = office.client().get(&path, &fields);
        check_got(
            &got,
            &version,
            Want::Part(had as u64, version.length - 1),
            "the resume",
        );
    }
    well_again(&office, &path, &version);
}

pub(super) fn says_too_much(trial: &Trial<'_>) {
    let version = Version::new(N, 0);
    let poison = Version::new(N, 3);
    let (served, counts) = (version.clone(), Counts::default());
    let office = trial.with(move |asked| {
        let before = counts.before(asked);
        let (_, name) = asked.target.rsplit_once('/').expect("a path");
        let good = served.answer(asked);
        let more = |text: &str| {
            let text =
                String::from_utf8_lossy(&good).replacen("\r\n", &format!("\r\n{text}\r\n"), 1);
            vec![Step::Send(text.into_bytes())]
        };
        match name {
            _ if before > 0 => vec![Step::Send(good)],
            // Another answer behind the first, for whoever asks next.
            "longer" => vec![Step::Send([good, poison.full()].concat())],
            "two-lengths" => more("Content-Length: 5"),
            "length-list" => more("Content-Length: 5, 6"),
            "negative" => more("Content-Length: -5"),
            "both" => more("Transfer-Encoding: chunked"),
            _ => vec![Step::Send(good)],
        }
    });
    let longer = trial.path("longer");
    let mut client = office.client();
    check(&mut client, &longer, "", &version, Want::Whole);
    check(&mut client, &trial.path("next"), "", &version, Want::Whole);
    let asked = office.origin.asked();
    let of = |path: &str| {
        asked
            .iter()
            .find(|asked| asked.target == path)
            .expect("asked for")
            .connection
    };
    assert_ne!(
        of(&longer),
        of(&trial.path("next")),
        "the connection is not used again"
    );
    for name in ["two-lengths", "length-list", "negative", "both"] {
        let path = trial.path(name);
        let mut client = office.client();
        begin(&mut client, &path, "");
        let came = client.outcome(false).expect("an answer");
        assert!(
            is_visible(&came) || came.got.body == version.whole(),
            "{name}"
        );
        well_again(&office, &path, &version);
    }
}

pub(super) fn knows_no_length(trial: &Trial<'_>) {
    let office = trial.with(|asked| {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n";
        let sent = |text: &str| Step::Send(text.as_bytes().to_vec());
        if asked.target.ends_with("cut") {
            return vec![sent(text), Step::Close];
        }
        vec![sent(&format!("{text}0\r\n\r\n"))]
    });
    let mut client = office.client();
    for more in [
        "Range: bytes=1-2\r\n",
        "",
        "Range: bytes=1-2,4-5\r\n",
        "Range: bytes=-2\r\n",
    ] {
        for _ in 0..2 {
            begin(&mut client, &trial.path("a"), more);
            let came = client.outcome(false).expect("a head");
            assert!(came.whole);
            match came.got.status {
                200 => assert_eq!(came.got.body, b"abcdefg", "{more}"),
                // Only where the length was found out meanwhile.
                206 => {
                    let said = came.got.header("Content-Range").expect("a range");
                    assert!(said.ends_with("/7"), "{said}");
                }
                status => panic!("{status} to {more:?}"),
            }
            in_step(&mut client);
        }
    }
    for more in ["", "Range: bytes=1-2\r\n"] {
        let mut client = office.client();
        begin(&mut client, &trial.path("cut"), more);
        let came = client.outcome(false).expect("a head");
        assert!(is_visible(&came), "no last chunk");
    }
}

pub(super) fn encodes(trial: &Trial<'_>) {
    let plain = Version::new(N, 0);
    let zipped = Version::bare(
        700,
        5,
        "ETag: \"zip\"\r\nContent-Encoding: gzip\r\nCache-Control: max-age=3600\r\n",
    );
    let (one, two) = (plain.clone(), zipped.clone());
    let office = trial.with(move |asked| {
        let zips = asked.target.ends_with("always");
        vec![Step::Send(if zips {
            two.answer(asked)
        } else {
            one.answer(asked)
        })]
    });
    let mut client = office.client();
    // A range is of the bytes of the variant that it comes with.
    for (more, want) in [
        ("", Want::Whole),
        ("Range: bytes=600-\r\n", Want::Part(600, 699)),
    ] {
        for _ in 0..2 {
            let got = client.get(&trial.path("always"), more);
            if got.header("Content-Encoding") == Some("gzip") {
                let body = match want {
                    Want::Part(first, last) if got.status == 206 => zipped.bytes(first..last + 1),
                    _ => zipped.whole(),
                };
                assert!(got.body == body, "{more}: of the encoded bytes");
            } else {
                assert!(got.status >= 400, "{more}: {}", got.status);
            }
            in_step(&mut client);
        }
    }
    check(
        &mut client,
        &trial.path("plain"),
        &range("600-"),
        &plain,
        Want::Part(600, 999),
    );
    let asked = office.origin.asked();
    let of_plain = asked.iter().find(|asked| asked.target.ends_with("plain"));
    assert_eq!(
        of_plain.and_then(|asked| asked.header("accept-encoding")),
        Some("identity")
    );
}

pub(super) fn in_trouble(trial: &Trial<'_>) {
    let version = Version::new(2 * MIB + 9, 0);
    let (let_go, gate) = watch::channel(false);
    let (served, counts) = (version.clone(), Counts::default());
    let office = trial.with(move |asked| {
        let before = counts.before(asked);
        let (_, name) = asked.target.rsplit_once('/').expect("a path");
        let mut answer = served.answer(asked);
        let head = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("a head")
            + 4;
        let mut begun = |count: usize| {
            let rest = answer.split_off(answer.len().min(head + count));
            (Step::Send(std::mem::take(&mut answer)), Step::Send(rest))
        };
        match name {
            "held" => {
                let (begin, rest) = begun(100);
                vec![begin, Step::Until(gate.clone()), rest]
            }
            _ if before > 0 => vec![Step::Send(served.answer(asked))],
            "stalls" => vec![begun(100).0, Step::Hang],
            "stalls-at-once" => vec![begun(0).0, Step::Hang],
            "resets" => vec![begun(70_000).0, Step::Reset],
            "closes" => vec![begun(MIB as usize + 5).0, Step::Close],
            "busy" => vec![bare("503 Busy", "")],
            _ => vec![bare("500 Oops", "")],
        }
    });
    // What has come is sent on before the rest is there.
    let mut client = office.client();
    begin(&mut client, &trial.path("held"), "");
    let head = client.try_head().expect("a head");
    assert_eq!(head.status, 200);
    assert!(version.holds(0, &client.bytes(100)));
    let_go.send_replace(true);
    let rest = client.bytes(version.length as usize - 100);
    assert!(version.holds(100, &rest));
    in_step(&mut client);
    // All who wait are served by the next attempt.
    for name in [
        "stalls",
        "stalls-at-once",
        "resets",
        "closes",
        "busy",
        "oops",
    ] {
        let path = trial.path(name);
        let mut clients: Vec<_> = (0..4).map(|_| office.client()).collect();
        for (client, start) in clients.iter_mut().zip([0, 50, 100_000, MIB]) {
            begin(client, &path, &range(&format!("{start}-")));
        }
        for (client, start) in clients.iter_mut().zip([0, 50, 100_000, MIB]) {
            let got = client.read(false);
            check_got(&got, &version, Want::Part(start, version.length - 1), name);
            in_step(client);
        }
    }
}

pub(super) fn redirects(trial: &Trial<'_>) {
    let version = Version::new(N, 0);
    let well = Arc::new(AtomicBool::new(false));
    let (served, is_well) = (version.clone(), Arc::clone(&well));
    let office = trial.with(move |asked| {
        let to =
            |status: &str, location: &str| vec![bare(status, &format!("Location: {location}\r\n"))];
        let error = |status: &str| {
            let text = format!(
                "HTTP/1.1 {status}\r\nContent-Length: 4\r\nContent-Type: text/plain\r\n\r\nsay\n"
            );
            vec![Step::Send(text.into_bytes())]
        };
        let (folder, name) = asked.target.rsplit_once('/').expect("a path");
        match name {
            _ if is_well.load(Ordering::SeqCst) => vec![Step::Send(served.answer(asked))],
            "moved" => to("301 Moved", &format!("{folder}/there")),
            "found" => to("302 Found", &format!("http://files.example{folder}/there")),
            "loop" => to("302 Found", &format!("{folder}/loop")),
            "refused" => to("302 Found", "http://elsewhere.example/there"),
            "inside" => to("302 Found", "http://127.0.0.1:9/there"),
            "gone" => error("404 Not Found"),
            "forbidden" => error("403 Forbidden"),
            name => match name.strip_prefix("hop").map(str::parse::<u32>) {
                Some(Ok(left)) if left > 0 => to("307 Hop", &format!("{folder}/hop{}", left - 1)),
                _ => vec![Step::Send(served.answer(asked))],
            },
        }
    });
    let mut client = office.client();
    for name in ["moved", "found", "hop10"] {
        check(
            &mut client,
            &trial.path(name),
            &range("5-9"),
            &version,
            Want::Part(5, 9),
        );
        check(&mut client, &trial.path(name), "", &version, Want::Whole);
    }
    for (name, statuses) in [
        ("loop", [502, 508]),
        ("hop11", [502, 508]),
        ("refused", [403, 502]),
        ("inside", [403, 502]),
        ("gone", [404, 404]),
        ("forbidden", [403, 403]),
    ] {
        let before = office.asked();
        let got = client.get(&trial.path(name), &range("5-9"));
        assert!(statuses.contains(&got.status), "{name}: {}", got.status);
        in_step(&mut client);
        let asked = office.asked() - before;
        assert!(asked <= 11, "{name}: {asked} requests");
    }
    // A request that has been here before.
    let got = client.get(&trial.path("a"), "Via: 1.1 larder\r\n");
    assert_eq!(got.status, 508);
    in_step(&mut client);
    well.store(true, Ordering::SeqCst);
    for name in ["gone", "forbidden", "loop"] {
        well_again(&office, &trial.path(name), &version);
    }
}
