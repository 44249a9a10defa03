//! `Get-DeliveryOptimizationPerfSnap` of a running appliance, and the same of a month. The rule: what was counted is of the
//! time that is asked for, what is measured is of now, and the sums are those of the rows of the status.

use super::percent;
use super::status::{Around, kind_of};
use crate::state::State;
use crate::telemetry::process;
use larder_proto::months::Sums;
use larder_proto::policy::bandwidth::{By, Most, limits};
use larder_proto::policy::{Coordinator, Priority, taken};
use larder_proto::tracker::message::PeerType;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The figures. The names of the newest reference, in its order, and those of the seed beside them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PerfSnap {
    pub(crate) files_downloaded: u64,
    pub(crate) files_uploaded: u64,
    files: u64,
    pub(crate) total_bytes_downloaded: u64,
    pub(crate) total_bytes_uploaded: u64,
    average_download_size: u64,
    average_upload_size: u64,
    download_mode: u8,
    cache_size_bytes: u64,
    total_disk_bytes: u64,
    available_disk_bytes: u64,
    cpu_usage_pct: f64,
    #[serde(rename = "MemUsageKB")]
    mem_usage_kb: u64,
    number_of_peers: usize,
    cache_host_connections: usize,
    cdn_connections: usize,
    lan_connections: usize,
    group_connections: usize,
    internet_connections: usize,
    /// Bytes a second that the line was measured to bring; 0 where no policy has asked for that.
    downlink_bps: u64,
    downlink_usage_bps: u64,
    /// Bytes a second; it is never measured, and so is 0.
    uplink_bps: u64,
    uplink_usage_bps: u64,
    foreground_download_rate_pct: u8,
    background_download_rate_pct: u8,
    upload_rate_pct: u8,
    upload_count: usize,
    foreground_download_count: usize,
    background_download_count: usize,
    /// The seed's peer efficiency, "same as PercentPeerCaching".
    pub(crate) percent_peer_caching: f64,
    pub(crate) peer_efficiency: f64,
    bytes_from_peers: u64,
    bytes_from_lan_peers: u64,
    bytes_from_group_peers: u64,
    bytes_from_internet_peers: u64,
    #[serde(rename = "BytesFromCDN")]
    bytes_from_cdn: u64,
    bytes_from_cache_server: u64,
    average_peer_connections: f64,
    bytes_to_lan_peers: u64,
    bytes_to_group_peers: u64,
    bytes_to_internet_peers: u64,
    /// Larder's own: what clients were served by HTTP, which is no upload to peers.
    bytes_to_clients: u64,
    /// Since when is counted, in seconds since 1970; none for a month.
    since_unix: Option<u64>,
    /// The month that is counted, as `2026-10`; none where it is all since the start.
    month: Option<String>,
}

/// Keys that are told where more is asked for (seed: `-Verbose`), and those that are larder's own.
pub(crate) const MORE_KEYS: [&str; 13] = [
    "BytesFromPeers",
    "BytesFromLanPeers",
    "BytesFromGroupPeers",
    "BytesFromInternetPeers",
    "BytesFromCDN",
    "BytesFromCacheServer",
    "AveragePeerConnections",
    "BytesToLanPeers",
    "BytesToGroupPeers",
    "BytesToInternetPeers",
    "BytesToClients",
    "SinceUnix",
    "Month",
];

