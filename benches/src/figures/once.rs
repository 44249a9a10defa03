//! What many clients cost the line to the origin. The rule: the origin counts, nobody else.

use crate::office::{fetch, file, larder, runtime};
use anyhow::Result;
use larder::demo::client::Naming;
use larder::demo::origin::Origin;
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;

const RATIO_MAX: f64 = 1.01;

/// Origin bytes of many clients that fetch the same cold file at once, by one host name and by four.
#[derive(clap::Args, Debug)]
pub struct Once {
    /// Clients.
    #[arg(long, default_value_t = 50)]
    clients: u64,
}

impl Once {
    /// The clients fetch the same cold 100 MB at once: by one host name, then another file by four.
    ///
    /// # Errors
    /// Something can not be started.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        run(out, self.clients)
    }
}

fn run(out: &mut impl Write, clients: u64) -> Result<bool> {
    let directory = tempfile::tempdir()?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut good = true;
        let files = [file(1, 100_000_000, 1), file(2, 100_000_000, 4)];
        let origin = Origin::start((Ipv4Addr::LOCALHOST, 0).into(), files.to_vec()).await?;
        let server = larder(directory.path(), 8800, origin.address())?;
        for file in files {
            let (len, hosts) = (file.len, file.hosts.len());
            let before = origin.body_bytes();
            let seen = fetch(server.address, Naming::Parameter, clients, &[Arc::new(file)]).await;
            let sent = origin.body_bytes() - before;
            let ratio = sent as f64 / len as f64;
            writeln!(
                out,
                "{clients} clients at once, cold, {len} bytes by {hosts} host names: origin bytes / content = {ratio:.4} \
                 ({:.1} s, {} faults)",
                seen.took.as_secs_f64(),
                seen.tally.faults.len()
            )?;
            for fault in seen.tally.faults.iter().take(3) {
                writeln!(out, "  fault: {fault}")?;
            }
            good &= (1.0..=RATIO_MAX).contains(&ratio) && seen.tally.faults.is_empty();
        }
        Ok(good)
    })
}
