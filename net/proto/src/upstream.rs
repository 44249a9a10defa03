//! What an origin's answer means for the pieces we asked for. The rule: a byte is placed only where the answer says
//! without contradiction that it belongs.

use crate::UnixSecs;
use crate::date::parse_http_date;
use crate::range;
use larder_content::Span;
use std::time::Duration;

/// The head of an origin's answer, as far as it matters here.
#[derive(Clone, Copy, Debug, Default)]
pub struct OriginHead<'h> {
    /// The status.
    pub status: u16,
    /// `Content-Length`.
    pub content_length: Option<u64>,
    /// `Content-Range`.
    pub content_range: Option<&'h [u8]>,
    /// `ETag`.
    pub etag: Option<&'h str>,
    /// `Last-Modified`.
    pub last_modified: Option<&'h str>,
    /// `Content-Encoding`.
    pub content_encoding: Option<&'h str>,
    /// The body comes in chunks.
    pub chunked: bool,
}

/// What tells one version of an object from another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Validator {
    /// Bytes in all.
    pub length: u64,
    /// `ETag`, raw.
    pub etag: Option<String>,
    /// `Last-Modified`, raw.
    pub last_modified: Option<String>,
}

impl Validator {
    /// What an origin's answer says of the version; `None` where it does not say how long the object is.
    #[must_use]
    pub fn of(h: &OriginHead<'_>) -> Option<Self> {
        let length = match h.status {
            206 => content_range(h.content_range?)?.1,
            _ if h.chunked => return None,
            _ => h.content_length?,
        };
        Some(Self {
            length,
            etag: h.etag.map(str::to_owned),
            last_modified: h.last_modified.map(str::to_owned),
        })
    }

    /// True where both can be of one version: the length is the same, and so is every validator that both carry. Tags
    /// are compared without regard to weakness, since this asks whether the version changed, not whether the bytes
    /// are the same; see [`Validator::is_strong`] for that.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        other.as_seen().agrees(self)
    }

    fn as_seen(&self) -> Seen<'_> {
        Seen {
            length: self.length,
            etag: self.etag.as_deref(),
            last_modified: self.last_modified.as_deref(),
        }
    }

    /// True where it has a strong entity tag: bytes of two answers that carry it belong together (RFC 9110, 8.8.1).
    #[must_use]
    pub fn is_strong(&self) -> bool {
        self.etag
            .as_deref()
            .is_some_and(|tag| !tag.starts_with("W/"))
    }

    /// What to send as `If-Range` when resuming a fetch of this version: the strong tag, or the modification date
    /// where it is strong because the object was at least a second old at `date`, the origin's `Date` (RFC 9110,
    /// section 8.8.2.2). `None`: nothing proves that a resumed fetch brings the same version.
    #[must_use]
    pub fn if_range(&self, date: UnixSecs) -> Option<&str> {
        if self.etag.is_some() {
            return self.etag.as_deref().filter(|_| self.is_strong());
        }
        self.last_modified
            .as_deref()
            .filter(|text| parse_http_date(text.as_bytes()).is_some_and(|at| at < date))
    }
}

/// Two values agree unless both are there and differ. A tag's mark of weakness does not count.
fn agree(a: Option<&str>, b: Option<&str>) -> bool {
    let opaque = |tag| str::strip_prefix(tag, "W/").unwrap_or(tag);
    a.is_none_or(|a| b.is_none_or(|b| opaque(a) == opaque(b)))
}

/// What an answer means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// Its body is these bytes of an object this long, of the known version if there is one. May be less than asked.
    Pieces {
        /// Where the body's bytes belong.
        body: Span,
        /// Bytes of the object.
        length: u64,
    },
    /// The same, but of another version than the known one.
    Changed {
        /// Where the body's bytes belong.
        body: Span,
        /// Bytes of the new version.
        length: u64,
    },
    /// 304: the known version is still the one.
    NotModified,
    /// Not ours to store: another status, no length, or encoded.
    Pass,
    /// It contradicts itself or what was asked: nothing of it may be used.
    Lie(&'static str),
}

