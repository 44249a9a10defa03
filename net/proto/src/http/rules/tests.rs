//! Patterns that are refused or matched, and the glob against a slow obvious one.

use super::*;
use proptest::prelude::*;

fn rules(
    allow: &[&str],
    connect: &[(&str, &str)],
    immutable: &[&str],
) -> Result<OriginRules, RuleError> {
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let connect = connect
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
    OriginRules::new(&owned(allow), None, connect, &owned(immutable))
}

#[test]
fn rules_that_can_not_be_meant_are_refused_in_words() {
    for pattern in [
        "",
        "*",
        "*.*",
        "*.",
        "**",
        "http://a.example",
        "a.example/x",
        "a b",
        "a..b",
        ".example",
        "10.0.0.*",
        "127.1",
        "*.1",
        "0x7f.1",
        "[::1",
        "a:0",
        "a:99999",
        "a:b",
        "*.a*.example",
        "u@a",
        "b\u{fc}cher.example",
    ] {
        let error = rules(&[pattern], &[], &[]).expect_err(pattern);
        assert!(
            error.to_string().starts_with("origins.allow: \""),
            "{error}"
        );
    }
    for (name, to) in [
        ("a:80", "b:80"),
        ("a", "b"),
        ("a", "b:0"),
        ("", "b:80"),
        ("a", ":80"),
        ("a", "http://b:80/x"),
        ("*.a", "b:80"),
    ] {
        assert!(
            matches!(
                rules(&[], &[(name, to)], &[]),
                Err(RuleError::Connect { .. })
            ),
            "{name} {to}"
        );
    }
    for pattern in ["a.example", "http://a.example/x", "/x", ""] {
        assert!(
            matches!(
                rules(&[], &[], &[pattern]),
                Err(RuleError::Immutable { .. })
            ),
            "{pattern}"
        );
    }
    let default = |host: &str| {
        OriginRules::new(
            &[],
            Some(Authority {
                https: false,
                host: host.to_owned(),
                port: 80,
            }),
            [],
            &[],
        )
    };
    assert!(default("").is_err() && default("127.1").is_err() && default("a/b").is_err());
    assert_eq!(
        default("::1")
            .expect("an address")
            .default_origin()
            .expect("it")
            .host,
        "[::1]"
    );
}

#[test]
fn the_vendors_list_compiles_and_matches_the_hosts_seen() {
    let rules = rules(OriginRules::vendor_allow(), &[], &[]).expect("the vendor's list");
    for host in [
        "msedge.b.tlu.dl.delivery.mp.microsoft.com",
        "dl.delivery.mp.microsoft.com",
        "au.download.windowsupdate.com",
        "CTLDL.WindowsUpdate.com",
        "officecdn.microsoft.com.edgesuite.net",
        "swdin02-mscdn.manage.microsoft.com",
        "assets1.xboxlive.com",
        "assets.xboxlive.com",
        "3.tlu.dl.adu.microsoft.com",
    ] {
        assert!(
            rules.allows(false, host, 80) && rules.allows(true, host, 443),
            "{host}"
        );
        assert!(
            !rules.allows(false, host, 443)
                && !rules.allows(true, host, 80)
                && !rules.allows(false, host, 8080),
            "{host}"
        );
        assert!(!rules.trusts(host), "{host}");
    }
    for host in [
        "windowsupdate.com",
        "xwindowsupdate.com",
        ".windowsupdate.com",
        "a.windowsupdate.com.evil.example",
        "swd.evil.manage.microsoft.com",
        "assets.evil.xboxlive.com",
        "d3.xboxlive.com",
        "localhost",
        "127.0.0.1",
        "",
    ] {
        assert!(!rules.allows(false, host, 80), "{host}");
    }
}

