//! The same load on several servers, in turns. The rule: one server on one core, the client on another, rounds
//! interleaved, medians with their ends; what any client saw wrong makes the run worthless.

use crate::kind::{AIMS, Bound, Kind, Work};
use crate::latency::Spread;
use crate::office::named;
use crate::place::beside;
use crate::secure::Certificate;
use crate::servers::{LarderSetup, Server, pinned, plain};
use anyhow::{Context, Result, ensure};
use larder::demo::content::{File, PIECE_BYTES};
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;

/// The name by which larder's clients call the origin.
const HOST: &str = "download.windowsupdate.com";

/// What is compared, and how long.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Which servers.
    pub kinds: Vec<Kind>,
    /// Bytes of the object.
    pub content_bytes: u64,
    /// Nothing of it is in memory when a round begins; otherwise all of it is.
    pub cold: bool,
    /// Bytes of a range, one run for each.
    pub range_bytes: Vec<u64>,
    /// Connections.
    pub connections: usize,
    /// Requests under way on each.
    pub pipeline: usize,
    /// Rounds.
    pub rounds: usize,
    /// Seconds of load in each round.
    pub seconds: f64,
    /// All of them by TLS.
    pub tls: bool,
}

/// One server at one size in one round.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Body bytes.
    pub bytes: f64,
    /// Answers.
    pub requests: f64,
    /// Seconds of load.
    pub seconds: f64,
    /// Latencies in milliseconds: median, 99th percentile, slowest.
    pub latency_ms: [f64; 3],
    /// 1 where all connections got the same.
    pub fairness: f64,
    /// Busy seconds of the server's core.
    pub core_seconds: f64,
    /// Seconds that the server's processes ran.
    pub process_seconds: f64,
}

/// All rounds of one server at one size.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which server.
    pub kind: Kind,
    /// At what.
    pub work: Work,
    /// Its rounds.
    pub samples: Vec<Sample>,
}

impl Row {
    /// A figure of each round.
    fn spread(&self, of: impl Fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples.iter().map(of))
    }

    /// Body bytes each second.
    #[must_use]
    pub fn gigabytes_per_second(&self) -> Spread {
        self.spread(|s| s.bytes / s.seconds / 1e9)
    }

    /// Busy seconds of the server's core for each GB.
    #[must_use]
    pub fn core_seconds_per_gb(&self) -> Spread {
        self.spread(|s| s.core_seconds / s.bytes * 1e9)
    }

    /// Seconds of the server's processes for each GB.
    #[must_use]
    pub fn process_seconds_per_gb(&self) -> Spread {
        self.spread(|s| s.process_seconds / s.bytes * 1e9)
    }
}

/// What came of a comparison.
#[derive(Clone, Debug)]
pub struct Compared {
    /// One for each server and size.
    pub rows: Vec<Row>,
    /// Of larder's requests, those answered on shard threads; None without larder.
    pub on_shard: Option<f64>,
}

