//! Files that their trusted hashes contradict though their origin sends the same bytes each time. The rule: such a file
//! is fetched once more under a name that no client can ask for, and only if it has the SHA-1 that its own URL names do
//! clients get it; meanwhile, and otherwise, no byte of it leaves that its hashes do not prove.
//!
//! It comes behind everything that somebody waits for, once for each content.

use super::queue::want;
use super::{Inner, abandon};
use crate::bell::Bell;
use larder_content::hash::of_piece;
use larder_content::neighbour::sha1_of;
use larder_content::{ContentNo, PieceId, UrlKey};
use larder_proto::fetch::Want;
use larder_proto::http::route::OwnedRoute;
use larder_storage::flight::{Flight, FlightState};
use larder_storage::record::Content;
use larder_storage::store::{Claim, Store, WholeFile};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Pieces that are asked for at a time.
const PIECES_AT_ONCE: usize = 16;

/// How long the SHA-1 is waited for when everything is there. Where pieces had to make room before they were read, it
/// never comes.
const JUDGED_WITHIN: Duration = Duration::from_secs(60);

/// The key under which a file is kept that is not to be found.
fn key_apart(key: &UrlKey) -> UrlKey {
    let mut name = b"apart from ".to_vec();
    name.extend_from_slice(&key.0);
    UrlKey(of_piece(&name))
}

/// Those of the contents that a process left which ended before it knew what they were.
pub(super) fn leftovers(contents: &[Arc<Content>]) -> HashSet<ContentNo> {
    let named = contents
        .iter()
        .filter(|content| sha1_of(&content.record().url).is_some());
    let apart: HashSet<UrlKey> = named.map(|content| key_apart(&content.key)).collect();
    let is_left = |content: &&Arc<Content>| match content.names()[..] {
        [key] => apart.contains(&key),
        _ => false,
    };
    contents.iter().filter(is_left).map(|c| c.no).collect()
}

impl Inner {
    /// Has a file's own name judge it.
    pub(super) fn appeal(self: &Arc<Self>, content: &Arc<Content>, route: &Arc<OwnedRoute>) {
        if !self.proving.may_appeal(content.no) {
            return;
        }
        let (inner, content, route) = (Arc::clone(self), Arc::clone(content), Arc::clone(route));
        self.runtime.spawn(async move {
            let url = &content.record().url;
            tracing::warn!(%url, "a trusted piece-hash file contradicts what the origin sends again and again; the whole file is fetched for its SHA-1 to decide");
            let apart = Store::prepare(key_apart(&content.key), content.snapshot());
            match inner.hear(&apart, &route).await {
                Some(WholeFile::Verified) => {
                    tracing::warn!(%url, "the file has the SHA-1 that its URL names; it is served");
                    inner.uphold(&content, &apart).await;
                }
                outcome => {
                    if outcome.is_none() {
                        inner.proving.may_appeal_again(content.no);
                    }
                    tracing::warn!(%url, ?outcome, "the file is not known to have the SHA-1 that its URL names; it is not served");
                    inner.proving.let_go(apart.no);
                    inner.forget(&apart);
                }
            }
        });
    }

    /// Brings all of a file in, and says what its SHA-1 is. None: it was not to be had.
    async fn hear(
        self: &Arc<Self>,
        apart: &Arc<Content>,
        route: &Arc<OwnedRoute>,
    ) -> Option<WholeFile> {
        let told = self.proving.judge_by_name(apart.no);
        self.store.publish(apart);
        let all: Vec<u32> = (0..apart.pieces()).collect();
        for some in all.chunks(PIECES_AT_ONCE) {
            let flights: Vec<_> = some
                .iter()
                .filter_map(|piece| self.ask_behind(apart, route, *piece))
                .collect();
            self.work.notify_one();
            for flight in flights {
                if !is_whole(&flight).await {
                    return None;
                }
            }
        }
        tokio::time::timeout(JUDGED_WITHIN, told).await.ok()?.ok()
    }

    /// Wants a piece that no client waits for.
    fn ask_behind(
        &self,
        content: &Arc<Content>,
        route: &Arc<OwnedRoute>,
        piece: u32,
    ) -> Option<Arc<Flight>> {
        let id = PieceId {
            content: content.no,
            piece,
        };
        let flight = match self.store.claim(id, content.piece_len(piece)) {
            Claim::Stored => return None,
            Claim::Waiter(flight) => return Some(flight),
            Claim::Owner(flight) => flight,
        };
        let want = Want {
            background: true,
            ..want(&flight, self.clock.now())
        };
        let refused = {
            let mut queue = self.queue.lock();
            let refused = queue.enter(&self.store, content, route, Arc::clone(&flight));
            if refused.is_empty() {
                queue.scheduler.want(want);
            }
            refused
        };
        abandon(refused);
        Some(flight)
    }

    /// Clients get the file that was kept apart, under all names of the one that was refused. Its piece-hash file is
    /// looked at once more: it was right where only some of the origin's answers were wrong.
    async fn uphold(self: &Arc<Self>, refused: &Arc<Content>, apart: &Arc<Content>) {
        if self.store.by_no(refused.no).is_none() {
            // Another version has its names by now, or somebody has purged it.
            self.proving.let_go(apart.no);
            self.forget(apart);
            return;
        }
        for key in refused.names() {
            self.store.alias(key, apart);
        }
        let given_up = self.queue.lock().superseded(refused.no);
        abandon(given_up);
        self.proving.let_go(apart.no);
        self.meet(apart).await;
    }
}

/// Waits until a flight is over.
async fn is_whole(flight: &Flight) -> bool {
    let bell = Arc::new(Bell::default());
    loop {
        match flight.watch(bell.watcher()).state {
            FlightState::Whole => return true,
            FlightState::Failed(_) => return false,
            FlightState::Waiting | FlightState::Filling => bell.rung().await,
        }
    }
}
