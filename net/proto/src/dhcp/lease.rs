//! Leases as the DHCP clients of Linux write them down. The rule: of the leases of one file the last one holds, and what is
//! not understood of a file is passed over.

use super::Options;
use std::net::Ipv4Addr;

/// What a lease says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lease {
    /// The address that was leased, by which it is known whether it is this machine's now.
    pub address: Option<Ipv4Addr>,
    /// What came with it.
    pub options: Options,
}

/// A lease as dhcpcd keeps it: the server's message itself.
#[must_use]
pub fn dhcpcd(message: &[u8]) -> Option<Lease> {
    let options = super::options(message).ok()?;
    let address: [u8; 4] = message.get(16..20)?.try_into().ok()?;
    Some(Lease {
        address: Some(Ipv4Addr::from(address)),
        options,
    })
}

/// A lease of systemd-networkd (or of NetworkManager's older client of the same origin): `OPTION_234=7b37..`, bytes in
/// hexadecimal.
#[must_use]
pub fn networkd(text: &str) -> Lease {
    let mut addresses = text
        .lines()
        .filter_map(|line| line.strip_prefix("ADDRESS="));
    let lines = text.lines().filter_map(|line| {
        let (number, value) = line.trim().strip_prefix("OPTION_")?.split_once('=')?;
        let pairs = value.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = pairs.map(of_hex).collect();
        Some((number.parse().ok()?, bytes?))
    });
    Lease {
        address: addresses.find_map(|address| address.trim().parse().ok()),
        options: lines.collect(),
    }
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
pub fn dhclient(text: &str) -> Lease {
    let mut lease = Lease::default();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("lease") && line.ends_with('{') {
            lease = Lease::default();
        } else if let Some(address) = line.strip_prefix("fixed-address ") {
            lease.address = address.trim_end_matches(';').trim().parse().ok();
        } else if let Some((number, value)) = unknown(line) {
            lease.options.insert(number, value);
        }
    }
    lease
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