impl Comparison {
    /// Runs it in a directory, which must be empty and have room for the content several times.
    ///
    /// # Errors
    /// A server does not start, or a client saw something wrong.
    pub fn run(&self, directory: &Path) -> Result<Compared> {
        let file = named(File {
            title: "the object",
            hosts: vec![HOST.to_owned()],
            path: String::new(),
            signed: false,
            len: self.content_bytes,
            seed: 17,
            foreign: true,
        });
        let root = directory.join("root");
        write_out(&file, &root)?;
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (origin, mut port) = (at(8700), 8701);
        let of_origin = Kind::NginxStatic;
        let _origin = Server::nginx(of_origin, directory, &root, origin, origin, None, None)?;
        let tls = self.tls.then(|| Certificate::make(directory)).transpose()?;
        let setup = LarderSetup {
            connect: vec![(HOST.to_owned(), origin)],
            memory: match self.cold {
                true => "256MiB".to_owned(),
                // The memory tier is a part of it, and holds all of the content.
                false => format!("{}MiB", (self.content_bytes >> 20) * 3 + 512),
            },
            shards: 1,
            tls: tls.clone(),
            ..LarderSetup::default()
        };
        let mut servers = Vec::new();
        for kind in &self.kinds {
            let core = Some(SERVER_CORE);
            servers.push(match kind {
                Kind::Larder => Server::larder(directory, at(port), &setup, core)?,
                Kind::LarderEpoll => {
                    let setup = LarderSetup {
                        driver: "epoll".to_owned(),
                        ..setup.clone()
                    };
                    Server::larder(directory, at(port), &setup, core)?
                }
                Kind::Varnish => {
                    let bytes = self.content_bytes * 3 / 2;
                    Server::varnish(directory, bytes, at(port), origin, core)?
                }
                kind => {
                    let tls = tls.as_ref();
                    Server::nginx(*kind, directory, &root, at(port), origin, core, tls)?
                }
            });
            port += 1;
        }
        for server in &servers {
            // Twice and more, so that what must be asked for twice to stay in memory is there.
            for _ in 0..if self.cold { 1 } else { 3 } {
                let address = match self.tls {
                    true => plain(server.address),
                    false => server.address,
                };
                read_through(server, address, &file)?;
            }
        }
        let mut rows = Vec::new();
        for range_bytes in &self.range_bytes {
            let work = Work {
                range_bytes: *range_bytes,
                pipeline: self.pipeline,
                cold: self.cold,
                tls: self.tls,
            };
            let mut of_size: Vec<Row> = servers
                .iter()
                .map(|server| Row {
                    kind: server.kind,
                    work,
                    samples: Vec::new(),
                })
                .collect();
            for round in 0..self.rounds {
                for (server, row) in servers.iter().zip(&mut of_size) {
                    eprint!(
                        "\r  {range_bytes:>8} bytes, round {}, {:<24}",
                        round + 1,
                        row.kind.name()
                    );
                    if self.cold {
                        drop_caches()?;
                    }
                    row.samples
                        .push(self.sample(server, &file, *range_bytes, tls.as_ref())?);
                }
            }
            rows.extend(of_size);
        }
        eprintln!("\r{:60}\r", "");
        let larder = servers.iter().find(|server| server.kind.is_larder());
        let on_shard = larder.map(|server| {
            let name = "larder_http_served_total";
            let on_shard = server.metric(name, "by=\"shard\"")?;
            Ok::<_, anyhow::Error>(on_shard / server.metric(name, "")?)
        });
        Ok(Compared {
            rows,
            on_shard: on_shard.transpose()?,
        })
    }

    fn sample(
        &self,
        server: &Server,
        file: &File,
        range_bytes: u64,
        tls: Option<&Certificate>,
    ) -> Result<Sample> {
        let mut command = pinned(&beside("larder-load")?, Some(CLIENT_CORE));
        if let Some(tls) = tls {
            command.arg("--tls").arg(&tls.cert);
        }
        let output = command
            .args(["--address", &server.address.to_string()])
            .args(["--path", &file.path, "--host", HOST])
            .args([
                "--size",
                &file.len.to_string(),
                "--seed",
                &file.seed.to_string(),
            ])
            .args(["--range-bytes", &range_bytes.to_string()])
            .args(["--connections", &self.connections.to_string()])
            .args(["--pipeline", &self.pipeline.to_string()])
            .args(["--watch-core", &SERVER_CORE.to_string()])
            .args(["--watch-group", &server.group().to_string()])
            .args(["--seconds", &self.seconds.to_string()])
            .output()
            .context("cannot start larder-load")?;
        ensure!(
            output.status.success(),
            "{}: {}{}",
            server.kind.name(),
            String::from_utf8_lossy(&output.stderr),
            server.said()
        );
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let figure = |name: &str| report[name].as_f64().unwrap_or(f64::NAN);
        Ok(Sample {
            bytes: figure("bytes"),
            requests: figure("requests"),
            seconds: figure("seconds"),
            latency_ms: [figure("p50_ms"), figure("p99_ms"), figure("max_ms")],
            fairness: figure("fairness"),
            core_seconds: figure("core_seconds"),
            process_seconds: figure("process_seconds"),
        })
    }
}