/// Reads an answer to a request for `asked` (`None`: everything), given the version known so far.
#[must_use]
pub fn read_origin(h: &OriginHead<'_>, asked: Option<Span>, known: Option<&Validator>) -> Meaning {
    match h.status {
        304 => return not_modified(h, known),
        200 | 206 => {}
        _ => return Meaning::Pass,
    }
    // We ask for the identity; what comes encoded is another variant, whose ranges are other bytes.
    if h.content_encoding
        .is_some_and(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
    {
        return Meaning::Pass;
    }
    let (body, length) = if h.status == 206 {
        match part(h, asked) {
            Ok(part) => part,
            Err(why) => return Meaning::Lie(why),
        }
    } else {
        // A 200 to a range is the whole object from its first byte, whatever was asked.
        match h.content_length {
            Some(length) if !h.chunked => (Span::whole(length), length),
            _ => return Meaning::Pass,
        }
    };
    let seen = Seen {
        length,
        etag: h.etag,
        last_modified: h.last_modified,
    };
    if known.is_none_or(|known| seen.agrees(known)) {
        Meaning::Pieces { body, length }
    } else {
        Meaning::Changed { body, length }
    }
}

/// How long a `Retry-After` asks to wait (RFC 9110, section 10.2.3); zero where it says nothing that can be read.
#[must_use]
pub fn retry_after(value: Option<&[u8]>, now: UnixSecs) -> Duration {
    let seconds = value.and_then(|value| {
        let text = std::str::from_utf8(value).ok()?.trim();
        number(text).or_else(|| Some(parse_http_date(text.as_bytes())?.saturating_sub(now)))
    });
    Duration::from_secs(seconds.unwrap_or(0))
}

/// What is wrong with an answer that is not stored but passed on, to a request with this `Range` and with or without
/// conditions; `None`: nothing that can be seen from its head. A client is not to be given another part than it asked
/// for, nor one whose place nobody knows.
#[must_use]
pub fn contradiction(
    h: &OriginHead<'_>,
    range: Option<&[u8]>,
    conditional: bool,
) -> Option<&'static str> {
    match (h.status, range) {
        (304, _) if !conditional => Some("304 to a request without condition"),
        (206, None) => Some("206 to a request without range"),
        (206, Some(range)) => match h.content_range {
            // RFC 9110, section 15.3.7.2: several parts are never the answer to one range.
            None if range::count(range) > 1 => None,
            None => Some("206 without Content-Range"),
            // The vendor's agent can not read one without a length either (facts: reliability, section 2, case 26).
            Some(value) => match content_range(value) {
                None => Some("206 whose Content-Range is malformed or names no length"),
                Some((span, length)) if !range::can_answer(range, span, length) => {
                    Some("206 with another part than asked for")
                }
                Some((span, _)) if h.content_length.is_some_and(|n| n != span.len()) => {
                    Some("206 whose Content-Length contradicts its Content-Range")
                }
                Some(_) => None,
            },
        },
        _ => None,
    }
}

/// A validator that is borrowed from an answer.
struct Seen<'h> {
    length: u64,
    etag: Option<&'h str>,
    last_modified: Option<&'h str>,
}

impl Seen<'_> {
    fn agrees(&self, known: &Validator) -> bool {
        self.length == known.length
            && agree(self.etag, known.etag.as_deref())
            && agree(self.last_modified, known.last_modified.as_deref())
    }
}

fn not_modified(h: &OriginHead<'_>, known: Option<&Validator>) -> Meaning {
    match known {
        None => Meaning::Lie("304 to a request without condition"),
        // The length that a 304 may carry is that of the version too (RFC 9110, section 8.6).
        Some(known) if !agree(h.etag, known.etag.as_deref()) => {
            Meaning::Lie("304 for another entity tag")
        }
        Some(_) => Meaning::NotModified,
    }
}

