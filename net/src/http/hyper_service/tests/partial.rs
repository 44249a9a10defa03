//! Parts that are combined, and confirmations that say something new (RFC 9111, sections 3.2, 3.4 and 4.3). The rule:
//! what is stored says what its origin said last, and is given to whom that allows.

use super::FRESH;
use crate::download::tests::script::{Object, Step};
use crate::http::tests::branch::Branch;

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_completes_brings_its_fields() {
    // section 3.4
    let branch = Branch::open(|asked| {
        let headers = format!("{FRESH}X-Number: {}\r\n", asked.number);
        vec![Step::Send(Object::new(3 * MIB, 3, &headers).answer(asked))]
    })
    .await;
    let object = Object::new(3 * MIB, 3, FRESH);
    let part = |first: usize| {
        let more = format!("Range: bytes={first}-{}\r\n", first + 9);
        let got = branch.client().get("/a", &more);
        assert_eq!(
            (got.status, got.body.as_slice()),
            (206, &object.body[first..first + 10])
        );
        let said = ["X-Cache-Status", "X-Number"].map(|name| got.header(name).map(str::to_owned));
        said.map(Option::unwrap_or_default)
    };
    assert_eq!(part(5), ["MISS", "0"]);
    branch.landed(1);
    assert_eq!(part(50), ["HIT", "0"]);
    part(2 * MIB);
    branch.landed(2);
    assert_eq!(part(5), ["HIT", "1"]);
    assert_eq!(branch.asked(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_turns_out_to_vary_is_given_to_nobody_unasked() {
    // sections 3.2 and 4.1
    let branch = Branch::open(|asked| {
        let (status, fields) = match asked.header("if-none-match") {
            Some(_) => (
                "304 Not Modified",
                "Vary: Accept-Language\r\nCache-Control: max-age=60\r\n",
            ),
            None => (
                "200 OK",
                "Content-Length: 4\r\nCache-Control: max-age=0\r\n",
            ),
        };
        let body = if status.starts_with("200") {
            "body"
        } else {
            ""
        };
        let text = format!("HTTP/1.1 {status}\r\nETag: \"1\"\r\n{fields}\r\n{body}");
        vec![Step::Send(text.into_bytes())]
    })
    .await;
    assert_eq!(branch.client().get("/a", "").body, b"body");
    branch.landed(1);
    for (times, language) in ["de", "en", "de"].into_iter().enumerate() {
        let more = format!("Accept-Language: {language}\r\n");
        let got = branch.client().get("/a", &more);
        assert_eq!(got.header("X-Cache-Status"), Some("REVALIDATED"));
        assert_eq!(got.header("Vary"), Some("Accept-Language"));
        assert_eq!(branch.asked(), times + 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_another_version_gets_the_confirmed_one() {
    // section 4.3.2: the 304 is about what is stored, not about what the client has
    let branch = Branch::open(|asked| {
        let text = match asked.header("if-none-match") {
            Some("\"1\"") => {
                "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nCache-Control: max-age=60\r\n\r\n"
            }
            Some(_) => "HTTP/1.1 400 Mixed\r\nContent-Length: 0\r\n\r\n",
            None => {
                "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                 Cache-Control: max-age=0\r\nContent-Length: 4\r\n\r\nbody"
            }
        };
        vec![Step::Send(text.as_bytes().to_vec())]
    })
    .await;
    assert_eq!(branch.client().get("/a", "").status, 200);
    branch.landed(1);
    let got = branch.client().get("/a", "If-None-Match: \"0\", \"2\"\r\n");
    assert_eq!((got.status, got.body.as_slice()), (200, &b"body"[..]));
    // section 4.3.1
    let asked = &branch.origin.asked()[1];
    assert_eq!(
        asked.header("if-modified-since"),
        Some("sun, 06 nov 1994 08:49:37 gmt")
    );
    let got = branch.client().get("/a", "If-None-Match: \"0\", \"1\"\r\n");
    assert_eq!(
        (got.status, got.header("X-Cache-Status")),
        (304, Some("HIT"))
    );
}
