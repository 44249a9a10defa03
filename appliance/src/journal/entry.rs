//! One entry of the log, as an object and as a line of text. The rule: the keys are those of the cmdlet's objects, and
//! what programs want to count stands beside the words.

use crate::cmdlets::percent;
use crate::cmdlets::status::{Row, Status};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;

/// How grave it is, by the numbers of the cmdlet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    Warning = 3,
    Info = 4,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Entry {
    /// RFC 3339, in UTC.
    pub(crate) time_created: String,
    process_id: u32,
    thread_id: u64,
    level: u8,
    level_name: String,
    pub(crate) message: String,
    pub(crate) function: String,
    /// What came of a download, where one has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) download: Option<Download>,
    /// A connection to a peer that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connection: Option<Connection>,
}

/// What came of a download since it was told of last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Download {
    pub(crate) file_id: String,
    #[serde(rename = "SourceURL")]
    pub(crate) source_url: String,
    pub(crate) file_size: u64,
    pub(crate) total_bytes: u64,
    pub(crate) bytes_from_http: u64,
    pub(crate) bytes_from_peers: u64,
    pub(crate) percent_peer_caching: f64,
    pub(crate) download_mode: u8,
    pub(crate) download_duration: f64,
}

/// A connection to a peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Connection {
    /// As far as `[privacy]` shows it.
    #[serde(rename = "IP")]
    pub(crate) ip: String,
    pub(crate) peer_type: String,
    pub(crate) bytes_received: u64,
    /// How long it lasted.
    pub(crate) seconds: u64,
    #[serde(rename = "SourceURL")]
    pub(crate) source_url: String,
}

impl Download {
    /// All since larder has started.
    pub(super) fn of(row: &Row) -> Self {
        Self {
            file_id: row.file_id.clone(),
            source_url: row.source_url.clone(),
            file_size: row.file_size,
            total_bytes: row.total_bytes_downloaded,
            bytes_from_http: row.bytes_from_http,
            bytes_from_peers: row.bytes_from_peers,
            percent_peer_caching: row.percent_peer_caching,
            download_mode: row.download_mode,
            download_duration: row.download_duration,
        }
    }

    /// What has come since that was told.
    pub(super) fn since(mut self, told: &Self) -> Self {
        self.total_bytes = self.total_bytes.saturating_sub(told.total_bytes);
        self.bytes_from_http = self.bytes_from_http.saturating_sub(told.bytes_from_http);
        self.bytes_from_peers = self.bytes_from_peers.saturating_sub(told.bytes_from_peers);
        self.percent_peer_caching = percent(self.bytes_from_peers, self.total_bytes);
        self.download_duration = (self.download_duration - told.download_duration).max(0.0);
        self
    }

    /// Whether its mode lets peers bring it: 1, 2 and 3 do (seed: Download mode).
    pub(crate) const fn is_eligible(&self) -> bool {
        matches!(self.download_mode, 1..=3)
    }
}

impl Entry {
    pub(super) fn new(level: Level, function: &str, message: String) -> Self {
        Self {
            // As many digits always, so that texts are in the order of their times.
            time_created: format!("{:.6}", jiff::Timestamp::now()),
            process_id: std::process::id(),
            thread_id: thread_id(),
            level: level as u8,
            level_name: format!("{level:?}"),
            message,
            function: function.to_owned(),
            download: None,
            connection: None,
        }
    }

    pub(super) fn of_download(download: Download, status: Status) -> Self {
        let how = match status {
            Status::Caching => "all of it is here",
            _ => "what was wanted of it has come",
        };
        let message = format!(
            "download of {} has ended, {how}: {} bytes came, {} by HTTP and {} from peers, in {:.3} s",
            download.source_url,
            download.total_bytes,
            download.bytes_from_http,
            download.bytes_from_peers,
            download.download_duration
        );
        Self {
            download: Some(download),
            ..Self::new(Level::Info, "Download::end", message)
        }
    }

    pub(super) fn of_connection(connection: Connection) -> Self {
        let message = format!(
            "a connection to the peer {} ({}) for {} has ended: {} bytes came in {} s",
            connection.ip,
            connection.peer_type,
            connection.source_url,
            connection.bytes_received,
            connection.seconds
        );
        let level = if connection.bytes_received == 0 {
            Level::Warning
        } else {
            Level::Info
        };
        Self {
            connection: Some(connection),
            ..Self::new(level, "Peer::end", message)
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            time_created,
            process_id,
            thread_id,
            level_name,
            message,
            function,
            ..
        } = self;
        write!(
            f,
            "{time_created} {process_id} {thread_id} {level_name} {function}: {message}"
        )
    }
}

/// The kernel's number of this thread; that of the process where it does not say.
fn thread_id() -> u64 {
    let link = fs::read_link("/proc/thread-self").ok();
    let number = link.and_then(|link| link.file_name()?.to_str()?.parse().ok());
    number.unwrap_or_else(|| std::process::id().into())
}
