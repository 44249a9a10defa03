//! A whole branch office on loopback: an origin, the appliance, ten clients. The rule: it ends well only if every
//! byte was right and crossed the line to the origin once; it uses the appliance as any client would, through its
//! sockets, and believes nothing that it has not compared.

pub mod client;
pub mod content;
pub mod origin;
mod progress;
mod table;
pub mod tally;

use crate::{Appliance, Checked, Telemetry};
use anyhow::{Context, Result, bail};
use client::{Client, Naming};
use content::File;
use larder_proto::http::route::OriginRules;
use origin::Origin;
use progress::Progress;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use table::{Day, Sources};
use tally::Tally;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// Connections of one client (facts: clients, section 1.4).
const CONNECTIONS: usize = 7;

/// An appliance that was told to stop has this long for the answers under way; there are none.
const CUT_AFTER: Duration = Duration::from_secs(2);

/// The exit code of a program that was interrupted, as shells have it: 128 and the number of the signal.
const INTERRUPTED: u8 = 130;

/// Options of `larder demo`.
#[derive(clap::Args, Debug)]
pub struct DemoArgs {
    /// How many clients there are in the office.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=500))]
    clients: u16,
    /// Where the appliance keeps its store while the demo runs [default: TMPDIR, or else the user's data directory].
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

/// Runs the branch office and prints where the bytes came from.
///
/// # Errors
/// Where a part of it cannot be started, in words.
pub fn run(args: &DemoArgs) -> Result<ExitCode> {
    let store = store_directory(args.store.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("demo")
        .enable_all()
        .build()
        .context("cannot start the threads of the demo")?;
    let files = content::branch_office_files();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let origin = runtime
        .block_on(Origin::start(listen, files.clone()))
        .context("cannot start the origin of the demo")?;
    let office = Office {
        clients: u64::from(args.clients),
        files: files.into_iter().map(Arc::new).collect(),
        origin,
        store: store.path().to_path_buf(),
        runtime,
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", office.introduction())?;
    let mut days = Vec::new();
    for (number, title) in [(0, "first day"), (1, "after a restart")] {
        match office.day(title, number)? {
            Some(day) => days.push(day),
            None => {
                writeln!(out, "\ninterrupted; the store is removed")?;
                return Ok(ExitCode::from(INTERRUPTED));
            }
        }
    }
    write!(out, "{}", table::render(&days, office.content()))?;
    let faults = table::judge(&days, office.content());
    if faults.is_empty() {
        writeln!(
            out,
            "\nEvery byte was right, and crossed the line to the origin once."
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    for fault in faults {
        writeln!(out, "\nNOT AS IT SHOULD BE: {fault}")?;
    }
    Ok(ExitCode::FAILURE)
}

/// A directory of its own for the store, which goes away with the demo.
fn store_directory(asked: Option<&Path>) -> Result<TempDir> {
    let data = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")));
    let candidates = match asked {
        Some(asked) => vec![asked.to_path_buf()],
        // The temporary directory is often in memory, which is no place for a store, unless somebody chose it.
        None => std::env::var_os("TMPDIR")
            .map(PathBuf::from)
            .into_iter()
            .chain(data)
            .chain([std::env::temp_dir()])
            .collect(),
    };
    let mut said = Vec::new();
    for parent in candidates {
        let made = std::fs::create_dir_all(&parent).and_then(|()| {
            tempfile::Builder::new()
                .prefix("larder-demo-")
                .tempdir_in(&parent)
        });
        match made {
            Ok(directory) => return Ok(directory),
            Err(error) => said.push(format!("{}: {error}", parent.display())),
        }
    }
    bail!(
        "no directory for the store ({}); name one with --store",
        said.join("; ")
    )
}

struct Office {
    clients: u64,
    files: Vec<Arc<File>>,
    origin: Origin,
    store: PathBuf,
    runtime: Runtime,
}

impl Office {
    /// Bytes of all files.
    fn content(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }

    fn introduction(&self) -> String {
        format!(
            "A branch office on loopback\n  origin     http://{}, {} files, {}\n  appliance  store in {}\n  \
             clients    {}, each fetching everything by shuffled ranges of 1 MiB on {CONNECTIONS} connections\n",
            self.origin.address(),
            self.files.len(),
            table::bytes(self.content()),
            self.store.display(),
            self.clients,
        )
    }

    /// Starts the appliance, lets all clients fetch everything, stops it. None: somebody interrupted it.
    fn day(&self, title: &'static str, number: u64) -> Result<Option<Day>> {
        let started = Instant::now();
        let appliance = self.appliance()?;
        let ready = started.elapsed();
        let cache = *appliance
            .http()
            .first()
            .context("the appliance listens nowhere")?;
        let before = self.origin.body_bytes();
        let served = Instant::now();
        let tally = self.runtime.block_on(self.clients(title, number, cache));
        let took = served.elapsed();
        let sources = Sources::read(&appliance.metrics());
        appliance.stop(CUT_AFTER);
        Ok(tally.map(|tally| Day {
            title,
            ready,
            took,
            origin_bytes: self.origin.body_bytes() - before,
            clients: self.clients,
            sources,
            tally,
        }))
    }

    /// The appliance on the store, with every host of the files led to the origin.
    fn appliance(&self) -> Result<Appliance> {
        let origin = self.origin.address().to_string();
        let hosts = self.files.iter().flat_map(|file| file.hosts.iter());
        let connect = hosts.map(|host| (host.clone(), origin.clone()));
        let allow: Vec<String> = OriginRules::vendor_allow()
            .iter()
            .map(ToString::to_string)
            .collect();
        let rules = OriginRules::new(&allow, None, connect, &[])
            .context("cannot lead the appliance to the origin of the demo")?;
        let config = Checked::on_loopback(self.store.clone(), rules);
        Appliance::start(config, Telemetry::new()).context("cannot start the appliance")
    }

    /// All clients at once; None where a signal came first.
    async fn clients(&self, title: &str, number: u64, cache: SocketAddr) -> Option<Tally> {
        let received = Arc::new(AtomicU64::new(0));
        let mut running = JoinSet::new();
        for client in 0..self.clients {
            let client = Client {
                cache,
                naming: Naming::Parameter,
                connections: CONNECTIONS,
                // Each day another order, so that nothing depends on it.
                seed: number * 1_000 + client,
            };
            let (files, received) = (self.files.clone(), Arc::clone(&received));
            running.spawn(async move { client.fetch(&files, &received).await });
        }
        let all = async {
            let mut tally = Tally::default();
            while let Some(ended) = running.join_next().await {
                match ended {
                    Ok(of_one) => tally.add(of_one),
                    Err(error) => tally.faults.push(format!("a client's task ended: {error}")),
                }
            }
            tally
        };
        let progress = Progress {
            title,
            total: self.content() * self.clients,
            origin_before: self.origin.body_bytes(),
        };
        tokio::select! {
            tally = all => {
                progress.done();
                Some(tally)
            }
            () = progress.show(&received, &self.origin) => None,
            () = interrupted() => None,
        }
    }
}

/// Waits for Ctrl-C or a request to end.
async fn interrupted() {
    let (interrupt, terminate) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    match (interrupt, terminate) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        // Without handlers a signal ends the process at once, which is what it is for.
        _ => std::future::pending().await,
    }
}
