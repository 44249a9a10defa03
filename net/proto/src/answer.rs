//! Heads of answers, written by template. The rule: names in title case and lengths exact, since clients look names
//! up by their case and take a wrong length for corruption.

pub use crate::date::{http_date, parse_http_date};

use crate::plan::Plan;

/// What a head says of the object.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'r> {
    /// Bytes of the whole object.
    pub length: u64,
    /// `ETag`, raw.
    pub etag: Option<&'r str>,
    /// `Last-Modified`, raw.
    pub last_modified: Option<&'r str>,
    /// `Content-Type`, raw.
    pub content_type: Option<&'r str>,
    /// Stored fields to pass on, names in title case.
    pub extra: &'r [(String, String)],
    /// `Age`, seconds.
    pub age_s: u64,
    /// The URL names its content.
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

/// Appends the head of the answer to `plan`.
pub fn write_head(
    out: &mut Vec<u8>,
    plan: &Plan,
    facts: &Facts<'_>,
    keep_alive: bool,
    minor: u8,
    status: Option<CacheStatus>,
    date: &[u8; 29],
) {
    let _ = (out, plan, facts, keep_alive, minor, status, date);
}

/// Appends a whole answer with a small text body.
pub fn write_error(
    out: &mut Vec<u8>,
    status: u16,
    reason_text: &str,
    keep_alive: bool,
    retry_after_s: Option<u32>,
    date: &[u8; 29],
) {
    let _ = (out, status, reason_text, keep_alive, retry_after_s, date);
}
