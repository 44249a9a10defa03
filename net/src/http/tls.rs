//! HTTPS for clients: listeners, handshakes, and the service over what comes out of them, on threads of their own. The
//! rule: however many clients shake hands here, the threads that talk to origins and those that serve HTTP never wait
//! for one of them.

mod certificates;
mod figures;
mod handshake;
mod stream;

pub use certificates::{Certificates, InForce, Pair, PairError, PairFiles};

use crate::crowd::Seat;
use crate::http::hyper_service::HyperService;
use figures::Figures;
use handshake::UnderWay;
use rustls::ServerConfig;
use std::fmt;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Threads that wait for disks, for each that serves.
const DISK_THREADS: usize = 16;

/// How long a listener that could not accept is left alone.
const LISTEN_PAUSE: Duration = Duration::from_millis(200);

/// How long disk reads may hold up the end.
const END_WITHIN: Duration = Duration::from_secs(2);

/// How often a thread shows that it turns; twice in the second that is promised.
const TURN_EVERY: Duration = Duration::from_millis(500);

/// How often a stop looks whether all are gone.
const STOP_LOOK: Duration = Duration::from_millis(20);

/// The running listeners for HTTPS.
pub struct TlsPlane {
    common: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    service: HyperService,
    config: Arc<ServerConfig>,
    figures: Figures,
    /// One for each thread.
    lanes: Vec<Lane>,
    stage: watch::Sender<Stage>,
    /// Listeners on which a connection may still be accepted.
    accepting: AtomicUsize,
    /// Open while the plane lives, also when it drains: connections wait in them.
    listeners: Vec<TcpListener>,
}

/// How connections come to a thread.
struct Lane {
    sockets: mpsc::UnboundedSender<(TcpStream, Option<Seat>)>,
    /// Connections that it has or will have.
    connections: AtomicUsize,
    /// Grows as long as the thread turns.
    turns: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    Serving,
    /// Nothing is accepted.
    Draining,
    /// Whatever is left is cut.
    Over,
}

impl TlsPlane {
    /// Starts `threads` threads (0 is one for each core that the process may use), which serve all `listeners` with
    /// what `service` serves.
    ///
    /// # Errors
    /// A thread can not be had, or the kernel refuses something about a listener.
    pub fn start(
        threads: usize,
        listeners: Vec<TcpListener>,
        certificates: Arc<Certificates>,
        service: &HyperService,
    ) -> io::Result<Self> {
        let threads = match threads {
            0 => thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads => threads,
        };
        for listener in &listeners {
            listener.set_nonblocking(true)?;
            // Accepted sockets inherit it. Records are sent whole; none is to wait for an acknowledgement.
            socket2::SockRef::from(listener).set_tcp_nodelay(true)?;
        }
        let (lanes, receivers): (Vec<_>, Vec<_>) = (0..threads)
            .map(|_| {
                let (sockets, received) = mpsc::unbounded_channel();
                let lane = Lane {
                    sockets,
                    connections: AtomicUsize::new(0),
                    turns: AtomicU64::new(0),
                };
                (lane, received)
            })
            .unzip();
        let common = Arc::new(Shared {
            service: service.by_tls(),
            config: Arc::new(server_config(certificates).map_err(io::Error::other)?),
            figures: Figures::new(),
            lanes,
            stage: watch::Sender::new(Stage::Serving),
            accepting: AtomicUsize::new(listeners.len()),
            listeners,
        });
        let mut plane = Self {
            common: Arc::clone(&common),
            threads: Vec::with_capacity(threads),
        };
        for (number, received) in receivers.into_iter().enumerate() {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(DISK_THREADS)
                .thread_name(format!("tls-{number}-disk"))
                .build()?;
            let common = Arc::clone(&common);
            let thread = thread::Builder::new().name(format!("tls-{number}"));
            let run = move || run(runtime, &common, number, received);
            plane.threads.push(thread.spawn(run)?);
        }
        Ok(plane)
    }

    /// Open connections, handshakes among them.
    #[must_use]
    pub fn connections(&self) -> usize {
        let open = |lane: &Lane| lane.connections.load(Ordering::Relaxed);
        self.common.lanes.iter().map(open).sum()
    }

    /// A number for each thread that grows at least once a second: one that stands still hangs.
    #[must_use]
    pub fn turns(&self) -> Vec<u64> {
        let turns = |lane: &Lane| lane.turns.load(Ordering::Relaxed);
        self.common.lanes.iter().map(turns).collect()
    }

    /// Says `Connection: close` on every answer from now on; new connections are accepted, and idle ones stay open.
    pub fn last_answers(&self) {
        self.common.service.last_answers();
    }

    /// Stops accepting (connections wait in the listening sockets); idle connections are closed, and others told that
    /// nothing follows.
    pub fn drain(&self) {
        self.common.stage.send_replace(Stage::Draining);
        self.common.service.stop_taking();
    }

    /// Drains, waits until no connection is left, at most `cut_after`, then cuts what is left and ends the threads.
    /// Says whether nothing had to be cut. To be called within a tokio runtime.
    pub async fn stop(self, cut_after: Duration) -> bool {
        self.drain();
        let whole = timeout(cut_after, self.none_left()).await.is_ok();
        self.common.stage.send_replace(Stage::Over);
        for thread in self.threads {
            let joined = tokio::task::spawn_blocking(|| thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("a thread for https had panicked; its connections were lost");
            }
        }
        whole
    }
}

