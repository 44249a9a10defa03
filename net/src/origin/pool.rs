//! Keep-alive connections to origins, some per authority. The rule: a connection is idle here only after an answer
//! was read to its last byte; whatever is dropped before that is closed.

use super::connect::Stream;
use super::guard::Target;
use crate::bandwidth::Socket;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use larder_proto::http::route::Authority;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a connection may be idle. Servers close after 60 to 120 s; the one that closes first avoids the race.
const IDLE_MAX: Duration = Duration::from_secs(55);

/// How long the connection's task may take to notice that its answer is over. It needs one turn of the runtime.
const READY_MAX: Duration = Duration::from_secs(1);

/// Any error that a request body may end with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body; nearly always empty.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// What a request is for. Each lane has connections of its own, so that clients who read slowly what is passed
/// through can not take them from the fetching of pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Content on its way into the store.
    Content,
    /// An answer passed through to one client at that client's speed.
    Through,
}

/// Where a connection leads; connections to different places are never mixed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) origin: Authority,
    pub(super) target: Target,
}

impl Place {
    /// Which idle connections are as good as another for this place: on those to a proxy, any http origin can be asked.
    pub(super) fn of_links(&self) -> Self {
        match &self.target {
            Target::Proxy(_) if !self.origin.https => Self {
                origin: Authority {
                    https: false,
                    host: String::new(),
                    port: 0,
                },
                target: self.target.clone(),
            },
            _ => self.clone(),
        }
    }
}

/// All idle connections, and the right to have more.
#[derive(Default)]
pub(super) struct Pool(Mutex<HashMap<Place, Host>>);

struct Host {
    idle: Vec<Idle>,
    connections_max: usize,
    content: Arc<Semaphore>,
    through: Arc<Semaphore>,
}

struct Idle {
    link: Link,
    since: Instant,
}

/// One connection and the task that drives it.
pub(super) struct Link {
    pub(super) sender: SendRequest<RequestBody>,
    drive: Drive,
    socket: Option<Arc<Socket>>,
}

/// The task that drives a connection. Dropped, it ends, and so the socket is closed.
struct Drive {
    leave: Option<oneshot::Sender<()>>,
    task: JoinHandle<Option<Bare>>,
}

/// A connection without its HTTP, and what was read of it and not used.
pub(super) type Bare = (Stream, Bytes);

impl Link {
    /// Speaks HTTP on a connection on which nothing is under way.
    ///
    /// # Errors
    /// hyper's.
    pub(super) async fn open(stream: Stream) -> hyper::Result<Self> {
        let socket = Socket::of(stream.tcp());
        Self::open_with(stream, socket).await
    }

    async fn open_with(stream: Stream, socket: Option<Arc<Socket>>) -> hyper::Result<Self> {
        let shaken = Builder::new().handshake(TokioIo::new(stream)).await;
        let (sender, mut connection) = shaken?;
        let (leave, left) = oneshot::channel();
        let task = tokio::spawn(async move {
            tokio::select! {
                // The one who waits for the answer hears of an error; nobody else cares.
                _ = &mut connection => None,
                Ok(()) = left => {
                    let parts = connection.into_parts();
                    Some((parts.io.into_inner(), parts.read_buf))
                }
            }
        });
        let leave = Some(leave);
        let drive = Drive { leave, task };
        Ok(Self {
            sender,
            drive,
            socket,
        })
    }

    /// Stops speaking HTTP, wherever the answer is. None where the connection is over.
    async fn leave(mut self) -> Option<Bare> {
        self.drive.leave.take()?.send(()).ok()?;
        (&mut self.drive.task).await.ok()?
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection in use. Dropped, it is closed; [`Lease::give_back`] keeps it.
pub(super) struct Lease {
    pool: Arc<Pool>,
    place: Place,
    /// None: it is with who reads it, without its HTTP.
    link: Option<Link>,
    socket: Option<Arc<Socket>>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    pub(super) fn new(
        pool: &Arc<Pool>,
        place: Place,
        link: Link,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            pool: Arc::clone(pool),
            place,
            socket: link.socket.clone(),
            link: Some(link),
            _permit: permit,
        }
    }

    /// The connection's socket, where it can be told how much may be on its way.
    pub(super) fn socket(&self) -> Option<&Arc<Socket>> {
        self.socket.as_ref()
    }

    /// The connection without its HTTP; None where it is over, and then it can not be kept.
    pub(super) async fn leave(&mut self) -> Option<Bare> {
        self.link.take()?.leave().await
    }

    /// Keeps a connection that was taken out of its HTTP: the answer was read to its last byte and not further.
    pub(super) fn give_back_bare(mut self, stream: Stream) {
        // It only looks as if it might wait; were it to, one connection would be closed.
        let mut opening = std::pin::pin!(Link::open_with(stream, self.socket.take()));
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(Ok(link)) = opening.as_mut().poll(&mut cx) {
            self.link = Some(link);
            self.give_back();
        }
    }

    /// Keeps the connection for the next request: its answer was read whole.
    pub(super) fn give_back(self) {
        let Self {
            pool,
            place,
            link,
            _permit,
            ..
        } = self;
        let Some(link) = link.filter(|link| !link.sender.is_closed()) else {
            return;
        };
        let mut hosts = pool.0.lock();
        let host = hosts
            .entry(place.of_links())
            .or_insert_with(|| Host::new(1));
        host.idle.push(Idle {
            link,
            since: Instant::now(),
        });
    }
}

impl Pool {
    /// What to wait on for the right to use a connection to `place`.
    pub(super) fn permits(
        &self,
        place: &Place,
        lane: Lane,
        connections_max: usize,
    ) -> Arc<Semaphore> {
        let connections_max = connections_max.max(1);
        let mut hosts = self.0.lock();
        let host = hosts
            .entry(place.clone())
            .or_insert_with(|| Host::new(connections_max));
        if host.connections_max != connections_max {
            // Permits already out belong to the old count and simply vanish with it.
            let idle = std::mem::take(&mut host.idle);
            *host = Host {
                idle,
                ..Host::new(connections_max)
            };
        }
        Arc::clone(match lane {
            Lane::Content => &host.content,
            Lane::Through => &host.through,
        })
    }

    /// An idle connection that is ready for a request, the most recently used first.
    pub(super) async fn idle(&self, place: &Place) -> Option<Link> {
        let place = place.of_links();
        loop {
            let idle = self.0.lock().get_mut(&place)?.idle.pop()?;
            if idle.since.elapsed() > IDLE_MAX {
                continue;
            }
            let mut link = idle.link;
            if let Ok(Ok(())) = tokio::time::timeout(READY_MAX, link.sender.ready()).await {
                return Some(link);
            }
        }
    }

    /// Closes what has been idle for too long, and forgets authorities that nobody uses.
    pub(super) fn sweep(&self) {
        self.0.lock().retain(|_, host| {
            host.idle
                .retain(|idle| idle.since.elapsed() <= IDLE_MAX && !idle.link.sender.is_closed());
            !host.idle.is_empty() || host.in_use()
        });
    }
}

impl Host {
    fn new(connections_max: usize) -> Self {
        let semaphore = || Arc::new(Semaphore::new(connections_max));
        Self {
            idle: Vec::new(),
            connections_max,
            content: semaphore(),
            through: semaphore(),
        }
    }

    /// Somebody holds a permit, or is about to take one.
    fn in_use(&self) -> bool {
        [&self.content, &self.through]
            .into_iter()
            .any(|s| s.available_permits() != self.connections_max || Arc::strong_count(s) > 1)
    }
}
