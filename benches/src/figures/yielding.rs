//! A background download beside somebody else on a thin line with a deep queue. The rule: what others get and wait is
//! measured at their end, with the background and without, on the same line in the same run.
//!
//! The line is a token bucket of the kernel's, with a queue of 400 ms in front; it has no length of its own, since not
//! every kernel can make one. The other flow is of TCP with cubic, which fills such a queue; delays are those of small
//! packets there and back.

use crate::place::{beside, run};
use crate::sites::{Network, wan_address};
use anyhow::{Context, Result, bail};
use larder::demo::origin::Origin;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const QUEUE_MS: u64 = 400;
const FILE_BYTES: u64 = 1 << 30;
const OTHERS_PORT: u16 = 9800;
/// How long a flow has before it is measured.
const SETTLES: Duration = Duration::from_secs(6);
const PROBE_EVERY: Duration = Duration::from_millis(10);

const KEPT_MIN: f64 = 0.9;
const IDLE_MIN: f64 = 0.8;
const ADDED_MS_MAX: f64 = 60.0;

/// The two hosts of the office.
const DEVICE: usize = 0;
const OTHER: usize = 1;

/// A background download and somebody else on one line: what the other keeps, and how long it waits.
#[derive(clap::Args, Debug)]
pub struct Yielding {
    /// Mbit/s of the line.
    #[arg(long, default_value_t = 20.0)]
    wan_mbit: f64,
    /// Seconds that are measured of each.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// The other host, which reads and asks how long the line takes.
#[derive(clap::Args, Debug)]
pub struct Other {
    /// Whom to ask.
    #[arg(long)]
    to: SocketAddr,
    /// Seconds that are measured.
    #[arg(long)]
    seconds: u64,
    /// Read as much as comes, besides.
    #[arg(long)]
    reads: bool,
}

/// What was seen in a time.
struct Seen {
    /// Of the line, by the other flow and by the background.
    other: f64,
    background: f64,
    p50_ms: f64,
    p95_ms: f64,
}

/// Which background.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Background {
    None,
    /// As it is without settings.
    Yields,
    /// With a limit that is far above the line, under which it takes its share as anybody does.
    Takes,
}

