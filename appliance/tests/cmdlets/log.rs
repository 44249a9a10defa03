//! `larder log`. The rule: each download has a beginning and an end in it, and its sums are those of what came.

use super::{MIB, keys, set};
use crate::rig::larder::{Larder, PLAIN};
use crate::rig::{self, assert_same, have, house};
use serde_json::Value;
use std::fs;

/// The keys of the cmdlet's objects.
const ENTRY: &[&str] = &[
    "TimeCreated",
    "ProcessId",
    "ThreadId",
    "Level",
    "LevelName",
    "Message",
    "Function",
];

fn entries(larder: &Larder, arguments: &[&str]) -> Vec<Value> {
    let said = larder.told(&[&["log", "--json"], arguments].concat());
    let parsed = said.lines().map(serde_json::from_str);
    parsed.collect::<Result<_, _>>().expect("lines of JSON")
}

#[test]
fn downloads_are_logged_read_and_added_up() {
    if !have(&["nginx"]) {
        return;
    }
    let (nginx, mut larder) = house();
    assert!(entries(&larder, &[]).is_empty(), "nothing has been");
    let sizes = [2 * MIB, 3 * MIB + 7];
    for (path, size) in ["/one.cab", "/two.cab"].into_iter().zip(sizes) {
        let wanted = rig::real_bytes(size);
        nginx.put(path, &wanted);
        let answer = larder.get(PLAIN, path).run().expect("an answer");
        assert_same(&answer.body, &wanted, path);
    }
    let all = (sizes[0] + sizes[1]) as u64;
    let ended = |all: &[Value]| -> Vec<Value> {
        let downloads = all.iter().filter(|entry| !entry["Download"].is_null());
        downloads.cloned().collect()
    };
    let log = rig::eventually("both have ended", || {
        let log = entries(&larder, &["--flush"]);
        (ended(&log).len() >= 2).then_some(log)
    });
    let begun = log
        .iter()
        .filter(|entry| entry["Function"] == "Download::begin");
    assert_eq!(begun.clone().count(), 2, "{log:?}");
    for entry in begun {
        assert_eq!(keys(entry), set(ENTRY));
        assert_eq!(
            (&entry["Level"], &entry["LevelName"]),
            (&4.into(), &"Info".into())
        );
    }
    let bytes: u64 = ended(&log)
        .iter()
        .filter_map(|entry| entry["Download"]["TotalBytes"].as_u64())
        .sum();
    assert_eq!(bytes, all);
    let analysis = larder.told(&["log", "--analyze", "--list-connections", "--json"]);
    let analysis: Value = serde_json::from_str(&analysis).expect("JSON");
    let expected = serde_json::json!({
        "Files": 2, "EligibleFiles": 0, "PeeringFiles": 0, "TotalBytes": all, "BytesFromHttp": all,
        "BytesFromPeers": 0, "Efficiency": 0.0, "Connections": [],
    });
    assert_eq!(analysis, expected);
    let text = larder.told(&["log"]);
    assert!(
        text.contains("/two.cab has ended, all of it is here"),
        "{text}"
    );

    // It outlives larder, and can be read while that does not run.
    let url = format!("http://{PLAIN}/one.cab");
    larder.terminate();
    assert_eq!(ended(&entries(&larder, &[])).len(), 2);
    larder.resume();
    assert!(
        larder.command(&["pause", &url]).stdout.is_empty(),
        "it is here"
    );
    assert!(larder.command(&["cancel", &url]).stdout.is_empty());

    // Other files, by wildcards; lines that are none are passed over and told.
    let folder = tempfile::tempdir().expect("a directory");
    let from = larder.directory().join("store/log/downloads.jsonl");
    fs::copy(&from, folder.path().join("a.1.jsonl")).expect("copied");
    fs::write(folder.path().join("a.2.jsonl"), "{\"TimeCreated\":\"20").expect("written");
    fs::write(folder.path().join("b.txt"), "no log").expect("written");
    let pattern = folder.path().join("a.?.jsonl").display().to_string();
    let output = larder.command(&["log", "--json", "--path", &pattern]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.contains("1 lines are no entries"),
        "{said}"
    );
    let read = String::from_utf8_lossy(&output.stdout).lines().count();
    assert_eq!(read, log.len());
    let none = folder.path().join("c*").display().to_string();
    let output = larder.command(&["log", "--path", &none]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("no file matches"),
        "{said}"
    );
}
