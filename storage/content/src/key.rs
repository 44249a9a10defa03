//! Which URLs name the same content. The rule: two URLs share a key only where their names prove that they mean the
//! same bytes, and the key is a hash that no client can collide.
//!
//! What the vendor's URLs look like: facts on clients, sections 1.3 and 2.3.

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

/// Hosts that serve the same files under the same paths.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    /// `dl.delivery.mp.microsoft.com` and what is below it. Its URLs are signed by `P1` to `P4`.
    Delivery,
    /// Below `windowsupdate.com`.
    WindowsUpdate,
}

impl Family {
    fn of(host: &str) -> Option<Self> {
        if is_or_below(host, "dl.delivery.mp.microsoft.com") {
            Some(Self::Delivery)
        } else if is_or_below(host, "windowsupdate.com") {
            Some(Self::WindowsUpdate)
        } else {
            None
        }
    }

    const fn name(self) -> &'static [u8] {
        match self {
            Self::Delivery => b"dl.delivery.mp.microsoft.com",
            Self::WindowsUpdate => b"windowsupdate.com",
        }
    }
}

/// Whether what one host says of a file concerns the files of another: they are one host, or both the vendor's.
pub(crate) fn are_of_one_house(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || (Family::of(one).is_some() && Family::of(other).is_some())
}

/// True where the names differ at most by case and by labels in front.
fn is_or_below(host: &str, domain: &str) -> bool {
    let (host, domain) = (host.as_bytes(), domain.as_bytes());
    let Some(front) = host.len().checked_sub(domain.len()) else {
        return false;
    };
    host[front..].eq_ignore_ascii_case(domain) && (front == 0 || host[front - 1] == b'.')
}

/// Finds a URL's identity.
///
/// `port` is `None` for the scheme's own; `path` and `query` are raw, and the query, without `cacheHostOrigin`, may
/// come in pieces that were around the removed parameter. `listed_immutable`: an administrator says that the URL
/// names its content. No allocation.
#[must_use]
pub fn identify(
    https: bool,
    host: &str,
    port: Option<u16>,
    path: &str,
    query: &[&str],
    listed_immutable: bool,
) -> Identity {
    let family = Family::of(host);
    let named = names_its_content(family, host, path);
    // A port that is not the scheme's is another server, whatever its name.
    let shared = if named && port.is_none() {
        family
    } else {
        None
    };
    Identity {
        key: hash(https, host, port, path, query, family, shared),
        immutable: named || listed_immutable,
        family: shared.is_some(),
    }
}

/// The same without host families: for hosts whose bytes turned out to differ.
#[must_use]
pub fn identify_apart(
    https: bool,
    host: &str,
    port: Option<u16>,
    path: &str,
    query: &[&str],
    listed_immutable: bool,
) -> Identity {
    let family = Family::of(host);
    Identity {
        key: hash(https, host, port, path, query, family, None),
        immutable: names_its_content(family, host, path) || listed_immutable,
        family: false,
    }
}

/// The key of one of several answers of a URL: of `primary`, the URL's own key, and of the request fields that choose
/// between them (names in lower case, in order; `None` where a request has none).
#[must_use]
pub fn variant(primary: &UrlKey, selecting: &[(&str, Option<&[u8]>)]) -> UrlKey {
    let mut sha = Sha256::new();
    sha.update(b"variant\0");
    sha.update(primary.0);
    // Each part says how long it is, so that no two choices spell the same.
    let mut part = |part: Option<&[u8]>| {
        let len = part.map_or(u64::MAX, |part| part.len() as u64);
        sha.update(len.to_be_bytes());
        sha.update(part.unwrap_or_default());
    };
    for (name, value) in selecting {
        part(Some(name.as_bytes()));
        part(*value);
    }
    UrlKey(sha.finalize().into())
}

/// The URL for people: lists, logs and the command line. Without `P1` to `P4` where they are a signature.
#[must_use]
pub fn canonical(
    https: bool,
    host: &str,
    port: Option<u16>,
    path: &str,
    query: &[&str],
    _listed_immutable: bool,
) -> String {
    let mut url = String::with_capacity(
        16 + host.len() + path.len() + query.iter().map(|q| q.len() + 1).sum::<usize>(),
    );
    url.push_str(if https { "https://" } else { "http://" });
    url.extend(host.chars().map(|c| c.to_ascii_lowercase()));
    if let Some(port) = port {
        url.push(':');
        url.push_str(&port.to_string());
    }
    url.push_str(path);
    each_of_query(Family::of(host), query, &mut |part| url.push_str(part));
    url
}

