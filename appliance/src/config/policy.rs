//! The policies of Delivery Optimization, by their documented names. The rule: every documented name is accepted and
//! its range checked, and one that larder does not obey yet is told at start, never taken in silence.

use super::raw::{Section, Spotted};
use super::variables::expanded;
use jiff::tz::TimeZone;
use larder_proto::http::route::OriginRules;
use larder_proto::policy::import::{Known, Shape};
use larder_proto::policy::schedule::Days;
use larder_proto::policy::{Dialect, DownloadMode, GroupSource};
use larder_proto::tracker::Guid as GuidValue;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use toml::de::DeValue;

/// What a policy's value is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// From, to, unit.
    Number(u64, u64, &'static str),
    /// One of these, with what they mean.
    OneOf(&'static [u64], &'static str),
    /// `DOGroupIdSource`: what is none of its values is ignored (seed: Select the source of Group IDs).
    Source,
    Flag,
    /// A GUID, with or without braces.
    Guid,
    /// A folder.
    Folder,
    /// Hosts in order, with commas between.
    Hosts,
    /// Words, with commas between.
    Words,
    /// Business hours, and the percentages inside and outside of them.
    Hours,
}

/// Whether a policy does something in this version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effect {
    Obeyed,
    /// Not yet, since larder so far lacks this.
    Lacks(&'static str),
}

use Effect::{Lacks, Obeyed};
use Kind::{Flag, Folder, Guid, Hosts, Hours, Number, OneOf, Source, Words};

const CACHE_HOSTS: Effect = Lacks("an appliance asks no cache hosts; larder get does");
const SECONDS_MAX: u64 = 4_294_967_295;
const RATE_MAX: u64 = 4_294_967_295;

/// The documented settings, in the order of the vendor's table.
const KEYS: &[(&str, Kind, Effect)] = &[
    (
        "DODownloadMode",
        OneOf(
            &[0, 1, 2, 3, 99, 100],
            "0 (HTTP only), 1 (LAN), 2 (group), 3 (Internet), 99 (simple) or 100 (bypass)",
        ),
        Obeyed,
    ),
    ("DOGroupID", Guid, Obeyed),
    ("DOMinRAMAllowedToPeer", Number(1, 100_000, "GB"), Obeyed),
    (
        "DOMinDiskSizeAllowedToPeer",
        Number(1, 100_000, "GB"),
        Obeyed,
    ),
    (
        "DOMaxCacheAge",
        Number(0, SECONDS_MAX, "seconds (0: unlimited)"),
        Obeyed,
    ),
    (
        "DOMaxCacheSize",
        Number(1, 100, "percent of the drive"),
        Obeyed,
    ),
    ("DOAbsoluteMaxCacheSize", Number(1, 4_000_000, "GB"), Obeyed),
    ("DOModifyCacheDrive", Folder, Obeyed),
    ("DOMinFileSizeToCache", Number(1, 100_000, "MB"), Obeyed),
    (
        "DOMaxDownloadBandwidth",
        Number(0, RATE_MAX, "KB/s"),
        Obeyed,
    ),
    (
        "DOPercentageMaxDownloadBandwidth",
        Number(0, 100, "percent"),
        Obeyed,
    ),
    ("DOMaxUploadBandwidth", Number(0, RATE_MAX, "KB/s"), Obeyed),
    ("DOMonthlyUploadDataCap", Number(0, RATE_MAX, "GB"), Obeyed),
    ("DOMinBackgroundQoS", Number(1, RATE_MAX, "KB/s"), Obeyed),
    ("DOAllowVPNPeerCaching", Flag, Obeyed),
    (
        "DOMinBatteryPercentageAllowedToUpload",
        Number(1, 100, "percent"),
        Obeyed,
    ),
    (
        "DOPercentageMaxForegroundBandwidth",
        Number(0, 100, "percent"),
        Obeyed,
    ),
    (
        "DOPercentageMaxBackgroundBandwidth",
        Number(0, 100, "percent"),
        Obeyed,
    ),
    (
        "DOSetHoursToLimitBackgroundDownloadBandwidth",
        Hours,
        Obeyed,
    ),
    (
        "DOSetHoursToLimitForegroundDownloadBandwidth",
        Hours,
        Obeyed,
    ),
    (
        "DORestrictPeerSelectionBy",
        OneOf(&[0, 1, 2], "1 (subnet mask)"),
        Obeyed,
    ),
    ("DOGroupIdSource", Source, Obeyed),
    (
        "DODelayBackgroundDownloadFromHttp",
        Number(0, SECONDS_MAX, "seconds"),
        Obeyed,
    ),
    (
        "DODelayForegroundDownloadFromHttp",
        Number(0, SECONDS_MAX, "seconds"),
        Obeyed,
    ),
    // Newer than the seed (facts: clients, section 5).
    ("DOCacheHost", Hosts, CACHE_HOSTS),
    (
        "DOCacheHostSource",
        OneOf(
            &[0, 1, 2],
            "0 (no DNS-SD), 1 (DHCP option 235) or 2 (option 235 before DOCacheHost)",
        ),
        CACHE_HOSTS,
    ),
    (
        "DODelayCacheServerFallbackForeground",
        Number(0, SECONDS_MAX, "seconds"),
        CACHE_HOSTS,
    ),
    (
        "DODelayCacheServerFallbackBackground",
        Number(0, SECONDS_MAX, "seconds"),
        CACHE_HOSTS,
    ),
    ("DODisallowCacheServerDownloadsOnVPN", Flag, CACHE_HOSTS),
    ("DOVpnKeywords", Words, Obeyed),
    (
        "DOMaxForegroundDownloadBandwidth",
        Number(0, RATE_MAX, "KB/s"),
        Obeyed,
    ),
    (
        "DOMaxBackgroundDownloadBandwidth",
        Number(0, RATE_MAX, "KB/s"),
        Obeyed,
    ),
];

