//! The rules of the house, held by reading the source: sizes, `unsafe` in its rooms, imports downstairs only.
//! The rule: what a reviewer would have to look for by eye is looked for here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this is usually two ideas.
const LINES_MAX: usize = 600;

/// The only places where `unsafe` may stand: folders end in a slash.
const UNSAFE_ROOMS: &[&str] = &[
    "storage/src/ring/",
    "storage/src/arena.rs",
    "storage/src/buf.rs",
    "storage/src/epoll.rs",
    "storage/src/ram_tier.rs",
    "net/src/sock.rs",
];

/// Each crate with the crates of this workspace that it may name: always downstairs.
const IMPORTS: &[(&str, &[&str])] = &[
    ("storage/content", &[]),
    ("net/proto", &["larder-content"]),
    ("storage", &["larder-content"]),
    ("net", &["larder-content", "larder-proto", "larder-storage"]),
    (
        "appliance",
        &[
            "larder-content",
            "larder-net",
            "larder-proto",
            "larder-storage",
        ],
    ),
    (
        "benches",
        &[
            "larder",
            "larder-content",
            "larder-net",
            "larder-proto",
            "larder-storage",
        ],
    ),
    (
        "fuzz",
        &[
            "larder",
            "larder-content",
            "larder-net",
            "larder-proto",
            "larder-storage",
        ],
    ),
];

/// Crates without any `unsafe`, which therefore forbid it in their root.
const FORBIDDING: &[&str] = &[
    "storage/content/src/lib.rs",
    "net/proto/src/lib.rs",
    "appliance/src/lib.rs",
    "benches/src/lib.rs",
];

/// Words that may not stand in any source file, spelt in two halves so that this file passes itself.
const UNWANTED: &[(&str, &str)] = &[
    ("todo", "!("),
    ("unimplemented", "!("),
    ("FIX", "ME"),
    ("TO", "DO"),
    ("X", "XX"),
    ("dbg", "!("),
];

/// Module names that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "common", "misc"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the workspace")
        .to_path_buf()
}

/// Every file with that ending below the workspace, as a path from its root.
fn files(ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace is readable") {
            let path = entry.expect("a folder entry is readable").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                let below = path.strip_prefix(root()).expect("found below the root");
                found.push(below.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    assert!(
        !found.is_empty(),
        "no *{ending} found below {}",
        root().display()
    );
    found
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("reading {path}: {e}"))
}

/// One line per breach, or nothing; the panic lists them all, so that one run shows the whole work.
fn report(rule: &str, breaches: Vec<String>) {
    assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
}

