//! Heads of answers, written by template. The rule: names in title case and lengths exact, since clients look names
//! up by their case and take a wrong length for corruption (facts: clients, 1.5 and 1.6).

pub use crate::date::{http_date, parse_http_date};

use crate::plan::Plan;
use larder_content::Span;

/// What a head says of the object.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'r> {
    /// The status of the answer that it is: 200 nearly always.
    pub status: u16,
    /// Bytes of the whole object.
    pub length: u64,
    /// `ETag`, raw.
    pub etag: Option<&'r str>,
    /// `Last-Modified`, raw.
    pub last_modified: Option<&'r str>,
    /// `Content-Type`, raw.
    pub content_type: Option<&'r str>,
    /// Stored fields to pass on, names in title case. What a head says for itself is skipped if it is among them.
    pub extra: &'r [(String, String)],
    /// `Age`, seconds.
    pub age_s: u64,
    /// The URL names its content. Where the origin says nothing of caching, the answer then does.
    pub immutable: bool,
}

/// What the cache did, for `X-Cache-Status` and `Cache-Status` (RFC 9211).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheStatus {
    /// All from the store.
    Hit,
    /// All from the origin.
    Miss,
    /// Some from the store, some from the origin.
    Partial,
    /// Stored but stale, fetched anew.
    Expired,
    /// Stale, sent because the origin failed.
    Stale,
    /// Stale, sent while somebody fetches it anew.
    Updating,
    /// Stale, confirmed by the origin.
    Revalidated,
    /// The store was not asked.
    Bypass,
}

impl CacheStatus {
    /// The value of `X-Cache-Status`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Partial => "PARTIAL",
            Self::Expired => "EXPIRED",
            Self::Stale => "STALE",
            Self::Updating => "UPDATING",
            Self::Revalidated => "REVALIDATED",
            Self::Bypass => "BYPASS",
        }
    }

    /// The value of `Cache-Status`.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Hit => "larder; hit",
            Self::Miss => "larder; fwd=uri-miss",
            Self::Partial => "larder; fwd=partial",
            Self::Expired => "larder; fwd=stale",
            Self::Stale => "larder; hit; detail=stale",
            Self::Updating => "larder; hit; detail=updating",
            Self::Revalidated => "larder; fwd=stale; fwd-status=304",
            Self::Bypass => "larder; fwd=bypass",
        }
    }
}

/// Appends the head of the answer to `plan`. Allocates nothing but room in `out`.
///
/// `minor` is the request's; `status` is left out where `None`; `date` is [`http_date`] of the
/// origin's answer (RFC 9110, section 6.6.1). The body's length is
/// that of the plan: the object, the span, or for [`Plan::Parts`] what [`parts_bytes`] says.
pub fn write_head(
    out: &mut Vec<u8>,
    plan: &Plan,
    facts: &Facts<'_>,
    keep_alive: bool,
    minor: u8,
    status: Option<CacheStatus>,
    date: &[u8; 29],
) {
    write_status_line(
        out,
        match plan {
            Plan::Full => facts.status,
            Plan::Partial(_) | Plan::Parts(_) => 206,
            Plan::NotModified => 304,
            Plan::PreconditionFailed => 412,
            Plan::Unsatisfiable => 416,
        },
    );
    write_common(out, keep_alive, minor, date);
    write_list(out, "Via", facts, "1.1 larder");
    if let Some(status) = status {
        put(out, &["X-Cache-Status: ", status.name(), "\r\n"]);
        write_list(out, "Cache-Status", facts, status.field());
    }
    match plan {
        Plan::Full => {
            write_object(out, facts, true);
            // What an origin means by it is its own affair where it sends no part (RFC 9110, section 14.4).
            for (name, value) in facts.extra {
                if name.eq_ignore_ascii_case("Content-Range") {
                    put(out, &["Content-Range: ", value, "\r\n"]);
                }
            }
            // RFC 9110, section 8.6.
            if facts.status != 204 {
                write_length(out, facts.length);
            }
        }
        Plan::Partial(span) => {
            write_object(out, facts, true);
            write_content_range(out, *span, facts.length);
            write_length(out, span.len());
        }
        Plan::Parts(spans) => {
            write_object(out, facts, false);
            put(out, &["Content-Type: multipart/byteranges; boundary="]);
            out.extend_from_slice(&boundary(spans, facts));
            put(out, &["\r\n"]);
            write_length(out, parts_bytes(spans, facts));
        }
        // RFC 9110, section 15.4.5: what a 200 would have said that is not about the bytes, and no length.
        Plan::NotModified => write_validators(out, facts, |name| {
            ["Cache-Control", "Content-Location", "Expires", "Vary"]
                .iter()
                .any(|kept| name.eq_ignore_ascii_case(kept))
        }),
        Plan::PreconditionFailed => write_length(out, 0),
        Plan::Unsatisfiable => {
            put(out, &["Content-Range: bytes */"]);
            write_number(out, facts.length);
            put(out, &["\r\n"]);
            write_length(out, 0);
        }
    }
    put(out, &["\r\n"]);
}