/// Settings that the newer reference spells another way, and how the seed does.
const SPELLINGS: &[(&str, &str)] = &[
    ("DOGroupId", "DOGroupID"),
    ("DOMinBackgroundQos", "DOMinBackgroundQoS"),
];

/// Which reading holds where the seed and the newer reference differ. No policy, so not named as one.
const DIALECT: &str = "policy_dialect";

/// By which clock business hours are told. No policy either.
const TIME_ZONE: &str = "policy_time_zone";
const ZONES: &str = "a time zone by its name, as in \"Europe/Berlin\"";

/// A policy's value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A number, in the policy's unit.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// A text.
    Text(String),
    /// Business hours.
    Hours {
        /// The days on which they begin.
        #[serde(serialize_with = "as_text")]
        days: Days,
        /// The hour at which they begin, 0 to 23.
        from: u64,
        /// The hour at which they end.
        to: u64,
        /// Percent of the bandwidth during them.
        inside: u64,
        /// Percent of the bandwidth outside of them.
        outside: u64,
    },
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Text(text) => f.write_str(text),
            Self::Hours {
                days,
                from,
                to,
                inside,
                outside,
            } => write!(
                f,
                "{inside} % {days} from {from} to {to} o'clock, {outside} % outside"
            ),
        }
    }
}

fn as_text<S: serde::Serializer>(days: &Days, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(days)
}

/// The policies that a file sets, by their documented names.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Policy(pub BTreeMap<&'static str, Value>);

impl Policy {
    /// The number that is set for a policy.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.0.get(name) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// The flag that is set for a policy.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.0.get(name) {
            Some(Value::Flag(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// The text that is set for a policy.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// What stands between the commas of a policy's text.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        items(self.text(name).unwrap_or_default())
    }

    /// Which reading holds.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.text(DIALECT) {
            Some("current") => Dialect::Current,
            _ => Dialect::Y2018,
        }
    }

    /// The time zone by which business hours are told; None is the system's.
    #[must_use]
    pub fn time_zone(&self) -> Option<&str> {
        self.text(TIME_ZONE)
    }

    /// Where the cache lies by policy.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        match self.0.get("DOModifyCacheDrive") {
            Some(Value::Text(folder)) => Some(PathBuf::from(folder)),
            _ => None,
        }
    }
}

/// Why a setting has no effect in `larder serve`, where it has none.
#[must_use]
pub fn effect(name: &str) -> Option<&'static str> {
    let row = KEYS.iter().find(|(key, ..)| *key == name);
    row.and_then(|(_, _, effect)| match effect {
        Lacks(why) => Some(*why),
        Obeyed => None,
    })
}

/// The settings as an import may meet them.
pub(super) fn known() -> Vec<Known> {
    let known = KEYS.iter().map(|(name, kind, _)| Known {
        name,
        shape: match kind {
            Number(..) | OneOf(..) | Source => Shape::Number,
            Flag => Shape::Flag,
            Guid | Folder | Hosts | Words => Shape::Text,
            Hours => Shape::Hours,
        },
    });
    known.collect()
}

