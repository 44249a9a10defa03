//! Which origin a request names: the forms, and URLs that try to name another than they seem to.

use super::*;

fn rules() -> OriginRules {
    let allow = [
        "*.windowsupdate.com",
        "*.dl.delivery.mp.microsoft.com",
        "wsus.example:8530",
        "10.0.0.5",
        "[fd00::5]",
    ];
    let connect = [("test.example".to_owned(), "127.0.0.1:8000".to_owned())];
    OriginRules::new(&allow.map(str::to_owned), None, connect, &[]).expect("good rules")
}

fn with_default() -> OriginRules {
    let default = Authority {
        https: false,
        host: "127.0.0.1".to_owned(),
        port: 8000,
    };
    OriginRules::new(
        &["*.windowsupdate.com".to_owned()],
        Some(default),
        [],
        &["127.0.0.1/fixed/*".to_owned()],
    )
    .expect("good rules")
}

#[test]
fn the_parameter_may_be_first_last_or_in_the_middle() {
    let rules = rules();
    for (query, kept) in [
        ("cacheHostOrigin=au.windowsupdate.com", ["", ""]),
        ("cacheHostOrigin=au.windowsupdate.com&a=%2F", ["", "a=%2F"]),
        ("a=%2F&cacheHostOrigin=au.windowsupdate.com", ["a=%2F", ""]),
        (
            "a=%2F&cachehostorigin=au.windowsupdate.com&b",
            ["a=%2F", "b"],
        ),
        ("a&&cacheHostOrigin=au.windowsupdate.com&&b", ["a&", "&b"]),
    ] {
        let target = format!("/x%20y/../z?{query}");
        let route = route(&target, Some("10.9.9.9:8080"), false, &rules).expect(query);
        assert_eq!(
            (route.host, route.port, route.https),
            ("au.windowsupdate.com", 80, false)
        );
        assert_eq!(
            (route.path, route.query, route.form),
            ("/x%20y/../z", kept, Form::Parameter),
            "{query}"
        );
        let owned = route.to_owned();
        let joined = kept
            .iter()
            .filter(|s| !s.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join("&");
        let expected = if joined.is_empty() {
            "/x%20y/../z".to_owned()
        } else {
            format!("/x%20y/../z?{joined}")
        };
        assert_eq!(owned.target, expected);
        assert_eq!(owned.url, format!("http://au.windowsupdate.com{expected}"));
        assert_eq!(owned.identity, route.identity(&rules));
    }
}

#[test]
fn the_forms_come_in_order() {
    let rules = rules();
    let form = |target: &str, host: Option<&str>, https: bool| {
        route(target, host, https, &rules).map(|r| (r.https, r.host.to_owned(), r.port, r.form))
    };
    let named = |https, host: &str, port, form| Ok((https, host.to_owned(), port, form));
    let (a, b, c) = (
        "a.windowsupdate.com",
        "b.windowsupdate.com",
        "c.windowsupdate.com",
    );
    assert_eq!(
        form(&format!("http://{b}/x?cacheHostOrigin={a}"), Some(c), false),
        named(false, a, 80, Form::Parameter)
    );
    assert_eq!(
        form(&format!("HTTP://{b}/x"), Some(c), false),
        named(false, b, 80, Form::Absolute)
    );
    assert_eq!(
        form(&format!("https://{b}?x"), Some(c), false),
        named(true, b, 443, Form::Absolute)
    );
    assert_eq!(
        form("/x", Some("C.windowsupdate.com"), true),
        named(true, "C.windowsupdate.com", 443, Form::Host)
    );
    // The port of our own listener is no port of the origin.
    assert_eq!(
        form("/x", Some("c.windowsupdate.com:8080"), false),
        named(false, c, 80, Form::Host)
    );
    assert_eq!(
        form("/x", Some("c.windowsupdate.com.:8080"), false),
        named(false, c, 80, Form::Host)
    );
    assert_eq!(
        form("/x", Some("test.example:8080"), false),
        named(false, "test.example", 80, Form::Host)
    );
    assert_eq!(
        form("/x", Some("wsus.example"), false),
        named(false, "wsus.example", 8530, Form::Host)
    );
    assert_eq!(
        form("/x?cacheHostOrigin=wsus.example", None, true),
        named(true, "wsus.example", 8530, Form::Parameter)
    );
    assert_eq!(
        form("/x", Some("10.0.0.5"), false),
        named(false, "10.0.0.5", 80, Form::Host)
    );
    assert_eq!(
        form("http://[FD00::5]/x", None, false),
        named(false, "[FD00::5]", 80, Form::Absolute)
    );
    assert_eq!(
        form("/x", Some("10.9.9.9"), false),
        Err(Refusal::Forbidden {
            host: "10.9.9.9".to_owned()
        })
    );
    assert_eq!(
        form("/x", None, false),
        Err(Refusal::Forbidden {
            host: String::new()
        })
    );
}

#[test]
fn the_default_origin_serves_what_names_no_allowed_one() {
    let rules = with_default();
    for host in [
        None,
        Some(""),
        Some("cache.branch:8080"),
        Some("2130706433"),
        Some("127.0.0.1:9"),
        Some("a:b:c"),
    ] {
        let route = route("/fixed/x?q", host, true, &rules).expect("the default");
        assert_eq!(
            (route.https, route.host, route.port, route.form),
            (false, "127.0.0.1", 8000, Form::Default)
        );
        let owned = route.to_owned();
        assert_eq!(owned.origin.to_string(), "127.0.0.1:8000");
        assert_eq!(owned.url, "http://127.0.0.1:8000/fixed/x?q");
        assert_eq!(owned.target, "/fixed/x?q");
        assert!(owned.identity.immutable && !owned.identity.family);
    }
    assert!(
        rules.trusts("127.0.0.1")
            && rules.allows(false, "127.0.0.1", 8000)
            && !rules.allows(false, "127.0.0.1", 80)
    );
    assert_eq!(
        route("/x", Some("a.windowsupdate.com"), false, &rules)
            .expect("allowed")
            .form,
        Form::Host
    );
    // What names an origin outright is not sent to another one.
    for target in ["/x?cacheHostOrigin=evil.example", "http://evil.example/x"] {
        assert_eq!(
            route(target, Some("a"), false, &rules)
                .map(|_| ())
                .map_err(|r| r.status()),
            Err(403),
            "{target}"
        );
    }
}

#[test]
fn signatures_go_to_the_origin_but_are_no_identity() {
    let rules = rules();
    let path = "/filestreamingservice/files/1d3e7a30-7a2c-4c3f-9c3d-0123456789ab";
    let owned = |signature: &str, host: &str| {
        let target =
            format!("{path}?P1={signature}&P2=404&P3=2&P4=a%2fb%3d&cacheHostOrigin={host}");
        route(&target, None, false, &rules)
            .expect("allowed")
            .to_owned()
    };
    let a = owned("1", "1.tlu.dl.delivery.mp.microsoft.com");
    let b = owned("2", "2.tlu.dl.delivery.mp.microsoft.com");
    assert_eq!(a.target, format!("{path}?P1=1&P2=404&P3=2&P4=a%2fb%3d"));
    assert_eq!(
        a.url,
        format!("http://1.tlu.dl.delivery.mp.microsoft.com{path}")
    );
    assert_eq!(a.identity, b.identity);
    assert!(a.identity.immutable && a.identity.family);
    assert_ne!(a.apart.key, b.apart.key);
    assert_eq!(
        a.apart.key,
        owned("3", "1.tlu.dl.delivery.mp.microsoft.com").apart.key
    );
}

/// Origins as an attacker might spell them, tried by parameter and by absolute URI: none may be asked.
const ODD_ORIGINS: &[&str] = &[
    "evil.example",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "metadata.google.internal",
    "127.0.0.1",
    "127.0.0.1:80",
    "127.1",
    "127.0.1",
    "127.000.000.001",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "0X7F000001",
    "2130706433",
    "017700000001",
    "0",
    "0.0.0.0",
    "10.0.0.05",
    "10.0.0.6",
    "167772165",
    "0xa.0.0.5",
    "10.0.5",
    "169.254.169.254",
    "2852039166",
    "255.255.255.255",
    "1.2.3.4.5",
    "999.1.1.1",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:10.0.0.5]",
    "[fd00::6]",
    "[fe80::1%25eth0]",
    "[fd00::5",
    "fd00::5",
    "[]",
    "[v1.x]",
    "[10.0.0.5]",
    "windowsupdate.com",
    "xwindowsupdate.com",
    "evil.example.windowsupdate.com.evil.example",
    "windowsupdate.com.evil.example",
    ".windowsupdate.com",
    "..windowsupdate.com",
    "a..windowsupdate.com",
    "a.windowsupdate.com..",
    "*.windowsupdate.com",
    "a.windowsupdate.com:22",
    "a.windowsupdate.com:443",
    "a.windowsupdate.com:8080",
    "a.windowsupdate.com:0",
    "a.windowsupdate.com:65536",
    "a.windowsupdate.com:65616",
    "a.windowsupdate.com:+80",
    "a.windowsupdate.com:80:80",
    "a.windowsupdate.com:%38%30",
    "evil.example:80@a.windowsupdate.com",
    "a.windowsupdate.com@evil.example",
    "u:p@a.windowsupdate.com",
    "@a.windowsupdate.com",
    "a.windowsupdate.com%00.evil.example",
    "evil.example%23.windowsupdate.com",
    "evil.example%2f.windowsupdate.com",
    "a%2ewindowsupdate.com",
    "a.windowsupdate.com%2e",
    "evil.example\\.windowsupdate.com",
    "evil.example\\@a.windowsupdate.com",
    "evil.example;.windowsupdate.com",
    "evil.example,a.windowsupdate.com",
    "http://a.windowsupdate.com",
    "//a.windowsupdate.com",
    "xn--windowsupdate-.com",
    "a.windowsupdate\u{3002}com",
    "\u{ff41}.windowsupdate.com",
    "a.windowsupd\u{430}te.com",
    "a.windowsupdate.com\0.evil.example",
    "a.windowsupdate.com\r\nHost: evil.example",
    "a.windowsupdate.com\t",
    " a.windowsupdate.com",
    "wsus.example:80",
    "wsus.example:8531",
    "test.example:8000",
    "",
    ".",
    ":80",
    "-",
];

