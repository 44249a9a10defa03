//! The head of a request. The rule: one strict reading; what two readers could understand differently is refused.

use std::mem::MaybeUninit;

/// What follows the head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyKind {
    /// Nothing (`Content-Length: 0` included, which the native client sends with every GET).
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// A request's head, borrowed from the bytes it came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head<'b> {
    /// The method, as sent.
    pub method: &'b str,
    /// The request target, as sent: visible ASCII only.
    pub target: &'b str,
    /// The minor version of HTTP/1: 0 or 1.
    pub minor: u8,
    /// `Host`; present on HTTP/1.1, possibly empty.
    pub host: Option<&'b str>,
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
    /// The client wants the connection kept after the answer.
    pub keep_alive: bool,
    /// What follows the head.
    pub body: BodyKind,
    /// The client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// The hit path must hand this request over: a method other than GET and HEAD, a body, `Authorization`,
    /// `Cache-Control` with `no-store` or `only-if-cached`, `Upgrade`, `Expect`, a conditional field given twice, or a
    /// `Via` that names larder.
    pub special: bool,
    /// `Pragma`, or a `Cache-Control` that only says how new the client would like the answer to be. That is no matter
    /// where the URL names its content; any other request must be handed over.
    pub picky: bool,
    /// `User-Agent`.
    pub user_agent: Option<&'b [u8]>,
    /// How many bytes the head took: what follows is body or the next request.
    pub consumed: usize,
    /// It is the head before it on its connection again, but for the range and what nobody reads.
    pub alike: bool,
}

/// What the bytes so far are.
#[derive(Clone, Copy, Debug)]
pub enum Parsed<'b> {
    /// A head that is not complete yet.
    Incomplete,
    /// No head that can be answered but by this status and closing the connection.
    Bad {
        /// 400, 414, 417, 431, 501 or 505.
        status: u16,
        /// Why, for the answer's body and the log.
        reason: &'static str,
    },
    /// A complete head.
    Head(Head<'b>),
}

/// Longest head that is read; a longer one is answered 431.
pub const HEAD_BYTES_MAX: usize = 16 << 10;

/// Most fields of a head; more are answered 431.
pub const FIELDS_MAX: usize = 100;

/// Reads the head at the beginning of `bytes`.
///
/// Tolerated, because real clients do it and nobody reads it differently: empty lines before the request line,
/// HTTP/1.0. Everything that another reader could frame differently is [`Parsed::Bad`].
#[must_use]
pub fn parse_head(bytes: &[u8]) -> Parsed<'_> {
    // One byte more than the limit, so that a head that is too long is told from one that is not complete.
    let seen = &bytes[..bytes.len().min(HEAD_BYTES_MAX + 1)];
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(seen, &mut fields) {
        Ok(httparse::Status::Complete(consumed)) if consumed <= HEAD_BYTES_MAX => {
            // A recipient may take a bare LF for a line end (RFC 9112, section 2.2), so that others may not.
            if has_bare_lf(&seen[..consumed]) {
                return Parsed::Bad {
                    status: 400,
                    reason: "a line ends without a carriage return",
                };
            }
            match read(&request, consumed) {
                Ok(head) => Parsed::Head(head),
                Err((status, reason)) => Parsed::Bad { status, reason },
            }
        }
        // RFC 9112, section 3: the target alone is longer than any that is read.
        Ok(_) if bytes.len() > HEAD_BYTES_MAX && is_in_target(seen) => Parsed::Bad {
            status: 414,
            reason: "the request target is longer than 16 KiB",
        },
        Ok(_) if bytes.len() > HEAD_BYTES_MAX => Parsed::Bad {
            status: 431,
            reason: "the head is longer than 16 KiB",
        },
        Ok(_) => Parsed::Incomplete,
        Err(error) => {
            let (status, reason) = explain(error);
            Parsed::Bad { status, reason }
        }
    }
}

