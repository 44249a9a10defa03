//! What is not immutable, over a scripted origin. The rule: each answer and each request of the origin is what RFC 9111
//! says, section by section.

use super::FRESH;
use crate::download::tests::script::{Asked, Object, Step};
use crate::http::tests::branch::Branch;
use crate::http::tests::raw::Got;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn answer(status: &str, fields: &str, body: &str) -> Vec<Step> {
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{fields}\r\n{body}",
        body.len()
    );
    vec![Step::Send(text.into_bytes())]
}

/// Answers the first request, the second, and so on; the last one for all that follow.
async fn in_turn(answers: Vec<Vec<Step>>) -> Branch {
    Branch::open(move |asked| answers[asked.number.min(answers.len() - 1)].clone()).await
}

fn is(got: &Got, status: u16, cache: &str, body: &str) {
    let text = String::from_utf8_lossy(&got.body);
    assert_eq!(
        (got.status, got.header("X-Cache-Status"), &*text),
        (status, Some(cache), body)
    );
}

fn asked(branch: &Branch) -> Vec<Asked> {
    branch.origin.asked()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_costs_one_request_and_is_kept_as_it_is() {
    // section 3.1: all fields but those of the connection
    let fields = "Cache-Control: max-age=60\r\nDate: Sun, 06 Nov 2050 08:49:37 GMT\r\nX-Any: 1\r\n\
        Content-Type: text/css\r\nConnection: X-Hop\r\nX-Hop: 2\r\nKeep-Alive: 5\r\n";
    let branch = in_turn(vec![answer("200 OK", fields, "body")]).await;
    for cache in ["MISS", "HIT"] {
        let got = branch.client().get("/a", "");
        is(&got, 200, cache, "body");
        assert_eq!(got.header("X-Any"), Some("1"));
        assert_eq!(got.header("Content-Type"), Some("text/css"));
        // section 4.2.3, and RFC 9110, section 6.6.1
        assert!(got.header("Age").is_some());
        assert_eq!(got.header("Date"), Some("Sun, 06 Nov 2050 08:49:37 GMT"));
        for gone in ["X-Hop", "Keep-Alive"] {
            assert_eq!(got.header(gone), None);
        }
        branch.landed(1);
    }
    let head = branch.client().ask("HEAD", "/a", "");
    assert_eq!(head.header("Content-Length"), Some("4"), "section 4");
    let got = branch.client().get("/a", "Range: bytes=1-2\r\n");
    is(&got, 206, "HIT", "od");
    assert_eq!(asked(&branch).len(), 1);
    assert_eq!(asked(&branch)[0].range, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_statuses_are_kept_as_they_are() {
    let moved = "Location: /b\r\nCache-Control: max-age=60\r\nX-Kind: moved\r\n";
    for status in [
        "203 Non-Authoritative Information",
        "404 Not Found",
        "410 Gone",
    ] {
        let branch = in_turn(vec![answer(status, moved, "text")]).await;
        let code: u16 = status[..3].parse().expect("a status");
        is(&branch.client().get("/a", ""), code, "MISS", "text");
        branch.landed(1);
        // RFC 9110, section 13.2.1: conditions and ranges are for a 200.
        let more = "If-None-Match: *\r\n";
        is(&branch.client().get("/a", more), code, "HIT", "text");
        assert_eq!(asked(&branch).len(), 1, "{status}");
    }
    // The origin's trouble is given on, once, and forgotten.
    let branch = in_turn(vec![answer("503 X", moved, "text")]).await;
    for count in 1..3 {
        is(&branch.client().get("/a", ""), 503, "MISS", "text");
        assert_eq!(asked(&branch).len(), count);
    }
    assert_eq!(branch.world.store.figures().objects, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_varies_is_kept_for_each_choice() {
    // section 4.1
    let branch = Branch::open(|asked| {
        let language = asked.header("accept-language").unwrap_or("none").to_owned();
        let fields = "Cache-Control: max-age=60\r\nVary: Accept-Language\r\n";
        answer("200 OK", fields, &language)
    })
    .await;
    let get = |language: &str| {
        let more = format!("Accept-Language: {language}\r\n");
        branch.client().get("/a", &more)
    };
    is(&get("de"), 200, "MISS", "de");
    branch.landed(1);
    is(&get("en"), 200, "MISS", "en");
    branch.landed(2);
    for _ in 0..2 {
        is(&get("de"), 200, "HIT", "de");
        is(&get("en"), 200, "HIT", "en");
    }
    is(&branch.client().get("/a", ""), 200, "MISS", "none");
    assert_eq!(asked(&branch).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmation_replaces_the_fields_and_not_the_bytes() {
    // sections 3.2 and 4.3.4
    let first = "ETag: \"1\"\r\nCache-Control: max-age=0\r\nX-A: old\r\nX-B: old\r\n";
    let second = "ETag: \"1\"\r\nCache-Control: max-age=60\r\nX-A: new\r\n";
    let branch = in_turn(vec![
        answer("200 OK", first, "body"),
        vec![Step::Send(
            format!("HTTP/1.1 304 Not Modified\r\n{second}\r\n").into_bytes(),
        )],
    ])
    .await;
    is(&branch.client().get("/a", ""), 200, "MISS", "body");
    branch.landed(1);
    for cache in ["REVALIDATED", "HIT"] {
        let got = branch.client().get("/a", "");
        is(&got, 200, cache, "body");
        assert_eq!(got.header("X-A"), Some("new"));
        assert_eq!(got.header("X-B"), Some("old"));
    }
    let requests = asked(&branch);
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].header("if-none-match"), Some("\"1\""));
    let got = branch.client().get("/a", "If-None-Match: \"1\"\r\n");
    is(&got, 304, "HIT", "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stale_helps_in_trouble_where_it_may() {
    // section 4.2.4, and RFC 5861, section 4
    let table = [
        ("max-age=0", Some(200)),
        ("max-age=0, stale-if-error=60", Some(200)),
        ("max-age=0, must-revalidate", None),
        ("s-maxage=0", None),
        ("no-cache", None),
    ];
    for (control, stale) in table {
        let fields = format!("ETag: \"1\"\r\nCache-Control: {control}\r\n");
        for (trouble, without) in [
            (answer("503 X", "", "trouble"), 503),
            (vec![Step::Reset], 504),
        ] {
            let branch = in_turn(vec![answer("200 OK", &fields, "body"), trouble]).await;
            is(&branch.client().get("/a", ""), 200, "MISS", "body");
            branch.landed(1);
            let got = branch.client().get("/a", "");
            assert_eq!(got.status, stale.unwrap_or(without), "{control}");
            if stale.is_some() {
                is(&got, 200, "STALE", "body");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stale_is_given_while_it_is_fetched_anew() {
    // RFC 5861, section 3
    let first = "Cache-Control: max-age=0, stale-while-revalidate=60\r\n";
    let second = "Cache-Control: max-age=60\r\n";
    let branch = in_turn(vec![
        answer("200 OK", first, "old"),
        answer("200 OK", second, "new"),
    ])
    .await;
    is(&branch.client().get("/a", ""), 200, "MISS", "old");
    branch.landed(1);
    is(&branch.client().get("/a", ""), 200, "UPDATING", "old");
    branch.until("the new one is there", || {
        branch.client().get("/a", "").body == b"new"
    });
    is(&branch.client().get("/a", ""), 200, "HIT", "new");
    assert_eq!(asked(&branch).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_with_authorization_is_shared_only_where_it_says_so() {
    // section 3.5
    for (control, shared) in [
        ("max-age=60", false),
        ("max-age=60, public", true),
        ("max-age=60, must-revalidate", true),
        ("s-maxage=60", true),
    ] {
        let fields = format!("Cache-Control: {control}\r\n");
        let branch = in_turn(vec![answer("200 OK", &fields, "body")]).await;
        let own = "Authorization: Basic x\r\n";
        assert_eq!(branch.client().get("/a", own).status, 200);
        if shared {
            branch.landed(1);
        }
        assert_eq!(branch.client().get("/a", "").body, b"body");
        assert_eq!(
            asked(&branch).len(),
            if shared { 1 } else { 2 },
            "{control}"
        );
        branch.landed(1);
        assert_eq!(branch.client().get("/a", own).body, b"body");
        assert_eq!(
            asked(&branch).len(),
            if shared { 1 } else { 3 },
            "{control}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_ask_at_once_ask_once() {
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: max-age=60\r\n\r\n\
        4\r\nbody\r\n0\r\n\r\n";
    let plain = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: max-age=60\r\n\r\nbody";
    for text in [chunks, plain] {
        let bytes = text.as_bytes().to_vec();
        let pause = Duration::from_millis(20);
        let branch = Branch::open(move |_| vec![Step::Trickle(bytes.clone(), 8, pause)]).await;
        let right = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let mut client = branch.client();
                    client.write(b"GET /a HTTP/1.1\r\nHost: files.example\r\n\r\n");
                    if client
                        .outcome(false)
                        .is_ok_and(|o| o.whole && o.got.body == b"body")
                    {
                        right.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(right.into_inner(), 20);
        assert_eq!(asked(&branch).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_off_is_not_stored() {
    // section 3.3
    let object = Object::new(3 << 20, 4, "Cache-Control: max-age=60\r\n");
    let whole = Arc::new(object.full());
    let half = whole[..whole.len() / 2].to_vec();
    let served = Arc::clone(&whole);
    let branch = Branch::open(move |asked| match asked.number {
        0 => vec![Step::Send(half.clone()), Step::Close],
        _ => vec![Step::Send(served.to_vec())],
    })
    .await;
    let mut client = branch.client();
    client.write(b"GET /a HTTP/1.1\r\nHost: files.example\r\n\r\n");
    let came = client.outcome(false).expect("a head");
    assert!(!came.whole, "a part is no answer");
    assert!(client.is_over());
    assert!(branch.client().get("/a", "").body == *object.body);
    branch.landed(3);
    assert!(branch.client().get("/a", "").body == *object.body);
    assert_eq!(asked(&branch).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_object_comes_no_further_than_somebody_takes_it() {
    let object = Object::new(48 << 20, 5, FRESH);
    let branch = Branch::of(&object).await;
    let mut slow = branch.client();
    slow.write(b"GET /a HTTP/1.1\r\nHost: files.example\r\n\r\n");
    slow.try_head().expect("a head");
    // Another wants its end meanwhile, and does not wait for the whole of it.
    let end = object.body.len();
    let range = format!("Range: bytes={}-\r\n", end - 10);
    assert_eq!(
        branch.client().get("/a", &range).body,
        object.body[end - 10..]
    );
    let stored = branch.world.store.figures().ram_pieces;
    assert!(stored < 40, "{stored} pieces");
    assert!(slow.bytes(end) == *object.body);
    assert_eq!(asked(&branch).len(), 2);
}
