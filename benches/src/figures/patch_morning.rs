//! The morning after a patch day: everybody wants the same new objects at once, and nothing of them is here. The rule:
//! each turn has objects that nobody has seen, on a line of its own to the same origin.

use crate::crowd;
use crate::kind::Kind;
use crate::latency::Spread;
use crate::line::Line;
use crate::office::{fetch, file, larder, runtime};
use crate::servers::Server;
use anyhow::{Result, ensure};
use larder::demo::client::Naming;
use larder::demo::content::File;
use larder::demo::origin::Origin;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

const MBIT: f64 = 100.0;
const ROUND_TRIP: Duration = Duration::from_millis(60);

/// Of all clients, so many compare every byte.
const COMPARING: u64 = 4;

/// Shares of the bytes: a feature update, a cumulative one, a small one.
const SHARES: [u64; 3] = [4, 3, 1];

const OVER_THE_LINE_MAX: f64 = 1.05;
const OVER_NGINX_MAX: f64 = 0.8;

/// Many clients fetch three cold objects over 100 Mbit/s and 60 ms: time to the last one, against the line and nginx.
#[derive(clap::Args, Debug)]
pub struct PatchMorning {
    /// Clients.
    #[arg(long, default_value_t = 200)]
    clients: u64,
    /// MiB of the three objects together.
    #[arg(long, default_value_t = 64)]
    mib: u64,
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// Without nginx.
    #[arg(long)]
    larder_only: bool,
}

impl PatchMorning {
    /// Measures in turns. Good where the last client is served soon after the line has brought one copy.
    ///
    /// # Errors
    /// A server does not start, or a client saw something wrong.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let directory = tempfile::tempdir()?;
        let runtime = runtime()?;
        runtime.block_on(self.measure(out, directory.path()))
    }

    async fn measure(&self, out: &mut impl Write, directory: &std::path::Path) -> Result<bool> {
        let kinds: &[Kind] = match self.larder_only {
            true => &[Kind::Larder],
            false => &[Kind::Larder, Kind::NginxSliceTuned],
        };
        let turns = self.rounds * kinds.len() as u64;
        let files: Vec<File> = (0..turns).flat_map(|turn| self.objects(turn)).collect();
        let origin = Origin::start((Ipv4Addr::LOCALHOST, 0).into(), files).await?;
        let bytes: u64 = self.objects(0).iter().map(|file| file.len).sum();
        // One connection must be opened and one question asked before the first byte comes.
        let alone = (2 * ROUND_TRIP).as_secs_f64() + bytes as f64 * 8.0 / MBIT / 1e6;
        let mut seconds = vec![Vec::new(); kinds.len()];
        for turn in 0..turns {
            let at = (turn % kinds.len() as u64) as usize;
            let line = Line::lay(origin.address(), MBIT, ROUND_TRIP).await?;
            let port = 8810 + u16::try_from(turn)?;
            let turns_own = directory.join(turn.to_string());
            std::fs::create_dir_all(&turns_own)?;
            let server = match kinds[at] {
                Kind::Larder => larder(&turns_own, port, line.address())?,
                kind => {
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                    let to = line.address();
                    Server::nginx(kind, &turns_own, &turns_own, address, to, None, None)?
                }
            };
            let before = origin.body_bytes();
            let files = self.objects(turn).map(Arc::new);
            let (crowd, compared) = tokio::join!(
                crowd::fetch(server.address, self.clients - COMPARING, &files),
                fetch(server.address, Naming::Host, COMPARING, &files)
            );
            let faults: Vec<_> = crowd.faults.iter().chain(&compared.tally.faults).collect();
            ensure!(faults.is_empty(), "{}: {}", kinds[at].name(), faults[0]);
            let of_clients = Spread::of(crowd.seconds);
            let last = of_clients.max.max(compared.took.as_secs_f64());
            seconds[at].push(last);
            writeln!(
                out,
                "{:<18} {} clients, {bytes} bytes: first done after {:.2} s, half {:.2} s, last {last:.2} s \
                 ({:.3} x the line's own {alone:.2} s); origin bytes / content = {:.3}; asked again {}",
                kinds[at].name(),
                self.clients,
                of_clients.min,
                of_clients.median,
                last / alone,
                (origin.body_bytes() - before) as f64 / bytes as f64,
                crowd.again + compared.tally.not_now + compared.tally.broken,
            )?;
            out.flush()?;
        }
        let own = Spread::of(seconds[0].iter().copied()).median;
        let mut good = super::at_most(out, "last client / line", own / alone, OVER_THE_LINE_MAX)?;
        if let Some(other) = seconds.get(1) {
            let other = Spread::of(other.iter().copied()).median;
            let what = "last client / that of nginx-slice-tuned";
            good &= super::at_most(out, what, own / other, OVER_NGINX_MAX)?;
        }
        Ok(good)
    }

    fn objects(&self, turn: u64) -> [File; 3] {
        let all: u64 = SHARES.iter().sum();
        let len = |at: usize| (self.mib << 20) * SHARES[at] / all;
        [0, 1, 2].map(|at| file(turn * 3 + at as u64, len(at), 1))
    }
}
