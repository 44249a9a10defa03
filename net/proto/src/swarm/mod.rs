//! The swarm: what peers say to each other on TCP 7680, and when. The rule: everything a peer says is a claim; what is
//! believed of it is bounded here, and its bytes are proved by whoever holds the piece hashes.
//!
//! The protocol is known from third parties only (facts: clients, section 3). So: implemented to the public description,
//! proven between larder's own nodes, not proven with Windows.

pub mod bans;
pub mod bitfield;
pub mod choker;
pub mod picker;
pub mod serving;
pub mod session;
pub mod wire;

pub use bitfield::Bitfield;
pub use session::Session;
pub use wire::{Block, Decoder, Handshake, Incoming, Message, WireError};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The port that peers listen on, as the vendor's clients do (seed: "What to do when peers are not found").
pub const PORT: u16 = 7680;

/// Who a peer says it is: a GUID that it has drawn itself. It proves nothing; it tells peers apart, and oneself.
///
/// It is written as its bytes in hexadecimal, in the order of the wire, with hyphens as in a GUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub [u8; 16]);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let hyphen = if matches!(at, 4 | 6 | 8 | 10) {
                "-"
            } else {
                ""
            };
            write!(f, "{hyphen}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A text that is no peer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a peer id is 32 hexadecimal digits, as in 0f8fad5b-d9cb-469f-a165-70867728950e")]
pub struct NotAPeerId;

impl FromStr for PeerId {
    type Err = NotAPeerId;

    fn from_str(text: &str) -> Result<Self, NotAPeerId> {
        let mut bytes = [0; 16];
        let mut count = 0;
        for digit in text.bytes().filter(|byte| *byte != b'-') {
            let value = char::from(digit).to_digit(16).ok_or(NotAPeerId)?;
            let byte: &mut u8 = bytes.get_mut(count / 2).ok_or(NotAPeerId)?;
            // Below 16, by the base.
            *byte = *byte << 4 | u8::try_from(value).map_err(|_| NotAPeerId)?;
            count += 1;
        }
        if count == 32 {
            Ok(Self(bytes))
        } else {
            Err(NotAPeerId)
        }
    }
}

impl Serialize for PeerId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_is_read_as_it_is_written() {
        let id = PeerId(*b"\x0f\x8f\xad\x5b\xd9\xcb\x46\x9f\xa1\x65\x70\x86\x77\x28\x95\x0e");
        assert_eq!(id.to_string(), "0f8fad5b-d9cb-469f-a165-70867728950e");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("0F8FAD5BD9CB469FA16570867728950E".parse(), Ok(id));
        for bad in [
            "",
            "0f8fad5b",
            "0f8fad5b-d9cb-469f-a165-70867728950e0",
            "zz8fad5b-d9cb-469f-a165-70867728950e",
        ] {
            assert_eq!(bad.parse::<PeerId>(), Err(NotAPeerId), "{bad}");
        }
    }
}
