//! Pieces that peers bring. The rule: a piece is a job of the scheduler from the moment a peer is asked for it until it
//! is kept or free for others again, and only bytes that were proved come into its flight.

use super::queue::Standing;
use super::sources::Way;
use super::{Inner, abandon};
use crate::ask::FetchAsk;
use larder_content::{ContentNo, PieceId};
use larder_proto::fetch::{Failure, Job};
use larder_proto::time::Time;
use larder_storage::flight::{Flight, FlightError, FlightState, HOLD_ALL};
use larder_storage::ram_tier::FrameWriter;
use larder_storage::record::Content;
use larder_storage::store::Claim;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// When a piece is due that an appliance at the other end of a link asks for: as one for a client that has just come.
const FOR_LINKS_WITHIN: Duration = Duration::from_secs(15);

/// A piece that peers are asked for. Dropped, it is free for others.
pub(crate) struct PeerJob {
    inner: Arc<Inner>,
    content: Arc<Content>,
    job: Job,
    id: PieceId,
}

impl Inner {
    /// From now on `bell` rings when something changes about the pieces of a content; all that is wanted of it is news
    /// at first.
    pub(crate) fn watch(&self, content: ContentNo, bell: &Arc<Notify>) {
        self.queue.lock().watch(content, bell);
    }

    /// The end of that.
    pub(crate) fn unwatch(&self, content: ContentNo) {
        self.queue.lock().unwatch(content);
    }

    /// What has changed about the pieces of a content that is watched.
    pub(crate) fn news(&self, content: ContentNo) -> Vec<(u32, Standing)> {
        self.queue.lock().news(content)
    }

    /// These pieces are news once more.
    pub(crate) fn look_again(&self, content: ContentNo, pieces: BTreeSet<u32>) {
        self.queue.lock().look_again(content, pieces);
    }

    /// Leaves a piece to the peers until then.
    pub(crate) fn hold_http(&self, content: ContentNo, piece: u32, until: Time) {
        let id = PieceId { content, piece };
        self.queue.lock().scheduler.hold_http(id, until);
        self.work.notify_one();
    }

    /// These pieces are not left to peers any more.
    pub(crate) fn let_go(&self, content: ContentNo, pieces: &[u32]) {
        let mut queue = self.queue.lock();
        for piece in pieces {
            let id = PieceId {
                content,
                piece: *piece,
            };
            queue.scheduler.hold_http(id, Time::default());
        }
        drop(queue);
        if !pieces.is_empty() {
            self.work.notify_one();
        }
    }

    /// Takes a piece for peers. None where it is not wanted any more, or somebody else brings it.
    pub(crate) fn take_for_peer(
        self: &Arc<Self>,
        content: &Arc<Content>,
        piece: u32,
    ) -> Option<PeerJob> {
        let id = PieceId {
            content: content.no,
            piece,
        };
        let job = {
            let mut queue = self.queue.lock();
            queue.scheduler.take_for_peer(self.clock.now(), id)?
        };
        Some(PeerJob {
            inner: Arc::clone(self),
            content: Arc::clone(content),
            job,
            id,
        })
    }

    /// An appliance at the other end of a link, which would otherwise ask the origin itself, asks for a piece to be brought
    /// in. Done only where clients of this one are getting the same content: nobody makes it fetch what nobody here wants.
    pub(super) fn wanted_by_link(&self, content: &Arc<Content>, piece: u32) {
        let route = {
            let queue = self.queue.lock();
            let source = queue.source(content.no).map(|source| &source.route);
            source.map(Arc::clone)
        };
        let Some(route) = route.filter(|_| piece < content.pieces()) else {
            return;
        };
        let id = PieceId {
            content: content.no,
            piece,
        };
        if let Claim::Owner(flight) = self.store.claim(id, content.piece_len(piece)) {
            self.fetch(FetchAsk {
                content: Arc::clone(content),
                route,
                flights: vec![flight],
                deadline: self.clock.now() + FOR_LINKS_WITHIN,
                spare_until: None,
            });
        }
        // Whoever brings it is at it: they need not ask the origin as well.
        self.store.tell_coming(id);
    }

    /// Nobody is left to wait for: the origin may be asked for everything of a content at once.
    pub(crate) fn release_http(&self, content: ContentNo) {
        self.queue.lock().scheduler.release_http(content);
        self.work.notify_one();
    }
}

impl PeerJob {
    /// Bytes of it have come.
    pub(crate) fn received(&self, bytes: u32) {
        let now = self.inner.clock.now();
        let mut queue = self.inner.queue.lock();
        queue.scheduler.received(now, &self.job, u64::from(bytes));
    }

    /// It is whole, and has the hash that it must have. `shares`: who brought how many of its bytes. False where it can
    /// not be used any more.
    pub(crate) fn landed(
        self,
        writer: FrameWriter,
        hash: &[u8; 32],
        shares: &[(Way, u32)],
    ) -> bool {
        let inner = &self.inner;
        let flight = inner.queue.lock().flight(self.id);
        let Some(flight) = flight else {
            return false;
        };
        if !fill(&flight, writer) {
            return false;
        }
        inner.store.saw(self.id, hash);
        let owned = inner.queue.lock().landed(self.id);
        let kept = owned.is_some_and(super::owned::Owned::keep);
        if kept {
            for (way, bytes) in shares {
                inner.came(self.id.content, *way, *bytes);
            }
            inner.proving.landed(&self.content);
        }
        inner.work.notify_one();
        kept
    }
}

impl Drop for PeerJob {
    /// Without effect where it has landed.
    fn drop(&mut self) {
        let now = self.inner.clock.now();
        let given_up =
            self.inner
                .queue
                .lock()
                .failed(now, &self.job, Failure::Broken, FlightError::Origin);
        abandon(given_up);
        self.inner.work.notify_one();
    }
}

/// Puts proved bytes into a flight. Of one that an origin began the bytes that nobody has seen are replaced, and those
/// that somebody has must be the same.
fn fill(flight: &Flight, writer: FrameWriter) -> bool {
    let proved = Arc::clone(writer.frame());
    if flight.state() == FlightState::Waiting {
        flight.hold_back(HOLD_ALL);
    } else {
        // Without effect where somebody has seen some of them.
        flight.restart();
    }
    if flight.start(writer) {
        return true;
    }
    let Some(shown) = flight.frame() else {
        return false;
    };
    let count = shown.filled() as usize;
    let bytes = proved.bytes();
    if shown.bytes().get(..count) != bytes.get(..count) {
        return false;
    }
    let rest = bytes.get(count..).unwrap_or_default();
    flight.append(rest) == rest.len()
}
