//! Many clients on a thin line. The rule: what drives a real client away (facts: clients, section 1.13) is measured
//! on every request of every client.

use crate::line::Line;
use crate::office::{fetch, file, larder, runtime};
use anyhow::Result;
use larder::demo::client::Naming;
use larder::demo::origin::Origin;
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

const MBIT: f64 = 10.0;
const ROUND_TRIP: Duration = Duration::from_millis(30);

/// A client leaves at 20 s; larder answers 503 before this.
const FIRST_BYTE_MAX: Duration = Duration::from_secs(15);

/// Under this over 20 s a client leaves.
const BYTES_PER_SECOND_MIN: f64 = 4000.0;

/// Many clients on a line of 10 Mbit/s.
#[derive(clap::Args, Debug)]
pub struct ThinLine {
    /// Clients.
    #[arg(long, default_value_t = 200)]
    clients: u64,
    /// Bytes of the file that they fetch.
    #[arg(long, default_value_t = 100 << 20)]
    bytes: u64,
}

impl ThinLine {
    /// The clients fetch the same bytes, each in an order of its own.
    ///
    /// # Errors
    /// Something can not be started.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        run(out, self.clients, self.bytes)
    }
}

fn run(out: &mut impl Write, clients: u64, len: u64) -> Result<bool> {
    let directory = tempfile::tempdir()?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let file = file(1, len, 4);
        let origin = Origin::start((Ipv4Addr::LOCALHOST, 0).into(), vec![file.clone()]).await?;
        let line = Line::lay(origin.address(), MBIT, ROUND_TRIP).await?;
        let server = larder(directory.path(), 8803, line.address())?;
        let seen = fetch(server.address, Naming::Parameter, clients, &[Arc::new(file)]).await;
        let tally = seen.tally;
        let first = tally.first_byte_at(1.0);
        let slowest = tally.slowest_window;
        writeln!(
            out,
            "{clients} clients, {len} bytes, 10 Mbit/s: {:.0} s ({:.0} s is what the line needs); origin bytes / \
             content = {:.4}\n  first byte: median {:.2} s, 99 % {:.2} s, slowest {:.2} s; answers 5xx: {}, broken \
             connections: {}, faults: {}\n  slowest 20 s of an answer: {}",
            seen.took.as_secs_f64(),
            len as f64 * 8.0 / MBIT / 1e6,
            origin.body_bytes() as f64 / len as f64,
            tally.first_byte_at(0.5).as_secs_f64(),
            tally.first_byte_at(0.99).as_secs_f64(),
            first.as_secs_f64(),
            tally.not_now,
            tally.broken,
            tally.faults.len(),
            slowest.map_or("none took as long".to_owned(), |rate| format!("{rate:.0} B/s")),
        )?;
        for fault in tally.faults.iter().take(3) {
            writeln!(out, "  fault: {fault}")?;
        }
        let fast_enough = slowest.is_none_or(|rate| rate >= BYTES_PER_SECOND_MIN);
        Ok(first <= FIRST_BYTE_MAX && fast_enough && tally.wrong_bytes == 0)
    })
}