/// Appends a whole answer with a small text body; `cache` is left out where `None`.
pub fn write_error(
    out: &mut Vec<u8>,
    status: u16,
    reason_text: &str,
    keep_alive: bool,
    retry_after_s: Option<u32>,
    cache: Option<CacheStatus>,
    date: &[u8; 29],
) {
    write_status_line(out, status);
    write_common(out, keep_alive, 1, date);
    if let Some(cache) = cache {
        put(out, &["X-Cache-Status: ", cache.name(), "\r\n"]);
        put(out, &["Cache-Status: ", cache.field(), "\r\n"]);
    }
    if let Some(seconds) = retry_after_s {
        put(out, &["Retry-After: "]);
        write_number(out, u64::from(seconds));
        put(out, &["\r\n"]);
    }
    // An answer to a failure is not to be kept by anybody: a cached 404 kept clients asking for days.
    put(
        out,
        &["Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"],
    );
    put(out, &["Content-Type: text/plain; charset=utf-8\r\n"]);
    let len: usize = printable(reason_text).map(char::len_utf8).sum();
    write_length(out, len as u64 + 1);
    put(out, &["\r\n"]);
    let mut utf8 = [0; 4];
    printable(reason_text).for_each(|c| out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()));
    out.push(b'\n');
}

/// The text with a `?` for each control character: it may quote what a client sent.
fn printable(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|c| if c.is_control() { '?' } else { c })
}

/// The length of the body of a multipart answer.
#[must_use]
pub fn parts_bytes(spans: &[Span], facts: &Facts<'_>) -> u64 {
    let boundary = boundary(spans, facts);
    let mut head = Vec::with_capacity(256);
    let mut sum = 0;
    for span in spans {
        head.clear();
        write_part(&mut head, &boundary, *span, facts);
        sum += head.len() as u64 + span.len();
    }
    head.clear();
    write_parts_end(&mut head, &boundary);
    sum + head.len() as u64
}

/// Appends what comes before the bytes of one part.
pub fn write_part(
    out: &mut Vec<u8>,
    boundary: &[u8; BOUNDARY_BYTES],
    span: Span,
    facts: &Facts<'_>,
) {
    put(out, &["\r\n--"]);
    out.extend_from_slice(boundary);
    put(out, &["\r\n"]);
    if let Some(kind) = facts.content_type {
        put(out, &["Content-Type: ", kind, "\r\n"]);
    }
    write_content_range(out, span, facts.length);
    put(out, &["\r\n"]);
}

/// Appends what comes after the bytes of the last part.
pub fn write_parts_end(out: &mut Vec<u8>, boundary: &[u8; BOUNDARY_BYTES]) {
    put(out, &["\r\n--"]);
    out.extend_from_slice(boundary);
    put(out, &["--\r\n"]);
}

/// Bytes of a boundary.
pub const BOUNDARY_BYTES: usize = 39;

/// The boundary of the answer with these parts: `larder-` and 128 bits of a hash of what is sent. Not secret, but long
/// enough that bytes which hold it by chance are not met; whoever writes it into an object on purpose confuses only
/// readers of that object.
#[must_use]
pub fn boundary(spans: &[Span], facts: &Facts<'_>) -> [u8; BOUNDARY_BYTES] {
    let mut boundary = *b"larder-00000000000000000000000000000000";
    // FNV-1a, twice from different beginnings.
    for (half, basis) in [(0, 0xcbf2_9ce4_8422_2325_u64), (16, 0x6c62_272e_07bb_0142)] {
        let numbers = spans
            .iter()
            .flat_map(|span| [span.start, span.end])
            .chain([facts.length]);
        let bytes = numbers
            .flat_map(u64::to_be_bytes)
            .chain(facts.etag.unwrap_or("").bytes());
        let hash = bytes.fold(basis, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        for (at, digit) in boundary[7 + half..][..16].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(hash >> (60 - 4 * at) & 15) as usize];
        }
    }
    boundary
}

