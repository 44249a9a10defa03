//! The same load on several servers, in turns. The rule: one server on one core, the client on another, rounds
//! interleaved; what any client saw wrong makes the run worthless.

use crate::aims::Work;
use crate::fio::{self, Pattern};
use crate::kind::Kind;
use crate::office::named;
use crate::place::{beside, drop_caches};
use crate::secure::Certificate;
use crate::servers::{LarderSetup, Server, pinned, plain};
use crate::table::{Row, Sample};
use anyhow::{Context, Result, ensure};
use larder::demo::content::{File, PIECE_BYTES};
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;

/// The name by which larder's clients call the origin.
const HOST: &str = "download.windowsupdate.com";

/// Cold is what comes from the disk, but for the little that a memory of 6 % of the set happens to hold.
const FROM_DISK_MIN: f64 = 0.93;

/// What others may run on the client's core: the kernel's own threads and the counters' steps stay below.
const OTHERS_MAX: f64 = 0.1;

/// What is compared, and how long.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Which work by which servers, in this order.
    pub parts: Vec<Part>,
    /// Bytes of the object.
    pub content_bytes: u64,
    /// Rounds.
    pub rounds: usize,
    /// Seconds of load in each round before it is measured.
    pub warm_up_seconds: f64,
    /// Seconds of load in each round that are measured.
    pub seconds: f64,
}

/// One work, and who does it. All parts of a comparison are cold or none, and by TLS or none.
#[derive(Clone, Debug)]
pub struct Part {
    /// The work.
    pub work: Work,
    /// By whom.
    pub kinds: Vec<Kind>,
}

/// What came of a comparison.
#[derive(Clone, Debug)]
pub struct Compared {
    /// One for each server and work.
    pub rows: Vec<Row>,
    /// Of larder's requests, those answered on shard threads; None without larder.
    pub on_shard: Option<f64>,
    /// Why some of it does not say what it should.
    pub complaints: Vec<String>,
}

/// What is served, and by whom.
#[derive(Debug)]
struct Field {
    file: File,
    path: PathBuf,
    tls: Option<Certificate>,
    servers: Vec<Server>,
    _origin: Server,
}

impl Comparison {
    /// Runs it in a directory, which must be empty and have room for the content several times.
    ///
    /// # Errors
    /// A server does not start, or a client saw something wrong.
    pub fn run(&self, directory: &Path) -> Result<Compared> {
        let field = self.set_up(directory)?;
        let mut complaints = Vec::new();
        let mut rows = Vec::new();
        for Part { work, kinds } in &self.parts {
            let with_fio = fio::is_there();
            if kinds.contains(&Kind::Fio) && !with_fio {
                complaints
                    .push("NOT COMPARED with the disk itself: fio is not installed".to_owned());
            }
            let kinds = kinds.iter().filter(|kind| with_fio || **kind != Kind::Fio);
            let mut of_work: Vec<Row> = kinds
                .map(|kind| Row {
                    kind: *kind,
                    work: *work,
                    samples: Vec::new(),
                })
                .collect();
            for round in 0..self.rounds {
                for row in &mut of_work {
                    eprint!(
                        "\r  {:>5} KiB, {:<16} round {}, {:<24}",
                        work.range_bytes >> 10,
                        work.manner(),
                        round + 1,
                        row.kind.name()
                    );
                    if work.cold {
                        drop_caches()?;
                    }
                    row.samples.push(self.sample(&field, row.kind, *work)?);
                }
            }
            for row in of_work
                .iter()
                .filter(|row| work.cold && row.kind.is_larder())
            {
                let from_disk = row.spread(|s| s.disk_bytes / s.bytes).median;
                if from_disk < FROM_DISK_MIN {
                    complaints.push(format!(
                        "NOT COLD: only {from_disk:.2} of the bytes came from the disk"
                    ));
                }
            }
            rows.extend(of_work);
        }
        eprintln!("\r{:72}\r", "");
        let others = rows.iter().flat_map(|row| &row.samples);
        let others = others.map(|sample| sample.others_seconds / sample.seconds);
        let others = others.fold(0.0, f64::max);
        if others > OTHERS_MAX {
            complaints.push(format!(
                "DISTURBED: something else ran on the client's core for up to {:.0} % of a round",
                others * 100.0
            ));
        }
        let larder = field.servers.iter().find(|server| server.kind.is_larder());
        let on_shard = larder.map(|server| {
            let name = "larder_http_served_total";
            let on_shard = server.metric(name, "by=\"shard\"")?;
            Ok::<_, anyhow::Error>(on_shard / server.metric(name, "")?)
        });
        Ok(Compared {
            rows,
            on_shard: on_shard.transpose()?,
            complaints,
        })
    }

