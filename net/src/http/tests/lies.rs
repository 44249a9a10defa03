//! Answers that say they are a part and contradict themselves or what was asked. The rule: none of them may be used.

use super::version::Version;
use std::ops::Range;

/// Makes a wrong 206 for `span` of a version.
pub(super) type Lie = fn(&Version, Range<u64>) -> Vec<u8>;

/// All of them, by what is wrong.
pub(super) const LIES: [(&str, Lie); 9] = [
    ("missing", |v, span| {
        let mut answer = v.head("206 Partial Content", span.end - span.start, "");
        answer.extend(v.bytes(span));
        answer
    }),
    ("length-unknown", |v, span| {
        let range = format!("bytes {}-{}/*", span.start, span.end - 1);
        v.part_called(span, &range)
    }),
    ("unsatisfied", |v, span| v.part_called(span, "bytes */1000")),
    ("other-offset", |v, span| {
        let start = (span.start + 100).min(span.end - 1).max(span.start + 1);
        v.part_called(start..span.end, &said(v, start, span.end))
    }),
    ("shifted", |v, span| {
        let range = said(v, span.start + 1, span.end + 1);
        v.part_called(span, &range)
    }),
    ("too-short", |v, span| {
        let range = said(v, span.start, span.end);
        v.part_called(span.start..span.end - 1, &range)
    }),
    ("too-long", |v, span| {
        let range = said(v, span.start, span.end - 1);
        v.part_called(span, &range)
    }),
    ("multipart", |v, span| {
        let range = said(v, span.start, span.end);
        let mut body = format!("--x\r\nContent-Range: {range}\r\n\r\n").into_bytes();
        body.extend(v.bytes(span));
        body.extend(b"\r\n--x--\r\n");
        let kind = "Content-Type: multipart/byteranges; boundary=x\r\n";
        let headers = v.headers.split_once("\r\n").map_or("", |(_, rest)| rest);
        let length = body.len();
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {length}\r\n{kind}{headers}\r\n"
        );
        [head.into_bytes(), body].concat()
    }),
    ("junk", |v, span| {
        v.part_called(span, "elephants 0-499/1000")
    }),
];

fn said(version: &Version, start: u64, end: u64) -> String {
    format!("bytes {start}-{}/{}", end - 1, version.length)
}
