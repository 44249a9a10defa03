//! Whether this device may take pieces from peers, and give pieces to them. The rule: what can not be found out about a
//! device is no reason to keep it from peering, but for a battery whose charge is not known.

use super::PeerType;
use super::mode::{self, Taken};
use super::settings::{GB, Policies};
use std::fmt;

/// What a device runs on when it is not plugged in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Battery {
    /// How full it is, in percent; None where it does not say.
    pub percent: Option<u8>,
}

/// What a device is at this moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Memory that programs could have, in bytes: "available RAM" (seed: Minimum RAM).
    pub ram_available_bytes: Option<u64>,
    /// The capacity of the drive that the cache lies on, in bytes.
    pub disk_bytes: Option<u64>,
    /// The interface by which the device is connected via VPN, if it is.
    pub vpn: Option<String>,
    /// The battery, where it runs on one.
    pub battery: Option<Battery>,
}

/// Why not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bar {
    /// The mode of the download has no peers, or none of this kind.
    Mode(Taken),
    /// `DOMinRAMAllowedToPeer`.
    Ram {
        /// What is available, in bytes.
        has: u64,
        /// What is asked for.
        needs: u64,
    },
    /// `DOMinDiskSizeAllowedToPeer`.
    Disk {
        /// What the drive has, in bytes.
        has: u64,
        /// What is asked for.
        needs: u64,
    },
    /// `DOAllowVPNPeerCaching`.
    Vpn(String),
    /// `DOMinBatteryPercentageAllowedToUpload`.
    Battery {
        /// How full it is.
        has: Option<u8>,
        /// What is asked for; None: never on battery.
        needs: Option<u8>,
    },
    /// On battery only peers of the LAN and of the group are served, whatever its charge.
    BatteryElsewhere,
    /// `DORestrictPeerSelectionBy`: the peer is in another subnet.
    Subnet,
    /// `DOMonthlyUploadDataCap` is reached: of Internet peers.
    Month {
        /// What it is, in bytes.
        cap: u64,
    },
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode(taken) => write!(
                f,
                "download mode {} has no such peers ({})",
                u8::from(taken.mode),
                taken.why
            ),
            Self::Ram { has, needs } => write!(
                f,
                "{} of memory are available, and DOMinRAMAllowedToPeer asks for {}",
                gb(*has),
                gb(*needs)
            ),
            Self::Disk { has, needs } => write!(
                f,
                "the drive of the cache has {}, and DOMinDiskSizeAllowedToPeer asks for {}",
                gb(*has),
                gb(*needs)
            ),
            Self::Vpn(name) => write!(
                f,
                "the device is connected by the VPN {name}, and DOAllowVPNPeerCaching is not set"
            ),
            Self::Battery { needs: None, .. } => f.write_str(
                "it runs on battery, and DOMinBatteryPercentageAllowedToUpload is not set",
            ),
            Self::Battery {
                has: None,
                needs: Some(needs),
            } => write!(
                f,
                "it runs on a battery that does not say how full it is, and \
                 DOMinBatteryPercentageAllowedToUpload asks for {needs} %"
            ),
            Self::Battery {
                has: Some(has),
                needs: Some(needs),
            } => write!(
                f,
                "its battery is at {has} %, and DOMinBatteryPercentageAllowedToUpload asks for {needs} %"
            ),
            Self::BatteryElsewhere => {
                f.write_str("it runs on battery, which serves peers of the LAN and the group only")
            }
            Self::Subnet => f.write_str(
                "the peer is in another subnet, and DORestrictPeerSelectionBy asks for the same",
            ),
            Self::Month { cap } => write!(
                f,
                "the {} of DOMonthlyUploadDataCap have left in this month",
                gb(*cap)
            ),
        }
    }
}

/// Bytes as GB, to a tenth.
fn gb(bytes: u64) -> String {
    let tenths = u128::from(bytes) * 10 / u128::from(GB);
    format!("{}.{} GB", tenths / 10, tenths % 10)
}

/// What holds for taking and giving alike (seed: Minimum RAM, Minimum disk size, Enable Peer Caching while the device
/// connects via VPN).
fn may_peer(policies: &Policies, facts: &Facts, taken: Taken) -> Result<(), Bar> {
    if !mode::peers(taken.mode) {
        return Err(Bar::Mode(taken));
    }
    if let Some(has) = facts.ram_available_bytes
        && has < policies.ram_bytes_min
    {
        let needs = policies.ram_bytes_min;
        return Err(Bar::Ram { has, needs });
    }
    if let Some(has) = facts.disk_bytes
        && has < policies.disk_bytes_min
    {
        let needs = policies.disk_bytes_min;
        return Err(Bar::Disk { has, needs });
    }
    match &facts.vpn {
        Some(name) if !policies.vpn_peering => Err(Bar::Vpn(name.clone())),
        _ => Ok(()),
    }
}

/// Whether a download in this mode may take pieces from peers. "The device can download from peers while on battery
/// regardless" (seed: Allow uploads while the device is on battery).
///
/// # Errors
/// Why not.
pub fn may_download(policies: &Policies, facts: &Facts, taken: Taken) -> Result<(), Bar> {
    may_peer(policies, facts, taken)
}

/// Whether pieces of a content in this mode may be given to peers of this kind.
///
/// # Errors
/// Why not.
pub fn may_upload(
    policies: &Policies,
    facts: &Facts,
    taken: Taken,
    to: PeerType,
) -> Result<(), Bar> {
    may_peer(policies, facts, taken)?;
    if !mode::peers_with(taken.mode, to) {
        return Err(Bar::Mode(taken));
    }
    let Some(Battery { percent: has }) = facts.battery else {
        return Ok(());
    };
    let needs = policies.battery_percent_min;
    match (has, needs) {
        (Some(charge), Some(least)) if charge >= least => {}
        _ => return Err(Bar::Battery { has, needs }),
    }
    // "Upload data to LAN and Group peers while on DC power" (seed, the same section).
    if to == PeerType::Internet {
        return Err(Bar::BatteryElsewhere);
    }
    Ok(())
}

/// Whether cache hosts may be asked on this device as it is (`DODisallowCacheServerDownloadsOnVPN`).
#[must_use]
pub fn may_use_cache_host(policies: &Policies, facts: &Facts, taken: Taken) -> bool {
    mode::uses_cache_host(taken.mode) && (policies.vpn_cache_host || facts.vpn.is_none())
}

/// Whether a network interface is a VPN's: by its kind, as the kernel knows it, or by its name (`DOVpnKeywords`).
#[must_use]
pub fn is_vpn(policies: &Policies, name: &str, kind: Option<&str>) -> bool {
    let by_kind = matches!(
        kind,
        Some("tun" | "wireguard" | "ppp" | "xfrm" | "vti" | "vti6" | "ovpn" | "ovpn-dco")
    );
    let name = name.to_ascii_lowercase();
    by_kind
        || policies
            .vpn_keywords
            .iter()
            .any(|word| name.contains(word.as_str()))
}
