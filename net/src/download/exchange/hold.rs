//! How far a large body may come in ahead of the one client it comes for. The rule: a client that is slow or leaves does
//! not bring the whole of a large object over the line; whoever else waits for it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How often it is looked whether anybody else waits by now.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Shared {
    /// Bytes that the client has taken; all where it is gone.
    taken: AtomicU64,
    moved: Notify,
}

/// The client's end.
pub(crate) struct Hold(Arc<Shared>);

/// The end of the one who takes the body in.
pub(in crate::download) struct Held(Arc<Shared>);

/// Both ends.
pub(super) fn hold() -> (Hold, Held) {
    let shared = Arc::new(Shared::default());
    (Hold(Arc::clone(&shared)), Held(shared))
}

impl Hold {
    /// The client has taken this many more bytes.
    pub(crate) fn took(&self, bytes: u64) {
        self.0.taken.fetch_add(bytes, Ordering::Relaxed);
        self.0.moved.notify_one();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.taken.store(u64::MAX, Ordering::Relaxed);
        self.0.moved.notify_one();
    }
}

impl Held {
    /// Waits until the bytes at `at` are wanted: by the client, of which it is at most `ahead` bytes in front, or by
    /// others. False: the client is gone, and nobody waits.
    pub(in crate::download) async fn wanted(
        &self,
        at: u64,
        ahead: u64,
        others: impl Fn() -> bool,
    ) -> bool {
        loop {
            let taken = self.0.taken.load(Ordering::Relaxed);
            let gone = taken == u64::MAX;
            if (!gone && at < taken.saturating_add(ahead)) || others() {
                return true;
            }
            if gone {
                return false;
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, self.0.moved.notified()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_comes_as_far_as_somebody_takes_it() {
        let (hold, held) = hold();
        assert!(held.wanted(9, 10, || false).await);
        let waits = held.wanted(10, 10, || false);
        tokio::pin!(waits);
        assert!(futures_poll(&mut waits).await.is_none());
        assert!(held.wanted(10, 10, || true).await);
        hold.took(1);
        assert!(waits.await);
        drop(hold);
        assert!(!held.wanted(0, 10, || false).await);
        assert!(held.wanted(0, 10, || true).await);
    }

    /// One look at a future.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
                std::task::Poll::Ready(value) => Some(value),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
