//! A store of very many small pieces, for [`super::restart`]. The rule: the store itself writes it, so that what a
//! start finds is what a start finds; only the bytes are made up.

use anyhow::{Context, Result, bail};
use larder_storage::{Claim, Flight, FrameWriter, Record, SizeLimit, Store, StoreOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// What to make.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// Pieces in all.
    pub pieces: u64,
    /// Objects that they belong to, each with as many.
    pub objects: u64,
    /// Bytes in a piece.
    pub piece_bytes: u32,
}

/// Makes a store in `directory`, which holds none yet, and closes it.
///
/// # Errors
/// There is one already, or it cannot be written.
pub fn run(out: &mut impl Write, directory: &Path, made: Made) -> Result<bool> {
    if directory.join("catalogue.redb").exists() {
        bail!("{} holds a store; name another", directory.display());
    }
    let begun = Instant::now();
    let bytes = made.pieces * u64::from(made.piece_bytes).next_multiple_of(512);
    let store = Store::open(StoreOptions {
        bytes_max: SizeLimit::bytes(2 * bytes + (8 << 30)),
        ..StoreOptions::new(directory)
    })?;
    let data = vec![0x5a; made.piece_bytes as usize];
    let each = made.pieces.div_ceil(made.objects.max(1));
    let mut left = made.pieces;
    for object in 0..made.objects {
        let pieces = each.min(left);
        left -= pieces;
        let mut key = [0; 32];
        // A key is a hash: its first bytes are spread.
        key[..8].copy_from_slice(&spread(object).to_le_bytes());
        let content = store.create(larder_content::UrlKey(key), record(object, pieces));
        for piece in 0..pieces {
            let id = larder_content::PieceId {
                content: content.no,
                piece: u32::try_from(piece)?,
            };
            let Claim::Owner(flight) = store.claim(id, made.piece_bytes) else {
                bail!("piece {piece} of object {object} is there already");
            };
            fill(&flight, frame(&store, made.piece_bytes)?, &data);
            store.keep(&flight);
        }
    }
    store.flush();
    let figures = store.figures();
    store.close();
    writeln!(
        out,
        "{} pieces of {} bytes in {} objects, {} MiB on disk, made in {:.1} s",
        figures.pieces,
        made.piece_bytes,
        figures.objects,
        figures.bytes >> 20,
        begun.elapsed().as_secs_f64(),
    )?;
    Ok(figures.pieces == made.pieces)
}

fn spread(number: u64) -> u64 {
    (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Memory for a piece; what waits is written first where there is none.
fn frame(store: &Store, len: u32) -> Result<FrameWriter> {
    if let Some(writer) = store.frame(len) {
        return Ok(writer);
    }
    store.flush();
    store
        .frame(len)
        .context("the memory tier is full, and stays so")
}

fn fill(flight: &Arc<Flight>, writer: FrameWriter, data: &[u8]) {
    // Nobody else knows of the flight: it is in order, and takes everything.
    flight.start(writer);
    flight.append(data);
    flight.finish();
}

/// As long as what a catalogue usually holds.
fn record(object: u64, pieces: u64) -> Record {
    let stamp = 1_700_000_000 + object;
    Record {
        url: format!(
            "http://dl.delivery.mp.example/filestreamingservice/files/{:016x}-{object:08}?P1={stamp}",
            spread(object)
        ),
        host: "dl.delivery.mp.example".to_owned(),
        length: pieces << 20,
        etag: Some(format!("\"{:032x}\"", spread(object))),
        last_modified: Some("Wed, 21 Oct 2015 07:28:00 GMT".to_owned()),
        last_modified_unix: Some(1_445_412_480),
        content_type: Some("application/octet-stream".to_owned()),
        extra: vec![("X-Cid".to_owned(), "7".to_owned())],
        date: stamp,
        fresh_until: u64::MAX,
        age_at_receipt_s: 0,
        stored_at: stamp,
        immutable: true,
        pinned: false,
        must_revalidate: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_are_there_when_it_is_opened_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("store");
        let made = Made {
            pieces: 1001,
            objects: 7,
            piece_bytes: 100,
        };
        let mut said = Vec::new();
        assert!(run(&mut said, &path, made).expect("it is made"));
        assert!(run(&mut said, &path, made).is_err(), "there is one");
        let figures = Store::open(StoreOptions::new(&path))
            .expect("it opens")
            .figures();
        assert_eq!((figures.pieces, figures.objects), (1001, 7));
    }
}
