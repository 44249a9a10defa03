//! A peer as it is kept: what a join comes to once it is clear who said it and from where. The rule: 48 bytes, whoever
//! keeps them, and nothing in them that the caller could not have.

use super::guid::Guid;
use super::message::{DownloadMode, JoinEvent, JoinRequest, PEERS_WANTED_MAX};
use super::site::{Site, Sites};
use larder_content::ContentId;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of an encoded member.
pub const MEMBER_BYTES: usize = 48;

const INTERNET: u8 = 1;
const PREFERRED: u8 = 2;
const SUBNET_ONLY: u8 = 4;
const SEED: u8 = 8;

/// A peer of one content. Addresses of nothing but zeros are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// The peer.
    pub peer_id: Guid,
    /// Its own IPv6 address.
    pub v6: Ipv6Addr,
    /// Its own IPv4 address.
    pub v4: Ipv4Addr,
    /// The IPv4 address at which the coordinator sees it.
    pub seen_v4: Ipv4Addr,
    /// The TCP port on its own addresses.
    pub port: u16,
    /// The TCP port on the address at which it is seen; 0 where none leads to it.
    pub external_port: u16,
    /// Peers that it uploads to.
    pub load: u16,
    /// Bits of the network that its IPv4 address lies in.
    pub net_bits: u8,
    flags: u8,
}

impl Member {
    /// It meets peers anywhere (mode 3).
    #[must_use]
    pub const fn is_internet(&self) -> bool {
        self.flags & INTERNET != 0
    }

    /// It keeps what it has for ever.
    #[must_use]
    pub const fn is_preferred(&self) -> bool {
        self.flags & PREFERRED != 0
    }

    /// It meets peers of its own subnet alone.
    #[must_use]
    pub const fn is_subnet_only(&self) -> bool {
        self.flags & SUBNET_ONLY != 0
    }

    /// It has all of the content.
    #[must_use]
    pub const fn is_seed(&self) -> bool {
        self.flags & SEED != 0
    }

    /// The member as bytes, for a place that keeps nothing else.
    #[must_use]
    pub fn encode(&self) -> [u8; MEMBER_BYTES] {
        let mut bytes = [0; MEMBER_BYTES];
        bytes[..16].copy_from_slice(&self.peer_id.0);
        bytes[16..32].copy_from_slice(&self.v6.octets());
        bytes[32..36].copy_from_slice(&self.v4.octets());
        bytes[36..40].copy_from_slice(&self.seen_v4.octets());
        bytes[40..42].copy_from_slice(&self.port.to_be_bytes());
        bytes[42..44].copy_from_slice(&self.external_port.to_be_bytes());
        bytes[44..46].copy_from_slice(&self.load.to_be_bytes());
        bytes[46] = self.net_bits;
        bytes[47] = self.flags;
        bytes
    }

    /// The opposite; None where the bytes are not as many.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; MEMBER_BYTES] = bytes.try_into().ok()?;
        let four =
            |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap_or([0; 4]));
        let two = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        Some(Self {
            peer_id: Guid(bytes[..16].try_into().ok()?),
            v6: Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[16..32]).ok()?),
            v4: four(32),
            seen_v4: four(36),
            port: two(40),
            external_port: two(42),
            load: two(44),
            net_bits: bytes[46].min(32),
            flags: bytes[47],
        })
    }
}

/// Who can meet whom: the members of one group, or those without one, at one site.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Room {
    /// The group; None for those that belong to none.
    pub group: Option<Guid>,
    /// Where they are.
    pub site: Site,
}

/// What becomes of the caller by its join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stay {
    /// It is a peer, and others are told of it.
    Known,
    /// It is told of others, and nobody of it.
    Silent,
    /// It meets nobody: it leaves, or its mode has no peers.
    Gone,
}

/// A join once it is clear who said it and from where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joining {
    /// Which content.
    pub content: ContentId,
    /// Whom it can meet nearby.
    pub room: Room,
    /// The caller as it is kept.
    pub member: Member,
    /// What becomes of it.
    pub stay: Stay,
    /// How many others it is told of, at most.
    pub wanted: usize,
    /// Those that it could not reach.
    pub unreachable: Vec<Guid>,
}

