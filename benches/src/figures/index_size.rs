//! What a lookup costs as the index grows. The rule: the store was written by itself and opened again, every lookup is
//! of another piece, and only the CPU time of this thread counts.

use crate::cpu::resident_bytes;
use crate::readers::Random;
use anyhow::{Context, Result, ensure};
use larder_content::PieceId;
use larder_storage::store::{Filter, Found, SizeLimit, Store, StoreOptions};
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::Command;

const RATIO_MIN: f64 = 0.9;
const BYTES_A_PIECE_MAX: f64 = 64.0;
const LOOKUPS: u64 = 4_000_000;

/// Lookups in stores of 1 k, 100 k and 10 M pieces, and what a piece costs in memory.
#[derive(clap::Args, Debug)]
pub struct IndexSize {
    /// Pieces of each store.
    #[arg(long, default_values_t = [1_000, 100_000, 10_000_000])]
    pieces: Vec<u64>,
    /// Nanoseconds of a hit of 4 KiB besides its lookup, of which `larder-bench side-by-side` tells.
    #[arg(long, default_value_t = 5_000.0)]
    hit_ns: f64,
}

impl IndexSize {
    /// Fills, opens and looks up. Good where the largest store has nine tenths of the hits per CPU second of the
    /// smallest, and at most 64 bytes a piece.
    ///
    /// # Errors
    /// A store can not be filled or opened.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let (mut hits, mut of_a_piece) = (Vec::new(), 0.0);
        for pieces in &self.pieces {
            let directory = tempfile::tempdir()?;
            fill(directory.path(), *pieces)?;
            let before = resident_bytes(std::process::id());
            let store = Store::open(StoreOptions {
                bytes_max: SizeLimit::bytes(1 << 40),
                ..StoreOptions::new(directory.path())
            })?;
            let more = resident_bytes(std::process::id()).saturating_sub(before);
            of_a_piece = more as f64 / *pieces as f64;
            let ns = lookup_ns(&store)?;
            hits.push(1e9 / (self.hit_ns + ns));
            writeln!(
                out,
                "{pieces} pieces: a lookup {ns:.0} ns of CPU, so {:.0} hits of {:.0} ns per CPU second; {} MiB more \
                 resident, {of_a_piece:.0} bytes a piece",
                hits.last().copied().unwrap_or_default(),
                self.hit_ns,
                more >> 20
            )?;
            out.flush()?;
        }
        let (Some(first), Some(last)) = (hits.first(), hits.last()) else {
            return Ok(false);
        };
        let what = "hits per CPU second, largest / smallest";
        let good = super::at_least(out, what, last / first, RATIO_MIN)?;
        let what = "bytes resident for a piece of the largest";
        Ok(super::at_most(out, what, of_a_piece, BYTES_A_PIECE_MAX)? && good)
    }
}

/// In a process of its own, whose memory is gone with it.
fn fill(directory: &Path, pieces: u64) -> Result<()> {
    let status = Command::new(std::env::current_exe()?)
        .arg("make-store")
        .arg(directory)
        .args(["--pieces", &pieces.to_string(), "--piece-bytes", "512"])
        .args(["--objects", &(pieces / 10_000).max(1).to_string()])
        .stdout(std::process::Stdio::null())
        .status()?;
    ensure!(status.success(), "the store can not be filled");
    Ok(())
}

fn lookup_ns(store: &Store) -> Result<f64> {
    let listed = store.list(&Filter::All);
    ensure!(!listed.is_empty(), "nothing is stored");
    let random = Random::new(3);
    let next = || {
        let of = &listed[usize::try_from(random.next()).unwrap_or(0) % listed.len()];
        PieceId {
            content: of.no,
            piece: (random.next() % u64::from(of.pieces_stored.max(1))) as u32,
        }
    };
    // The ids take time to make as well, which is taken off.
    let began = cpu_ns()?;
    for _ in 0..LOOKUPS {
        black_box(next());
    }
    let made = cpu_ns()?;
    let mut found = 0;
    for _ in 0..LOOKUPS {
        found += u64::from(matches!(black_box(store.find(next())), Found::Disk(_)));
    }
    let looked = cpu_ns()?;
    ensure!(
        found * 100 > LOOKUPS * 99,
        "only {found} of {LOOKUPS} were there"
    );
    Ok(((looked - made) - (made - began)) as f64 / LOOKUPS as f64)
}

/// Nanoseconds that this thread has run (proc(5): schedstat).
fn cpu_ns() -> Result<i64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = stat.split(' ').next().and_then(|ns| ns.parse().ok());
    first.context("/proc/thread-self/schedstat says nothing")
}
