//! Very many clients that take next to nothing. The rule: what they hold is counted wherever it is, in the process and
//! in the kernel's socket buffers, and meanwhile somebody else is to be served as ever.

use crate::cpu::resident_bytes;
use crate::latency::Spread;
use crate::office::guid_file;
use crate::place;
use crate::readers::{Random, Readers, Taste, read_through};
use crate::servers::LarderSetup;
use crate::stage::{Stage, runtime};
use anyhow::{Context, Result, ensure};
use larder::demo::content::File;
use larder_net::sock::raise_open_files;
use parking_lot::Mutex;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{interval, sleep};

const P99_RATIO_MAX: f64 = 2.0;
const MIB: u64 = 1 << 20;
const MEMORY_MIB: u64 = 512;

/// What a slow reader takes each second, and what its kernel has room for.
const BYTES_A_SECOND: usize = 1000;
const ROOM_BYTES: u32 = 4096;

/// They come over so long.
const COMING: Duration = Duration::from_secs(25);

/// Ticks of the clock by which they read, each a share of them.
const TICKS_A_SECOND: usize = 1000;

/// 10,000 readers of 1 KB/s somewhere in one large object: memory, p99 of a good client, evictions.
#[derive(clap::Args, Debug)]
pub struct SlowReaders {
    /// How many.
    #[arg(long, default_value_t = 10_000)]
    readers: u64,
    /// MiB of the object, which all comes from the origin while they come; the store holds a GB.
    #[arg(long, default_value_t = 2048)]
    mib: u64,
}

/// The slow ones.
#[derive(Default)]
struct Slow {
    sockets: Mutex<Vec<(TcpStream, bool)>>,
    served: AtomicU64,
    refused: AtomicU64,
    gone: AtomicU64,
}

impl SlowReaders {
    /// Measures before and beside them. Good where memory stays within what was given, the good client's p99 at most
    /// doubles, and pieces are still evicted.
    ///
    /// # Errors
    /// Something does not start, or an answer is wrong.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        raise_open_files()?;
        if place::is_inside() {
            // As on a wire: with the 64 KiB packets of loopback each socket may hold forty times as much.
            place::run("ip", &["link", "set", "lo", "mtu", "1500"])?;
        }
        let directory = tempfile::tempdir()?;
        runtime()?.block_on(self.measure(out, directory.path()))
    }

    async fn measure(&self, out: &mut impl Write, directory: &std::path::Path) -> Result<bool> {
        let large = Arc::new(guid_file(1, self.mib * MIB, 0));
        let warm = Arc::new(guid_file(2, 16 * MIB, 0));
        let setup = LarderSetup {
            memory: format!("{MEMORY_MIB}MiB"),
            store_max_gb: Some(1),
            ..LarderSetup::default()
        };
        let files = [Arc::clone(&large), Arc::clone(&warm)];
        let stage = Stage::set(directory, &files, setup).await?;
        let address = stage.larder.address;
        for _ in 0..3 {
            read_through(address, &files[1..], None).await?;
        }
        let good = Readers {
            file: warm,
            taste: Taste::Even,
            bytes: 64 << 10,
            connections: 8,
        };
        let p99 = async |seconds| {
            let seen = good.read(address, Duration::from_secs(seconds)).await;
            ensure!(
                seen.faults.is_empty(),
                "the good client: {}",
                seen.faults[0]
            );
            Ok(seen.latencies.percentile_ms(99))
        };
        let mut before = Vec::new();
        for _ in 0..3 {
            before.push(p99(2).await?);
        }
        let process = stage.larder.group();
        let (resident, sockets) = (resident_bytes(process), socket_bytes()?);
        writeln!(
            out,
            "before: {} MiB resident, {} MiB in sockets, p99 of a good client {:.2} ms",
            resident >> 20,
            sockets >> 20,
            Spread::of(before.iter().copied()).median
        )?;
        out.flush()?;
        let slow = Arc::new(Slow::default());
        let pace = tokio::spawn(take_slowly(Arc::clone(&slow)));
        let coming = tokio::spawn(come(address, self.readers, large, Arc::clone(&slow)));
        let (mut most, mut most_in_sockets) = (0, 0);
        let mut look = || {
            most = most.max(resident_bytes(process));
            most_in_sockets = most_in_sockets.max(socket_bytes()?);
            Ok::<_, anyhow::Error>(())
        };
        while !coming.is_finished() {
            sleep(Duration::from_millis(200)).await;
            look()?;
        }
        coming.await??;
        let mut beside = Vec::new();
        let evicted = stage.larder.metric("larder_store_evictions_total", "")?;
        for _ in 0..3 {
            beside.push(p99(2).await?);
            stage.fill(Duration::from_secs(2)).await?;
            look()?;
        }
        let evicted = stage.larder.metric("larder_store_evictions_total", "")? - evicted;
        pace.abort();
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        writeln!(
            out,
            "beside {} slow readers ({} served, {} refused, {} gone): at most {} MiB resident and {} MiB in sockets, \
             which is {} bytes for each; p99 {:.2} ms; {evicted} pieces evicted",
            self.readers,
            count(&slow.served),
            count(&slow.refused),
            count(&slow.gone),
            most >> 20,
            most_in_sockets >> 20,
            most_in_sockets.saturating_sub(sockets) / self.readers,
            Spread::of(beside.iter().copied()).median
        )?;
        let memory = most as f64 / (MEMORY_MIB * MIB) as f64;
        let mut reached = super::at_most(out, "resident / memory_bytes_max", memory, 1.0)?;
        let ratio = Spread::of(beside).median / Spread::of(before).median;
        reached &= super::at_most(
            out,
            "p99 of a good client beside / before",
            ratio,
            P99_RATIO_MAX,
        )?;
        reached &= super::at_least(out, "pieces evicted", evicted, 1.0)?;
        let served = count(&slow.served) as f64 / self.readers as f64;
        reached &= super::at_least(out, "slow readers served", served, 0.99)?;
        Ok(reached)
    }
}

