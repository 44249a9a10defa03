//! What to send for a stored representation: preconditions in the order of RFC 9110, section 13.2.2, then the range.
//! The rule: in doubt the whole object is sent, since a 304 or 206 in error corrupts what the client has.

use crate::UnixSecs;
use crate::date::parse_http_date;
use crate::http::head::Head;
use crate::range::{Ranges, parse_range};
use larder_content::Span;

/// The fields of a request that decide what is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions<'b> {
    /// A HEAD request.
    pub head_only: bool,
    /// `Range`.
    pub range: Option<&'b [u8]>,
    /// `If-Range`.
    pub if_range: Option<&'b [u8]>,
    /// `If-Match`.
    pub if_match: Option<&'b [u8]>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'b [u8]>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'b [u8]>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<&'b [u8]>,
}

impl<'b> From<&Head<'b>> for Conditions<'b> {
    fn from(head: &Head<'b>) -> Self {
        Self {
            head_only: head.method == "HEAD",
            range: head.range,
            if_range: head.if_range,
            if_match: head.if_match,
            if_none_match: head.if_none_match,
            if_modified_since: head.if_modified_since,
            if_unmodified_since: head.if_unmodified_since,
        }
    }
}

/// What is stored.
#[derive(Clone, Copy, Debug)]
pub struct Representation<'r> {
    /// Bytes in all.
    pub length: u64,
    /// `ETag` as the origin sent it, quotes and all.
    pub etag: Option<&'r str>,
    /// `Last-Modified`.
    pub last_modified: Option<UnixSecs>,
    /// The origin's `Date` when it was stored.
    pub date: UnixSecs,
}

/// What to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Plan {
    /// 200 with everything.
    Full,
    /// 206 with one stretch.
    Partial(Span),
    /// 206 with several.
    Parts(Vec<Span>),
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416.
    Unsatisfiable,
}

/// Decides what to send.
#[must_use]
pub fn plan(c: &Conditions<'_>, r: &Representation<'_>) -> Plan {
    // RFC 9110, section 13.2.2, steps 1 and 2.
    if let Some(tags) = c.if_match {
        if !any_tag(tags, r.etag, Comparison::Strong) {
            return Plan::PreconditionFailed;
        }
    } else if let (Some(since), Some(modified)) = (
        c.if_unmodified_since.and_then(parse_http_date),
        r.last_modified,
    ) && modified > since
    {
        return Plan::PreconditionFailed;
    }
    // Steps 3 and 4.
    if let Some(tags) = c.if_none_match {
        if any_tag(tags, r.etag, Comparison::Weak) {
            return Plan::NotModified;
        }
    } else if let Some(since) = c.if_modified_since.and_then(parse_http_date)
        && r.last_modified.unwrap_or(r.date) <= since
    {
        // RFC 9111, section 4.3.2: without the time of the last change, that of the answer stands for it.
        return Plan::NotModified;
    }
    // Step 5. "A server MUST ignore a Range header field received with a request method that is unrecognized or for
    // which range handling is not defined" (section 14.2): it is defined for GET alone.
    if c.head_only || !c.if_range.is_none_or(|validator| is_current(validator, r)) {
        return Plan::Full;
    }
    match parse_range(c.range, r.length) {
        Ranges::None => Plan::Full,
        Ranges::One(span) => Plan::Partial(span),
        Ranges::Many(spans) => Plan::Parts(spans),
        Ranges::Unsatisfiable => Plan::Unsatisfiable,
    }
}

/// How entity tags are compared (RFC 9110, section 8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Splits a tag into its opaque part and whether it is weak.
fn opaque(tag: &[u8]) -> (&[u8], bool) {
    tag.strip_prefix(b"W/")
        .map_or((tag, false), |opaque| (opaque, true))
}

fn same_tag(a: &[u8], b: &[u8], how: Comparison) -> bool {
    let ((a, a_weak), (b, b_weak)) = (opaque(a), opaque(b));
    a == b && (how == Comparison::Weak || !(a_weak || b_weak))
}

/// True where `*` or one of the listed tags matches what is stored.
fn any_tag(list: &[u8], stored: Option<&str>, how: Comparison) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    let Some(stored) = stored.map(str::as_bytes) else {
        return false;
    };
    let mut rest = list;
    while let Some((tag, after)) = next_tag(rest) {
        if same_tag(tag, stored, how) {
            return true;
        }
        rest = after;
    }
    false
}

/// The next element of a list of tags. A comma inside quotes is part of the tag.
fn next_tag(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = list
        .iter()
        .position(|byte| !byte.is_ascii_whitespace() && *byte != b',')?;
    let list = &list[start..];
    let mut quoted = false;
    let end = list.iter().position(|byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    });
    let (tag, rest) = list.split_at(end.unwrap_or(list.len()));
    Some((tag.trim_ascii_end(), rest))
}

/// Whether an `If-Range` names what is stored, strongly (RFC 9110, section 13.1.5).
fn is_current(validator: &[u8], r: &Representation<'_>) -> bool {
    let validator = validator.trim_ascii();
    if validator.starts_with(b"\"") || validator.starts_with(b"W/") {
        return r
            .etag
            .is_some_and(|stored| same_tag(validator, stored.as_bytes(), Comparison::Strong));
    }
    // A date is a strong validator only where the object can not have changed again within its second (section
    // 8.8.2.2), and must be the very one.
    match (parse_http_date(validator), r.last_modified) {
        (Some(date), Some(modified)) => date == modified && modified < r.date,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
