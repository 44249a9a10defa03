//! Cases 32 to 35 and 39: many clients, slow ones, those that leave, what is evicted under them. The rule: nobody's
//! bytes are wrong or come late because of somebody else.

use super::{Trial, Want, check, check_got, in_step, range};
use crate::download::tests::script::{Step, bare};
use crate::http::tests::raw::Client;
use crate::http::tests::version::Version;
use larder_storage::limits::SizeLimit;
use larder_storage::store::Filter;
use tokio::sync::watch;

const MIB: u64 = 1 << 20;

fn begin(client: &mut Client, path: &str, more: &str) {
    let head = format!("GET {path} HTTP/1.1\r\nHost: files.example\r\n{more}\r\n");
    client.write(head.as_bytes());
}

/// A client that holds little: the rest of an answer stays with larder.
fn narrow(client: &Client) {
    let socket = socket2::SockRef::from(&client.stream);
    socket
        .set_recv_buffer_size(32 << 10)
        .expect("a small buffer");
}

pub(super) fn thousand(trial: &Trial<'_>) {
    let version = Version::new(4 * MIB, 0);
    let (let_go, gate) = watch::channel(false);
    let served = version.clone();
    let patient = |settings: &mut crate::settings::Settings| {
        settings.first_byte_timeout_ms = 60_000;
        settings.origin_head_timeout_ms = 60_000;
        settings.origin_stall_timeout_ms = 60_000;
    };
    let held = move |asked: &_| vec![Step::Until(gate.clone()), Step::Send(served.answer(asked))];
    let office = trial.limited(held, |_| {}, patient);
    let path = trial.path("a");
    // The first of all leaves before anything has come.
    let mut leader = office.client();
    begin(&mut leader, &path, "");
    office.until("the origin is asked", || office.asked() > 0);
    drop(leader);
    let mut clients: Vec<_> = (0..1000_u64)
        .map(|number| {
            let mut client = office.client();
            // Every hundredth takes all, the others something around the edges of pieces.
            let want = match number % 100 {
                0 => Want::Whole,
                odd if odd % 2 == 1 => {
                    let first = number % 4 * MIB + number;
                    Want::Part(first, first + number)
                }
                _ => {
                    let first = (1 + number % 3) * MIB - number;
                    Want::Part(first, first + 2 * number)
                }
            };
            match want {
                Want::Part(first, last) => {
                    begin(&mut client, &path, &range(&format!("{first}-{last}")))
                }
                _ => begin(&mut client, &path, ""),
            }
            (client, want)
        })
        .collect();
    office.until("all have come", || office.connections() >= 1000);
    let_go.send_replace(true);
    for (number, (client, want)) in clients.iter_mut().enumerate() {
        let want = match *want {
            Want::Part(first, last) => Want::Part(first, last.min(version.length - 1)),
            want => want,
        };
        check_got(
            &client.read(false),
            &version,
            want,
            &format!("client {number}"),
        );
    }
    for (client, _) in clients.iter_mut().step_by(100) {
        in_step(client);
    }
    let mut pieces = [0; 4];
    for asked in office.origin.asked() {
        // Where one who takes all came first, all may be asked for at once.
        let (first, last) = asked.range.unwrap_or((0, None));
        let end = version.length as usize - 1;
        let last = last.map_or(end, |last| last.min(end));
        for piece in &mut pieces[first >> 20..=last >> 20] {
            *piece += 1;
        }
    }
    assert!(
        pieces.iter().all(|count| *count == 1),
        "a thousand asked, and the origin was asked for the pieces {pieces:?} times"
    );
}

