//! From the settings as they stand in a file to those that hold. The rule: of several values the one holds that would
//! on Windows, and each that does not is told.

use super::{Entry, Import, Known, Origin, Raw, Shape, Unknown, Value};
use std::collections::BTreeMap;

/// Business hours stand in a file as four values, whose names end so.
const PARTS: [&str; 4] = ["from", "to", "in", "out"];

/// What other programs keep beside their policies.
const NOTHING_HERE: &[(&str, &str)] = &[
    (
        "RestControllerValidateRemoteAddr",
        "it is about the agent's own interface",
    ),
    (
        "RestApiControllerValidateRemoteAddr",
        "it is about the agent's own interface",
    ),
    (
        "DOCacheHostFallback",
        "write DODelayCacheServerFallbackForeground and DODelayCacheServerFallbackBackground",
    ),
    (
        "DOPercentageDownloadThrottle",
        "write DOPercentageMaxDownloadBandwidth",
    ),
];

/// Hours, as far as they are known.
#[derive(Default)]
struct Hours {
    parts: [Option<u64>; 4],
    off: bool,
}

pub(super) fn gather(entries: Vec<Entry>, known: &[Known], notes: Vec<String>) -> Import {
    let mut import = Import {
        notes,
        ..Import::default()
    };
    let mut from: BTreeMap<&'static str, Origin> = BTreeMap::new();
    let mut hours: BTreeMap<&'static str, Hours> = BTreeMap::new();
    for entry in entries {
        if is_of_manager(&entry) {
            continue;
        }
        if let Some((known, part)) = part(&entry.name, known) {
            let of = hours.entry(known.name).or_default();
            match number(&entry.raw) {
                Some(number) => of.parts[part] = Some(number),
                None => import.notes.push(wrong(&entry, "a number")),
            }
            continue;
        }
        let same = |known: &&Known| known.name.eq_ignore_ascii_case(&entry.name);
        let Some(known) = known.iter().find(same) else {
            let nothing = NOTHING_HERE
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(&entry.name));
            match nothing {
                Some((name, why)) => import
                    .notes
                    .push(format!("{name} means nothing to larder: {why}")),
                None => import.unknown.push(Unknown {
                    name: entry.name,
                    place: entry.place,
                }),
            }
            continue;
        };
        if known.shape == Shape::Hours {
            let of = hours.entry(known.name).or_default();
            whole_hours(&entry, of, &mut import.notes);
            continue;
        }
        let Some(value) = value(&entry, known, &mut import.notes) else {
            continue;
        };
        if let Some(older) = import.settings.get(known.name) {
            let whose = from.get(known.name).copied().unwrap_or(entry.from);
            let (holds, winner, yields, loser) = if entry.from >= whose {
                (&value, entry.from, older, whose)
            } else {
                (older, whose, &value, entry.from)
            };
            if holds != yields {
                let name = known.name;
                import.notes.push(format!(
                    "{name} is set twice: {holds}, by {winner}, holds, and {yields}, by {loser}, does not"
                ));
            }
            if entry.from < whose {
                continue;
            }
        }
        from.insert(known.name, entry.from);
        import.settings.insert(known.name, value);
    }
    for (name, of) in hours {
        match of.parts {
            _ if of.off => {}
            [Some(from), Some(to), Some(inside), Some(outside)] => {
                let hours = Value::Hours([from, to, inside, outside]);
                import.settings.insert(name, hours);
            }
            [None, None, None, None] => {}
            _ => import.notes.push(format!(
                "{name} is left out: it is not complete without ..From, ..To, ..In and ..Out"
            )),
        }
    }
    import
}

