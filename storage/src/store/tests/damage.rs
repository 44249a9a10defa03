//! Sectors that are flipped, torn, misdirected or lost. The rule: such bytes are never given to anybody; reading finds
//! them, one pass of the scrubber finds all of them, and what is fetched again is whole again.

use super::*;
use crate::slab::file::name_of;
use crate::testing::seed::Seed;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

const PIECES: u64 = 1000;
const SECTOR: usize = 4096;

fn many(number: u64) -> (UrlKey, u32) {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    // Packs and places of their own.
    let len = 1 + Seed(number).below(if number.is_multiple_of(4) {
        200_000
    } else {
        40_000
    });
    (UrlKey(key), len as u32)
}

fn options_for_many(path: &Path) -> StoreOptions {
    StoreOptions {
        bytes_max: SizeLimit::bytes(256 << 20),
        memory_bytes_max: 16 << 20,
        slab_bytes: 16 << 20,
        ..StoreOptions::new(path)
    }
}

/// Objects of one piece each.
fn fill(path: &Path) -> BTreeMap<u64, PieceId> {
    let store = Store::open(options_for_many(path)).unwrap();
    let mut ids = BTreeMap::new();
    for number in 0..PIECES {
        let (key, len) = many(number);
        let url = format!("http://h.example/{number}");
        let content = store.create(key, record(&url, u64::from(len)));
        let id = PieceId {
            content: content.no,
            piece: 0,
        };
        fetch(&store, id, len, number);
        ids.insert(number, id);
    }
    store.flush();
    store.close();
    ids
}

#[derive(Clone, Copy, Debug)]
enum Harm {
    /// One bit.
    Flipped,
    /// A part of a sector is as it was before, or what another has.
    Torn,
    /// Sectors of another piece were written here.
    Misdirected,
    /// What was written never came here.
    Lost,
}

/// Harms a piece on disk; false where it is too short for that to change anything.
fn harm(dir: &Path, piece: &DiskPiece, other: &DiskPiece, harm: Harm, seed: &mut Seed) {
    let file = |slab: u32| {
        let path = dir.join(name_of(slab));
        File::options().read(true).write(true).open(path).unwrap()
    };
    let begin = piece.offset + u64::from(piece.skip);
    let mut bytes = vec![0; piece.len as usize];
    file(piece.slab).read_exact_at(&mut bytes, begin).unwrap();
    let before = bytes.clone();
    match harm {
        Harm::Flipped => {
            let at = seed.below(u64::from(piece.len)) as usize;
            bytes[at] ^= 1 << seed.below(8);
        }
        Harm::Torn => {
            let at = seed.below(u64::from(piece.len)) as usize / 512 * 512;
            let end = (at + 512).min(bytes.len());
            bytes[at..end].fill(0);
        }
        Harm::Misdirected => {
            let len = bytes.len().min(other.len as usize).min(SECTOR);
            let from = other.offset + u64::from(other.skip);
            file(other.slab)
                .read_exact_at(&mut bytes[..len], from)
                .unwrap();
        }
        Harm::Lost => bytes.fill(0),
    }
    assert!(bytes != before, "{harm:?} changes nothing");
    file(piece.slab).write_all_at(&bytes, begin).unwrap();
}

/// Harms a quarter of the pieces, each kind of harm in turn.
fn harm_many(dir: &Path, store: &Store, ids: &BTreeMap<u64, PieceId>) -> BTreeSet<u64> {
    let mut seed = Seed(11);
    let mut harmed = BTreeSet::new();
    for number in 0..PIECES {
        if seed.below(4) > 0 {
            continue;
        }
        let kinds = [Harm::Flipped, Harm::Torn, Harm::Misdirected, Harm::Lost];
        let piece = store.on_disk(ids[&number]).unwrap();
        let other = store.on_disk(ids[&((number + 501) % PIECES)]).unwrap();
        harm(dir, &piece, &other, kinds[harmed.len() % 4], &mut seed);
        harmed.insert(number);
    }
    harmed
}

