//! The shard threads, together, which serve clients by HTTP and peers by the swarm protocol. The rule: a listening socket is never closed while the plane lives, and a connection
//! that was accepted is answered or told to come back.

mod mailbox;
pub(crate) mod permit;
pub(crate) mod shard;
mod timers;
mod uploads;

pub use permit::{Monthly, Surroundings};

use crate::ask::Answer;
use crate::clock::Clock;
use crate::http::handoff::TakeOver;
use crate::metrics::Figures;
use crate::plane::mailbox::{Mailbox, Note};
use crate::plane::shard::{Common, Shard};
use crate::plane::uploads::Uploads;
use crate::settings::Settings;
use crate::sock;
use arc_swap::ArcSwap;
use larder_proto::swarm::PeerId;
use larder_storage::driver::DriverKind;
use larder_storage::store::Store;
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often a stop looks whether connections are left.
const STOP_LOOK: Duration = Duration::from_millis(10);

/// How the plane is laid out.
#[derive(Clone, Copy, Debug)]
pub struct PlaneOptions {
    /// Shard threads; 0 is one for each core that the process may use.
    pub shards: usize,
    /// The driver to try first; None is the ring.
    pub prefer: Option<DriverKind>,
    /// Bytes of frames for cold reads, of each shard.
    pub arena_bytes: u64,
    /// Bytes for what clients have sent and nobody has answered yet, of each shard.
    pub inbox_bytes: usize,
    /// What chance begins with, where peers wait for a slot.
    pub seed: u64,
}

/// The sockets that the plane accepts on.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For clients, by HTTP.
    pub http: Vec<TcpListener>,
    /// For peers.
    pub peer: Vec<TcpListener>,
}

/// What the plane works with.
pub struct PlaneParts {
    /// Where the content is.
    pub store: Store,
    /// The settings in force, read anew for each request.
    pub settings: Arc<ArcSwap<Settings>>,
    /// Who is asked for what is not in memory or on disk.
    pub answer: Arc<dyn Answer>,
    /// Who takes what the plane does not serve.
    pub take_over: Arc<dyn TakeOver>,
    /// What is counted.
    pub figures: Arc<Figures>,
    /// What time it is.
    pub clock: Clock,
    /// Who this appliance is among peers.
    pub peer_id: PeerId,
    /// Where it is and what it is like, for whom it may give pieces to.
    pub surroundings: Arc<ArcSwap<Surroundings>>,
    /// What may go to Internet peers.
    pub monthly: Arc<Monthly>,
}

impl fmt::Debug for PlaneParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlaneParts")
    }
}

/// How one shard thread runs.
#[derive(Clone, Debug)]
pub struct ShardReport {
    /// The driver in use.
    pub driver: DriverKind,
    /// What it has, in words.
    pub describe: String,
    /// Why it is not the ring, or what would make it cheaper, with what to do; None where all is as it should be.
    pub advice: Option<String>,
}

/// The running data plane.
#[derive(Debug)]
pub struct Plane {
    reports: Vec<ShardReport>,
    mailboxes: Vec<Arc<Mailbox>>,
    threads: Vec<JoinHandle<()>>,
    /// The sockets stay open while the plane lives, also when it drains.
    common: Arc<Common>,
}

impl Plane {
    /// Starts the shard threads; they accept on all `listeners` at once.
    ///
    /// # Errors
    /// A thread or a driver can not be had, in words that say what to do.
    pub fn start(
        options: PlaneOptions,
        listeners: Listeners,
        parts: PlaneParts,
    ) -> io::Result<Self> {
        let shards = match options.shards {
            0 => thread::available_parallelism().map_or(1, std::num::NonZero::get),
            shards => shards,
        };
        let for_clients = listeners.http.len();
        let mut listeners = listeners;
        let mut all = std::mem::take(&mut listeners.http);
        all.append(&mut listeners.peer);
        for listener in &all {
            // Accepted sockets inherit it. What is sent is whole already; nothing is to wait for an acknowledgement.
            listener_is_prompt(listener)?;
        }
        let common = Arc::new(Common {
            sendfile_is_safe: parts.store.ram().sendfile_is_safe(),
            mailboxes: (0..shards).map(|_| Arc::new(Mailbox::new())).collect(),
            uploads: Uploads::new(parts.clock.now()),
            parts,
            listeners: all,
            for_clients,
        });
        let landing: Weak<Common> = Arc::downgrade(&common);
        common.parts.store.watch_landings(landing);
        if let Some(why) = common.parts.store.ram().sendfile_refused_because() {
            tracing::warn!(
                "hot pieces are copied to their sockets instead of sent by sendfile: {why}"
            );
        }
        let mut plane = Self {
            reports: Vec::new(),
            mailboxes: common.mailboxes.clone(),
            threads: Vec::new(),
            common,
        };
        match plane.spawn(options, shards) {
            Ok(()) => Ok(plane),
            Err(error) => {
                plane.stop(Duration::ZERO);
                Err(error)
            }
        }
    }

