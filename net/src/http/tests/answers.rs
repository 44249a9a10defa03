//! What is answered to what: ranges, conditions, forms of requests. The rule: a table with the numbers of the cases
//! that a cache must get right (facts: reliability, section 2).

use super::origin::{ETAG, MODIFIED, Object, body};
use super::{HOST, PATIENCE, Rig, on_each_driver};
use crate::ask::SmallAnswer;
use bytes::Bytes;
use std::sync::Arc;

on_each_driver!(
    ranges_are_exact,
    several_ranges_are_parts_of_one_answer,
    ranges_that_can_not_be_satisfied_keep_the_connection,
    what_is_no_range_gets_the_whole,
    head_has_the_length_of_the_whole_and_no_body,
    if_range_and_the_preconditions,
    an_object_of_one_byte_of_whole_pieces_and_of_none,
    offsets_beyond_four_gib,
    requests_in_all_forms,
    hosts_off_the_list_are_refused_and_the_connection_goes_on,
    heads_of_old_and_odd_clients,
    a_short_answer_is_given_on,
    a_second_request_asks_no_origin,
    stale_content_is_resolved_again,
    how_new_a_client_wants_it_is_no_matter_where_it_never_changes,
);

const N: u64 = 1000;

fn ranges_are_exact(rig: Rig) {
    rig.origin.content("/a", N);
    let mut client = rig.client();
    for (range, first, last) in [
        // 1
        ("bytes=0-0", 0, 0),
        ("bytes=0-499", 0, 499),
        ("bytes=500-", 500, 999),
        // 2
        ("bytes=990-1990", 990, 999),
        // 3
        ("bytes=-500", 500, 999),
        ("bytes=-5000", 0, 999),
        // 7
        ("BYTES=0-1", 0, 1),
        // 8
        ("bytes=0-99999999999999999999999999999999", 0, 999),
        ("bytes=0000000000-000000000000000000000009", 0, 9),
        // 10: one of two can be satisfied
        ("bytes=5-9,2000-3000", 5, 9),
    ] {
        let got = client.get("/a", &format!("Range: {range}\r\n"));
        assert_eq!(got.status, 206, "{range}");
        let said = format!("bytes {first}-{last}/{N}");
        assert_eq!(got.header("Content-Range"), Some(said.as_str()), "{range}");
        assert_eq!(got.header("Accept-Ranges"), Some("bytes"));
        assert_eq!(got.header("ETag"), Some(ETAG));
        assert_eq!(got.header("Last-Modified"), Some(MODIFIED));
        assert_eq!(got.header("X-Cid"), Some("7"));
        let len = usize::try_from(last - first + 1).expect("short");
        assert_eq!(got.body, body(first, len), "{range}");
    }
}

fn several_ranges_are_parts_of_one_answer(rig: Rig) {
    let length = (2 << 20) + 7;
    rig.origin.content("/parts", length);
    let mut client = rig.client();
    // 9, not stored and then stored: two of one piece, two that cross pieces, and one at the end.
    for spans in [
        vec![(0, 9), (200, 299)],
        vec![(5, 1_500_000), (1_600_000, 2_097_158)],
        vec![(2_097_150, 2_097_158), (0, 0)],
    ] {
        for _ in 0..2 {
            let ranges: Vec<_> = spans.iter().map(|(a, b)| format!("{a}-{b}")).collect();
            let got = client.get("/parts", &format!("Range: bytes={}\r\n", ranges.join(",")));
            assert_eq!(got.status, 206, "{ranges:?}");
            assert_eq!(got.header("Content-Range"), None);
            let kind = got.header("Content-Type").expect("a type");
            let boundary = kind.strip_prefix("multipart/byteranges; boundary=");
            let boundary = boundary.expect("the type of parts");
            let mut expected = Vec::new();
            for (first, last) in &spans {
                let head = format!(
                    "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {first}-{last}/{length}\r\n\r\n"
                );
                expected.extend(head.into_bytes());
                let len = usize::try_from(last - first + 1).expect("short");
                expected.extend(body(*first, len));
            }
            expected.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
            assert!(got.body == expected, "{ranges:?}");
            // 39
            assert_eq!(
                client.get("/parts", "Range: bytes=1-1\r\n").body,
                body(1, 1)
            );
        }
    }
    assert!(rig.given.try_recv().is_err(), "nothing is handed over");
}

fn ranges_that_can_not_be_satisfied_keep_the_connection(rig: Rig) {
    rig.origin.content("/a", N);
    let mut client = rig.client();
    for range in [
        // 4, 5, 6, 8
        "-0",
        "1000-",
        "1000-1001",
        "5-2",
        "a-",
        "-",
        "10",
        "1 - 2",
        "99999999999999999999-",
    ] {
        let got = client.get("/a", &format!("Range: bytes={range}\r\n"));
        assert_eq!(got.status, 416, "{range}");
        assert_eq!(got.header("Content-Range"), Some("bytes */1000"), "{range}");
        assert!(got.body.len() < 200, "{range}");
        // 39
        assert_eq!(client.get("/a", "Range: bytes=1-1\r\n").body, body(1, 1));
    }
}

