//! Objects as the admin API names and shows them. The rule: an object is named as its clients know it, and every name
//! that leads to the same content finds it.

use larder_content::key::{canonical, identify, identify_apart};
use larder_content::neighbour::sha1_of;
use larder_content::{ContentId, ContentNo};
use larder_proto::http::route::OriginRules;
use larder_storage::proof::{Trust, Whole};
use larder_storage::store::{BadPiece, Filter, Listed, Store};
use serde::{Deserialize, Serialize};

/// Which objects a request means: exactly one of these.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Selector {
    /// One object, by its URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// All whose URL begins so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    /// All of a host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    /// One object, by its number, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<String>,
    /// All there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) all: Option<bool>,
    /// For pins only: whether to spare the objects from eviction, or no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pinned: Option<bool>,
}

impl Selector {
    /// The filters that find the objects; several where a URL has several identities.
    ///
    /// # Errors
    /// In words, where it is not plain what is meant.
    pub(super) fn filters(
        &self,
        store: &Store,
        rules: &OriginRules,
    ) -> Result<Vec<Filter>, String> {
        let named = [
            self.url.is_some(),
            self.prefix.is_some(),
            self.host.is_some(),
            self.content.is_some(),
            self.all == Some(true),
        ];
        if named.iter().filter(|is| **is).count() != 1 {
            return Err("name exactly one of url, prefix, host, content or all=true".to_owned());
        }
        if let Some(url) = &self.url {
            return of_url(url, store, rules);
        }
        if let Some(digits) = &self.content {
            let number = Some(digits).filter(|digits| digits.len() == 16);
            let number = number.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            let number = number.filter(|number| *number != 0).ok_or_else(|| {
                format!("{digits:?} is no content number; write its 16 hexadecimal digits")
            })?;
            return Ok(vec![Filter::Content(ContentNo::new(number))]);
        }
        Ok(vec![match (&self.prefix, &self.host) {
            (Some(prefix), _) if !prefix.is_empty() => Filter::Prefix(prefix.clone()),
            (_, Some(host)) if !host.is_empty() => Filter::Host(host.clone()),
            (None, None) => Filter::All,
            _ => return Err("the name is empty; all=true means all objects".to_owned()),
        }])
    }

    /// The objects that are meant, each once.
    pub(super) fn list(&self, store: &Store, rules: &OriginRules) -> Result<Vec<Listed>, String> {
        let mut found: Vec<Listed> = Vec::new();
        for filter in self.filters(store, rules)? {
            found.extend(store.list(&filter));
        }
        found.sort_by(|a, b| (&a.record.url, a.no).cmp(&(&b.record.url, b.no)));
        found.dedup_by_key(|listed| listed.no);
        Ok(found)
    }
}

/// A URL finds what its key leads to: under the key of its host family, and under that of its host alone.
fn of_url(url: &str, store: &Store, rules: &OriginRules) -> Result<Vec<Filter>, String> {
    let parts = Url::parse(url)
        .ok_or_else(|| format!("{url:?} is no URL; write it as clients do: http://host/path"))?;
    let Url {
        https,
        host,
        port,
        path,
        query,
    } = parts;
    let query = [query];
    let query = if query[0].is_empty() {
        &query[..0]
    } else {
        &query[..]
    };
    let listed = rules.lists_immutable(host, path);
    let mut filters = vec![Filter::Url(canonical(
        https, host, port, path, query, listed,
    ))];
    for identity in [
        identify(https, host, port, path, query, listed),
        identify_apart(https, host, port, path, query, listed),
    ] {
        filters.extend(
            store
                .stat(&identity.key)
                .map(|listed| Filter::Content(listed.no)),
        );
    }
    Ok(filters)
}

/// A URL in the parts that its identity is made of.
#[derive(PartialEq, Eq, Debug)]
struct Url<'u> {
    https: bool,
    host: &'u str,
    /// None where it is the scheme's own.
    port: Option<u16>,
    path: &'u str,
    query: &'u str,
}

impl<'u> Url<'u> {
    fn parse(url: &'u str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let https = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() || authority.contains('@') {
            return None;
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port.parse::<u16>().ok()?)),
            _ => (authority, None),
        };
        let target = target.split('#').next().unwrap_or(target);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Some(Self {
            https,
            host: host.strip_suffix('.').unwrap_or(host),
            port: port.filter(|port| *port != if https { 443 } else { 80 }),
            path: if path.is_empty() { "/" } else { path },
            query,
        })
    }
}