impl Yielding {
    /// Measures each arrangement once. Good where all aims are reached.
    ///
    /// # Errors
    /// Something does not start.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let network = Network::lay(1, 2, self.wan_mbit)?;
        network.deepen(self.wan_mbit, QUEUE_MS)?;
        let runtime = crate::office::runtime()?;
        let file = crate::office::guid_file(9_000, FILE_BYTES, 0);
        let url = format!("http://{}{}", wan_address(), file.path);
        let address: SocketAddr = format!("{}:80", wan_address()).parse()?;
        let _origin = runtime.block_on(Origin::start(address, vec![file]))?;
        serve_others()?;
        let mut tried = |name: &str, background, reads| -> Result<Seen> {
            let directory = tempfile::tempdir()?;
            let _device = Device::start(&network, directory.path(), &url, background)?;
            if background != Background::None {
                thread::sleep(SETTLES);
            }
            let seen = self.measure(&network, reads)?;
            writeln!(
                out,
                "{name}: the other {:.1} %, the background {:.1} % of the line; delay p50 {:.1} ms, p95 {:.1} ms",
                100.0 * seen.other,
                100.0 * seen.background,
                seen.p50_ms,
                seen.p95_ms
            )?;
            out.flush()?;
            Ok(seen)
        };
        let empty = tried("nobody", Background::None, false)?;
        let alone = tried("the other alone", Background::None, true)?;
        let idle = tried("the background alone", Background::Yields, false)?;
        let greedy = tried("one that does not yield, alone", Background::Takes, false)?;
        let both = tried("both", Background::Yields, true)?;
        let fought = tried("both, and it does not yield", Background::Takes, true)?;
        let mut good = true;
        let kept = both.other / alone.other;
        good &= super::at_least(out, "kept by the other flow", kept, KEPT_MIN)?;
        let kept = fought.other / alone.other;
        writeln!(
            out,
            "kept by it where the background does not yield: {kept:.3}"
        )?;
        let added = both.p95_ms - alone.p95_ms;
        good &= super::at_most(out, "delay added to it, p95, ms", added, ADDED_MS_MAX)?;
        let added = idle.p95_ms - empty.p95_ms;
        good &= super::at_most(out, "delay on an idle line, p95, ms", added, ADDED_MS_MAX)?;
        let added = greedy.p95_ms - empty.p95_ms;
        writeln!(out, "the same where it does not yield: {added:.1}")?;
        let used = idle.background;
        good &= super::at_least(out, "part of an idle line that is used", used, IDLE_MIN)?;
        Ok(good)
    }

    fn measure(&self, network: &Network, reads: bool) -> Result<Seen> {
        let mut command = network.command(0, OTHER, &std::env::current_exe()?);
        command
            .args(["other", "--to"])
            .arg(format!("{}:{OTHERS_PORT}", wan_address()))
            .args(["--seconds", &self.seconds.to_string()])
            .args(reads.then_some("--reads"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the other host")?;
        let mut said = child.stdout.take().context("it has no output")?;
        // It says when it begins, and what it saw.
        said.read_exact(&mut [0])?;
        let before = network.lan_in_bytes(0)?;
        let mut words = String::new();
        said.read_to_string(&mut words)?;
        let after = network.lan_in_bytes(0)?;
        if !child.wait()?.success() {
            bail!("the other host failed: {words}");
        }
        let numbers: Vec<f64> = words
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let [bytes, took, p50_ms, p95_ms] = numbers[..] else {
            bail!("the other host says {words:?}");
        };
        let line = self.wan_mbit * 125_000.0 * took;
        // Its headers are counted with it: 66 bytes with each segment of 1448.
        let other = bytes * (1514.0 / 1448.0) / line;
        Ok(Seen {
            other,
            background: ((after - before) as f64 / line - other).max(0.0),
            p50_ms,
            p95_ms,
        })
    }
}

impl Other {
    /// Prints the bytes that came in how many seconds, and the delays.
    ///
    /// # Errors
    /// Nobody is there.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let probe = UdpSocket::bind("0.0.0.0:0")?;
        probe.connect(self.to)?;
        probe.set_read_timeout(Some(Duration::from_secs(3)))?;
        let mut stream = TcpStream::connect(self.to)?;
        let reads = self.reads;
        let settled = Instant::now() + if reads { SETTLES } else { Duration::ZERO };
        let until = settled + Duration::from_secs(self.seconds);
        let reading = thread::spawn(move || {
            let (mut buf, mut bytes) = (vec![0; 64 << 10], 0);
            while reads && Instant::now() < until {
                let count = stream.read(&mut buf)?;
                if Instant::now() >= settled {
                    bytes += count;
                }
            }
            std::io::Result::Ok(bytes)
        });
        thread::sleep(settled.saturating_duration_since(Instant::now()));
        write!(out, "!")?;
        out.flush()?;
        let mut delays_ms = Vec::new();
        while Instant::now() < until {
            let asked = Instant::now();
            probe.send(&[0; 32])?;
            // One that the line drops waited as long as nobody knows.
            if probe.recv(&mut [0; 32]).is_ok() {
                delays_ms.push(asked.elapsed().as_secs_f64() * 1000.0);
            }
            thread::sleep(PROBE_EVERY);
        }
        let Ok(bytes) = reading.join() else {
            bail!("the reader failed");
        };
        delays_ms.sort_by(f64::total_cmp);
        let at = |percent: usize| delays_ms.get(delays_ms.len() * percent / 100);
        let (Some(p50), Some(p95)) = (at(50), at(95)) else {
            bail!("nothing comes back");
        };
        writeln!(out, "{} {} {p50} {p95}", bytes?, self.seconds)?;
        Ok(true)
    }
}

/// Sends to whoever connects as much as he takes, and gives back each small packet.
fn serve_others() -> Result<()> {
    let address = (wan_address(), OTHERS_PORT);
    let listener = TcpListener::bind(&address)?;
    let echo = UdpSocket::bind(&address)?;
    thread::spawn(move || {
        let mut packet = [0; 64];
        while let Ok((count, from)) = echo.recv_from(&mut packet) {
            let _ = echo.send_to(&packet[..count], from);
        }
    });
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            thread::spawn(move || while stream.write_all(&[7; 16 << 10]).is_ok() {});
        }
    });
    Ok(())
}

/// The program itself, which downloads in the background.
struct Device(Option<Child>);

impl Device {
    fn start(
        network: &Network,
        directory: &Path,
        url: &str,
        background: Background,
    ) -> Result<Self> {
        let limit = match background {
            Background::None => return Ok(Self(None)),
            Background::Yields => "",
            Background::Takes => "DOMaxBackgroundDownloadBandwidth = 1000000\n",
        };
        let settings = directory.join("larder.toml");
        fs::write(&settings, format!("[policy]\nDODownloadMode = 0\n{limit}"))?;
        let log = File::create(directory.join("log"))?;
        let mut command: Command = network.command(0, DEVICE, &beside("larder")?);
        command
            .args(["get", url, "--background", "--json", "--config"])
            .arg(&settings)
            .arg("-o")
            .arg(directory.join("object"))
            .env("XDG_CACHE_HOME", directory.join("cache"))
            .env("HOME", directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(Self(Some(
            command.spawn().context("cannot start larder get")?,
        )))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // `ip netns exec` becomes the program, so that this is its own number.
            let _ = run("kill", &["-s", "INT", &child.id().to_string()]);
            let _ = child.wait();
        }
    }
}
