//! Leases as the DHCP clients of Linux write them down. The rule: of the leases of one file the last one holds, and what is
//! not understood of a file is passed over.

use super::Options;

/// A lease of systemd-networkd (or of NetworkManager's older client of the same origin): `OPTION_234=7b37..`, bytes in
/// hexadecimal.
#[must_use]
pub fn networkd(text: &str) -> Options {
    let lines = text.lines().filter_map(|line| {
        let (number, value) = line.trim().strip_prefix("OPTION_")?.split_once('=')?;
        let pairs = value.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = pairs.map(of_hex).collect();
        Some((number.parse().ok()?, bytes?))
    });
    lines.collect()
}

fn of_hex(pair: &[u8]) -> Option<u8> {
    match pair {
        [_, _] => u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok(),
        _ => None,
    }
}

/// A file of ISC's dhclient, which NetworkManager may use as well: `option unknown-234 "{7f8d..}";`, or bytes in
/// hexadecimal with colons between. Later leases stand further below.
#[must_use]
pub fn dhclient(text: &str) -> Options {
    let mut options = Options::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("lease") && line.ends_with('{') {
            options.clear();
        } else if let Some((number, value)) = unknown(line) {
            options.insert(number, value);
        }
    }
    options
}

fn unknown(line: &str) -> Option<(u8, Vec<u8>)> {
    let (number, value) = line
        .strip_prefix("option unknown-")?
        .strip_suffix(';')?
        .split_once(' ')?;
    let number = number.parse().ok()?;
    let value = value.trim();
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?.replace("\\\"", "\"").into_bytes(),
        None => {
            let bytes: Option<_> = value
                .split(':')
                .map(|byte| u8::from_str_radix(byte, 16).ok())
                .collect();
            bytes?
        }
    };
    Some((number, value))
}
