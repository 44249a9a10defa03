//! What is on disk, and what comes with content. The rule: damage costs what is damaged and no more, and is never a
//! reason to stop.

use crate::input::Input;
use larder_content::{ContentNo, Phf, UrlKey};
use larder_storage::Record;
use larder_storage::catalogue::Catalogue;
use larder_storage::fuzzing::{Patch, scanned};
use larder_storage::proof::Proof;
use std::fs;
use std::sync::OnceLock;

/// A piece-hash file: it agrees with itself, and is the same when it is written again.
pub(crate) fn phf(data: &[u8]) {
    if let Ok(phf) = Phf::parse(data) {
        assert_eq!(
            phf.pieces() as usize,
            phf.length().div_ceil(1 << 20) as usize
        );
        assert!(phf.is_proved_by(phf.hash_of_hashes(), phf.length()));
        assert_eq!(Phf::parse(phf.to_json().as_bytes()), Ok(phf));
    }
}

/// What the catalogue keeps of a content, inside its checksums.
pub(crate) fn record(data: &[u8]) {
    if let Ok(record) = serde_json::from_slice::<Record>(data) {
        let written = serde_json::to_vec(&record).expect("it can be written");
        assert_eq!(
            serde_json::from_slice::<Record>(&written).ok(),
            Some(record)
        );
    }
    if let Ok(proof) = serde_json::from_slice::<Proof>(data) {
        let written = serde_json::to_vec(&proof).expect("it can be written");
        assert_eq!(serde_json::from_slice::<Proof>(&written).ok(), Some(proof));
    }
}

/// The head and table of a slab, with checksums that are right where the input does not say otherwise.
pub(crate) fn slab(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let heads = input.bytes();
    let mut patches = Vec::new();
    while !input.is_empty() {
        patches.push(Patch {
            page: input.byte(),
            cell: input.byte(),
            sequence: input.byte(),
            sealed: input.byte() < 0xf0,
            bytes: input.bytes(),
        });
    }
    scanned(flags, heads, &patches);
}

/// The catalogue as a file that something was written into: it opens, and what is put into it is there.
pub(crate) fn catalogue(data: &[u8]) {
    static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder");
    let path = folder.path().join("catalogue");
    let mut bytes = WHOLE
        .get_or_init(|| {
            let (catalogue, _) = Catalogue::open(&path, 1 << 20).expect("a new one opens");
            (1..4).for_each(|n| put(&catalogue, n));
            catalogue.flush().expect("it is written");
            drop(catalogue);
            fs::read(&path).expect("it is there")
        })
        .clone();
    let mut input = Input(data);
    bytes.truncate(match input.byte() {
        0 => input.u32() as usize % bytes.len(),
        _ => bytes.len(),
    });
    while !input.is_empty() && !bytes.is_empty() {
        let at = input.u32() as usize % bytes.len();
        let len = usize::from(input.byte());
        let news = input.take(len);
        let end = bytes.len().min(at + news.len());
        bytes[at..end].copy_from_slice(&news[..end - at]);
    }
    fs::write(&path, &bytes).expect("it is written");
    let (catalogue, opened) = Catalogue::open(&path, 1 << 20).expect("damage is no error");
    assert!(opened.set_aside.is_some() || opened.rows.len() <= 3);
    put(&catalogue, 9);
    catalogue.flush().expect("it is written");
    let row = catalogue.get(&UrlKey([9; 32])).expect("it was put");
    assert_eq!(row.0, ContentNo::new(9));
}

fn put(catalogue: &Catalogue, n: u8) {
    let record = Record {
        url: format!("http://a/{n}"),
        length: n.into(),
        ..Record::default()
    };
    catalogue.put(ContentNo::new(n.into()), record, vec![UrlKey([n; 32])]);
}

/// The database panics over some damage, which larder takes for damage: so here a panic is only wrong where it comes
/// out of larder.
pub(crate) fn take_panics_back() {
    let _ = std::panic::take_hook();
}
