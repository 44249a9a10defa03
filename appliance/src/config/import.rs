//! Settings of other programs as a `[policy]` section. The rule: each line is read as `serve` would read it before it
//! is given out, and a file that it is put into keeps every other byte.

use super::policy::{self, known, spelling};
use super::problem::meant;
use super::raw::{Section, parse};
use larder_proto::policy::import::{self, ImportError, Value};
use std::ops::Range;
use toml::de::DeTable;

/// Which variables are set is known where larder runs, not where a file is read.
const ANYTHING: fn(&str) -> Option<String> = |_| Some("any".to_owned());

/// What an import came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Imported {
    /// The settings, by name, with their values as TOML has them.
    pub settings: Vec<(&'static str, String)>,
    /// What was left out, or has no effect, and why.
    pub warnings: Vec<String>,
}

impl Imported {
    /// The section, as it stands in a configuration.
    #[must_use]
    pub fn section(&self) -> String {
        let lines = self.settings.iter();
        let lines = lines.map(|(name, value)| format!("\n{name} = {value}"));
        format!("[policy]{}", lines.collect::<String>())
    }
}

/// Reads what another program wrote.
///
/// # Errors
/// A line for each thing that is wrong: no such file, or settings that are not known.
pub fn import(bytes: &[u8]) -> Result<Imported, Vec<String>> {
    let known = known();
    let found =
        import::read(bytes, &known).map_err(|error: ImportError| vec![error.to_string()])?;
    if !found.unknown.is_empty() {
        let names: Vec<_> = known.iter().map(|known| known.name).collect();
        let lines = found.unknown.iter().map(|unknown| {
            let what = match meant(&unknown.name, &names) {
                Some(name) => format!("did you mean {name}?"),
                None => "take it out, or see the names in: larder policy show".to_owned(),
            };
            format!("{} ({}) is not known; {what}", unknown.name, unknown.place)
        });
        return Err(lines.collect());
    }
    let mut settings = Vec::new();
    let mut warnings = found.notes;
    for (name, value) in found.settings {
        match trouble(name, &value) {
            None => settings.push((name, value.to_string())),
            Some(what) => warnings.push(format!("{name} is left out: {what}")),
        }
    }
    let imported = Imported { settings, warnings };
    let text = imported.section();
    let (document, _) = parse(&text);
    let mut section = Section::root(document.get_ref()).section("policy");
    let mut told = Vec::new();
    policy::read(&mut section, ANYTHING, &mut told);
    let mut warnings = imported.warnings;
    warnings.extend(told);
    Ok(Imported {
        warnings,
        ..imported
    })
}

/// Why a setting can not have this value.
fn trouble(name: &'static str, value: &Value) -> Option<String> {
    let text = format!("[policy]\n{name} = {value}\n");
    let (document, mut problems) = parse(&text);
    let mut section = Section::root(document.get_ref()).section("policy");
    // What is ignored is told of the whole.
    policy::read(&mut section, ANYTHING, &mut Vec::new());
    problems.extend(section.close());
    problems.into_iter().next().map(|problem| problem.what)
}

/// `text`, a configuration, with these settings in its `[policy]`.
///
/// # Errors
/// What stands in the way, and what to do.
pub fn with_policy(text: &str, settings: &[(&'static str, String)]) -> Result<String, String> {
    let by_hand = "put the lines in by hand";
    let (document, problems) = parse(text);
    if !problems.is_empty() {
        return Err("it is not TOML; see larder check-config".to_owned());
    }
    let section = document
        .get_ref()
        .get("policy")
        .map(|value| value.get_ref());
    let section = section.and_then(|value| value.as_table());
    let mut out = text.to_owned();
    let mut news = String::new();
    let mut changes: Vec<(Range<usize>, &str)> = Vec::new();
    for (name, value) in settings {
        let spans = |name: &str| {
            let (_, value) = section?.iter().find(|(key, _)| key.get_ref() == name)?;
            Some(value.span())
        };
        // Hours may also be a table of their own, which this does not take apart.
        match spans(name).or_else(|| spans(spelling(name)?)) {
            Some(span) => changes.push((span, value)),
            None => news.push_str(&format!("{name} = {value}\n")),
        }
    }
    changes.sort_by_key(|(span, _)| span.start);
    for (span, value) in changes.iter().rev() {
        if out.get(span.clone()).is_none() {
            return Err(by_hand.to_owned());
        }
        out.replace_range(span.clone(), value);
    }
    if !news.is_empty() {
        if let Some(at) = end_of_header(&out) {
            if !out[..at].ends_with('\n') {
                news.insert(0, '\n');
            }
            out.insert_str(at, &news);
        } else {
            if !out.is_empty() && !out.ends_with('\n') {
                out.push('\n');
            }
            out.push_str(&format!("\n[policy]\n{news}"));
        }
    }
    // Whatever the form of the file: the same but for these settings, or not at all.
    let (changed, problems) = parse(&out);
    let holds = |(name, value): &(&str, String)| {
        let section = changed.get_ref().get("policy");
        let section = section.and_then(|value| value.get_ref().as_table());
        let wanted = format!("x = {value}");
        let (wanted, _) = parse(&wanted);
        let wanted = wanted
            .get_ref()
            .get("x")
            .map(|value| value.get_ref().clone());
        let found = |name: &str| section?.get(name).map(|value| plain(value.get_ref()));
        let found = found(name).or_else(|| found(spelling(name)?));
        found == wanted.as_ref().map(plain)
    };
    if !problems.is_empty()
        || !settings.iter().all(holds)
        || others(document.get_ref(), settings) != others(changed.get_ref(), settings)
    {
        return Err(format!(
            "its [policy] is written in a form that is not edited; {by_hand}"
        ));
    }
    Ok(out)
}

/// A value without its place.
fn plain(value: &toml::de::DeValue<'_>) -> String {
    use toml::de::DeValue;
    match value {
        DeValue::Table(table) => {
            let of = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
                let key: &toml::de::DeString<'_> = key.get_ref();
                format!("{key:?}:{}", plain(value.get_ref()))
            };
            let mut all: Vec<_> = table.iter().map(of).collect();
            all.sort();
            format!("{{{}}}", all.join(","))
        }
        DeValue::Array(all) => {
            let all: Vec<_> = all.iter().map(|value| plain(value.get_ref())).collect();
            format!("[{}]", all.join(","))
        }
        other => format!("{other:?}"),
    }
}

/// All that a file says beside these settings.
fn others(document: &DeTable<'_>, settings: &[(&'static str, String)]) -> Vec<String> {
    let is_set = |key: &str| {
        let set = |(name, _): &(&str, String)| *name == key || spelling(name) == Some(key);
        settings.iter().any(set)
    };
    let mut all = Vec::new();
    for (key, value) in document {
        let section = value.get_ref().as_table();
        match section.filter(|_| key.get_ref() == "policy") {
            None => all.push(format!("{}: {}", key.get_ref(), plain(value.get_ref()))),
            Some(section) => {
                for (key, value) in section {
                    if !is_set(key.get_ref()) {
                        all.push(format!(
                            "policy.{}: {}",
                            key.get_ref(),
                            plain(value.get_ref())
                        ));
                    }
                }
            }
        }
    }
    all.sort();
    all
}

/// Where the line after `[policy]` begins.
fn end_of_header(text: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        let header = line.split('#').next().unwrap_or_default().trim();
        let inner = header.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        if inner.is_some_and(|inner| inner.trim() == "policy") {
            return Some(at);
        }
    }
    None
}
