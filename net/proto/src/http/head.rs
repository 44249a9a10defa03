//! The head of a request. The rule: one strict reading; what two readers could understand differently is refused.

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
#[derive(Clone, Copy, Debug)]
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
    /// `Cache-Control`, `Pragma`, `Upgrade`, `Expect`, a conditional field given twice, or a `Via` that names larder.
    pub special: bool,
    /// `User-Agent`.
    pub user_agent: Option<&'b [u8]>,
    /// How many bytes the head took: what follows is body or the next request.
    pub consumed: usize,
}

/// What the bytes so far are.
#[derive(Clone, Copy, Debug)]
pub enum Parsed<'b> {
    /// A head that is not complete yet.
    Incomplete,
    /// No head that can be answered but by this status and closing the connection.
    Bad {
        /// 400, 417, 431, 501 or 505.
        status: u16,
        /// Why, for the answer's body and the log.
        reason: &'static str,
    },
    /// A complete head.
    Head(Head<'b>),
}

/// Reads the head at the beginning of `bytes`.
#[must_use]
pub fn parse_head(bytes: &[u8]) -> Parsed<'_> {
    let _ = bytes;
    Parsed::Incomplete
}
