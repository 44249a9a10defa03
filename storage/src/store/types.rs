//! What the store is asked and what it answers. The rule: everything here is plain data that pins nothing on disk; a
//! place on disk is only as good as its generation, and is verified after the read.

use crate::flight::Flight;
use crate::limits::SizeLimit;
use crate::ram_tier::RamFrame;
use crate::record::Record;
use larder_content::{BLOCK_BYTES, ContentNo, PieceId, Span, UrlKey};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// What O_DIRECT reads in: offsets and lengths are multiples of it.
const SECTOR_BYTES: u64 = 4096;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// One directory for each disk; the catalogue lies on the first.
    pub paths: Vec<PathBuf>,
    /// How much disk it may use, metadata included.
    pub bytes_max: SizeLimit,
    /// Bytes of the memory tier.
    pub memory_bytes_max: u64,
    /// Bytes of memory to know the pieces on all disks by. What does not fit in is evicted.
    pub index_bytes_max: u64,
    /// Bytes of a new slab file; smaller ones are made where the limit is small.
    pub slab_bytes: u64,
}

impl StoreOptions {
    /// The usual settings for one directory.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            paths: vec![path.into()],
            bytes_max: SizeLimit::default(),
            memory_bytes_max: 256 << 20,
            index_bytes_max: 64 << 20,
            slab_bytes: 1 << 30,
        }
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No directory was named.
    #[error("no directory for the store is configured; name one under [store] paths")]
    NoPath,
    /// More directories than disks can be told apart.
    #[error(
        "more than 64 directories for the store are configured; name fewer under [store] paths, or join disks"
    )]
    TooManyPaths,
    /// A directory cannot be used.
    #[error(
        "cannot use {path} for the store: {source}; larder must be allowed to create files there"
    )]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "the store at {path} is in use by another process; stop it first or configure another directory"
    )]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// It was written by a newer larder, in a way that this one does not know.
    #[error(
        "the store at {path} is of format {theirs}, written by larder {written_by}, and this is larder {own}, which knows format {ours}; nothing in it was changed: install larder {written_by} or newer again, or name another directory under [store] paths",
        own = env!("CARGO_PKG_VERSION")
    )]
    Format {
        /// Which.
        path: PathBuf,
        /// The format that it has.
        theirs: u32,
        /// The version of the larder that made it so.
        written_by: String,
        /// The newest that this larder knows.
        ours: u32,
    },
    /// The catalogue cannot be read, though it is not known to be damaged.
    #[error(
        "cannot open the catalogue of the store: {0}; check the disk, or remove catalogue.redb to begin anew"
    )]
    Catalogue(String),
    /// The memory tier cannot be made.
    #[error(
        "cannot set up {bytes} bytes of memory for hot pieces: {source}; lower [server] memory_bytes_max"
    )]
    Memory {
        /// How much was asked for.
        bytes: u64,
        /// Why.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread of the store: {0}; check the limits on processes")]
    Thread(io::Error),
}

/// Where a piece is.
#[derive(Debug)]
pub enum Found {
    /// In memory, proved: send it from its frame.
    Ram(Arc<RamFrame>),
    /// On disk: read it, then ask [`crate::store::Store::verify`].
    Disk(DiskPiece),
    /// On its way in.
    Flight(Arc<Flight>),
    /// Nowhere.
    Absent,
}

/// A place on disk, valid as long as its generation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskPiece {
    /// Which piece.
    pub id: PieceId,
    /// Index of the disk, as in [`StoreOptions::paths`].
    pub disk: u16,
    /// Number of the slab file.
    pub slab: u32,
    /// Where to read in the slab file; a multiple of 4096.
    pub offset: u64,
    /// Bytes from `offset` to the piece's first byte, below 4096; 0 for a piece that does not share its blocks.
    pub skip: u16,
    /// Bytes in the piece.
    pub len: u32,
    /// Tells this use of the place from earlier and later ones.
    pub generation: u32,
    /// So much of it was asked for lately that it is worth memory.
    pub hot: bool,
}

/// What to read of a slab file for some bytes of a piece.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlabRead {
    /// Where, in the slab file; a multiple of 4096.
    pub offset: u64,
    /// How much; a multiple of 4096.
    pub len: u32,
    /// The piece's block (of 64 KiB) that is verified first.
    pub first_block: u32,
    /// The bytes of what was read that are the piece's, from the beginning of `first_block`: what to verify.
    pub blocks: Range<usize>,
}

impl DiskPiece {
    /// The read that brings the first of the bytes `within` the piece, as many as fit into `room`, which holds a block
    /// and a sector at least where the piece shares its blocks, and a block otherwise.
    #[must_use]
    pub fn read_that_fits(&self, within: Span, room: usize) -> SlabRead {
        let mut read = self.read_of(within);
        if read.len as usize > room {
            let block = u64::from(BLOCK_BYTES);
            // A piece that does not begin with a sector needs one more.
            let sector = if self.skip == 0 { 0 } else { SECTOR_BYTES };
            let blocks = ((room as u64).saturating_sub(sector) / block).max(1);
            let end = (within.start / block + blocks) * block;
            read = self.read_of(Span::new(within.start, end.min(within.end)));
        }
        read
    }

