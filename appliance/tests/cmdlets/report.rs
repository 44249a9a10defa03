//! `larder report`. The rule: what is reported of a month is what was sent, over restarts, kills and files of others.

use super::{MIB, told};
use crate::rig::larder::{Larder, PLAIN, Setup};
use crate::rig::nginx::Nginx;
use crate::rig::{self, assert_same, eventually, have};
use std::fs;

fn get(larder: &Larder, path: &str, wanted: &[u8]) {
    let answer = larder.get(PLAIN, path).run().expect("an answer");
    assert_same(&answer.body, wanted, path);
}

#[test]
fn a_month_outlives_restarts_and_kills_and_is_told_in_three_ways() {
    if !have(&["nginx"]) {
        return;
    }
    let mut nginx = Nginx::start();
    let store = tempfile::tempdir().expect("a directory");
    // As another version has left it, with months that it knows more of.
    let earlier = r#"{"version":1,"months":[
        {"month":"2024-02","sums":{"served_disk":3000,"received_http":1000,"of_tomorrow":1}},
        {"month":"2024-01","sums":{"served_memory":10}}]}"#;
    fs::write(store.path().join("months.json"), earlier).expect("written");
    let mut larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        store: Some(store.path().to_path_buf()),
        server: "site = \"berlin, north\"",
        ..Setup::default()
    });
    let old = told(&larder, &["report", "--month", "2024-02"]);
    assert_eq!(
        (&old["saved_bytes"], &old["saved_percent"]),
        (&2000.into(), &66.66.into()),
        "{old}"
    );
    let wanted = rig::real_bytes(3 * MIB);
    nginx.put("/report.cab", &wanted);
    for _ in 0..3 {
        get(&larder, "/report.cab", &wanted);
    }
    let size = wanted.len() as u64;
    let came = nginx.body_bytes();
    assert_eq!(came, size);
    let newest = |larder: &Larder| told(larder, &["report"])[0].clone();
    let report = eventually("three answers are counted", || {
        let report = newest(&larder);
        (report["served_bytes"]["all"] == 3 * size).then_some(report)
    });
    for (what, source, count) in [
        ("fetched_bytes", "http", size),
        ("fetched_bytes", "all", size),
        ("fetched_bytes", "cache_server", 0),
        ("served_bytes", "lan_peers", 0),
    ] {
        assert_eq!(report[what][source], count, "{what} {source}: {report}");
    }
    assert_eq!(report["saved_bytes"], 2 * size, "{report}");
    assert_eq!(report["saved_percent"], 66.66, "{report}");
    assert_eq!(
        (&report["requests"], &report["site"]),
        (&3.into(), &"berlin, north".into())
    );
    let month = report["month"].as_str().expect("text").to_owned();

    // It is written by itself, so that a kill costs no more than what came in the last seconds.
    let file = store.path().join("months.json");
    let of_month = |text: &str| {
        let kept: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let months = kept["months"].as_array().cloned().unwrap_or_default();
        let found = months.into_iter().find(|one| one["month"] == *month)?;
        found["sums"]["requests"].as_u64()
    };
    eventually("the month is on disk", || {
        let text = fs::read_to_string(&file).ok()?;
        (of_month(&text) == Some(3)).then_some(())
    });
    larder.kill();
    larder.resume();
    assert_eq!(newest(&larder), report, "after a kill");
    get(&larder, "/report.cab", &wanted);
    larder.terminate();
    larder.resume();
    let report = newest(&larder);
    assert_eq!(
        report["saved_bytes"],
        3 * size,
        "after an orderly end: {report}"
    );
    let text = fs::read_to_string(&file).expect("read");
    assert!(
        text.contains("of_tomorrow"),
        "what another version counts is handed on: {text}"
    );

    let csv = larder.told(&["report", "--csv"]);
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines.len(), 4, "{csv}");
    let columns: Vec<_> = lines[0].trim_end().split(',').collect();
    assert!(
        lines[1].starts_with(&format!("{month},\"berlin, north\",4,")),
        "{csv}"
    );
    // Without the comma in the site's name.
    let cells: Vec<_> = lines[1]
        .trim_end()
        .split("\"berlin, north\"")
        .collect::<Vec<_>>()
        .join("")
        .split(',')
        .map(str::to_owned)
        .collect();
    assert_eq!(cells.len(), columns.len());
    let at = columns
        .iter()
        .position(|column| *column == "saved_bytes")
        .expect("a column");
    assert_eq!(cells[at], (3 * size).to_string());
    assert!(lines[3].trim_end().ends_with(",10,100.00"), "{csv}");
    let table = larder.told(&["report", "--month", &month]);
    for words in [
        "to clients from",
        "from origins",
        "75.00 % were saved",
        "berlin",
    ] {
        assert!(table.contains(words), "{words}: {table}");
    }

    // Between months that are known is one in which nothing was done; before them nothing is known.
    let quiet = told(&larder, &["report", "--month", "2024-03"]);
    assert_eq!(quiet["requests"], 0, "{quiet}");
    for (wrong, words) in [
        ("2023-12", "the first month that is kept is 2024-01"),
        ("2999-01", "nothing is known of 2999-01"),
        ("2026-13", "write it as 2026-10"),
        ("October", "write it as 2026-10"),
    ] {
        let output = larder.command(&["report", "--month", wrong]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains(words),
            "{wrong}: {said}"
        );
    }
}

#[test]
fn a_damaged_file_is_put_aside_and_said() {
    let store = tempfile::tempdir().expect("a directory");
    fs::write(
        store.path().join("months.json"),
        "{\"version\":1,\"months\":[{",
    )
    .expect("written");
    let larder = Larder::start(&Setup {
        store: Some(store.path().to_path_buf()),
        ..Setup::default()
    });
    assert!(
        larder.log().contains("months.json.damaged"),
        "{}",
        larder.log()
    );
    assert!(store.path().join("months.json.damaged").exists());
    assert_eq!(told(&larder, &["report"]).as_array().map(Vec::len), Some(0));
}
