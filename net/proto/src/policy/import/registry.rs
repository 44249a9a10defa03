//! Registry exports (`.reg`). The rule: only keys that hold policies of Delivery Optimization are read, and in them a
//! line that can not be understood is an error; a whole registry may stand around them.

use super::{Entry, ImportError, Origin, Raw};

/// Group Policy's key, below a hive.
const POLICY: &str = r"\policies\microsoft\windows\deliveryoptimization";
/// Device management's, of which `current` is the one in force.
const MANAGER: &str = r"\policymanager\";
const AREA: &str = r"\deliveryoptimization";

/// No text of a policy has more lines.
const TEXT_LINES_MAX: usize = 256;

/// Says to which key a line belongs.
struct Place {
    from: Origin,
    hive: String,
}

pub(super) fn read(text: &str, notes: &mut Vec<String>) -> Result<Vec<Entry>, ImportError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut place: Option<Place> = None;
    let mut lines = Lines {
        rest: text,
        line: 0,
    };
    // The first line names the form.
    lines.next();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(';') {
            continue;
        }
        if let Some(key) = line.strip_prefix('[') {
            place = key
                .strip_suffix(']')
                .filter(|key| !key.starts_with('-'))
                .and_then(|key| holds(key, notes));
            continue;
        }
        let whole = lines.joined(line);
        let Some(place) = &place else { continue };
        if whole.starts_with('@') {
            continue;
        }
        let broken = |what: &str| ImportError::Broken {
            line: number,
            what: format!("{what}; export the key again"),
        };
        let (name, value) = quoted(&whole).ok_or_else(|| broken("no \"name\"=value"))?;
        let value = value.trim_start();
        let value = value
            .strip_prefix('=')
            .ok_or_else(|| broken("no = after the name"))?
            .trim();
        if value == "-" {
            entries.retain(|entry| !(entry.from == place.from && entry.name == name));
            continue;
        }
        let raw = raw(value).map_err(|what| broken(&format!("{name}: {what}")))?;
        entries.push(Entry {
            name,
            raw,
            from: place.from,
            place: format!("line {number}, {}", place.hive),
        });
    }
    Ok(entries)
}

/// Whose settings a key holds; None where it holds none.
fn holds(key: &str, notes: &mut Vec<String>) -> Option<Place> {
    let lower = key.to_ascii_lowercase();
    let from = if lower.ends_with(POLICY) {
        Origin::Policy
    } else if lower.contains(MANAGER) && lower.ends_with(AREA) {
        if lower.contains(r"\policymanager\providers\") {
            Origin::Provider
        } else if lower.contains(r"\policymanager\current\") {
            Origin::Managed
        } else {
            // What may be set, as against what is.
            return None;
        }
    } else {
        if lower.contains(AREA) {
            notes.push(format!("{key} holds no policies; passed over"));
        }
        return None;
    };
    let hive = key.split('\\').next().unwrap_or(key);
    let tail = match from {
        Origin::Policy => r"..\Policies\..\DeliveryOptimization",
        Origin::Managed => r"..\PolicyManager\current\..",
        Origin::Provider => r"..\PolicyManager\Providers\..",
    };
    Some(Place {
        from,
        hive: format!("{hive}\\{tail}"),
    })
}

/// The lines of a text, with their numbers.
struct Lines<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Iterator for Lines<'t> {
    type Item = (usize, &'t str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.line += 1;
        Some((self.line, line))
    }
}

impl Lines<'_> {
    /// A line with those that go on with it: a text ends at its quote, hexadecimal digits go on after a backslash.
    fn joined(&mut self, line: &str) -> String {
        let mut whole = line.to_owned();
        let is_hex = quoted(line).is_some_and(|(_, value)| {
            let value = value.trim_start().trim_start_matches('=').trim_start();
            value.starts_with("hex")
        });
        if is_hex {
            while whole.ends_with('\\') {
                whole.pop();
                let Some((_, next)) = self.next() else { break };
                whole.push_str(next.trim());
            }
            return whole;
        }
        for _ in 0..TEXT_LINES_MAX {
            // A quote that is never closed ends where the next key begins.
            if !is_open(&whole) || self.rest.trim_start().starts_with('[') {
                break;
            }
            let Some((_, next)) = self.next() else { break };
            whole.push('\n');
            whole.push_str(next.trim_end());
        }
        whole
    }
}

/// Whether a name or its text still lacks the closing quote.
fn is_open(line: &str) -> bool {
    match quoted(line) {
        None => line.starts_with('"'),
        Some((_, value)) => {
            let value = value.trim_start().trim_start_matches('=').trim_start();
            value.starts_with('"') && quoted(value).is_none()
        }
    }
}

/// What stands between the quotes at the beginning, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut out = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &inner[at + 1..])),
            '\\' => out.push(chars.next()?.1),
            c => out.push(c),
        }
    }
    None
}

fn raw(value: &str) -> Result<Raw, String> {
    if value.starts_with('"') {
        let (text, rest) = quoted(value).ok_or("its text has no end")?;
        if !rest.trim().is_empty() && !rest.trim().starts_with(';') {
            return Err(format!("{:?} after its text", rest.trim()));
        }
        return Ok(Raw::Text(text));
    }
    let (kind, digits) = value.split_once(':').ok_or("is of no known kind")?;
    let digits = digits.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("dword") {
        let number = u32::from_str_radix(digits, 16);
        return number
            .map(|number| Raw::Number(number.into()))
            .map_err(|_| format!("{digits:?} is no dword"));
    }
    let bytes: Option<Vec<u8>> = digits
        .split(',')
        .map(str::trim)
        .filter(|byte| !byte.is_empty())
        .map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect();
    let bytes = bytes.ok_or("its bytes are not hexadecimal")?;
    match kind.to_ascii_lowercase().as_str() {
        "hex(1)" | "hex(2)" => Ok(Raw::Text(wide(&bytes).trim_end_matches('\0').to_owned())),
        "hex(7)" => {
            let all = wide(&bytes);
            let texts: Vec<_> = all.split('\0').filter(|text| !text.is_empty()).collect();
            Ok(Raw::Text(texts.join(",")))
        }
        "hex(4)" => Ok(
            <[u8; 4]>::try_from(bytes).map_or(Raw::Other("a short dword"), |bytes| {
                Raw::Number(u32::from_le_bytes(bytes).into())
            }),
        ),
        "hex(b)" => Ok(
            <[u8; 8]>::try_from(bytes).map_or(Raw::Other("a short qword"), |bytes| {
                i64::try_from(u64::from_le_bytes(bytes))
                    .map_or(Raw::Other("a number over 2^63"), Raw::Number)
            }),
        ),
        "hex" | "hex(0)" | "hex(3)" => Ok(Raw::Other("bytes")),
        _ => Err(format!("{kind} is of no known kind")),
    }
}

/// UTF-16, as the registry keeps its texts.
fn wide(bytes: &[u8]) -> String {
    let (units, _) = bytes.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    String::from_utf16_lossy(&units)
}