/// The figures now. `month`: of what was counted in this one, with its name; else of all since the start.
pub(crate) fn perfsnap(state: &State, month: Option<(String, Sums)>) -> PerfSnap {
    let around = Around::of(state);
    let settings = state.settings.load();
    let policies = &settings.policies;
    let store = state.store.figures();
    let now = state.clock.now();
    let (since_unix, month, sums) = match month {
        Some((month, sums)) => (None, Some(month), sums),
        None => {
            let sums = state.figures.sums().into_iter();
            let sums = sums.map(|(name, sum)| (name.to_owned(), sum)).collect();
            (Some(state.started_unix), None, sums)
        }
    };
    let sum = |names: &[&str]| -> u64 {
        let sums = names.iter().filter_map(|name| sums.get(*name));
        sums.fold(0, |all: u64, one| all.saturating_add(*one))
    };
    let (lan, internet) = (sum(&["fetched_lan"]), sum(&["fetched_internet"]));
    let group = sum(&["fetched_group", "fetched_link"]);
    let (http, cache_server) = (sum(&["fetched_http"]), sum(&["fetched_cache_server"]));
    let peers = lan + group + internet;
    let downloaded = peers + http + cache_server;
    let uploaded = sum(&["given_lan", "given_group", "given_internet"]);
    let (files_downloaded, files_uploaded) = (sum(&["files_downloaded"]), sum(&["files_uploaded"]));
    let connections = |kind: PeerType| {
        let giving = around.givers.iter().filter(|one| kind_of(one.way) == kind);
        let taking = around.takers.iter().filter(|one| one.kind == kind);
        giving.count() + taking.count()
    };
    let everybody: BTreeSet<IpAddr> = around
        .givers
        .iter()
        .map(|one| one.address)
        .chain(around.takers.iter().map(|one| one.address))
        .map(|address| address.to_canonical())
        .collect();
    let uploads: BTreeSet<u64> = around.takers.iter().map(|one| one.content.get()).collect();
    let downloads = |priority| {
        let under_way = around.progress.values();
        let under_way = under_way.filter_map(|one| one.under_way.as_ref());
        under_way.filter(|one| one.priority == priority).count()
    };
    let unix = state.clock.unix();
    let percent_of = |priority| {
        let limits = limits(policies, unix);
        let holds = |by: By| match by {
            By::PercentOfAll | By::All => true,
            By::Own(of) | By::PercentOfOwn(of) | By::Hours(of, _) => of == priority,
        };
        let percents = limits.all().iter().filter(|limit| holds(limit.by));
        let percents = percents.filter_map(|limit| match limit.most {
            Most::Percent(percent) => Some(percent),
            Most::Bytes(_) => None,
        });
        percents.min().unwrap_or(100)
    };
    let [cdn, cache_hosts] = state.figures.coming();
    let disks = disks(&state.config.load().store_paths);
    let rates = state.looks.rates(&state.figures, now);
    let efficiency = percent(peers, downloaded);
    let links = sum(&["peer_links_opened"]);
    let mode = match state.swarm.get() {
        Some(swarm) => swarm.mode_of(u64::MAX),
        None => taken(policies, None, Coordinator::Absent),
    };
    PerfSnap {
        files_downloaded,
        files_uploaded,
        files: store.objects,
        total_bytes_downloaded: downloaded,
        total_bytes_uploaded: uploaded,
        average_download_size: downloaded / files_downloaded.max(1),
        average_upload_size: uploaded / files_uploaded.max(1),
        download_mode: mode.mode.into(),
        cache_size_bytes: store.piece_bytes,
        total_disk_bytes: disks.0,
        available_disk_bytes: disks.1,
        cpu_usage_pct: rates.cpu_percent,
        mem_usage_kb: process::resident_kib().unwrap_or(0),
        number_of_peers: everybody.len(),
        cache_host_connections: cache_hosts,
        cdn_connections: cdn,
        lan_connections: connections(PeerType::Lan),
        group_connections: connections(PeerType::Group),
        internet_connections: connections(PeerType::Internet),
        downlink_bps: state.download.line_bytes_s().unwrap_or(0),
        downlink_usage_bps: rates.down_bytes_s,
        uplink_bps: 0,
        uplink_usage_bps: rates.up_bytes_s,
        foreground_download_rate_pct: percent_of(Priority::Foreground),
        background_download_rate_pct: percent_of(Priority::Background),
        upload_rate_pct: 100,
        upload_count: uploads.len(),
        foreground_download_count: downloads(Priority::Foreground),
        background_download_count: downloads(Priority::Background),
        percent_peer_caching: efficiency,
        peer_efficiency: efficiency,
        bytes_from_peers: peers,
        bytes_from_lan_peers: lan,
        bytes_from_group_peers: group,
        bytes_from_internet_peers: internet,
        bytes_from_cdn: http,
        bytes_from_cache_server: cache_server,
        average_peer_connections: ratio(links, files_downloaded),
        bytes_to_lan_peers: sum(&["given_lan"]),
        bytes_to_group_peers: sum(&["given_group"]),
        bytes_to_internet_peers: sum(&["given_internet"]),
        bytes_to_clients: sum(&["served_memory", "served_disk", "served_fetched"]),
        since_unix,
        month,
    }
}

/// To two places; 0 of nothing.
fn ratio(part: u64, of: u64) -> f64 {
    let hundredths = u128::from(part) * 100 / u128::from(of.max(1));
    f64::from(u32::try_from(hundredths).unwrap_or(u32::MAX)) / 100.0
}

/// What the drives of the store hold, and have free for it, in bytes. Two folders on one drive are one.
fn disks(paths: &[PathBuf]) -> (u64, u64) {
    let mut seen = BTreeSet::new();
    let (mut total, mut free) = (0_u64, 0_u64);
    for path in paths {
        let Ok(found) = fs::metadata(path) else {
            continue;
        };
        if let (true, Some((all, left))) = (seen.insert(found.dev()), of_drive(path)) {
            total = total.saturating_add(all);
            free = free.saturating_add(left);
        }
    }
    (total, free)
}

fn of_drive(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.checked_mul(stat.f_frsize);
    Some((bytes(stat.f_blocks)?, bytes(stat.f_bavail)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_folders_on_one_drive_are_one() {
        let one = tempfile::tempdir().expect("a directory");
        let other = one.path().join("other");
        fs::create_dir(&other).expect("made");
        let both = disks(&[one.path().to_path_buf(), other]);
        let (total, _) = disks(&[one.path().to_path_buf()]);
        assert!(total > 0 && both.1 <= both.0);
        assert_eq!(both.0, total);
    }

    #[test]
    fn a_ratio_of_nothing_is_nothing() {
        for (part, of, expected) in [(0, 0, 0.0), (3, 2, 1.5), (1, 3, 0.33)] {
            assert_eq!(ratio(part, of), expected);
        }
    }
}