/// True where the request line has come to its target and has no end.
fn is_in_target(seen: &[u8]) -> bool {
    let line = seen.trim_ascii_start();
    line.contains(&b' ') && !line.contains(&b'\n')
}

/// Counted, not searched: this runs on every request, and counting is what a compiler makes fast.
fn has_bare_lf(head: &[u8]) -> bool {
    let lines = head.iter().filter(|byte| **byte == b'\n').count();
    let pairs = head.iter().zip(&head[1..]);
    lines != pairs.filter(|pair| *pair == (&b'\r', &b'\n')).count()
}

type Bad = (u16, &'static str);

fn explain(error: httparse::Error) -> Bad {
    match error {
        httparse::Error::TooManyHeaders => (431, "more than 100 fields"),
        httparse::Error::Version => (505, "not HTTP/1.0 or HTTP/1.1"),
        httparse::Error::HeaderName => (400, "a field name is malformed or folded"),
        httparse::Error::HeaderValue => (400, "a field value holds a control character"),
        httparse::Error::NewLine => (400, "a line does not end as lines do"),
        httparse::Error::Token | httparse::Error::Status => (400, "the request line is malformed"),
    }
}

/// What the fields say that only makes sense together.
#[derive(Default)]
struct Framing<'b> {
    length: Option<u64>,
    transfer: Option<&'b [u8]>,
    close: bool,
    keep: bool,
}

fn read<'b>(request: &httparse::Request<'_, 'b>, consumed: usize) -> Result<Head<'b>, Bad> {
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err((400, "the request line is malformed"));
    };
    if !target.bytes().all(|b| b.is_ascii_graphic()) {
        return Err((
            400,
            "the request target holds a byte that is not visible ASCII",
        ));
    }
    // Methods are case-sensitive (RFC 9110, section 9.1); an origin that does not know that must not be asked.
    if method.bytes().any(|b| b.is_ascii_lowercase()) {
        return Err((501, "no method is written in small letters"));
    }
    let mut head = Head {
        method,
        target,
        minor,
        host: None,
        range: None,
        if_range: None,
        if_match: None,
        if_none_match: None,
        if_modified_since: None,
        if_unmodified_since: None,
        keep_alive: false,
        body: BodyKind::None,
        expect_continue: false,
        special: method != "GET" && method != "HEAD",
        picky: false,
        user_agent: None,
        consumed,
        alike: false,
    };
    let mut framing = Framing::default();
    for field in request.headers.iter() {
        read_field(&mut head, &mut framing, field.name, field.value)?;
    }
    // RFC 9112, section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request
    // message that lacks a Host header field".
    if head.host.is_none() && minor == 1 {
        return Err((400, "no Host field"));
    }
    head.body = match (framing.transfer, framing.length) {
        (Some(_), Some(_)) => return Err((400, "both Transfer-Encoding and Content-Length")),
        (Some(_), None) if minor == 0 => return Err((400, "Transfer-Encoding in HTTP/1.0")),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => BodyKind::Chunked,
        (Some(_), None) => return Err((501, "a transfer coding other than chunked")),
        (None, Some(0) | None) => BodyKind::None,
        (None, Some(length)) => BodyKind::Length(length),
    };
    head.special |= head.body != BodyKind::None;
    // A proxy keeps no connection with a client of HTTP/1.0, which may have had `Connection` from another before it (RFC
    // 9112, section 9.3); to whoever names a path alone larder is no proxy.
    let may_keep = minor == 1 || (framing.keep && target.starts_with('/'));
    head.keep_alive = !framing.close && may_keep;
    Ok(head)
}

/// True for what a client may like and a cache may not heed (RFC 9111, sections 5.2.1.1 to 5.2.1.4 and 5.2.1.6).
fn is_preference(directive: &[u8]) -> bool {
    let name = directive.split(|b| *b == b'=').next().unwrap_or(directive);
    let preferences: [&[u8]; 5] = [
        b"no-cache",
        b"max-age",
        b"max-stale",
        b"min-fresh",
        b"no-transform",
    ];
    preferences
        .iter()
        .any(|known| name.trim_ascii().eq_ignore_ascii_case(known))
}

