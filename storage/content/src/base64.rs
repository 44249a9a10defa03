//! Base64 (RFC 4648, sections 4 and 5): of any bytes, and of the 32 of a hash as piece-hash files and content ids spell
//! them. The rule: one hash has one spelling in each alphabet; bits beyond its 32 bytes must be zero.

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Characters that a hash takes, without the padding (one `=`).
const HASH_DIGITS: usize = 43;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// With `+`, `/` and padding.
    Standard,
    /// With `-` and `_`; written without padding, read with it or without.
    Url,
}

impl Alphabet {
    const fn digits(self) -> &'static [u8; 64] {
        match self {
            Self::Standard => STANDARD,
            Self::Url => URL,
        }
    }

    fn value(self, digit: u8) -> Option<u32> {
        Some(match digit {
            b'A'..=b'Z' => u32::from(digit - b'A'),
            b'a'..=b'z' => u32::from(digit - b'a') + 26,
            b'0'..=b'9' => u32::from(digit - b'0') + 52,
            _ if digit == self.digits()[62] => 62,
            _ if digit == self.digits()[63] => 63,
            _ => return None,
        })
    }
}

/// These bytes in the standard alphabet, with padding.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = digits(Alphabet::Standard, bytes);
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

pub(crate) fn encode_hash(alphabet: Alphabet, hash: &[u8; 32]) -> String {
    match alphabet {
        Alphabet::Standard => encode(hash),
        Alphabet::Url => digits(alphabet, hash),
    }
}

fn digits(alphabet: Alphabet, bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    let mut put = |bits: u32| text.push(char::from(alphabet.digits()[(bits & 63) as usize]));
    let (mut bits, mut held) = (0_u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        while held >= 6 {
            held -= 6;
            put(bits >> held);
        }
    }
    if held > 0 {
        // The last digit holds what is left, and zeros.
        put(bits << (6 - held));
    }
    text
}

pub(crate) fn decode_hash(alphabet: Alphabet, text: &str) -> Option<[u8; 32]> {
    let text = text.as_bytes();
    let digits = match (alphabet, text.strip_suffix(b"=")) {
        (_, Some(digits)) => digits,
        (Alphabet::Url, None) => text,
        (Alphabet::Standard, None) => return None,
    };
    if digits.len() != HASH_DIGITS {
        return None;
    }
    let mut hash = [0; 32];
    let (mut bits, mut held, mut at) = (0_u32, 0, 0);
    for digit in digits {
        bits = bits << 6 | alphabet.value(*digit)?;
        held += 6;
        if held >= 8 {
            held -= 8;
            hash[at] = (bits >> held & 0xFF) as u8;
            at += 1;
        }
    }
    (bits & 3 == 0).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_spelling_is_that_of_the_vendors_files() {
        let text = "J/rmYNjGCeAgcDu0Y7ZgHmKBHcddsZl1vLfWjZWbUn0=";
        let hash = decode_hash(Alphabet::Standard, text).unwrap();
        assert_eq!(hash[..3], [0x27, 0xFA, 0xE6]);
        assert_eq!(encode_hash(Alphabet::Standard, &hash), text);
        let url = text.replace('/', "_").replace('=', "");
        assert_eq!(encode_hash(Alphabet::Url, &hash), url);
        assert_eq!(decode_hash(Alphabet::Url, &(url + "=")), Some(hash));
    }

    #[test]
    fn other_spellings_are_refused() {
        let good = encode_hash(Alphabet::Standard, &[0xFF; 32]);
        assert!(decode_hash(Alphabet::Standard, &good).is_some());
        for bad in [
            good.replace("8=", "9="),
            good.replace('=', ""),
            good.clone() + "=",
            good.replacen('/', "_", 1),
            good.replacen('/', " ", 1),
            String::new(),
        ] {
            assert_eq!(decode_hash(Alphabet::Standard, &bad), None, "{bad}");
        }
    }

    #[test]
    fn bytes_of_any_number_are_spelled_as_the_standard_does() {
        // RFC 4648, section 10.
        let spelled = [
            "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy",
        ];
        for (count, spelled) in spelled.iter().enumerate() {
            assert_eq!(encode(&b"foobar"[..count]), *spelled);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(hash in any::<[u8; 32]>()) {
            for alphabet in [Alphabet::Standard, Alphabet::Url] {
                prop_assert_eq!(decode_hash(alphabet, &encode_hash(alphabet, &hash)), Some(hash));
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = decode_hash(Alphabet::Standard, &text);
            let _ = decode_hash(Alphabet::Url, &text);
        }
    }
}
