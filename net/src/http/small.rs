//! Answers that fit in memory, written whole. The rule: the length is exact, names are in title case, and nothing that
//! concerns the origin's connection travels on.

use crate::ask::SmallAnswer;
use http::StatusCode;
use larder_proto::answer::{CacheStatus, write_error};

/// What the answer says for itself, or what concerns one connection only.
const OWN: &[&str] = &[
    "Date",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Transfer-Encoding",
    "Content-Length",
    "Te",
    "Trailer",
    "Upgrade",
    "X-Cache-Status",
];

/// How an answer is framed for its client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framing {
    /// The request was a HEAD.
    pub(crate) head_only: bool,
    /// The connection is kept.
    pub(crate) keep_alive: bool,
    /// The minor version of the request.
    pub(crate) minor: u8,
    /// What the cache did, where that is to be said.
    pub(crate) cache: Option<CacheStatus>,
}

/// Appends the answer to `out`.
pub(crate) fn write_small(out: &mut Vec<u8>, answer: &SmallAnswer, how: Framing, date: &[u8; 29]) {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
    put("HTTP/1.1 ");
    put(status.as_str());
    put(" ");
    put(status.canonical_reason().unwrap_or("Unknown"));
    put("\r\nDate: ");
    put(std::str::from_utf8(date).unwrap_or_default());
    match (how.keep_alive, how.minor) {
        (true, 0) => put("\r\nConnection: Keep-Alive\r\n"),
        (true, _) => put("\r\n"),
        (false, _) => put("\r\nConnection: close\r\n"),
    }
    if let Some(cache) = how.cache {
        put("X-Cache-Status: ");
        put(cache.name());
        put("\r\n");
    }
    for (name, value) in &answer.headers {
        let own = OWN.iter().any(|own| name.eq_ignore_ascii_case(own));
        // A line end in a value would be another field; nothing that was parsed has one.
        if own || value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            continue;
        }
        out.extend(title_case(name));
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    // Behind what others on the way have said (RFC 9110, section 7.6.3, and RFC 9211, section 2).
    out.extend_from_slice(b"Via: 1.1 larder\r\n");
    if let Some(cache) = how.cache {
        out.extend_from_slice(format!("Cache-Status: {}\r\n", cache.field()).as_bytes());
    }
    // RFC 9110, section 8.6: no length with 204, and none that could be wrong with 304.
    let bodiless = matches!(answer.status, 204 | 304);
    if !bodiless {
        out.extend_from_slice(format!("Content-Length: {}\r\n", answer.body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    if !bodiless && !how.head_only {
        out.extend_from_slice(&answer.body);
    }
}

/// Appends an error as the answer. `says`: what the cache did is to be said.
pub(crate) fn write_refusal(
    out: &mut Vec<u8>,
    status: u16,
    reason: &str,
    keep_alive: bool,
    head_only: bool,
    says: bool,
    date: &[u8; 29],
) {
    // What is wrong with a request is found before the store is asked; what an origin fails at was not stored.
    let cache = if status < 500 {
        CacheStatus::Bypass
    } else {
        CacheStatus::Miss
    };
    let retry_after_s = match status {
        503 => Some(5),
        502 | 504 => Some(2),
        _ => None,
    };
    let begin = out.len();
    let cache = says.then_some(cache);
    write_error(out, status, reason, keep_alive, retry_after_s, cache, date);
    if head_only {
        let head = out[begin..].windows(4).position(|end| end == b"\r\n\r\n");
        if let Some(head) = head {
            out.truncate(begin + head + 4);
        }
    }
}

/// Names that are written otherwise than their words begin.
const OWN_CASE: [&str; 5] = ["ETag", "Content-MD5", "X-CID", "X-CCC", "WWW-Authenticate"];

/// `content-type` as `Content-Type`; clients look names up by their case (facts: clients, section 1.6).
pub(crate) fn title_case(name: &str) -> impl Iterator<Item = u8> {
    let mut first = true;
    let mut own = OWN_CASE.iter().filter(|own| own.eq_ignore_ascii_case(name));
    let name = own.next().copied().unwrap_or(name);
    name.bytes().map(move |byte| {
        let begins = std::mem::replace(&mut first, byte == b'-');
        if begins {
            byte.to_ascii_uppercase()
        } else {
            byte
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn written(status: u16, head_only: bool) -> String {
        let answer = SmallAnswer {
            status,
            headers: vec![
                ("location".to_owned(), "/b".to_owned()),
                ("etag".to_owned(), "\"x\"".to_owned()),
                ("via".to_owned(), "1.1 front".to_owned()),
                ("transfer-encoding".to_owned(), "chunked".to_owned()),
                ("x-bad".to_owned(), "a\r\nSet-Cookie: b".to_owned()),
            ],
            body: Bytes::from_static(b"gone"),
        };
        let how = Framing {
            head_only,
            keep_alive: true,
            minor: 1,
            cache: Some(CacheStatus::Miss),
        };
        let mut out = Vec::new();
        write_small(&mut out, &answer, how, b"Thu, 01 Jan 1970 00:00:00 GMT");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn lengths_are_exact_and_names_in_title_case() {
        let whole = written(302, false);
        assert!(
            whole.starts_with("HTTP/1.1 302 Found\r\nDate: Thu"),
            "{whole}"
        );
        assert!(whole.contains("\r\nLocation: /b\r\n"));
        assert!(whole.contains("\r\nETag: \"x\"\r\n"));
        assert!(whole.contains("\r\nX-Cache-Status: MISS\r\n"));
        assert!(whole.ends_with("\r\nContent-Length: 4\r\n\r\ngone"));
        let way = "\r\nVia: 1.1 front\r\nVia: 1.1 larder\r\nCache-Status: larder; fwd=uri-miss\r\n";
        assert!(whole.contains(way), "in the order of the way: {whole}");
        assert!(!whole.contains("chunked") && !whole.contains("Set-Cookie"));
        assert!(written(404, true).ends_with("\r\nContent-Length: 4\r\n\r\n"));
        assert!(!written(204, false).contains("Content-Length"));
        assert!(written(599, false).starts_with("HTTP/1.1 599 Unknown\r\n"));
    }
}
