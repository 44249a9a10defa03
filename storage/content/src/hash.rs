//! Hashes of bytes that come in parts. The rule: nobody else in larder knows which library computes them.

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The SHA-256 of a piece, computed as its bytes come.
#[derive(Clone, Debug, Default)]
pub struct PieceHasher {
    sha: Sha256,
    bytes: u64,
}

impl PieceHasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// How many bytes it has taken.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash of what it has taken.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.sha.finalize().into()
    }
}

/// The SHA-256 of a piece that is there.
#[must_use]
pub fn of_piece(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The SHA-1 of a whole file, as URLs of Windows Update name it (facts: clients, section 2.3).
#[derive(Clone, Debug, Default)]
pub struct FileHasher(Sha1);

impl FileHasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of what it has taken.
    #[must_use]
    pub fn finish(self) -> [u8; 20] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4's own example.
    #[test]
    fn parts_hash_as_the_whole() {
        let mut piece = PieceHasher::default();
        let mut file = FileHasher::default();
        for part in [b"a".as_slice(), b"", b"bc"] {
            piece.update(part);
            file.update(part);
        }
        assert_eq!(piece.bytes(), 3);
        let hash = piece.finish();
        assert_eq!(hash[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(hash, of_piece(b"abc"));
        assert_eq!(file.finish()[..4], [0xa9, 0x99, 0x3e, 0x36]);
    }
}
