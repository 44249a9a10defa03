//! Waiting for a piece that is on its way in, off the shard threads. The rule: news between a look and the wait for more
//! is not lost; one waits at a time.

use larder_content::PieceId;
use larder_storage::driver::Token;
use larder_storage::flight::{Watch, Watcher};
use std::sync::Arc;
use tokio::sync::Notify;

/// Rings for the one who waits.
#[derive(Default)]
pub(crate) struct Bell(Notify);

impl Bell {
    /// Has it rung when a flight that is watched so comes on.
    pub(crate) fn watcher(self: &Arc<Self>) -> Watcher {
        Watcher {
            wake: Arc::clone(self) as Arc<dyn Watch>,
            token: Token(0),
        }
    }

    /// Waits until it rings; at once where it has rung since it was last waited for.
    pub(crate) async fn rung(&self) {
        self.0.notified().await;
    }
}

impl Watch for Bell {
    fn progress(&self, _: Token, _: PieceId) {
        self.0.notify_one();
    }
}
