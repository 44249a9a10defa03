//! Shards, service, store and a scripted origin together, on loopback. The rule: what a shard hands over is answered as
//! a careful reader of the RFCs expects, and the connection goes on.

mod changes;
mod forwarding;
mod framing;
mod heads;
mod hidden;
mod interim;
mod partial;
mod reverse_proxy;
mod shared_cache;
mod with_body;

use crate::download::tests::script::{Object, Step, bare};
use crate::http::tests::branch::Branch;
use crate::http::tests::raw::Got;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const MIB: usize = 1 << 20;
const FRESH: &str =
    "ETag: \"one\"\r\nCache-Control: max-age=3600\r\nContent-Type: application/x-cab\r\n";

/// Fails unless it is a 206 with just these parts.
fn check_parts(got: &Got, object: &Object, spans: &[(usize, usize)]) {
    assert_eq!(got.status, 206);
    assert_eq!(got.header("Content-Range"), None);
    let kind = got.header("Content-Type").expect("a type");
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .expect("several parts");
    let mut wanted = Vec::new();
    for (start, end) in spans {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/x-cab\r\nContent-Range: bytes {start}-{}/{}\r\n\r\n",
            end - 1,
            object.body.len()
        );
        wanted.extend_from_slice(head.as_bytes());
        wanted.extend_from_slice(&object.body[*start..*end]);
    }
    wanted.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(got.body == wanted, "the parts {spans:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_ranges_are_read_from_disk() {
    let object = Object::new(3 * MIB, 2, FRESH);
    let branch = Branch::of(&object).await;
    assert!(branch.client().get("/a", "").body == *object.body);
    branch.landed(3);
    let store = &branch.world.store;
    store.flush();
    let mut held = Vec::new();
    while store.figures().ram_pieces > 0 {
        held.extend(std::iter::from_fn(|| store.frame(1 << 20)));
    }
    let asked = branch.asked();
    let mut client = branch.client();
    let spans = [(10, 20), (700_000, 2_400_000)];
    let got = client.get("/a", "Range: bytes=10-19,700000-2399999\r\n");
    check_parts(&got, &object, &spans);
    assert_eq!(got.header("X-Cache-Status"), Some("HIT"));
    assert_eq!(branch.asked(), asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_a_get_passes_through_whole() {
    // 14
    let branch = Branch::open(|asked| {
        let text = if asked.head.starts_with("post") {
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"
        } else {
            "HTTP/1.1 204 No Content\r\n\r\n"
        };
        vec![Step::Send(text.as_bytes().to_vec())]
    })
    .await;
    let mut client = branch.client();
    let got = client.ask("OPTIONS", "/a", "");
    assert_eq!(got.status, 204);
    assert_eq!(got.header("X-Cache-Status"), Some("BYPASS"));
    let got = client.ask("POST", "/a", "Content-Length: 0\r\nRange: bytes=0-1\r\n");
    assert_eq!((got.status, got.body.as_slice()), (200, b"done".as_slice()));
    client.write(b"POST /a HTTP/1.1\r\nHost: files.example\r\nContent-Length: 5\r\n\r\nab");
    client.write(b"cde");
    let got = client.read(false);
    assert_eq!((got.status, got.body.as_slice()), (200, b"done".as_slice()));
    assert_eq!(got.header("X-Cache-Status"), Some("BYPASS"));
    assert!(client.is_over());
    assert_eq!(branch.world.store.figures().objects, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_a_length_passes_in_chunks() {
    // 26
    let text =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    let branch = Branch::open(move |_| vec![Step::Send(text.as_bytes().to_vec())]).await;
    let mut client = branch.client();
    for (more, cache) in [
        ("Range: bytes=1-2\r\n", "BYPASS"),
        ("", "MISS"),
        ("Range: bytes=1-2,4-5\r\n", "BYPASS"),
    ] {
        client.write(format!("GET /a HTTP/1.1\r\nHost: files.example\r\n{more}\r\n").as_bytes());
        let head = client.try_head().expect("a head");
        assert_eq!(head.status, 200);
        assert_eq!(head.header("Transfer-Encoding"), Some("chunked"));
        assert_eq!(head.header("X-Cache-Status"), Some(cache));
        let mut body = Vec::new();
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.extend(client.bytes(1));
            }
            let size = String::from_utf8(line).expect("text");
            let size = usize::from_str_radix(size.trim_end(), 16).expect("a size");
            body.extend(client.bytes(size));
            assert_eq!(client.bytes(2), b"\r\n");
            if size == 0 {
                break;
            }
        }
        assert_eq!(body, b"abcdefg");
    }
    // To an old client its end is that of the connection.
    client.write(b"GET /a HTTP/1.0\r\nHost: files.example\r\nConnection: keep-alive\r\n\r\n");
    let head = client.try_head().expect("a head");
    assert_eq!(head.header("Connection"), Some("close"));
    assert_eq!(client.bytes(7), b"abcdefg");
    assert!(client.is_over());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_off_is_cut() {
    let branch = Branch::open(|_| {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
        vec![Step::Send(text.as_bytes().to_vec()), Step::Close]
    })
    .await;
    let mut client = branch.client();
    client.write(b"GET /a HTTP/1.1\r\nHost: files.example\r\nAuthorization: x\r\n\r\n");
    client.try_head().expect("a head");
    assert_eq!(client.bytes(8), b"3\r\nabc\r\n");
    assert!(client.is_over(), "no last chunk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_of_what_varies_pass_through() {
    // 27: a range is of the encoded bytes that the same origin sends; 28
    for (name, value) in [
        ("Vary", "*"),
        ("Vary", "X-Kind"),
        ("Content-Encoding", "gzip"),
    ] {
        let object = Object::new(2000, 5, &format!("{FRESH}{name}: {value}\r\n"));
        let branch = Branch::of(&object).await;
        let mut client = branch.client();
        for more in [
            "Range: bytes=10-19\r\n",
            "Range: bytes=10-19\r\nCache-Control: no-cache\r\n",
        ] {
            let got = client.get("/a", more);
            assert_eq!(
                (got.status, got.body.as_slice()),
                (206, &object.body[10..20])
            );
            assert_eq!(got.header("X-Cache-Status"), Some("BYPASS"));
            assert_eq!(got.header(name), Some(value));
        }
        assert_eq!(branch.world.store.figures().objects, 0);
        assert!(client.get("/a", "").body == *object.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_wants_it_confirmed_gets_it_confirmed() {
    let (one, two) = (
        Object::new(3000, 6, FRESH),
        Object::new(3000, 7, &FRESH.replace("one", "two")),
    );
    let changed = Arc::new(AtomicBool::new(false));
    let (now, first, second) = (Arc::clone(&changed), one.clone(), two.clone());
    let branch = Branch::open(move |asked| {
        let changed = now.load(Ordering::SeqCst);
        let etag = if changed { "\"two\"" } else { "\"one\"" };
        if asked.header("if-none-match") == Some(etag) {
            let headers = "ETag: \"one\"\r\nCache-Control: max-age=3600\r\n";
            return vec![bare("304 Not Modified", headers)];
        }
        let object = if changed { &second } else { &first };
        vec![Step::Send(object.answer(asked))]
    })
    .await;
    let mut client = branch.client();
    let mut status = |path: &str, more: &str| {
        let got = client.get(path, more);
        (
            got.status,
            got.header("X-Cache-Status").unwrap_or("none").to_owned(),
            got.body,
        )
    };
    let is = |status: u16, cache: &str, object: &Object| {
        (status, cache.to_owned(), object.body.to_vec())
    };
    assert!(status("/a", "Cache-Control: only-if-cached\r\n").0 == 504);
    assert_eq!(branch.asked(), 0);
    assert!(status("/a", "Cache-Control: no-cache\r\n") == is(200, "MISS", &one));
    branch.landed(1);
    assert!(status("/a", "Cache-Control: max-age=3000\r\n") == is(200, "HIT", &one));
    assert!(status("/a", "Cache-Control: only-if-cached\r\n") == is(200, "HIT", &one));
    assert_eq!(branch.asked(), 1);
    assert!(status("/a", "Cache-Control: no-cache\r\n") == is(200, "REVALIDATED", &one));
    assert!(status("/a", "Pragma: no-cache\r\n") == is(200, "REVALIDATED", &one));
    assert!(status("/a", "Cache-Control: min-fresh=9999\r\n") == is(200, "REVALIDATED", &one));
    // One that comes while the question before it is being closed shares its answer.
    let confirmed = branch.asked();
    assert!((2..=4).contains(&confirmed), "{confirmed}");
    // What its path names is never asked about again.
    assert!(status("/fixed/a", "Cache-Control: no-cache\r\n") == is(200, "MISS", &one));
    branch.landed(2);
    assert!(status("/fixed/a", "Cache-Control: no-cache\r\n") == is(200, "HIT", &one));
    assert_eq!(branch.asked(), confirmed + 1);
    changed.store(true, Ordering::SeqCst);
    assert!(status("/a", "") == is(200, "HIT", &one));
    assert!(status("/a", "Cache-Control: no-cache\r\n") == is(200, "EXPIRED", &two));
    branch.landed(2);
    assert!(status("/a", "") == is(200, "HIT", &two));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_for_one_client_is_not_shared() {
    let object = Object::new(500, 8, FRESH);
    let branch = Branch::of(&object).await;
    let mut client = branch.client();
    for (more, name) in [
        ("Authorization: Basic x\r\n", "authorization"),
        ("Cache-Control: no-store\r\n", "cache-control"),
    ] {
        let asked = branch.asked();
        let got = client.get("/a", more);
        assert!(got.body == *object.body);
        assert_eq!(got.header("X-Cache-Status"), Some("BYPASS"));
        assert_eq!(branch.asked(), asked + 1);
        assert!(branch.origin.asked()[asked].header(name).is_some());
        assert_eq!(branch.world.store.figures().objects, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_behind_a_request_is_not_lost() {
    let object = Object::new(2 * MIB, 9, FRESH);
    let (there, gone) = (object.clone(), "404 Not Found");
    let branch = Branch::open(move |asked| {
        if asked.target == "/gone" {
            return vec![bare(gone, "")];
        }
        vec![Step::Send(there.answer(asked))]
    })
    .await;
    let mut client = branch.client();
    let ask =
        |line: &str, more: &str| format!("{line} HTTP/1.1\r\nHost: files.example\r\n{more}\r\n");
    let all = [
        ask("GET /a", "Range: bytes=0-1,5-6\r\n"),
        ask("GET /a", "Range: bytes=7-8\r\n"),
        ask("HEAD /a", ""),
        ask("GET /gone", "Cache-Control: no-cache\r\n"),
        ask("GET /a", "Authorization: x\r\nRange: bytes=3-4\r\n"),
        "GET /a HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n".to_owned(),
        ask("GET /a", "Via: 1.0 x, 1.1 larder\r\n"),
        ask("HEAD /b", "Host: again\r\n"),
    ]
    .concat();
    client.write(all.as_bytes());
    check_parts(&client.read(false), &object, &[(0, 2), (5, 7)]);
    assert_eq!(client.read(false).body, object.body[7..9]);
    let head = client.read(true);
    assert_eq!(head.header("Content-Length"), Some("2097152"));
    assert_eq!(client.read(false).status, 404);
    let got = client.read(false);
    assert_eq!((got.status, got.body.as_slice()), (206, &object.body[3..5]));
    assert_eq!(client.read(false).status, 403);
    assert_eq!(client.read(false).status, 508);
    let got = client.read(false);
    assert_eq!(
        (got.status, got.header("Connection")),
        (400, Some("close")),
        "two hosts"
    );
    assert!(client.is_over());
    let mut client = branch.client();
    client.write(b"CONNECT files.example:443 HTTP/1.1\r\nHost: files.example\r\n\r\n");
    assert_eq!(client.read(false).status, 405);
    assert!(client.is_over());
    assert_eq!(branch.client().ask("TRACE", "/a", "").status, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_in_trouble_is_answered_for() {
    let branch = Branch::open(|_| vec![Step::Reset]).await;
    branch.world.settings.rcu(|settings| {
        let mut settings = crate::settings::Settings::clone(settings);
        settings.first_byte_timeout_ms = 1500;
        settings
    });
    let mut client = branch.client();
    for more in ["Range: bytes=0-1,5-6\r\n", "Authorization: x\r\n"] {
        let got = client.get("/a", more);
        assert_eq!(got.status, 502, "{more}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_confirmed_is_given_as_stale() {
    let object = Object::new(500, 10, FRESH);
    let there = object.clone();
    let branch = Branch::open(move |asked| {
        if asked.number > 0 {
            return vec![Step::Reset];
        }
        vec![Step::Send(there.answer(asked))]
    })
    .await;
    let mut client = branch.client();
    assert!(client.get("/a", "").body == *object.body);
    branch.landed(1);
    let got = client.get("/a", "Pragma: no-cache\r\nRange: bytes=1-2,5-6\r\n");
    check_parts(&got, &object, &[(1, 3), (5, 7)]);
    assert_eq!(got.header("X-Cache-Status"), Some("STALE"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_idle_stays_for_its_last_answer() {
    let object = Object::new(500, 8, FRESH);
    let branch = Branch::of(&object).await;
    let mut client = branch.client();
    client.get("/a", "Cache-Control: no-cache\r\n");
    branch.service.last_answers();
    let got = client.get("/a", "Cache-Control: no-cache\r\n");
    assert_eq!((got.status, got.header("Connection")), (200, Some("close")));
    assert!(client.is_over());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_what_is_idle() {
    let object = Object::new(500, 8, FRESH);
    let branch = Branch::of(&object).await;
    let mut client = branch.client();
    let got = client.get("/a", "Cache-Control: no-cache\r\n");
    assert_eq!((got.status, got.header("Connection")), (200, None));
    assert!(branch.service.drain(Duration::from_secs(20)).await);
    assert!(client.is_over());
    let mut late = branch.client();
    let got = late.get("/a", "Cache-Control: no-cache\r\n");
    assert_eq!((got.status, got.header("Connection")), (200, Some("close")));
    assert!(late.is_over());
}