    /// The whole blocks that hold the bytes `within` the piece, and the read that brings them. `within` is cut to the
    /// piece's length.
    #[must_use]
    pub fn read_of(&self, within: Span) -> SlabRead {
        let block = u64::from(BLOCK_BYTES);
        let len = u64::from(self.len);
        let end = within.end.min(len);
        let first_block = within.start.min(end.saturating_sub(1)) / block;
        let begin = u64::from(self.skip) + first_block * block;
        let end = u64::from(self.skip) + (end.div_ceil(block) * block).min(len);
        let down = begin / SECTOR_BYTES * SECTOR_BYTES;
        let up = end.div_ceil(SECTOR_BYTES) * SECTOR_BYTES;
        let at = |byte: u64| usize::try_from(byte - down).unwrap_or(usize::MAX);
        SlabRead {
            offset: self.offset + down,
            len: u32::try_from(up - down).unwrap_or(u32::MAX),
            first_block: u32::try_from(first_block).unwrap_or(u32::MAX),
            blocks: at(begin)..at(end),
        }
    }
}

/// What a read from disk turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verified {
    /// The bytes are the piece's.
    Good,
    /// The piece has left this place meanwhile: look it up again.
    Moved,
    /// The bytes are wrong: the piece was dropped and counted. Fetch it anew.
    Corrupt,
}

/// What a caller is to a missing piece.
#[derive(Debug)]
pub enum Claim {
    /// The one who fetches it: fill the flight, then `keep` or `abandon` it.
    Owner(Arc<Flight>),
    /// Another fetches it: watch the flight.
    Waiter(Arc<Flight>),
    /// It is stored: look it up again.
    Stored,
}

/// Which objects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Filter {
    /// All of them.
    All,
    /// The one of just this URL (`http://host/path?query`).
    Url(String),
    /// Those whose URL begins so.
    Prefix(String),
    /// Those of one host.
    Host(String),
    /// The one of this number.
    Content(ContentNo),
}

impl Filter {
    /// Whether a record is meant.
    #[must_use]
    pub fn matches(&self, no: ContentNo, record: &Record) -> bool {
        match self {
            Self::All => true,
            Self::Url(url) => record.url == *url,
            Self::Prefix(prefix) => record.url.starts_with(prefix.as_str()),
            Self::Host(host) => {
                let rest = record
                    .url
                    .split_once("://")
                    .map_or(record.url.as_str(), |(_, rest)| rest);
                let authority = rest.split('/').next().unwrap_or(rest);
                let name = authority
                    .rsplit_once(':')
                    .map_or(authority, |(name, _)| name);
                authority.eq_ignore_ascii_case(host) || name.eq_ignore_ascii_case(host)
            }
            Self::Content(wanted) => no == *wanted,
        }
    }
}

/// One object in a listing.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its number.
    pub no: ContentNo,
    /// The URL key it was created for.
    pub key: UrlKey,
    /// What is known of it.
    pub record: Record,
    /// Bytes of it that are on disk.
    pub bytes_stored: u64,
    /// How many of its pieces are on disk.
    pub pieces_stored: u32,
    /// How many pieces it has.
    pub pieces: u32,
}

/// What a purge took away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Purged {
    /// Objects.
    pub objects: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// The store in numbers.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Bytes of disk in use: whole slab files and the catalogue.
    pub bytes: u64,
    /// Bytes of pieces on disk.
    pub piece_bytes: u64,
    /// The cap on `bytes`.
    pub capacity_bytes: u64,
    /// Objects in the catalogue.
    pub objects: u64,
    /// Pieces on disk.
    pub pieces: u64,
    /// Bytes in the memory tier.
    pub ram_bytes: u64,
    /// The cap on it.
    pub ram_capacity_bytes: u64,
    /// Hot pieces in memory.
    pub ram_pieces: u64,
    /// What does not work as it should, in plain words; empty when all is well.
    pub degraded: Vec<String>,
    /// Pieces, table sectors and catalogues found damaged since the start.
    pub corrupt_total: u64,
    /// Pieces evicted since the start.
    pub evictions_total: u64,
    /// Those of them that went for want of memory to know them by.
    pub index_evictions_total: u64,
    /// Bytes of memory that the pieces on disk are known by.
    pub index_bytes: u64,
    /// The cap on it.
    pub index_capacity_bytes: u64,
    /// Failed disk operations since the start.
    pub io_errors_total: u64,
    /// Pieces that were fetched but could not be kept.
    pub not_kept_total: u64,
    /// Pieces that the scrubber has looked at since the start.
    pub scrubbed_total: u64,
    /// Passes over all that is stored that it has ended since the start.
    pub scrub_passes_total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(skip: u16, len: u32) -> DiskPiece {
        let id = PieceId {
            content: ContentNo::new(7),
            piece: 0,
        };
        DiskPiece {
            id,
            disk: 0,
            slab: 0,
            offset: 1 << 20,
            skip,
            len,
            generation: 1,
            hot: false,
        }
    }

    #[test]
    fn a_read_covers_the_whole_blocks_it_is_for() {
        let read = piece(0, 1 << 20).read_of(Span::new(70_000, 70_001));
        let (offset, block) = ((1 << 20) + 65_536, 65_536_usize);
        assert_eq!(
            (read.offset, read.len, read.first_block),
            (offset, 65_536, 1)
        );
        assert_eq!(read.blocks, 0..block);
        // The last block of a piece is short, and what is read ends with its sector.
        let read = piece(0, 100_000).read_of(Span::new(99_999, 100_000));
        assert_eq!((read.first_block, read.len), (1, 36_864));
        assert_eq!(read.blocks, 0..100_000 - 65_536);
        // A piece that shares its sectors begins somewhere in the first of them.
        let read = piece(1000, 5000).read_of(Span::new(0, 5000));
        assert_eq!((read.offset, read.len), (1 << 20, 8192));
        assert_eq!(read.blocks, 1000..6000);
        let read = piece(0, 1 << 20).read_of(Span::new(0, 1 << 20));
        assert_eq!((read.len, read.blocks), (1 << 20, 0..1 << 20));
    }
}
