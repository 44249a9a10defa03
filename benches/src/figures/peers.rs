//! Blocks for peers against ranges for clients: CPU seconds per GB of the same larder, in turns. The rule: the same
//! bytes from the same memory by the same number of connections, one core for larder and one for who asks.

use crate::kind::Kind;
use crate::latency::Spread;
use crate::office::named;
use crate::place::{self, Pages, beside};
use crate::servers::{LarderSetup, Server, for_peers, pinned};
use crate::side_by_side::{read_through, write_out};
use anyhow::{Context, Result};
use larder::demo::content::File;
use larder_content::hash::of_piece;
use larder_content::{ContentId, Phf};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// CPU seconds per GB for peers, as a multiple of those for clients.
const RATIO_MAX: f64 = 1.05;
const HOST: &str = "download.windowsupdate.com";
const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;
/// How long larder may take to read a piece-hash file and to compare what is stored with it.
const LEARNS_MAX: Duration = Duration::from_secs(60);

/// Blocks of 16 KiB and 1 MiB for peers against ranges of the same size by HTTP: CPU seconds per GB.
#[derive(clap::Args, Debug)]
pub struct Peers {
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that each is measured in each round.
    #[arg(long, default_value_t = 2.5)]
    seconds: f64,
    /// Connections at once.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests that each connection has under way.
    #[arg(long, default_value_t = 1)]
    pipeline: usize,
    /// MiB of the object.
    #[arg(long, default_value_t = 512)]
    mib: u64,
    /// larder's driver.
    #[arg(long, default_value = "io_uring")]
    driver: String,
}

/// CPU seconds for each GB.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// Of larder's core, whoever had it: packets, and what disturbed the measurement, included.
    core: f64,
    /// Of larder's threads.
    processes: f64,
}

impl Peers {
    /// Measures. Good where neither size costs more for peers than the aim.
    ///
    /// # Errors
    /// Something does not start, or an answer is wrong.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let _pages = Pages::advised();
        writeln!(out, "{}", place::machine())?;
        let directory = tempfile::tempdir()?;
        let (larder, file, swarm, _origin) = self.set_up(directory.path())?;
        let mut good = true;
        for range_bytes in [16 << 10, 1 << 20] {
            let mut costs = Vec::new();
            for _ in 0..self.rounds {
                let by_http = self.cost(&larder, &file, range_bytes, None)?;
                let by_peer = self.cost(&larder, &file, range_bytes, Some(swarm))?;
                costs.push([by_http, by_peer]);
            }
            let kib = range_bytes >> 10;
            for (whose, of) in [
                ("the core", (|cost| cost.core) as fn(&Cost) -> f64),
                ("larder alone", |cost| cost.processes),
            ] {
                let spread = |which: usize| Spread::of(costs.iter().map(|cost| of(&cost[which])));
                let (by_http, by_peer) = (spread(0), spread(1));
                let ratio = Spread::of(costs.iter().map(|cost| of(&cost[1]) / of(&cost[0])));
                writeln!(
                    out,
                    "{kib} KiB, s/GB of {whose}: by HTTP {:.3} ({:.3} to {:.3}), to peers {:.3} ({:.3} to {:.3}); \
                     ratio {:.3} ({:.2} to {:.2})",
                    by_http.median,
                    by_http.min,
                    by_http.max,
                    by_peer.median,
                    by_peer.min,
                    by_peer.max,
                    ratio.median,
                    ratio.min,
                    ratio.max
                )?;
            }
            let ratio = Spread::of(costs.iter().map(|[http, peer]| peer.core / http.core));
            let what = format!("{kib} KiB, CPU s/GB, peers / HTTP");
            good &= super::at_most(out, &what, ratio.median, RATIO_MAX)?;
        }
        Ok(good)
    }

    /// An object in larder's memory, and a swarm that shares it.
    fn set_up(&self, directory: &Path) -> Result<(Server, File, ContentId, Server)> {
        let file = named(File {
            title: "the object",
            hosts: vec![HOST.to_owned()],
            path: String::new(),
            signed: false,
            len: self.mib << 20,
            seed: 17,
            foreign: true,
        });
        let root = directory.join("root");
        write_out(&file, &root)?;
        let phf = hashes_of(&file)?;
        let beside_it = format!("{}.phf", file.path);
        std::fs::write(root.join(&beside_it[1..]), phf.to_json())?;
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let origin = at(8700);
        let of_all = Server::nginx(
            Kind::NginxStatic,
            directory,
            &root,
            origin,
            origin,
            None,
            None,
        )?;
        let setup = LarderSetup {
            connect: vec![(HOST.to_owned(), origin)],
            memory: format!("{}MiB", self.mib * 3 + 512),
            shards: 1,
            driver: self.driver.clone(),
            peers: true,
            ..LarderSetup::default()
        };
        let larder = Server::larder(directory, at(8701), &setup, Some(SERVER_CORE))?;
        // Its hashes first, and the object more than once, so that all of it is in memory.
        get(larder.address, &beside_it)?;
        for _ in 0..3 {
            read_through(&larder, larder.address, &file)?;
        }
        let swarm = phf.content_id();
        let end = Instant::now() + LEARNS_MAX;
        while let Err(error) = self.cost(&larder, &file, 1 << 20, Some(swarm)) {
            if Instant::now() > end {
                return Err(error.context("larder does not share the object with peers"));
            }
        }
        Ok((larder, file, swarm, of_all))
    }

    /// What it costs to send a GB.
    fn cost(
        &self,
        larder: &Server,
        file: &File,
        range_bytes: u64,
        swarm: Option<ContentId>,
    ) -> Result<Cost> {
        let mut command = pinned(&beside("larder-load")?, Some(CLIENT_CORE));
        let mut option = |name: &str, value: &dyn std::fmt::Display| {
            command.arg(name).arg(value.to_string());
        };
        match &swarm {
            None => option("--address", &larder.address),
            Some(swarm) => {
                option("--address", &for_peers(larder.address));
                option("--swarm", swarm);
            }
        }
        option("--path", &file.path);
        option("--host", &HOST);
        option("--size", &file.len);
        option("--seed", &file.seed);
        option("--range-bytes", &range_bytes);
        option("--connections", &self.connections);
        option("--pipeline", &self.pipeline);
        option("--warm-up-seconds", &0.4);
        option("--seconds", &self.seconds);
        option("--client-core", &CLIENT_CORE);
        option("--watch-core", &SERVER_CORE);
        option("--watch-group", &larder.group());
        let figure = larder.loaded(&mut command)?;
        let gb = figure("bytes") / 1e9;
        Ok(Cost {
            core: figure("core_seconds") / gb,
            processes: figure("process_seconds") / gb,
        })
    }
}

fn hashes_of(file: &File) -> Result<Phf> {
    let mut piece = Vec::new();
    let hashes = (0..file.pieces()).map(|number| {
        let (start, end) = file.piece(number);
        piece.resize(usize::try_from(end - start).unwrap_or(0), 0);
        file.fill(start, &mut piece);
        of_piece(&piece)
    });
    Ok(Phf::new(file.len, hashes.collect())?)
}

/// Has larder fetch a small object.
fn get(address: SocketAddr, path: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let is_there = answer.starts_with("HTTP/1.1 200");
    is_there
        .then_some(())
        .context("the origin has no piece-hash file")
}
