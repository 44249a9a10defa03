//! How many contents each peer takes part in, as far as this coordinator was told: Redis has them by content. The rule:
//! what is not said again in time does not count.

use larder_content::ContentId;
use larder_proto::Time;
use larder_proto::tracker::Guid;
use larder_proto::tracker::member::Joining;
use larder_proto::tracker::state::{Limits, NoRoom};
use std::collections::HashMap;

/// Contents by peer, each with its end.
#[derive(Debug, Default)]
pub(super) struct Contents {
    by_peer: HashMap<Guid, HashMap<ContentId, Time>>,
    members: usize,
}

impl Contents {
    /// A peer takes part in a content, for the first time or again.
    pub(super) fn enter(
        &mut self,
        joining: &Joining,
        now: Time,
        limits: Limits,
    ) -> Result<(), NoRoom> {
        let most = usize::from(limits.contents_per_peer_max);
        let until = now + limits.peer_ttl;
        let contents = self.by_peer.entry(joining.member.peer_id).or_default();
        if let Some(end) = contents.get_mut(&joining.content) {
            *end = until;
            return Ok(());
        }
        if contents.len() >= most {
            let before = contents.len();
            contents.retain(|_, end| *end > now);
            self.members -= before - contents.len();
            if contents.len() >= most {
                return Err(NoRoom::Contents);
            }
        }
        if self.members >= limits.peers_max {
            if contents.is_empty() {
                self.by_peer.remove(&joining.member.peer_id);
            }
            return Err(NoRoom::Full);
        }
        contents.insert(joining.content, until);
        self.members += 1;
        Ok(())
    }

    /// It takes part no more.
    pub(super) fn left(&mut self, peer: Guid, content: ContentId) {
        if let Some(contents) = self.by_peer.get_mut(&peer) {
            self.members -= usize::from(contents.remove(&content).is_some());
            if contents.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
    }

    /// Forgets what has ended.
    pub(super) fn sweep(&mut self, now: Time) {
        let mut members = 0;
        self.by_peer.retain(|_, contents| {
            contents.retain(|_, end| *end > now);
            members += contents.len();
            !contents.is_empty()
        });
        self.members = members;
    }
}
