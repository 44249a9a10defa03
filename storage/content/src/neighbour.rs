//! Which content a piece-hash file describes, and where that of a content lies, as far as their URLs say so (facts:
//! clients, section 2). The rule: only a HashOfHashes in the URL makes such a file trusted; one that lies beside its
//! content is a hint.
//!
//! URLs here are canonical, as records have them.

use crate::UrlKey;
use crate::key::{are_of_one_house, identify, identify_apart, named_hashes};

/// What the names of piece-hash files end in, behind the path of their content.
const ENDINGS: [&str; 2] = ["/pieceshash", ".phf"];

/// What a piece-hash file describes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Describes {
    /// The content beside it, by one of these keys.
    Neighbour(Vec<UrlKey>),
    /// The file of this SHA-1, of hosts of the same house; it must have this HashOfHashes. That the first digits of
    /// `/phf/dotc/<40 hex>/<64 hex>` are the file's SHA-1 is a guess, as they are in the names of such files; so the
    /// length must agree as well.
    File {
        /// SHA-1 of the file.
        sha1: [u8; 20],
        /// HashOfHashes of the piece-hash file.
        hash_of_hashes: [u8; 32],
    },
}

/// What the object at a URL describes, if it is a piece-hash file by its name.
#[must_use]
pub fn describes(url: &str) -> Option<Describes> {
    let parts = Parts::of(url)?;
    if let Some(hash_of_hashes) = named_hashes(parts.host, parts.path).hash_of_hashes {
        let digits = parts.path.split('/').nth(3)?;
        let sha1 = unhex(digits)?;
        return Some(Describes::File {
            sha1,
            hash_of_hashes,
        });
    }
    let content = ENDINGS
        .iter()
        .find_map(|ending| parts.path.strip_suffix(ending))?;
    // A name that is all ending has no content beside it.
    (!content.is_empty() && !content.ends_with('/'))
        .then(|| Describes::Neighbour(parts.keys(content)))
}

/// The keys that a piece-hash file beside the content at `url` has.
#[must_use]
pub fn beside(url: &str) -> Vec<UrlKey> {
    let Some(parts) = Parts::of(url) else {
        return Vec::new();
    };
    ENDINGS
        .iter()
        .flat_map(|ending| parts.keys(&format!("{}{ending}", parts.path)))
        .collect()
}

/// The SHA-1 that a URL names.
#[must_use]
pub fn sha1_of(url: &str) -> Option<[u8; 20]> {
    let parts = Parts::of(url)?;
    named_hashes(parts.host, parts.path).sha1
}

/// Whether a piece-hash file of one URL may speak for the content of another: an origin that an administrator added
/// must not decide about the vendor's files.
#[must_use]
pub fn may_speak_for(phf_url: &str, content_url: &str) -> bool {
    match (Parts::of(phf_url), Parts::of(content_url)) {
        (Some(phf), Some(content)) => are_of_one_house(phf.host, content.host),
        _ => false,
    }
}

struct Parts<'u> {
    https: bool,
    host: &'u str,
    port: Option<u16>,
    path: &'u str,
    query: &'u str,
}

impl<'u> Parts<'u> {
    fn of(url: &'u str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let https = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let (authority, target) = rest.split_at(rest.find('/')?);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port.parse().ok()?)),
            _ => (authority, None),
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Some(Self {
            https,
            host,
            port,
            path,
            query,
        })
    }

    /// The keys of another path of the same server: in its host family, and of its own.
    fn keys(&self, path: &str) -> Vec<UrlKey> {
        let query = [self.query];
        let mut keys: Vec<_> = [identify, identify_apart]
            .iter()
            .map(|how| how(self.https, self.host, self.port, path, &query, false).key)
            .collect();
        keys.dedup();
        keys
    }
}

fn unhex(digits: &str) -> Option<[u8; 20]> {
    let mut bytes = [0; 20];
    if digits.len() != 40 || !digits.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "/filestreamingservice/files/0f8fad5b-d9cb-469f-a165-70867728950e";

    fn key(host: &str, path: &str) -> UrlKey {
        identify(false, host, None, path, &[], false).key
    }

    #[test]
    fn a_neighbour_is_found_from_both_sides() {
        for (host, content) in [
            ("tlu.dl.delivery.mp.microsoft.com", GUID),
            ("files.example", "/a/blob.bin"),
        ] {
            for ending in ENDINGS {
                let phf = format!("{content}{ending}");
                let Some(Describes::Neighbour(keys)) = describes(&format!("http://{host}{phf}"))
                else {
                    panic!("{phf} lies beside {content}");
                };
                assert!(keys.contains(&key(host, content)));
                assert!(beside(&format!("http://{host}{content}")).contains(&key(host, &phf)));
            }
        }
        for none in [
            "http://h/.phf",
            "http://h/a/.phf",
            "http://h/a.phf/x",
            "http://h/pieceshash",
        ] {
            assert_eq!(describes(none), None, "{none}");
        }
    }

    #[test]
    fn the_keys_are_those_of_requests_with_a_port_and_a_query() {
        let Some(Describes::Neighbour(keys)) = describes("http://h.example:8530/a.phf?v=1&w")
        else {
            panic!("it is one");
        };
        let content = identify(false, "h.example", Some(8530), "/a", &["v=1", "w"], false).key;
        assert_eq!(keys, [content]);
    }

    #[test]
    fn a_name_of_hashes_names_the_file_too() {
        let (sha1, hashes) = ("ab".repeat(20), "CD".repeat(32));
        let url = format!("http://a.dl.delivery.mp.microsoft.com/phf/dotc/{sha1}/{hashes}");
        assert_eq!(
            describes(&url),
            Some(Describes::File {
                sha1: [0xab; 20],
                hash_of_hashes: [0xcd; 32]
            })
        );
        let file = format!("http://download.windowsupdate.com/c/x_{sha1}.cab");
        assert_eq!(sha1_of(&file), Some([0xab; 20]));
        assert!(may_speak_for(&url, &file));
        assert!(!may_speak_for("http://other.example/phf/dotc/x/y", &file));
        assert!(may_speak_for("http://h.example/phf", "http://H.example/f"));
    }
}
