//! HEAD about what is stored (RFC 9111, section 4.3.5). The rule: what it says holds for the next GET as well.

use crate::download::tests::script::{Asked, Step};
use crate::http::tests::branch::Branch;

const STALE: &str = "ETag: \"1\"\r\nCache-Control: max-age=0\r\nX-A: old\r\nContent-Length: 4\r\n";

/// An object that is stale at once, and what is said to a HEAD.
async fn branch(to_head: &'static str) -> Branch {
    Branch::open(move |asked: &Asked| {
        let answer = if asked.head.starts_with("head ") {
            format!("HTTP/1.1 {to_head}\r\n\r\n")
        } else {
            format!("HTTP/1.1 200 OK\r\n{STALE}\r\nbody")
        };
        vec![Step::Send(answer.into_bytes())]
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_confirms_is_fresh_again() {
    for to_head in [
        "200 OK\r\nETag: \"1\"\r\nCache-Control: max-age=60\r\nX-A: new\r\nContent-Length: 4",
        "200 OK\r\nCache-Control: max-age=60\r\nX-A: new",
    ] {
        let branch = branch(to_head).await;
        assert_eq!(branch.client().get("/a", "").body, b"body");
        branch.landed(1);
        let head = branch.client().ask("HEAD", "/a", "");
        assert_eq!((head.status, head.header("X-A")), (200, Some("new")));
        let got = branch.client().get("/a", "");
        assert_eq!(got.header("X-Cache-Status"), Some("HIT"), "{to_head}");
        assert_eq!(
            (got.body.as_slice(), got.header("X-A")),
            (&b"body"[..], Some("new"))
        );
        assert_eq!(branch.asked(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_contradicts_is_not_given_any_more() {
    for to_head in [
        "200 OK\r\nETag: \"2\"\r\nContent-Length: 4",
        "200 OK\r\nETag: \"1\"\r\nContent-Length: 5",
        "200 OK\r\nETag: \"1\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 4",
    ] {
        let branch = branch(to_head).await;
        assert_eq!(branch.client().get("/a", "").body, b"body");
        branch.landed(1);
        assert_eq!(branch.client().ask("HEAD", "/a", "").status, 200);
        branch.until("it is gone", || branch.world.store.figures().objects == 0);
        assert_eq!(branch.client().get("/a", "").body, b"body");
        let asked = branch.origin.asked();
        assert_eq!(asked[2].header("if-none-match"), None, "{to_head}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_choice_and_conditions_change_nothing() {
    for (to_head, fields, status) in [
        (
            "200 OK\r\nETag: \"z\"\r\nContent-Encoding: gzip\r\nContent-Length: 9",
            "Accept-Encoding: gzip\r\n",
            200,
        ),
        (
            "304 Not Modified\r\nETag: \"1\"",
            "If-None-Match: \"1\"\r\n",
            304,
        ),
        ("404 Not Found\r\nContent-Length: 4", "", 404),
    ] {
        let branch = branch(to_head).await;
        assert_eq!(branch.client().get("/a", "").body, b"body");
        branch.landed(1);
        let head = branch.client().ask("HEAD", "/a", fields);
        assert_eq!(head.status, status);
        assert_eq!(branch.client().get("/a", "").body, b"body");
        let asked = branch.origin.asked();
        assert_eq!(asked[2].header("if-none-match"), Some("\"1\""), "{to_head}");
    }
}