/// The other spelling of a setting's name, where it has one.
pub(super) fn spelling(name: &str) -> Option<&'static str> {
    let other = SPELLINGS.iter().find(|(_, seed)| *seed == name);
    other.map(|(other, _)| *other)
}

/// What stands between commas.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// Every name that a file may set.
pub fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter()
        .map(|(name, ..)| *name)
        .chain([DIALECT, TIME_ZONE])
}

/// Reads `[policy]`. What has no effect is added to `warnings`.
pub(super) fn read(
    section: &mut Section<'_>,
    variable: fn(&str) -> Option<String>,
    warnings: &mut Vec<String>,
) -> Policy {
    let mut policy = Policy::default();
    let dialects = "\"2018\" (the default) or \"current\"";
    if let Some(dialect) = section.text(DIALECT, dialects) {
        match dialect.value {
            "2018" | "current" => {
                let value = Value::Text(dialect.value.to_owned());
                policy.0.insert(DIALECT, value);
            }
            other => {
                let what = format!("{other:?} is no dialect; write {dialects}");
                section.add(dialect.problem(what));
            }
        }
    }
    if let Some(zone) = section.text(TIME_ZONE, ZONES) {
        match TimeZone::get(zone.value) {
            Ok(_) => {
                let value = Value::Text(zone.value.to_owned());
                policy.0.insert(TIME_ZONE, value);
            }
            Err(error) => {
                let what = format!("{:?} is no time zone ({error}); write {ZONES}", zone.value);
                section.add(zone.problem(what));
            }
        }
    }
    let dialect = policy.dialect();
    for (name, kind, effect) in KEYS {
        let other = spelling(name);
        let spelled = match other.and_then(|other| section.any(other)) {
            None => name,
            Some(spot) => {
                if section.any(name).is_some() {
                    let what = format!("is the same setting as policy.{name}; write only one");
                    section.add(spot.problem(what));
                }
                other.unwrap_or(name)
            }
        };
        let Some(value) = value(section, spelled, *kind, (dialect, variable), warnings) else {
            continue;
        };
        if let Lacks(what) = effect {
            warnings.push(format!("policy.{spelled} has no effect: {what}"));
        }
        policy.0.insert(name, value);
    }
    precedence(&policy, warnings);
    policy
}

/// What is set and yields to something else that is set.
fn precedence(policy: &Policy, warnings: &mut Vec<String>) {
    let mode = policy.number("DODownloadMode");
    let group = u64::from(u8::from(DownloadMode::Group));
    let (id, source) = (policy.text("DOGroupID"), policy.number("DOGroupIdSource"));
    let source = source.filter(|number| *number != 0);
    // Unset, the mode depends on who reads the file.
    if mode.is_some_and(|mode| mode != group) {
        let set = [
            ("DOGroupID", id.is_some()),
            ("DOGroupIdSource", source.is_some()),
        ];
        for (name, _) in set.iter().filter(|(_, is_set)| *is_set) {
            warnings.push(format!("policy.{name} is ignored: DODownloadMode is not 2"));
        }
    } else if id.is_some() && source.is_some() {
        let (loser, winner) = match policy.dialect() {
            Dialect::Y2018 => ("DOGroupID", "DOGroupIdSource"),
            Dialect::Current => ("DOGroupIdSource", "DOGroupID"),
        };
        warnings.push(format!("policy.{loser} is ignored: {winner} is set"));
    }
    if policy
        .number("DORestrictPeerSelectionBy")
        .is_some_and(|by| by != 0)
        && mode.is_some_and(|mode| !matches!(mode, 1 | 2))
    {
        let what = "is ignored: DODownloadMode is neither 1 nor 2";
        warnings.push(format!("policy.DORestrictPeerSelectionBy {what}"));
    }
    if policy.number("DOCacheHostSource") == Some(1) && policy.list("DOCacheHost").next().is_some()
    {
        let what = "is ignored: DOCacheHost is set; write 2 to let DHCP go before it";
        warnings.push(format!("policy.DOCacheHostSource {what}"));
    }
    if policy.number("DOAbsoluteMaxCacheSize").is_some()
        && policy.number("DOMaxCacheSize").is_some()
    {
        let what = "is ignored: DOAbsoluteMaxCacheSize is set";
        warnings.push(format!("policy.DOMaxCacheSize {what}"));
    }
}

