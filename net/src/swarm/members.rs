//! Telling the coordinator what is here and what is wanted. The rule: what somebody waits for is told at once, everything
//! else at a bounded rate; and who does not answer is asked less and less often.

mod roll;

use super::Shared;
use crate::coordinator::ClientError;
use larder_content::{ContentId, ContentNo};
use larder_proto::policy::{Coordinator, PeerType, may_upload, mode};
use larder_proto::time::Time;
use larder_proto::tracker::guid::Guid;
use larder_proto::tracker::message::{JoinAnswer, JoinRequest, LeaveRequest};
use larder_storage::record::Content;
use parking_lot::Mutex;
use roll::{Due, Roll};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// Peers that a content in demand asks for.
const PEERS_WANTED: u16 = 30;

/// The coordinator may ask for no more than this.
const NEXT_JOIN_MIN: Duration = Duration::from_secs(5);
const NEXT_JOIN_MAX: Duration = Duration::from_secs(60 * 60);

/// How often it is looked at though nothing happens.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What a content in demand has asked for and not got, it asks for again this soon.
const NOBODY_AGAIN: Duration = Duration::from_secs(10);

/// See the file's head.
#[derive(Default)]
pub(super) struct Members {
    roll: Mutex<Roll>,
    work: Notify,
}

impl Members {
    /// Somebody waits for pieces of a content: others who have it are wanted, at once.
    pub(super) fn wants_peers(&self, no: ContentNo, id: ContentId, now: Time) {
        self.roll.lock().want(no, id, now);
        self.work.notify_one();
    }

    /// Nobody waits for it any more.
    pub(super) fn wants_no_peers(&self, no: ContentNo) {
        self.roll.lock().want_no_more(no);
    }

    /// Something of a content is here, and others may have it.
    pub(super) fn holds(&self, no: ContentNo, id: ContentId, is_whole: bool, now: Time) {
        if self.roll.lock().hold(no, id, is_whole, now) {
            self.work.notify_one();
        }
    }

    /// Whether a content is offered already.
    pub(super) fn is_held(&self, no: ContentNo) -> bool {
        self.roll.lock().is_held(no)
    }

    /// Those that are offered or wanted.
    pub(super) fn all(&self) -> Vec<ContentNo> {
        self.roll.lock().all()
    }

    /// Nothing of it is here any more. Its id, where the coordinator believes otherwise.
    pub(super) fn lost(&self, no: ContentNo) -> Option<ContentId> {
        self.roll.lock().remove(no)
    }
}

/// Joins what is due, as long as the swarm side lives.
pub(super) async fn work(shared: Weak<Shared>) {
    loop {
        let pause = {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let now = shared.clock.now();
            let due = shared.members.roll.lock().due(now);
            for due in due {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { shared.join(due).await });
            }
            let wake = shared.members.roll.lock().next_wake(now);
            wake.map_or(LOOK_AGAIN, |at| at.since(now)).min(LOOK_AGAIN)
        };
        let Some(shared) = shared.upgrade() else {
            return;
        };
        // Held only as long as this waits: a bounded time.
        let work = shared.members.work.notified();
        let _ = tokio::time::timeout(pause.max(Duration::from_millis(5)), work).await;
    }
}

/// Has it looked again at what is due, when this one is done.
struct Rings<'m>(&'m Notify);

impl Drop for Rings<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Shared {
    async fn join(self: &Arc<Self>, due: Due) {
        let content = self.store.by_no(due.no);
        let uses_it = mode::uses_coordinator(self.settings.load().policies.mode);
        let (Some(content), true) = (content, uses_it) else {
            self.members.roll.lock().remove(due.no);
            return;
        };
        let request = self.join_request(&content, &due);
        let _rings = Rings(&self.members.work);
        let answer = self.coordinator.join(&request).await;
        self.heard(&answer);
        let now = self.clock.now();
        match answer {
            Ok(answer) => self.joined(&due, answer, now),
            Err(error) => {
                tracing::debug!(content = %due.id, %error, "joining a swarm failed");
                let pause = match error {
                    ClientError::Busy { retry_secs, .. } => Some(Duration::from_secs(retry_secs)),
                    _ => None,
                };
                self.members.roll.lock().failed(due.no, pause, now);
                let party = self.parties.lock().get(&due.no).cloned();
                if let Some(party) = party.filter(|_| due.wants_peers) {
                    party.meets(Vec::new());
                }
            }
        }
    }

    fn joined(&self, due: &Due, answer: JoinAnswer, now: Time) {
        self.seen_at(answer.external_ip_address.to_canonical());
        let next = Duration::from_secs(u64::from(answer.next_join_secs));
        let mut next = next.clamp(NEXT_JOIN_MIN, NEXT_JOIN_MAX);
        if due.wants_peers {
            let party = self.parties.lock().get(&due.no).cloned();
            if let Some(party) = party {
                if answer.peers.is_empty() {
                    next = next.min(NOBODY_AGAIN);
                }
                party.meets(answer.peers);
            }
        }
        self.members.roll.lock().joined(due.no, next, now);
    }

    fn join_request(&self, content: &Content, due: &Due) -> JoinRequest {
        let settings = self.settings.load();
        let policies = &settings.policies;
        let place = self.place.load();
        let me = Guid(self.me.0);
        let mut request = JoinRequest::new(due.id, me, self.port, policies.mode);
        request.reported_ip.clone_from(&place.addresses);
        request.subnet_mask = place.subnet_mask;
        request.restrict_peer_selection_by = u8::from(mode::same_subnet_only(policies));
        request.group_id = place.group;
        request.external_port = place.external_port;
        request.preferred = policies.is_preferred();
        let taken = self.taken(content.length());
        request.restricted_upload =
            may_upload(policies, &place.facts, taken, PeerType::Lan).is_err();
        request.join_request_event = due.event;
        if due.wants_peers {
            request.peers_wanted = PEERS_WANTED;
            let party = self.parties.lock().get(&due.no).cloned();
            request.unreachable = party.map_or_else(Vec::new, |party| party.unreachable());
        }
        if let Some(download) = self.download.upgrade() {
            let sources = download.sources_of(content.no);
            request.downloaded = sources.peers();
            request.downloaded_cdn = sources.http + sources.cache_server;
        }
        let here = self.store.pieces_of(content);
        let bytes = here
            .iter()
            .map(|piece| u64::from(content.piece_len(*piece)));
        request.left = Some(content.length().saturating_sub(bytes.sum()));
        request
    }

    /// Tells the coordinator that a content is not here any more.
    pub(super) async fn leave(&self, id: ContentId) {
        let place = self.place.load();
        let request = LeaveRequest {
            content_id: id,
            peer_id: Guid(self.me.0),
            reported_ip: place.addresses.clone(),
            group_id: place.group,
        };
        if self.coordinator_now() != Coordinator::Unreachable {
            let answer = self.coordinator.leave(&request).await;
            self.heard(&answer);
        }
    }

    /// Leaves the swarms that are of interest to others now. The rest is forgotten by itself.
    pub(super) async fn leave_all(&self) {
        let wanted = self.members.roll.lock().wanted();
        for id in wanted {
            self.leave(id).await;
        }
    }
}
