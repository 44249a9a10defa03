//! Lines to appliances elsewhere, as an administrator names them. The rule: a link is used where it costs less than the
//! origin, and what is on no link is none of this.

use ipnet::IpNet;
use std::net::IpAddr;

/// What a byte from the origin costs where nothing else is configured. Costs are compared, nothing else.
pub const ORIGIN_COST: u32 = 100;

/// What a byte over a link costs where nothing else is configured.
pub const LINK_COST: u32 = 10;

/// Links that can be named.
pub const LINKS_MAX: usize = 32;

/// Appliances at the other end of one link.
pub const ENDS_MAX: usize = 8;

/// An appliance at the other end of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// Its name, or its address without brackets.
    pub host: String,
    /// Where it takes peers.
    pub port: u16,
}

/// A line to appliances elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Its name, in figures and in the log.
    pub name: String,
    /// The appliances at its other end.
    pub ends: Vec<End>,
    /// Networks besides their addresses that are behind it: from where they, and others there, come.
    pub networks: Vec<IpNet>,
    /// What a byte over it costs.
    pub cost: u32,
    /// Bytes a second in each direction, of all connections and contents together; 0 is no limit.
    pub bytes_per_second_max: u64,
}

impl Link {
    /// Whether an address is behind it by what the configuration says alone.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|net| net.contains(&address))
            || self.ends.iter().any(|end| end.address() == Some(address))
    }

    /// Whether anything is to be fetched over it where the origin costs so much.
    #[must_use]
    pub const fn is_cheaper_than(&self, origin_cost: u32) -> bool {
        self.cost < origin_cost
    }
}

impl End {
    /// Its address, where it is named by one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        let address: IpAddr = self.host.parse().ok()?;
        Some(address.to_canonical())
    }

    /// Reads `host`, `host:port`, `address:port` or `[address]:port`. Without a port it is that of peers.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let port = crate::swarm::PORT;
        if let Ok(address) = text.parse::<IpAddr>() {
            let host = address.to_string();
            return Some(Self { host, port });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().ok().filter(|port| *port != 0)?)
            }
            _ => (text, port),
        };
        let bare = match host.strip_prefix('[') {
            Some(host) => host.strip_suffix(']').filter(|host| host.contains(':'))?,
            None => host,
        };
        let is_address = bare.parse::<IpAddr>().is_ok();
        let of_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
        let is_name = !bare.is_empty() && bare.len() <= 253 && bare.chars().all(of_name);
        // Digits and dots that are no address are a slip, and not a name that anybody has.
        let is_slip = bare.chars().all(|c| c.is_ascii_digit() || c == '.');
        (is_address || (is_name && !is_slip && !host.starts_with('['))).then(|| Self {
            host: bare.to_ascii_lowercase(),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_name_or_an_address_with_or_without_a_port() {
        let end = |host: &str, port| {
            Some(End {
                host: host.to_owned(),
                port,
            })
        };
        for (text, wanted) in [
            (
                "larder.hamburg.example",
                end("larder.hamburg.example", 7680),
            ),
            ("Larder:7681", end("larder", 7681)),
            ("203.0.113.12", end("203.0.113.12", 7680)),
            ("203.0.113.12:17680", end("203.0.113.12", 17680)),
            ("2001:db8::7", end("2001:db8::7", 7680)),
            ("[2001:db8::7]:99", end("2001:db8::7", 99)),
            ("[2001:db8::7]", end("2001:db8::7", 7680)),
            ("", None),
            (":7680", None),
            ("larder:0", None),
            ("larder:x", None),
            ("http://larder", None),
            ("10.2.0.0/16", None),
            ("10.2.0.300", None),
            ("[larder]:7680", None),
            ("a b", None),
        ] {
            assert_eq!(End::read(text), wanted, "{text}");
        }
    }

    #[test]
    fn an_address_is_behind_the_link_that_names_it() {
        let link = Link {
            name: "hamburg".to_owned(),
            ends: vec![
                End::read("203.0.113.12").unwrap(),
                End::read("larder").unwrap(),
            ],
            networks: vec!["10.2.0.0/16".parse().unwrap()],
            cost: 10,
            bytes_per_second_max: 0,
        };
        let has = |text: &str| link.has(text.parse().unwrap());
        assert!(has("203.0.113.12") && has("::ffff:203.0.113.12") && has("10.2.7.7"));
        assert!(!has("203.0.113.13") && !has("10.3.0.1"));
        assert!(link.is_cheaper_than(11) && !link.is_cheaper_than(10));
    }
}
