//! The policies of Delivery Optimization, by their documented names. The rule: every documented name is accepted and
//! its range checked, and one that larder does not obey yet is told at start, never taken in silence.

use super::raw::{Section, Spotted};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::de::DeValue;

/// What a policy's value is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// From, to, unit.
    Number(u64, u64, &'static str),
    /// One of these, with what they mean.
    OneOf(&'static [u64], &'static str),
    Flag,
    /// A GUID, with or without braces.
    Guid,
    /// A folder.
    Folder,
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
use Kind::{Flag, Folder, Guid, Hours, Number, OneOf};

const PEERS: Effect = Lacks("larder serves no peers yet");
const RATES: Effect = Lacks("larder does not limit bandwidth yet");
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
        PEERS,
    ),
    ("DOGroupID", Guid, PEERS),
    ("DOGroupId", Guid, PEERS),
    ("DOMinRAMAllowedToPeer", Number(1, 100_000, "GB"), PEERS),
    (
        "DOMinDiskSizeAllowedToPeer",
        Number(1, 100_000, "GB"),
        PEERS,
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
    ("DOMinFileSizeToCache", Number(1, 100_000, "MB"), PEERS),
    ("DOMaxDownloadBandwidth", Number(0, RATE_MAX, "KB/s"), RATES),
    (
        "DOPercentageMaxDownloadBandwidth",
        Number(0, 100, "percent"),
        RATES,
    ),
    ("DOMaxUploadBandwidth", Number(0, RATE_MAX, "KB/s"), PEERS),
    ("DOMonthlyUploadDataCap", Number(0, RATE_MAX, "GB"), PEERS),
    ("DOMinBackgroundQoS", Number(1, RATE_MAX, "KB/s"), PEERS),
    ("DOAllowVPNPeerCaching", Flag, PEERS),
    (
        "DOMinBatteryPercentageAllowedToUpload",
        Number(1, 100, "percent"),
        PEERS,
    ),
    (
        "DOPercentageMaxForegroundBandwidth",
        Number(0, 100, "percent"),
        RATES,
    ),
    (
        "DOPercentageMaxBackgroundBandwidth",
        Number(0, 100, "percent"),
        RATES,
    ),
    ("DOSetHoursToLimitBackgroundDownloadBandwidth", Hours, RATES),
    ("DOSetHoursToLimitForegroundDownloadBandwidth", Hours, RATES),
    (
        "DORestrictPeerSelectionBy",
        OneOf(&[0, 1, 2], "1 (subnet mask)"),
        PEERS,
    ),
    (
        "DOGroupIdSource",
        OneOf(
            &[0, 1, 2, 3, 4],
            "0 (not set), 1 (AD site), 2 (domain SID), 3 (DHCP option 234) or 4 (DNS suffix)",
        ),
        PEERS,
    ),
    (
        "DODelayBackgroundDownloadFromHttp",
        Number(0, SECONDS_MAX, "seconds"),
        PEERS,
    ),
    (
        "DODelayForegroundDownloadFromHttp",
        Number(0, SECONDS_MAX, "seconds"),
        PEERS,
    ),
];

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

    /// Where the cache lies by policy.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        match self.0.get("DOModifyCacheDrive") {
            Some(Value::Text(folder)) => Some(PathBuf::from(folder)),
            _ => None,
        }
    }
}

/// Reads `[policy]`. What has no effect yet is added to `warnings`.
pub(super) fn read(section: &mut Section<'_>, warnings: &mut Vec<String>) -> Policy {
    let mut policy = Policy::default();
    for (name, kind, effect) in KEYS {
        let Some(value) = value(section, name, *kind) else {
            continue;
        };
        if let Lacks(what) = effect {
            warnings.push(format!("policy.{name} has no effect: {what}"));
        }
        policy.0.insert(name, value);
    }
    policy
}

fn value(section: &mut Section<'_>, name: &'static str, kind: Kind) -> Option<Value> {
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
        Flag => section.flag(name).map(|flag| Value::Flag(flag.value)),
        Guid => {
            let text = section.text(name, GUID)?;
            if is_guid(text.value) {
                return Some(Value::Text(text.value.to_owned()));
            }
            let what = format!("{:?} is no GUID; write {GUID}", text.value);
            section.add(text.problem(what));
            None
        }
        Folder => {
            let text = section.text(name, FOLDER)?;
            if text.value.starts_with('/') {
                return Some(Value::Text(text.value.to_owned()));
            }
            let what = format!(
                "{:?} is no whole path on this system; write {FOLDER}",
                text.value
            );
            section.add(text.problem(what));
            None
        }
        Hours => hours(section, name),
    }
}

const GUID: &str = "a GUID, as in \"7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab\"";
const FOLDER: &str = "a folder, as in \"/var/lib/larder\"";

fn hours(section: &mut Section<'_>, name: &'static str) -> Option<Value> {
    let mut hours = section.section(name);
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

fn is_guid(text: &str) -> bool {
    let bare = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .unwrap_or(text);
    bare.len() == 36
        && bare.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
