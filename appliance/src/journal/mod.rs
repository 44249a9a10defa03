//! The log of downloads, which `larder log` reads (seed: `Get-DeliveryOptimizationLog`). The rule: it is bounded whatever is
//! downloaded, an address stands in it only as `[privacy]` shows it and for as long, and no request waits for it.
//!
//! What has begun and ended is seen every few seconds, by looking at the rows of the status. So an entry may be a few
//! seconds late, and of two downloads of one file between two looks only the sum is seen.

pub(crate) mod analysis;
pub(crate) mod entry;
mod files;

use crate::cmdlets::status::{self, Row, Status};
use crate::state::State;
use entry::{Connection, Download, Entry, Level};
use files::Files;
use larder_net::swarm::Swarm;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Downloads that are remembered as known.
const KNOWN_MAX: usize = 16_384;

/// Where the log of a store lies.
pub(crate) fn folder_of(store: &Path) -> PathBuf {
    store.join("log")
}

/// The log of one appliance.
pub(crate) struct Journal {
    books: Mutex<Books>,
}

struct Books {
    /// What has become of downloads; it names no client and no peer.
    downloads: Files,
    /// Connections to peers, which are forgotten as clients are.
    peers: Files,
    /// By the number of the content.
    known: HashMap<String, Known>,
}

#[derive(Default)]
struct Known {
    is_open: bool,
    /// What was told of it.
    told: Download,
}

impl Journal {
    /// The log in this folder; made where something is to be written.
    pub(crate) fn open(folder: &Path) -> Self {
        Self {
            books: Mutex::new(Books {
                downloads: Files::new(folder, "downloads", 4 << 20, 4),
                peers: Files::new(folder, "peers", 1 << 20, 4),
                known: HashMap::new(),
            }),
        }
    }

    /// Looks what has begun and ended, and writes it. Blocks for as long as the disk takes.
    pub(crate) fn look(&self, state: &State) {
        let rows = status::rows(state, true);
        let ended = state.swarm.get().map(Swarm::ended).unwrap_or_default();
        let (seen, now) = (state.config.load().seen, state.clock.now());
        let mut books = self.books.lock();
        let mut entries = Vec::new();
        for row in &rows {
            entries.extend(books.seen(row));
        }
        books.forget(&rows);
        books.downloads.write(&entries);
        let connections = ended.into_iter().map(|giver| {
            let ip = larder_net::clients::name(giver.address, seen.clients);
            let url = state.store.by_no(giver.content);
            let url = url.map_or(String::new(), |content| content.record().url.clone());
            Entry::of_connection(Connection {
                ip,
                peer_type: status::kind_word(status::kind_of(giver.way)).to_owned(),
                bytes_received: giver.bytes,
                seconds: now.since(giver.since).as_secs(),
                source_url: url,
            })
        });
        let connections: Vec<Entry> = connections.collect();
        books.peers.write(&connections);
        let hours = seen.retention_hours;
        books
            .peers
            .keep_for(Duration::from_secs(hours.saturating_mul(3600)));
    }

    /// Notes what an administrator did.
    pub(crate) fn note(&self, function: &str, message: String) {
        let entry = Entry::new(Level::Info, function, message);
        self.books.lock().downloads.write(&[entry]);
    }
}

impl Books {
    /// What is new of a download.
    fn seen(&mut self, row: &Row) -> Vec<Entry> {
        let mut entries = Vec::new();
        let known = self.known.entry(row.content.clone()).or_default();
        let all = Download::of(row);
        if !known.is_open
            && (row.status == Status::Downloading || all.total_bytes > known.told.total_bytes)
        {
            known.is_open = true;
            let message = format!(
                "download of {} ({} bytes) begins, in the {}",
                row.source_url,
                row.file_size,
                row.priority.to_lowercase()
            );
            entries.push(Entry::new(Level::Info, "Download::begin", message));
        }
        if known.is_open && matches!(row.status, Status::Caching | Status::Complete) {
            known.is_open = false;
            let now = all.clone().since(&known.told);
            known.told = all;
            entries.push(Entry::of_download(now, row.status));
        }
        entries
    }

    /// What nothing goes on with is known no more, once that is many. What it was told is then told once more, should it
    /// go on.
    fn forget(&mut self, rows: &[Row]) {
        if self.known.len() > KNOWN_MAX {
            self.known
                .retain(|no, known| known.is_open || rows.iter().any(|row| row.content == *no));
        }
    }
}
