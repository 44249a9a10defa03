//! GUIDs, as devices and groups are named. The rule: one GUID has one spelling on output, lower case without braces.

use serde::de::{Deserialize, Deserializer, Error};
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A GUID: 16 bytes in the order in which they are written, which is also how a peer's id goes over the peer wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(pub [u8; 16]);

/// A text that is no GUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a GUID is 32 hexadecimal digits, as in 7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab")]
pub struct NotAGuid;

impl FromStr for Guid {
    type Err = NotAGuid;

    /// Reads 8-4-4-4-12 digits of either case, with or without braces.
    fn from_str(text: &str) -> Result<Self, NotAGuid> {
        let bare = text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .unwrap_or(text);
        let dashed = |(at, byte): (usize, u8)| (byte == b'-') == matches!(at, 8 | 13 | 18 | 23);
        if bare.len() != 36 || !bare.bytes().enumerate().all(dashed) {
            return Err(NotAGuid);
        }
        let mut bytes = [0; 16];
        let mut digits = bare.bytes().filter(|byte| *byte != b'-');
        for byte in &mut bytes {
            let mut digit = || digits.next().and_then(value).ok_or(NotAGuid);
            *byte = digit()? << 4 | digit()?;
        }
        Ok(Self(bytes))
    }
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Guid {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Guid {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_spellings_are_read_and_no_other() {
        let plain = "7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab";
        let guid: Guid = plain.parse().expect("a GUID");
        assert_eq!(guid.0[..5], [0x7f, 0x8d, 0x2c, 0x3e, 0x0b]);
        assert_eq!(guid.to_string(), plain);
        assert_eq!("{7F8D2C3E-0B1A-4C5D-9E6F-0123456789AB}".parse(), Ok(guid));
        for bad in [
            "",
            "7f8d2c3e0b1a4c5d9e6f0123456789ab",
            "7f8d2c3e-0b1a-4c5d-9e6f-0123456789a",
            "7f8d2c3e-0b1a-4c5d-9e6f-0123456789ag",
            "{7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab",
            "7f8d2c3-e0b1a-4c5d-9e6f-0123456789ab",
        ] {
            assert_eq!(bad.parse::<Guid>(), Err(NotAGuid), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in any::<[u8; 16]>()) {
            prop_assert_eq!(Guid(bytes).to_string().parse(), Ok(Guid(bytes)));
        }
    }
}
