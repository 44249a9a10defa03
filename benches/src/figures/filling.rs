//! Filling: an object that nobody has, from an origin on the same machine, through larder and through an nginx slice
//! cache in turns. The rule: both pay for the disk within what is measured, and everything that is neither client nor
//! origin counts as the server's.
//!
//! The server runs on one core, the origin (nginx with plain files by sendfile) and the client (which drops bodies
//! inside the kernel) on the other; together they cost a small part of what a server does, so they do not limit it.
//! nginx leaves what it stores in the page cache, and the kernel's threads write it out later, on whichever core is
//! free. So a measurement goes on until all is on disk (`sync -f`), and its CPU seconds are those of both cores without
//! those of client and origin. Speed is up to the client's last byte, as the client sees it; how long it took until all
//! was on disk is told beside it.

use crate::cpu;
use crate::kind::Kind;
use crate::latency::Spread;
use crate::place::{self, beside};
use crate::servers::{LarderSetup, Server, pinned};
use anyhow::{Result, ensure};
use larder::demo::content::File as MadeUp;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const SERVER_CORE: usize = 0;
const OTHER_CORE: usize = 1;

/// Whose paths name their objects but not their hashes: nginx compares no hash either.
const HOST: &str = "tlu.dl.delivery.mp.microsoft.com";
const DIRECTORY: &str = "filestreamingservice/files";

/// What larder is to reach next to nginx: speed at least, CPU seconds at most.
const SPEED_MIN: f64 = 1.5;
const COST_MAX: f64 = 0.7;

/// How long larder may take to write what it has served.
const WRITTEN_MAX: Duration = Duration::from_secs(30);

/// Who asks, and how.
struct Pattern {
    name: &'static str,
    connections: usize,
    /// Bytes of a range; None: all of the object in one answer.
    range_bytes: Option<u64>,
}

const PATTERNS: [Pattern; 3] = [
    Pattern {
        name: "one client, one answer",
        connections: 1,
        range_bytes: None,
    },
    Pattern {
        name: "one Windows client",
        connections: 7,
        range_bytes: Some(1 << 20),
    },
    Pattern {
        name: "50 clients",
        connections: 50,
        range_bytes: Some(1 << 20),
    },
];

/// Objects that nobody has through larder and an nginx slice cache in turns: speed, CPU seconds per GB.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Filling {
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// MiB of the object.
    #[arg(long, default_value_t = 512)]
    mib: u64,
    /// Only the pattern with so many connections.
    #[arg(long)]
    connections: Option<usize>,
    /// Without nginx: larder alone.
    #[arg(long)]
    without_nginx: bool,
}

struct Sample {
    /// To the client's last byte.
    seconds: f64,
    /// Until it was on disk.
    written_seconds: f64,
    /// All but client and origin.
    cpu_seconds: f64,
    /// The server's processes alone.
    process_seconds: f64,
}

impl Filling {
    /// Runs it and says whether the aims were reached.
    ///
    /// # Errors
    /// Something can not be started, or a client saw something wrong.
    pub fn run(self, out: &mut impl Write) -> Result<bool> {
        run(out, self)
    }
}

fn run(out: &mut impl Write, fillings: Filling) -> Result<bool> {
    let directory = tempfile::tempdir()?;
    let place = Ground::lay(directory.path(), fillings)?;
    let mut good = true;
    writeln!(
        out,
        "| pattern | server | GB/s | GB/s to the disk | CPU s/GB | process s/GB |\n|---|---|---|---|---|---|"
    )?;
    let mut verdicts = String::new();
    let wanted = |p: &&Pattern| fillings.connections.is_none_or(|n| n == p.connections);
    for (number, pattern) in (0..).zip(PATTERNS.iter().filter(wanted)) {
        let mut of_each: Vec<Vec<Sample>> = place.servers.iter().map(|_| Vec::new()).collect();
        for round in 0..fillings.rounds {
            for (server, samples) in place.servers.iter().zip(&mut of_each) {
                samples.push(place.sample(server, pattern, number * 1000 + round)?);
            }
        }
        let gigabytes = place.file.len as f64 / 1e9;
        let mut medians = Vec::new();
        for (server, samples) in place.servers.iter().zip(&of_each) {
            let spread = |of: &dyn Fn(&Sample) -> f64| Spread::of(samples.iter().map(of));
            let speed = spread(&|s| gigabytes / s.seconds);
            let written = spread(&|s| gigabytes / s.written_seconds);
            let cost = spread(&|s| s.cpu_seconds / gigabytes);
            let process = spread(&|s| s.process_seconds / gigabytes);
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} |",
                pattern.name,
                server.kind.name(),
                cell(speed),
                cell(written),
                cell(cost),
                cell(process)
            )?;
            medians.push((speed.median, cost.median));
        }
        if let [(speed, cost), (other_speed, other_cost)] = medians[..] {
            let (faster, dearer) = (speed / other_speed, cost / other_cost);
            let reached = faster >= SPEED_MIN && dearer <= COST_MAX;
            good &= reached;
            verdicts.push_str(&format!(
                "{}: larder / nginx slice: GB/s {faster:.2} (aim {SPEED_MIN:.2}), CPU s/GB {dearer:.2} (aim {COST_MAX:.2}){}\n",
                pattern.name,
                if reached { "" } else { ", missed" }
            ));
        }
    }
    writeln!(out, "\n{verdicts}")?;
    Ok(good)
}

