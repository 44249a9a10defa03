//! `larder pause`, `resume` and `cancel`. The rule: what the origin sends shows that nothing comes while it is paused, and
//! what clients get that nothing was lost by it.

use super::{MIB, slow_house, told};
use crate::rig::fetch::Answer;
use crate::rig::larder::{Larder, PLAIN};
use crate::rig::{self, assert_same, eventually, have};
use serde_json::Value;
use std::thread::{self, JoinHandle};

fn row(larder: &Larder) -> Value {
    told(larder, &["status", "--verbose"])[0].clone()
}

fn came(row: &Value) -> u64 {
    row["TotalBytesDownloaded"].as_u64().expect("a number")
}

/// Somebody gets it, and some of it has come.
fn begin(larder: &Larder, path: &str) -> (JoinHandle<std::io::Result<Answer>>, Value) {
    let get = larder.get(PLAIN, path);
    let client = thread::spawn(move || get.run());
    let row = eventually("some of it has come", || {
        let rows = told(larder, &["status", "--verbose"]);
        let row = rows.get(0)?.clone();
        (row["Status"] == "Downloading" && came(&row) > 0).then_some(row)
    });
    (client, row)
}

/// Pauses it, and waits until nothing comes any more; says what had come by then.
fn pause(larder: &Larder, url: &str) -> u64 {
    let said = larder.told(&["pause", url]);
    assert!(
        said.contains("paused 1 downloads") && said.contains(url),
        "{said}"
    );
    let row = eventually("what was under way is broken off", || {
        let row = row(larder);
        assert_eq!(row["Status"], "Paused", "{row}");
        (row["HttpConnectionCount"] == 0).then_some(row)
    });
    assert!(row["PiecesWanted"].as_u64() >= Some(1), "{row}");
    came(&row)
}

#[test]
fn a_paused_download_holds_its_fetch_and_goes_on_when_it_is_resumed() {
    if !have(&["nginx"]) {
        return;
    }
    let (mut nginx, larder) = slow_house("1m");
    let wanted = rig::real_bytes(8 * MIB);
    nginx.put("/slow/paused.cab", &wanted);
    let url = format!("http://{PLAIN}/slow/paused.cab");
    // What is not known can be neither paused nor resumed.
    for command in ["pause", "resume", "cancel"] {
        let output = larder.command(&[command, &url]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains("nothing of this is here"),
            "{said}"
        );
    }
    let (client, _) = begin(&larder, "/slow/paused.cab");
    let output = larder.command(&["resume", &url]);
    assert!(!output.status.success(), "it is not paused");
    let before = pause(&larder, &url);
    assert!(before < wanted.len() as u64, "{before}");
    // A moment later nothing has come, and the line is free for others.
    let other = rig::real_bytes(MIB);
    nginx.put("/other.cab", &other);
    let answer = larder.get(PLAIN, "/other.cab").run().expect("an answer");
    assert_same(&answer.body, &other, "another one");
    let of_it = |larder: &Larder| {
        let rows = told(larder, &["status"]);
        let rows = rows.as_array().cloned().unwrap_or_default();
        let found = rows.into_iter().find(|row| row["SourceURL"] == *url);
        found.expect("it is told of")
    };
    eventually("two seconds of it are over", || {
        let row = of_it(&larder);
        assert_eq!(
            (came(&row), &row["Status"]),
            (before, &"Paused".into()),
            "{row}"
        );
        (row["DownloadDuration"].as_f64() > Some(3.0)).then_some(())
    });
    // What is here is served all the same.
    let part = larder.get(PLAIN, "/slow/paused.cab").range(0, 99).run();
    assert_same(
        &part.expect("an answer").body,
        &wanted[..100],
        "the beginning",
    );
    let said = larder.told(&["resume", &url]);
    assert!(said.contains("resumed 1 downloads"), "{said}");
    let answer = client.join().expect("it ended").expect("an answer");
    assert_same(&answer.body, &wanted, "what the client got that was held");
    eventually("all of it is here", || {
        (of_it(&larder)["Status"] == "Caching").then_some(())
    });
    let output = larder.command(&["pause", &url]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("nothing to pause"),
        "{said}"
    );
    // What was broken off came again: no more than what lay in buffers at that moment, for each connection.
    let more = nginx.body_bytes() - (wanted.len() + MIB) as u64;
    assert!(more < 8 * MIB as u64, "{more}");
}

