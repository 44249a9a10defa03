//! Heads as clients see them, read back by another parser than ours.

use super::*;

const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

fn facts(extra: &[(String, String)]) -> Facts<'_> {
    Facts {
        status: 200,
        length: 1000,
        etag: Some("\"x\""),
        last_modified: Some("Sun, 06 Nov 1994 08:49:37 GMT"),
        content_type: Some("application/octet-stream"),
        extra,
        age_s: 7,
        immutable: false,
    }
}

/// Status and fields of a head, and what follows it.
fn read(bytes: &[u8]) -> (u16, Vec<(String, String)>, &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let end = match response.parse(bytes) {
        Ok(httparse::Status::Complete(end)) => end,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(bytes)),
    };
    let owned = |value: &[u8]| String::from_utf8(value.to_vec()).expect("UTF-8");
    let fields = response
        .headers
        .iter()
        .map(|f| (f.name.to_owned(), owned(f.value)))
        .collect();
    (response.code.expect("a status"), fields, &bytes[end..])
}

fn all<'f>(fields: &'f [(String, String)], name: &str) -> Vec<&'f str> {
    fields
        .iter()
        .filter(|(n, _)| n == name)
        .map(|(_, v)| v.as_str())
        .collect()
}

fn head(plan: &Plan, facts: &Facts<'_>) -> (u16, Vec<(String, String)>) {
    let mut out = Vec::new();
    write_head(&mut out, plan, facts, true, 1, Some(CacheStatus::Hit), DATE);
    let (status, fields, rest) = read(&out);
    assert!(rest.is_empty());
    for (name, value) in &fields {
        let title = name == "ETag"
            || name.split('-').all(|word| {
                word.starts_with(|c: char| c.is_ascii_uppercase())
                    && word.chars().skip(1).all(|c| c.is_ascii_lowercase())
            });
        assert!(title, "{name}: {value}");
        assert_eq!(all(&fields, name).len(), 1, "{name}");
    }
    (status, fields)
}

#[test]
fn a_part_is_said_exactly_as_clients_look_for_it() {
    let mut out = Vec::new();
    let part = Plan::Partial(Span::new(0, 500));
    write_head(
        &mut out,
        &part,
        &facts(&[]),
        true,
        1,
        Some(CacheStatus::Hit),
        DATE,
    );
    let expected = "HTTP/1.1 206 Partial Content\r\n\
        Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
        Via: 1.1 larder\r\n\
        X-Cache-Status: HIT\r\n\
        Cache-Status: larder; hit\r\n\
        Content-Type: application/octet-stream\r\n\
        Accept-Ranges: bytes\r\n\
        ETag: \"x\"\r\n\
        Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
        Age: 7\r\n\
        Content-Range: bytes 0-499/1000\r\n\
        Content-Length: 500\r\n\r\n";
    assert_eq!(String::from_utf8(out).expect("ASCII"), expected);
}

#[test]
fn lengths_and_ranges_by_plan() {
    let facts = facts(&[]);
    for (plan, expected, length, range) in [
        (Plan::Full, 200, vec!["1000"], vec![]),
        (
            Plan::Partial(Span::new(999, 1000)),
            206,
            vec!["1"],
            vec!["bytes 999-999/1000"],
        ),
        (Plan::NotModified, 304, vec![], vec![]),
        (Plan::PreconditionFailed, 412, vec!["0"], vec![]),
        (Plan::Unsatisfiable, 416, vec!["0"], vec!["bytes */1000"]),
    ] {
        let (status, fields) = head(&plan, &facts);
        assert_eq!(status, expected);
        assert_eq!(all(&fields, "Content-Length"), length, "{plan:?}");
        assert_eq!(all(&fields, "Content-Range"), range, "{plan:?}");
    }
    let huge = Facts {
        length: u64::MAX,
        ..facts
    };
    let (_, fields) = head(&Plan::Partial(Span::new(5 << 32, u64::MAX)), &huge);
    assert_eq!(
        all(&fields, "Content-Range"),
        ["bytes 21474836480-18446744073709551614/18446744073709551615"]
    );
    assert_eq!(
        all(&fields, "Content-Length"),
        [(u64::MAX - (5 << 32)).to_string()]
    );
}

#[test]
fn stored_fields_are_passed_on_but_never_twice() {
    let extra: Vec<_> = [
        ("Cache-Control", "max-age=5"),
        ("X-Cid", "7"),
        ("Content-Length", "9"),
        ("content-range", "bytes 0-0/9"),
        ("ETag", "\"z\""),
        ("Connection", "close"),
        ("Transfer-Encoding", "chunked"),
        ("Age", "1000"),
    ]
    .map(|(n, v)| (n.to_owned(), v.to_owned()))
    .to_vec();
    let facts = Facts {
        immutable: true,
        ..facts(&extra)
    };
    let (_, fields) = head(&Plan::Full, &facts);
    assert_eq!(all(&fields, "X-Cid"), ["7"]);
    assert_eq!(all(&fields, "Cache-Control"), ["max-age=5"]);
    assert_eq!(all(&fields, "Content-Length"), ["1000"]);
    assert_eq!(all(&fields, "Age"), ["7"]);
    assert_eq!(all(&fields, "Content-Range"), ["bytes 0-0/9"]);
    let (_, part) = head(&Plan::Partial(Span::new(1, 3)), &facts);
    assert_eq!(all(&part, "Content-Range"), ["bytes 1-2/1000"]);
    assert!(all(&fields, "Transfer-Encoding").is_empty() && all(&fields, "Connection").is_empty());
    let (_, fields) = head(&Plan::NotModified, &facts);
    assert_eq!(all(&fields, "Cache-Control"), ["max-age=5"]);
    assert_eq!(all(&fields, "ETag"), ["\"x\""]);
    assert!(all(&fields, "X-Cid").is_empty() && all(&fields, "Content-Type").is_empty());
    let silent = Facts {
        extra: &[],
        ..facts
    };
    assert_eq!(
        all(&head(&Plan::Full, &silent).1, "Cache-Control"),
        ["public, max-age=31536000, immutable"]
    );
}

