//! `larder status`. The rule: a row says what becomes of a file while it comes and after.

use super::{MIB, assert_percentages, keys, set, slow_house, told};
use crate::rig::fetch::Get;
use crate::rig::larder::PLAIN;
use crate::rig::{self, assert_same, eventually, have, house};
use serde_json::Value;
use std::thread;

/// The keys of the newest reference (facts: clients, section 5).
const STATUS: &[&str] = &[
    "FileId",
    "FileSize",
    "FileSizeInCache",
    "TotalBytesDownloaded",
    "PercentPeerCaching",
    "BytesFromPeers",
    "BytesFromHttp",
    "Status",
    "Priority",
    "BytesFromCacheServer",
    "BytesFromLanPeers",
    "BytesFromGroupPeers",
    "BytesFromInternetPeers",
    "BytesToLanPeers",
    "BytesToGroupPeers",
    "BytesToInternetPeers",
    "DownloadDuration",
    "HttpConnectionCount",
    "LanConnectionCount",
    "GroupConnectionCount",
    "InternetConnectionCount",
    "DownloadMode",
    "SourceURL",
    "CacheHost",
    "NumPeers",
    "PredefinedCallerApplication",
    "ExpireOn",
    "IsPinned",
];

/// What larder tells besides.
const MORE: &[&str] = &[
    "Content",
    "BytesFromLinks",
    "DownloadModeReason",
    "PiecesWanted",
    "IdleSeconds",
];

#[test]
fn a_row_has_the_keys_of_the_cmdlet_and_more_where_more_is_asked_for() {
    if !have(&["nginx"]) {
        return;
    }
    let (nginx, larder) = house();
    assert_eq!(told(&larder, &["status"]), Value::Array(Vec::new()));
    let wanted = rig::real_bytes(3 * MIB + 5);
    nginx.put("/keys.cab", &wanted);
    let answer = larder.get(PLAIN, "/keys.cab").run().expect("an answer");
    assert_same(&answer.body, &wanted, "the file");
    let row = eventually("all of it is here", || {
        let rows = told(&larder, &["status"]);
        let row = rows[0].clone();
        (row["Status"] == "Caching").then_some(row)
    });
    assert_eq!(keys(&row), set(STATUS));
    let size = wanted.len() as u64;
    for (key, value) in [
        ("FileSize", size),
        ("FileSizeInCache", size),
        ("TotalBytesDownloaded", size),
        ("BytesFromHttp", size),
        ("BytesFromPeers", 0),
        ("BytesFromCacheServer", 0),
        ("HttpConnectionCount", 0),
        ("NumPeers", 0),
    ] {
        assert_eq!(row[key], value, "{key}: {row}");
    }
    assert_eq!(row["SourceURL"], format!("http://{PLAIN}/keys.cab"));
    assert_eq!(
        (&row["IsPinned"], &row["ExpireOn"]),
        (&Value::Bool(false), &Value::Null)
    );
    // The file is small: simple mode (seed: Download mode).
    assert_eq!(row["DownloadMode"], 99, "{row}");
    let id = row["FileId"].as_str().expect("text");
    let parts: Vec<_> = id.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
    let verbose = told(&larder, &["status", "--verbose"]);
    assert_eq!(keys(&verbose[0]), set(&[STATUS, MORE].concat()));
    let peers = told(&larder, &["status", "--peer-info"]);
    assert_eq!(keys(&peers[0]), set(&[STATUS, &["PeerInfo"]].concat()));
    assert_percentages(&peers);
    // For people.
    let table = larder.told(&["status"]);
    for word in ["STATUS", "Caching", "3.0 MiB", "/keys.cab"] {
        assert!(table.contains(word), "{word}: {table}");
    }
    let list = larder.told(&["status", "--verbose"]);
    for key in [STATUS, MORE].concat() {
        let has = |line: &str| line.split(':').next().map(str::trim) == Some(key);
        assert!(list.lines().any(has), "{key}: {list}");
    }
    larder.told(&["pin", &format!("http://{PLAIN}/keys.cab")]);
    assert_eq!(told(&larder, &["status"])[0]["IsPinned"], true);
}

