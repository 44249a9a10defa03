//! Which group a device belongs to. The rule: a group is one GUID, wherever it came from, and who has none shares with
//! those behind the same public address alone.

use super::DownloadMode;
use super::settings::{Dialect, Policies};
use crate::tracker::Guid;
use larder_content::hash::of_piece;
use std::collections::BTreeMap;
use std::fmt;

/// `DOGroupIdSource`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GroupSource {
    /// 1.
    AdSite,
    /// 2.
    DomainSid,
    /// 3: the GUID in DHCP option 234.
    DhcpOption,
    /// 4.
    DnsSuffix,
    /// 5, newer than the seed.
    EntraTenant,
}

impl GroupSource {
    /// The source of this number; None for 0, and for what is none: "if you set the value to anything other than 0-4,
    /// the policy is ignored" (seed: Select the source of Group IDs). The newer reference knows 5.
    #[must_use]
    pub const fn of(number: u64, dialect: Dialect) -> Option<Self> {
        match (number, dialect) {
            (1, _) => Some(Self::AdSite),
            (2, _) => Some(Self::DomainSid),
            (3, _) => Some(Self::DhcpOption),
            (4, _) => Some(Self::DnsSuffix),
            (5, Dialect::Current) => Some(Self::EntraTenant),
            _ => None,
        }
    }
}

impl fmt::Display for GroupSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AdSite => "the AD site",
            Self::DomainSid => "the domain's SID",
            Self::DhcpOption => "DHCP option 234",
            Self::DnsSuffix => "the DNS suffix",
            Self::EntraTenant => "the Entra tenant",
        })
    }
}

/// What the network around a device is called, as far as it could be found out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// The site in the directory.
    pub ad_site: Option<String>,
    /// The SID of the domain that the device is authenticated to.
    pub domain_sid: Option<String>,
    /// The text of DHCP option 234.
    pub dhcp_option: Option<String>,
    /// The DNS suffix of the connection.
    pub dns_suffix: Option<String>,
    /// The tenant's id.
    pub entra_tenant: Option<String>,
    /// Why a source that was looked for is not known.
    pub troubles: BTreeMap<GroupSource, String>,
}

impl Names {
    /// Takes in what was found out of a source, or why it was not.
    pub fn learn(&mut self, source: GroupSource, found: Result<String, String>) {
        let place = match source {
            GroupSource::AdSite => &mut self.ad_site,
            GroupSource::DomainSid => &mut self.domain_sid,
            GroupSource::DhcpOption => &mut self.dhcp_option,
            GroupSource::DnsSuffix => &mut self.dns_suffix,
            GroupSource::EntraTenant => &mut self.entra_tenant,
        };
        match found {
            Ok(name) => {
                *place = Some(name);
                self.troubles.remove(&source);
            }
            Err(why) => {
                *place = None;
                self.troubles.insert(source, why);
            }
        }
    }

    /// What is known once more is asked: what can not be found out now is what it was, since a controller or a server that
    /// is away for a while moves nobody to another group.
    #[must_use]
    pub fn or_before(mut self, before: &Self) -> Self {
        for source in self.troubles.clone().into_keys() {
            if let Some(name) = before.of(source) {
                self.learn(source, Ok(name.to_owned()));
            }
        }
        self
    }

    /// Why a group is not the one that a source was to name, in words; empty where it is.
    #[must_use]
    pub fn trouble(&self, group: &Group) -> String {
        let Group::SamePublicAddress {
            silent: Some(source),
        } = group
        else {
            return String::new();
        };
        match (self.troubles.get(source), self.of(*source)) {
            (Some(why), _) => format!(" ({why})"),
            (None, Some(text)) => format!(" ({text:?} is no GUID)"),
            (None, None) => String::new(),
        }
    }

    fn of(&self, source: GroupSource) -> Option<&str> {
        let name = match source {
            GroupSource::AdSite => &self.ad_site,
            GroupSource::DomainSid => &self.domain_sid,
            GroupSource::DhcpOption => &self.dhcp_option,
            GroupSource::DnsSuffix => &self.dns_suffix,
            GroupSource::EntraTenant => &self.entra_tenant,
        };
        name.as_deref()
            .map(str::trim)
            .filter(|name| !name.is_empty())
    }
}

