//! Hits beside other work: what those who read from memory notice of others who read from the disk while a fill runs.
//! The rule: in turns, alone and beside, with the same readers.

use crate::latency::Spread;
use crate::office::guid_file;
use crate::readers::{Readers, Seen, Taste, read_through};
use crate::servers::LarderSetup;
use crate::stage::{Stage, runtime};
use anyhow::{Result, ensure};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

const P99_RATIO_MAX: f64 = 2.0;
const COLD_READERS: u64 = 32;
const WARM_MIB: u64 = 128;
const MIB: u64 = 1 << 20;

/// p99 of warm hits while 32 others read from the disk and a fill runs, over the same alone.
#[derive(clap::Args, Debug)]
pub struct Mixed {
    /// Connections that read what is in memory.
    #[arg(long, default_value_t = 64)]
    connections: u64,
    /// KiB of each of their requests.
    #[arg(long, default_value_t = 1024)]
    kib: u64,
    /// MiB that the others read from.
    #[arg(long, default_value_t = 4096)]
    cold_mib: u64,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

impl Mixed {
    /// Measures. Good where p99 at most doubles.
    ///
    /// # Errors
    /// Something does not start, or an answer is wrong.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let directory = tempfile::tempdir()?;
        runtime()?.block_on(async {
            let warm = Arc::new(guid_file(1, WARM_MIB * MIB, 0));
            let cold = Arc::new(guid_file(2, self.cold_mib * MIB, 0));
            let files = [warm, cold];
            let setup = LarderSetup {
                memory: "1GiB".to_owned(),
                ..LarderSetup::default()
            };
            let stage = Stage::set(directory.path(), &files, setup).await?;
            let address = stage.larder.address;
            read_through(address, &files, None).await?;
            let [warm, cold] = files.map(|file| Readers {
                file,
                taste: Taste::Even,
                bytes: MIB,
                connections: COLD_READERS,
            });
            let warm = Readers {
                bytes: self.kib << 10,
                connections: self.connections,
                ..warm
            };
            let (mut alone_ms, mut beside_ms, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            let duration = Duration::from_secs(3);
            // The first round brings it into memory.
            for round in 0..=self.rounds {
                let alone = warm.read(address, duration).await;
                let from_disk = |stage: &Stage| {
                    let name = "larder_http_response_bytes_total";
                    stage.larder.metric(name, "source=\"disk\"")
                };
                let before = from_disk(&stage)?;
                let (beside, others, filled) = tokio::join!(
                    warm.read(address, duration),
                    cold.read(address, duration),
                    stage.fill(duration)
                );
                let from_disk = from_disk(&stage)? - before;
                let faults: Vec<_> = [&alone, &beside, &others]
                    .into_iter()
                    .flat_map(|seen| &seen.faults)
                    .collect();
                ensure!(faults.is_empty(), "{}", faults[0]);
                if round == 0 {
                    continue;
                }
                let p99 = |seen: &Seen| seen.latencies.percentile_ms(99);
                let speed = |bytes| bytes as f64 / duration.as_secs_f64() / 1e9;
                writeln!(
                    out,
                    "alone {:.2} GB/s, p99 {:.2} ms; beside {:.2} GB/s from others ({:.2} of all off the disk) and a \
                     fill of {:.3}: {:.2} GB/s, p99 {:.2} ms",
                    speed(alone.bytes),
                    p99(&alone),
                    speed(others.bytes),
                    from_disk / duration.as_secs_f64() / 1e9,
                    speed(filled?),
                    speed(beside.bytes),
                    p99(&beside),
                )?;
                out.flush()?;
                alone_ms.push(p99(&alone));
                beside_ms.push(p99(&beside));
                ratios.push(p99(&beside) / p99(&alone));
            }
            let ratios = Spread::of(ratios);
            writeln!(
                out,
                "p99 alone {:.2} ms, beside {:.2} ms; ratio {:.2} to {:.2}",
                Spread::of(alone_ms).median,
                Spread::of(beside_ms).median,
                ratios.min,
                ratios.max
            )?;
            Ok(super::at_most(out, "p99 beside / alone", ratios.median, P99_RATIO_MAX)?)
        })
    }
}