fn read_field<'b>(
    head: &mut Head<'b>,
    framing: &mut Framing<'b>,
    name: &str,
    value: &'b [u8],
) -> Result<(), Bad> {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    // By length first: most fields of a request concern nobody here, and are passed over by this one comparison.
    match name.len() {
        3 if is("Via") => head.special |= names_larder(value),
        4 if is("Host") => read_host(head, value)?,
        5 if is("Range") => once(&mut head.range, value, &mut head.special),
        6 if is("Pragma") => head.picky = true,
        // An HTTP/1.0 client can not have meant it (RFC 9110, section 10.1.1).
        6 if head.minor == 1 && is("Expect") => {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err((417, "an expectation other than 100-continue"));
            }
            head.expect_continue = true;
            head.special = true;
        }
        7 if is("Upgrade") => head.special = true,
        8 if is("If-Range") => once(&mut head.if_range, value, &mut head.special),
        8 if is("If-Match") => once(&mut head.if_match, value, &mut head.special),
        10 if is("Connection") => {
            for token in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                framing.close |= token.eq_ignore_ascii_case(b"close");
                framing.keep |= token.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        10 if is("User-Agent") => head.user_agent = Some(value),
        13 if is("Authorization") => head.special = true,
        13 if is("Cache-Control") => {
            head.picky = true;
            head.special |= value
                .split(|b| *b == b',')
                .any(|directive| !is_preference(directive.trim_ascii()));
        }
        13 if is("If-None-Match") => once(&mut head.if_none_match, value, &mut head.special),
        14 if is("Content-Length") => {
            let length = decimal(value).ok_or((400, "Content-Length is not a number"))?;
            // Equal ones may be taken for one (RFC 9112, section 6.3), which no client needs and some readers do not.
            if framing.length.replace(length).is_some() {
                return Err((400, "two Content-Length fields"));
            }
        }
        17 if is("If-Modified-Since") => {
            once(&mut head.if_modified_since, value, &mut head.special)
        }
        17 if is("Transfer-Encoding") => match framing.transfer {
            None => framing.transfer = Some(value),
            Some(_) => return Err((400, "two Transfer-Encoding fields")),
        },
        19 if is("If-Unmodified-Since") => {
            once(&mut head.if_unmodified_since, value, &mut head.special)
        }
        _ => {}
    }
    Ok(())
}

/// Keeps the first of fields that should come once; the hit path does not weigh several against each other.
fn once<'b>(slot: &mut Option<&'b [u8]>, value: &'b [u8], special: &mut bool) {
    if slot.is_some() {
        *special = true;
    } else {
        *slot = Some(value);
    }
}

fn read_host<'b>(head: &mut Head<'b>, value: &'b [u8]) -> Result<(), Bad> {
    if head.host.is_some() {
        return Err((400, "two Host fields"));
    }
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~:[]%".contains(b);
    match std::str::from_utf8(value) {
        Ok(host) if value.iter().all(plain) => head.host = Some(host),
        _ => return Err((400, "the Host field is no host")),
    }
    Ok(())
}

/// Digits and nothing else: no sign, no list, no blank, at most 19 of them.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        value
            .iter()
            .fold(0, |n, digit| n * 10 + u64::from(digit - b'0')),
    )
}

/// True where an element of a `Via` was written by larder: the request may be going round in circles.
fn names_larder(via: &[u8]) -> bool {
    via.split(|b| *b == b',').any(|element| {
        let mut words = element
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        words
            .nth(1)
            .is_some_and(|by| by.eq_ignore_ascii_case(b"larder"))
    })
}

#[cfg(test)]
mod tests;
