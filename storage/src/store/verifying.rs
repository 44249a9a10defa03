//! A look at what is on disk, for `larder verify` and for whoever hashes whole files. The rule: the bytes come from the
//! disk itself, never from memory, and a look is no touch: it changes neither what is evicted nor what is hot.

use super::{DiskPiece, Store, Verified};
use crate::block_io::AlignedBuf;
use larder_content::{PIECE_BYTES, PieceId, Span};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// So often a piece that moves away while it is read is looked up again.
const TRIES_MAX: u32 = 8;

/// Memory for the looks of one caller: a piece that begins inside a sector takes a sector more.
#[derive(Debug)]
pub struct LookBuf(AlignedBuf);

impl Default for LookBuf {
    fn default() -> Self {
        Self(AlignedBuf::zeroed(PIECE_BYTES as usize + 2 * 4096))
    }
}

/// What a look at one piece found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Looked {
    /// Its bytes are what was stored.
    Good,
    /// It is not on disk.
    Absent,
    /// Its bytes are wrong. It is dropped, from memory as well, and will be fetched anew.
    Bad(BadPiece),
}

/// A piece whose bytes on disk are wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadPiece {
    /// Which.
    pub id: PieceId,
    /// The directory of its disk.
    pub disk: String,
    /// The slab file in that directory.
    pub slab: String,
    /// Where in that file, in bytes.
    pub offset: u64,
    /// What is wrong, in plain words.
    pub why: String,
}

impl Store {
    /// Reads a piece from its disk, past every cache, checks it against its checksums, and lets `check` look at its
    /// bytes. What either finds wrong is dropped and counted. Waits for the disk: not for shard threads.
    pub fn look(
        &self,
        id: PieceId,
        buf: &mut LookBuf,
        mut check: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Looked {
        for _ in 0..TRIES_MAX {
            let Some(piece) = self.on_disk(id) else {
                return Looked::Absent;
            };
            let Some(disk) = self.inner.disks.get(usize::from(piece.disk)) else {
                return Looked::Absent;
            };
            let Some(slab) = disk.view.slab(piece.slab) else {
                continue;
            };
            let plan = piece.read_of(Span::new(0, u64::from(piece.len)));
            let part = &mut buf.0.bytes_mut()[..plan.len as usize];
            let read = slab.read(plan.offset, part);
            let why = match read {
                Err(error) => {
                    self.read_failed(&piece, &error);
                    format!("reading it failed: {error}")
                }
                Ok(()) => {
                    let bytes = &buf.0.bytes()[plan.blocks];
                    match self.verify(&piece, plan.first_block, bytes) {
                        Verified::Moved => continue,
                        Verified::Corrupt => {
                            "its bytes do not have the checksums that they were stored with"
                                .to_owned()
                        }
                        Verified::Good => match check(bytes) {
                            Ok(()) => return Looked::Good,
                            Err(why) => {
                                self.refute(&piece, &why);
                                why
                            }
                        },
                    }
                }
            };
            self.forget_hot(id);
            return Looked::Bad(BadPiece {
                id,
                disk: disk.name.clone(),
                slab: crate::slab::file::name_of(piece.slab),
                offset: piece.offset + u64::from(piece.skip),
                why,
            });
        }
        Looked::Absent
    }

    /// Lets `see` look at a piece's bytes, from memory where they are there. No touch, as [`Store::look`]. False where
    /// it is not stored, or damaged. May wait for the disk.
    pub fn peek(&self, id: PieceId, buf: &mut LookBuf, mut see: impl FnMut(&[u8])) -> bool {
        let frame = {
            let shard = self.inner.common.index.shard(id);
            shard.hot.get(&id).map(|hot| Arc::clone(&hot.frame))
        };
        if let Some(frame) = frame {
            see(frame.bytes());
            return true;
        }
        let looked = self.look(id, buf, |bytes| {
            see(bytes);
            Ok(())
        });
        looked == Looked::Good
    }

    /// A piece's bytes are what was stored, and still not what they should be.
    fn refute(&self, piece: &DiskPiece, why: &str) {
        if let Some((_, location)) = self.still(piece)
            && self.drop_piece(piece, location)
        {
            let counter = &self.inner.common.counters.corrupt;
            counter.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(piece = ?piece.id, disk = piece.disk, slab = piece.slab, why, "piece: it is dropped and fetched anew");
        }
    }

    /// A copy in memory goes the way of the one on disk, unless it is only there.
    fn forget_hot(&self, id: PieceId) {
        let mut shard = self.inner.common.index.shard(id);
        let gone = match shard.hot.get(&id) {
            Some(hot) if !hot.waits => shard.hot.remove(&id),
            _ => None,
        };
        drop(shard);
        // Giving memory back is a system call: not under the lock.
        drop(gone);
    }
}
