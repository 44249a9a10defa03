//! What came of a download, as the seed's cmdlet says it (`Get-DeliveryOptimizationStatus`). The rule: the parts add
//! up; a byte is told once, by where it came from.

use super::Failure;
use crate::cmdlets::percent;
use larder_net::download::Sources;
use larder_proto::policy::{Priority, Taken};
use serde::Serialize;
use std::time::Duration;

/// The seed's states of a download (seed: Windows PowerShell cmdlets).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) enum Status {
    /// Done, and not uploading.
    Complete,
    /// Done, and there for others.
    Caching,
    /// Stopped before it was done; the same command goes on where it can.
    Paused,
}

/// How far the bytes are known to be right.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) enum Verified {
    /// Each piece has the hash that is trusted for it.
    PieceHashes,
    /// All of it has the SHA-1 that its URL names.
    Sha1,
    /// All of it is of one version by a strong validator, and as long as its origin says.
    Validator,
    /// It came in one answer, and that came to its end.
    Length,
}

/// The object, by the names of the newest cmdlet; what is larder's own comes last.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Report {
    /// The GUID that it is known by.
    pub(crate) file_id: String,
    /// Bytes in the object; None where it is not known.
    pub(crate) file_size: Option<u64>,
    /// Bytes that this run fetched, from wherever.
    pub(crate) total_bytes_downloaded: u64,
    /// Of them, those from peers.
    pub(crate) percent_peer_caching: f64,
    pub(crate) bytes_from_peers: u64,
    /// From the origin and from cache hosts.
    pub(crate) bytes_from_http: u64,
    pub(crate) bytes_from_cache_server: u64,
    pub(crate) bytes_from_lan_peers: u64,
    pub(crate) bytes_from_group_peers: u64,
    pub(crate) bytes_from_internet_peers: u64,
    /// In seconds.
    pub(crate) download_duration: f64,
    pub(crate) status: Status,
    pub(crate) priority: &'static str,
    pub(crate) download_mode: u8,
    #[serde(rename = "SourceURL")]
    pub(crate) source_url: String,
    pub(crate) cache_host: Option<String>,
    /// Why the mode is that one.
    pub(crate) download_mode_reason: String,
    /// Bytes that an earlier run had left on disk.
    pub(crate) bytes_from_disk: u64,
    /// Where the bytes went.
    pub(crate) path: Option<String>,
    pub(crate) verified: Option<Verified>,
    pub(crate) error: Option<String>,
    pub(crate) exit_code: u8,
    #[serde(skip)]
    pub(crate) sources: Sources,
    #[serde(skip)]
    pub(crate) failure: Option<Failure>,
}

impl Report {
    /// Of a download of which nothing is known yet.
    pub(crate) fn new(url: &str, priority: Priority) -> Self {
        Self {
            file_id: String::new(),
            file_size: None,
            total_bytes_downloaded: 0,
            percent_peer_caching: 0.0,
            bytes_from_peers: 0,
            bytes_from_http: 0,
            bytes_from_cache_server: 0,
            bytes_from_lan_peers: 0,
            bytes_from_group_peers: 0,
            bytes_from_internet_peers: 0,
            download_duration: 0.0,
            status: Status::Paused,
            priority: match priority {
                Priority::Foreground => "Foreground",
                Priority::Background => "Background",
            },
            download_mode: 0,
            source_url: url.to_owned(),
            cache_host: None,
            download_mode_reason: String::new(),
            bytes_from_disk: 0,
            path: None,
            verified: None,
            error: None,
            exit_code: 0,
            sources: Sources::default(),
            failure: None,
        }
    }

    /// The mode that it is downloaded in.
    pub(super) fn in_mode(&mut self, taken: Taken) {
        self.download_mode = taken.mode.into();
        self.download_mode_reason = taken.why.to_string();
    }

    /// Where the bytes came from.
    pub(super) fn came(&mut self, sources: Sources, disk: u64) {
        self.sources = sources;
        self.bytes_from_disk = disk;
        self.total_bytes_downloaded = sources.all();
        self.bytes_from_peers = sources.peers();
        self.bytes_from_http = sources.http + sources.cache_server;
        self.bytes_from_cache_server = sources.cache_server;
        self.bytes_from_lan_peers = sources.lan;
        self.bytes_from_group_peers = sources.group;
        self.bytes_from_internet_peers = sources.internet;
        self.percent_peer_caching = percent(sources.peers(), sources.all());
    }

    /// How it ended.
    pub(super) fn ended(mut self, result: Result<Verified, Failure>, took: Duration) -> Self {
        self.download_duration = took.as_secs_f64();
        match result {
            Ok(verified) => {
                self.status = Status::Complete;
                self.verified = Some(verified);
            }
            Err(failure) => {
                self.error = Some(failure.to_string());
                self.exit_code = failure.code();
                self.failure = Some(failure);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_by_the_names_of_the_cmdlet() {
        let mut report = Report::new("http://a.example/x", Priority::Background);
        report.came(
            Sources {
                http: 1,
                cache_server: 2,
                lan: 3,
                group: 4,
                internet: 5,
                link: 0,
            },
            6,
        );
        let report = report.ended(Ok(Verified::Sha1), Duration::from_millis(1500));
        let json = serde_json::to_value(&report).expect("JSON");
        let rows = [
            ("TotalBytesDownloaded", 15),
            ("BytesFromHttp", 3),
            ("BytesFromCacheServer", 2),
            ("BytesFromPeers", 12),
            ("BytesFromLanPeers", 3),
            ("BytesFromGroupPeers", 4),
            ("BytesFromInternetPeers", 5),
            ("BytesFromDisk", 6),
            ("ExitCode", 0),
        ];
        for (name, value) in rows {
            assert_eq!(json[name], value, "{name}");
        }
        assert_eq!(json["PercentPeerCaching"], 80.0);
        assert_eq!(json["DownloadDuration"], 1.5);
        assert_eq!(json["Status"], "Complete");
        assert_eq!(json["Priority"], "Background");
        assert_eq!(json["SourceURL"], "http://a.example/x");
        assert_eq!(json["Verified"], "Sha1");
        let failed = Report::new("x", Priority::Foreground)
            .ended(Err(Failure::Network("gone".to_owned())), Duration::ZERO);
        assert_eq!((failed.exit_code, failed.status), (4, Status::Paused));
    }
}