/// Where a group comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupFrom {
    /// `DOGroupID`.
    Configured,
    /// `DOGroupIdSource`, or what is taken where neither is set.
    Source(GroupSource),
}

impl fmt::Display for GroupFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("DOGroupID"),
            Self::Source(source) => write!(f, "{source}"),
        }
    }
}

/// With whom a device shares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// Groups mean nothing in this mode.
    None,
    /// With those of this group.
    Of(Guid, GroupFrom),
    /// With those behind the same public address.
    SamePublicAddress {
        /// The source that was to name a group and named none, or no GUID.
        silent: Option<GroupSource>,
    },
}

impl Group {
    /// The group's id, where it has one.
    #[must_use]
    pub const fn id(&self) -> Option<Guid> {
        match self {
            Self::Of(id, _) => Some(*id),
            Self::None | Self::SamePublicAddress { .. } => None,
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no group (DODownloadMode is not 2)"),
            Self::Of(id, from) => write!(f, "the group {id}, from {from}"),
            Self::SamePublicAddress { silent: None } => {
                f.write_str("those behind the same public address, since no group is set")
            }
            Self::SamePublicAddress {
                silent: Some(source),
            } => write!(
                f,
                "those behind the same public address, since {source} names no group"
            ),
        }
    }
}

/// The group of this device. By the seed `DOGroupIdSource` beats `DOGroupID`; by the newer reference it is the other way
/// round. Where neither is set, it is the AD site, else the domain (seed: Group ID).
#[must_use]
pub fn group(policies: &Policies, names: &Names) -> Group {
    if policies.mode != DownloadMode::Group {
        return Group::None;
    }
    let configured = policies
        .group_id
        .map(|id| Group::Of(id, GroupFrom::Configured));
    let sourced = policies.group_source.map(|source| from(source, names));
    let (first, second) = match policies.dialect {
        Dialect::Y2018 => (sourced, configured),
        Dialect::Current => (configured, sourced),
    };
    first.or(second).unwrap_or_else(|| {
        let usual = [GroupSource::AdSite, GroupSource::DomainSid];
        let named = usual.into_iter().find(|source| names.of(*source).is_some());
        let silent = usual
            .into_iter()
            .find(|source| names.troubles.contains_key(source));
        named.map_or(Group::SamePublicAddress { silent }, |source| {
            from(source, names)
        })
    })
}

/// What has to be found out for [`group`] to decide. Where neither a group nor a source is set, `AdSite` and `DomainSid`
/// are for machines that belong to a domain alone: see [`is_usual`].
#[must_use]
pub fn wanted(policies: &Policies) -> Vec<GroupSource> {
    if policies.mode != DownloadMode::Group {
        return Vec::new();
    }
    match (policies.dialect, policies.group_id, policies.group_source) {
        (Dialect::Current, Some(_), _) | (Dialect::Y2018, Some(_), None) => Vec::new(),
        (_, _, Some(source)) => vec![source],
        (_, None, None) => vec![GroupSource::AdSite, GroupSource::DomainSid],
    }
}

/// Whether sources are looked for that nobody has asked for.
#[must_use]
pub fn is_usual(policies: &Policies) -> bool {
    policies.group_source.is_none()
}

fn from(source: GroupSource, names: &Names) -> Group {
    let id = names.of(source).and_then(|name| match source {
        GroupSource::DhcpOption => name.parse().ok(),
        _ => Some(id_of(source, name)),
    });
    match id {
        Some(id) => Group::Of(id, GroupFrom::Source(source)),
        None => Group::SamePublicAddress {
            silent: Some(source),
        },
    }
}

/// The GUID of a group that is named by something else. How Windows derives it is not published, so it is larder's own:
/// a hash of the name in lower case, as a GUID of version 8 (RFC 9562, section 5.8).
fn id_of(source: GroupSource, name: &str) -> Guid {
    let text = format!("larder group\n{source}\n{}", name.to_lowercase());
    let hash = of_piece(text.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Guid(bytes)
}