fn cell(spread: Spread) -> String {
    let Spread { min, median, max } = spread;
    format!("{min:.2}/**{median:.2}**/{max:.2}")
}

/// The origin, the servers, and the one file that stands behind all objects.
struct Ground {
    root: std::path::PathBuf,
    file: MadeUp,
    origin: Server,
    servers: Vec<Server>,
}

impl Ground {
    fn lay(directory: &Path, fillings: Filling) -> Result<Self> {
        let file = MadeUp {
            title: "the object",
            hosts: vec![HOST.to_owned()],
            path: String::new(),
            signed: false,
            len: fillings.mib << 20,
            seed: 23,
            foreign: true,
        };
        let root = directory.join("root");
        fs::create_dir_all(root.join(DIRECTORY))?;
        let mut bytes = vec![0; 1 << 20];
        let mut content = fs::File::create(root.join("content"))?;
        for piece in 0..fillings.mib {
            file.fill(piece << 20, &mut bytes);
            content.write_all(&bytes)?;
        }
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let of_origin = Kind::NginxStatic;
        let (address, other) = (at(8720), Some(OTHER_CORE));
        let origin = Server::nginx(of_origin, directory, &root, address, address, other, None)?;
        let setup = LarderSetup {
            connect: vec![(HOST.to_owned(), address)],
            memory: "1GiB".to_owned(),
            shards: 1,
            ..LarderSetup::default()
        };
        let core = Some(SERVER_CORE);
        let mut servers = vec![Server::larder(directory, at(8721), &setup, core)?];
        if !fillings.without_nginx {
            let slice = Kind::NginxSliceTuned;
            servers.push(Server::nginx(
                slice,
                directory,
                &root,
                at(8722),
                address,
                core,
                None,
            )?);
        }
        Ok(Self {
            root,
            file,
            origin,
            servers,
        })
    }

    fn sample(&self, server: &Server, pattern: &Pattern, number: u64) -> Result<Sample> {
        // Another name for the same bytes is another object to both.
        let path = format!("{DIRECTORY}/{number:08x}-3d1e-4b8a-9c55-6f2f0b1d7e43");
        let name = self.root.join(&path);
        if !name.exists() {
            fs::hard_link(self.root.join("content"), &name)?;
        }
        // Nobody is to pay for the rounds before; the origin's file stays in memory.
        place::drop_caches()?;
        std::io::copy(&mut fs::File::open(&name)?, &mut std::io::sink())?;
        let stored = self.stored(server)?;
        let (before, client) = (self.work(server)?, cpu::ended_children_seconds()?);
        let begun = Instant::now();
        let mut load = pinned(&beside("larder-load")?, Some(OTHER_CORE));
        load.args(["--address", &server.address.to_string()])
            .args(["--path", &format!("/{path}"), "--host", HOST, "--once"])
            .args(["--size", &self.file.len.to_string()])
            .args(["--seed", &self.file.seed.to_string()])
            .args([
                "--range-bytes",
                &pattern.range_bytes.unwrap_or(self.file.len).to_string(),
            ])
            .args(["--connections", &pattern.connections.to_string()])
            // The first of each connection would be every one of those that ask for all of it.
            .args([
                "--compare-every",
                if pattern.connections == 1 { "0" } else { "64" },
            ]);
        let figure = server.loaded(&mut load)?;
        let client = cpu::ended_children_seconds()? - client;
        ensure!(
            figure("bytes") >= self.file.len as f64,
            "{}: not all of it came",
            server.kind.name()
        );
        while server.kind.is_larder() && self.stored(server)? < stored + self.file.len as f64 {
            ensure!(
                begun.elapsed() < WRITTEN_MAX,
                "larder has not stored all that it served: {}",
                server.said()
            );
            thread::sleep(Duration::from_millis(50));
        }
        place::run("sync", &["-f", &self.root.display().to_string()])?;
        let written_seconds = begun.elapsed().as_secs_f64();
        let after = self.work(server)?;
        Ok(Sample {
            seconds: figure("seconds"),
            written_seconds,
            cpu_seconds: after.0 - before.0 - client,
            process_seconds: after.1 - before.1,
        })
    }

    /// Bytes that larder has on disk.
    fn stored(&self, server: &Server) -> Result<f64> {
        if server.kind.is_larder() {
            server.metric("larder_store_piece_bytes", "")
        } else {
            Ok(0.0)
        }
    }

    /// Seconds that both cores have worked, but for the origin, and those of the server's processes.
    fn work(&self, server: &Server) -> Result<(f64, f64)> {
        let cores = cpu::core_seconds(SERVER_CORE)? + cpu::core_seconds(OTHER_CORE)?;
        let origin = cpu::group_seconds(self.origin.group())?;
        Ok((cores - origin, cpu::group_seconds(server.group())?))
    }
}
