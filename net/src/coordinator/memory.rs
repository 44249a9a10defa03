//! Peers and records in this process's memory: one coordinator alone. The rule: nothing is awaited and no lock is held
//! for longer than one event takes.

use super::backend::BackendError;
use larder_content::{ContentId, UrlKey};
use larder_proto::tracker::Guid;
use larder_proto::tracker::member::Joining;
use larder_proto::tracker::message::PeerAddress;
use larder_proto::tracker::records::{Audience, Record, Records};
use larder_proto::tracker::site::Site;
use larder_proto::tracker::state::{Limits, State};
use larder_proto::{Time, UnixSecs};
use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Members that are looked at by each turn of [`Memory::sweep`].
const SWEPT_AT_ONCE: usize = 4096;

/// What a coordinator keeps, in memory.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
    records: Mutex<Records>,
    /// What the next join's chance begins with.
    seed: AtomicU64,
}

impl Memory {
    /// Nothing yet.
    #[must_use]
    pub fn new(limits: Limits, records_max: usize, record_bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State::new(limits, random())),
            records: Mutex::new(Records::new(records_max, record_bytes_max)),
            seed: AtomicU64::new(random()),
        }
    }

    /// From now on these limits hold.
    pub fn limit(&self, limits: Limits) {
        self.state.lock().limit(limits);
    }

    /// A number by chance.
    pub(super) fn roll(&self) -> u64 {
        self.seed
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }

    /// Peers of all contents, and contents.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.members(), state.swarms())
    }

    /// How many contents something is known of.
    #[must_use]
    pub fn records(&self) -> usize {
        self.records.lock().len()
    }

    /// Lets go of a part of what is overdue; to be called every second or so, for when nobody joins.
    pub fn sweep(&self, now: Time, unix: UnixSecs) {
        self.state.lock().sweep_at(now, SWEPT_AT_ONCE);
        self.records.lock().expire(unix);
    }

    /// Takes a join.
    ///
    /// # Errors
    /// Where there is no room for the caller.
    pub fn join(&self, joining: &Joining, now: Time) -> Result<Vec<PeerAddress>, BackendError> {
        // Numbers that follow each other are as good as any: each is made into chance by itself.
        let seed = self.roll();
        Ok(self.state.lock().join(joining, now, seed)?)
    }

    /// Takes a leave.
    pub fn leave(&self, content: ContentId, peer: Guid, site: Site) -> bool {
        self.state.lock().leave(content, peer, site)
    }

    /// Takes a record.
    ///
    /// # Errors
    /// Where it alone is more than may be kept.
    pub fn publish(&self, record: Record, now: UnixSecs) -> Result<(), BackendError> {
        match self.records.lock().publish(record, now) {
            true => Ok(()),
            false => Err(BackendError::TooLarge),
        }
    }

    /// What is known of a content.
    #[must_use]
    pub fn by_id(&self, id: ContentId, to: &[Audience], now: UnixSecs) -> Option<Arc<Record>> {
        self.records.lock().by_id(id, to, now)
    }

    /// What is known of the content at a URL.
    #[must_use]
    pub fn by_url(&self, url: UrlKey, to: &[Audience], now: UnixSecs) -> Option<Arc<Record>> {
        self.records.lock().by_url(url, to, now)
    }
}

/// A number that nobody can foretell; where the system gives none, one that is as good as can be had.
fn random() -> u64 {
    let mut bytes = [0; 8];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        use std::hash::{BuildHasher, RandomState};
        return RandomState::new().hash_one(0);
    }
    u64::from_le_bytes(bytes)
}
