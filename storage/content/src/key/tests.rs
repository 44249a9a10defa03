//! Which URLs share a key and which never may.

use super::*;

const GUID: &str = "/filestreamingservice/files/1d3e7a30-7a2c-4c3f-9c3d-0123456789ab";
const UPDATE: &str = "/d/msdownload/update/2023/01/windows10.0-kb5022282-x64_0123456789abcdef0123456789abcdef01234567.cab";

/// Splits an URL naively and identifies it.
fn id(url: &str) -> Identity {
    let (https, rest) = match url.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, url.strip_prefix("http://").expect("a scheme")),
    };
    let (authority, path) = rest.split_at(rest.find('/').expect("a path"));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().expect("a port"))),
        None => (authority, None),
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    identify(https, host, port, path, &[query], false)
}

#[test]
fn hosts_and_schemes_of_a_family_share_what_names_itself() {
    let a = id(&format!(
        "http://tlu.dl.delivery.mp.microsoft.com{GUID}?P1=1&P2=404&P3=2&P4=abc"
    ));
    let b = id(&format!(
        "https://MSEDGE.b.tlu.DL.delivery.mp.microsoft.com{GUID}?P1=9&P2=404&P3=2&P4=xyz%3d"
    ));
    let c = id(&format!("http://dl.delivery.mp.microsoft.com{GUID}"));
    assert!(a.immutable && a.family);
    assert_eq!(a, b);
    assert_eq!(a, c);
    let d = id(&format!("http://download.windowsupdate.com{UPDATE}"));
    let e = id(&format!("http://au.b1.download.windowsupdate.com{UPDATE}"));
    assert!(d.immutable && d.family);
    assert_eq!(d, e);
    assert_ne!(a.key, d.key);
}

#[test]
fn what_does_not_name_itself_is_its_hosts_own() {
    for path in [
        "/filestreamingservice/files/1d3e7a30-7a2c-4c3f-9c3d-0123456789ab/pieceshash",
        "/filestreamingservice/files/1d3e7a30-7a2c-4c3f-9c3d-0123456789ab/",
        "/filestreamingservice/files/1d3e7a3007a2c-4c3f-9c3d-0123456789ab",
        "/x/filestreamingservice/files/1d3e7a30-7a2c-4c3f-9c3d-0123456789ab",
        "/FileStreamingService/files/1d3e7a30-7a2c-4c3f-9c3d-0123456789ab",
        UPDATE,
    ] {
        let a = id(&format!("http://a.dl.delivery.mp.microsoft.com{path}"));
        let b = id(&format!("http://b.dl.delivery.mp.microsoft.com{path}"));
        assert!(!a.immutable && !a.family, "{path}");
        assert_ne!(a.key, b.key, "{path}");
    }
    for path in [
        "/msdownload/update/v3/static/trustedr/en/authrootstl.cab",
        "/a_0123456789abcdef0123456789abcdef0123456.cab",
        "/a_0123456789abcdef0123456789abcdef012345678.cab",
        "/a_0123456789abcdef0123456789abcdef0123456g.cab",
        "/a-0123456789abcdef0123456789abcdef01234567.cab",
        "/a_0123456789abcdef0123456789abcdef01234567",
        "/a_0123456789abcdef0123456789abcdef01234567.",
        "/_0123456789abcdef0123456789abcdef01234567.cab",
        "/a_0123456789abcdef0123456789abcdef01234567.cab/",
        "/a_0123456789abcdef0123456789abcdef01234567.c%20b",
        GUID,
    ] {
        assert!(
            !id(&format!("http://download.windowsupdate.com{path}")).immutable,
            "{path}"
        );
    }
    assert!(!id(&format!("http://ctldl.windowsupdate.com{UPDATE}")).immutable);
    assert!(!id(&format!("http://evilwindowsupdate.com{UPDATE}")).immutable);
    assert!(!id(&format!("http://windowsupdate.com.evil{UPDATE}")).immutable);
    assert!(!id(&format!("http://dl.delivery.mp.microsoft.com.evil{GUID}")).immutable);
    assert!(!id(&format!("http://127.0.0.1{GUID}")).immutable);
}

#[test]
fn a_phf_that_names_its_hash_is_immutable_everywhere_and_shared_in_a_family() {
    let path = format!("/phf/dotc/{}/{}", "0a".repeat(20), "1B".repeat(32));
    let a = id(&format!("http://a.dl.delivery.mp.microsoft.com{path}"));
    assert_eq!(
        a,
        id(&format!("https://b.dl.delivery.mp.microsoft.com{path}"))
    );
    assert!(a.immutable && a.family);
    let other = id(&format!("http://example.org{path}"));
    assert!(other.immutable && !other.family);
    assert!(!id(&format!("http://example.org{path}0")).immutable);
}

