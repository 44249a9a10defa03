//! From the policies as they are written to the settings that the rules work with. The rule: what is not written has
//! the default of whoever reads the file, a device or an appliance, and each unit is converted here and nowhere else.

use super::policy::{Policy, Value};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use larder_proto::policy::schedule::Zone;
use larder_proto::policy::settings::{GB, KB, MB, PerPriority};
use larder_proto::policy::{CacheHostSource, DownloadMode, GroupSource, Hours, Policies, Role};

/// Changes of a clock that are looked up: those of more than ten years in nearly all zones. Each reload looks anew.
const CHANGES_MAX: usize = 40;

impl Policy {
    /// The settings in force for `role`.
    #[must_use]
    pub fn typed(&self, role: Role) -> Policies {
        let dialect = self.dialect();
        let or = Policies::defaults(role, dialect);
        let bytes = |name, unit: u64| Some(self.number(name)?.saturating_mul(unit));
        let rate = |name| bytes(name, KB).unwrap_or(0);
        // The checked file holds no percentage over 100 and no mode that there is not.
        let percent = |name| u8::try_from(self.number(name)?).ok();
        let mode = percent("DODownloadMode").and_then(|mode| DownloadMode::try_from(mode).ok());
        let seconds = |name| self.number(name).unwrap_or(0);
        Policies {
            role,
            dialect,
            mode: mode.unwrap_or(or.mode),
            group_id: self.text("DOGroupID").and_then(|id| id.parse().ok()),
            group_source: self
                .number("DOGroupIdSource")
                .and_then(|number| GroupSource::of(number, dialect)),
            same_subnet_only: self.number("DORestrictPeerSelectionBy") == Some(1),
            ram_bytes_min: bytes("DOMinRAMAllowedToPeer", GB).unwrap_or(or.ram_bytes_min),
            disk_bytes_min: bytes("DOMinDiskSizeAllowedToPeer", GB).unwrap_or(or.disk_bytes_min),
            cache_age_s_max: match self.number("DOMaxCacheAge") {
                None => or.cache_age_s_max,
                Some(0) => None,
                Some(age_s) => Some(age_s),
            },
            cache_percent_max: percent("DOMaxCacheSize").unwrap_or(or.cache_percent_max),
            cache_bytes_max: bytes("DOAbsoluteMaxCacheSize", GB),
            file_bytes_min: bytes("DOMinFileSizeToCache", MB),
            vpn_peering: self.flag("DOAllowVPNPeerCaching").unwrap_or(or.vpn_peering),
            vpn_keywords: self.list("DOVpnKeywords").map(str::to_lowercase).collect(),
            vpn_cache_host: self.flag("DODisallowCacheServerDownloadsOnVPN") != Some(true),
            battery_percent_min: percent("DOMinBatteryPercentageAllowedToUpload"),
            http_delay_s: PerPriority {
                foreground: seconds("DODelayForegroundDownloadFromHttp"),
                background: seconds("DODelayBackgroundDownloadFromHttp"),
            },
            cache_hosts: self.list("DOCacheHost").map(str::to_owned).collect(),
            cache_host_source: self
                .number("DOCacheHostSource")
                .and_then(CacheHostSource::of),
            fallback_delay_s: PerPriority {
                foreground: seconds("DODelayCacheServerFallbackForeground"),
                background: seconds("DODelayCacheServerFallbackBackground"),
            },
            background_bytes_s_min: bytes("DOMinBackgroundQoS", KB)
                .unwrap_or(or.background_bytes_s_min),
            download_bytes_s_max: rate("DOMaxDownloadBandwidth"),
            download_bytes_s_max_of: PerPriority {
                foreground: rate("DOMaxForegroundDownloadBandwidth"),
                background: rate("DOMaxBackgroundDownloadBandwidth"),
            },
            download_percent_max: percent("DOPercentageMaxDownloadBandwidth").unwrap_or(0),
            download_percent_max_of: PerPriority {
                foreground: percent("DOPercentageMaxForegroundBandwidth").unwrap_or(0),
                background: percent("DOPercentageMaxBackgroundBandwidth").unwrap_or(0),
            },
            hours: PerPriority {
                foreground: self.hours("DOSetHoursToLimitForegroundDownloadBandwidth"),
                background: self.hours("DOSetHoursToLimitBackgroundDownloadBandwidth"),
            },
            zone: zone(self.time_zone()),
            upload_bytes_s_max: rate("DOMaxUploadBandwidth"),
            upload_month_bytes_max: bytes("DOMonthlyUploadDataCap", GB)
                .unwrap_or(or.upload_month_bytes_max),
        }
    }

    fn hours(&self, name: &str) -> Option<Hours> {
        let Some(Value::Hours {
            days,
            from,
            to,
            inside,
            outside,
        }) = self.0.get(name)
        else {
            return None;
        };
        let small = |number: &u64| u8::try_from(*number).ok();
        Some(Hours {
            days: *days,
            from: small(from)?,
            to: small(to)?,
            inside: small(inside)?,
            outside: small(outside)?,
        })
    }
}

/// A zone as data, with the changes of its clock in the years to come. A name that does not lead to one was refused
/// before.
fn zone(name: Option<&str>) -> Zone {
    let zone = name.and_then(|name| TimeZone::get(name).ok());
    let zone = zone.unwrap_or_else(TimeZone::system);
    let now = Timestamp::now();
    let changes = zone.following(now).take(CHANGES_MAX);
    let changes = changes.map(|change| (change.timestamp().as_second(), change.offset().seconds()));
    let name = zone.iana_name().unwrap_or("the system's");
    Zone::new(name, zone.to_offset(now).seconds(), changes.collect())
}