/// One object, as the API shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// Its number, as `content=` takes it.
    pub(crate) content: String,
    /// Its URL.
    pub(crate) url: String,
    /// Bytes in it.
    pub(crate) length: u64,
    /// Bytes of it that are on disk.
    pub(crate) bytes_stored: u64,
    /// How many pieces it has.
    pub(crate) pieces: u32,
    /// How many of them are on disk.
    pub(crate) pieces_stored: u32,
    /// Never evicted.
    pub(crate) pinned: bool,
    /// Its URL names its content, so it is always fresh.
    pub(crate) immutable: bool,
    /// Until when it is fresh, in seconds since 1970; none where it always is.
    pub(crate) fresh_until: Option<u64>,
    /// When it was stored, in seconds since 1970.
    pub(crate) stored_at: u64,
    /// The origin's entity tag.
    pub(crate) etag: Option<String>,
    /// The origin's Last-Modified.
    pub(crate) last_modified: Option<String>,
    /// The origin's Content-Type.
    pub(crate) content_type: Option<String>,
    /// SHA-256 of its canonical key, in hexadecimal.
    pub(crate) key: String,
    /// How its stored pieces are trusted: as its least trusted one.
    pub(crate) trust: Trust,
    /// How many of its stored pieces are verified.
    pub(crate) pieces_verified: u32,
    /// How the whole file compares with the SHA-1 that its URL names; none where it names none.
    pub(crate) sha1: Option<Whole>,
    /// The piece-hash file that describes it.
    pub(crate) hashes: Option<ShownHashes>,
}

/// A piece-hash file, as the API shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ShownHashes {
    /// Its HashOfHashes as the vendor writes it, `DO-` and base64url.
    pub(crate) content_id: String,
    /// A URL names that HashOfHashes.
    pub(crate) trusted: bool,
    /// Where it was found.
    pub(crate) url: String,
}

impl Shown {
    /// An object with what is known of its bytes. May read the catalogue.
    pub(super) fn of(listed: Listed, store: &Store) -> Self {
        let content = store.by_no(listed.no);
        let trusted = content.map(|content| store.trust(&content));
        let proof = store.proof(listed.no);
        let record = listed.record;
        Self {
            content: listed.no.to_string(),
            key: listed.key.to_string(),
            trust: trusted.map_or(Trust::Checked, |trusted| trusted.trust),
            pieces_verified: trusted.map_or(0, |trusted| trusted.pieces_verified),
            sha1: sha1_of(&record.url).map(|_| proof.whole),
            hashes: proof.named.map(|named| ShownHashes {
                content_id: ContentId(named.hash_of_hashes).to_string(),
                trusted: named.trusted,
                url: named.url,
            }),
            url: record.url,
            length: record.length,
            bytes_stored: listed.bytes_stored,
            pieces: listed.pieces,
            pieces_stored: listed.pieces_stored,
            pinned: record.pinned,
            immutable: record.immutable,
            fresh_until: (!record.immutable).then_some(record.fresh_until),
            stored_at: record.stored_at,
            etag: record.etag,
            last_modified: record.last_modified,
            content_type: record.content_type,
        }
    }
}

/// What a look at the bytes of one object found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Looked {
    /// Its number.
    pub(crate) content: String,
    /// Its URL.
    pub(crate) url: String,
    /// Pieces that were read and are what was stored.
    pub(crate) pieces_good: u32,
    /// Pieces that are not there.
    pub(crate) pieces_absent: u32,
    /// Pieces that were damaged, and are forgotten now.
    pub(crate) pieces_bad: u32,
    /// Pieces whose SHA-256 is known, and was compared.
    #[serde(default)]
    pub(crate) pieces_hashed: u32,
    /// Whether the whole file has the SHA-1 that its URL names; none where it names none or pieces are missing.
    #[serde(default)]
    pub(crate) sha1_matches: Option<bool>,
    /// Where the damaged ones are; the first of them, where they are many.
    #[serde(default)]
    pub(crate) bad: Vec<Bad>,
}

/// A damaged piece.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bad {
    /// Its number in its object, from 0.
    pub(crate) piece: u32,
    /// The directory of its disk.
    pub(crate) disk: String,
    /// The file there.
    pub(crate) slab: String,
    /// Where in that file.
    pub(crate) offset: u64,
    /// What is wrong.
    pub(crate) why: String,
}

impl From<BadPiece> for Bad {
    fn from(bad: BadPiece) -> Self {
        Self {
            piece: bad.id.piece,
            disk: bad.disk,
            slab: bad.slab,
            offset: bad.offset,
            why: bad.why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_fall_into_their_parts() {
        let url = |https, host, port, path, query| {
            Some(Url {
                https,
                host,
                port,
                path,
                query,
            })
        };
        let cases = [
            (
                "http://a.example/x?y=1&z",
                url(false, "a.example", None, "/x", "y=1&z"),
            ),
            (
                "https://a.example:443",
                url(true, "a.example", None, "/", ""),
            ),
            (
                "http://a.example.:8530/x#f",
                url(false, "a.example", Some(8530), "/x", ""),
            ),
            ("http://[::1]:81/x", url(false, "[::1]", Some(81), "/x", "")),
            ("http://[::1]/x", url(false, "[::1]", None, "/x", "")),
            ("http://a?q", url(false, "a", None, "/", "q")),
            ("ftp://a/x", None),
            ("http:///x", None),
            ("http://u@a/x", None),
            ("http://a:port/x", None),
            ("a.example/x", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Url::parse(text), expected, "{text}");
        }
    }
}
