//! How fast pieces get to the disk, next to the disk itself. The rule: the store's own writer with all that it does
//! besides (checksums, tables, syncs, catalogue), and fio with nothing of it, in turns on the same file system.

use super::filled::{Filling, open, put};
use crate::cpu;
use crate::fio::{self, Pattern};
use crate::latency::Spread;
use anyhow::{Result, bail};
use std::io::Write;
use std::time::Instant;

/// Of what fio reaches.
const SHARE_MIN: f64 = 0.9;

const PIECE_BYTES: u32 = 1 << 20;

/// Speed at which pieces of 1 MiB are stored, next to fio's writes of 1 MiB: O_DIRECT, preallocated, eight at once.
#[derive(clap::Args, Debug)]
pub struct SlotWrites {
    /// Pieces in each round.
    #[arg(long, default_value_t = 2048)]
    pieces: u64,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

impl SlotWrites {
    /// Stores pieces and lets fio write as much, in turns.
    ///
    /// # Errors
    /// fio is not there, or one of them fails.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        if !fio::is_there() {
            bail!("there is nothing to compare with: install fio");
        }
        let (mut speeds, mut shares, mut costs) =
            ([const { Vec::new() }; 2], Vec::new(), Vec::new());
        for round in 0..self.rounds {
            let mut speed = [0.0; 2];
            // The order turns with the rounds: the disk may be slower for whoever comes second.
            for who in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                let directory = tempfile::tempdir()?;
                speed[who] = match who {
                    0 => {
                        let (speed, cost) = self.store(directory.path())?;
                        costs.push(cost);
                        speed
                    }
                    _ => self.fio(directory.path())?,
                };
                speeds[who].push(speed[who]);
            }
            shares.push(speed[0] / speed[1]);
        }
        let [ours, theirs] = speeds.map(Spread::of);
        let (share, cost) = (Spread::of(shares), Spread::of(costs));
        let good = share.median >= SHARE_MIN;
        writeln!(
            out,
            "{} pieces of 1 MiB: stored at {:.2} GB/s ({:.2} to {:.2}), written by fio at {:.2} ({:.2} to {:.2}); \
             {:.3} CPU s/GB; share {:.2} ({:.2} to {:.2}); at least {SHARE_MIN:.2}{}",
            self.pieces,
            ours.median,
            ours.min,
            ours.max,
            theirs.median,
            theirs.min,
            theirs.max,
            cost.median,
            share.median,
            share.min,
            share.max,
            if good { "" } else { ": MISSED" }
        )?;
        Ok(good)
    }

    fn gigabytes(&self) -> f64 {
        (self.pieces * u64::from(PIECE_BYTES)) as f64 / 1e9
    }

    /// GB/s and CPU s/GB, from the first piece that is given to it until all are durable.
    fn store(&self, directory: &std::path::Path) -> Result<(f64, f64)> {
        let filling = Filling {
            pieces: self.pieces,
            objects: 1,
            piece_bytes: PIECE_BYTES,
        };
        let store = open(&directory.join("store"), filling)?;
        let (started, worked) = (Instant::now(), cpu::own_seconds()?);
        put(&store, filling)?;
        let seconds = started.elapsed().as_secs_f64();
        let worked = cpu::own_seconds()? - worked;
        anyhow::ensure!(
            store.figures().pieces == self.pieces,
            "only {} pieces were stored",
            store.figures().pieces
        );
        Ok((self.gigabytes() / seconds, worked / self.gigabytes()))
    }

    fn fio(&self, directory: &std::path::Path) -> Result<f64> {
        let pattern = Pattern {
            rw: "write",
            file: &directory.join("written"),
            file_bytes: self.pieces * u64::from(PIECE_BYTES),
            block_bytes: PIECE_BYTES.into(),
            depth: 8,
            warm_up_seconds: 0.0,
            seconds: None,
            core: 0,
        };
        Ok(pattern.run()?.gigabytes_per_second())
    }
}
