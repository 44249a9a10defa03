//! What the figures about mixed work have in common: one larder on one core, everything else on another, an origin
//! that is near and the same one at the end of a line. The rule: whoever measures is on the clients' core as well, so
//! that nothing of it is done on the server's.

use crate::line::Line;
use crate::office::{GUID_HOSTS, guid_file};
use crate::readers::read_through;
use crate::servers::{LarderSetup, Server};
use anyhow::{Context, Result};
use larder::demo::content::File;
use larder::demo::origin::Origin;
use larder_net::sock::pin_to_core;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Where the server runs.
pub const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;

/// The line by which fills come, as a branch office has it at best.
const FILL_MBIT: f64 = 1000.0;
const FILL_ROUND_TRIP: Duration = Duration::from_millis(10);

/// Objects for fills, of a GiB each; no figure takes more.
const FILL_FILES: u64 = 64;
const FILL_FIRST: u64 = 1_000_000;
const FILL_BYTES: u64 = 1 << 30;

/// A runtime on the clients' core alone.
///
/// # Errors
/// The core or the runtime can not be had.
pub fn runtime() -> Result<Runtime> {
    pin_to_core(CLIENT_CORE).context("the clients need a core of their own, the second one")?;
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// See the file's head.
#[derive(Debug)]
pub struct Stage {
    /// The program.
    pub larder: Server,
    /// Where the fills' line begins.
    pub line: Line,
    filled: AtomicU64,
    _origin: Origin,
}

impl Stage {
    /// Starts origin, line and larder, which may have so much memory and store. The origin has `files` besides what
    /// fills bring.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn set(directory: &Path, files: &[Arc<File>], setup: LarderSetup) -> Result<Self> {
        let mut all: Vec<File> = files.iter().map(|file| File::clone(file)).collect();
        all.extend((0..FILL_FILES).map(fill_file));
        let origin = Origin::start((Ipv4Addr::LOCALHOST, 0).into(), all).await?;
        let line = Line::lay(origin.address(), FILL_MBIT, FILL_ROUND_TRIP).await?;
        let connect = GUID_HOSTS
            .map(str::to_owned)
            .into_iter()
            .zip([origin.address(), line.address()])
            .collect();
        let setup = LarderSetup {
            connect,
            shards: 1,
            ..setup
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8820));
        Ok(Self {
            larder: Server::larder(directory, address, &setup, Some(SERVER_CORE))?,
            line,
            filled: AtomicU64::new(0),
            _origin: origin,
        })
    }

    /// Fetches what is not there yet, by the line, for so long; returns its bytes.
    ///
    /// # Errors
    /// As [`read_through`].
    pub async fn fill(&self, duration: Duration) -> Result<u64> {
        let number = self.filled.fetch_add(1, Ordering::Relaxed);
        let files = [Arc::new(fill_file(number))];
        read_through(self.larder.address, &files, Some(duration)).await
    }

    /// Turns of the shard's loop so far, and how many of them took over 5 ms, as its metrics have it.
    ///
    /// # Errors
    /// It does not answer.
    pub fn turns(&self) -> Result<(f64, f64)> {
        let metrics = self.larder.metrics()?;
        let all = metrics.sum("larder_shard_turn_seconds_count", "");
        let within = metrics.sum("larder_shard_turn_seconds_bucket", "le=\"0.005\"");
        Ok((all, all - within))
    }
}

/// The object that the nth fill brings.
#[must_use]
pub fn fill_file(number: u64) -> File {
    guid_file(FILL_FIRST + number, FILL_BYTES, 1)
}
