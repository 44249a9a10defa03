//! One cold client through larder against the same client straight to the origin. The rule: in turns, each turn with
//! a file that nobody has seen.

use crate::latency::Spread;
use crate::office::{fetch, file};
use anyhow::{Result, ensure};
use larder::demo::client::{Client, Naming};
use larder::demo::content::File;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const SPEED_MIN: f64 = 0.95;
const LATER_MS_MAX: f64 = 10.0;

/// How one line is measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'n> {
    /// For the report.
    pub name: &'n str,
    /// Where the line to the origin begins, for the client that goes straight.
    pub direct: SocketAddr,
    /// Where larder is, whose misses go by the same line.
    pub larder: SocketAddr,
    /// Rounds.
    pub rounds: u64,
    /// Number of the first file; as many follow as rounds need (see [`files`]).
    pub first_file: u64,
    /// Bytes of each file.
    pub len: u64,
}

/// Files that a round needs: a large one and a piece, for each way.
const FILES_A_ROUND: u64 = 4;

/// All files of that many rounds.
#[must_use]
pub fn files(first: u64, rounds: u64, len: u64) -> Vec<File> {
    let numbers = 0..rounds * FILES_A_ROUND;
    numbers
        .map(|n| {
            // Even ones are whole downloads, odd ones a single range.
            let len = if n % 2 == 0 { len } else { 1 << 20 };
            file(first + n, len, 1)
        })
        .collect()
}

/// Files that belong to that many rounds.
#[must_use]
pub const fn files_of(rounds: u64) -> u64 {
    rounds * FILES_A_ROUND
}

impl Measured<'_> {
    /// Measures, and says how it was.
    ///
    /// # Errors
    /// A client saw something wrong.
    pub async fn run(&self, out: &mut impl Write) -> Result<bool> {
        let (mut speeds, mut later, mut ms) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
        for round in 0..self.rounds {
            let all = files(self.first_file + round * FILES_A_ROUND, 1, self.len);
            let [direct, by_larder] = [
                (self.direct, Naming::Plain),
                (self.larder, Naming::Parameter),
            ];
            let mut seconds = [0.0; 2];
            let mut first_ms = [0.0; 2];
            // The order turns with the rounds, so that neither way is always the second one.
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for way in order {
                let (address, naming) = [direct, by_larder][way];
                first_ms[way] = first_byte(address, naming, &all[way * 2 + 1]).await?;
                let files = [Arc::new(all[way * 2].clone())];
                let seen = fetch(address, naming, 1, &files).await;
                ensure!(
                    seen.tally.faults.is_empty(),
                    "{}: {}",
                    self.name,
                    seen.tally.faults[0]
                );
                seconds[way] = seen.took.as_secs_f64();
            }
            speeds.push(seconds[0] / seconds[1]);
            later.push(first_ms[1] - first_ms[0]);
            ms[0].push(first_ms[0]);
            ms[1].push(first_ms[1]);
        }
        let (speed, later) = (Spread::of(speeds), Spread::of(later));
        let good = speed.median >= SPEED_MIN && later.median <= LATER_MS_MAX;
        writeln!(
            out,
            "{:<24} speed through larder / straight: {:.3} ({:.3} to {:.3}); first byte {:+.1} ms ({:+.1} to {:+.1}; \
             straight {:.1}){}",
            self.name,
            speed.median,
            speed.min,
            speed.max,
            later.median,
            later.min,
            later.max,
            Spread::of(ms[0].iter().copied()).median,
            if good { "" } else { "  <- MISSED" }
        )?;
        out.flush()?;
        Ok(good)
    }
}

/// Milliseconds to the first byte of one cold range on an idle line.
async fn first_byte(cache: SocketAddr, naming: Naming, file: &File) -> Result<f64> {
    let client = Client {
        cache,
        naming,
        connections: 1,
        seed: 0,
    };
    let tally = client
        .fetch(&[Arc::new(file.clone())], &Arc::default())
        .await;
    ensure!(tally.faults.is_empty(), "{}", tally.faults[0]);
    let first = tally.first_byte.first().copied().unwrap_or(Duration::MAX);
    Ok(first.as_secs_f64() * 1e3)
}
