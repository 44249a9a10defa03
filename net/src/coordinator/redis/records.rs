//! Records in Redis. The rule: a record is one value that expires with it; what its URLs lead to is believed only where
//! the record still names them.

use super::{Redis, prefix};
use crate::coordinator::backend::BackendError;
use larder_content::{ContentId, UrlKey};
use larder_proto::tracker::message::ContentPolicy;
use larder_proto::tracker::records::{Audience, Record};
use larder_proto::{Time, UnixSecs};
use redis::cmd;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// All records by their end: `<content id>|<audience>`.
const ALL: &str = "larder:{records}";

/// A record as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The canonical names of its URLs.
    urls: Vec<String>,
    policy: ContentPolicy,
}

fn key(content: &str, audience: &str) -> String {
    format!("larder:{{{content}}}:c:{audience}")
}

fn url_key(url: UrlKey, audience: Audience) -> String {
    format!("larder:{{u{url}}}:{}", audience.text())
}

impl Redis {
    /// Takes a record. While Redis is away its publisher is to come again, so that no coordinator knows more than
    /// another.
    pub(in crate::coordinator) async fn publish(
        &self,
        record: Record,
        now: UnixSecs,
        at: Time,
    ) -> Result<(), BackendError> {
        let content = record.policy.content_id;
        let audience = record.audience.text();
        let lifetime = record.policy.expire_at.saturating_sub(now).max(1);
        let kept = Kept {
            urls: record.urls.iter().map(ToString::to_string).collect(),
            policy: record.policy.clone(),
        };
        // What it holds has no maps with keys that JSON could not write.
        let text = serde_json::to_vec(&kept).unwrap_or_default();
        let mut set = cmd("SET");
        set.arg(key(&content.to_string(), &audience))
            .arg(text)
            .arg("EX")
            .arg(lifetime);
        let () = self.cluster.query(&set, at).await?;
        for url in &record.urls {
            let mut set = cmd("SET");
            set.arg(url_key(*url, record.audience))
                .arg(content.to_string())
                .arg("EX")
                .arg(lifetime);
            let () = self.cluster.query(&set, at).await?;
        }
        let mut add = cmd("ZADD");
        add.arg(ALL)
            .arg(record.policy.expire_at)
            .arg(format!("{content}|{audience}"));
        let _: i64 = self.cluster.query(&add, at).await?;
        self.trim(now, at).await?;
        // What is known of it when Redis is away.
        let _ = self.near.publish(record, now);
        Ok(())
    }

    /// Lets the records that end first make room for more.
    async fn trim(&self, now: UnixSecs, at: Time) -> Result<(), BackendError> {
        let mut ended = cmd("ZREMRANGEBYSCORE");
        ended.arg(ALL).arg("-inf").arg(now);
        let _: i64 = self.cluster.query(&ended, at).await?;
        let count: usize = self.cluster.query(cmd("ZCARD").arg(ALL), at).await?;
        let over = count.saturating_sub(self.records_max);
        if over == 0 {
            return Ok(());
        }
        let first: Vec<(String, f64)> = self
            .cluster
            .query(cmd("ZPOPMIN").arg(ALL).arg(over), at)
            .await?;
        for (name, _) in first {
            let Some((content, audience)) = name.split_once('|') else {
                continue;
            };
            let mut delete = cmd("DEL");
            delete.arg(key(content, audience));
            let _: i64 = self.cluster.query(&delete, at).await?;
        }
        Ok(())
    }

    /// What is known of a content to somebody of these audiences.
    pub(in crate::coordinator) async fn by_id(
        &self,
        id: ContentId,
        to: &[Audience],
        now: UnixSecs,
        at: Time,
    ) -> Result<Option<Arc<Record>>, BackendError> {
        match self.read(id, to, now, at).await {
            Err(BackendError::Away(why)) => {
                self.goes_on_near(&why);
                Ok(self.near.by_id(id, to, now))
            }
            Ok(found) => {
                let record = found.map(|(record, _)| record);
                if let Some(record) = &record {
                    let _ = self.near.publish(Record::clone(record), now);
                }
                Ok(record)
            }
            Err(error) => Err(error),
        }
    }

    /// The same for the content at a URL.
    pub(in crate::coordinator) async fn by_url(
        &self,
        url: UrlKey,
        to: &[Audience],
        now: UnixSecs,
        at: Time,
    ) -> Result<Option<Arc<Record>>, BackendError> {
        match self.read_url(url, to, now, at).await {
            Err(BackendError::Away(why)) => {
                self.goes_on_near(&why);
                Ok(self.near.by_url(url, to, now))
            }
            done => done,
        }
    }

    async fn read_url(
        &self,
        url: UrlKey,
        to: &[Audience],
        now: UnixSecs,
        at: Time,
    ) -> Result<Option<Arc<Record>>, BackendError> {
        let mut get = cmd("MGET");
        for audience in to {
            get.arg(url_key(url, *audience));
        }
        let contents: Vec<Option<String>> = self.cluster.query(&get, at).await?;
        for (audience, content) in to.iter().zip(contents) {
            let Some(id) = content.and_then(|text| text.parse::<ContentId>().ok()) else {
                continue;
            };
            if let Some((record, urls)) = self.read(id, &[*audience], now, at).await?
                && urls.contains(&url.to_string())
            {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    async fn read(
        &self,
        id: ContentId,
        to: &[Audience],
        now: UnixSecs,
        at: Time,
    ) -> Result<Option<(Arc<Record>, Vec<String>)>, BackendError> {
        let mut get = cmd("MGET");
        for audience in to {
            get.arg(format!("{}:c:{}", prefix(id), audience.text()));
        }
        let texts: Vec<Option<Vec<u8>>> = self.cluster.query(&get, at).await?;
        for (audience, text) in to.iter().zip(texts) {
            let Some(kept) = text.and_then(|text| serde_json::from_slice::<Kept>(&text).ok())
            else {
                continue;
            };
            if kept.policy.content_id != id || kept.policy.expire_at <= now {
                continue;
            }
            let record = Record {
                audience: *audience,
                urls: Vec::new(),
                policy: kept.policy,
            };
            return Ok(Some((Arc::new(record), kept.urls)));
        }
        Ok(None)
    }
}
