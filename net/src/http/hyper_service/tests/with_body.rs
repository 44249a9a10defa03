//! Requests with a body. The rule: what a client sends behind one is never half-heard: it is told to ask again, and the
//! answer that tells it comes whole.

use crate::download::tests::script::{Object, Step};
use crate::http::tests::branch::Branch;
use tokio::sync::watch;

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_more_behind_a_body_is_told_to_ask_again_and_gets_the_whole_answer() {
    for behind in [1, 5_000, 40_000] {
        let object = Object::new(4 * MIB, 17, "");
        let served = object.clone();
        let branch = Branch::open(move |_| vec![Step::Send(served.full())]).await;
        let mut client = branch.client();
        // By length and by chunks, and with a body that the origin does not wait for.
        for body in [
            "Content-Length: 5\r\n\r\nabcde",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        ] {
            let mut all = format!("POST /a HTTP/1.1\r\nHost: files.example\r\n{body}");
            let next = "GET /b HTTP/1.1\r\nHost: files.example\r\n\r\n";
            all.push_str(&next.repeat(behind));
            client.write(all.as_bytes());
            let got = client.read(false);
            assert_eq!((got.status, got.header("Connection")), (200, Some("close")));
            object.check_whole(&Ok::<_, ()>(got.body));
            assert!(client.is_over(), "{behind} behind {body}");
            let asked = branch.origin.asked();
            assert!(asked.iter().all(|asked| asked.target != "/b"), "{asked:?}");
            client = branch.client();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_before_a_body_is_told_to_go_on() {
    // RFC 9110, section 10.1.1
    let (let_go, gate) = watch::channel(false);
    let says = b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
    let branch =
        Branch::open(move |_| vec![Step::Until(gate.clone()), Step::Send(says.clone())]).await;
    let head = "POST /a HTTP/1.1\r\nHost: files.example\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let mut client = branch.client();
    client.write(head.as_bytes());
    assert_eq!(client.any_head().expect("a head").status, 100);
    client.write(b"ab");
    let_go.send_replace(true);
    assert_eq!(client.any_head().expect("a head").status, 204);
    let asked = branch.origin.asked();
    assert_eq!(asked[0].header("expect"), None);
}
