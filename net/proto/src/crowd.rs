//! How many connections one address may have at once. The rule: only addresses of networks that somebody has written a
//! number for are counted; a whole site may stand behind any other.

use ipnet::IpNet;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Networks that can be given a number.
pub const CROWDS_MAX: usize = 256;

/// Networks in which one machine is one address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CrowdRule {
    /// Which they are.
    pub networks: Vec<IpNet>,
    /// Connections that each address in them may have at once; 0 is any number.
    pub connections_max: u32,
}

/// All that is written of them. Of several networks that an address is in, the smallest counts.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct CrowdRules {
    /// The smallest first.
    networks: Vec<(IpNet, u32)>,
}

impl CrowdRules {
    /// What these rules say together.
    #[must_use]
    pub fn new(rules: &[CrowdRule]) -> Self {
        let each = |rule: &CrowdRule| {
            let max = rule.connections_max;
            let networks = rule.networks.iter().map(move |network| (*network, max));
            networks.collect::<Vec<_>>()
        };
        let mut networks: Vec<_> = rules.iter().flat_map(each).collect();
        networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
        Self { networks }
    }

    /// Whether nobody is counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// How many connections an address may have; None is any number.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<u32> {
        let address = address.to_canonical();
        let mut networks = self.networks.iter();
        let (_, max) = networks.find(|(network, _)| network.contains(&address))?;
        Some(*max).filter(|max| *max > 0)
    }
}

/// The connections of addresses that are counted.
#[derive(Debug, Default)]
pub struct Crowd {
    of_address: HashMap<IpAddr, u32>,
}

/// There are as many from this address as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl Crowd {
    /// One more comes from this address. What it is to leave by, where it is counted.
    ///
    /// # Errors
    /// There are too many from there already; this one is not counted.
    pub fn enter(&mut self, address: IpAddr, rules: &CrowdRules) -> Result<Option<Mark>, Full> {
        let Some(max) = rules.of(address) else {
            return Ok(None);
        };
        let mark = Mark(counted_as(address));
        let count = self.of_address.entry(mark.0).or_default();
        if *count >= max {
            return Err(Full);
        }
        *count += 1;
        Ok(Some(mark))
    }

    /// One of those that have come is gone.
    pub fn leave(&mut self, mark: Mark) {
        if let Some(count) = self.of_address.get_mut(&mark.0) {
            *count -= 1;
            if *count == 0 {
                self.of_address.remove(&mark.0);
            }
        }
    }

    /// Addresses that have a connection.
    #[must_use]
    pub fn len(&self) -> usize {
        self.of_address.len()
    }

    /// Whether nobody is here who is counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of_address.is_empty()
    }
}

/// A connection that was counted; it leaves once.
#[derive(PartialEq, Eq, Debug)]
pub struct Mark(IpAddr);

/// Whoever has one address of a network of 64 bits has all of it.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = v6.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(network).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(networks: &[&str], connections_max: u32) -> CrowdRule {
        let networks = networks.iter().map(|n| n.parse().expect("a network"));
        CrowdRule {
            networks: networks.collect(),
            connections_max,
        }
    }

    fn at(address: &str) -> IpAddr {
        address.parse().expect("an address")
    }

    #[test]
    fn the_smallest_network_says_and_most_say_nothing() {
        let rules = CrowdRules::new(&[
            rule(&["10.0.0.0/8", "fd00::/8"], 64),
            rule(&["10.1.0.0/16"], 8),
            // A site behind one address, within a network of machines.
            rule(&["10.1.2.3/32"], 0),
        ]);
        for (address, max) in [
            ("10.9.9.9", Some(64)),
            ("::ffff:10.9.9.9", Some(64)),
            ("10.1.9.9", Some(8)),
            ("10.1.2.3", None),
            ("10.1.2.4", Some(8)),
            ("fd00::1", Some(64)),
            ("2001:db8::1", None),
            ("192.0.2.1", None),
        ] {
            assert_eq!(rules.of(at(address)), max, "{address}");
        }
        assert_eq!(CrowdRules::default().of(at("10.1.2.3")), None);
    }

    #[test]
    fn who_leaves_makes_room_for_its_own_address() {
        let rules = CrowdRules::new(&[rule(&["10.0.0.0/8"], 2)]);
        let mut crowd = Crowd::default();
        let enter = |crowd: &mut Crowd, address| crowd.enter(at(address), &rules);
        let first = enter(&mut crowd, "10.0.0.1")
            .expect("room")
            .expect("counted");
        let _second = enter(&mut crowd, "::ffff:10.0.0.1").expect("room");
        assert_eq!(enter(&mut crowd, "10.0.0.1"), Err(Full));
        assert!(enter(&mut crowd, "10.0.0.2").is_ok());
        assert_eq!(enter(&mut crowd, "192.0.2.1"), Ok(None));
        crowd.leave(first);
        assert!(enter(&mut crowd, "10.0.0.1").is_ok());
        assert_eq!(enter(&mut crowd, "10.0.0.1"), Err(Full));
        assert_eq!(crowd.len(), 2);
    }

    #[test]
    fn addresses_of_one_small_network_are_one() {
        let rules = CrowdRules::new(&[rule(&["::/0"], 1)]);
        let mut crowd = Crowd::default();
        let mark = crowd.enter(at("2001:db8::1"), &rules).expect("room");
        assert_eq!(crowd.enter(at("2001:db8::ffff:1"), &rules), Err(Full));
        assert!(crowd.enter(at("2001:db8:0:1::1"), &rules).is_ok());
        crowd.leave(mark.expect("counted"));
        assert!(crowd.enter(at("2001:db8::2"), &rules).is_ok());
    }
}