#[test]
fn ports_connect_and_trust() {
    let rules = rules(
        &["wsus.example:8530", "10.0.0.5", "[FD00::5]:81"],
        &[("Test.Example", "127.0.0.1:8000")],
        &[],
    )
    .expect("good rules");
    assert!(rules.allows(false, "wsus.example", 8530) && rules.allows(true, "wsus.example", 8530));
    assert!(!rules.allows(false, "wsus.example", 80));
    assert!(rules.allows(false, "10.0.0.5", 80) && rules.trusts("10.0.0.5"));
    assert!(rules.allows(false, "[fd00::0:5]", 81) && !rules.allows(false, "[fd00::5]", 80));
    assert!(
        !rules.allows(false, "10.0.0.05", 80)
            && !rules.allows(false, "10.0.0.6", 80)
            && !rules.trusts("10.0.0.6")
    );
    assert_eq!(rules.connect_to("tEST.example"), Some("127.0.0.1:8000"));
    assert!(rules.allows(false, "test.example", 80) && !rules.allows(false, "test.example", 8000));
    assert!(rules.trusts("test.example") && !rules.trusts("wsus.example"));
}

#[test]
fn an_entry_of_connect_may_say_what_is_spoken_there() {
    let rules = rules(
        &[],
        &[
            ("as-asked.example", "127.0.0.1:8000"),
            ("plain.example", "http://127.0.0.1:8000"),
            ("secure.example", "https://wsus.corp:8531"),
        ],
        &[],
    )
    .expect("good rules");
    let asked = |https: bool, host: &str, port: u16| Authority {
        https,
        host: host.to_owned(),
        port,
    };
    for (host, https, port, spoken, to) in [
        ("as-asked.example", false, 80, (false, 80), "127.0.0.1:8000"),
        ("as-asked.example", true, 443, (true, 443), "127.0.0.1:8000"),
        ("plain.example", false, 80, (false, 80), "127.0.0.1:8000"),
        ("plain.example", true, 443, (false, 80), "127.0.0.1:8000"),
        ("plain.example", true, 8443, (false, 8443), "127.0.0.1:8000"),
        ("Secure.Example", false, 80, (true, 443), "wsus.corp:8531"),
    ] {
        let (https_spoken, port_spoken) = spoken;
        assert_eq!(
            rules.spoken_to(&asked(https, host, port)),
            asked(https_spoken, host, port_spoken)
        );
        assert_eq!(rules.connect_to(host), Some(to));
    }
    let other = asked(true, "other.example", 443);
    assert_eq!(rules.spoken_to(&other), other);
    for (to, said) in [
        ("ftp://a:1", "http://host:port or https://host:port"),
        ("http://", "http://host:port or https://host:port"),
        ("http://a", "no port"),
        ("http://a:1/", "has a path"),
        ("http://a b:1", "no host"),
    ] {
        let refused = self::rules(&[], &[("h.example", to)], &[]);
        let refused = refused.expect_err(to).to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn listed_immutable_paths() {
    let rules = rules(
        &[],
        &[],
        &["WSUS.example/Content/*.cab", "*/static/*", "a.example/x"],
    )
    .expect("good rules");
    for (host, path, listed) in [
        ("wsus.EXAMPLE", "/Content/ab/x.cab", true),
        ("wsus.example", "/content/ab/x.cab", false),
        ("wsus.example", "/Content/ab/x.cabx", false),
        ("any.example", "/static/", true),
        ("any.example", "/Static/", false),
        ("a.example", "/x", true),
        ("a.example", "/x/", false),
        ("aa.example", "/x", false),
    ] {
        assert_eq!(rules.lists_immutable(host, path), listed, "{host}{path}");
    }
}

fn slow_glob(pattern: &[u8], text: &[u8], never: Option<u8>) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|end| {
            !text[..end].iter().any(|b| Some(*b) == never) && slow_glob(rest, &text[end..], never)
        }),
        Some((byte, rest)) => text.first() == Some(byte) && slow_glob(rest, &text[1..], never),
    }
}

proptest! {
    #[test]
    fn the_glob_is_the_slow_one(pattern in "[ab.*]{0,8}", text in "[ab.]{0,10}", dots in any::<bool>()) {
        let never = dots.then_some(b'.');
        let bytes = text.as_bytes();
        let fast = glob_matches(pattern.as_bytes(), bytes.len(), |i| bytes[i], never);
        prop_assert_eq!(fast, slow_glob(pattern.as_bytes(), bytes, never));
    }
}