    /// Makes the object, starts every server and lets it have all of the object once or more.
    fn set_up(&self, directory: &Path) -> Result<Field> {
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
        let path = root.join(&file.path[1..]);
        let any = |of: fn(&Work) -> bool| self.parts.iter().any(|part| of(&part.work));
        let (cold, by_tls) = (any(|work| work.cold), any(|work| work.tls));
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (origin, mut port) = (at(8700), 8701);
        let of_origin = Kind::NginxStatic;
        let of_all = Server::nginx(of_origin, directory, &root, origin, origin, None, None)?;
        let tls = by_tls.then(|| Certificate::make(directory)).transpose()?;
        let setup = LarderSetup {
            connect: vec![(HOST.to_owned(), origin)],
            memory: match cold {
                true => "256MiB".to_owned(),
                // The memory tier is a part of it, and holds all of the content.
                false => format!("{}MiB", (self.content_bytes >> 20) * 3 + 512),
            },
            shards: 1,
            tls: tls.clone(),
            ..LarderSetup::default()
        };
        let mut servers: Vec<Server> = Vec::new();
        for kind in self.parts.iter().flat_map(|part| &part.kinds) {
            let core = Some(SERVER_CORE);
            if *kind == Kind::Fio || servers.iter().any(|server| server.kind == *kind) {
                continue;
            }
            let server = match kind {
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
                Kind::Loopback | Kind::TokioUring => {
                    Server::bare(*kind, directory, &path, at(port), core)?
                }
                kind => {
                    let tls = tls.as_ref();
                    Server::nginx(*kind, directory, &root, at(port), origin, core, tls)?
                }
            };
            port += 1;
            // Twice and more, so that what must be asked for twice to stay in memory is there.
            let times = match (kind, cold) {
                // They have read the file, or leave it where the one above has it: in the page cache.
                (Kind::Loopback | Kind::TokioUring, _) => 0,
                (_, true) => 1,
                (_, false) => 3,
            };
            for _ in 0..times {
                eprint!("\r  filling {:<40}", kind.name());
                let address = match by_tls {
                    true => plain(server.address),
                    false => server.address,
                };
                read_through(&server, address, &file)?;
            }
            servers.push(server);
        }
        Ok(Field {
            file,
            path,
            tls,
            servers,
            _origin: of_all,
        })
    }

    fn sample(&self, field: &Field, kind: Kind, work: Work) -> Result<Sample> {
        if kind == Kind::Fio {
            let pattern = Pattern {
                rw: "randread",
                file: &field.path,
                file_bytes: field.file.len,
                block_bytes: work.range_bytes,
                depth: work.connections * work.pipeline,
                warm_up_seconds: self.warm_up_seconds,
                seconds: Some(self.seconds),
                core: SERVER_CORE,
            };
            return pattern.run();
        }
        let server = field.servers.iter().find(|server| server.kind == kind);
        let server = server.with_context(|| format!("{} was not started", kind.name()))?;
        let mut command = pinned(&beside("larder-load")?, Some(CLIENT_CORE));
        if let Some(tls) = &field.tls {
            command.arg("--tls").arg(&tls.cert);
        }
        if work.cold {
            command.arg("--no-repeats");
        }
        let mut option = |name: &str, value: &dyn std::fmt::Display| {
            command.arg(name).arg(value.to_string());
        };
        option("--address", &server.address);
        option("--path", &field.file.path);
        option("--host", &HOST);
        option("--size", &field.file.len);
        option("--seed", &field.file.seed);
        option("--range-bytes", &kind.asked_bytes(work.range_bytes));
        option("--connections", &work.connections);
        option("--pipeline", &work.pipeline);
        option("--warm-up-seconds", &self.warm_up_seconds);
        option("--seconds", &self.seconds);
        option("--client-core", &CLIENT_CORE);
        option("--watch-core", &SERVER_CORE);
        option("--watch-group", &server.group());
        let figure = server.loaded(&mut command)?;
        Ok(Sample {
            bytes: figure("bytes"),
            requests: figure("requests"),
            seconds: figure("seconds"),
            latency_ms: [figure("p50_ms"), figure("p99_ms"), figure("max_ms")],
            fairness: figure("fairness"),
            slowest_share: figure("slowest_share"),
            core_seconds: figure("core_seconds"),
            process_seconds: figure("process_seconds"),
            client_seconds: figure("client_seconds"),
            others_seconds: figure("others_seconds"),
            disk_bytes: figure("disk_bytes"),
        })
    }
}

/// Makes the object up as a real file.
pub(crate) fn write_out(file: &File, root: &Path) -> Result<()> {
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
pub(crate) fn read_through(server: &Server, address: SocketAddr, file: &File) -> Result<()> {
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
