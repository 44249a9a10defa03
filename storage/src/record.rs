//! What larder knows of one version of one object besides its bytes. The rule: a [`Content`]'s record never changes,
//! so that the threads that serve read it without a lock; where its origin confirms a version with other dates or
//! headers, a new `Content` of the same number takes the old one's place, and the pieces stay.

use larder_content::span::{piece_count, piece_len};
use larder_content::{ContentNo, UrlKey};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};

/// What the catalogue keeps of one version of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The canonical URL (`http://host/path?query`), for people: listings, logs, prefixes to purge.
    pub url: String,
    /// The origin's authority that the bytes came from.
    pub host: String,
    /// Bytes in the whole object.
    pub length: u64,
    /// The origin's entity tag, quotes and all.
    pub etag: Option<String>,
    /// The origin's `Last-Modified`, as it was written.
    pub last_modified: Option<String>,
    /// The same as seconds since 1970, where it could be read.
    #[serde(default)]
    pub last_modified_unix: Option<u64>,
    /// The origin's `Content-Type`.
    pub content_type: Option<String>,
    /// Other headers to pass on, names in title case.
    pub extra: Vec<(String, String)>,
    /// The origin's `Date` when it was stored or last renewed, in seconds since 1970.
    pub date: u64,
    /// Until when it may be served without asking, in seconds since 1970; `u64::MAX` for immutable content.
    pub fresh_until: u64,
    /// How old the answer was when it arrived, in seconds.
    pub age_at_receipt_s: u64,
    /// When it was stored, in seconds since 1970.
    pub stored_at: u64,
    /// The URL names its content: it is always fresh.
    pub immutable: bool,
    /// Never evicted.
    pub pinned: bool,
    /// Must not be served stale, whatever happens to the origin.
    pub must_revalidate: bool,
    /// The status of the answer that it is.
    #[serde(default = "ok")]
    pub status: u16,
    /// How old its origin said that it was, in seconds: what the client hears that it came for.
    #[serde(default)]
    pub age_said_s: u64,
    /// When it was stored or last confirmed, in seconds since 1970; 0 in rows of versions that did not keep it.
    #[serde(default)]
    pub answered_at: u64,
    /// The fields of a request that choose between the answers to its URL (RFC 9111, section 4.1), in lower case.
    #[serde(default)]
    pub vary: Vec<String>,
    /// It came in one answer, and what is lost of it can not be completed by another: an answer to just these fields
    /// of a request, an encoded one, or one of another status than 200.
    #[serde(default)]
    pub whole: bool,
    /// While it is fresh, a client's wish for something younger is no reason to ask its origin (RFC 8246).
    #[serde(default)]
    pub immutable_while_fresh: bool,
    /// May answer requests with `Authorization`, and may be an answer to one (RFC 9111, section 3.5).
    #[serde(default)]
    pub for_authorized: bool,
    /// For so long after `fresh_until` it may be served where its origin fails, in seconds (RFC 5861, section 4).
    /// None: its origin does not say.
    #[serde(default)]
    pub stale_if_error_s: Option<u64>,
    /// For so long after `fresh_until` it may be served while it is fetched anew, in seconds (RFC 5861, section 3).
    #[serde(default)]
    pub stale_while_revalidate_s: Option<u64>,
    /// Path and query by which its origin gave it, where they are not those of its URL: a signature is no part of that
    /// (facts: clients, section 1.3), and another client's may hold when one has run out.
    #[serde(default)]
    pub asked_as: Option<String>,
}

fn ok() -> u16 {
    200
}

impl Default for Record {
    /// An empty object that nothing is known of.
    fn default() -> Self {
        Self {
            url: String::new(),
            host: String::new(),
            length: 0,
            etag: None,
            last_modified: None,
            last_modified_unix: None,
            content_type: None,
            extra: Vec::new(),
            date: 0,
            fresh_until: 0,
            age_at_receipt_s: 0,
            stored_at: 0,
            immutable: false,
            pinned: false,
            must_revalidate: false,
            status: ok(),
            age_said_s: 0,
            answered_at: 0,
            vary: Vec::new(),
            whole: false,
            immutable_while_fresh: false,
            for_authorized: false,
            stale_if_error_s: None,
            stale_while_revalidate_s: None,
            asked_as: None,
        }
    }
}

/// One version of one object, shared by all who serve or fill it.
#[derive(Debug)]
pub struct Content {
    /// Its number: what its pieces are stored under.
    pub no: ContentNo,
    /// The URL key it was created for; others may name it too.
    pub key: UrlKey,
    record: Record,
    pinned: AtomicBool,
    names: Mutex<Vec<UrlKey>>,
}

impl Content {
    /// A content with the names (URL keys) that lead to it; `key` is always among them.
    #[must_use]
    pub fn new(no: ContentNo, key: UrlKey, record: Record, mut names: Vec<UrlKey>) -> Self {
        if !names.contains(&key) {
            names.push(key);
        }
        Self {
            no,
            key,
            pinned: AtomicBool::new(record.pinned),
            names: Mutex::new(names),
            record,
        }
    }

    /// Everything but the pin, which is that of the time it was loaded; ask [`Content::is_pinned`] for the present one.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The record as it stands now, pin included.
    #[must_use]
    pub fn snapshot(&self) -> Record {
        Record {
            pinned: self.is_pinned(),
            ..self.record.clone()
        }
    }

    /// Bytes in the whole object.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.record.length
    }

    /// How many pieces it has.
    #[must_use]
    pub fn pieces(&self) -> u32 {
        piece_count(self.record.length)
    }

    /// Bytes in piece `piece`; 0 beyond the end.
    #[must_use]
    pub fn piece_len(&self, piece: u32) -> u32 {
        piece_len(self.record.length, piece)
    }

    /// Until when it may be served without asking, in seconds since 1970.
    #[must_use]
    pub fn fresh_until(&self) -> u64 {
        self.record.fresh_until
    }

    /// The origin's `Date` of the last answer about it, in seconds since 1970.
    #[must_use]
    pub fn date(&self) -> u64 {
        self.record.date
    }

    /// How old it is at `now` (seconds since 1970), in seconds: as old as it came, and as long as it has been here
    /// (RFC 9111, section 4.2.3).
    #[must_use]
    pub fn age_s(&self, now: u64) -> u64 {
        let record = &self.record;
        let answered_at = match record.answered_at {
            0 => record.stored_at,
            at => at,
        };
        now.saturating_sub(answered_at)
            .saturating_add(record.age_at_receipt_s)
    }

    /// Whether it may be served at `now` (seconds since 1970) without asking the origin.
    #[must_use]
    pub fn is_fresh(&self, now: u64) -> bool {
        self.record.immutable || now < self.fresh_until()
    }

    /// Whether eviction spares it.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.pinned.load(Ordering::Relaxed)
    }

    /// The URL keys that lead to it.
    #[must_use]
    pub fn names(&self) -> Vec<UrlKey> {
        self.names.lock().clone()
    }

    pub(crate) fn set_pinned(&self, pinned: bool) {
        self.pinned.store(pinned, Ordering::Relaxed);
    }

    pub(crate) fn add_name(&self, key: UrlKey) {
        let mut names = self.names.lock();
        if !names.contains(&key) {
            names.push(key);
        }
    }

    /// Takes a name away; true where none is left.
    pub(crate) fn remove_name(&self, key: &UrlKey) -> bool {
        let mut names = self.names.lock();
        names.retain(|name| name != key);
        names.is_empty()
    }
}