/// Reads everything; returns what is not there. Panics where a byte is wrong.
fn absent(store: &Store, ids: &BTreeMap<u64, PieceId>) -> BTreeSet<u64> {
    let read = |number: u64| {
        let len = many(number).1;
        let found = store.read_blocking(ids[&number], Span::whole(u64::from(len)));
        let right = |bytes: &Vec<u8>| *bytes == bytes_of(number, 0, len);
        assert!(found.as_ref().is_none_or(right), "wrong bytes of {number}");
        found.is_some()
    };
    (0..PIECES).filter(|number| !read(*number)).collect()
}

fn one_pass(store: &Store) -> u64 {
    let mut pass = Pass::default();
    let before = store.figures();
    let bytes = std::iter::from_fn(|| store.scrub(&mut pass)).sum();
    let after = store.figures();
    assert_eq!(after.scrub_passes_total, before.scrub_passes_total + 1);
    bytes
}

#[test]
fn one_pass_finds_every_harmed_piece_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let ids = fill(dir.path());
    let store = Store::open(options_for_many(dir.path())).unwrap();
    assert!(one_pass(&store) > 0);
    assert_eq!(store.figures().corrupt_total, 0);
    assert_eq!(store.figures().scrubbed_total, PIECES);
    let harmed = harm_many(dir.path(), &store, &ids);
    let bytes = one_pass(&store);
    let figures = store.figures();
    assert_eq!(figures.corrupt_total, harmed.len() as u64);
    assert_eq!(figures.io_errors_total, 0);
    let dropped: BTreeSet<u64> = (0..PIECES)
        .filter(|number| store.on_disk(ids[number]).is_none())
        .collect();
    assert_eq!(dropped, harmed);
    eprintln!(
        "one pass over {bytes} bytes: {} of {PIECES} pieces were harmed, all of them were found and no other",
        harmed.len()
    );
    // Each is fetched again, and then nothing is amiss.
    assert_eq!(absent(&store, &ids), harmed);
    for number in &harmed {
        fetch(&store, ids[number], many(*number).1, *number);
    }
    store.flush();
    one_pass(&store);
    assert_eq!(store.figures().corrupt_total, harmed.len() as u64);
    store.close();
    drop(store);
    let store = Store::open(options_for_many(dir.path())).unwrap();
    assert!(absent(&store, &ids).is_empty());
    assert_eq!(store.figures().corrupt_total, 0);
}

#[test]
fn reading_finds_every_harmed_piece_and_gives_none_of_it_away() {
    let dir = tempfile::tempdir().unwrap();
    let ids = fill(dir.path());
    let store = Store::open(options_for_many(dir.path())).unwrap();
    let harmed = harm_many(dir.path(), &store, &ids);
    assert_eq!(absent(&store, &ids), harmed);
    assert_eq!(store.figures().corrupt_total, harmed.len() as u64);
    for number in &harmed {
        fetch(&store, ids[number], many(*number).1, *number);
    }
    store.flush();
    assert!(absent(&store, &ids).is_empty());
    eprintln!(
        "{} of {PIECES} pieces were harmed; reading them found all",
        harmed.len()
    );
}

#[test]
fn a_pass_puts_tables_and_heads_right_from_memory() {
    let dir = tempfile::tempdir().unwrap();
    let ids = fill(dir.path());
    let store = Store::open(options_for_many(dir.path())).unwrap();
    // Both copies of the first page of each table, and one copy of each head, in turn.
    let slabs = store.inner.disks[0].view.slabs();
    assert!(slabs > 2);
    for number in 0..slabs {
        let path = dir.path().join(name_of(number));
        let file = File::options().read(true).write(true).open(path).unwrap();
        for sector in [u64::from(number % 2), 2, 3] {
            let at = sector * SECTOR as u64 + 200;
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 4], at).unwrap();
        }
    }
    one_pass(&store);
    // Of a page, the copy that counts; of a head, both do.
    let found = store.figures().corrupt_total;
    assert_eq!(found, 2 * u64::from(slabs));
    store.flush();
    one_pass(&store);
    assert_eq!(store.figures().corrupt_total, found, "they were put right");
    store.close();
    drop(store);
    let store = Store::open(options_for_many(dir.path())).unwrap();
    assert_eq!(store.figures().corrupt_total, 0);
    assert!(absent(&store, &ids).is_empty());
    eprintln!(
        "{found} harmed sectors of heads and tables: one pass found all, and nothing is lost"
    );
}