impl TlsPlane {
    /// Waits until no connection is left, those that shake hands among them. The counts are told by nobody, and a stop
    /// is rare.
    async fn none_left(&self) {
        // In this order: what is accepted no more is counted.
        while self.common.accepting.load(Ordering::Acquire) > 0 || self.connections() > 0 {
            tokio::time::sleep(STOP_LOOK).await;
        }
    }
}

impl fmt::Debug for TlsPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsPlane")
            .field("threads", &self.common.lanes.len())
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

/// How TLS is spoken with whoever comes.
pub(crate) fn server_config(
    certificates: Arc<Certificates>,
) -> Result<ServerConfig, rustls::Error> {
    // By default TLS 1.2 and 1.3; nothing older is in this library at all.
    let mut config = ServerConfig::builder_with_provider(Arc::new(certificates::provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    // HTTP/2 would bring a client nothing here: it asks for ranges of 1 MiB, seven at a time.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = true;
    // Its keys change by themselves every few hours, and are this process's alone.
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    Ok(config)
}

/// One thread, from its start to its end.
fn run(
    runtime: Runtime,
    common: &Arc<Shared>,
    number: usize,
    mut received: mpsc::UnboundedReceiver<(TcpStream, Option<Seat>)>,
) {
    runtime.block_on(async {
        let mut stage = common.stage.subscribe();
        let mut turn = tokio::time::interval(TURN_EVERY);
        let turns = &common.lanes[number].turns;
        let threads = common.lanes.len();
        for listener in (0..common.listeners.len()).filter(|each| each % threads == number) {
            let common = Arc::clone(common);
            tokio::spawn(async move {
                accept(&common, listener).await;
                common.accepting.fetch_sub(1, Ordering::Release);
            });
        }
        let under_way = Arc::new(UnderWay::default());
        loop {
            tokio::select! {
                socket = received.recv() => {
                    let Some((socket, seat)) = socket else { return };
                    let open = Open::new(Arc::clone(common), number, seat);
                    tokio::spawn(serve(open, socket, Arc::clone(&under_way)));
                }
                _ = turn.tick() => {
                    turns.fetch_add(1, Ordering::Relaxed);
                }
                _ = stage.wait_for(|stage| *stage == Stage::Over) => return,
            }
        }
    });
    runtime.shutdown_timeout(END_WITHIN);
}

/// Accepts on one listener, and gives each connection to the thread that has the fewest.
async fn accept(common: &Shared, listener: usize) {
    let mut stage = common.stage.subscribe();
    let listener = match common.listeners[listener]
        .try_clone()
        .and_then(tokio::net::TcpListener::from_std)
    {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!("a port for https can not be waited on: {error}");
            return;
        }
    };
    let figures = common.service.figures();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stage.wait_for(|stage| *stage >= Stage::Draining) => return,
        };
        // Its thread may be another.
        let accepted = accepted.and_then(|(socket, _)| socket.into_std());
        match accepted {
            Ok(socket) => {
                let rules = Arc::clone(&common.service.settings().crowds);
                let Ok(seat) = figures.crowd.enter(&socket, &rules) else {
                    figures.crowded.increment(1);
                    continue;
                };
                figures.accepted.increment(1);
                let load = |lane: &&Lane| lane.connections.load(Ordering::Relaxed);
                if let Some(lane) = common.lanes.iter().min_by_key(load) {
                    lane.connections.fetch_add(1, Ordering::Relaxed);
                    // A thread that is gone has told why.
                    let _ = lane.sockets.send((socket, seat));
                }
            }
            // The one that was first in line has left.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                figures.accept_failures.increment(1);
                tracing::warn!("a connection for https could not be accepted: {error}");
                tokio::time::sleep(LISTEN_PAUSE).await;
            }
        }
    }
}

/// One connection, from its first byte to its last.
async fn serve(open: Open, socket: TcpStream, under_way: Arc<UnderWay>) {
    let socket = match tokio::net::TcpStream::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!("a connection for https could not be served: {error}");
            return;
        }
    };
    let common = &open.common;
    let limit = Duration::from_millis(common.service.settings().handshake_timeout_ms);
    let from = crate::http::client_io::ClientIo::from(&socket);
    let shaken = handshake::shake(socket, &common.config, &under_way, limit, &common.figures);
    match shaken.await {
        Ok(stream) => common.service.serve(Box::new(stream)).await,
        Err(true) => common.service.note_no_tls(from),
        Err(false) => {}
    }
}

/// One connection among those that are counted. It was counted for its thread when it was accepted.
struct Open {
    common: Arc<Shared>,
    number: usize,
    /// What it is counted by besides, where it is.
    _seat: Option<Seat>,
}

impl Open {
    fn new(common: Arc<Shared>, number: usize, seat: Option<Seat>) -> Self {
        common.figures.connections.increment(1.0);
        Self {
            common,
            number,
            _seat: seat,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.common.figures.connections.decrement(1.0);
        let lane = &self.common.lanes[self.number];
        lane.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
