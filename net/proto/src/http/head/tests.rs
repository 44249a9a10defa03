//! Heads that must be read, and heads that two readers would frame differently.

use super::*;

fn head(bytes: &[u8]) -> Head<'_> {
    match parse_head(bytes) {
        Parsed::Head(head) => head,
        other => panic!("{:?} is {other:?}", String::from_utf8_lossy(bytes)),
    }
}

fn status(bytes: &[u8]) -> u16 {
    match parse_head(bytes) {
        Parsed::Bad { status, .. } => status,
        other => panic!("{:?} is {other:?}", String::from_utf8_lossy(bytes)),
    }
}

#[test]
fn the_native_clients_request_is_read_for_the_hit_path() {
    let bytes = b"GET /f?cacheHostOrigin=dl.delivery.mp.microsoft.com HTTP/1.1\r\nConnection: Keep-Alive\r\nAccept: */*\r\n\
        Range: bytes=1048576-2097151\r\nUser-Agent: Microsoft-Delivery-Optimization/10.1\r\nMS-CV: abc.1.2\r\n\
        Content-Length: 0\r\nHost: 10.1.2.3\r\n\r\nGET /next";
    let head = head(bytes);
    assert_eq!(head.method, "GET");
    assert_eq!(
        head.target,
        "/f?cacheHostOrigin=dl.delivery.mp.microsoft.com"
    );
    assert_eq!(head.minor, 1);
    assert_eq!(head.host, Some("10.1.2.3"));
    assert_eq!(head.range, Some(&b"bytes=1048576-2097151"[..]));
    assert_eq!(
        head.user_agent,
        Some(&b"Microsoft-Delivery-Optimization/10.1"[..])
    );
    assert_eq!(head.body, BodyKind::None);
    assert!(head.keep_alive && !head.special && !head.expect_continue);
    assert_eq!(&bytes[head.consumed..], b"GET /next");
}

#[test]
fn every_prefix_of_a_head_is_incomplete() {
    let bytes = b"\r\nHEAD / HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\"\r\n\r\n";
    for end in 0..bytes.len() {
        assert!(
            matches!(parse_head(&bytes[..end]), Parsed::Incomplete),
            "{end}"
        );
    }
    assert_eq!(head(bytes).consumed, bytes.len());
}

