//! Interim answers. The rule: who asks an origin hears what it says before its answer, and nobody else does.

use crate::download::tests::script::Step;
use crate::http::tests::branch::Branch;

const SAYS: &str = "HTTP/1.1 102 Processing\r\n\r\n\
    HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n\
    HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_before_an_answer_is_given_on_and_not_stored() {
    let branch = Branch::open(|_| vec![Step::Send(SAYS.as_bytes().to_vec())]).await;
    // What is stored on its way, and what passes through.
    for (method, fields) in [
        ("GET", ""),
        ("OPTIONS", ""),
        ("GET", "Authorization: x\r\n"),
    ] {
        let mut client = branch.client();
        let request = format!("{method} /a HTTP/1.1\r\nHost: files.example\r\n{fields}\r\n");
        client.write(request.as_bytes());
        let got = client.any_head().expect("an interim answer");
        assert_eq!(got.status, 102, "{method} {fields}");
        let got = client.any_head().expect("an interim answer");
        assert_eq!(got.status, 103, "{method} {fields}");
        assert_eq!(got.header("Link"), Some("</a.css>; rel=preload"));
        assert_eq!(got.header("X-Hop"), None);
        let got = client.read(false);
        assert_eq!((got.status, got.body.as_slice()), (200, b"ok".as_slice()));
        assert_eq!(got.header("Link"), None);
    }
    branch.landed(1);
    let asked = branch.asked();
    let got = branch.client().get("/a", "");
    assert_eq!((got.status, got.header("Link")), (200, None));
    assert_eq!(
        branch.asked(),
        asked,
        "the answer was stored, what came before it was not"
    );
    // RFC 9110, section 15.2.
    let mut client = branch.client();
    client.write(b"GET /b HTTP/1.0\r\nHost: files.example\r\n\r\n");
    assert_eq!(client.read(false).status, 200);
}
