//! `larder perfsnap`. The rule: sums are those of what was sent, of the start and of the month.

use super::{MIB, assert_percentages, keys, set, told};
use crate::rig::larder::PLAIN;
use crate::rig::{self, assert_same, eventually, have, house};
use serde_json::Value;

/// The keys of the newest reference (facts: clients, section 5), and the seed's peer efficiency.
const PERF_SNAP: &[&str] = &[
    "FilesDownloaded",
    "FilesUploaded",
    "Files",
    "TotalBytesDownloaded",
    "TotalBytesUploaded",
    "AverageDownloadSize",
    "AverageUploadSize",
    "DownloadMode",
    "CacheSizeBytes",
    "TotalDiskBytes",
    "AvailableDiskBytes",
    "CpuUsagePct",
    "MemUsageKB",
    "NumberOfPeers",
    "CacheHostConnections",
    "CdnConnections",
    "LanConnections",
    "GroupConnections",
    "InternetConnections",
    "DownlinkBps",
    "DownlinkUsageBps",
    "UplinkBps",
    "UplinkUsageBps",
    "ForegroundDownloadRatePct",
    "BackgroundDownloadRatePct",
    "UploadRatePct",
    "UploadCount",
    "ForegroundDownloadCount",
    "BackgroundDownloadCount",
    "PercentPeerCaching",
    "PeerEfficiency",
];

/// What the seed tells with `-Verbose`, and what larder tells besides.
const MORE: &[&str] = &[
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

fn number(of: &Value, key: &str) -> u64 {
    of[key].as_u64().unwrap_or_else(|| panic!("{key}: {of}"))
}

#[test]
fn sums_are_of_the_start_and_of_the_month() {
    if !have(&["nginx"]) {
        return;
    }
    let (nginx, mut larder) = house();
    let snap = told(&larder, &["perfsnap"]);
    assert_eq!(keys(&snap), set(PERF_SNAP));
    assert_eq!(
        (
            number(&snap, "TotalBytesDownloaded"),
            number(&snap, "Files")
        ),
        (0, 0)
    );
    let verbose = told(&larder, &["perfsnap", "--verbose"]);
    assert_eq!(keys(&verbose), set(&[PERF_SNAP, MORE].concat()));
    assert!(verbose["Month"].is_null(), "{verbose}");
    let this_month = told(&larder, &["perfsnap", "--this-month"]);
    assert_eq!(keys(&this_month), set(PERF_SNAP));

    let sizes = [2 * MIB, 3 * MIB + 1];
    let all = (sizes[0] + sizes[1]) as u64;
    let paths = ["/one.cab", "/two.cab"];
    let get = |larder: &rig::larder::Larder, path: &str, wanted: &[u8]| {
        let answer = larder.get(PLAIN, path).run().expect("an answer");
        assert_same(&answer.body, wanted, path);
    };
    for (path, size) in paths.into_iter().zip(sizes) {
        let wanted = rig::real_bytes(size);
        nginx.put(path, &wanted);
        get(&larder, path, &wanted);
        get(&larder, path, &wanted);
    }
    let snap = eventually("what was served is counted", || {
        let snap = told(&larder, &["perfsnap", "--verbose"]);
        (number(&snap, "BytesToClients") == 2 * all).then_some(snap)
    });
    assert_percentages(&snap);
    for (key, value) in [
        ("FilesDownloaded", 2),
        ("TotalBytesDownloaded", all),
        ("AverageDownloadSize", all / 2),
        ("BytesFromCDN", all),
        ("BytesFromPeers", 0),
        ("TotalBytesUploaded", 0),
        ("FilesUploaded", 0),
        ("Files", 2),
        ("ForegroundDownloadRatePct", 100),
    ] {
        assert_eq!(number(&snap, key), value, "{key}: {snap}");
    }
    assert_eq!(snap["PercentPeerCaching"], 0.0);
    assert!(number(&snap, "TotalDiskBytes") > number(&snap, "AvailableDiskBytes"));
    assert!(number(&snap, "MemUsageKB") > 1000, "{snap}");
    let text = larder.told(&["perfsnap", "--this-month", "--verbose"]);
    assert!(text.contains(&all.to_string()), "{text}");

    // The month goes on over a restart; what is since the start begins anew.
    larder.terminate();
    larder.resume();
    let wanted = rig::real_bytes(sizes[0]);
    get(&larder, paths[0], &wanted);
    let month = eventually("the month has it all", || {
        let month = told(&larder, &["perfsnap", "--this-month", "--verbose"]);
        let served = number(&month, "BytesToClients");
        (served == 2 * all + sizes[0] as u64).then_some(month)
    });
    assert_eq!(number(&month, "TotalBytesDownloaded"), all, "{month}");
    assert_eq!(number(&month, "FilesDownloaded"), 2, "{month}");
    assert!(
        month["Month"]
            .as_str()
            .is_some_and(|month| month.len() == 7),
        "{month}"
    );
    let snap = told(&larder, &["perfsnap", "--verbose"]);
    assert_eq!(number(&snap, "TotalBytesDownloaded"), 0, "{snap}");
    assert_eq!(number(&snap, "BytesToClients"), sizes[0] as u64, "{snap}");
}
