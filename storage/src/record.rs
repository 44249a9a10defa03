//! What larder knows of one version of one object besides its bytes. The rule: a [`Content`]'s record never changes
//! its identity (length, validators); what a revalidation renews (dates) are atomics beside it, readable without a
//! lock by the threads that serve.

use larder_content::span::{piece_count, piece_len};
use larder_content::{ContentNo, UrlKey};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
}

/// What a revalidation renews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// See [`Record::fresh_until`].
    pub fresh_until: u64,
    /// See [`Record::date`].
    pub date: u64,
    /// See [`Record::age_at_receipt_s`].
    pub age_at_receipt_s: u64,
}

/// One version of one object, shared by all who serve or fill it.
#[derive(Debug)]
pub struct Content {
    /// Its number: what its pieces are stored under.
    pub no: ContentNo,
    /// The URL key it was created for; others may name it too.
    pub key: UrlKey,
    record: Record,
    fresh_until: AtomicU64,
    date: AtomicU64,
    age_at_receipt_s: AtomicU64,
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
            fresh_until: AtomicU64::new(record.fresh_until),
            date: AtomicU64::new(record.date),
            age_at_receipt_s: AtomicU64::new(record.age_at_receipt_s),
            pinned: AtomicBool::new(record.pinned),
            names: Mutex::new(names),
            record,
        }
    }

    /// What does not change in this version: URL, length, validators, headers. Its dates and its pin are those of
    /// the time it was loaded; ask [`Content::fresh_until`] and its neighbours for the present ones.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The record as it stands now, dates and pin included.
    #[must_use]
    pub fn snapshot(&self) -> Record {
        Record {
            fresh_until: self.fresh_until(),
            date: self.date(),
            age_at_receipt_s: self.age_at_receipt_s(),
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
        self.fresh_until.load(Ordering::Relaxed)
    }

    /// The origin's `Date` of the last answer about it, in seconds since 1970.
    #[must_use]
    pub fn date(&self) -> u64 {
        self.date.load(Ordering::Relaxed)
    }

    /// How old the last answer about it was when it arrived, in seconds.
    #[must_use]
    pub fn age_at_receipt_s(&self) -> u64 {
        self.age_at_receipt_s.load(Ordering::Relaxed)
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

    pub(crate) fn renew(&self, renewal: Renewal) {
        self.fresh_until
            .store(renewal.fresh_until, Ordering::Relaxed);
        self.date.store(renewal.date, Ordering::Relaxed);
        self.age_at_receipt_s
            .store(renewal.age_at_receipt_s, Ordering::Relaxed);
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