/// The hashes that a URL names (facts: clients, section 2.3).
#[must_use]
pub fn named_hashes(host: &str, path: &str) -> Named {
    let mut named = Named::default();
    if let Some(last) = path.rsplit('/').next() {
        let of_update = Family::of(host) == Some(Family::WindowsUpdate);
        let file = if of_update {
            hash_of_file_name(last)
        } else {
            None
        };
        named.sha1 = file.or_else(|| hash_of_wsus_path(path)).and_then(unhex);
    }
    named.hash_of_hashes = hash_of_phf_path(path).and_then(unhex);
    named
}

fn names_its_content(family: Option<Family>, host: &str, path: &str) -> bool {
    if hash_of_phf_path(path).is_some() {
        return true;
    }
    match family {
        Some(Family::Delivery) => names_a_guid(path),
        // Certificate trust lists change under their names.
        Some(Family::WindowsUpdate) => {
            !is_or_below(host, "ctldl.windowsupdate.com")
                && path
                    .rsplit('/')
                    .next()
                    .is_some_and(|last| hash_of_file_name(last).is_some())
        }
        None => false,
    }
}

/// `/filestreamingservice/files/<guid>` and nothing after it: what lies below is metadata.
fn names_a_guid(path: &str) -> bool {
    let Some(guid) = path.strip_prefix("/filestreamingservice/files/") else {
        return false;
    };
    guid.len() == 36
        && guid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The 40 digits of `<anything>_<40 hex>.<ext>`.
fn hash_of_file_name(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    let (front, digits) = stem.rsplit_once('_')?;
    let plain = !extension.is_empty() && extension.bytes().all(|b| b.is_ascii_alphanumeric());
    (plain && !front.is_empty() && is_hex(digits, 40)).then_some(digits)
}

/// The 40 digits of WSUS's `/Content/<xx>/<40 hex>.<ext>`, where `<xx>` repeats the last two.
fn hash_of_wsus_path(path: &str) -> Option<&str> {
    let mut parts = path.rsplit('/');
    let (name, folder, content) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = name.rsplit_once('.')?.0;
    let fits = content.eq_ignore_ascii_case("content")
        && is_hex(digits, 40)
        && folder.eq_ignore_ascii_case(&digits[38..]);
    fits.then_some(digits)
}

/// The 64 digits of `/phf/dotc/<40 hex>/<64 hex>`.
fn hash_of_phf_path(path: &str) -> Option<&str> {
    let (file, hashes) = path.strip_prefix("/phf/dotc/")?.split_once('/')?;
    (is_hex(file, 40) && is_hex(hashes, 64)).then_some(hashes)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn unhex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N || !digits.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Gives the query out in parts that joined are `?a&b`, or nothing where no parameter is left.
fn each_of_query<'q>(family: Option<Family>, query: &[&'q str], out: &mut dyn FnMut(&'q str)) {
    let mut joint = "?";
    let mut give = |part: &'q str| {
        out(joint);
        out(part);
        joint = "&";
    };
    for piece in query.iter().filter(|piece| !piece.is_empty()) {
        if family == Some(Family::Delivery) {
            piece
                .split('&')
                .filter(|parameter| !is_signature(parameter))
                .for_each(&mut give);
        } else {
            give(piece);
        }
    }
}

/// `P1=..` to `P4=..`: expiry and signature, different for each client and time.
fn is_signature(parameter: &str) -> bool {
    matches!(
        parameter.as_bytes(),
        [b'P', b'1'..=b'4', b'=', ..] | [b'P', b'1'..=b'4']
    )
}

/// The key is SHA-256 of `host\0<scheme>://<host>:<port><path>?<query>`, the port as two bytes, or of
/// `family\0<family><path>?<query>`. Hosts hold no slash and paths no question mark, so no two URLs spell the same.
fn hash(
    https: bool,
    host: &str,
    port: Option<u16>,
    path: &str,
    query: &[&str],
    family: Option<Family>,
    shared: Option<Family>,
) -> UrlKey {
    let mut sha = Sha256::new();
    if let Some(shared) = shared {
        sha.update(b"family\0");
        sha.update(shared.name());
    } else {
        sha.update(if https {
            b"host\0https://".as_slice()
        } else {
            b"host\0http://"
        });
        let mut lower = [0; 64];
        for part in host.as_bytes().chunks(lower.len()) {
            let lower = &mut lower[..part.len()];
            lower.copy_from_slice(part);
            lower.make_ascii_lowercase();
            sha.update(&*lower);
        }
        let default = if https { 443 } else { 80 };
        sha.update(b":");
        sha.update(port.unwrap_or(default).to_be_bytes());
    }
    sha.update(path.as_bytes());
    each_of_query(family, query, &mut |part| sha.update(part.as_bytes()));
    UrlKey(sha.finalize().into())
}

#[cfg(test)]
mod tests;
