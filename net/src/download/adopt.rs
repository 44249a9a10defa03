//! Pieces that an answer brings which came before anybody asked for them. The rule: they are claimed as one job of the
//! scheduler that has begun already, so that nobody asks for them again.

use super::job::Task;
use super::queue::want;
use super::{Inner, abandon, due};
use larder_content::span::piece_of;
use larder_content::{PieceId, Span};
use larder_proto::http::route::OwnedRoute;
use larder_proto::time::Time;
use larder_storage::record::Content;
use larder_storage::store::Claim;
use std::ops::Range;
use std::sync::Arc;

impl Inner {
    /// Claims `pieces`, as far as nobody has. Of these the ones within `wanted` are tried again where the answer breaks
    /// off; the first byte of `wanted` is due at `deadline`.
    pub(super) fn adopt(
        self: &Arc<Self>,
        content: &Arc<Content>,
        route: &Arc<OwnedRoute>,
        pieces: Range<u32>,
        wanted: Span,
        deadline: Time,
    ) -> Option<Task> {
        let first = piece_of(wanted.start);
        let mut wants = Vec::new();
        let mut refused = Vec::new();
        for piece in pieces {
            let id = PieceId {
                content: content.no,
                piece,
            };
            if let Claim::Owner(flight) = self.store.claim(id, content.piece_len(piece)) {
                let want = want(&flight, due(deadline, piece.saturating_sub(first)));
                let back = self.queue.lock().enter(&self.store, content, route, flight);
                if back.is_empty() {
                    wants.push(want);
                }
                refused.extend(back);
            }
        }
        let job = {
            let mut queue = self.queue.lock();
            let job = queue.scheduler.adopt(self.clock.now(), &wants);
            let wanted = wanted.pieces();
            for want in wants.iter().filter(|w| !wanted.contains(&w.id.piece)) {
                // What comes beyond what the client wants is taken as it comes, and not tried again.
                queue.scheduler.drop_want(want.id);
            }
            job
        };
        abandon(refused);
        let whence = (Arc::clone(content), Arc::clone(route), 0);
        Some(Task::new(Arc::clone(self), job?, whence))
    }
}
