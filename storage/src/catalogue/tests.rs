//! Tests of the catalogue: what is read back, and what survives. The rule: whatever happens to the file, the
//! catalogue opens, and what was flushed and not damaged is there.

use super::*;
use std::fs;

pub(super) fn record(url: &str, length: u64) -> Record {
    Record {
        url: url.to_owned(),
        host: "a".to_owned(),
        length,
        etag: Some("\"e\"".to_owned()),
        extra: vec![("X-A".to_owned(), "b".to_owned())],
        date: 1,
        fresh_until: u64::MAX,
        stored_at: 3,
        immutable: true,
        ..Record::default()
    }
}

pub(super) fn key(n: u64) -> UrlKey {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&n.to_le_bytes());
    UrlKey(key)
}

fn no(n: u64) -> ContentNo {
    ContentNo::new(n)
}

const CACHE: usize = 1 << 20;

fn open(path: &Path) -> (Catalogue, Opened) {
    Catalogue::open(path, CACHE).unwrap()
}

fn numbers(rows: &[Row]) -> Vec<u64> {
    rows.iter().map(|(no, _, _)| no.get()).collect()
}

#[test]
fn what_is_put_is_read_at_once_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.redb");
    let (catalogue, opened) = open(&path);
    assert!(opened.rows.is_empty() && opened.set_aside.is_none());
    catalogue.put(no(1), record("http://a/1", 10), vec![key(1), key(2)]);
    let row = (no(1), record("http://a/1", 10), vec![key(1), key(2)]);
    assert_eq!(catalogue.get(&key(2)), Some(row.clone()));
    assert_eq!(catalogue.load_all().unwrap(), vec![row.clone()]);
    assert_eq!(catalogue.get(&key(3)), None);
    catalogue.flush().unwrap();
    assert_eq!(catalogue.get(&key(2)), Some(row.clone()));
    catalogue.put(no(2), record("http://a/2", 20), vec![key(3)]);
    drop(catalogue);
    let (catalogue, opened) = open(&path);
    assert_eq!(numbers(&opened.rows), [1, 2]);
    assert_eq!(opened.rows[0], row);
    assert!(catalogue.bytes() > 0);
    assert_eq!(catalogue.figures(), CatalogueFigures::default());
}

/// Each step is looked at while it is queued, and again once it is on disk.
#[test]
fn keys_go_over_to_whom_they_were_given_last() {
    let folder = tempfile::tempdir().unwrap();
    for flushing in [false, true] {
        let path = folder.path().join(format!("catalogue-{flushing}"));
        let (catalogue, _) = open(&path);
        let owner = |n: u64| {
            if flushing {
                catalogue.flush().unwrap();
            }
            catalogue.get(&key(n)).map(|(no, _, _)| no.get())
        };
        let put = |n: u64, keys: &[u64]| {
            let keys = keys.iter().map(|n| key(*n)).collect();
            catalogue.put(no(n), record("http://a/", n), keys);
        };
        put(1, &[1, 2]);
        assert_eq!((owner(1), owner(2)), (Some(1), Some(1)));
        put(2, &[2]);
        assert_eq!((owner(1), owner(2)), (Some(1), Some(2)));
        // A name that is given up, and one that was taken away, lead nowhere through their old content.
        put(2, &[3]);
        assert_eq!((owner(1), owner(2), owner(3)), (Some(1), None, Some(2)));
        catalogue.remove(no(2));
        assert_eq!((owner(2), owner(3)), (None, None));
        put(3, &[1]);
        let rows = catalogue.load_all().unwrap();
        assert_eq!(numbers(&rows), [1, 3]);
        assert!(rows[0].2.is_empty(), "nothing leads to the first any more");
        catalogue.remove(no(3));
        assert_eq!(owner(1), None);
        drop(catalogue);
        let (_catalogue, opened) = open(&path);
        assert_eq!(numbers(&opened.rows), [1]);
        assert!(opened.rows[0].2.is_empty());
    }
}