    fn spawn(&mut self, options: PlaneOptions, shards: usize) -> io::Result<()> {
        let (tell, told) = mpsc::channel();
        for number in 0..shards {
            let common = Arc::clone(&self.common);
            let tell = tell.clone();
            let thread = thread::Builder::new().name(format!("larder-shard-{number}"));
            self.threads.push(
                thread
                    .spawn(move || run_shard(common, number, shards, &options, tell))
                    .map_err(|e| {
                        let what = format!(
                            "starting shard thread {number} failed: {e}; check the limits on processes and memory"
                        );
                        io::Error::new(e.kind(), what)
                    })?,
            );
        }
        drop(tell);
        let mut reports: Vec<Option<ShardReport>> = vec![None; shards];
        for (number, report) in told {
            let report = report.map_err(|e| {
                let what = format!(
                    "a shard thread can neither open io_uring nor epoll: {e}; check the limits on open files and locked memory"
                );
                io::Error::new(e.kind(), what)
            })?;
            reports[number] = Some(report);
        }
        self.reports = reports.into_iter().flatten().collect();
        if self.reports.len() < shards {
            return Err(io::Error::other(
                "a shard thread ended while it started; see the log",
            ));
        }
        Ok(())
    }

    /// How each shard thread runs.
    #[must_use]
    pub fn reports(&self) -> &[ShardReport] {
        &self.reports
    }

    /// A number for each shard that grows with every turn of its loop, at least once a second: a watchdog that sees
    /// it stand still knows the shard hangs.
    #[must_use]
    pub fn turns(&self) -> Vec<u64> {
        let turns = |mailbox: &Arc<Mailbox>| mailbox.turns.load(Ordering::Relaxed);
        self.mailboxes.iter().map(turns).collect()
    }

    /// Open connections of all shards.
    #[must_use]
    pub fn connections(&self) -> usize {
        let open = |mailbox: &Arc<Mailbox>| mailbox.connections.load(Ordering::Relaxed);
        self.mailboxes.iter().map(open).sum()
    }

    /// Puts what the shard threads have noted of clients, and of what peers were sent, into the books of all of them.
    /// Waits for them, at most `patience`: what comes later is there the next time.
    pub fn gather_clients(&self, patience: Duration) {
        let (tell, told) = mpsc::channel();
        for mailbox in &self.mailboxes {
            if mailbox.alive.load(Ordering::Acquire) {
                mailbox.tell(Note::Clients(tell.clone()));
            }
        }
        drop(tell);
        let end = Instant::now() + patience;
        let figures = &self.common.parts.figures;
        let mut of_peers = Vec::with_capacity(self.mailboxes.len());
        while let Ok((book, noted)) =
            told.recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            figures.clients.join(book);
            of_peers.push(noted);
        }
        figures.uploads.join(of_peers);
    }

    /// Says `Connection: close` on every answer from now on, so that clients come again by a new connection. New ones
    /// are accepted, and idle ones stay open: the next request may be on its way.
    pub fn last_answers(&self) {
        for mailbox in &self.mailboxes {
            mailbox.tell(Note::Last);
        }
    }

    /// Whether a connection may still be accepted, or was and is not counted yet.
    fn accepting(&self) -> bool {
        let accepting = |mailbox: &Arc<Mailbox>| mailbox.accepting.load(Ordering::Acquire);
        self.mailboxes.iter().any(accepting)
    }

    /// Stops accepting (connections wait in the listening sockets) and says `Connection: close` on every answer from
    /// now on; idle connections are closed at once.
    pub fn drain(&self) {
        for mailbox in &self.mailboxes {
            mailbox.tell(Note::Drain);
        }
    }

    /// Drains, waits until no connection is left, at most `cut_after`, then cuts what is left and ends the threads.
    pub fn stop(self, cut_after: Duration) {
        self.drain();
        let end = Instant::now() + cut_after;
        // Both under a second: the count is told by nobody, and a stop is rare.
        // In this order: what is accepted no more is counted.
        while (self.accepting() || self.connections() > 0) && Instant::now() < end {
            thread::park_timeout(STOP_LOOK);
        }
        for mailbox in &self.mailboxes {
            mailbox.tell(Note::Stop);
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a shard thread had panicked; its connections were lost");
            }
        }
    }
}

fn listener_is_prompt(listener: &TcpListener) -> io::Result<()> {
    socket2::SockRef::from(listener).set_tcp_nodelay(true)
}

type Started = (usize, io::Result<ShardReport>);

fn run_shard(
    common: Arc<Common>,
    number: usize,
    shards: usize,
    options: &PlaneOptions,
    tell: mpsc::Sender<Started>,
) {
    let shard = match Shard::open(common, number, options) {
        Ok((shard, report)) => {
            // Whoever started it waits for one report of each shard.
            let _ = tell.send((number, Ok(report)));
            drop(tell);
            shard
        }
        Err(error) => {
            let _ = tell.send((number, Err(error)));
            return;
        }
    };
    // After the driver, so that threads which it started keep all cores.
    if shards > 1
        && let Err(error) = sock::pin_to_core(number)
    {
        tracing::info!(%error, "shard {number} is not bound to a core");
    }
    if let Err(error) = shard.run() {
        tracing::error!(%error, "the driver of shard {number} broke; its connections are lost");
    }
}
