//! A request that is the one before it on its connection, but for what a client counts up: the range and the
//! correlation vector. The rule: what is taken over is what reading all of it anew would give; anything else is read.

use super::head::{BodyKind, Head};
use std::ops::Range;

/// Longer heads are not kept: each connection has a copy of one.
const KEPT_BYTES_MAX: usize = 1 << 10;

/// Longer values are read with all of their head.
const VALUE_BYTES_MAX: usize = 128;

/// How a field's line begins, after the end of the line before, and which bytes its value may have.
type Field = (&'static [u8], fn(u8) -> bool);

/// The fields whose values may differ: `Range`, of which the unit stays, and `MS-CV`, which the native client counts
/// up with each request and nobody here reads (facts: clients, 1.4).
const FIELDS: [Field; 2] = [
    (b"\r\nrange: bytes=", |byte| {
        byte.is_ascii_digit() || byte == b'-'
    }),
    (b"\r\nms-cv: ", |byte| byte.is_ascii_graphic()),
];
const RANGE: usize = 0;

/// The head that was read last, and where in it is what.
#[derive(Debug, Default)]
pub(super) struct Last {
    /// Empty: there is nothing to be like.
    bytes: Vec<u8>,
    /// Where the values lie that may differ, in their order; which field's they are.
    values: Vec<(usize, Range<usize>)>,
    method: Range<usize>,
    target: Range<usize>,
    host: Range<usize>,
    user_agent: Option<Range<usize>>,
    minor: u8,
    keep_alive: bool,
}

impl Last {
    /// Keeps the head that was read from the beginning of `inbox`, if it is one that others are likely to be like.
    pub(super) fn keep(&mut self, inbox: &[u8], head: &Head<'_>) {
        self.bytes.clear();
        let bytes = &inbox[..head.consumed];
        let conditional = [
            head.if_range,
            head.if_match,
            head.if_none_match,
            head.if_modified_since,
            head.if_unmodified_since,
        ];
        let plain = !head.special
            && !head.picky
            && head.body == BodyKind::None
            && conditional.iter().all(Option::is_none);
        let (true, Some(host), Some(range)) = (plain, head.host, head.range) else {
            return;
        };
        let Some(values) = values(bytes) else {
            return;
        };
        // The field that was read is the one whose value may differ.
        let of_range = values.iter().find(|(field, _)| *field == RANGE);
        let read = place(bytes, range);
        if bytes.len() > KEPT_BYTES_MAX || of_range.is_none_or(|(_, value)| value.end != read.end) {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        self.values = values;
        self.method = place(bytes, head.method.as_bytes());
        self.target = place(bytes, head.target.as_bytes());
        self.host = place(bytes, host.as_bytes());
        self.user_agent = head.user_agent.map(|agent| place(bytes, agent));
        self.minor = head.minor;
        self.keep_alive = head.keep_alive;
    }

    /// The head at the beginning of `inbox`, where it is like the last one.
    pub(super) fn read<'b>(&self, inbox: &'b [u8]) -> Option<Head<'b>> {
        if self.bytes.is_empty() {
            return None;
        }
        // Where the same bytes went on: in the head that is kept, and in this one.
        let mut from = (0, 0);
        let mut stretches = [from; FIELDS.len() + 1];
        let mut range = None;
        for (number, (field, value)) in self.values.iter().enumerate() {
            let here = same(&self.bytes[from.0..value.start], inbox, from.1)?;
            let (name, allowed) = FIELDS[*field];
            let longest = &inbox[here..inbox.len().min(here + VALUE_BYTES_MAX)];
            let len = longest.iter().position(|byte| !allowed(*byte))?;
            if *field == RANGE {
                let unit = name.len() - b"\r\nrange: ".len();
                range = Some(&inbox[here - unit..here + len]);
            }
            from = (value.end, here + len);
            stretches[number + 1] = from;
        }
        let consumed = same(&self.bytes[from.0..], inbox, from.1)?;
        let text = |at: &Range<usize>| {
            let known = &stretches[..=self.values.len()];
            let (was, is) = known.iter().rev().find(|(was, _)| *was <= at.start)?;
            std::str::from_utf8(&inbox[at.start - was + is..at.end - was + is]).ok()
        };
        let user_agent = match &self.user_agent {
            Some(at) => Some(text(at)?.as_bytes()),
            None => None,
        };
        Some(Head {
            method: text(&self.method)?,
            target: text(&self.target)?,
            minor: self.minor,
            host: Some(text(&self.host)?),
            range,
            if_range: None,
            if_match: None,
            if_none_match: None,
            if_modified_since: None,
            if_unmodified_since: None,
            keep_alive: self.keep_alive,
            body: BodyKind::None,
            expect_continue: false,
            special: false,
            picky: false,
            user_agent,
            consumed,
            alike: true,
        })
    }
}

/// Where the bytes of `kept` end that begin at `at` of `inbox`.
fn same(kept: &[u8], inbox: &[u8], at: usize) -> Option<usize> {
    let end = at + kept.len();
    (inbox.get(at..end)? == kept).then_some(end)
}

/// Where a part of `bytes` is in it.
fn place(bytes: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - bytes.as_ptr().addr();
    start..start + part.len()
}

