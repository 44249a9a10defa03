//! The URL as a user writes it. The rule: what a browser would take is taken, and nothing is guessed that could be
//! another object.

use super::Failure;
use larder_proto::http::route::{OriginRules, OwnedRoute, direct};
use std::fmt::Write;

/// Where a URL leads.
///
/// # Errors
/// It is none, with what to write.
pub(super) fn route_of(url: &str, rules: &OriginRules) -> Result<OwnedRoute, Failure> {
    let plain = visible(url.split('#').next().unwrap_or(url).trim());
    direct(&plain, rules).map_err(|why| {
        Failure::Usage(format!(
            "{url:?} can not be downloaded: {why}; write it as in http://host/path"
        ))
    })
}

/// Bytes that no URL may hold, as a URL holds them: blanks and letters beyond ASCII, in UTF-8.
fn visible(url: &str) -> String {
    let mut plain = String::with_capacity(url.len());
    for byte in url.bytes() {
        if byte.is_ascii_graphic() {
            plain.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(plain, "%{byte:02X}");
        }
    }
    plain
}

/// The file name that a URL's path ends in; `index.html` where it ends in none, as other programs have it.
pub(super) fn file_name(target: &str) -> String {
    let path = target.split('?').next().unwrap_or(target);
    let last = path.rsplit('/').next().unwrap_or_default();
    let name = String::from_utf8_lossy(&unescaped(last)).into_owned();
    let is_name = !name.is_empty()
        && name != "."
        && name != ".."
        && !name.chars().any(|c| c == '/' || c.is_control());
    if is_name {
        name
    } else if last.is_empty() {
        "index.html".to_owned()
    } else {
        last.replace(['.', '%'], "_")
    }
}

fn unescaped(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = text.get(at + 1..at + 3);
        let escaped = digits.filter(|_| *byte == b'%');
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(escaped) => {
                plain.push(escaped);
                at += 3;
            }
            None => {
                plain.push(*byte);
                at += 1;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_takes_is_taken() {
        let rules = OriginRules::default().opened();
        let rows = [
            ("http://a.example/x y", "/x%20y"),
            ("http://a.example/ä?b=ö", "/%C3%A4?b=%C3%B6"),
            ("https://a.example", "/"),
            ("http://a.example/x#part", "/x"),
            (" http://a.example/x ", "/x"),
        ];
        for (url, target) in rows {
            assert_eq!(route_of(url, &rules).expect(url).target, target, "{url}");
        }
        for url in ["a.example/x", "ftp://a.example/x", "/x", "", "http://"] {
            let failure = route_of(url, &rules).expect_err(url);
            assert_eq!(failure.code(), 2, "{url}");
        }
    }

    #[test]
    fn a_file_name_never_leads_elsewhere() {
        let rows = [
            ("/a/b.cab?x=/y", "b.cab"),
            ("/", "index.html"),
            ("/a/", "index.html"),
            ("/a/%2e%2e", "_2e_2e"),
            ("/a/..", "__"),
            ("/a%2Fb", "a_2Fb"),
            ("/a/b%20c", "b c"),
            ("/a/%C3%A4", "ä"),
            ("/a/100%", "100%"),
            ("/a/x%00y", "x_00y"),
        ];
        for (target, name) in rows {
            assert_eq!(file_name(target), name, "{target}");
        }
    }
}