impl Joining {
    /// What a join comes to that was seen from this address.
    #[must_use]
    pub fn of(join: &JoinRequest, seen: IpAddr, sites: &Sites) -> Self {
        let seen = seen.to_canonical();
        let reported: Vec<IpAddr> = join
            .reported_ip
            .iter()
            .map(IpAddr::to_canonical)
            .filter(|ip| sites.may_report(seen, *ip))
            .collect();
        let site = sites.of(seen, &reported);
        let mode = join.download_mode;
        // The address that it is seen at is the one that is known to work, where it is its own.
        let own = |v4: bool| {
            let mut of_family = reported.iter().filter(|ip| ip.is_ipv4() == v4);
            let is_seen = of_family.clone().any(|ip| *ip == seen);
            let first = if is_seen {
                Some(&seen)
            } else {
                of_family.next()
            };
            first.or_else(|| (reported.is_empty() && seen.is_ipv4() == v4).then_some(&seen))
        };
        let v4 = match own(true) {
            Some(IpAddr::V4(ip)) => *ip,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        let v6 = match own(false) {
            Some(IpAddr::V6(ip)) => *ip,
            _ => Ipv6Addr::UNSPECIFIED,
        };
        let bit = |flag: u8, is_set: bool| if is_set { flag } else { 0 };
        let subnet_only = join.restrict_peer_selection_by == 1
            && matches!(mode, DownloadMode::Lan | DownloadMode::Group);
        let member = Member {
            peer_id: join.peer_id,
            v6,
            v4,
            // Loopback is where nobody else is.
            seen_v4: match seen {
                IpAddr::V4(ip) if !ip.is_loopback() => ip,
                _ => Ipv4Addr::UNSPECIFIED,
            },
            port: join.port,
            external_port: join.external_port.unwrap_or(0),
            load: join.upload_connections,
            // Without a mask the network is as wide as such networks are.
            net_bits: join.subnet_mask.map_or(24, |mask| {
                u8::try_from(u32::from(mask).leading_ones()).unwrap_or(32)
            }),
            flags: bit(INTERNET, mode == DownloadMode::Internet)
                | bit(PREFERRED, join.preferred)
                | bit(SUBNET_ONLY, subnet_only)
                | bit(
                    SEED,
                    join.left == Some(0) || join.join_request_event == JoinEvent::Completed,
                ),
        };
        let meets = matches!(
            mode,
            DownloadMode::Lan | DownloadMode::Group | DownloadMode::Internet
        );
        let stay = if !meets || join.join_request_event == JoinEvent::Stopped {
            Stay::Gone
        } else if join.restricted_upload || join.port == 0 {
            Stay::Silent
        } else {
            Stay::Known
        };
        Self {
            content: join.content_id,
            room: Room {
                // A group means something in its own mode alone (seed: Group ID).
                group: join.group_id.filter(|_| mode == DownloadMode::Group),
                site,
            },
            member,
            stay,
            wanted: if stay == Stay::Gone {
                0
            } else {
                join.peers_wanted.min(PEERS_WANTED_MAX).into()
            },
            unreachable: join.unreachable.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(mut bytes in any::<[u8; MEMBER_BYTES]>()) {
            bytes[46] %= 33;
            let member = Member::decode(&bytes).expect("as many");
            prop_assert_eq!(member.encode(), bytes);
        }
    }

    #[test]
    fn a_member_has_the_addresses_it_can_have() {
        let sites = Sites::default();
        let mut join = JoinRequest::new(ContentId([1; 32]), Guid([2; 16]), 7680, DownloadMode::Lan);
        let of = |join: &JoinRequest, seen: &str| {
            Joining::of(join, seen.parse().expect("an address"), &sites)
        };
        let ips = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.parse().expect("an address"))
                .collect()
        };
        assert_eq!(of(&join, "10.0.0.7").member.v4, Ipv4Addr::new(10, 0, 0, 7));
        join.reported_ip = ips(&["127.0.0.1", "192.168.0.7", "10.0.0.7", "2001:db8::7"]);
        let near = of(&join, "10.0.0.7").member;
        assert_eq!(
            (near.v4, near.seen_v4),
            (Ipv4Addr::new(10, 0, 0, 7), near.v4)
        );
        assert_eq!(
            near.v6,
            "2001:db8::7".parse::<Ipv6Addr>().expect("an address")
        );
        let far = of(&join, "203.0.113.7").member;
        assert_eq!(far.v4, Ipv4Addr::new(192, 168, 0, 7));
        assert_eq!(far.seen_v4, Ipv4Addr::new(203, 0, 113, 7));
        // Nothing that it reports can be its own: then it is what is seen.
        join.reported_ip = ips(&["198.51.100.7"]);
        assert_eq!(
            of(&join, "203.0.113.7").member.v4,
            Ipv4Addr::new(203, 0, 113, 7)
        );
    }

    #[test]
    fn modes_without_peers_leave_nothing_behind() {
        let sites = Sites::default();
        let seen = IpAddr::from([10, 0, 0, 7]);
        for (mode, stay) in [
            (DownloadMode::HttpOnly, Stay::Gone),
            (DownloadMode::Lan, Stay::Known),
            (DownloadMode::Group, Stay::Known),
            (DownloadMode::Internet, Stay::Known),
            (DownloadMode::Simple, Stay::Gone),
            (DownloadMode::Bypass, Stay::Gone),
        ] {
            let mut join = JoinRequest::new(ContentId([1; 32]), Guid([2; 16]), 7680, mode);
            join.peers_wanted = 500;
            join.group_id = Some(Guid([3; 16]));
            let joining = Joining::of(&join, seen, &sites);
            assert_eq!(joining.stay, stay, "{mode:?}");
            assert_eq!(joining.wanted, if stay == Stay::Gone { 0 } else { 100 });
            assert_eq!(joining.room.group.is_some(), mode == DownloadMode::Group);
            join.restricted_upload = true;
            let silent = Joining::of(&join, seen, &sites).stay;
            assert_eq!(silent == Stay::Silent, stay == Stay::Known, "{mode:?}");
            join.join_request_event = JoinEvent::Stopped;
            assert_eq!(Joining::of(&join, seen, &sites).stay, Stay::Gone);
        }
    }
}