/// The part of a line before a `//` comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Whether `word` stands in `line` on its own and outside of a string.
fn has_word(line: &str, word: &str) -> bool {
    let outside = code(line).split('"').step_by(2);
    outside
        .flat_map(|part| part.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .any(|part| part == word)
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let bare = files(".rs")
        .into_iter()
        .filter(|path| !text(path).starts_with("//! "));
    report(
        "a source file begins with `//! ` and what it is for",
        bare.collect(),
    );
}

#[test]
fn no_file_is_longer_than_one_idea() {
    let sized = files(".rs")
        .into_iter()
        .map(|path| (text(&path).lines().count(), path));
    let long = sized
        .filter(|(lines, _)| *lines > LINES_MAX)
        .map(|(lines, path)| format!("{path}: {lines} lines"));
    report(
        &format!("a source file has at most {LINES_MAX} lines"),
        long.collect(),
    );
}

#[test]
fn modules_are_named_for_what_they_hold() {
    let empty = files(".rs").into_iter().filter(|path| {
        path.split(['/', '.'])
            .any(|part| EMPTY_NAMES.contains(&part))
    });
    report(
        "no module is called utils, helpers or common",
        empty.collect(),
    );
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let mut breaches = Vec::new();
    for path in files(".rs") {
        if UNSAFE_ROOMS
            .iter()
            .any(|room| path == *room || (room.ends_with('/') && path.starts_with(room)))
        {
            continue;
        }
        for (number, line) in text(&path).lines().enumerate() {
            if has_word(line, "unsafe") {
                breaches.push(format!("{path}:{}", number + 1));
            }
        }
    }
    report("`unsafe` stands only in its rooms", breaches);
    let lax = FORBIDDING
        .iter()
        .filter(|path| !text(path).contains("#![forbid(unsafe_code)]"));
    report(
        "a crate without `unsafe` forbids it in its root",
        lax.map(ToString::to_string).collect(),
    );
}

#[test]
fn nothing_unfinished_is_left_lying() {
    let mut breaches = Vec::new();
    for path in files(".rs") {
        let source = text(&path);
        for (first, second) in UNWANTED {
            let word = format!("{first}{second}");
            // A mark is a word of its own, so that a longer name which holds it is no breach.
            let marks = |line: &str| {
                line.split(|c: char| !c.is_alphanumeric())
                    .any(|part| part == word)
            };
            let found = if word.ends_with('(') {
                source.contains(&word)
            } else {
                source.lines().any(marks)
            };
            if found {
                breaches.push(format!("{path}: {word}"));
            }
        }
    }
    report("nothing unfinished is left lying", breaches);
}

/// A test that sleeps is slow on a good day and wrong on a bad one: it waits for a condition instead.
#[test]
fn tests_do_not_sleep() {
    let mut breaches = Vec::new();
    for path in files(".rs") {
        let source = text(&path);
        // Unit tests stand at the end of a file, so what follows their mark is theirs.
        let of_tests = if path.contains("/tests/") || path.ends_with("/tests.rs") {
            source.as_str()
        } else {
            source.find("#[cfg(test)]").map_or("", |at| &source[at..])
        };
        // The one place which polls a condition pauses between two looks by parking with a timeout.
        if of_tests
            .lines()
            .any(|line| has_word(line, "sleep") || has_word(line, "sleep_ms"))
        {
            breaches.push(path);
        }
    }
    report("tests wait for conditions and do not sleep", breaches);
}

/// The names of this workspace's crates under `[dependencies]`-like tables of a manifest.
fn imports(manifest: &str) -> BTreeSet<String> {
    let table: toml::Table = text(manifest)
        .parse()
        .unwrap_or_else(|e| panic!("{manifest}: {e}"));
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let names = kinds
        .iter()
        .filter_map(|kind| table.get(*kind)?.as_table())
        .flat_map(|names| names.keys());
    names
        .filter(|name| *name == "larder" || name.starts_with("larder-"))
        .cloned()
        .collect()
}

#[test]
fn imports_go_downstairs() {
    let known: BTreeSet<String> = IMPORTS
        .iter()
        .map(|(folder, _)| format!("{folder}/Cargo.toml"))
        .collect();
    let there: BTreeSet<String> = files("Cargo.toml")
        .into_iter()
        .filter(|path| path != "Cargo.toml")
        .collect();
    assert_eq!(known, there, "every crate has a line in IMPORTS");
    let mut breaches = Vec::new();
    for (folder, allowed) in IMPORTS {
        let upstairs = imports(&format!("{folder}/Cargo.toml"))
            .into_iter()
            .filter(|n| !allowed.contains(&n.as_str()));
        breaches.extend(upstairs.map(|name| format!("{folder} imports {name}")));
    }
    report("a crate imports only what lies below it", breaches);
}

#[test]
fn the_rooms_of_the_house_are_there() {
    let wanted = [
        "appliance/src",
        "net/src",
        "net/proto/src",
        "storage/src",
        "storage/content/src",
        "benches/src",
        ".ci/run",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "NOTICE",
        "README.md",
        "deny.toml",
    ];
    let missing = wanted.iter().filter(|path| !root().join(path).exists());
    report(
        "folders and files that everyone looks for",
        missing.map(ToString::to_string).collect(),
    );
}

/// The table of what is kept of the standards.
const CONFORMANCE: &str = "docs/conformance.md";

/// Fails where a function of a file is not there, or where nothing runs it as a test: an attribute above it, or its name
/// in a list, of its own file or as `file::function` of the folder's.
fn find_test(file: &str, function: &str) -> Result<(), String> {
    let Ok(source) = fs::read_to_string(root().join(file)) else {
        return Err(format!("there is no {file}"));
    };
    let lines: Vec<&str> = source.lines().collect();
    let heads = [format!("fn {function}("), format!("async fn {function}(")];
    let begins = |line: &&str| {
        let line = line.trim_start();
        let line = line.strip_prefix("pub(super) ").unwrap_or(line);
        heads.iter().any(|head| line.starts_with(head.as_str()))
    };
    let Some(at) = lines.iter().position(begins) else {
        return Err(format!("{file} has no {function}"));
    };
    let above = lines[..at].iter().rev().take_while(|line| {
        line.trim_start().starts_with('#') || line.trim_start().starts_with("//")
    });
    let is_marked = above
        .into_iter()
        .any(|line| line.contains("test]") || line.contains("test("));
    let own = lines
        .iter()
        .any(|line| line.trim() == format!("{function},"));
    let path = Path::new(file);
    let module = path.file_stem().unwrap_or_default().to_string_lossy();
    let list = path.with_file_name("mod.rs");
    let list = fs::read_to_string(root().join(list)).unwrap_or_default();
    let named = format!("{module}::{function}");
    let listed = list
        .split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
        .any(|word| word == named);
    if is_marked || own || listed {
        Ok(())
    } else {
        Err(format!("{file}: nothing runs {function} as a test"))
    }
}

/// What is promised in a table is true only for as long as the tests that it names are there.
#[test]
fn what_is_kept_of_the_standards_names_its_tests() {
    let text = text(CONFORMANCE);
    let mut breaches = Vec::new();
    let (mut covered, mut otherwise, mut outside) = (0, 0, 0);
    let mut named = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells.len() != 7 {
            breaches.push(format!("not five cells: {line}"));
            continue;
        }
        let by = cells[5];
        if by == "covered by" {
            continue;
        }
        if by.starts_with("otherwise: ") {
            otherwise += 1;
        } else if by.starts_with("does not apply: ") {
            outside += 1;
        } else {
            covered += 1;
            for test in by.split(", ") {
                let name = test.trim_matches('`').split_once("::");
                match name.map(|(file, function)| find_test(file, function)) {
                    Some(Ok(())) => drop(named.insert(test)),
                    Some(Err(why)) => breaches.push(format!("{}: {why}", cells[1])),
                    None => breaches.push(format!("{}: {test} is no test", cells[1])),
                }
            }
        }
    }
    let all = covered + otherwise + outside;
    let says = format!(
        "{all} requirements, of which {covered} are covered by tests, {otherwise} are kept otherwise than written, \
         and {outside} do not apply."
    );
    if !text.contains(&says) {
        breaches.push(format!("its head does not say: {says}"));
    }
    report("what is kept of the standards names its tests", breaches);
    assert!(named.len() > 100, "only {} tests are named", named.len());
}
