//! The Debian package. The rule: it is built by the script that people use, and tried in a root in which nothing of
//! larder is installed.

use crate::rig::{have, root as is_root};
use crate::root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a command to its end, which must be a good one; what it said.
fn said(command: &mut Command) -> String {
    let output = command.output().expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}",
        output.status
    );
    said
}

/// Packs the program that was built for the tests, as this version.
fn packed(version: &str, folder: &Path) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_larder")).parent();
    let profile = match built
        .and_then(Path::file_name)
        .and_then(|name| name.to_str())
    {
        Some("debug") => "dev",
        Some(profile) => profile,
        None => panic!("where is the program?"),
    };
    let deb = folder.join(format!("larder_{version}.deb"));
    let mut package = Command::new(root().join("deploy/package"));
    package.args(["--no-build", "--profile", profile, "--fast"]);
    package
        .args(["--deb-version", version, "--output"])
        .arg(&deb);
    said(&mut package);
    deb
}

#[test]
fn the_package_is_in_order_and_keeps_what_it_should() {
    let programs = [
        "cargo-deb",
        "dpkg-shlibdeps",
        "lintian",
        "unshare",
        "setpriv",
        "adduser",
        "nginx",
        "curl",
        "ip",
    ];
    if !have(&programs) || !is_root("to install a package") {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let old = packed("0.1.0-1", folder.path());
    let mut lintian = Command::new("lintian");
    let told = said(
        lintian
            .args(["--allow-root", "--fail-on", "error"])
            .arg(&old),
    );
    assert!(!told.contains("E: "), "{told}");
    let new = packed("0.1.1-1", folder.path());
    let mut tried = Command::new("unshare");
    tried.args(["--mount", "--net", "--pid", "--fork", "--kill-child"]);
    tried.arg(root().join("appliance/tests/operations/package.sh"));
    let told = said(tried.arg(&old).arg(&new).arg(folder.path()));
    assert!(told.contains("\n-- all is well\n"), "{told}");
}
