//! What names content: a piece of one version of one object. The rule: a [`ContentNo`] stands for exactly one
//! version of one object, for ever; a changed object gets a new number, so bytes of two versions can not meet.

use std::fmt;

/// Bytes in one piece, as in the vendor's piece-hash files (facts: clients, section 2). The last piece of an
/// object is shorter.
pub const PIECE_BYTES: u32 = 1 << 20;

/// Bytes in one checksum block: what a cold read verifies at least, and the unit of the memory tier.
pub const BLOCK_BYTES: u32 = 64 << 10;

/// The number of one version of one object: random, never zero, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentNo(u64);

impl ContentNo {
    /// Wraps a number that was drawn at random. Zero, which marks an empty slot on disk, becomes one.
    #[must_use]
    pub const fn new(random: u64) -> Self {
        if random == 0 { Self(1) } else { Self(random) }
    }

    /// The raw number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for ContentNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for ContentNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One piece of one version of one object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PieceId {
    /// Which version of which object.
    pub content: ContentNo,
    /// Index of the piece, from 0.
    pub piece: u32,
}

/// SHA-256 of a URL's canonical key: what a client can not collide.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UrlKey(pub [u8; 32]);

impl fmt::Debug for UrlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for UrlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}