pub(super) fn slow_reader(trial: &Trial<'_>) {
    let version = Version::new(40 * MIB, 0);
    let served = version.clone();
    let office = trial.limited(
        move |asked| vec![Step::Send(served.answer(asked))],
        |options| options.memory_bytes_max = 24 << 20,
        |settings| settings.ahead_bytes_max = 4 << 20,
    );
    let path = trial.path("a");
    let mut slow = office.client();
    narrow(&slow);
    begin(&mut slow, &path, &range("0-"));
    assert_eq!(slow.try_head().expect("a head").status, 206);
    // Others are served meanwhile, of the same object and of another.
    let mut other = office.client();
    check(&mut other, &path, &range("5-9"), &version, Want::Part(5, 9));
    check(
        &mut other,
        &path,
        &range("39000000-39000009"),
        &version,
        Want::Part(39_000_000, 39_000_009),
    );
    check(
        &mut other,
        &trial.path("b"),
        &range("3000000-5000000"),
        &version,
        Want::Part(3_000_000, 5_000_000),
    );
    let used = office.world.store.figures();
    assert!(
        used.ram_bytes <= used.ram_capacity_bytes,
        "memory is bounded"
    );
    let asked = office.origin.bytes_asked() as u64;
    assert!(
        asked <= 36 * MIB,
        "{asked} bytes are asked for ahead of who does not read"
    );
    let rest = slow.bytes(version.length as usize);
    assert!(rest == version.whole());
    in_step(&mut slow);
}

pub(super) fn leaver(trial: &Trial<'_>) {
    let version = Version::new(60 * MIB, 0);
    let served = version.clone();
    let office = trial.limited(
        move |asked| vec![Step::Send(served.answer(asked))],
        |_| {},
        |settings| settings.ahead_bytes_max = 4 << 20,
    );
    let path = trial.path("a");
    let mut leaver = office.client();
    narrow(&leaver);
    begin(&mut leaver, &path, &range("0-"));
    leaver.try_head().expect("a head");
    leaver.bytes(1000);
    drop(leaver);
    office.until("it is gone", || office.connections() == 0);
    let mut stayer = office.client();
    check(
        &mut stayer,
        &path,
        &range("5-9"),
        &version,
        Want::Part(5, 9),
    );
    // Not the whole of it, and what was under way is finished and kept.
    let asked = office.origin.bytes_asked() as u64;
    assert!(asked < 40 * MIB, "{asked} bytes are asked for nobody");
    office.until("what was asked for is stored", || {
        let pieces = office.world.store.figures();
        pieces.ram_pieces.max(pieces.pieces) * MIB >= office.origin.bytes_asked() as u64
    });
    check(
        &mut stayer,
        &path,
        &range("0-1048575"),
        &version,
        Want::Part(0, MIB - 1),
    );
    let asked = office.origin.asked();
    let of_first = asked
        .iter()
        .filter(|asked| asked.range.is_some_and(|range| range.0 == 0));
    assert_eq!(
        of_first.count(),
        1,
        "what came for the one who left was kept"
    );
}

pub(super) fn evicted(trial: &Trial<'_>) {
    let version = Version::new(24 * MIB, 0);
    let served = version.clone();
    // A store for one and a half of them, and memory for less.
    let office = trial.limited(
        move |asked| vec![Step::Send(served.answer(asked))],
        |options| {
            options.bytes_max = SizeLimit::bytes(48 << 20);
            options.slab_bytes = 8 << 20;
            options.memory_bytes_max = 16 << 20;
        },
        |settings| settings.ahead_bytes_max = 4 << 20,
    );
    let path = trial.path("a");
    let store = &office.world.store;
    let mut readers: Vec<_> = (0..3).map(|_| office.client()).collect();
    for reader in &mut readers {
        narrow(reader);
        begin(reader, &path, &range("0-"));
        assert_eq!(reader.try_head().expect("a head").status, 206);
    }
    // Others come and press it out.
    for name in ["b", "c", "d", "e"] {
        let mut client = office.client();
        check(
            &mut client,
            &trial.path(name),
            &range("0-"),
            &version,
            Want::Part(0, version.length - 1),
        );
    }
    store.flush();
    assert!(store.figures().evictions_total > 0, "nothing was evicted");
    for reader in &mut readers {
        assert!(reader.bytes(version.length as usize) == version.whole());
        in_step(reader);
    }
    // Purged, it is fetched again under its validator, or cut.
    for reader in &mut readers {
        begin(reader, &path, &range("0-"));
        assert_eq!(reader.try_head().expect("a head").status, 206);
    }
    store.purge(&Filter::All);
    for reader in &mut readers {
        let body = reader.up_to(version.length as usize);
        assert!(version.holds(0, &body), "wrong bytes");
        if body.len() as u64 == version.length {
            in_step(reader);
        }
    }
    let mut client = office.client();
    check(
        &mut client,
        &path,
        &range("5-9"),
        &version,
        Want::Part(5, 9),
    );
}