#[test]
fn connections_are_kept_by_version() {
    for (keep_alive, minor, expected) in [
        (true, 1, None),
        (true, 0, Some("Keep-Alive")),
        (false, 1, Some("close")),
        (false, 0, Some("close")),
    ] {
        let mut out = Vec::new();
        write_head(
            &mut out,
            &Plan::Full,
            &facts(&[]),
            keep_alive,
            minor,
            None,
            DATE,
        );
        let (_, fields, _) = read(&out);
        assert_eq!(all(&fields, "Connection").first().copied(), expected);
        assert!(
            all(&fields, "X-Cache-Status").is_empty() && all(&fields, "Cache-Status").is_empty()
        );
    }
}

#[test]
fn several_parts_have_the_length_that_was_said() {
    let facts = facts(&[]);
    let data: Vec<u8> = (0..1000_u32).map(|i| b'a' + (i % 23) as u8).collect();
    let spans = vec![Span::new(0, 1), Span::new(10, 110), Span::new(999, 1000)];
    let (status, fields) = head(&Plan::Parts(spans.clone()), &facts);
    assert_eq!(status, 206);
    assert!(all(&fields, "Content-Range").is_empty());
    let kind = all(&fields, "Content-Type")[0];
    let mark = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .expect("a boundary");
    let boundary = boundary(&spans, &facts);
    assert_eq!(mark.as_bytes(), boundary);
    let mut body = Vec::new();
    for span in &spans {
        write_part(&mut body, &boundary, *span, &facts);
        body.extend_from_slice(&data[span.start as usize..span.end as usize]);
    }
    write_parts_end(&mut body, &boundary);
    assert_eq!(all(&fields, "Content-Length"), [body.len().to_string()]);
    let text = String::from_utf8(body).expect("ASCII");
    let parts: Vec<_> = text.split(&format!("\r\n--{mark}")).collect();
    assert_eq!(parts.len(), 5);
    assert_eq!((parts[0], parts[4]), ("", "--\r\n"));
    for (part, span) in parts[1..4].iter().zip(&spans) {
        let (head, bytes) = part.split_once("\r\n\r\n").expect("a head");
        assert!(
            head.contains(&format!(
                "Content-Range: bytes {}-{}/1000",
                span.start,
                span.end - 1
            )),
            "{head}"
        );
        assert_eq!(
            bytes.as_bytes(),
            &data[span.start as usize..span.end as usize]
        );
    }
    assert_ne!(boundary, super::boundary(&spans[1..], &facts));
}

#[test]
fn errors_are_whole_answers() {
    for (status, keep_alive, retry) in [
        (403, true, None),
        (400, false, None),
        (431, false, None),
        (503, false, Some(2)),
        (599, true, None),
    ] {
        let mut out = Vec::new();
        write_error(
            &mut out,
            status,
            "evil\r\nX: y \u{e4}",
            keep_alive,
            retry,
            Some(CacheStatus::Bypass),
            DATE,
        );
        let (read_status, fields, body) = read(&out);
        assert_eq!(read_status, status);
        assert_eq!(all(&fields, "X-Cache-Status"), ["BYPASS"]);
        assert_eq!(all(&fields, "Cache-Status"), ["larder; fwd=bypass"]);
        assert_eq!(body, "evil??X: y \u{e4}\n".as_bytes());
        assert_eq!(all(&fields, "Content-Length"), [body.len().to_string()]);
        assert_eq!(all(&fields, "Connection").is_empty(), keep_alive);
        assert_eq!(
            all(&fields, "Retry-After").first().copied(),
            retry.map(|_| "2")
        );
        assert_eq!(all(&fields, "Cache-Control"), ["no-store"]);
    }
}

#[test]
fn each_on_the_way_adds_to_the_lists_it_passes() {
    // RFC 9110, section 7.6.3, and RFC 9211, section 2; a status other than 200 has no ranges, and 204 no length
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let extra = [
        field("Via", "1.1 far"),
        field("Cache-Status", "far; hit"),
        field("X-Cache-Status", "MISS"),
        field("Set-Cookie", "a=1"),
    ];
    let gone = Facts {
        status: 410,
        ..facts(&extra)
    };
    let (status, fields) = head(&Plan::Full, &gone);
    assert_eq!(status, 410);
    assert_eq!(all(&fields, "Via"), ["1.1 far, 1.1 larder"]);
    assert_eq!(all(&fields, "Cache-Status"), ["far; hit, larder; hit"]);
    assert_eq!(all(&fields, "X-Cache-Status"), ["HIT"]);
    assert_eq!(all(&fields, "Set-Cookie"), ["a=1"]);
    assert!(all(&fields, "Accept-Ranges").is_empty());
    let nothing = Facts {
        status: 204,
        length: 0,
        ..facts(&[])
    };
    let (status, fields) = head(&Plan::Full, &nothing);
    assert_eq!(status, 204);
    assert!(all(&fields, "Content-Length").is_empty());
}
