//! The container file, as far as it can be tried without an engine. The rule: what it copies is there, what it starts is
//! started by a user without any privilege, and in a root that has no more than the base.

use crate::rig::process::Process;
use crate::rig::{eventually, have, root as is_root};
use crate::root;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What the base (distroless cc) has of libraries.
const LIBRARIES: [&str; 5] = [
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
];

fn lines(word: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("deploy/Containerfile")).expect("readable");
    let of_word = |line: &str| Some(line.strip_prefix(word)?.trim().to_owned());
    text.lines().filter_map(of_word).collect()
}

/// Copies the program's libraries, each to where it is looked for.
fn libraries(program: &Path, into: &Path) {
    let output = Command::new("ldd").arg(program).output().expect("ldd runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for word in said.split_whitespace().filter(|word| word.starts_with('/')) {
        let path = Path::new(word);
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        assert!(LIBRARIES.contains(&name), "{name} is not in the base");
        let to = into.join(word.trim_start_matches('/'));
        fs::create_dir_all(to.parent().expect("a directory")).expect("made");
        fs::copy(path, to).expect("copied");
    }
}

#[test]
fn what_the_container_file_copies_and_starts_is_there() {
    let copied = lines("COPY");
    for line in &copied {
        let from = line
            .split_whitespace()
            .find(|word| word.starts_with("/src/"));
        if let Some(path) = from.and_then(|from| from.strip_prefix("/src/")) {
            let built = path.starts_with("target/");
            assert!(built || root().join(path).is_file(), "{path} is not there");
        }
    }
    assert_eq!(lines("USER"), ["65532:65532"]);
    assert_eq!(lines("ENTRYPOINT"), ["[\"/usr/bin/larder\"]"]);
    assert_eq!(
        lines("CMD"),
        ["[\"serve\", \"--config\", \"/etc/larder/larder.toml\"]"]
    );
    let rust = fs::read_to_string(root().join("Cargo.toml")).expect("readable");
    let version = rust
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "));
    let version = version.expect("a version").trim_matches('"');
    assert!(
        lines("FROM")[0].contains(&format!("rust:{version}-")),
        "the image is of another toolchain"
    );
}

#[test]
fn it_serves_in_a_root_with_nothing_else_and_without_privilege() {
    if !have(&["ldd", "setpriv", "unshare", "nsenter", "curl"])
        || !is_root("to have a root of its own")
    {
        return;
    }
    let folder = tempfile::tempdir().expect("a directory");
    let image = folder.path().join("image");
    for directory in [
        "usr/bin",
        "etc/larder",
        "var/lib/larder",
        "proc",
        "dev",
        "tmp",
    ] {
        fs::create_dir_all(image.join(directory)).expect("made");
    }
    let program = Path::new(env!("CARGO_BIN_EXE_larder"));
    fs::copy(program, image.join("usr/bin/larder")).expect("copied");
    fs::copy(
        root().join("deploy/container.toml"),
        image.join("etc/larder/larder.toml"),
    )
    .expect("copied");
    libraries(program, &image);
    let script = "ip link set lo up; mount --bind \"$0\" \"$0\"; mount --bind \"$0/var/lib/larder\" \"$0/var/lib/larder\"; \
        chown 65532:65532 \"$0/var/lib/larder\"; mount -t proc proc \"$0/proc\"; mount --rbind /dev \"$0/dev\"; \
        mount -o remount,bind,ro \"$0\"; cd \"$0\"; \
        exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs --reuid=65532 --regid=65532 --clear-groups \
        /usr/bin/env -i unshare --user --map-current-user --root=\"$0\" \
        /usr/bin/larder serve --config /etc/larder/larder.toml";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--net", "sh", "-ec", script])
        .arg(&image);
    let mut process = Process::start(&mut command, &folder.path().join("log"));
    // Not by asking: until it has a network of its own, somebody else's answer might be taken for it.
    eventually("it serves", || {
        let said = process.said();
        assert!(process.ended().is_none(), "it ended:\n{said}");
        said.contains(" serves on ").then_some(())
    });
    let pid = process.pid().to_string();
    let ask = [
        "-t",
        &pid,
        "-n",
        "curl",
        "-sf",
        "http://127.0.0.1:9180/readyz",
    ];
    let asked = Command::new("nsenter")
        .args(ask)
        .output()
        .expect("nsenter runs");
    assert!(asked.status.success(), "{}", process.said());
    process.signal("TERM");
    assert!(process.wait().success(), "{}", process.said());
    assert!(image.join("var/lib/larder/catalogue.redb").is_file());
}