#[test]
fn tolerated_ways_of_writing() {
    let old = head(b"GET / HTTP/1.0\r\n\r\n");
    assert!(old.host.is_none() && !old.keep_alive && old.minor == 0);
    assert!(head(b"GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n").keep_alive);
    assert!(
        !head(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, CLOSE\r\n\r\n").keep_alive
    );
    assert_eq!(
        head(b"\r\n\r\nGET / HTTP/1.1\r\nHost:a\r\n\r\n").host,
        Some("a")
    );
    assert_eq!(
        head(b"GET / HTTP/1.1\r\nHost:\t a:80 \r\n\r\n").host,
        Some("a:80")
    );
    assert_eq!(head(b"GET / HTTP/1.1\r\nHost:\r\n\r\n").host, Some(""));
    assert_eq!(
        head(b"GET / HTTP/1.1\r\nhOST: [::1]:8080\r\n\r\n").host,
        Some("[::1]:8080")
    );
    let chunks = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n";
    assert_eq!(head(chunks).body, BodyKind::Chunked);
    assert!(!head(b"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expect_continue);
}

#[test]
fn an_old_client_of_a_proxy_is_not_kept() {
    // RFC 9112, section 9.3
    for (target, minor, kept) in [
        ("/a", 0, true),
        ("http://a/a", 0, false),
        ("http://a/a", 1, true),
    ] {
        let text =
            format!("GET {target} HTTP/1.{minor}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(head(text.as_bytes()).keep_alive, kept, "{text}");
    }
}

#[test]
fn what_the_hit_path_hands_over() {
    for field in [
        "Authorization: Basic eA==",
        "cache-control: no-store",
        "Cache-Control: max-age=0, only-if-cached",
        "Cache-Control: ",
        "Upgrade: h2c",
        "Expect: 100-Continue",
        "Content-Length: 1",
        "Transfer-Encoding: chunked",
        "Via: 1.0 fred, 1.1 Larder",
        "Via: 1.1 larder (0.1)",
        "Range: bytes=0-1\r\nRange: bytes=2-3",
        "If-None-Match: \"a\"\r\nIf-None-Match: \"b\"",
    ] {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        assert!(head(bytes.as_bytes()).special, "{field}");
    }
    for field in [
        "Via: 1.1 varnish, 1.1 larders",
        "Cookie: a=b",
        "Accept-Encoding: gzip",
        "Content-Length: 00",
    ] {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        assert!(!head(bytes.as_bytes()).special, "{field}");
    }
    for (field, picky) in [
        ("cache-control: no-cache", true),
        ("Cache-Control: max-age = 0, No-Transform", true),
        ("Pragma: no-cache", true),
        ("Accept: */*", false),
    ] {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        let head = head(bytes.as_bytes());
        assert_eq!((head.special, head.picky), (false, picky), "{field}");
    }
    assert!(head(b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n").special);
    assert!(!head(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").special);
}

#[test]
fn what_could_be_framed_differently_is_refused() {
    for (bytes, expected) in [
        // Two lengths, or a length and chunks.
        (&b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"[..], 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", 400),
        // A line feed alone.
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"Get / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 501),
        (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        // Lengths that are no numbers.
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        // Names and lines.
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\n Content-Length: 5\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tfolded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 505),
        (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        // Hosts.
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417),
    ] {
        assert_eq!(status(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn the_head_is_bounded_on_both_sides_of_the_edge() {
    let with_pad = |pad: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "x".repeat(pad)
        )
    };
    let exact = HEAD_BYTES_MAX - with_pad(0).len();
    let fits = with_pad(exact);
    assert_eq!(head(fits.as_bytes()).consumed, HEAD_BYTES_MAX);
    assert_eq!(status(with_pad(exact + 1).as_bytes()), 431);
    assert!(matches!(
        parse_head(&with_pad(exact + 1).as_bytes()[..HEAD_BYTES_MAX]),
        Parsed::Incomplete
    ));
    assert_eq!(status(&vec![b'G'; HEAD_BYTES_MAX + 1]), 431);
    assert_eq!(status(with_pad(1 << 20).as_bytes()), 431);
    // RFC 9112, section 3: what is too long is the target.
    let long = "x".repeat(HEAD_BYTES_MAX);
    assert_eq!(status(format!("GET /{long}").as_bytes()), 414);
    assert_eq!(status(format!("\r\nGET /{long}").as_bytes()), 414);
    let fields = format!("GET / HTTP/1.1\r\nX: {long}");
    assert_eq!(status(fields.as_bytes()), 431);

    let with_fields = |count: usize| {
        let fields: String = (1..count).map(|i| format!("X{i}: y\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
    };
    assert_eq!(head(with_fields(FIELDS_MAX).as_bytes()).host, Some("a"));
    assert_eq!(status(with_fields(FIELDS_MAX + 1).as_bytes()), 431);
    // A head that fits is not spoilt by what is pipelined after it.
    let mut pipelined = with_pad(10).into_bytes();
    pipelined.extend(std::iter::repeat_n(b'z', HEAD_BYTES_MAX * 2));
    assert_eq!(head(&pipelined).consumed, with_pad(10).len());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_more_bytes_do_not_change_a_verdict(
        lines in proptest::collection::vec("[ -~\t\r\n\0]{0,40}", 0..8), cut in 0_usize..200
    ) {
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        for line in lines {
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        let whole = parse_head(&bytes);
        match (parse_head(&bytes[..cut.min(bytes.len())]), whole) {
            (Parsed::Incomplete, _) => {}
            (Parsed::Head(a), Parsed::Head(b)) => {
                proptest::prop_assert_eq!(a.consumed, b.consumed);
                proptest::prop_assert_eq!(a.body, b.body);
            }
            (Parsed::Bad { .. }, Parsed::Bad { .. }) => {}
            (part, whole) => proptest::prop_assert!(false, "{part:?} became {whole:?}"),
        }
    }
}
