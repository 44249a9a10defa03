//! Stores of other formats. The rule: what this larder does not know it leaves as it is, byte by byte.

use super::*;
use std::collections::BTreeMap;
use std::fs;
use xxhash_rust::xxh3::xxh3_64;

const LENGTH: u64 = (3 << 20) + 5;
const SECTOR: usize = 4096;

/// A store with one object, closed.
fn filled(path: &Path) {
    let store = Store::open(options(path)).unwrap();
    fetch_object(&store, 1, LENGTH);
    store.close();
}

/// How many pieces are in it now.
fn there(path: &Path) -> u32 {
    let store = Store::open(options(path)).unwrap();
    let there = check_object(&store, 1);
    store.close();
    there
}

fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn a_store_from_before_there_was_a_format_and_one_of_the_next_release_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let format = dir.path().join("format");
    fs::remove_file(&format).unwrap();
    assert_eq!(there(dir.path()), 4, "of the first release");
    assert!(
        fs::read_to_string(&format)
            .unwrap()
            .starts_with("format = 1\n")
    );
    // The next release has been here, and says that this one may go on.
    let next = "format = 2\nreadable_by = 1\nwritten_by = 9.9.9\nanother = line\n";
    fs::write(&format, next).unwrap();
    assert_eq!(there(dir.path()), 4, "gone back to this release");
    assert_eq!(fs::read_to_string(&format).unwrap(), next);
}

#[test]
fn a_store_that_only_a_newer_larder_knows_is_refused_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let format = dir.path().join("format");
    let own = fs::read_to_string(&format).unwrap();
    fs::write(&format, "format = 2\nreadable_by = 2\nwritten_by = 9.9.9\n").unwrap();
    let before = files(dir.path());
    let refused = Store::open(options(dir.path()));
    assert!(matches!(
        refused,
        Err(OpenError::Format {
            theirs: 2,
            ours: 1,
            ..
        })
    ));
    assert!(files(dir.path()) == before, "a file was changed");
    fs::write(&format, own).unwrap();
    assert_eq!(there(dir.path()), 4);
}

#[test]
fn a_slab_of_a_newer_larder_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let names = files(dir.path());
    let slab = names.keys().find(|name| name.starts_with("slab")).unwrap();
    let slab = dir.path().join(slab);
    let own = fs::read(&slab).unwrap();
    let mut newer = own.clone();
    for head in newer[..2 * SECTOR].chunks_exact_mut(SECTOR) {
        if head.iter().any(|byte| *byte != 0) {
            head[8] += 1;
            let sum = xxh3_64(&head[..SECTOR - 8]);
            head[SECTOR - 8..].copy_from_slice(&sum.to_le_bytes());
        }
    }
    fs::write(&slab, &newer).unwrap();
    let store = Store::open(options(dir.path())).unwrap();
    assert_eq!(check_object(&store, 1), 0);
    let figures = store.figures();
    assert_eq!(figures.corrupt_total, 0);
    assert_eq!(figures.io_errors_total, 1, "it is told");
    store.close();
    drop(store);
    assert!(fs::read(&slab).unwrap() == newer, "it was changed");
    fs::write(&slab, &own).unwrap();
    assert_eq!(there(dir.path()), 4);
}
