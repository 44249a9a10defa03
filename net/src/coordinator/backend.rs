//! Where a coordinator keeps peers and records. The rule: whoever asks need not know which place it is; what both do is
//! tested by the same tests.

use super::memory::Memory;
use super::redis::Redis;
use larder_content::{ContentId, UrlKey};
use larder_proto::tracker::Guid;
use larder_proto::tracker::member::Joining;
use larder_proto::tracker::message::PeerAddress;
use larder_proto::tracker::records::{Audience, Record};
use larder_proto::tracker::site::Site;
use larder_proto::tracker::state::{Limits, NoRoom};
use larder_proto::{Time, UnixSecs};
use std::sync::Arc;

/// Why something could not be kept or looked up.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// There is no room for the peer.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The record alone is more than may be kept.
    #[error("this content has too many pieces for this coordinator")]
    TooLarge,
    /// The place is away.
    #[error("what this coordinator keeps is out of reach: {0}")]
    Away(String),
}

/// Where it is kept.
#[derive(Debug)]
pub enum Backend {
    /// In this process.
    Memory(Box<Memory>),
    /// In a Redis Cluster, with this process's memory for when it is away.
    Redis(Box<Redis>),
}

impl Backend {
    pub(super) async fn join(
        &self,
        joining: &Joining,
        now: Time,
    ) -> Result<Vec<PeerAddress>, BackendError> {
        match self {
            Self::Memory(memory) => memory.join(joining, now),
            Self::Redis(redis) => redis.join(joining, now).await,
        }
    }

    pub(super) async fn leave(
        &self,
        content: ContentId,
        peer: Guid,
        site: Site,
        now: Time,
    ) -> Result<(), BackendError> {
        match self {
            Self::Memory(memory) => {
                memory.leave(content, peer, site);
                Ok(())
            }
            Self::Redis(redis) => redis.leave(content, peer, site, now).await,
        }
    }

    pub(super) async fn publish(
        &self,
        record: Record,
        now: UnixSecs,
        at: Time,
    ) -> Result<(), BackendError> {
        match self {
            Self::Memory(memory) => memory.publish(record, now),
            Self::Redis(redis) => redis.publish(record, now, at).await,
        }
    }

    pub(super) async fn by_id(
        &self,
        id: ContentId,
        to: &[Audience],
        now: UnixSecs,
        at: Time,
    ) -> Result<Option<Arc<Record>>, BackendError> {
        match self {
            Self::Memory(memory) => Ok(memory.by_id(id, to, now)),
            Self::Redis(redis) => redis.by_id(id, to, now, at).await,
        }
    }

    pub(super) async fn by_url(
        &self,
        url: UrlKey,
        to: &[Audience],
        now: UnixSecs,
        at: Time,
    ) -> Result<Option<Arc<Record>>, BackendError> {
        match self {
            Self::Memory(memory) => Ok(memory.by_url(url, to, now)),
            Self::Redis(redis) => redis.by_url(url, to, now, at).await,
        }
    }

    pub(super) fn limit(&self, limits: Limits) {
        match self {
            Self::Memory(memory) => memory.limit(limits),
            Self::Redis(redis) => redis.limit(limits),
        }
    }

    pub(super) fn sweep(&self, now: Time, unix: UnixSecs) {
        match self {
            Self::Memory(memory) => memory.sweep(now, unix),
            Self::Redis(redis) => {
                redis.sweep(now);
                redis.near.sweep(now, unix);
            }
        }
    }

    /// Peers, contents and records that this process keeps.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let memory = match self {
            Self::Memory(memory) => memory.as_ref(),
            Self::Redis(redis) => &redis.near,
        };
        let (peers, contents) = memory.counts();
        (peers, contents, memory.records())
    }
}