/// Where the values lie that may differ. None where one of the fields comes twice, or in a form of its own.
fn values(bytes: &[u8]) -> Option<Vec<(usize, Range<usize>)>> {
    let mut values: Vec<(usize, Range<usize>)> = Vec::with_capacity(FIELDS.len());
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\r');
    for (end, _) in ends {
        let line = &bytes[end..];
        let begins = |name: &[u8]| {
            line.get(..name.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(name))
        };
        let Some(field) = FIELDS.iter().position(|(name, _)| begins(name)) else {
            continue;
        };
        if values.iter().any(|(known, _)| *known == field) {
            return None;
        }
        let (name, allowed) = FIELDS[field];
        let start = end + name.len();
        let len = bytes[start..].iter().position(|byte| !allowed(*byte))?;
        values.push((field, start..start + len));
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::super::head::{Parsed, parse_head};
    use super::*;
    use proptest::prelude::*;

    fn head(bytes: &[u8]) -> Option<Head<'_>> {
        match parse_head(bytes) {
            Parsed::Head(head) => Some(head),
            _ => None,
        }
    }

    const FIRST: &[u8] = b"GET /f?cacheHostOrigin=dl.delivery.mp.microsoft.com HTTP/1.1\r\nConnection: Keep-Alive\r\n\
        Accept: */*\r\nRange: bytes=0-1048575\r\nUser-Agent: Microsoft-Delivery-Optimization/10.1\r\nMS-CV: abc.1.2\r\n\
        Content-Length: 0\r\nHost: 10.1.2.3\r\n\r\n";

    fn after(first: &[u8]) -> Last {
        let mut last = Last::default();
        last.keep(first, &head(first).expect("a head"));
        last
    }

    fn changed(what: &str, with: &str) -> Vec<u8> {
        let first = String::from_utf8(FIRST.to_vec()).expect("text");
        assert!(first.contains(what));
        (first.replace(what, with) + "GET /next").into_bytes()
    }

    #[test]
    fn what_a_client_counts_up_may_differ() {
        let last = after(FIRST);
        let next = changed("0-1048575", "9437184-10485759");
        let next = String::from_utf8(next)
            .expect("text")
            .replace("abc.1.2", "abc.1.31");
        let read = last.read(next.as_bytes()).expect("like the first");
        assert!(read.alike);
        assert_eq!(read.range, Some(&b"bytes=9437184-10485759"[..]));
        assert_eq!(read.host, Some("10.1.2.3"));
        assert_eq!(&next[read.consumed..], "GET /next");
    }

    #[test]
    fn anything_else_is_another_request() {
        let last = after(FIRST);
        for (what, with) in [
            ("GET", "PUT"),
            ("/f?", "/g?"),
            ("microsoft.com", "microsoft.org"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("Keep-Alive", "close"),
            ("bytes=0-1048575", "bytes=0-1,5-6"),
            ("bytes=0-1048575", "bytes = 0-1"),
            ("bytes=0-1048575", "bytes=0-1\r\nRange: bytes=5-6"),
            ("bytes=0-1048575", "bytes=0-1\r\nAuthorization: Basic eA=="),
            ("abc.1.2", "abc.1.2\r\n folded"),
            ("abc.1.2", "abc\x01"),
            ("Content-Length: 0", "Content-Length: 1"),
            ("10.1.2.3", "10.1.2.4"),
        ] {
            assert!(last.read(&changed(what, with)).is_none(), "{what} {with}");
        }
        for end in 0..FIRST.len() {
            assert!(last.read(&FIRST[..end]).is_none(), "{end}");
        }
    }

    #[test]
    fn what_is_decided_by_more_than_the_range_is_not_kept() {
        for (what, with) in [
            ("GET", "POST"),
            ("Accept: */*", "If-Range: \"a\""),
            ("Accept: */*", "If-None-Match: \"a\""),
            ("Accept: */*", "Cache-Control: no-cache"),
            ("Accept: */*", "Authorization: Basic eA=="),
            ("Content-Length: 0", "Content-Length: 1"),
            ("Range", "Rage"),
            ("Range: ", "Range:"),
            ("MS-CV: abc.1.2", "MS-CV: abc.1.2\r\nMS-CV: abc.1.2"),
        ] {
            let first = changed(what, with);
            let last = after(&first);
            assert!(last.read(&first).is_none(), "{what} {with}");
        }
    }

    fn line() -> impl Strategy<Value = String> {
        let range = "bytes=[0-9]{0,4}-[0-9]{0,4}";
        prop_oneof![
            range.prop_map(|range| format!("Range: {range}")),
            range.prop_map(|range| format!("range: {range}")),
            "[a-c.0-9]{0,5}".prop_map(|vector| format!("MS-CV: {vector}")),
            "[ab]".prop_map(|host| format!("Host: {host}")),
            "[ab]?".prop_map(|agent| format!("User-Agent: {agent}")),
            Just("Content-Length: 0".to_owned()),
            Just("If-Match: *".to_owned()),
            Just("X: ms-cv: 5".to_owned()),
            Just(String::new()),
        ]
    }

    fn request() -> impl Strategy<Value = String> {
        let lines = prop::collection::vec(line(), 0..6);
        ("(GET|HEAD) /[ab]", lines).prop_map(|(begin, lines)| {
            format!(
                "{begin} HTTP/1.1\r\nHost: h\r\n{}\r\n\r\n",
                lines.join("\r\n")
            )
        })
    }

    proptest! {
        /// Against reading all of it anew.
        #[test]
        fn what_is_taken_over_is_what_would_be_read(first in request(), next in request(), counts in any::<[u8; 2]>()) {
            // Any other request, and one that is likely to be like the first.
            let mut close = first.replace("bytes=", &format!("bytes={}", counts[0]));
            close = close.replace("MS-CV: ", &format!("MS-CV: {}", counts[1]));
            if let Some(read) = head(first.as_bytes()) {
                let mut last = Last::default();
                last.keep(first.as_bytes(), &read);
                for next in [next, close] {
                    if let Some(alike) = last.read(next.as_bytes()) {
                        let anew = head(next.as_bytes()).map(|head| Head { alike: true, ..head });
                        prop_assert_eq!(Some(alike), anew);
                    }
                }
            }
        }
    }
}