#[test]
fn a_download_is_seen_while_it_comes() {
    if !have(&["nginx"]) {
        return;
    }
    let (nginx, larder) = slow_house("1m");
    let wanted = rig::real_bytes(6 * MIB);
    nginx.put("/slow/coming.cab", &wanted);
    let get = larder.get(PLAIN, "/slow/coming.cab");
    let client = thread::spawn(move || get.run());
    let mut before = 0;
    // It is seen to come further, piece by piece.
    for _ in 0..2 {
        let row = eventually("more of it has come", || {
            let rows = told(&larder, &["status"]);
            let row = rows.get(0)?.clone();
            let came = row["TotalBytesDownloaded"].as_u64()?;
            (row["Status"] == "Downloading" && came > before).then_some(row)
        });
        assert_percentages(&row);
        before = row["TotalBytesDownloaded"].as_u64().expect("a number");
        assert!(before <= wanted.len() as u64, "{row}");
        assert_eq!(row["Priority"], "Foreground", "{row}");
        let connections = row["HttpConnectionCount"].as_u64().expect("a number");
        assert!(connections >= 1, "{row}");
        let snap = told(&larder, &["perfsnap"]);
        assert_eq!(snap["ForegroundDownloadCount"], 1, "{snap}");
        assert!(snap["CdnConnections"].as_u64() >= Some(1), "{snap}");
    }
    let answer = client.join().expect("it ended").expect("an answer");
    assert_same(&answer.body, &wanted, "the file");
    let row = eventually("all of it is here", || {
        let rows = told(&larder, &["status"]);
        (rows[0]["Status"] == "Caching").then(|| rows[0].clone())
    });
    let seconds = row["DownloadDuration"].as_f64().expect("a number");
    assert!(seconds > 0.0, "{row}");
    // It does not go on growing when nothing is wanted.
    assert_eq!(
        told(&larder, &["status"])[0]["DownloadDuration"],
        row["DownloadDuration"]
    );
}

#[test]
fn what_was_wanted_of_a_file_has_come_and_the_rest_has_not() {
    if !have(&["nginx"]) {
        return;
    }
    let (nginx, mut larder) = house();
    let wanted = rig::real_bytes(4 * MIB);
    nginx.put("/part.cab", &wanted);
    let part = larder.get(PLAIN, "/part.cab").range(0, 99).run();
    assert_same(&part.expect("an answer").body, &wanted[..100], "a range");
    let row = eventually("the rest is not waited for", || {
        let rows = told(&larder, &["status"]);
        (rows.get(0)?["Status"] == "Complete").then(|| rows[0].clone())
    });
    let came = row["TotalBytesDownloaded"].as_u64().expect("a number");
    assert!(came >= MIB as u64 && came < wanted.len() as u64, "{row}");
    assert_eq!(row["FileSizeInCache"], came, "{row}");
    // What is here is told after a start, too; where it came from is not known any more.
    larder.terminate();
    larder.resume();
    let row = &told(&larder, &["status", "--verbose"])[0];
    assert_eq!(
        (&row["Status"], &row["FileSizeInCache"]),
        (&"Complete".into(), &came.into())
    );
    assert_eq!(
        (&row["TotalBytesDownloaded"], &row["IdleSeconds"]),
        (&0.into(), &Value::Null)
    );
    let recent = Get::new(larder.admin(), "/api/v1/downloads?recent=true").run();
    let recent: Value = serde_json::from_slice(&recent.expect("an answer").body).expect("JSON");
    assert_eq!(recent["downloads"], Value::Array(Vec::new()));
    let wrong = Get::new(larder.admin(), "/api/v1/downloads?recently=true").run();
    let wrong = wrong.expect("an answer");
    let words = String::from_utf8_lossy(&wrong.body).into_owned();
    assert!(
        wrong.status == 400 && words.contains("recent=true"),
        "{words}"
    );
}
