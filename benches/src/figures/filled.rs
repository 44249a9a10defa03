//! A store with very many pieces, written by the store itself. The rule: only its size is made up (small pieces stand
//! for those of 1 MiB); headers, tables and records are what any store has.

use anyhow::{Context, Result, bail};
use larder_content::{PieceId, UrlKey};
use larder_storage::record::Record;
use larder_storage::store::{Claim, SizeLimit, Store, StoreOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What is in it. Objects have equally many pieces.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Filling {
    /// Pieces.
    #[arg(long, default_value_t = 1_000_000)]
    pub pieces: u64,
    /// Objects that they belong to, where the store is filled here.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub objects: u64,
    /// Bytes in a piece, up to 1 MiB, where the store is filled here.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub piece_bytes: u32,
}

/// Fills a store with very many pieces, for `restart --store`.
#[derive(clap::Args, Debug)]
pub struct MakeStore {
    /// Where; it must hold none.
    directory: PathBuf,
    #[command(flatten)]
    filling: Filling,
}

impl MakeStore {
    /// Fills it, and says with what.
    ///
    /// # Errors
    /// As [`fill`].
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let figures = fill(&self.directory, self.filling)?.figures();
        writeln!(
            out,
            "{} pieces in {} objects, {} MiB on disk",
            figures.pieces,
            figures.objects,
            figures.bytes >> 20
        )?;
        Ok(figures.pieces == self.filling.pieces)
    }
}

/// Stores pieces below `path`; they are on disk when it returns, but the store is not closed.
///
/// # Errors
/// The store can not be opened, or has a piece already.
pub fn fill(path: &Path, filling: Filling) -> Result<Store> {
    let store = open(path, filling)?;
    put(&store, filling)?;
    Ok(store)
}

/// A store below `path` with room for the filling.
///
/// # Errors
/// The store can not be opened.
pub fn open(path: &Path, filling: Filling) -> Result<Store> {
    std::fs::create_dir_all(path)?;
    let bytes = filling.pieces * u64::from(filling.piece_bytes);
    Ok(Store::open(StoreOptions {
        bytes_max: SizeLimit::bytes((8 << 30) + 2 * bytes),
        memory_bytes_max: 512 << 20,
        ..StoreOptions::new(path)
    })?)
}

/// Stores the pieces; they are on disk when it returns.
///
/// # Errors
/// The store has a piece already.
pub fn put(store: &Store, filling: Filling) -> Result<()> {
    let Filling {
        pieces,
        objects,
        piece_bytes,
    } = filling;
    let of_each = pieces.div_ceil(objects);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_secs();
    let mut bytes = vec![7; piece_bytes as usize];
    let mut content = None;
    for number in 0..pieces {
        if number % of_each == 0 {
            content = Some(store.create(key(number), record(number, of_each, now)));
        }
        let of = content.as_ref().context("the first piece makes one")?;
        let id = PieceId {
            content: of.no,
            piece: u32::try_from(number % of_each)?,
        };
        let Claim::Owner(flight) = store.claim(id, piece_bytes) else {
            bail!("the store has pieces already; name an empty directory");
        };
        let writer = match store.frame(piece_bytes) {
            Some(writer) => writer,
            None => {
                // The writer is behind.
                store.flush();
                store.frame(piece_bytes).context("the memory stays full")?
            }
        };
        for (to, from) in bytes.iter_mut().zip(number.to_le_bytes()) {
            *to = from;
        }
        flight.start(writer);
        flight.append(&bytes);
        flight.finish();
        store.keep(&flight);
    }
    store.flush();
    Ok(())
}

/// A key is a hash: its bytes are spread.
fn key(number: u64) -> UrlKey {
    let mut key = [7; 32];
    let spread = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    key[..8].copy_from_slice(&spread.to_be_bytes());
    UrlKey(key)
}

fn record(number: u64, pieces: u64, now: u64) -> Record {
    let host = "download.windowsupdate.com";
    Record {
        url: format!("http://{host}/c/update_{number:040x}.cab"),
        host: host.to_owned(),
        length: pieces << 20,
        etag: Some(format!("\"{number}\"")),
        content_type: Some("application/octet-stream".to_owned()),
        date: now,
        fresh_until: u64::MAX,
        stored_at: now,
        immutable: true,
        ..Record::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_are_there_when_it_is_opened_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("store");
        let filling = Filling {
            pieces: 1001,
            objects: 7,
            piece_bytes: 100,
        };
        drop(fill(&path, filling).expect("it is made"));
        let store = Store::open(StoreOptions::new(&path)).expect("it opens");
        let figures = store.figures();
        assert_eq!((figures.pieces, figures.objects), (1001, 7));
    }
}
