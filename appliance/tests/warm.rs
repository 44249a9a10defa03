//! `larder warm`, against an origin that counts. The rule: what was warmed is served without a byte from the origin,
//! and what can not be warmed is told and holds up nothing else.

mod rig;

use rig::fetch::Get;
use rig::larder::{FAMILY, PLAIN};
use rig::{assert_same, have, house};
use std::fs;

const MIB: usize = 1 << 20;

#[test]
fn three_objects_are_warmed_once_and_served_from_the_store() {
    if !have(&["nginx"]) {
        return;
    }
    let (mut nginx, mut larder) = house();
    // One of several steps, one of a few pieces, one that is smaller than a piece.
    let sizes = [70 * MIB + 17, 3 * MIB, 1234];
    let wanted = sizes.map(rig::real_bytes);
    let named = nginx.put_named(&wanted[0]);
    nginx.put("/office/stream.dat", &wanted[1]);
    nginx.put("/office/small.cab", &wanted[2]);
    let places = [
        (FAMILY[0], named.as_str()),
        (PLAIN, "/office/stream.dat"),
        (PLAIN, "/office/small.cab"),
    ];
    let urls = places.map(|(host, path)| format!("http://{host}{path}"));
    let total: usize = sizes.iter().sum();

    let mut arguments = vec!["warm", "--json"];
    arguments.extend(urls.iter().map(String::as_str));
    let told = larder.told(&arguments);
    let lines: Vec<serde_json::Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 4, "{told}");
    for ((line, url), size) in lines.iter().zip(&urls).zip(sizes) {
        assert_eq!(line["url"], *url, "{told}");
        assert_eq!(
            (&line["fetched"], &line["there"]),
            (&size.into(), &0.into()),
            "{told}"
        );
    }
    assert_eq!(lines[3]["fetched"], total, "{told}");
    assert_eq!(lines[3]["failed"], 0, "{told}");

    for ((host, path), wanted) in places.iter().zip(&wanted) {
        let answer = larder.get(host, path).run().expect("an answer");
        assert_same(&answer.body, wanted, path);
        assert_ne!(
            answer.field("X-Cache-Status"),
            Some("MISS"),
            "{}",
            answer.head
        );
    }
    // A second warm from a list, also after a restart, asks for nothing.
    larder.terminate();
    larder.resume();
    let list = larder.directory().join("urls");
    fs::write(
        &list,
        format!("# office\n{}  # once more\n\n", urls.join("\n")),
    )
    .expect("written");
    let list = list.to_string_lossy().into_owned();
    let told = larder.told(&["warm", "--list", &list, "--rate", "1KiB"]);
    assert!(
        told.contains("3 objects warmed, 0 failed; 0 B fetched"),
        "{told}"
    );
    let sent = rig::nginx::body_bytes(&nginx.stop());
    assert_eq!(sent, total as u64, "each byte crossed the line once");
}

#[test]
fn what_fails_is_told_and_the_rest_is_warmed() {
    if !have(&["nginx"]) {
        return;
    }
    let (mut nginx, larder) = house();
    let wanted = rig::real_bytes(2 * MIB);
    nginx.put("/office/there.dat", &wanted);
    let missing = format!("http://{PLAIN}/office/missing.dat");
    let there = format!("http://{PLAIN}/office/there.dat");
    let output = larder.command(&[
        "warm",
        &missing,
        "http://evil.example/x",
        "nonsense",
        &there,
    ]);
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}{errors}");
    assert!(
        said.contains("1 objects warmed, 3 failed"),
        "{said}{errors}"
    );
    for (url, why) in [
        (missing.as_str(), "the origin answers 404"),
        ("http://evil.example/x", "[origins] allow"),
        ("nonsense", "http://host/path"),
    ] {
        let line = errors.lines().find(|line| line.contains(url));
        assert!(
            line.is_some_and(|line| line.contains(why)),
            "{url}: {errors}"
        );
    }
    let answer = larder
        .get(PLAIN, "/office/there.dat")
        .run()
        .expect("an answer");
    assert_same(&answer.body, &wanted, "the warmed one");
    assert_ne!(
        answer.field("X-Cache-Status"),
        Some("MISS"),
        "{}",
        answer.head
    );

    // Without a token nothing is asked, and the command ends at once.
    let admin = format!("http://{}", larder.admin());
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["warm", &missing, &there, "--admin", &admin])
        .output()
        .expect("larder runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("token"), "{errors}");
    let answer = Get::new(larder.admin(), "/api/v1/status")
        .run()
        .expect("an answer");
    assert_eq!(answer.status, 200);
    let log = nginx.stop();
    assert_eq!(rig::nginx::body_bytes(&log), wanted.len() as u64);
}
