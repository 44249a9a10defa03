//! What proves the bytes of a content, besides larder's own checksums. The rule: only what a trusted name says makes
//! bytes *verified*; what larder computed itself, or a neighbour says, never does.
//!
//! *verified*: the SHA-256 of the piece is in a piece-hash file whose HashOfHashes a URL names, or the whole file has
//! the SHA-1 that its URL names. *attested*: larder has computed the SHA-256 of the bytes that it took in, for peers of
//! its own group. *checked*: length and one strong validator, no more.
//!
//! Where two names contradict each other, the SHA-1 that the file's own URL names decides: a piece-hash file that says
//! otherwise than a file with that SHA-1 is refuted, trusted or not.

use larder_content::phf::Phf;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What proves one content; kept in the catalogue as long as the content is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// How the whole file compares with the SHA-1 that its URL names.
    #[serde(default)]
    pub whole: Whole,
    /// The piece-hash file that describes it.
    #[serde(default)]
    pub named: Option<Named>,
    /// HashOfHashes of a piece-hash file that turned out to be wrong: it is not believed again.
    #[serde(default)]
    pub refuted: Option<[u8; 32]>,
}

/// What the SHA-1 of a whole file turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whole {
    /// It was not computed, or the URL names none.
    #[default]
    Unknown,
    /// It is what the URL names.
    Matches,
    /// It is another, twice in a row under one validator: the name is no hash of the file, or an origin has another
    /// file under it. Such a file is served as *checked*.
    Differs,
}

/// A piece-hash file that was attached to a content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its HashOfHashes.
    pub hash_of_hashes: [u8; 32],
    /// A URL names that HashOfHashes. Otherwise it is a neighbour of the content, and a hint.
    pub trusted: bool,
    /// Where it was found.
    pub url: String,
}

/// The hashes of a content's pieces, as a piece-hash file has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceHashes {
    /// The file.
    pub phf: Phf,
    /// See [`Named::trusted`].
    pub trusted: bool,
}

/// What a piece must hash to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its SHA-256.
    pub hash: [u8; 32],
    /// A name that is trusted says so; otherwise it is a hint.
    pub trusted: bool,
}

/// How far a content's stored bytes are to be trusted; in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Length and one strong validator.
    Checked,
    /// SHA-256 of each piece computed by larder.
    Attested,
    /// Proved by a name that is trusted.
    Verified,
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checked => "checked",
            Self::Attested => "attested",
            Self::Verified => "verified",
        })
    }
}
