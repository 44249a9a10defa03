//! Answers of origins that end oddly or not at all (RFC 9112, sections 5 to 8). The rule: a client gets a body that is
//! whole, or sees that it is not; and nothing of the latter is stored.

use crate::download::tests::script::Step;
use crate::http::tests::branch::Branch;

/// What is sent, and what becomes of it: bytes for the client, or none.
const ANSWERS: &[(&str, &str, Option<&str>)] = &[
    (
        "section 7.1.1: extensions are passed over",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b;c=\"d\"\r\nok\r\n0;e\r\n\r\n",
        Some("ok"),
    ),
    (
        "section 7.1.2: trailers are no fields of the answer",
        "HTTP/1.1 200 OK\r\nTrailer: X-Late\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Late: 1\r\nETag: \"l\"\r\n\r\n",
        Some("ok"),
    ),
    (
        "section 6.1: case",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        Some("ok"),
    ),
    (
        "section 6.1: a coding that nobody asked for",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        None,
    ),
    (
        "section 6.3: and no end",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        None,
    ),
    (
        "section 6.1: in two lines",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        None,
    ),
    (
        "section 6.1: chunks in chunks",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        None,
    ),
    (
        "section 6.1: chunks by HTTP/1.0",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        None,
    ),
    (
        "section 6.3: a length and chunks",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        None,
    ),
    (
        "section 6.3: two lengths",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        None,
    ),
    (
        "section 6.3: no length",
        "HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nok",
        None,
    ),
    (
        "section 8: shorter than it says",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        None,
    ),
    (
        "section 8: no last chunk",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        None,
    ),
    (
        "section 7.1: a size that no number holds",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n",
        None,
    ),
    (
        "section 7.1: no size",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nok\r\n0\r\n\r\n",
        None,
    ),
    (
        "section 5.2: a folded line",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\n folded\r\n\r\nok",
        None,
    ),
    (
        "section 5.1: a space before the colon",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
        None,
    ),
    (
        "section 2.2: a carriage return alone",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\rX-B: 2\r\n\r\nok",
        None,
    ),
    (
        "RFC 9110, section 15.2.2: a change of protocol",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        None,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_whole_or_seen_not_to_be() {
    let branch = Branch::open(|asked| {
        let number = asked.target.rsplit('/').next().and_then(|n| n.parse().ok());
        let (_, answer, _) = ANSWERS[number.unwrap_or(0_usize)];
        let answer = answer.replacen("\r\n", "\r\nCache-Control: max-age=60\r\n", 1);
        vec![Step::Send(answer.into_bytes()), Step::Close]
    })
    .await;
    branch.world.settings.rcu(|settings| {
        let mut settings = crate::settings::Settings::clone(settings);
        settings.first_byte_timeout_ms = 1500;
        settings
    });
    for (number, (what, _, body)) in ANSWERS.iter().enumerate() {
        // What may be stored, what is for one client, and what is asked for with a body.
        for (method, folder, fields) in [
            ("GET", "shared", ""),
            ("GET", "own", "Authorization: x\r\n"),
            ("POST", "changed", "Content-Length: 2\r\n\r\nab"),
        ] {
            let mut client = branch.client();
            let request = format!(
                "{method} /{folder}/{number} HTTP/1.1\r\nHost: files.example\r\n{fields}\r\n"
            );
            client.write(request.as_bytes());
            let Ok(came) = client.outcome(false) else {
                assert_eq!(*body, None, "{what}, {method}: cut at once");
                continue;
            };
            let text = String::from_utf8_lossy(&came.got.body);
            match body {
                Some(body) => {
                    assert!(came.whole, "{what}, {method}");
                    assert_eq!((came.got.status, &*text), (200, *body), "{what}, {method}");
                    for late in ["X-Late", "ETag", "Trailer"] {
                        assert_eq!(came.got.header(late), None, "{what}, {method}");
                    }
                }
                None => {
                    let seen = came.got.status == 502 || !came.whole;
                    assert!(seen, "{what}, {method}: {} {text}", came.got.status);
                }
            }
        }
    }
    for (number, (what, _, body)) in ANSWERS.iter().enumerate() {
        let path = format!("/shared/{number}");
        let got = branch
            .client()
            .get(&path, "Cache-Control: only-if-cached\r\n");
        let status = if body.is_some() { 200 } else { 504 };
        assert_eq!(got.status, status, "{what}: what is stored");
    }
}
