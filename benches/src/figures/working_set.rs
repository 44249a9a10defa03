//! A working set three times the memory, some of it wanted much more than the rest, while a fill runs. The rule: both
//! have the same memory, nginx by a control group that counts its page cache, and the same fill by the same line, which
//! for nginx is a curl beside it, in the same group and on the same core.

use crate::cgroup::MemoryLimit;
use crate::kind::Kind;
use crate::latency::Spread;
use crate::office::guid_file;
use crate::place;
use crate::readers::{Readers, Seen, Taste, read_through, zipf};
use crate::servers::{LarderSetup, Server, pinned};
use crate::side_by_side::write_out;
use crate::stage::{SERVER_CORE, Stage, fill_file, runtime};
use anyhow::{Result, ensure};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

const SPEED_MIN: f64 = 1.3;
const P99_RATIO_MAX: f64 = 2.0;

/// Of a Zipf distribution, as content in caches is asked for.
const POWER: f64 = 0.9;
const TIMES_MEMORY: u64 = 3;
const MIB: u64 = 1 << 20;

/// A working set three times the memory, Zipf 0.9, while a fill runs: speed against nginx, p99 and stalls.
#[derive(clap::Args, Debug)]
pub struct WorkingSet {
    /// MiB of memory that each may have.
    #[arg(long, default_value_t = 512)]
    memory_mib: u64,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    connections: u64,
    /// KiB of each request.
    #[arg(long, default_value_t = 1024)]
    kib: u64,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each turn.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
}

impl WorkingSet {
    /// Measures in turns. Good where all aims are reached.
    ///
    /// # Errors
    /// Something does not start, or an answer is wrong.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let directory = tempfile::tempdir()?;
        runtime()?.block_on(self.measure(out, directory.path()))
    }

    async fn measure(&self, out: &mut impl Write, directory: &Path) -> Result<bool> {
        let memory = self.memory_mib * MIB;
        let file = Arc::new(guid_file(1, TIMES_MEMORY * memory, 0));
        let setup = LarderSetup {
            memory: format!("{}MiB", self.memory_mib),
            ..LarderSetup::default()
        };
        let files = [Arc::clone(&file)];
        let stage = Stage::set(directory, &files, setup).await?;
        let larder = stage.larder.address;
        read_through(larder, &files, None).await?;
        let root = directory.join("root");
        write_out(&file, &root)?;
        place::run("sync", &[])?;
        let limit = MemoryLimit::new(memory)?;
        let kind = Kind::NginxAio;
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 8821));
        let nginx = Server::nginx(kind, directory, &root, at, at, Some(SERVER_CORE), None)?;
        limit.hold(nginx.group())?;
        place::drop_caches()?;
        let readers = Readers {
            taste: Taste::Zipf(zipf(file.pieces(), POWER)),
            file,
            bytes: self.kib << 10,
            connections: self.connections,
        };
        let duration = Duration::from_secs(self.seconds);
        let (mut speeds, mut p99s, mut long, mut turns) = (Vec::new(), Vec::new(), 0.0, 0.0);
        // In the first round each settles what it keeps in memory.
        for round in 0..=self.rounds {
            let alone = readers.read(larder, duration).await;
            let before = stage.turns()?;
            let (beside, filled) =
                tokio::join!(readers.read(larder, duration), stage.fill(duration));
            let after = stage.turns()?;
            let fill = NginxFill::start(&stage, &limit, directory, round)?;
            let other = readers.read(at, duration).await;
            let other_filled = fill.end()?;
            for seen in [&alone, &beside, &other] {
                ensure!(seen.faults.is_empty(), "{}", seen.faults[0]);
            }
            if round == 0 {
                continue;
            }
            let speed = |bytes| bytes as f64 / duration.as_secs_f64() / 1e9;
            let p99 = |seen: &Seen| seen.latencies.percentile_ms(99);
            writeln!(
                out,
                "larder alone {:.2} GB/s, p99 {:.1} ms; with a fill of {:.3}: {:.2} GB/s, p99 {:.1} ms, {} of {} turns \
                 over 5 ms; nginx-aio with a fill of {:.3}: {:.2} GB/s, p99 {:.1} ms",
                speed(alone.bytes),
                p99(&alone),
                speed(filled?),
                speed(beside.bytes),
                p99(&beside),
                after.1 - before.1,
                after.0 - before.0,
                speed(other_filled),
                speed(other.bytes),
                p99(&other),
            )?;
            out.flush()?;
            speeds.push(beside.bytes as f64 / other.bytes as f64);
            p99s.push(p99(&beside) / p99(&alone));
            long += after.1 - before.1;
            turns += after.0 - before.0;
        }
        let speed = Spread::of(speeds).median;
        let mut good = super::at_least(out, "GB/s of larder / nginx-aio", speed, SPEED_MIN)?;
        let p99 = Spread::of(p99s).median;
        good &= super::at_most(out, "p99 with a fill / alone", p99, P99_RATIO_MAX)?;
        let what = format!("turns of the shard's loop over 5 ms, of {turns}");
        good &= super::at_most(out, &what, long, 0.0)?;
        Ok(good)
    }
}

/// What writes a file that comes by the line, as a fill does.
struct NginxFill {
    child: Child,
    file: std::path::PathBuf,
}

impl NginxFill {
    fn start(stage: &Stage, limit: &MemoryLimit, directory: &Path, round: usize) -> Result<Self> {
        let file = directory.join("filled");
        let object = fill_file(round as u64);
        let url = format!("http://{}{}", stage.line.address(), object.path);
        let mut command = pinned("curl".as_ref(), Some(SERVER_CORE));
        // curl makes its file with the first byte, which may not come while the fill lasts.
        std::fs::File::create(&file)?;
        let child = command.arg("-so").arg(&file).arg(url).spawn()?;
        limit.hold(child.id())?;
        Ok(Self { child, file })
    }

    fn end(mut self) -> Result<u64> {
        self.child.kill()?;
        self.child.wait()?;
        let bytes = std::fs::metadata(&self.file)?.len();
        std::fs::remove_file(&self.file)?;
        Ok(bytes)
    }
}
