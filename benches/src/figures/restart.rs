//! How long a start after kill -9 takes, and what a piece costs in memory. The rule: the store was written by the
//! store itself, and the program is the whole one, up to the answer that it is ready.

use super::filled::{Filling, fill};
use crate::cpu::resident_bytes;
use crate::latency::Spread;
use crate::servers::{LarderSetup, Server};
use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

const SECONDS_A_MILLION_MAX: f64 = 2.0;

/// How long a start after kill -9 takes on a store of many pieces, and what a piece costs in memory.
#[derive(clap::Args, Debug)]
pub struct Restart {
    /// The store; without one it is filled for the run.
    #[arg(long)]
    store: Option<PathBuf>,
    #[command(flatten)]
    filling: Filling,
    /// Starts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

impl Restart {
    /// Runs on the store, or fills one of its own and runs on that.
    ///
    /// # Errors
    /// larder does not start or finds nothing, or the store can not be filled.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        match &self.store {
            Some(store) => run(out, store, None, self.rounds),
            None => run_filled(out, self.filling, self.rounds),
        }
    }
}

fn run_filled(out: &mut impl Write, filling: Filling, rounds: usize) -> Result<bool> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store");
    let store = fill(&path, filling)?;
    writeln!(out, "{} pieces were stored", store.figures().pieces)?;
    drop(store);
    run(out, &path, Some(filling.pieces), rounds)
}

/// Starts larder on `store`, kills it and starts it again, `rounds` times. Good where it is soon ready and finds all
/// that were `written`, if that is known.
fn run(out: &mut impl Write, store: &Path, written: Option<u64>, rounds: usize) -> Result<bool> {
    let directory = tempfile::tempdir()?;
    let start = |store: &Path| {
        let setup = LarderSetup {
            memory: "2GiB".to_owned(),
            store: Some(store.to_path_buf()),
            ..LarderSetup::default()
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8804));
        let started = Instant::now();
        let mut server = Server::larder(directory.path(), address, &setup, None)?;
        let seconds = started.elapsed().as_secs_f64();
        let resident = resident_bytes(server.group());
        let stored = server.metric("larder_store_pieces", "")?;
        server.kill();
        wait_until_free(address)?;
        Ok::<_, anyhow::Error>((seconds, resident, stored))
    };
    let (_, empty, _) = start(&directory.path().join("empty"))?;
    let mut seconds = Vec::new();
    let mut resident = 0;
    let mut stored = 0.0;
    // The first start may mend what the writer left open; it counts like the others.
    for _ in 0..rounds.max(1) {
        let (took, bytes, found) = start(store)?;
        seconds.push(took);
        resident = bytes;
        stored = found;
    }
    ensure!(
        stored > 0.0,
        "no piece is stored in {}: fill it with `larder-bench make-store`",
        store.display()
    );
    let seconds = Spread::of(seconds);
    let of_a_piece = resident.saturating_sub(empty) as f64 / stored;
    writeln!(
        out,
        "{stored:.0} pieces found{}: ready {:.2} s after the start ({:.2} to {:.2}); {of_a_piece:.0} bytes \
         resident for each ({} MiB, {} MiB of them without any)",
        written.map_or_else(String::new, |written| format!(" of {written} written")),
        seconds.median,
        seconds.min,
        seconds.max,
        resident >> 20,
        empty >> 20,
    )?;
    let allowed = SECONDS_A_MILLION_MAX * (stored / 1e6).max(1.0);
    Ok(seconds.max < allowed && written.is_none_or(|written| stored >= written as f64))
}

/// The kernel takes a killed process's rings apart a moment later, and its listening sockets with them.
fn wait_until_free(address: SocketAddr) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match TcpListener::bind(address) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > until => {
                return Err(error).with_context(|| format!("{address} stays in use"));
            }
            Err(_) => thread::park_timeout(Duration::from_millis(2)),
        }
    }
}
