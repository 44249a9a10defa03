//! Settings as other programs keep them: a registry export of Windows, what Intune gives out, the Linux agent's file.
//! The rule: no input panics; what a setting may be is decided by who reads the configuration, not here, and nothing
//! that concerns Delivery Optimization is passed over in silence.
//!
//! `text` makes characters of bytes, `registry` and `json` find the settings in them, `gather` says which of them hold.

mod gather;
mod json;
mod registry;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// What kind of value a setting has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// A number, in the setting's unit.
    Number,
    /// Yes or no, which Windows writes as 1 and 0.
    Flag,
    /// A text.
    Text,
    /// Business hours, which Windows writes as four values or as a piece of XML.
    Hours,
}

/// A setting that may be met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// Its name. Other programs may write it in other case, as Windows does in its registry.
    pub name: &'static str,
    /// What its value is.
    pub shape: Shape,
}

/// A value that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// A text.
    Text(String),
    /// Business hours: from, to, and the percentages inside and outside of them.
    Hours([u64; 4]),
}

impl fmt::Display for Value {
    /// As TOML has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Hours([from, to, inside, outside]) => write!(
                f,
                "{{ from = {from}, to = {to}, inside = {inside}, outside = {outside} }}"
            ),
            Self::Text(text) => {
                f.write_char('"')?;
                for c in text.chars() {
                    match c {
                        '"' | '\\' => write!(f, "\\{c}")?,
                        c if c.is_control() => write!(f, "\\u{:04X}", u32::from(c))?,
                        c => f.write_char(c)?,
                    }
                }
                f.write_char('"')
            }
        }
    }
}

/// A setting that nobody knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unknown {
    /// Its name, as it is written.
    pub name: String,
    /// Where it stands.
    pub place: String,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Import {
    /// The settings that hold, by their known names.
    pub settings: BTreeMap<&'static str, Value>,
    /// What was left out or means nothing here, and why.
    pub notes: Vec<String>,
    /// What belongs to Delivery Optimization and is not known.
    pub unknown: Vec<Unknown>,
}

/// Why nothing could be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ImportError {
    /// Not characters, in no encoding that these files have.
    #[error(
        "is neither UTF-8 nor UTF-16; name the export itself, not an archive or a registry hive"
    )]
    NotText,
    /// Characters, but no known form.
    #[error(
        "is neither a registry export (its first line is \"Windows Registry Editor Version 5.00\") nor JSON; \
         write one on Windows: reg export HKLM\\SOFTWARE\\Policies\\Microsoft\\Windows\\DeliveryOptimization FILE"
    )]
    NoForm,
    /// A form that breaks off or goes wrong.
    #[error("line {line}: {what}")]
    Broken {
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what to do.
        what: String,
    },
    /// A known form without a policy in it.
    #[error(
        "holds no setting of Delivery Optimization: none under Policies\\Microsoft\\Windows\\DeliveryOptimization or \
         PolicyManager, no OMA-URI ./Device/Vendor/MSFT/Policy/Config/DeliveryOptimization/.., and no DO.. key; export \
         the policies of a machine that has some"
    )]
    Nothing,
}

/// One setting as it stands in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    name: String,
    raw: Raw,
    from: Origin,
    place: String,
}

/// A value as it stands in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Raw {
    Number(i64),
    Text(String),
    Flag(bool),
    /// A kind of value that no setting has, by its name.
    Other(&'static str),
}

/// Who set it; the later one holds, since Group Policy goes before device management on Windows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Origin {
    /// What one provider of device management asked for.
    Provider,
    /// What device management made of all its providers.
    Managed,
    /// Group Policy, or a file that knows of no other.
    Policy,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Provider => "a provider of device management",
            Self::Managed => "device management",
            Self::Policy => "Group Policy",
        })
    }
}

/// Reads a file of any known form.
///
/// # Errors
/// [`ImportError`], where it has none, or holds no policy.
pub fn read(bytes: &[u8], known: &[Known]) -> Result<Import, ImportError> {
    let text = text::decode(bytes)?;
    let begin = text.trim_start();
    let mut notes = Vec::new();
    let entries = if begin.starts_with("Windows Registry Editor") || begin.starts_with("REGEDIT") {
        registry::read(&text, &mut notes)?
    } else if begin.starts_with(['{', '[']) {
        json::read(&text, &mut notes)?
    } else {
        return Err(ImportError::NoForm);
    };
    if entries.is_empty() {
        return Err(ImportError::Nothing);
    }
    Ok(gather::gather(entries, known, notes))
}