/// Lets them come one after the other.
async fn come(server: SocketAddr, readers: u64, file: Arc<File>, slow: Arc<Slow>) -> Result<()> {
    let random = Random::new(11);
    let at_once = readers / 100;
    for number in 0..readers {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(ROOM_BYTES)?;
        let mut stream = socket.connect(server).await.context("a slow reader")?;
        let (start, _) = file.piece(random.next() % file.pieces());
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nRange: bytes={start}-\r\n\r\n",
            file.path, file.hosts[0]
        );
        stream.write_all(request.as_bytes()).await?;
        slow.sockets.lock().push((stream, false));
        if number % at_once == 0 {
            sleep(COMING / 100).await;
        }
    }
    Ok(())
}

/// Takes from each in its turn, once a second.
async fn take_slowly(slow: Arc<Slow>) {
    let mut tick = interval(Duration::from_secs(1) / TICKS_A_SECOND as u32);
    let mut bytes = [0; BYTES_A_SECOND];
    let mut at = 0;
    loop {
        tick.tick().await;
        let mut sockets = slow.sockets.lock();
        let share = sockets.len().div_ceil(TICKS_A_SECOND);
        for _ in 0..share {
            at = (at + 1) % sockets.len();
            let (stream, begun) = &mut sockets[at];
            match stream.try_read(&mut bytes) {
                Ok(n) if n > 0 && !*begun => {
                    *begun = true;
                    let served = bytes.starts_with(b"HTTP/1.1 206 ");
                    let count = if served { &slow.served } else { &slow.refused };
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => {
                    slow.gone.fetch_add(1, Ordering::Relaxed);
                    sockets.swap_remove(at);
                    if sockets.is_empty() {
                        break;
                    }
                }
                Ok(_) => {}
            }
        }
    }
}

/// Bytes that all TCP sockets of the machine hold (proc(5): pages in /proc/net/sockstat).
fn socket_bytes() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/net/sockstat")?;
    let line = stat.lines().find(|line| line.starts_with("TCP:"));
    let pages = line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    Ok(pages.context("/proc/net/sockstat says nothing of TCP's memory")? * 4096)
}
