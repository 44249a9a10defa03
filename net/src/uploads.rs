//! What peers were sent of each content, and who takes something at present. The rule: shard threads count by themselves
//! and give it away when they are asked, as they do with clients; so what is told here is as old as the last time.

use larder_content::ContentNo;
use larder_proto::time::Time;
use larder_proto::tracker::message::PeerType;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;

/// Contents that are remembered; which of them makes room for another is left to chance.
const CONTENTS_MAX: usize = 16_384;

/// Contents that a shard thread tells apart between two times that it is asked.
pub(crate) const OF_A_SHARD_MAX: usize = 2048;

/// Bytes of one content that peers were sent since larder has started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Given {
    /// To peers on the same network.
    pub lan: u64,
    /// To peers of the same group, and over links.
    pub group: u64,
    /// To other peers.
    pub internet: u64,
}

impl Given {
    pub(crate) fn add(&mut self, kind: PeerType, bytes: u64) {
        let part = match kind {
            PeerType::Lan => &mut self.lan,
            PeerType::Group => &mut self.group,
            PeerType::Internet => &mut self.internet,
        };
        *part = part.saturating_add(bytes);
    }

    fn join(&mut self, other: Self) {
        self.lan = self.lan.saturating_add(other.lan);
        self.group = self.group.saturating_add(other.group);
        self.internet = self.internet.saturating_add(other.internet);
    }
}

/// A peer that is connected to us, which we send pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taker {
    /// Of which content.
    pub content: ContentNo,
    /// Where it is.
    pub address: IpAddr,
    /// How near it is.
    pub kind: PeerType,
    /// Since when.
    pub since: Time,
    /// Bytes that it was sent.
    pub bytes: u64,
    /// Bytes a second, of late.
    pub bytes_s: u64,
}

/// What one shard thread has noted since it was asked last.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    pub(crate) given: HashMap<ContentNo, Given>,
    pub(crate) takers: Vec<Taker>,
}

impl Noted {
    /// A peer was sent something of a content. Past so many contents it is counted in sum alone.
    pub(crate) fn gave(&mut self, content: ContentNo, kind: PeerType, bytes: u64) {
        if let Some(given) = self.given.get_mut(&content) {
            given.add(kind, bytes);
        } else if self.given.len() < OF_A_SHARD_MAX {
            self.given.entry(content).or_default().add(kind, bytes);
        }
    }
}

/// What all have noted.
#[derive(Debug, Default)]
pub struct Uploads(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    given: HashMap<ContentNo, Given>,
    takers: Vec<Taker>,
    files: u64,
}

impl Uploads {
    /// Takes over what the shard threads have noted, all of them.
    pub(crate) fn join(&self, noted: Vec<Noted>) {
        let mut all = self.0.lock();
        all.takers.clear();
        for Noted { given, takers } in noted {
            all.takers.extend(takers);
            for (content, more) in given {
                if !all.given.contains_key(&content) {
                    all.files += 1;
                    if all.given.len() >= CONTENTS_MAX
                        && let Some(one) = all.given.keys().next().copied()
                    {
                        all.given.remove(&one);
                    }
                }
                all.given.entry(content).or_default().join(more);
            }
        }
    }

    /// What peers were sent of a content.
    #[must_use]
    pub fn of(&self, content: ContentNo) -> Given {
        self.0
            .lock()
            .given
            .get(&content)
            .copied()
            .unwrap_or_default()
    }

    /// How many contents peers were sent something of.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.0.lock().files
    }

    /// Who takes something.
    #[must_use]
    pub fn takers(&self) -> Vec<Taker> {
        self.0.lock().takers.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shards_have_noted_adds_up_and_is_bounded() {
        let uploads = Uploads::default();
        let one = ContentNo::new(1);
        let mut noted = Noted::default();
        noted.gave(one, PeerType::Lan, 1);
        noted.gave(one, PeerType::Group, 2);
        let mut other = Noted::default();
        other.gave(one, PeerType::Internet, 4);
        other.gave(one, PeerType::Lan, 8);
        uploads.join(vec![noted, other]);
        let sum = Given {
            lan: 9,
            group: 2,
            internet: 4,
        };
        assert_eq!((uploads.of(one), uploads.files()), (sum, 1));
        let mut many = Noted::default();
        for no in 2..2 * OF_A_SHARD_MAX as u64 {
            many.gave(ContentNo::new(no), PeerType::Lan, 1);
        }
        assert_eq!(many.given.len(), OF_A_SHARD_MAX);
        for round in 0..20 {
            let mut many = Noted::default();
            for no in 0..OF_A_SHARD_MAX as u64 {
                many.gave(ContentNo::new(2 + round * 10_000 + no), PeerType::Lan, 1);
            }
            uploads.join(vec![many]);
        }
        assert_eq!(uploads.0.lock().given.len(), CONTENTS_MAX);
    }
}