/// Fields that a head says for itself, or that concern one connection alone.
const OWN: &[&str] = &[
    "Date",
    "Age",
    "Via",
    "Connection",
    "Keep-Alive",
    "Transfer-Encoding",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Accept-Ranges",
    "Etag",
    "Last-Modified",
    "X-Cache-Status",
    "Cache-Status",
    "Trailer",
    "Upgrade",
];

/// Appends a list to which each on the way adds an element: what the stored fields say, then `own`.
fn write_list(out: &mut Vec<u8>, name: &str, facts: &Facts<'_>, own: &str) {
    put(out, &[name, ": "]);
    let fields = facts.extra.iter();
    for (_, value) in fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)) {
        put(out, &[value, ", "]);
    }
    put(out, &[own, "\r\n"]);
}

fn write_object(out: &mut Vec<u8>, facts: &Facts<'_>, with_type: bool) {
    if with_type && let Some(kind) = facts.content_type {
        put(out, &["Content-Type: ", kind, "\r\n"]);
    }
    // Ranges are of what a plain answer holds.
    if facts.status == 200 {
        put(out, &["Accept-Ranges: bytes\r\n"]);
    }
    write_validators(out, facts, |name| {
        !OWN.iter().any(|own| name.eq_ignore_ascii_case(own))
    });
}

/// Validators, age, and those of the stored fields that are to be kept.
fn write_validators(out: &mut Vec<u8>, facts: &Facts<'_>, keep: impl Fn(&str) -> bool) {
    if let Some(etag) = facts.etag {
        put(out, &["ETag: ", etag, "\r\n"]);
    }
    if let Some(modified) = facts.last_modified {
        put(out, &["Last-Modified: ", modified, "\r\n"]);
    }
    put(out, &["Age: "]);
    write_number(out, facts.age_s);
    put(out, &["\r\n"]);
    let mut silent = facts.immutable;
    for (name, value) in facts.extra.iter().filter(|(name, _)| keep(name)) {
        put(out, &[name, ": ", value, "\r\n"]);
        silent &= !["Cache-Control", "Expires"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known));
    }
    if silent {
        put(
            out,
            &["Cache-Control: public, max-age=31536000, immutable\r\n"],
        );
    }
}

fn write_common(out: &mut Vec<u8>, keep_alive: bool, minor: u8, date: &[u8; 29]) {
    put(out, &["Date: "]);
    out.extend_from_slice(date);
    put(
        out,
        &[match (keep_alive, minor) {
            (true, 0) => "\r\nConnection: Keep-Alive\r\n",
            (true, _) => "\r\n",
            (false, _) => "\r\nConnection: close\r\n",
        }],
    );
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    put(out, &["Content-Length: "]);
    write_number(out, length);
    put(out, &["\r\n"]);
}

fn write_content_range(out: &mut Vec<u8>, span: Span, length: u64) {
    debug_assert!(
        !span.is_empty() && span.end <= length,
        "a part is some bytes of the object"
    );
    put(out, &["Content-Range: bytes "]);
    write_number(out, span.start);
    out.push(b'-');
    write_number(out, span.end.saturating_sub(1));
    out.push(b'/');
    write_number(out, length);
    put(out, &["\r\n"]);
}

fn put(out: &mut Vec<u8>, parts: &[&str]) {
    parts
        .iter()
        .for_each(|part| out.extend_from_slice(part.as_bytes()));
}

fn write_number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789"[(n % 10) as usize];
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The first line of an answer. Words for the status are for people only (RFC 9112, section 4).
fn write_status_line(out: &mut Vec<u8>, status: u16) {
    put(out, &["HTTP/1.1 "]);
    write_number(out, u64::from(status));
    put(out, &[" ", reason(status), "\r\n"]);
}

/// What a status means (RFC 9110, section 15, and the registry of statuses).
#[must_use]
pub const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests;
