//! What is answered to what, and what of it is asked of the other side: forms of requests, hosts, staleness. The rule:
//! the numbers are those of the cases that a cache must get right (facts: reliability, section 2); all of them, three
//! ways, are in `forty`.

use super::origin::{Object, body};
use super::{HOST, LIVE, PATIENCE, Rig, on_each_driver};
use crate::ask::SmallAnswer;
use bytes::Bytes;
use larder_proto::http::route::OriginRules;
use larder_storage::store::Filter;
use std::sync::Arc;

on_each_driver!(
    requests_in_all_forms,
    hosts_off_the_list_are_refused_and_the_connection_goes_on,
    heads_of_old_and_odd_clients,
    a_short_answer_is_given_on,
    a_second_request_asks_no_origin,
    stale_content_is_resolved_again,
    how_new_a_client_wants_it_is_no_matter_where_it_never_changes,
    what_a_request_repeats_is_looked_up_again_when_something_changed,
);

const N: u64 = 1000;

fn requests_in_all_forms(rig: Rig) {
    rig.origin.content("/a?x=%2f", N);
    let mut client = rig.client();
    for head in [
        format!("GET /a?x=%2f&cacheHostOrigin={HOST} HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n"),
        format!("GET /a?cacheHostOrigin={HOST}&x=%2f HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n"),
        format!("GET http://{HOST}/a?x=%2f HTTP/1.1\r\nHost: other\r\n\r\n"),
        format!("GET /a?x=%2f HTTP/1.1\r\nHost: {HOST}:8080\r\n\r\n"),
    ] {
        client.write(head.as_bytes());
        assert_eq!(client.read(false).body, body(0, 1000), "{head}");
    }
    assert_eq!(rig.origin.resolves(), 1, "37: one object by all its names");
}

fn hosts_off_the_list_are_refused_and_the_connection_goes_on(rig: Rig) {
    rig.origin.content("/a", N);
    let mut client = rig.client();
    client.write(b"GET /a HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n");
    assert_eq!(client.read(false).status, 403);
    assert_eq!(client.get("/a", "").status, 200);
    assert_eq!(rig.origin.resolves(), 1);
}

