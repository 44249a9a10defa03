//! The settings, typed, with their defaults. The rule: every documented setting has a field here, in the units of the
//! rest of larder, and what is not configured has the default of its role.

use super::DownloadMode;
use super::cache_host::CacheHostSource;
use super::group::GroupSource;
use super::schedule::{Days, Zone};
use crate::tracker::Guid;

/// The settings count as Windows does: a KB is 2^10 bytes.
pub const KB: u64 = 1 << 10;
/// A MB is 2^20 bytes.
pub const MB: u64 = 1 << 20;
/// A GB is 2^30 bytes.
pub const GB: u64 = 1 << 30;

/// Who obeys the settings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// A device that downloads for its user (`larder get`): the seed's defaults.
    Device,
    /// An appliance (`larder serve`), which has its machine to itself and is there to be asked.
    Appliance,
}

/// Whose reading holds where the seed and the newer reference differ (facts: clients, section 5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Dialect {
    /// `policy_dialect = "2018"`: the seed.
    #[default]
    Y2018,
    /// `policy_dialect = "current"`: the reference of 2024.
    Current,
}

/// Whether somebody waits for a download.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Priority {
    /// Somebody does.
    #[default]
    Foreground,
    /// Nobody does.
    Background,
}

/// One value for each priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PerPriority<T> {
    /// For downloads that somebody waits for.
    pub foreground: T,
    /// For the others.
    pub background: T,
}

impl<T: Copy> PerPriority<T> {
    /// The same for both.
    #[must_use]
    pub const fn both(value: T) -> Self {
        Self {
            foreground: value,
            background: value,
        }
    }

    /// The value for this priority.
    #[must_use]
    pub const fn of(&self, priority: Priority) -> T {
        match priority {
            Priority::Foreground => self.foreground,
            Priority::Background => self.background,
        }
    }
}

/// Business hours, and the part of the bandwidth that downloads may use in and outside of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hours {
    /// The days on which they begin.
    pub days: Days,
    /// The hour at which they begin, 0 to 23, local time.
    pub from: u8,
    /// The hour at which they end, 0 to 24.
    pub to: u8,
    /// Percent of the bandwidth in them.
    pub inside: u8,
    /// Percent of the bandwidth outside of them.
    pub outside: u8,
}