/// Empties the page cache, so that what is not in a server's own memory comes from the disk.
fn drop_caches() -> Result<()> {
    crate::place::run("sync", &[])?;
    fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop the page cache; run it as root")
}

/// Makes the object up as a real file.
fn write_out(file: &File, root: &Path) -> Result<()> {
    let path = root.join(&file.path[1..]);
    fs::create_dir_all(path.parent().unwrap_or(root))?;
    let mut out = fs::File::create(path)?;
    let mut piece = vec![0; usize::try_from(PIECE_BYTES)?];
    for number in 0..file.pieces() {
        let (start, end) = file.piece(number);
        let piece = &mut piece[..usize::try_from(end - start)?];
        file.fill(start, piece);
        out.write_all(piece)?;
    }
    Ok(())
}

/// Reads the whole object once, by ranges of a piece.
fn read_through(server: &Server, address: SocketAddr, file: &File) -> Result<()> {
    use larder::demo::client::{Client, Naming};
    let naming = match server.kind {
        kind if kind.is_larder() => Naming::Host,
        _ => Naming::Plain,
    };
    let client = Client {
        cache: address,
        naming,
        connections: 7,
        seed: 5,
    };
    let files = [std::sync::Arc::new(file.clone())];
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let tally = runtime.block_on(client.fetch(&files, &std::sync::Arc::default()));
    let name = server.kind.name();
    ensure!(tally.faults.is_empty(), "{name}: {}", tally.faults[0]);
    Ok(())
}

/// How the aims that were measured stand, a line each, and whether all were reached.
#[must_use]
pub fn aims(rows: &[Row]) -> (String, bool) {
    let (mut lines, mut good) = (String::new(), true);
    for aim in &AIMS {
        let of = |kind| {
            let mut rows = rows.iter();
            rows.find(|row| row.kind == kind && row.work == aim.work)
        };
        let (Some(own), Some(other)) = (of(aim.of), of(aim.against)) else {
            continue;
        };
        let (what, ratio, bound, reached) = match aim.bound {
            Bound::CostMax(most) => {
                let [own, other] = [own, other].map(|row| row.core_seconds_per_gb().median);
                ("CPU s/GB", own / other, most, own / other <= most)
            }
            Bound::SpeedMin(least) => {
                let [own, other] = [own, other].map(|row| row.gigabytes_per_second().median);
                ("GB/s", own / other, least, own / other >= least)
            }
        };
        good &= reached;
        lines.push_str(&format!(
            "{:>5} KiB{}: {what} of {} / {}: {ratio:.2} (aim {bound:.2}{})\n",
            aim.work.range_bytes >> 10,
            match (aim.work.cold, aim.work.tls) {
                (true, _) => ", cold",
                (false, true) => ", TLS",
                (false, false) => "",
            },
            aim.of.name(),
            aim.against.name(),
            if reached { "" } else { ", missed" },
        ));
    }
    (lines, good)
}

/// The rows as a table in Markdown.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut table = "| range | server | GB/s | requests/s | p50 ms | p99 ms | max ms | fairness | core s/GB | process s/GB |\n\
                     |---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        let cell = |of: &dyn Fn(&Sample) -> f64, digits: usize| {
            let Spread { min, median, max } = row.spread(of);
            format!("{min:.digits$}/**{median:.digits$}**/{max:.digits$}")
        };
        table.push_str(&format!(
            "| {} KiB | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            row.work.range_bytes >> 10,
            row.kind.name(),
            cell(&|s| s.bytes / s.seconds / 1e9, 2),
            cell(&|s| s.requests / s.seconds, 0),
            cell(&|s| s.latency_ms[0], 2),
            cell(&|s| s.latency_ms[1], 2),
            cell(&|s| s.latency_ms[2], 1),
            cell(&|s| s.fairness, 3),
            cell(&|s| s.core_seconds / s.bytes * 1e9, 3),
            cell(&|s| s.process_seconds / s.bytes * 1e9, 3),
        ));
    }
    table
}
