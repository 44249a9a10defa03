//! Fields that an origin means for one client (RFC 9111, sections 5.2.2.4 and 5.2.2.7). The rule: that client gets them,
//! and everybody else gets the rest.

use crate::download::tests::script::Step;
use crate::http::tests::branch::Branch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_for_one_client_reaches_it_alone() {
    for directive in ["private", "no-cache"] {
        let branch = Branch::open(move |_| {
            let text = format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60, {directive}=\"Set-Cookie, x-own\"\r\n\
                 Set-Cookie: a=b\r\nX-Own: 1\r\nX-All: 2\r\nContent-Length: 2\r\n\r\nok"
            );
            vec![Step::Send(text.into_bytes())]
        })
        .await;
        let first = branch.client().get("/a", "");
        let names = ["Set-Cookie", "X-Own", "X-All"];
        let said = names.map(|name| first.header(name));
        assert_eq!(said, [Some("a=b"), Some("1"), Some("2")], "{directive}");
        let second = branch.client().get("/a", "");
        let said = names.map(|name| second.header(name));
        assert_eq!(said, [None, None, Some("2")], "{directive}");
        assert_eq!(
            (first.body.as_slice(), second.body.as_slice()),
            (&b"ok"[..], &b"ok"[..])
        );
        assert_eq!(branch.asked(), 1, "{directive}");
    }
}