fn heads_of_old_and_odd_clients(rig: Rig) {
    rig.origin.content("/a", N);
    // Bare line feeds.
    let mut client = rig.client();
    client.write(format!("GET /a HTTP/1.1\nHost: {HOST}\n\n").as_bytes());
    assert_eq!(client.read(false).status, 400);
    assert!(client.is_over());
    let mut client = rig.client();
    // HTTP/1.0 with and without keep-alive.
    client.write(
        format!("GET /a HTTP/1.0\r\nHost: {HOST}\r\nConnection: Keep-Alive\r\n\r\n").as_bytes(),
    );
    let kept = client.read(false);
    assert_eq!(kept.header("Connection"), Some("Keep-Alive"));
    client.write(format!("GET /a HTTP/1.0\r\nHost: {HOST}\r\n\r\n").as_bytes());
    let last = client.read(false);
    assert_eq!(
        (last.header("Connection"), last.body.len()),
        (Some("close"), 1000)
    );
    assert!(client.is_over());
    // One byte at a time.
    let mut client = rig.client();
    for byte in format!("GET /a HTTP/1.1\r\nHost: {HOST}\r\nRange: bytes=7-7\r\n\r\n").bytes() {
        client.write(&[byte]);
    }
    assert_eq!(client.read(false).body, body(7, 1));
    // What is no head at all.
    client.write(b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    let bad = client.read(false);
    assert_eq!((bad.status, bad.header("Connection")), (400, Some("close")));
    assert!(client.is_over());
}

fn a_short_answer_is_given_on(rig: Rig) {
    let answer = SmallAnswer {
        status: 404,
        headers: vec![("content-type".to_owned(), "text/html".to_owned())],
        body: Bytes::from_static(b"<p>gone</p>"),
    };
    rig.origin.put("/gone", Object::Answer(Arc::new(answer)));
    rig.origin.put("/ill", Object::Refused(504));
    let mut client = rig.client();
    let got = client.get("/gone", "");
    assert_eq!(
        (got.status, got.header("Content-Type")),
        (404, Some("text/html"))
    );
    assert_eq!(got.body, b"<p>gone</p>");
    assert_eq!(
        client.ask("HEAD", "/gone", "").header("Content-Length"),
        Some("11")
    );
    let got = client.get("/ill", "");
    assert_eq!(got.status, 504);
    assert!(got.header("Retry-After").is_some());
    assert_eq!(client.get("/gone", "").status, 404);
}

fn a_second_request_asks_no_origin(rig: Rig) {
    rig.origin.content("/a", 3 << 20);
    let mut client = rig.client();
    let first = client.get("/a", "Range: bytes=1048576-1048579\r\n");
    assert_eq!(first.header("X-Cache-Status"), Some("MISS"));
    assert_eq!(rig.origin.last_wanted(), Some((1_048_576, Some(1_048_580))));
    rig.until("the piece is stored", || rig.origin.landed() == 1);
    // 19
    let second = client.get("/a", "Range: bytes=1048577-1048580\r\n");
    assert_eq!(second.header("X-Cache-Status"), Some("HIT"));
    assert_eq!(
        (rig.origin.resolves(), rig.origin.fetched()),
        (1, vec![(1, 1)])
    );
    // 20: the gaps alone
    let whole = client.get("/a", "");
    assert_eq!(whole.header("X-Cache-Status"), Some("PARTIAL"));
    assert!(whole.body == body(0, 3 << 20));
    rig.until("all is stored", || rig.origin.landed() == 3);
    assert_eq!(rig.origin.fetched(), [(0, 1), (1, 1), (2, 1)]);
    assert_eq!(client.get("/a", "").header("X-Cache-Status"), Some("HIT"));
    let quiet = |settings: &mut crate::settings::Settings| settings.cache_status = false;
    rig.set(quiet);
    assert_eq!(rig.client().get("/a", "").header("X-Cache-Status"), None);
}

fn stale_content_is_resolved_again(rig: Rig) {
    rig.origin.put(
        "/a",
        Object::Content {
            length: N,
            fresh_s: 0,
        },
    );
    let mut client = rig.client();
    assert_eq!(client.get("/a", "").header("X-Cache-Status"), Some("MISS"));
    let again = client.get("/a", "");
    assert_eq!(again.header("X-Cache-Status"), Some("REVALIDATED"));
    assert_eq!(rig.origin.resolves(), 2);
    rig.origin.content("/a", N + 1);
    let other = client.get("/a", "");
    assert_eq!(other.header("X-Cache-Status"), Some("EXPIRED"));
    assert_eq!(other.body, body(0, 1001));
    // Its origin is in trouble.
    rig.origin.put(
        "/b",
        Object::Content {
            length: N,
            fresh_s: 0,
        },
    );
    assert_eq!(client.get("/b", "").body, body(0, 1000));
    rig.origin.put("/b", Object::Kept);
    let kept = client.get("/b", "");
    assert_eq!(kept.header("X-Cache-Status"), Some("STALE"));
    assert_eq!(kept.body, body(0, 1000));
}

fn how_new_a_client_wants_it_is_no_matter_where_it_never_changes(rig: Rig) {
    rig.origin.content("/fixed/a", N);
    let mut client = rig.client();
    for (field, cache) in [
        ("Cache-Control: no-cache\r\n", "MISS"),
        ("Cache-Control: max-age=0\r\nPragma: no-cache\r\n", "HIT"),
    ] {
        let got = client.get("/fixed/a", field);
        assert_eq!(got.header("X-Cache-Status"), Some(cache), "{field}");
        assert_eq!(got.body, body(0, 1000));
        rig.until("it has landed", || rig.origin.landed() == 1);
    }
    assert_eq!(rig.origin.resolves(), 1);
    rig.origin.content("/a", N);
    // Of what may change, a part that nobody wants newer is asked for here.
    let live = |more: &str| format!("GET /a HTTP/1.1\r\nHost: {LIVE}\r\n{more}\r\n");
    client.write(live("Range: bytes=1-2\r\n").as_bytes());
    assert_eq!(client.read(false).body, body(1, 2));
    assert_eq!(rig.origin.resolves(), 2);
    client.write(live("").as_bytes());
    assert_eq!(client.read(false).header("X-Cache-Status"), Some("HIT"));
    client.write(live("Pragma: no-cache\r\n").as_bytes());
    let given = rig.given.recv_timeout(PATIENCE);
    assert!(given.is_ok(), "what may change is handed over");
    let mut client = rig.client();
    rig.origin.content("/b", N);
    client.write(live("").replace("/a", "/b").as_bytes());
    let given = rig.given.recv_timeout(PATIENCE);
    assert!(given.is_ok(), "and so is what nobody knows yet");
}

fn what_a_request_repeats_is_looked_up_again_when_something_changed(rig: Rig) {
    rig.origin.content("/a", N);
    rig.origin.content("/b", N + 5);
    let mut client = rig.client();
    let mut range = |at: u64, path: &str| {
        let got = client.get(path, &format!("Range: bytes={at}-{}\r\n", at + 1));
        let cache = got.header("X-Cache-Status").map(str::to_owned);
        (got.status, cache.unwrap_or_default(), got.body)
    };
    let said = |cache: &str, at: u64| (206, cache.to_owned(), body(at, 2));
    assert_eq!(range(0, "/a"), said("MISS", 0));
    rig.until("it has landed", || rig.origin.landed() == 1);
    for at in 1..4 {
        assert_eq!(range(at, "/a"), said("HIT", at));
    }
    assert_eq!(range(5, "/b"), said("MISS", 5));
    assert_eq!(range(6, "/a"), said("HIT", 6));
    assert_eq!(rig.store.purge(&Filter::All).objects, 2);
    assert_eq!(range(7, "/a"), said("MISS", 7));
    assert_eq!(rig.origin.resolves(), 3);
    // The next version, and one that is stale at once.
    rig.store.purge(&Filter::All);
    rig.origin.put(
        "/a",
        Object::Content {
            length: N,
            fresh_s: 0,
        },
    );
    assert_eq!(range(8, "/a"), said("MISS", 8));
    for at in 9..12 {
        assert_eq!(range(at, "/a"), said("REVALIDATED", at));
    }
    rig.set(|settings| {
        let rules = OriginRules::new(&[LIVE.to_owned()], None, [], &[]);
        settings.rules = rules.expect("rules");
    });
    assert_eq!(range(12, "/a").0, 403);
}
