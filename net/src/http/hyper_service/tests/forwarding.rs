//! What goes on to an origin and what comes back from it, field by field. The rule: what concerns one connection ends
//! there, and who reads what was passed on can tell which way it came (RFC 9110, section 7.6).

use crate::download::tests::script::Step;
use crate::http::tests::branch::Branch;
use crate::http::tests::raw::Got;
use crate::settings::Settings;
use larder_proto::http::route::{Authority, OriginRules};
use std::sync::Arc;

fn text(answer: &str) -> Vec<Step> {
    vec![Step::Send(answer.as_bytes().to_vec())]
}

/// A branch in which larder is the plain reverse proxy of the origin, which gets to see all fields.
async fn reverse_proxy(answer: &'static str) -> Branch {
    let branch = Branch::open(move |_| text(answer)).await;
    let default = Authority {
        https: false,
        host: "files.example".to_owned(),
        port: 80,
    };
    let connect = [(
        "files.example".to_owned(),
        branch.origin.address.to_string(),
    )];
    let rules = OriginRules::new(&[], Some(default), connect, &[]).expect("sound rules");
    let settings = Settings::clone(&branch.world.settings.load());
    let settings = Settings { rules, ..settings };
    branch.world.settings.store(Arc::new(settings));
    branch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_concerns_one_connection_goes_no_further() {
    let branch = reverse_proxy(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
         Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nTrailer: X-Late\r\nX-All: 1\r\n\r\nok",
    )
    .await;
    let hops: &[u8] = b"Connection: X-Hop, \xff, x-other\r\nX-Hop: 1\r\nX-Other: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
        Upgrade: h2c\r\nProxy-Authorization: Basic x\r\nProxy-Connection: keep-alive\r\nTrailer: X-Late\r\nX-All: 1\r\n";
    for (line, rest, via) in [
        ("GET /a HTTP/1.1", "\r\n", "1.1 larder"),
        ("OPTIONS /a HTTP/1.1", "\r\n", "1.1 larder"),
        (
            "POST /a HTTP/1.1",
            "Content-Length: 2\r\n\r\nab",
            "1.1 larder",
        ),
        ("GET /b HTTP/1.0", "\r\n", "1.0 larder"),
        ("OPTIONS /b HTTP/1.0", "\r\n", "1.0 larder"),
    ] {
        let asked = branch.asked();
        let mut client = branch.client();
        let head = format!("{line}\r\nHost: files.example\r\n");
        client.write(&[head.as_bytes(), hops, rest.as_bytes()].concat());
        let got = client.read(false);
        assert_eq!(
            (got.status, got.body.as_slice()),
            (200, &b"ok"[..]),
            "{line}"
        );
        assert_eq!(got.header("X-All"), Some("1"), "{line}");
        for gone in [
            "X-Hop",
            "Keep-Alive",
            "Proxy-Authenticate",
            "Upgrade",
            "Trailer",
        ] {
            assert_eq!(got.header(gone), None, "{line}");
        }
        let seen = branch.origin.asked()[asked].clone();
        assert_eq!(seen.header("x-all"), Some("1"), "{line}");
        // RFC 9112, section 2.3: larder's own version, whatever the client's is.
        assert!(
            seen.head
                .lines()
                .next()
                .expect("a line")
                .ends_with(" http/1.1")
        );
        assert_eq!(seen.header("via"), Some(via), "{line}");
        for gone in [
            "x-hop",
            "x-other",
            "keep-alive",
            "te",
            "upgrade",
            "proxy-authorization",
            "proxy-connection",
            "trailer",
        ] {
            assert_eq!(seen.header(gone), None, "{line}");
        }
    }
}

/// All lines of a field, in the order in which they stand.
fn all(got: &Got, name: &str) -> String {
    let lines = got.headers.iter().filter(|(field, _)| field == name);
    let values: Vec<_> = lines.map(|(_, value)| value.as_str()).collect();
    values.join(", ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_say_the_way_in_its_order() {
    // RFC 9110, section 7.6.3, and RFC 9211, section 2
    let branch = Branch::open(|_| {
        text(
            "HTTP/1.1 200 OK\r\nVia: 1.0 front\r\nCache-Status: front; hit\r\nCache-Control: max-age=60\r\n\
             Content-Length: 2\r\n\r\nok",
        )
    })
    .await;
    for (method, fields, says) in [
        ("OPTIONS", "", "bypass"),
        ("POST", "Content-Length: 2\r\n\r\nab", "bypass"),
        ("GET", "Authorization: x\r\n", "bypass"),
        ("GET", "", "uri-miss"),
        ("GET", "", "hit"),
    ] {
        let mut client = branch.client();
        let request = format!("{method} /a HTTP/1.1\r\nHost: files.example\r\n{fields}\r\n");
        client.write(request.as_bytes());
        let got = client.read(false);
        assert_eq!(all(&got, "Via"), "1.0 front, 1.1 larder", "{method}");
        let status = all(&got, "Cache-Status");
        let own = status.strip_prefix("front; hit, larder; ");
        assert!(own.is_some_and(|own| own.contains(says)), "{status}");
        if (method, says) == ("GET", "uri-miss") {
            branch.landed(1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_go_as_far_as_they_say() {
    // RFC 9110, section 7.6.2, and RFC 9112, section 3.2.4
    let branch =
        Branch::open(|_| text("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")).await;
    let ask = |line: &str, fields: &str| {
        let mut client = branch.client();
        let request = format!("{line} HTTP/1.1\r\nHost: files.example\r\n{fields}\r\n");
        client.write(request.as_bytes());
        let got = client.read(false);
        // RFC 9110, section 8.6
        assert_eq!(got.header("Content-Length").is_some(), got.status != 204);
        got.status
    };
    assert_eq!(ask("OPTIONS /a", "Max-Forwards: 0\r\n"), 200);
    assert_eq!(
        ask(
            "OPTIONS /a",
            "Max-Forwards: 0\r\nContent-Length: 2\r\n\r\nab"
        ),
        200
    );
    assert_eq!(ask("OPTIONS *", ""), 200);
    assert_eq!(branch.asked(), 0, "it is for larder");
    for (line, fields, target, left) in [
        ("OPTIONS /a", "Max-Forwards: 3\r\n", "/a", Some("2")),
        (
            "OPTIONS /a",
            "Max-Forwards: 3\r\nContent-Length: 2\r\n\r\nab",
            "/a",
            Some("2"),
        ),
        ("OPTIONS /a", "", "/a", None),
        // RFC 9110, section 13.2.1: a condition means nothing to it.
        ("OPTIONS /a", "If-None-Match: *\r\n", "/a", None),
        ("OPTIONS http://files.example", "", "*", None),
        ("OPTIONS http://files.example/", "", "/", None),
        // It counts for nothing elsewhere.
        ("DELETE /a", "Max-Forwards: 0\r\n", "/a", None),
    ] {
        assert_eq!(ask(line, fields), 204, "{line}");
        let asked = branch.origin.asked();
        let last = asked.last().expect("it was asked");
        assert_eq!(last.target, target, "{line}");
        assert_eq!(last.header("max-forwards"), left, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_is_put_says_where_it_belongs() {
    // RFC 9110, section 14.5
    let branch = Branch::open(|_| text("HTTP/1.1 204 No Content\r\n\r\n")).await;
    let place = "Content-Range: bytes 5-6/9\r\n";
    for (method, fields) in [
        ("PUT", format!("{place}Content-Length: 2\r\n\r\nab")),
        ("GET", format!("{place}Authorization: x\r\n")),
    ] {
        let mut client = branch.client();
        let request = format!("{method} /a HTTP/1.1\r\nHost: files.example\r\n{fields}\r\n");
        client.write(request.as_bytes());
        assert_eq!(client.read(false).status, 204);
        let asked = branch.origin.asked();
        let said = asked.last().expect("it was asked").header("content-range");
        assert_eq!(said, (method == "PUT").then_some("bytes 5-6/9"), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_something_is_sent_once() {
    // RFC 9110, section 9.2.2
    let branch = Branch::open(|asked| match asked.head.as_str() {
        head if head.starts_with("get ") => text("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        _ => vec![Step::Close],
    })
    .await;
    for method in ["POST", "PATCH", "CHANGE"] {
        // It leaves a connection that could be used again.
        assert_eq!(
            branch.client().get("/a", "Authorization: x\r\n").status,
            200
        );
        let got = branch.client().ask(method, "/a", "Content-Length: 0\r\n");
        assert_eq!(got.status, 502, "{method}");
        let asked = branch.origin.asked();
        let mark = format!("{} ", method.to_lowercase());
        let times = asked.iter().filter(|asked| asked.head.starts_with(&mark));
        assert_eq!(times.count(), 1, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_behind_the_last_request_is_heard() {
    // RFC 9112, section 9.6, by whoever answers
    let branch = Branch::open(|_| {
        text("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=60\r\n\r\nok")
    })
    .await;
    for (path, fields) in [("/fixed/a", ""), ("/a", ""), ("/a", "Authorization: x\r\n")] {
        let mut client = branch.client();
        let first = format!(
            "GET {path} HTTP/1.1\r\nHost: files.example\r\nConnection: close\r\n{fields}\r\n"
        );
        let second = "GET /second HTTP/1.1\r\nHost: files.example\r\n\r\n";
        client.write([first.as_str(), second].concat().as_bytes());
        let got = client.read(false);
        assert_eq!((got.status, got.header("Connection")), (200, Some("close")));
        assert!(client.is_over(), "{path}");
        let asked = branch.origin.asked();
        assert!(asked.iter().all(|asked| asked.target != "/second"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_is_between_client_and_origin() {
    // RFC 9110, sections 11.6.1 and 11.6.2
    let branch = Branch::open(|_| {
        text(
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"a, b\", qop=\"auth\"\r\n\
             WWW-Authenticate: Basic realm=\"c\"\r\nContent-Length: 0\r\n\r\n",
        )
    })
    .await;
    for (path, fields, said) in [
        ("/a", "", None),
        ("/fixed/a", "", None),
        (
            "/a",
            "Authorization: digest a=\"b, c\"\r\n",
            Some("digest a=\"b, c\""),
        ),
    ] {
        let got = branch.client().get(path, fields);
        assert_eq!(got.status, 401, "{path}");
        assert_eq!(
            all(&got, "WWW-Authenticate"),
            "Digest realm=\"a, b\", qop=\"auth\", Basic realm=\"c\"",
            "{path}"
        );
        let asked = branch.origin.asked();
        let last = asked.last().expect("it was asked");
        assert_eq!(last.header("authorization"), said, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cache_directives_are_passed_on() {
    // RFC 9111, section 5.2, and RFC 9213, section 3
    let branch = Branch::open(|_| {
        text(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=60, odd=\"1, 2\"\r\n\
             CDN-Cache-Control: max-age=600\r\nPragma: odd\r\n\r\nok",
        )
    })
    .await;
    for (path, cache) in [("/a", "MISS"), ("/a", "HIT"), ("/b", "MISS")] {
        let fields = "Cache-Control: max-stale=5, odd=x\r\nPragma: y\r\n";
        let got = branch.client().get(path, fields);
        assert_eq!(got.header("X-Cache-Status"), Some(cache));
        assert_eq!(
            got.header("Cache-Control"),
            Some("max-age=60, odd=\"1, 2\"")
        );
        assert_eq!(all(&got, "Cdn-Cache-Control"), "max-age=600");
        assert_eq!(got.header("Pragma"), Some("odd"));
        let asked = branch.origin.asked();
        let last = asked.last().expect("it was asked");
        assert_eq!(last.header("cache-control"), Some("max-stale=5, odd=x"));
        assert_eq!(last.header("pragma"), Some("y"));
        branch.landed(1);
    }
}