/// The whole table (seed: Delivery Optimization options; facts: clients, section 5). Each field names its setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policies {
    /// Whose defaults these are.
    pub role: Role,
    /// `policy_dialect`.
    pub dialect: Dialect,
    /// `DODownloadMode`.
    pub mode: DownloadMode,
    /// `DOGroupID`.
    pub group_id: Option<Guid>,
    /// `DOGroupIdSource`; None where it is not set, or 0.
    pub group_source: Option<GroupSource>,
    /// `DORestrictPeerSelectionBy` = 1: only peers of the same subnet. Of effect in modes 1 and 2.
    pub same_subnet_only: bool,
    /// `DOMinRAMAllowedToPeer`, in bytes; 0 asks for none.
    pub ram_bytes_min: u64,
    /// `DOMinDiskSizeAllowedToPeer`, in bytes: the capacity of the cache's drive; 0 asks for none.
    pub disk_bytes_min: u64,
    /// `DOMaxCacheAge`, in seconds; None is unlimited.
    pub cache_age_s_max: Option<u64>,
    /// `DOMaxCacheSize`: percent of what the drive has to spare.
    pub cache_percent_max: u8,
    /// `DOAbsoluteMaxCacheSize`, in bytes; beats the percentage where it is set.
    pub cache_bytes_max: Option<u64>,
    /// `DOMinFileSizeToCache`, in bytes; None where it is not set.
    pub file_bytes_min: Option<u64>,
    /// `DOAllowVPNPeerCaching`.
    pub vpn_peering: bool,
    /// `DOVpnKeywords`, in lower case: an interface whose name holds one of them is a VPN.
    pub vpn_keywords: Vec<String>,
    /// `DODisallowCacheServerDownloadsOnVPN`, the other way round.
    pub vpn_cache_host: bool,
    /// `DOMinBatteryPercentageAllowedToUpload`; None: never on battery.
    pub battery_percent_min: Option<u8>,
    /// `DODelayForegroundDownloadFromHttp` and `DODelayBackgroundDownloadFromHttp`, in seconds.
    pub http_delay_s: PerPriority<u64>,
    /// `DOCacheHost`: hosts, with or without a port, in the order in which they are asked.
    pub cache_hosts: Vec<String>,
    /// `DOCacheHostSource`; None where it is not set.
    pub cache_host_source: Option<CacheHostSource>,
    /// `DODelayCacheServerFallbackForeground` and `..Background`, in seconds.
    pub fallback_delay_s: PerPriority<u64>,
    /// `DOMinBackgroundQoS`, in bytes per second.
    pub background_bytes_s_min: u64,
    /// `DOMaxDownloadBandwidth`, in bytes per second; 0 is as much as there is.
    pub download_bytes_s_max: u64,
    /// `DOMaxForegroundDownloadBandwidth` and `DOMaxBackgroundDownloadBandwidth`, likewise.
    pub download_bytes_s_max_of: PerPriority<u64>,
    /// `DOPercentageMaxDownloadBandwidth`, of the bandwidth there is; 0 is as much as there is.
    pub download_percent_max: u8,
    /// `DOPercentageMaxForegroundBandwidth` and `DOPercentageMaxBackgroundBandwidth`, likewise.
    pub download_percent_max_of: PerPriority<u8>,
    /// `DOSetHoursToLimitForegroundDownloadBandwidth` and `..Background..`.
    pub hours: PerPriority<Option<Hours>>,
    /// `policy_time_zone`: by which clock these are told.
    pub zone: Zone,
    /// `DOMaxUploadBandwidth`, in bytes per second; 0 is unlimited.
    pub upload_bytes_s_max: u64,
    /// `DOMonthlyUploadDataCap`, in bytes to Internet peers in a calendar month; 0 is unlimited.
    pub upload_month_bytes_max: u64,
}

impl Policies {
    /// The defaults. Those of a device are the seed's, and where the seed names none, the reference's of its time
    /// (Policy CSP, 2018).
    ///
    /// An appliance is in mode 2, keeps everything as long as there is room, which makes it a preferred device, and
    /// uses most of its drive. What it needs of memory and drive is what its administrator gave it, and a tunnel to
    /// its administrators does not make it leave its site, so that neither keeps it from peering unless configured.
    #[must_use]
    pub fn defaults(role: Role, dialect: Dialect) -> Self {
        let appliance = role == Role::Appliance;
        Self {
            role,
            dialect,
            mode: if appliance {
                DownloadMode::Group
            } else {
                DownloadMode::Lan
            },
            group_id: None,
            group_source: None,
            same_subnet_only: false,
            ram_bytes_min: if appliance { 0 } else { 4 * GB },
            disk_bytes_min: if appliance { 0 } else { 32 * GB },
            cache_age_s_max: (!appliance).then_some(259_200),
            cache_percent_max: if appliance { 80 } else { 20 },
            cache_bytes_max: None,
            file_bytes_min: None,
            vpn_peering: appliance,
            vpn_keywords: Vec::new(),
            vpn_cache_host: true,
            battery_percent_min: None,
            http_delay_s: PerPriority::both(0),
            cache_hosts: Vec::new(),
            cache_host_source: None,
            fallback_delay_s: PerPriority::both(0),
            background_bytes_s_min: match dialect {
                Dialect::Y2018 => 500 * KB,
                Dialect::Current => 2500 * KB,
            },
            download_bytes_s_max: 0,
            download_bytes_s_max_of: PerPriority::both(0),
            download_percent_max: 0,
            download_percent_max_of: PerPriority::both(0),
            hours: PerPriority::both(None),
            zone: Zone::default(),
            upload_bytes_s_max: 0,
            upload_month_bytes_max: 20 * GB,
        }
    }

    /// Whether others are to prefer this device (seed: Set "preferred" cache devices): it keeps what it has.
    #[must_use]
    pub const fn is_preferred(&self) -> bool {
        self.cache_age_s_max.is_none()
    }
}
