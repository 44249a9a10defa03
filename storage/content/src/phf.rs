//! Piece-hash files (PHF): the SHA-256 of each piece of an object, and the HashOfHashes that stands for them all. The
//! rule: what is parsed is bounded before it is read, and trusted only once it proves itself: a [`Phf`] agrees with
//! itself, and is a hint until somebody who is trusted has named its HashOfHashes.
//!
//! The format and the formula: facts on clients, section 2 (confirmed on two real files).

use crate::base64::{Alphabet, decode_hash, encode_hash};
use crate::ids::PIECE_BYTES;
use crate::span::piece_count;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The only version that is known, and the number that begins what is hashed.
const MAJOR_VERSION: u32 = 1;

/// Bytes that a piece's hash takes in the file: 44 digits, quotes, a comma and a blank.
const PIECE_TEXT_BYTES: u64 = 48;

/// Bytes for everything else in the file.
const HEAD_BYTES: u64 = 4096;

/// No PHF is longer, whatever the object's length: enough for an object of 340 GB.
pub const PHF_BYTES_MAX: u64 = 16 << 20;

/// How long the PHF of an object of `length` bytes can be at most: what to read of one before parsing it.
#[must_use]
pub fn phf_bytes_max(length: u64) -> u64 {
    let pieces = u64::from(piece_count(length));
    (HEAD_BYTES + pieces * PIECE_TEXT_BYTES).min(PHF_BYTES_MAX)
}

/// Why a PHF is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhfError {
    /// Longer than any object of ours needs.
    #[error("the piece-hash file has {bytes} bytes; {PHF_BYTES_MAX} are the most that is read")]
    TooLong {
        /// How long.
        bytes: u64,
    },
    /// Not JSON of the known form.
    #[error("the piece-hash file cannot be read: {0}")]
    Form(String),
    /// Another version.
    #[error("the piece-hash file is of version {0}; larder knows version 1")]
    Version(u32),
    /// Pieces of another size than larder's.
    #[error("the piece-hash file has pieces of {0} bytes; larder verifies pieces of {PIECE_BYTES}")]
    PieceSize(u64),
    /// More or fewer hashes than pieces.
    #[error("the piece-hash file has {found} hashes; {length} bytes have {expected} pieces")]
    Count {
        /// How many hashes.
        found: u64,
        /// How many pieces.
        expected: u64,
        /// The length that it states.
        length: u64,
    },
    /// The HashOfHashes is not that of its hashes.
    #[error("the piece-hash file contradicts itself: its HashOfHashes is not that of its hashes")]
    Contradiction,
}

/// A piece-hash file that agrees with itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phf {
    length: u64,
    pieces: Vec<[u8; 32]>,
    hash_of_hashes: [u8; 32],
}

/// A hash as the file spells it.
struct Hash([u8; 32]);

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Spelling;
        impl Visitor<'_> for Spelling {
            type Value = Hash;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("32 bytes in base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Hash, E> {
                decode_hash(Alphabet::Standard, text)
                    .map(Hash)
                    .ok_or_else(|| E::custom("a hash is not 32 bytes in base64"))
            }
        }
        from.deserialize_str(Spelling)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&encode_hash(Alphabet::Standard, &self.0))
    }
}

/// A hash as piece-hash files spell it: standard base64 with its padding.
#[must_use]
pub fn spelled(hash: &[u8; 32]) -> String {
    encode_hash(Alphabet::Standard, hash)
}

/// The file's fields; others are passed over.
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    major_version: u32,
    #[serde(default)]
    minor_version: u32,
    hash_of_hashes: Hash,
    content_length: u64,
    piece_size: u64,
    pieces: Vec<Hash>,
}

impl Phf {
    /// Reads a piece-hash file. What comes out has as many hashes as its length has pieces of 1 MiB, and the
    /// HashOfHashes that they give. Memory stays in proportion to `text`.
    ///
    /// # Errors
    /// Where it is too long, not of the known form, of other piece sizes, or contradicts itself.
    pub fn parse(text: &[u8]) -> Result<Self, PhfError> {
        let bytes = text.len() as u64;
        if bytes > PHF_BYTES_MAX {
            return Err(PhfError::TooLong { bytes });
        }
        let file: File =
            serde_json::from_slice(text).map_err(|error| PhfError::Form(error.to_string()))?;
        Self::of_file(file)
    }

    fn of_file(file: File) -> Result<Self, PhfError> {
        if file.major_version != MAJOR_VERSION {
            return Err(PhfError::Version(file.major_version));
        }
        if file.piece_size != u64::from(PIECE_BYTES) {
            return Err(PhfError::PieceSize(file.piece_size));
        }
        let pieces: Vec<_> = file.pieces.into_iter().map(|hash| hash.0).collect();
        let phf = Self::new(file.content_length, pieces)?;
        if phf.hash_of_hashes == file.hash_of_hashes.0 {
            Ok(phf)
        } else {
            Err(PhfError::Contradiction)
        }
    }