/// The stretch that a 206 carries, checked against itself and what was asked.
fn part(h: &OriginHead<'_>, asked: Option<Span>) -> Result<(Span, u64), &'static str> {
    let asked = asked.ok_or("206 to a request without range")?;
    let value = h.content_range.ok_or("206 without Content-Range")?;
    let (span, length) =
        content_range(value).ok_or("206 whose Content-Range is malformed or names no length")?;
    if span.start != asked.start {
        return Err("206 that begins elsewhere than asked");
    }
    if span.end > asked.end.min(length) {
        return Err("206 with more than asked");
    }
    if h.content_length.is_some_and(|bytes| bytes != span.len()) {
        return Err("206 whose Content-Length contradicts its Content-Range");
    }
    Ok((span, length))
}

/// Reads `bytes a-b/N`.
fn content_range(value: &[u8]) -> Option<(Span, u64)> {
    let (unit, rest) = value.trim_ascii().split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes ") {
        return None;
    }
    let text = std::str::from_utf8(rest).ok()?;
    let (range, length) = text.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, length) = (number(first)?, number(last)?, number(length)?);
    (first <= last && last < length).then(|| (Span::new(first, last + 1), length))
}

fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(length: u64, etag: Option<&str>, last_modified: Option<&str>) -> Validator {
        Validator {
            length,
            etag: etag.map(str::to_owned),
            last_modified: last_modified.map(str::to_owned),
        }
    }

    fn part(range: &str) -> OriginHead<'_> {
        OriginHead {
            status: 206,
            content_range: Some(range.as_bytes()),
            etag: Some("\"x\""),
            ..OriginHead::default()
        }
    }

    fn full(length: Option<u64>) -> OriginHead<'static> {
        OriginHead {
            status: 200,
            content_length: length,
            etag: Some("\"x\""),
            ..OriginHead::default()
        }
    }

    fn pieces(start: u64, end: u64, length: u64) -> Meaning {
        Meaning::Pieces {
            body: Span::new(start, end),
            length,
        }
    }

    const ASKED: Option<Span> = Some(Span {
        start: 100,
        end: 200,
    });

    #[test]
    fn parts_that_can_be_placed() {
        assert_eq!(
            read_origin(&part("bytes 100-199/1000"), ASKED, None),
            pieces(100, 200, 1000)
        );
        assert_eq!(
            read_origin(&part("Bytes 100-199/1000"), ASKED, None),
            pieces(100, 200, 1000)
        );
        // The object ends earlier, or the origin sends less: the rest is asked for again.
        assert_eq!(
            read_origin(&part("bytes 100-149/150"), ASKED, None),
            pieces(100, 150, 150)
        );
        assert_eq!(
            read_origin(&part("bytes 100-120/1000"), ASKED, None),
            pieces(100, 121, 1000)
        );
        let exact = OriginHead {
            content_length: Some(100),
            ..part("bytes 100-199/1000")
        };
        assert_eq!(read_origin(&exact, ASKED, None), pieces(100, 200, 1000));
        let chunked = OriginHead {
            chunked: true,
            ..part("bytes 100-199/1000")
        };
        assert_eq!(read_origin(&chunked, ASKED, None), pieces(100, 200, 1000));
    }

    #[test]
    fn parts_that_lie() {
        for range in [
            "bytes 100-199/*",
            "bytes */1000",
            "bytes 0-99/1000",
            "bytes 101-199/1000",
            "bytes 100-200/1000",
            "bytes 100-199/199",
            "bytes 100-99/1000",
            "bytes=100-199/1000",
            "bytes 100-199",
            "bytes +100-199/1000",
            "bytes 100-199/1000 x",
            "bytes 100-199/99999999999999999999999",
            "lines 100-199/1000",
            "",
        ] {
            assert!(
                matches!(read_origin(&part(range), ASKED, None), Meaning::Lie(_)),
                "{range}"
            );
        }
        let none = OriginHead {
            content_range: None,
            ..part("")
        };
        assert!(matches!(read_origin(&none, ASKED, None), Meaning::Lie(_)));
        assert!(matches!(
            read_origin(&part("bytes 100-199/1000"), None, None),
            Meaning::Lie(_)
        ));
        let short = OriginHead {
            content_length: Some(99),
            ..part("bytes 100-199/1000")
        };
        assert!(matches!(read_origin(&short, ASKED, None), Meaning::Lie(_)));
    }

    #[test]
    fn whole_objects() {
        assert_eq!(
            read_origin(&full(Some(1000)), ASKED, None),
            pieces(0, 1000, 1000)
        );
        assert_eq!(read_origin(&full(Some(0)), None, None), pieces(0, 0, 0));
        assert_eq!(read_origin(&full(None), None, None), Meaning::Pass);
        let chunked = OriginHead {
            chunked: true,
            ..full(Some(1000))
        };
        assert_eq!(read_origin(&chunked, None, None), Meaning::Pass);
        // A Content-Range on a 200 means nothing.
        let odd = OriginHead {
            content_range: Some(b"bytes 5-6/7"),
            ..full(Some(1000))
        };
        assert_eq!(read_origin(&odd, ASKED, None), pieces(0, 1000, 1000));
    }

    #[test]
    fn what_is_not_ours_to_store() {
        for status in [204, 301, 302, 403, 404, 416, 429, 500, 503] {
            assert_eq!(
                read_origin(
                    &OriginHead {
                        status,
                        ..full(Some(10))
                    },
                    ASKED,
                    None
                ),
                Meaning::Pass
            );
        }
        for head in [full(Some(1000)), part("bytes 100-199/1000")] {
            let gzip = OriginHead {
                content_encoding: Some("gzip"),
                ..head
            };
            assert_eq!(read_origin(&gzip, ASKED, None), Meaning::Pass);
            let identity = OriginHead {
                content_encoding: Some("Identity"),
                ..head
            };
            assert!(matches!(
                read_origin(&identity, ASKED, None),
                Meaning::Pieces { .. }
            ));
        }
    }

    #[test]
    fn another_version_is_told_from_the_known_one() {
        let same = known(1000, Some("\"x\""), None);
        let read = |head: &OriginHead<'_>, known: &Validator| read_origin(head, ASKED, Some(known));
        assert_eq!(
            read(&part("bytes 100-199/1000"), &same),
            pieces(100, 200, 1000)
        );
        assert_eq!(read(&full(Some(1000)), &same), pieces(0, 1000, 1000));
        let changed = |start, end, length| Meaning::Changed {
            body: Span::new(start, end),
            length,
        };
        assert_eq!(
            read(&part("bytes 100-199/1001"), &same),
            changed(100, 200, 1001)
        );
        assert_eq!(read(&full(Some(1001)), &same), changed(0, 1001, 1001));
        assert_eq!(
            read(
                &part("bytes 100-199/1000"),
                &known(1000, Some("\"y\""), None)
            ),
            changed(100, 200, 1000)
        );
        let dated = OriginHead {
            etag: None,
            last_modified: Some("b"),
            ..full(Some(1000))
        };
        assert_eq!(
            read(&dated, &known(1000, None, Some("a"))),
            changed(0, 1000, 1000)
        );
        assert_eq!(
            read(&dated, &known(1000, Some("\"x\""), Some("b"))),
            pieces(0, 1000, 1000)
        );
    }

    #[test]
    fn patience_is_asked_for_in_seconds_or_until_a_date() {
        let now = 784_111_777;
        for (value, seconds) in [
            ("7", 7),
            (" 120 ", 120),
            ("Sun, 06 Nov 1994 08:49:47 GMT", 10),
            ("Sun, 06 Nov 1994 08:49:27 GMT", 0),
            ("-5", 0),
            ("soon", 0),
            ("99999999999999999999", 0),
        ] {
            let wait = retry_after(Some(value.as_bytes()), now);
            assert_eq!(wait.as_secs(), seconds, "{value}");
        }
        assert_eq!(retry_after(None, now), Duration::ZERO);
    }

    #[test]
    fn what_is_passed_on_is_what_was_asked_for() {
        let wrong = |content_range: &str, range: &str| {
            let head = part(content_range);
            contradiction(&head, Some(range.as_bytes()), false).is_some()
        };
        for (content_range, range) in [
            ("bytes 5-9/1000", "bytes=5-9"),
            ("bytes 5-7/1000", "bytes=5-9"),
            ("bytes 5-999/1000", "bytes=5-"),
            ("bytes 500-999/1000", "bytes=-500"),
            ("bytes 0-999/1000", "bytes=-5000"),
            ("bytes 20-29/1000", "bytes=5-9,20-29"),
            ("bytes 1-2/9", "lines=1-2"),
        ] {
            assert!(!wrong(content_range, range), "{content_range} to {range}");
        }
        for (content_range, range) in [
            ("bytes 6-9/1000", "bytes=5-9"),
            ("bytes 5-10/1000", "bytes=5-9"),
            ("bytes 0-9/1000", "bytes=5-9"),
            ("bytes 400-999/1000", "bytes=-500"),
            ("bytes */1000", "bytes=5-9"),
            ("bytes 5-9/*", "bytes=5-9"),
            ("elephants 0-499/1000", "bytes=0-499"),
            ("bytes 5-9/9", "bytes=5-9"),
        ] {
            assert!(wrong(content_range, range), "{content_range} to {range}");
        }
        let of = |head: &OriginHead<'_>, range: Option<&[u8]>, conditional| {
            contradiction(head, range, conditional).is_some()
        };
        let unplaced = OriginHead {
            content_range: None,
            ..part("")
        };
        assert!(of(&unplaced, Some(b"bytes=5-9"), false));
        assert!(!of(&unplaced, Some(b"bytes=5-9,20-29"), false));
        assert!(of(&part("bytes 0-9/10"), None, false));
        let short = OriginHead {
            content_length: Some(4),
            ..part("bytes 5-9/1000")
        };
        assert!(of(&short, Some(b"bytes=5-9"), false));
        let same = OriginHead {
            status: 304,
            ..OriginHead::default()
        };
        assert!(of(&same, None, false) && !of(&same, None, true));
        assert!(!of(&full(None), Some(b"bytes=5-9"), false));
    }

    #[test]
    fn not_modified_needs_a_known_version() {
        let head = OriginHead {
            status: 304,
            ..full(None)
        };
        assert!(matches!(read_origin(&head, None, None), Meaning::Lie(_)));
        assert_eq!(
            read_origin(&head, None, Some(&known(5, Some("W/\"x\""), None))),
            Meaning::NotModified
        );
        assert!(matches!(
            read_origin(&head, None, Some(&known(5, Some("\"y\""), None))),
            Meaning::Lie(_)
        ));
        let bare = OriginHead { etag: None, ..head };
        assert_eq!(
            read_origin(&bare, None, Some(&known(5, Some("\"y\""), None))),
            Meaning::NotModified
        );
    }

    #[test]
    fn validators() {
        let text = "Sun, 06 Nov 1994 08:49:37 GMT";
        let (strong, weak) = (
            known(1, Some("\"x\""), Some(text)),
            known(1, Some("W/\"x\""), Some(text)),
        );
        let dated = known(1, None, Some(text));
        assert!(strong.is_strong() && !weak.is_strong() && !dated.is_strong());
        assert!(
            strong.agrees(&weak)
                && strong.agrees(&dated)
                && !strong.agrees(&known(2, Some("\"x\""), None))
        );
        assert!(!strong.agrees(&known(1, Some("\"x\""), Some("other"))));
        assert_eq!(strong.if_range(0), Some("\"x\""));
        assert_eq!(weak.if_range(u64::MAX), None);
        assert_eq!(dated.if_range(784_111_777), None);
        assert_eq!(dated.if_range(784_111_778), Some(text));
        assert_eq!(known(1, None, Some("junk")).if_range(u64::MAX), None);
        assert_eq!(
            Validator::of(&part("bytes 0-0/9")),
            Some(known(9, Some("\"x\""), None))
        );
        assert_eq!(
            Validator::of(&full(Some(9))),
            Some(known(9, Some("\"x\""), None))
        );
        assert_eq!(Validator::of(&full(None)), None);
    }
}