#[test]
fn scheme_host_port_path_and_query_all_count_elsewhere() {
    let urls = [
        "http://a.example/x",
        "https://a.example/x",
        "http://b.example/x",
        "http://a.example:8080/x",
        "http://a.example/X",
        "http://a.example/x?",
        "http://a.example/x?a",
        "http://a.example/x?a&b",
        "http://a.example/x?b&a",
        "http://a.example/x?P1=1",
        "http://a.example/x?P1=2",
        "http://a.example/x%2f",
        "http://a.example/x/",
        "http://a.example//x",
    ];
    for (i, a) in urls.iter().enumerate() {
        for (j, b) in urls.iter().enumerate() {
            // An empty query is no query.
            let same = i == j || (i.min(j) == 0 && i.max(j) == 5);
            assert_eq!(id(a).key == id(b).key, same, "{a} {b}");
        }
    }
    assert_eq!(
        id("http://A.Example/x").key,
        id("http://a.example:80/x").key
    );
    let long = format!("{}.example", "aB3".repeat(50));
    assert_eq!(
        id(&format!("http://{long}/")),
        id(&format!("http://{}/", long.to_lowercase()))
    );
    assert_ne!(
        id(&format!("http://{long}/")).key,
        id(&format!("http://x{long}/")).key
    );
}

#[test]
fn another_port_is_another_server() {
    let a = id(&format!("http://download.windowsupdate.com:8080{UPDATE}"));
    assert!(a.immutable && !a.family);
    assert_ne!(
        a.key,
        id(&format!("http://download.windowsupdate.com{UPDATE}")).key
    );
}

#[test]
fn a_query_in_two_pieces_is_the_query() {
    let host = "a.dl.delivery.mp.microsoft.com";
    let whole = identify(false, host, None, "/x", &["a=1&P2=3&b=2"], false);
    for pieces in [
        &["a=1", "b=2"][..],
        &["a=1&b=2", ""],
        &["", "a=1&b=2"],
        &["P1=4&a=1&P4=", "P3&b=2"],
    ] {
        assert_eq!(
            identify(false, host, None, "/x", pieces, false),
            whole,
            "{pieces:?}"
        );
    }
    assert_ne!(
        identify(false, host, None, "/x", &["a=1", "P11=2&b=2"], false),
        whole
    );
    assert_ne!(
        identify(false, host, None, "/x", &["a=1", "p1=2&b=2"], false),
        whole
    );
}

#[test]
fn apart_means_by_host() {
    let args = |host| identify_apart(false, host, None, GUID, &["P1=1"], false);
    let (a, b) = (
        args("a.dl.delivery.mp.microsoft.com"),
        args("b.dl.delivery.mp.microsoft.com"),
    );
    assert!(a.immutable && !a.family);
    assert_ne!(a.key, b.key);
    assert_eq!(
        a.key,
        identify_apart(
            false,
            "A.dl.delivery.mp.microsoft.com",
            None,
            GUID,
            &["P1=2"],
            false
        )
        .key
    );
}

#[test]
fn listed_paths_are_immutable_but_their_hosts_own() {
    let a = identify(false, "wsus", Some(8530), "/Content/x", &[], true);
    assert!(a.immutable && !a.family);
    assert_eq!(
        a.key,
        identify(false, "wsus", Some(8530), "/Content/x", &[], false).key
    );
}

#[test]
fn canonical_is_what_people_type() {
    let url =
        |https, host, port, query: &[&str]| canonical(https, host, port, "/x%2F", query, false);
    assert_eq!(url(false, "A.example", None, &[]), "http://a.example/x%2F");
    assert_eq!(
        url(true, "a.example", Some(8443), &["a", "b"]),
        "https://a.example:8443/x%2F?a&b"
    );
    assert_eq!(
        url(false, "a.example", None, &["P1=1", ""]),
        "http://a.example/x%2F?P1=1"
    );
    assert_eq!(
        url(
            false,
            "x.dl.delivery.mp.microsoft.com",
            None,
            &["P1=1&P2=2", "c"]
        ),
        "http://x.dl.delivery.mp.microsoft.com/x%2F?c"
    );
    assert_eq!(
        url(false, "x.dl.delivery.mp.microsoft.com", None, &["P1=1"]),
        "http://x.dl.delivery.mp.microsoft.com/x%2F"
    );
}

#[test]
fn hashes_that_urls_name() {
    let sha1 = |host, path: &str| named_hashes(host, path).sha1;
    let expected =
        Some(*b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67");
    assert_eq!(sha1("download.windowsupdate.com", UPDATE), expected);
    assert_eq!(sha1("example.org", UPDATE), None);
    assert_eq!(
        sha1(
            "wsus",
            "/Content/67/0123456789ABCDEF0123456789abcdef01234567.exe"
        ),
        expected
    );
    assert_eq!(
        sha1(
            "wsus",
            "/Content/66/0123456789ABCDEF0123456789abcdef01234567.exe"
        ),
        None
    );
    assert_eq!(
        sha1("wsus", "/0123456789ABCDEF0123456789abcdef01234567.exe"),
        None
    );
    let phf = format!("/phf/dotc/{}/{}", "0a".repeat(20), "1B".repeat(32));
    assert_eq!(
        named_hashes("x", &phf),
        Named {
            sha1: None,
            hash_of_hashes: Some([0x1b; 32])
        }
    );
    assert_eq!(named_hashes("x", "/"), Named::default());
    assert_eq!(
        named_hashes("x", "/Content/\u{e4}/\u{e4}.x"),
        Named::default()
    );
}