    /// The piece-hash file of an object of `length` bytes with these hashes of its pieces, in order.
    ///
    /// # Errors
    /// Where there are more or fewer hashes than pieces.
    pub fn new(length: u64, pieces: Vec<[u8; 32]>) -> Result<Self, PhfError> {
        // Counted in 64 bits: a forged length may have more pieces than there are numbers for them.
        let expected = length.div_ceil(u64::from(PIECE_BYTES));
        let found = pieces.len() as u64;
        if found != expected {
            return Err(PhfError::Count {
                found,
                expected,
                length,
            });
        }
        Ok(Self {
            length,
            hash_of_hashes: hash_of_hashes(length, &pieces),
            pieces,
        })
    }

    /// The file as the vendor writes it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut pieces = String::with_capacity(self.pieces.len() * 47);
        for hash in &self.pieces {
            let joint = if pieces.is_empty() { "\"" } else { ",\"" };
            pieces.push_str(joint);
            pieces.push_str(&encode_hash(Alphabet::Standard, hash));
            pieces.push('"');
        }
        format!(
            "{{\"MajorVersion\":{MAJOR_VERSION},\"MinorVersion\":0,\"HashOfHashes\":\"{}\",\
             \"ContentLength\":{},\"PieceSize\":{PIECE_BYTES},\"Pieces\":[{pieces}]}}",
            encode_hash(Alphabet::Standard, &self.hash_of_hashes),
            self.length,
        )
    }

    /// Bytes in the object, as the file states.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// How many pieces the object has.
    #[must_use]
    pub fn pieces(&self) -> u32 {
        piece_count(self.length)
    }

    /// What stands for all the hashes.
    #[must_use]
    pub const fn hash_of_hashes(&self) -> &[u8; 32] {
        &self.hash_of_hashes
    }

    /// The content's name among peers.
    #[must_use]
    pub const fn content_id(&self) -> ContentId {
        ContentId(self.hash_of_hashes)
    }

    /// Whether this is the file that somebody who is trusted (a URL that names its content, an authenticated
    /// coordinator) means, and of an object of this length. Only then do its hashes prove pieces.
    #[must_use]
    pub fn is_proved_by(&self, named: &[u8; 32], length: u64) -> bool {
        self.hash_of_hashes == *named && self.length == length
    }

    /// The SHA-256 that a piece must have; None beyond the end.
    #[must_use]
    pub fn piece_hash(&self, piece: u32) -> Option<&[u8; 32]> {
        self.pieces.get(usize::try_from(piece).ok()?)
    }

    /// Whether the bytes are those of the piece.
    #[must_use]
    pub fn piece_is(&self, piece: u32, bytes: &[u8]) -> bool {
        self.piece_hash(piece)
            .is_some_and(|hash| Sha256::digest(bytes).as_slice() == hash)
    }
}

/// The file as a part of a longer message. Who reads that bounds it before.
impl Serialize for Phf {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let file = File {
            major_version: MAJOR_VERSION,
            minor_version: 0,
            hash_of_hashes: Hash(self.hash_of_hashes),
            content_length: self.length,
            piece_size: u64::from(PIECE_BYTES),
            pieces: self.pieces.iter().copied().map(Hash).collect(),
        };
        file.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Phf {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::of_file(File::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// `SHA-256(u32le MajorVersion || u64le ContentLength || u32le PieceSize || the hashes in order)`.
fn hash_of_hashes(length: u64, pieces: &[[u8; 32]]) -> [u8; 32] {
    let mut sha = Sha256::new();
    sha.update(MAJOR_VERSION.to_le_bytes());
    sha.update(length.to_le_bytes());
    sha.update(PIECE_BYTES.to_le_bytes());
    for hash in pieces {
        sha.update(hash);
    }
    sha.finalize().into()
}

/// The vendor's name for a content: `DO-` and the HashOfHashes in base64url (facts: clients, section 2.4, reported by
/// one third party).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentId(pub [u8; 32]);

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DO-{}", encode_hash(Alphabet::Url, &self.0))
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A text that is no content id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a content id is DO- and 43 characters of base64url")]
pub struct NotAContentId;

impl FromStr for ContentId {
    type Err = NotAContentId;

    fn from_str(text: &str) -> Result<Self, NotAContentId> {
        text.strip_prefix("DO-")
            .and_then(|hash| decode_hash(Alphabet::Url, hash))
            .map(Self)
            .ok_or(NotAContentId)
    }
}

#[cfg(test)]
mod tests;
