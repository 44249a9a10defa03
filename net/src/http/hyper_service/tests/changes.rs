//! Requests that change something. The rule: who has seen the answer to a change sees what it changed.

use super::FRESH;
use crate::download::tests::script::{Object, Step};
use crate::http::tests::branch::Branch;

/// Answers GETs with an object that is fresh for long, and everything else with a status and fields.
async fn changing(status: u16, fields: &'static str) -> Branch {
    let object = Object::new(100, 1, FRESH);
    Branch::open(move |asked| {
        if asked.head.starts_with("get ") {
            return vec![Step::Send(object.answer(asked))];
        }
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{fields}\r\n");
        vec![Step::Send(head.into_bytes())]
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_is_asked_for_anew() {
    // RFC 9111, section 4.4: method, status, answer's fields, requests of the origin for /a, /b and /c in the end
    let named = "Location: /b\r\nContent-Location: http://files.example/c\r\n";
    let elsewhere = "Location: http://other.example/b\r\n";
    let table = [
        ("POST", 200, "", 4),
        ("PUT", 201, named, 6),
        ("DELETE", 204, elsewhere, 4),
        ("M-SEARCH", 303, named, 6),
        ("POST", 500, named, 3),
        ("DELETE", 404, named, 3),
        ("OPTIONS", 200, named, 3),
    ];
    for (method, status, fields, asked) in table {
        let branch = changing(status, fields).await;
        let mut client = branch.client();
        for path in ["/a", "/b", "/c"] {
            assert_eq!(client.get(path, "").status, 200);
        }
        branch.landed(3);
        let mut changer = branch.client();
        let got = changer.ask(method, "/a", "Content-Length: 0\r\n");
        assert_eq!(got.status, status, "{method}");
        for path in ["/a", "/b", "/c"] {
            assert_eq!(client.get(path, "").status, 200);
        }
        // The change itself was one more.
        assert_eq!(branch.asked(), asked + 1, "{method} {status} {fields}");
    }
}
