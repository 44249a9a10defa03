//! How a caller proves that it has a key: the Authorization header of a request, and what is signed. The rule: the key
//! itself never travels, and what is signed covers the whole request and the moment.
//!
//! `Authorization: Larder-HMAC-SHA256 Key=<name>, Time=<seconds since 1970>, Mac=<64 hexadecimal digits>`, where the
//! Mac is HMAC-SHA256 under the key of method, target and time, each followed by a line feed, and the body.

use crate::UnixSecs;
use std::fmt::Write;

/// The scheme's name.
pub const SCHEME: &str = "Larder-HMAC-SHA256";

/// How far the caller's clock may be from the coordinator's, in seconds.
pub const SKEW_SECS_MAX: u64 = 300;

/// No key has fewer bytes.
pub const KEY_BYTES_MIN: usize = 16;

/// What an Authorization header says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// Which key: the name of a publisher, or the GUID of a group.
    pub key: String,
    /// When it was signed, by the caller's clock.
    pub time: UnixSecs,
    /// The Mac.
    pub mac: [u8; 32],
}

/// What goes before the body in what is signed.
#[must_use]
pub fn preamble(method: &str, target: &str, time: UnixSecs) -> String {
    format!("{method}\n{target}\n{time}\n")
}

impl Proof {
    /// The header's value.
    #[must_use]
    pub fn header(&self) -> String {
        let mut text = format!("{SCHEME} Key={}, Time={}, Mac=", self.key, self.time);
        for byte in self.mac {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// Reads a header's value; None where it is of another scheme or not whole.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, fields) = header.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return None;
        }
        let (mut key, mut time, mut mac) = (None, None, None);
        for field in fields.split(',') {
            let (name, value) = field.trim().split_once('=')?;
            match name.trim().to_ascii_lowercase().as_str() {
                "key" => key = Some(value.trim().to_owned()),
                "time" => time = value.trim().parse().ok(),
                "mac" => mac = Some(digits(value.trim())?),
                _ => {}
            }
        }
        Some(Self {
            key: key?,
            time: time?,
            mac: mac?,
        })
    }

    /// Whether it was signed about now.
    #[must_use]
    pub const fn is_of(&self, now: UnixSecs) -> bool {
        self.time.abs_diff(now) <= SKEW_SECS_MAX
    }
}

fn digits(text: &str) -> Option<[u8; 32]> {
    let mut mac = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in mac.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_proof_holds_for_a_while() {
        let proof = Proof {
            key: "berlin".to_owned(),
            time: 1000,
            mac: [0xAB; 32],
        };
        assert!(proof.is_of(700) && proof.is_of(1300));
        assert!(!proof.is_of(699) && !proof.is_of(1301));
        assert_eq!(Proof::parse(&proof.header()), Some(proof.clone()));
        let loose = format!(
            "larder-hmac-sha256  mac={},key=berlin ,time=1000",
            "ab".repeat(32)
        );
        assert_eq!(Proof::parse(&loose), Some(proof));
    }

    #[test]
    fn what_is_not_whole_is_no_proof() {
        let mac = "0".repeat(64);
        for text in [
            String::new(),
            format!("Bearer {mac}"),
            format!("{SCHEME} Key=a, Time=1"),
            format!("{SCHEME} Key=a, Mac={mac}"),
            format!("{SCHEME} Time=1, Mac={mac}"),
            format!("{SCHEME} Key=a, Time=-1, Mac={mac}"),
            format!("{SCHEME} Key=a, Time=1, Mac={mac}0"),
            format!("{SCHEME} Key=a, Time=1, Mac={}+0", &mac[2..]),
            format!("{SCHEME} Key=a, Time=1, Mac={}é", &mac[2..]),
        ] {
            assert!(Proof::parse(&text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(text in ".{0,100}") {
            let _ = Proof::parse(&text);
            let _ = Proof::parse(&format!("{SCHEME} {text}"));
        }
    }
}