#[test]
fn a_second_process_is_told_that_it_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.redb");
    let (_catalogue, _) = open(&path);
    let refused = Catalogue::open(&path, CACHE);
    assert!(
        matches!(refused, Err(CatalogueError::InUse { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("catalogue.redb");
    let error = Catalogue::open(&path, CACHE).unwrap_err().to_string();
    assert!(error.contains("missing/catalogue.redb"), "{error}");
    let error = Catalogue::open(folder.path(), CACHE)
        .unwrap_err()
        .to_string();
    assert!(error.contains("directory"), "{error}");
}

/// A flushed catalogue of 200 objects, as bytes.
fn image(folder: &Path) -> Vec<u8> {
    let path = folder.join("image");
    let (catalogue, _) = open(&path);
    for n in 1..=200 {
        catalogue.put(no(n), record("http://a/", n), vec![key(n)]);
    }
    drop(catalogue);
    fs::read(path).unwrap()
}

#[test]
fn garbage_is_set_aside_and_nothing_at_all_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.redb");
    fs::write(&path, b"").unwrap();
    assert!(
        open(&path).1.set_aside.is_none(),
        "an empty file is no damage"
    );
    for round in 1..=4 {
        fs::write(&path, vec![0x5A; 100_000 * round]).unwrap();
        let (catalogue, opened) = open(&path);
        let (aside, why) = opened.set_aside.unwrap();
        assert!(
            aside.ends_with(format!("catalogue.redb.damaged-{round}")),
            "{aside:?}"
        );
        assert!(!why.is_empty());
        assert_eq!(fs::read(&aside).unwrap().len(), 100_000 * round);
        assert_eq!(catalogue.figures().set_aside_total, 1);
        assert!(catalogue.bytes() >= 100_000 * round as u64);
        catalogue.put(no(1), record("http://a/1", 1), vec![key(1)]);
        drop(catalogue);
        assert_eq!(numbers(&open(&path).1.rows), [1]);
    }
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 3, "the catalogue and the last two damaged ones");
}

#[test]
fn a_truncated_file_is_set_aside_or_whole() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(folder.path());
    for part in 1..32 {
        let path = folder.path().join("catalogue.redb");
        fs::write(&path, &image[..image.len() * part / 32]).unwrap();
        let (catalogue, opened) = open(&path);
        if opened.set_aside.is_none() {
            assert_eq!(opened.rows.len(), 200, "cut to {part}/32");
        }
        catalogue.put(no(999), record("http://a/1", 1), vec![key(999)]);
        catalogue.flush().unwrap();
    }
}

/// Rot anywhere: what is read is what was written, or the file is set aside.
#[test]
fn wrong_bits_never_become_wrong_rows() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(folder.path());
    let path = folder.path().join("catalogue.redb");
    let mut whole = 0;
    for at in (0..image.len()).step_by(image.len() / 80) {
        let mut wrong = image.clone();
        wrong[at] ^= 0x10;
        fs::write(&path, &wrong).unwrap();
        let (catalogue, opened) = open(&path);
        for (no, row, keys) in &opened.rows {
            assert_eq!(*row, record("http://a/", no.get()), "byte {at}");
            assert_eq!(*keys, [key(no.get())], "byte {at}");
        }
        whole += usize::from(opened.rows.len() == 200);
        catalogue.put(no(999), record("http://a/1", 1), vec![key(999)]);
        catalogue.flush().unwrap();
    }
    assert!(
        whole > 10,
        "a byte that nothing stands on does no harm: {whole}"
    );
}

/// The file's size stays in proportion to what is in it, however often that changes.
#[test]
fn changing_the_same_objects_again_and_again_does_not_bloat_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.redb");
    let (catalogue, _) = open(&path);
    let mut sizes = Vec::new();
    for round in 0..60_u64 {
        for n in (1..=1000).filter(|n| round == 0 || (n + round) % 7 == 0) {
            catalogue.put(no(n), record("http://a/b/c", round), vec![key(n)]);
        }
        catalogue.flush().unwrap();
        sizes.push(catalogue.bytes());
    }
    eprintln!(
        "1000 objects, bytes after each tenth round: {:?}",
        sizes.iter().step_by(10).collect::<Vec<_>>()
    );
    assert!(sizes[59] <= 4 * sizes[0], "{sizes:?}");
}

mod faults;
