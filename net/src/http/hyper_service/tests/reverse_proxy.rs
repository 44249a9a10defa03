//! The default origin, which larder stands before as a plain reverse proxy. The rule: its clients get what it says.

use crate::download::tests::script::Step;
use crate::http::tests::branch::Branch;
use crate::settings::Settings;
use larder_proto::http::route::{Authority, OriginRules};
use std::sync::Arc;

const HOST: &str = "files.example";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_redirects_are_answers_and_stored_as_such() {
    let branch = Branch::open(|asked| {
        let text = match asked.target.as_str() {
            "/a" => {
                "HTTP/1.1 302 Found\r\nLocation: /b\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\n/b"
            }
            _ => "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok",
        };
        vec![Step::Send(text.as_bytes().to_vec())]
    })
    .await;
    let mut client = branch.client();
    // Of a host that is on the list, clients get the object, wherever it is.
    let got = client.get("/a", "");
    assert_eq!((got.status, got.body.as_slice()), (200, b"ok".as_slice()));
    client.ask("POST", "/a", "Content-Length: 0\r\n");
    let default = Authority {
        https: false,
        host: HOST.to_owned(),
        port: 80,
    };
    let connect = [(HOST.to_owned(), branch.origin.address.to_string())];
    let rules = OriginRules::new(&[], Some(default), connect, &[]).expect("sound rules");
    let settings = Settings::clone(&branch.world.settings.load());
    let settings = Settings { rules, ..settings };
    branch.world.settings.store(Arc::new(settings));
    let asked = branch.asked();
    for status in ["MISS", "HIT"] {
        let got = branch.client().get("/a", "");
        assert_eq!((got.status, got.header("Location")), (302, Some("/b")));
        assert_eq!(got.header("X-Cache-Status"), Some(status));
        branch.landed(1);
    }
    assert_eq!(branch.asked(), asked + 1);
}