fn value(
    section: &mut Section<'_>,
    name: &'static str,
    kind: Kind,
    (dialect, variable): (Dialect, fn(&str) -> Option<String>),
    warnings: &mut Vec<String>,
) -> Option<Value> {
    match kind {
        Number(from, to, unit) => {
            let number = section.number(name, from..=to, unit)?;
            Some(Value::Number(number.value))
        }
        OneOf(values, words) => {
            let number = section.number(name, 0..=u64::from(u32::MAX), "")?;
            if values.contains(&number.value) {
                return Some(Value::Number(number.value));
            }
            let what = format!("{} is none of its values; write {words}", number.value);
            section.add(number.problem(what));
            None
        }
        Source => {
            let number = section.number(name, 0..=u64::from(u32::MAX), "")?.value;
            if number != 0 && GroupSource::of(number, dialect).is_none() {
                warnings.push(format!(
                    "policy.{name} is ignored: {number} is none of its values; write {SOURCES}"
                ));
                return None;
            }
            Some(Value::Number(number))
        }
        Flag => section.flag(name).map(|flag| Value::Flag(flag.value)),
        Guid => {
            let text = section.text(name, GUID)?;
            if let Ok(guid) = text.value.parse::<GuidValue>() {
                return Some(Value::Text(guid.to_string()));
            }
            let what = format!("{:?} is no GUID; write {GUID}", text.value);
            section.add(text.problem(what));
            None
        }
        Folder => {
            let text = section.text(name, FOLDER)?;
            let folder = match expanded(text.value, &variable) {
                Ok(folder) => folder,
                Err(why) => {
                    let what = format!("{:?}: {why}; set it, or write {FOLDER}", text.value);
                    section.add(text.problem(what));
                    return None;
                }
            };
            if folder.starts_with('/') {
                return Some(Value::Text(folder));
            }
            let what = format!("{folder:?} is no whole path on this system; write {FOLDER}");
            section.add(text.problem(what));
            None
        }
        Hosts => {
            let text = section.text(name, HOSTS)?;
            for host in items(text.value) {
                // Whatever may stand in the list of origins is a host; a pattern is none.
                let is_host = !host.contains('*')
                    && OriginRules::new(&[host.to_owned()], None, [], &[]).is_ok();
                if !is_host {
                    section.add(text.problem(format!("{host:?} is no host; write {HOSTS}")));
                    return None;
                }
            }
            Some(Value::Text(text.value.to_owned()))
        }
        Words => {
            let text = section.text(name, "words, as in \"vpn, tunnel\"")?;
            Some(Value::Text(text.value.to_owned()))
        }
        Hours => hours(section, name),
    }
}

const GUID: &str = "a GUID, as in \"7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab\"";
const HOSTS: &str = "host names or addresses in order, as in \"larder.example.org, 10.1.2.3\"";
const SOURCES: &str =
    "0 (not set), 1 (AD site), 2 (domain SID), 3 (DHCP option 234) or 4 (DNS suffix)";
const FOLDER: &str = "a folder, as in \"/var/lib/larder\"";

fn hours(section: &mut Section<'_>, name: &'static str) -> Option<Value> {
    let mut hours = section.section(name);
    let mut days = Days::ALL;
    if let Some(text) = hours.text("days", "days, as in \"mon-fri\"") {
        match text.value.parse() {
            Ok(read) => days = read,
            Err(what) => hours.add(text.problem(what)),
        }
    }
    let mut take = |key, to, unit| hours.number(key, 0..=to, unit);
    let (from, to) = (take("from", 23, "hours"), take("to", 24, "hours"));
    let (inside, outside) = (
        take("inside", 100, "percent"),
        take("outside", 100, "percent"),
    );
    let there = !hours.keys().is_empty();
    let troubles = hours.close();
    let whole = troubles.is_empty();
    troubles
        .into_iter()
        .for_each(|problem| section.add(problem));
    match (from, to, inside, outside) {
        (Some(from), Some(to), Some(inside), Some(outside)) => Some(Value::Hours {
            days,
            from: from.value,
            to: to.value,
            inside: inside.value,
            outside: outside.value,
        }),
        _ => {
            if there && whole {
                let spot: Option<Spotted<&DeValue<'_>>> = section.any(name);
                if let Some(spot) = spot {
                    let form = "{ from = 8, to = 17, inside = 20, outside = 100 }";
                    section.add(spot.problem(format!("is not complete; write {form}")));
                }
            }
            None
        }
    }
}
