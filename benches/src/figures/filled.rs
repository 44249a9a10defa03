//! A store with very many pieces, written by the store itself. The rule: only its size is made up (pieces of 512 bytes
//! stand for those of 1 MiB); headers, tables and records are what any store has.

use anyhow::{Context, Result, bail};
use larder_content::{PieceId, UrlKey};
use larder_storage::record::Record;
use larder_storage::store::{Claim, SizeLimit, Store, StoreOptions};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

const PIECE_BYTES: u32 = 512;

/// Pieces of each object: one of 1 GB.
const PIECES_OF_EACH: u64 = 1_000;

/// Stores `pieces` pieces below `path`; they are on disk when it returns, but the store is not closed.
///
/// # Errors
/// The store can not be opened, or has a piece already.
pub fn fill(path: &Path, pieces: u64) -> Result<Store> {
    std::fs::create_dir_all(path)?;
    let store = Store::open(StoreOptions {
        bytes_max: SizeLimit::bytes(64 << 30),
        memory_bytes_max: 512 << 20,
        ..StoreOptions::new(path)
    })?;
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs();
    let mut content = None;
    for number in 0..pieces {
        if number % PIECES_OF_EACH == 0 {
            content = Some(store.create(key(number), record(number, now)));
        }
        let of = content.as_ref().context("the first piece makes one")?;
        let id = PieceId {
            content: of.no,
            piece: u32::try_from(number % PIECES_OF_EACH)?,
        };
        let Claim::Owner(flight) = store.claim(id, PIECE_BYTES) else {
            bail!(
                "{} has pieces already; name an empty directory",
                path.display()
            );
        };
        let writer = loop {
            match store.frame(PIECE_BYTES) {
                Some(writer) => break writer,
                // The writer is behind.
                None => thread::sleep(Duration::from_millis(1)),
            }
        };
        flight.start(writer);
        flight.append(&number.to_le_bytes().repeat(PIECE_BYTES as usize / 8));
        flight.finish();
        store.keep(&flight);
    }
    store.flush();
    Ok(store)
}

fn key(number: u64) -> UrlKey {
    let mut key = [7; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    UrlKey(key)
}

fn record(number: u64, now: u64) -> Record {
    let host = "download.windowsupdate.com";
    Record {
        url: format!("http://{host}/c/update_{number:040x}.cab"),
        host: host.to_owned(),
        length: PIECES_OF_EACH << 20,
        etag: Some(format!("\"{number}\"")),
        last_modified: None,
        last_modified_unix: None,
        content_type: Some("application/octet-stream".to_owned()),
        extra: Vec::new(),
        date: now,
        fresh_until: u64::MAX,
        age_at_receipt_s: 0,
        stored_at: now,
        immutable: true,
        pinned: false,
        must_revalidate: false,
    }
}