pub(super) fn keep_alive(trial: &Trial<'_>) {
    let version = Version::new(2 * MIB + 1, 0);
    let served = version.clone();
    let office = trial.with(move |asked| {
        if asked.target.ends_with("gone") {
            return vec![bare("404 Not Found", "")];
        }
        vec![Step::Send(served.answer(asked))]
    });
    let path = trial.path("a");
    let last = version.length - 1;
    let rows = [
        ("GET", range("0-9"), Want::Part(0, 9)),
        (
            "GET",
            "If-None-Match: \"v0\"\r\n".to_owned(),
            Want::Status(304),
        ),
        ("GET", range("9999999-"), Want::Beyond),
        ("HEAD", String::new(), Want::Status(200)),
        ("GET", "If-Match: \"v1\"\r\n".to_owned(), Want::Status(412)),
        ("GET", range("-1,0-0"), Want::Parts(&[(last, last), (0, 0)])),
        ("HEAD", range("0-9"), Want::Status(200)),
        ("GET", String::new(), Want::Whole),
        ("GET", range("1048575-1048576"), Want::Part(MIB - 1, MIB)),
    ];
    let ask = |method: &str, path: &str, more: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: files.example\r\n{more}\r\n")
    };
    // All at once, cold and then warm; between them what is not found and what is refused.
    for _ in 0..2 {
        let mut all = String::new();
        for (method, more, _) in &rows {
            all += &ask(method, &path, more);
            all += &ask(method, &trial.path("gone"), more);
            all += "GET / HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n";
        }
        let mut client = office.client();
        client.write(all.as_bytes());
        for (method, more, want) in &rows {
            let got = client.read(*method == "HEAD");
            check_got(&got, &version, *want, &format!("{method} {more:?}"));
            assert_eq!(client.read(*method == "HEAD").status, 404);
            assert_eq!(client.read(false).status, 403);
        }
        in_step(&mut client);
    }
    // HTTP/1.0 with and without, and a client that says no more.
    let mut client = office.client();
    let old = |more: &str| {
        format!("GET {path} HTTP/1.0\r\nHost: files.example\r\nRange: bytes=5-9\r\n{more}\r\n")
    };
    client.write(old("Connection: Keep-Alive\r\n").as_bytes());
    let kept = client.read(false);
    assert_eq!(kept.header("Connection"), Some("Keep-Alive"));
    client.write(old("").as_bytes());
    let got = client.read(false);
    check_got(&got, &version, Want::Part(5, 9), "the last");
    assert!(client.is_over());
    let mut client = office.client();
    client.write(
        [ask("GET", &path, ""), ask("GET", &path, &range("5-9"))]
            .concat()
            .as_bytes(),
    );
    client.half_close();
    check_got(&client.read(false), &version, Want::Whole, "half closed");
    check_got(
        &client.read(false),
        &version,
        Want::Part(5, 9),
        "half closed",
    );
    assert!(client.is_over());
    let mut client = office.client();
    let more = "Connection: close\r\nRange: bytes=0-9\r\n";
    assert_eq!(client.get(&path, more).body, version.bytes(0..10));
    assert!(client.is_over());
}
