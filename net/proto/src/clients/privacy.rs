//! How a client's address is shown. The rule: whatever is shown of it anywhere has gone through here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What may be seen of addresses of clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Privacy {
    /// All of them.
    #[default]
    Full,
    /// The network: 24 bits of an IPv4 address, 64 of an IPv6 one.
    Subnet,
    /// A name that stays the same while the process runs, and says nothing.
    Hashed,
}

impl Privacy {
    /// As it is written in a configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Subnet => "subnet",
            Self::Hashed => "hashed",
        }
    }
}

/// An address as it is shown. `hash` must need a key that nobody has: there are few enough addresses to try them all.
#[must_use]
pub fn shown(address: IpAddr, privacy: Privacy, hash: impl FnOnce(IpAddr) -> u64) -> String {
    let address = address.to_canonical();
    match (privacy, address) {
        (Privacy::Full, address) => address.to_string(),
        (Privacy::Subnet, IpAddr::V4(v4)) => {
            let [a, b, c, _] = v4.octets();
            format!("{}/24", Ipv4Addr::new(a, b, c, 0))
        }
        (Privacy::Subnet, IpAddr::V6(v6)) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        (Privacy::Hashed, address) => format!("client-{:012x}", hash(address) >> 16),
    }
}
