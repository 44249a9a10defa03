//! What publishers said of contents. The rule: a record is told only to those it is for; it is bounded in size, number
//! and time, and the one that ends first makes room.

use super::guid::Guid;
use super::message::{ContentPolicy, PublishRequest, Trust};
use super::site::Site;
use crate::UnixSecs;
use larder_content::{ContentId, UrlKey, phf};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Whom a record is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Audience {
    /// Everybody: what is verified.
    All,
    /// The members of a group: what one of them attests.
    Group(Guid),
    /// Those of one site that belong to no group: what one of them attests.
    Site(Site),
}

impl Audience {
    /// As a text that is the same for all coordinators with the same configuration.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Group(group) => format!("g{group}"),
            Self::Site(site) => format!("s{}", site.text()),
        }
    }
}

/// The audiences that a caller belongs to, the one whose word counts more first.
#[must_use]
pub const fn audiences(group: Option<Guid>, site: Site) -> [Audience; 2] {
    match group {
        Some(group) => [Audience::All, Audience::Group(group)],
        None => [Audience::All, Audience::Site(site)],
    }
}

/// A content's policy as a publisher said it, ready to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Whom it is for.
    pub audience: Audience,
    /// The canonical names of its URLs.
    pub urls: Vec<UrlKey>,
    /// What is told.
    pub policy: ContentPolicy,
}

impl Record {
    /// The record that a publication by this publisher makes. `lifetime_s` is how long such things are kept at most.
    #[must_use]
    pub fn of(
        publish: PublishRequest,
        publisher: &str,
        audience: Audience,
        urls: Vec<UrlKey>,
        now: UnixSecs,
        lifetime_s: u64,
    ) -> Self {
        let last = now.saturating_add(lifetime_s);
        let hash_of_hashes = phf::spelled(publish.phf.hash_of_hashes());
        Self {
            audience,
            urls,
            policy: ContentPolicy {
                content_id: publish.phf.content_id(),
                hash_of_hashes,
                content_length: publish.phf.length(),
                trust: publish.trust,
                attested_by: (publish.trust == Trust::Attested).then(|| publisher.to_owned()),
                content_cdn_urls: publish.content_cdn_urls,
                etag: publish.etag,
                foreground_qos_bps: publish.foreground_qos_bps,
                background_qos_bps: publish.background_qos_bps,
                max_cache_age_secs: publish.max_cache_age_secs,
                expire_at: publish.expire_at.map_or(last, |at| at.min(last)),
                phf: Some(publish.phf),
            },
        }
    }

    /// Bytes that it takes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let pieces = self
            .policy
            .phf
            .as_ref()
            .map_or(0, |phf| phf.pieces() as usize);
        let urls: usize = self
            .policy
            .content_cdn_urls
            .iter()
            .map(|url| url.len() + 100)
            .sum();
        let tag = self.policy.etag.as_ref().map_or(0, String::len);
        pieces * 32 + urls + tag + 400
    }
}

/// All records, in memory.
#[derive(Debug)]
pub struct Records {
    records_max: usize,
    bytes_max: usize,
    bytes: usize,
    by_id: HashMap<(ContentId, Audience), Arc<Record>>,
    by_url: HashMap<(UrlKey, Audience), ContentId>,
    ends: BTreeSet<(UnixSecs, ContentId, Audience)>,
}