/// Beside each setting device management keeps who set it.
fn is_of_manager(entry: &Entry) -> bool {
    let name = entry.name.to_ascii_lowercase();
    entry.from != Origin::Policy
        && ["_providerset", "_winningprovider", "_lastwrite"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// Which hours, and which part of them, a name stands for. How Group Policy spells them is not documented, so that
/// both the names of its form and those with DO before them are taken.
fn part<'k>(name: &str, known: &'k [Known]) -> Option<(&'k Known, usize)> {
    let lower = name.to_ascii_lowercase();
    let bare = lower.strip_prefix("do").unwrap_or(&lower);
    known
        .iter()
        .filter(|known| known.shape == Shape::Hours)
        .find_map(|known| {
            let whole = known.name.to_ascii_lowercase();
            let end = bare.strip_prefix(whole.strip_prefix("do").unwrap_or(&whole))?;
            let part = PARTS.iter().position(|part| *part == end)?;
            Some((known, part))
        })
}

/// Hours in one value: a switch, or the XML that device management is given, in which each part has its `data`.
fn whole_hours(entry: &Entry, of: &mut Hours, notes: &mut Vec<String>) {
    let text = match &entry.raw {
        Raw::Text(text) if text.contains('<') => text.to_ascii_lowercase(),
        raw => {
            match number(raw) {
                Some(on) => of.off = on == 0,
                None => notes.push(wrong(entry, "its XML, <enabled/><data id=.. value=../>..")),
            }
            return;
        }
    };
    of.off = text.contains("<disabled");
    for data in text.split("<data").skip(1) {
        let data = data.split('>').next().unwrap_or_default();
        let (id, value) = (attribute(data, "id"), attribute(data, "value"));
        let part = id.and_then(|id| {
            // "to" is the end of no other part's name.
            PARTS
                .iter()
                .position(|part| id.ends_with(&format!("bandwidth{part}")))
        });
        if let (Some(part), Some(Ok(value))) = (part, value.map(str::parse)) {
            of.parts[part] = Some(value);
        }
    }
}

fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = tag.split_once(&format!(" {name}"))?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    rest.get(1..)?.split(quote).next()
}

fn number(raw: &Raw) -> Option<u64> {
    match raw {
        Raw::Number(number) => u64::try_from(*number).ok(),
        Raw::Text(text) => text.trim().parse().ok(),
        Raw::Flag(flag) => Some(u64::from(*flag)),
        Raw::Other(_) => None,
    }
}

/// A setting's value, in its own kind; None where it has none, which is noted.
fn value(entry: &Entry, known: &Known, notes: &mut Vec<String>) -> Option<Value> {
    if matches!(&entry.raw, Raw::Text(text) if text.trim().is_empty()) {
        notes.push(format!("{} is empty, which is not set", known.name));
        return None;
    }
    match (known.shape, &entry.raw) {
        (Shape::Number, Raw::Number(-1)) if known.name.starts_with("DODelayCacheServer") => {
            // What the Linux agent calls no fallback at all.
            Some(Value::Number(u32::MAX.into()))
        }
        (Shape::Number, Raw::Number(_) | Raw::Text(_)) => {
            let value = number(&entry.raw).map(Value::Number);
            if value.is_none() {
                notes.push(wrong(entry, "a whole number from 0"));
            }
            value
        }
        (Shape::Flag, raw) => match raw {
            Raw::Text(text) if text.eq_ignore_ascii_case("true") => Some(Value::Flag(true)),
            Raw::Text(text) if text.eq_ignore_ascii_case("false") => Some(Value::Flag(false)),
            raw => match number(raw) {
                Some(flag @ (0 | 1)) => Some(Value::Flag(flag == 1)),
                _ => {
                    notes.push(wrong(entry, "0 or 1"));
                    None
                }
            },
        },
        (Shape::Text, Raw::Text(text)) => {
            let text = text.trim();
            if known.name == "DOModifyCacheDrive" && !text.starts_with('/') {
                notes.push(format!(
                    "DOModifyCacheDrive = {text:?} is left out: a drive of Windows means nothing here; write a folder, as in \"/var/lib/larder\""
                ));
                return None;
            }
            Some(Value::Text(text.to_owned()))
        }
        (shape, _) => {
            let wanted = match shape {
                Shape::Number => "a whole number from 0",
                _ => "a text",
            };
            notes.push(wrong(entry, wanted));
            None
        }
    }
}

fn wrong(entry: &Entry, wanted: &str) -> String {
    let found = match &entry.raw {
        Raw::Number(number) => number.to_string(),
        Raw::Text(text) => format!("{text:?}"),
        Raw::Flag(flag) => flag.to_string(),
        Raw::Other(kind) => (*kind).to_owned(),
    };
    let (name, place) = (&entry.name, &entry.place);
    format!("{name} is left out: it is {found} and should be {wanted} ({place})")
}
