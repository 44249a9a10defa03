//! The systemd units, as systemd itself reads them.

use crate::running::tool;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const UNITS: [&str; 4] = [
    "larder.service",
    "larder.socket",
    "larder-https.socket",
    "larder-peer.socket",
];

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

fn said(command: &mut Command) -> (bool, String) {
    let output = command.output().expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout) + &text(&output.stderr),
    )
}

#[test]
fn the_units_are_in_order() {
    let Some(mut analyze) = tool("systemd-analyze") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a directory");
    for name in UNITS {
        let text = fs::read_to_string(units().join(name)).expect("a unit");
        // The program lies elsewhere until it is installed.
        let text = text.replace("/usr/bin/larder", env!("CARGO_BIN_EXE_larder"));
        fs::write(folder.path().join(name), text).expect("written");
    }
    let paths = UNITS.map(|name| folder.path().join(name));
    let (fine, words) = said(analyze.arg("verify").args(paths));
    let ours: Vec<&str> = words
        .lines()
        .filter(|line| line.contains("larder"))
        .collect();
    assert!(fine && ours.is_empty(), "{words}");
}

#[test]
fn the_service_is_exposed_to_no_more_than_it_needs() {
    let Some(mut analyze) = tool("systemd-analyze") else {
        return;
    };
    // Of 100; nginx's unit has 96.
    analyze.args(["security", "--no-pager", "--offline=true", "--threshold=15"]);
    let (fine, words) = said(analyze.arg(units().join("larder.service")));
    assert!(fine, "{words}");
}