impl Records {
    /// No records yet.
    #[must_use]
    pub fn new(records_max: usize, bytes_max: usize) -> Self {
        Self {
            records_max: records_max.max(1),
            bytes_max,
            bytes: 0,
            by_id: HashMap::new(),
            by_url: HashMap::new(),
            ends: BTreeSet::new(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Takes a record, in place of what was there for the same content and audience. Its URLs lead to it from now on.
    /// Says whether there is room for it at all.
    pub fn publish(&mut self, record: Record, now: UnixSecs) -> bool {
        let bytes = record.bytes();
        if bytes > self.bytes_max {
            return false;
        }
        self.expire(now);
        let name = (record.policy.content_id, record.audience);
        self.forget(name);
        while self.by_id.len() >= self.records_max || self.bytes + bytes > self.bytes_max {
            let Some((_, content, audience)) = self.ends.first().copied() else {
                return false;
            };
            self.forget((content, audience));
        }
        for url in &record.urls {
            self.by_url.insert((*url, record.audience), name.0);
        }
        self.ends.insert((record.policy.expire_at, name.0, name.1));
        self.bytes += bytes;
        self.by_id.insert(name, Arc::new(record));
        true
    }

    /// What is known of a content to somebody of these audiences.
    #[must_use]
    pub fn by_id(
        &self,
        id: ContentId,
        audiences: &[Audience],
        now: UnixSecs,
    ) -> Option<Arc<Record>> {
        audiences.iter().find_map(|audience| {
            let record = self.by_id.get(&(id, *audience))?;
            (record.policy.expire_at > now).then(|| Arc::clone(record))
        })
    }

    /// The same for the content at a URL.
    #[must_use]
    pub fn by_url(
        &self,
        url: UrlKey,
        audiences: &[Audience],
        now: UnixSecs,
    ) -> Option<Arc<Record>> {
        audiences.iter().find_map(|audience| {
            let id = self.by_url.get(&(url, *audience))?;
            self.by_id(*id, &[*audience], now)
        })
    }

    /// Lets go of what has ended.
    pub fn expire(&mut self, now: UnixSecs) {
        while let Some((end, content, audience)) = self.ends.first().copied()
            && end <= now
        {
            self.forget((content, audience));
        }
    }

    fn forget(&mut self, name: (ContentId, Audience)) {
        let Some(record) = self.by_id.remove(&name) else {
            return;
        };
        self.bytes -= record.bytes();
        self.ends.remove(&(record.policy.expire_at, name.0, name.1));
        for url in &record.urls {
            // A URL that leads elsewhere by now stays.
            let key = (*url, name.1);
            if self.by_url.get(&key) == Some(&name.0) {
                self.by_url.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_content::Phf;

    const HERE: Audience = Audience::Site(Site::Inside);

    fn record(number: u8, audience: Audience, urls: &[u8], end: UnixSecs) -> Record {
        let phf = Phf::new(3, vec![[number; 32]]).expect("one piece");
        let mut publish = PublishRequest::new(phf, Trust::Verified);
        publish.expire_at = Some(end);
        let urls = urls.iter().map(|url| UrlKey([*url; 32])).collect();
        Record::of(publish, "berlin", audience, urls, 0, 1000)
    }

    #[test]
    fn a_record_is_told_to_those_it_is_for() {
        let mut records = Records::new(10, 100_000);
        let group = Guid([7; 16]);
        let own = Audience::Group(group);
        assert!(records.publish(record(1, own, &[1], 100), 0));
        assert!(records.publish(record(2, HERE, &[1], 100), 0));
        let first = record(1, own, &[], 100).policy.content_id;
        let second = record(2, own, &[], 100).policy.content_id;
        let at = |audiences: &[Audience]| {
            let found = records.by_url(UrlKey([1; 32]), audiences, 0);
            found.map(|record| record.policy.content_id)
        };
        assert_eq!(at(&audiences(Some(group), Site::Inside)), Some(first));
        assert_eq!(at(&audiences(None, Site::Inside)), Some(second));
        assert_eq!(at(&audiences(Some(Guid([8; 16])), Site::Inside)), None);
        assert_eq!(at(&audiences(None, Site::Named(1))), None);
        assert!(records.by_id(first, &[HERE], 0).is_none());
        // What is verified is for all, and counts more.
        assert!(records.publish(record(3, Audience::All, &[1], 100), 0));
        let third = record(3, own, &[], 100).policy.content_id;
        let at = records.by_url(UrlKey([1; 32]), &audiences(Some(group), Site::Inside), 0);
        assert_eq!(at.map(|record| record.policy.content_id), Some(third));
    }

    #[test]
    fn a_url_leads_to_what_was_said_last() {
        let mut records = Records::new(10, 100_000);
        assert!(records.publish(record(1, Audience::All, &[1, 2], 100), 0));
        assert!(records.publish(record(2, Audience::All, &[1], 50), 0));
        let at = |records: &Records, url: u8, now| {
            let found = records.by_url(UrlKey([url; 32]), &[Audience::All], now);
            found.map(|record| record.policy.content_id)
        };
        let ids: Vec<ContentId> = [1, 2]
            .map(|number| record(number, HERE, &[], 1).policy.content_id)
            .into();
        assert_eq!(at(&records, 1, 0), Some(ids[1]));
        assert_eq!(at(&records, 2, 0), Some(ids[0]));
        assert_eq!(at(&records, 1, 50), None);
        records.expire(50);
        assert_eq!((records.len(), at(&records, 2, 50)), (1, Some(ids[0])));
        // Said again without a URL, it is found there no more.
        assert!(records.publish(record(1, Audience::All, &[1], 100), 0));
        assert_eq!(at(&records, 2, 0), None);
        records.expire(100);
        assert!(records.is_empty() && records.by_url.is_empty() && records.bytes == 0);
    }

    #[test]
    fn the_record_that_ends_first_makes_room() {
        let size = record(0, HERE, &[], 1).bytes();
        for (records_max, bytes_max) in [(3, 100_000), (100, 3 * size)] {
            let mut records = Records::new(records_max, bytes_max);
            for (number, end) in [(1, 300), (2, 100), (3, 200), (4, 400)] {
                assert!(records.publish(record(number, HERE, &[number], end), 0));
            }
            let there = |number: u8| {
                let id = record(number, HERE, &[], 1).policy.content_id;
                records.by_id(id, &[HERE], 0).is_some()
            };
            assert_eq!([1, 2, 3, 4].map(there), [true, false, true, true]);
            assert!(records.bytes <= bytes_max && records.ends.len() == 3);
        }
        assert!(!Records::new(10, size - 1).publish(record(1, HERE, &[], 100), 0));
    }

    #[test]
    fn nothing_is_kept_longer_than_such_things_are() {
        let phf = Phf::new(3, vec![[1; 32]]).expect("one piece");
        let mut publish = PublishRequest::new(phf, Trust::Attested);
        publish.expire_at = Some(5000);
        let record = Record::of(publish, "berlin", HERE, Vec::new(), 100, 1000);
        assert_eq!(record.policy.expire_at, 1100);
        assert_eq!(record.policy.attested_by.as_deref(), Some("berlin"));
    }
}