#[test]
fn odd_origins_are_never_asked() {
    let (strict, open) = (rules(), with_default());
    assert!(ODD_ORIGINS.len() >= 60);
    for odd in ODD_ORIGINS {
        for rules in [&strict, &open] {
            if rules.default_origin().is_some()
                && (odd.starts_with("wsus") || odd.starts_with("test"))
            {
                continue;
            }
            for target in [
                format!("/x?cacheHostOrigin={odd}"),
                format!("/x?a&cacheHostOrigin={odd}&b"),
                format!("http://ok.windowsupdate.com/x?cacheHostOrigin={odd}"),
                format!("http://{odd}/x"),
            ] {
                let answer = route(&target, Some("ok.windowsupdate.com"), false, rules);
                assert!(answer.is_err(), "{target:?} goes to {answer:?}");
            }
        }
        // As Host it is refused as well; the default origin, where there is one, is the only other way.
        let by_host =
            route("/x", Some(odd), false, &strict).map(|r| (r.host.to_owned(), r.port, r.form));
        match by_host {
            Err(_) => {}
            // Here the port is our listener's, as far as anybody can tell.
            Ok((host, port, Form::Host)) => {
                assert!(
                    odd.starts_with(&host) && odd[host.len()..].starts_with(':'),
                    "{odd:?}"
                );
                assert!(strict.allows(false, &host, port), "{odd:?}");
            }
            Ok(other) => panic!("{odd:?} goes to {other:?}"),
        }
    }
}

