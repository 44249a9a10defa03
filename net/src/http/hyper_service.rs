//! What shard threads do not serve: other methods, several ranges, requests with rules of their own for caches, answers
//! that cannot be stored. The rule: a connection that was handed over stays here to its end, and whatever is stored is
//! served from the store as a shard would.
//!
//! `talk` takes a connection's requests one by one, `stored` answers from the store, `general` is the cache of what is
//! not immutable, `through` passes on what the store can not hold; a request with a body ends its connection and goes through `with_body`, by hyper.

mod general;
mod holding;
mod interim;
mod options;
mod stored;
mod talk;
#[cfg(test)]
mod tests;
mod through;
mod with_body;

use crate::download::Download;
use crate::http::client_io::ClientIo;
use crate::http::handoff::{HandedOver, TakeOver};
use crate::metrics::Figures;
use crate::origin::BoxError;
use crate::settings::Settings;
use arc_swap::ArcSwap;
use larder_content::ContentNo;
use larder_proto::answer::CacheStatus;
use larder_proto::http::conn::Taking;
use larder_proto::http::room::Room;
use metrics::Counter;
use parking_lot::Mutex;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The service; clones share it.
#[derive(Clone)]
pub struct HyperService(Arc<Inner>);

struct Inner {
    download: Download,
    settings: Arc<ArcSwap<Settings>>,
    figures: Arc<Figures>,
    runtime: Handle,
    /// Requests come by TLS.
    https: bool,
    /// Requests that were answered, by whom.
    served: Counter,
    /// For what was received and is not answered.
    room: Mutex<Room>,
    /// How many connections there are.
    open: watch::Sender<usize>,
    taking: watch::Sender<Taking>,
}

impl HyperService {
    /// A service on the present tokio runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(
        download: Download,
        settings: Arc<ArcSwap<Settings>>,
        figures: Arc<Figures>,
    ) -> Self {
        Self(Arc::new(Inner {
            served: figures.requests_handed_over.clone(),
            download,
            settings,
            figures,
            runtime: Handle::current(),
            https: false,
            room: holding::room(),
            open: watch::Sender::new(0),
            taking: watch::Sender::new(Taking::All),
        }))
    }

    /// The same service for connections that come by TLS; they are counted and drained by themselves.
    pub(super) fn by_tls(&self) -> Self {
        let inner = &self.0;
        Self(Arc::new(Inner {
            download: inner.download.clone(),
            settings: Arc::clone(&inner.settings),
            figures: Arc::clone(&inner.figures),
            runtime: inner.runtime.clone(),
            https: true,
            room: holding::room(),
            served: inner.figures.requests_by_tls.clone(),
            open: watch::Sender::new(0),
            taking: watch::Sender::new(Taking::All),
        }))
    }

    /// Serves a connection to its end, on whatever runtime this is.
    pub(super) async fn serve(&self, socket: Box<dyn ClientIo>) {
        let open = Open::new(Arc::clone(&self.0));
        told(talk::talk(&open.0, socket, Vec::new()).await);
    }

    /// What is counted.
    pub(super) fn figures(&self) -> &Figures {
        &self.0.figures
    }

    /// A client that came to no terms by TLS is noted.
    pub(super) fn note_no_tls(&self, from: Option<IpAddr>) {
        let now = self.0.download.clock().now();
        let clients = &self.0.figures.clients;
        clients.met(from, now, |client| client.tls_failed += 1);
    }

    /// The settings in force.
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.0.settings.load_full()
    }

    /// Says `Connection: close` on every answer from now on. What is idle stays open: the next request may be on its way.
    pub fn last_answers(&self) {
        self.0
            .taking
            .send_modify(|taking| *taking = (*taking).max(Taking::Last));
    }

    /// Takes no further request.
    pub(super) fn stop_taking(&self) {
        self.0.taking.send_replace(Taking::None);
    }

    /// How many connections there are.
    #[must_use]
    pub fn open(&self) -> usize {
        *self.0.open.borrow()
    }

    /// Takes no further request and waits until those at hand are answered, at most `cut_after`. Says whether they are.
    pub async fn drain(&self, cut_after: Duration) -> bool {
        self.stop_taking();
        let mut open = self.0.open.subscribe();
        let none_left = open.wait_for(|count| *count == 0);
        tokio::time::timeout(cut_after, none_left).await.is_ok()
    }
}

impl fmt::Debug for HyperService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperService")
            .field("open", &*self.0.open.borrow())
            .finish_non_exhaustive()
    }
}

impl TakeOver for HyperService {
    fn take_over(&self, connection: HandedOver) {
        let open = Open::new(Arc::clone(&self.0));
        self.0.runtime.spawn(async move {
            told(take(&open.0, connection).await);
        });
    }
}

/// A client that leaves is no news, and what is wrong with an origin was answered.
fn told(ended: Result<(), BoxError>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn take(inner: &Arc<Inner>, connection: HandedOver) -> Result<(), BoxError> {
    let socket = std::net::TcpStream::from(connection.socket);
    let socket = TcpStream::from_std(socket)?;
    // It is counted until it is over.
    let _seat = connection.seat;
    talk::talk(inner, Box::new(socket), connection.received).await
}

/// One connection among those that are counted.
struct Open(Arc<Inner>);

impl Open {
    fn new(inner: Arc<Inner>) -> Self {
        inner.open.send_modify(|count| *count += 1);
        inner.figures.connections.increment(1.0);
        Self(inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|count| *count -= 1);
        self.0.figures.connections.decrement(1.0);
    }
}

/// What was answered, and to whom.
#[derive(Debug, Default)]
struct Said {
    to: Option<IpAddr>,
    status: Option<(u16, Option<CacheStatus>)>,
    /// The host that was asked for, where it is known and the answer is an error that clients leave for.
    host: Option<String>,
    /// What was sent is of this content.
    sends: Option<ContentNo>,
    /// Bytes of the body that were sent.
    body_bytes: u64,
}

impl Inner {
    /// Counts an answer.
    fn count(&self, said: &Said) {
        if let Some((status, cache)) = said.status {
            self.served.increment(1);
            self.figures.request(status, cache);
            let now = self.download.clock().now();
            self.figures.clients.met(said.to, now, |client| {
                client.answered(status, cache, said.host.as_deref(), said.sends, now);
                match cache {
                    Some(
                        CacheStatus::Hit
                        | CacheStatus::Stale
                        | CacheStatus::Updating
                        | CacheStatus::Revalidated,
                    ) => client.sent(said.body_bytes, 0),
                    _ => client.sent(0, said.body_bytes),
                }
            });
        }
    }
}
