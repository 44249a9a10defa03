//! What connections cost that do nothing. The rule: each has been answered once, as those that clients keep open have.

use crate::cpu::resident_bytes;
use crate::crowd::ask;
use crate::office::guid_file;
use crate::servers::LarderSetup;
use crate::stage::{Stage, runtime};
use anyhow::Result;
use larder_net::sock::raise_open_files;
use std::io::Write;
use std::sync::Arc;

const MB_FOR_TEN_THOUSAND_MAX: f64 = 40.0;

/// Resident memory of 10,000 idle keep-alive connections.
#[derive(clap::Args, Debug)]
pub struct Idle {
    /// Connections.
    #[arg(long, default_value_t = 10_000)]
    connections: u64,
}

impl Idle {
    /// Opens them. Good where they cost at most 40 MB, or the same share of it.
    ///
    /// # Errors
    /// Something does not start, or there are not enough descriptors.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        raise_open_files()?;
        let directory = tempfile::tempdir()?;
        runtime()?.block_on(async {
            let file = Arc::new(guid_file(1, 1 << 20, 0));
            let files = [Arc::clone(&file)];
            let stage = Stage::set(directory.path(), &files, LarderSetup::default()).await?;
            let mut first = None;
            // Twice, so that what a first and a second answer bring into memory is there.
            for _ in 0..2 {
                ask(stage.larder.address, &mut first, &file, (0, file.len)).await?;
            }
            let process = stage.larder.group();
            let before = resident_bytes(process);
            let mut sockets = Vec::new();
            for _ in 0..self.connections {
                let mut socket = None;
                ask(stage.larder.address, &mut socket, &file, (0, 4096)).await?;
                sockets.push(socket);
            }
            let open = stage.larder.metric("larder_http_connections", "")?;
            let more = resident_bytes(process).saturating_sub(before) as f64;
            writeln!(
                out,
                "{open:.0} connections: {:.1} MB resident more than {:.1} MB, {:.0} bytes each",
                more / 1e6,
                before as f64 / 1e6,
                more / self.connections as f64
            )?;
            let for_ten_thousand = more / self.connections as f64 * 1e4 / 1e6;
            let what = "MB for 10,000 idle connections";
            Ok(super::at_most(
                out,
                what,
                for_ten_thousand,
                MB_FOR_TEN_THOUSAND_MAX,
            )?)
        })
    }
}
