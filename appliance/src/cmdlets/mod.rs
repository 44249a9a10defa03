//! What the seed's cmdlets tell, of a running appliance (seed: Windows PowerShell cmdlets for analyzing usage). The rule:
//! a key has the name that the newest reference gives it and the meaning that the seed gives it (facts: clients, section
//! 5); no percentage is over 100, since each is of a whole that holds its part.

pub(crate) mod perfsnap;
pub(crate) mod rates;
pub(crate) mod status;

/// A part of a whole in percent, to two places; 0 of nothing.
pub(crate) fn percent(part: u64, all: u64) -> f64 {
    let hundredths = u128::from(part.min(all)) * 10_000 / u128::from(all.max(1));
    // At most 10,000.
    f64::from(u32::try_from(hundredths).unwrap_or(10_000)) / 100.0
}

/// The GUID that a file is known by: the one that its URL names, else one that is made of the key of its URL (RFC 9562,
/// section 5.8).
pub(crate) fn file_id(key: &[u8; 32], url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let last = path.rsplit('/').next().unwrap_or(path);
    if is_guid(last) {
        return last.to_ascii_lowercase();
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&key[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
    parts.join("-")
}

fn is_guid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    let is_digit = |byte: u8| byte == b'-' || byte.is_ascii_hexdigit();
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_percentage_is_over_a_hundred() {
        for (part, all, expected) in [
            (0, 0, 0.0),
            (1, 0, 0.0),
            (1, 3, 33.33),
            (3, 3, 100.0),
            (2916, 100, 100.0),
            (u64::MAX, u64::MAX, 100.0),
        ] {
            assert_eq!(percent(part, all), expected, "{part} of {all}");
        }
    }

    #[test]
    fn a_file_has_the_guid_of_its_url_or_one_of_its_own() {
        let key = std::array::from_fn(|at| 0xf0 + u8::try_from(at % 16).expect("small"));
        let made = "f0f1f2f3-f4f5-86f7-b8f9-fafbfcfdfeff";
        for (url, id) in [
            (
                "http://a.example/filestreamingservice/files/1F0C7A52-3d1e-4b8a-9c55-6f2f0b1d7e43?P1=1",
                "1f0c7a52-3d1e-4b8a-9c55-6f2f0b1d7e43",
            ),
            ("http://a.example/x.cab", made),
            (
                "http://a.example/1f0c7a52-3d1e-4b8a-9c55-6f2f0b1d7e4x",
                made,
            ),
        ] {
            assert_eq!(file_id(&key, url), id, "{url}");
        }
    }
}