#[test]
fn who_waits_for_a_paused_download_is_told_so_when_its_patience_ends() {
    if !have(&["nginx"]) {
        return;
    }
    let (nginx, larder) = slow_house("1m");
    let wanted = rig::real_bytes(8 * MIB);
    nginx.put("/slow/waited.cab", &wanted);
    let url = format!("http://{PLAIN}/slow/waited.cab");
    let (client, _) = begin(&larder, "/slow/waited.cab");
    pause(&larder, &url);
    let last = wanted.len() as u64 - 100;
    let answer = larder
        .get(PLAIN, "/slow/waited.cab")
        .range(last, last + 99)
        .run();
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 503, "{}", answer.head);
    assert!(answer.field("Retry-After").is_some(), "{}", answer.head);
    // Cancelled, the answer that had begun is cut; and it can be had anew at once.
    let said = larder.told(&["cancel", &url, "--json"]);
    let told: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(
        (&told["downloads"], &told["urls"][0]),
        (&1.into(), &url.as_str().into())
    );
    let cut = client.join().expect("it ended");
    assert!(cut.is_err() || cut.is_ok_and(|answer| answer.body.len() < wanted.len()));
    let row = row(&larder);
    assert!(
        row["Status"] != "Paused" && row["PiecesWanted"] == 0,
        "{row}"
    );
    let answer = larder
        .get(PLAIN, "/slow/waited.cab")
        .run()
        .expect("an answer");
    assert_same(&answer.body, &wanted, "the whole");
}

#[test]
fn a_cancelled_download_is_over_for_all_who_wait() {
    if !have(&["nginx"]) {
        return;
    }
    let (mut nginx, larder) = slow_house("1m");
    let wanted = rig::real_bytes(16 * MIB);
    nginx.put("/slow/cancelled.cab", &wanted);
    let url = format!("http://{PLAIN}/slow/cancelled.cab");
    let (client, _) = begin(&larder, "/slow/cancelled.cab");
    // One that waits for its first byte is told at once.
    let last = wanted.len() as u64 - 100;
    let get = larder
        .get(PLAIN, "/slow/cancelled.cab")
        .range(last, last + 99);
    let other = thread::spawn(move || get.run());
    eventually("the last piece is waited for", || {
        let connections = larder.metric("larder_http_connections", "");
        (connections >= 2.0).then_some(())
    });
    let first = row(&larder);
    eventually("it is cancelled", || {
        let output = larder.command(&["cancel", &url]);
        output.status.success().then_some(())
    });
    let answer = other.join().expect("it ended").expect("an answer");
    assert!(
        answer.status == 503 || answer.body == wanted[wanted.len() - 100..],
        "{}",
        answer.head
    );
    let cut = client.join().expect("it ended");
    assert!(cut.is_err() || cut.is_ok_and(|answer| answer.body.len() < wanted.len()));
    let row = eventually("nothing of it comes any more", || {
        let row = row(&larder);
        (row["Status"] == "Complete" && row["HttpConnectionCount"] == 0).then_some(row)
    });
    assert!(
        came(&row) >= came(&first) && came(&row) < wanted.len() as u64,
        "{row}"
    );
    // What was under way at that moment lay in buffers.
    let sent = nginx.body_bytes();
    assert!(sent <= came(&row) + 4 * MIB as u64, "{sent}: {row}");
    let output = larder.command(&["cancel", &url]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("nothing of it is being downloaded"),
        "{said}"
    );
}