#[test]
fn odd_targets_are_no_requests() {
    let rules = rules();
    for target in [
        "",
        "*",
        "x",
        "a.windowsupdate.com:443",
        "ftp://a.windowsupdate.com/x",
        "file:///etc/passwd",
        "http:/a.windowsupdate.com/x",
        "http:a.windowsupdate.com",
        "http://",
        "http:///x",
        "http://?x",
        "gopher://a.windowsupdate.com/",
        "/x#fragment",
        "/x y",
        "/x\0",
        "/x\n",
        "/\u{e4}",
        "http://a.windowsupdate.com#@evil.example/",
        "/x?cacheHostOrigin",
        "/x?cacheHostOrigin=",
        "/x?cacheHostOrigin=a.windowsupdate.com&cacheHostOrigin=a.windowsupdate.com",
        "/x?cacheHostOrigin=a.windowsupdate.com&CACHEHOSTORIGIN=b.windowsupdate.com",
    ] {
        let answer = route(target, Some("a.windowsupdate.com"), false, &rules);
        assert!(
            matches!(answer, Err(Refusal::Bad(_))),
            "{target:?} is {answer:?}"
        );
    }
    // A path that looks like an authority is a path.
    let odd = route(
        "//evil.example/x",
        Some("a.windowsupdate.com"),
        false,
        &rules,
    )
    .expect("a path");
    assert_eq!(
        (odd.host, odd.path),
        ("a.windowsupdate.com", "//evil.example/x")
    );
    let odd = route(
        "/http://evil.example/",
        Some("a.windowsupdate.com"),
        false,
        &rules,
    )
    .expect("a path");
    assert_eq!(
        (odd.host, odd.path),
        ("a.windowsupdate.com", "/http://evil.example/")
    );
}

#[test]
fn a_device_asks_whom_its_user_names() {
    let shut = rules();
    let open = OriginRules::new(&[], None, [], &[])
        .expect("rules")
        .opened();
    for (url, origin, target) in [
        ("http://10.0.0.1:8001/a/b?x=1", "10.0.0.1:8001", "/a/b?x=1"),
        ("https://any.example", "any.example", "/"),
        (
            "http://larder/p?cacheHostOrigin=h.example",
            "larder",
            "/p?cacheHostOrigin=h.example",
        ),
        ("http://[::1]:81/", "[::1]:81", "/"),
    ] {
        let route = direct(url, &open).expect(url);
        assert_eq!(route.origin.to_string(), origin, "{url}");
        assert_eq!(route.target, target, "{url}");
        assert!(open.trusts(&route.origin.host), "{url}");
        assert!(
            matches!(direct(url, &shut), Err(Refusal::Forbidden { .. })),
            "{url}"
        );
    }
    for url in [
        "/path",
        "ftp://a.example/",
        "http://u:p@a.example/",
        "http://127.1/",
        "http://a.example/#x",
        "http://",
    ] {
        assert!(direct(url, &open).is_err(), "{url}");
    }
}
