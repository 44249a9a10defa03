//! Larder and Windows clients in one small house, for measurements. The rule: the program runs as its own process,
//! the clients in this one.

use crate::servers::{LarderSetup, Server};
use anyhow::Result;
use larder::demo::client::{Client, Naming};
use larder::demo::content::File;
use larder::demo::tally::Tally;
use larder_content::hash::FileHasher;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Connections of a Windows client (facts: clients, section 1.4).
pub const CONNECTIONS: usize = 7;

/// The host names of one family.
pub const FAMILY: [&str; 4] = [
    "download.windowsupdate.com",
    "au.download.windowsupdate.com",
    "b1.download.windowsupdate.com",
    "2.au.download.windowsupdate.com",
];

/// A made-up file that is known under the first `hosts` names of the family; each number is another file.
#[must_use]
pub fn file(number: u64, len: u64, hosts: usize) -> File {
    named(File {
        title: "a file",
        hosts: FAMILY[..hosts].iter().map(ToString::to_string).collect(),
        path: String::new(),
        signed: false,
        len,
        seed: 1_000 + number,
        foreign: false,
    })
}

/// The file under a path that names its SHA-1, as an update's does: under another it would be thrown away.
#[must_use]
pub fn named(file: File) -> File {
    let mut hasher = FileHasher::default();
    let mut piece = Vec::new();
    for number in 0..file.pieces() {
        let (start, end) = file.piece(number);
        piece.resize(usize::try_from(end - start).unwrap_or(0), 0);
        file.fill(start, &mut piece);
        hasher.update(&piece);
    }
    let digits: String = hasher.finish().iter().map(|b| format!("{b:02x}")).collect();
    let path = format!("/c/update_{digits}.cab");
    File { path, ..file }
}

/// Hosts whose files are told apart by their paths alone, so that a large one need not be hashed to be named.
pub const GUID_HOSTS: [&str; 2] = [
    "near.dl.delivery.mp.microsoft.com",
    "far.dl.delivery.mp.microsoft.com",
];

/// A made-up file of one of [`GUID_HOSTS`]; each number is another one.
#[must_use]
pub fn guid_file(number: u64, len: u64, host: usize) -> File {
    File {
        title: "a file",
        hosts: vec![GUID_HOSTS[host].to_owned()],
        path: format!("/filestreamingservice/files/1f0c7a52-3d1e-4b8a-9c55-{number:012x}"),
        signed: false,
        len,
        seed: 5_000 + number,
        foreign: false,
    }
}

/// Starts larder on loopback with every name of the family led to `origin`.
///
/// # Errors
/// It does not start.
pub fn larder(directory: &Path, port: u16, origin: SocketAddr) -> Result<Server> {
    let setup = LarderSetup {
        connect: FAMILY
            .iter()
            .map(|host| ((*host).to_owned(), origin))
            .collect(),
        ..LarderSetup::default()
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Server::larder(directory, address, &setup, None)
}

/// What some clients saw, and how long they took.
#[derive(Clone, Debug)]
pub struct Seen {
    /// All of them together.
    pub tally: Tally,
    /// From the first request to the last byte.
    pub took: Duration,
}

/// `clients` clients fetch all of `files` at once.
pub async fn fetch(cache: SocketAddr, naming: Naming, clients: u64, files: &[Arc<File>]) -> Seen {
    let started = Instant::now();
    let mut running = JoinSet::new();
    for seed in 0..clients {
        let client = Client {
            cache,
            naming,
            connections: CONNECTIONS,
            seed,
        };
        let files = files.to_vec();
        running.spawn(async move { client.fetch(&files, &Arc::default()).await });
    }
    let mut tally = Tally::default();
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(of_one) => tally.add(of_one),
            Err(error) => tally.faults.push(format!("a client's task ended: {error}")),
        }
    }
    Seen {
        tally,
        took: started.elapsed(),
    }
}

/// A runtime for clients, origin and line.
///
/// # Errors
/// There is none to be had.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}