fn what_is_no_range_gets_the_whole(rig: Rig) {
    rig.origin.content("/a", N);
    let mut client = rig.client();
    for more in [
        "",
        "Range: lines=1-2\r\n",
        "Content-Length: 0\r\n",
        "Range: nonsense\r\n",
    ] {
        let got = client.get("/a", more);
        assert_eq!((got.status, got.body.len()), (200, 1000), "{more}");
        assert_eq!(got.body, body(0, 1000));
        assert_eq!(got.header("Content-Range"), None);
    }
}

fn head_has_the_length_of_the_whole_and_no_body(rig: Rig) {
    rig.origin.content("/a", N);
    let mut client = rig.client();
    // 13, and it does not spoil the GET after it.
    for more in ["", "Range: bytes=0-9\r\n"] {
        let got = client.ask("HEAD", "/a", more);
        assert_eq!(got.status, 200);
        assert_eq!(got.header("Content-Length"), Some("1000"));
    }
    assert!(rig.origin.fetched().is_empty(), "a HEAD fetches nothing");
    assert_eq!(client.get("/a", "").body, body(0, 1000));
    let refused = client.ask("HEAD", "/none", "");
    assert_eq!(refused.status, 502);
    assert_eq!(client.get("/a", "").status, 200);
}

fn if_range_and_the_preconditions(rig: Rig) {
    rig.origin.content("/a", N);
    let mut client = rig.client();
    let ranged = |condition: &str| format!("Range: bytes=0-9\r\n{condition}\r\n");
    for (more, status) in [
        // 15, 16, 17
        (ranged("If-Range: \"one\""), 206),
        (ranged("If-Range: \"two\""), 200),
        (ranged("If-Range: W/\"one\""), 200),
        (ranged(&format!("If-Range: {MODIFIED}")), 206),
        (ranged("If-Range: Sun, 06 Nov 1994 08:49:38 GMT"), 200),
        (ranged("If-Range: yesterday"), 200),
        // 18
        (ranged("If-None-Match: \"one\""), 304),
        (ranged("If-None-Match: \"two\""), 206),
        (ranged("If-Match: \"two\""), 412),
        (ranged("If-Match: \"one\""), 206),
        (
            ranged("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT"),
            412,
        ),
        (format!("If-Modified-Since: {MODIFIED}\r\n"), 304),
    ] {
        let got = client.get("/a", &more);
        assert_eq!(got.status, status, "{more}");
        let len = match status {
            206 => 10,
            200 => 1000,
            _ => 0,
        };
        assert_eq!(got.body, body(0, len), "{more}");
    }
}

fn an_object_of_one_byte_of_whole_pieces_and_of_none(rig: Rig) {
    let mut client = rig.client();
    for (path, length) in [
        ("/one", 1),
        ("/two-pieces", 2 << 20),
        ("/short-end", (2 << 20) + 1),
    ] {
        rig.origin.content(path, length);
        let len = usize::try_from(length).expect("short");
        let got = client.get(path, "");
        assert_eq!((got.status, got.body.len()), (200, len));
        assert!(got.body == body(0, len), "{path}");
        let last = client.get(path, "Range: bytes=-1\r\n");
        assert_eq!((last.status, last.body), (206, body(length - 1, 1)));
    }
    // 12
    rig.origin.content("/none-at-all", 0);
    for more in ["", "Range: bytes=0-0\r\n", "Range: bytes=-5\r\n"] {
        let got = client.get("/none-at-all", more);
        assert_eq!((got.status, got.header("Content-Length")), (200, Some("0")));
    }
}

fn offsets_beyond_four_gib(rig: Rig) {
    // 38
    let length = (1 << 40) + 3;
    rig.origin.content("/huge", length);
    let mut client = rig.client();
    for (first, last) in [
        ((1 << 32) - 2, (1 << 32) + 1),
        (1 << 40, (1 << 40) + 2),
        ((5 << 30) + 1_048_570, (5 << 30) + 1_048_580),
    ] {
        let got = client.get("/huge", &format!("Range: bytes={first}-{last}\r\n"));
        assert_eq!(got.status, 206);
        let said = format!("bytes {first}-{last}/{length}");
        assert_eq!(got.header("Content-Range"), Some(said.as_str()));
        let len = usize::try_from(last - first + 1).expect("short");
        assert_eq!(got.body, body(first, len));
    }
}

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
    client.write(b"GET /a HTTP/1.1\r\nHost: files.example\r\nPragma: no-cache\r\n\r\n");
    let given = rig.given.recv_timeout(PATIENCE);
    assert!(given.is_ok(), "what may change is handed over");
}
