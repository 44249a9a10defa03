//! The lines on which a cold client is measured: one of 1 Gbit/s that the kernel shapes between two namespaces, and
//! longer, slower ones through a forwarder. The rule: both ways go over the same line.

use super::cold_client::{Measured, files, files_of};
use crate::line::Line;
use crate::office::{larder, runtime};
use crate::place::{is_root, path, run};
use anyhow::{Context, Result, ensure};
use larder::demo::origin::Origin;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The two ends of the line between the namespaces.
const NEAR: &str = "10.77.0.1";
const FAR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

const FAR_PORT: u16 = 8900;

/// Bytes of a file at 1 Gbit/s: about three seconds.
const GIGABIT_BYTES: u64 = 384 << 20;

/// Round trips in milliseconds, and speeds in Mbit/s with the size of a file that takes some seconds.
const ROUND_TRIPS_MS: [u64; 3] = [20, 60, 150];
const SPEEDS: [(f64, u64); 2] = [(50.0, 32 << 20), (200.0, 128 << 20)];

/// Numbers of the files of the shaped line; those of the others begin at 0.
const GIGABIT_FILES: u64 = 100_000;

/// One cold client through larder against the same client straight to the origin, on shaped lines.
#[derive(clap::Args, Debug)]
pub struct ColdClient {
    /// Rounds on each line.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// Only the line of 1 Gbit/s between two namespaces.
    #[arg(long, conflicts_with = "long_lines_only")]
    gigabit_only: bool,
    /// Only the long lines through a forwarder.
    #[arg(long)]
    long_lines_only: bool,
}

impl ColdClient {
    /// Measures on the lines.
    ///
    /// # Errors
    /// Something can not be started, or a client saw something wrong.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        run_all(out, self.rounds, !self.long_lines_only, !self.gigabit_only)
    }
}

/// The far end of the line of 1 Gbit/s.
#[derive(clap::Args, Debug)]
pub struct FarEnd {
    /// Rounds that it has files for.
    #[arg(long)]
    rounds: u64,
}

impl FarEnd {
    /// Serves until its standard input ends.
    ///
    /// # Errors
    /// The address is not there.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        serve_far(out, self.rounds).map(|()| true)
    }
}

fn run_all(out: &mut impl Write, rounds: u64, gigabit: bool, long: bool) -> Result<bool> {
    let mut good = true;
    if gigabit {
        if is_root() {
            good &= on_a_gigabit(out, rounds)?;
        } else {
            writeln!(out, "1 Gbit/s: NOT MEASURED, only root may shape")?;
            good = false;
        }
    }
    if long {
        good &= on_long_lines(out, rounds)?;
    }
    Ok(good)
}

fn on_long_lines(out: &mut impl Write, rounds: u64) -> Result<bool> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut good = true;
        let mut first_file = 0;
        for (mbit, len) in SPEEDS {
            for round_trip_ms in ROUND_TRIPS_MS {
                let directory = tempfile::tempdir()?;
                let all = files(first_file, rounds, len);
                let origin = Origin::start((Ipv4Addr::LOCALHOST, 0).into(), all).await?;
                let round_trip = Duration::from_millis(round_trip_ms);
                let line = Line::lay(origin.address(), mbit, round_trip).await?;
                let server = larder(directory.path(), 8801, line.address())?;
                let measured = Measured {
                    name: &format!("{mbit} Mbit/s, {round_trip_ms} ms"),
                    direct: line.address(),
                    larder: server.address,
                    rounds,
                    first_file,
                    len,
                };
                good &= measured.run(out).await?;
                first_file += files_of(rounds);
            }
        }
        Ok(good)
    })
}

fn on_a_gigabit(out: &mut impl Write, rounds: u64) -> Result<bool> {
    let far = FarOrigin::start(rounds)?;
    let directory = tempfile::tempdir()?;
    let server = larder(directory.path(), 8802, far.address)?;
    let measured = Measured {
        name: "1 Gbit/s",
        direct: far.address,
        larder: server.address,
        rounds,
        first_file: GIGABIT_FILES,
        len: GIGABIT_BYTES,
    };
    runtime()?.block_on(measured.run(out))
}

/// An origin in a namespace of its own, at the far end of a shaped line; it ends when it is dropped, and the line
/// with it.
struct FarOrigin {
    child: Child,
    address: SocketAddr,
}

impl FarOrigin {
    fn start(rounds: u64) -> Result<Self> {
        let child = Command::new("unshare")
            .arg("--net")
            .arg(std::env::current_exe()?)
            .args(["origin", "--rounds", &rounds.to_string()])
            .env("PATH", path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the far origin")?;
        let mut far = Self {
            child,
            address: SocketAddr::from((FAR, FAR_PORT)),
        };
        far.connect()?;
        Ok(far)
    }

    fn connect(&mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        let mut said = BufReader::new(self.child.stdout.take().context("it has no output")?);
        let mut word = || {
            let mut line = String::new();
            said.read_line(&mut line).map(|_| line)
        };
        // Only once it is in its namespace can the line's far end be put there.
        ensure!(word()? == "here\n", "the far origin does not start");
        let lines = [
            "ip link add near type veth peer name far".to_owned(),
            format!("ip link set far netns {pid}"),
            format!("ip addr add {NEAR}/24 dev near"),
            "ip link set near up".to_owned(),
            format!("nsenter -t {pid} -n ip addr add {FAR}/24 dev far"),
            format!("nsenter -t {pid} -n ip link set far up"),
            // The far end sends the content, so that is where it is shaped.
            format!(
                "nsenter -t {pid} -n tc qdisc add dev far root tbf rate 1gbit burst 256kb latency 20ms"
            ),
            "tc qdisc add dev near root tbf rate 1gbit burst 256kb latency 20ms".to_owned(),
        ];
        for line in lines {
            let mut words = line.split(' ');
            let program = words.next().unwrap_or_default();
            run(program, &words.collect::<Vec<_>>())?;
        }
        let mut go = self.child.stdin.as_ref().context("it has no input")?;
        writeln!(go, "go")?;
        ensure!(word()? == "serving\n", "the far origin does not serve");
        Ok(())
    }
}

impl Drop for FarOrigin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The far origin itself.
fn serve_far(out: &mut impl Write, rounds: u64) -> Result<()> {
    writeln!(out, "here")?;
    out.flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let runtime = runtime()?;
    let files = files(GIGABIT_FILES, rounds, GIGABIT_BYTES);
    let _origin = runtime.block_on(Origin::start((FAR, FAR_PORT).into(), files))?;
    writeln!(out, "serving")?;
    out.flush()?;
    std::io::stdin().read_line(&mut line)?;
    Ok(())
}
