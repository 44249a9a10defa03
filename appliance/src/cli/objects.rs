//! `larder ls`, `stat`, `purge`, `pin`, `unpin`, `verify`. The rule: an object is named as its clients know it, and a
//! command that changes something says how much it changed.

use super::client::{Whom, encoded};
use super::say;
use super::table::{Table, bytes};
use crate::admin::objects::{Looked, Shown};
use anyhow::{Context, bail};
use hyper::Method;
use larder_storage::proof::{Trust, Whole};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::process::ExitCode;

/// Options of the commands about objects.
#[derive(clap::Args, Debug)]
pub(super) struct ObjectArgs {
    /// A URL as clients know it (http://host/path); one that ends in * for all that begin so; a host; or a content
    /// number of 16 hexadecimal digits, as `ls` shows them.
    what: Option<String>,
    /// All objects.
    #[arg(long, conflicts_with = "what")]
    all: bool,
    /// Write JSON, for programs.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    whom: Whom,
}

impl ObjectArgs {
    /// The query that means the objects.
    pub(super) fn selector(&self, default_all: bool) -> anyhow::Result<String> {
        let Some(what) = &self.what else {
            if self.all || default_all {
                return Ok("all=true".to_owned());
            }
            bail!("name an object, or --all for all of them");
        };
        let is_number = what.len() == 16 && what.bytes().all(|b| b.is_ascii_hexdigit());
        let (key, value) = match what.strip_suffix('*') {
            Some(prefix) if what.contains("://") => ("prefix", prefix),
            None if what.contains("://") => ("url", what.as_str()),
            _ if is_number => ("content", what.as_str()),
            _ if what.contains(['/', '*']) => {
                bail!(
                    "{what:?} is neither a URL (http://host/path) nor a host nor a content number"
                );
            }
            _ => ("host", what.as_str()),
        };
        Ok(format!("{key}={}", encoded(value)))
    }

    pub(super) fn ask(&self, method: Method, path: &str, query: &str) -> anyhow::Result<Value> {
        let target = format!("/api/v1/{path}?{query}");
        self.whom.ask(method, &target)?.json()
    }

    pub(super) fn say_json(&self, value: &Value) -> anyhow::Result<()> {
        Ok(say(&serde_json::to_string_pretty(value)?)?)
    }
}

/// The list under `objects` of an answer.
fn list<T: DeserializeOwned>(answer: &Value) -> anyhow::Result<Vec<T>> {
    let objects = answer.get("objects").cloned().unwrap_or(Value::Null);
    serde_json::from_value(objects).context("the appliance is of another version")
}

pub(super) fn ls(args: &ObjectArgs) -> anyhow::Result<ExitCode> {
    let answer = args.ask(Method::GET, "objects", &args.selector(true)?)?;
    if args.json {
        args.say_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let objects: Vec<Shown> = list(&answer)?;
    let mut table = Table::new(&["CONTENT", ">SIZE", ">STORED", ">PIECES", "TRUST", "", "URL"]);
    for object in &objects {
        table.row([
            object.content.clone(),
            bytes(object.length),
            bytes(object.bytes_stored),
            format!("{}/{}", object.pieces_stored, object.pieces),
            object.trust.to_string(),
            if object.pinned { "pinned" } else { "" }.to_owned(),
            object.url.clone(),
        ]);
    }
    say(&table.to_string())?;
    let stored = objects.iter().map(|object| object.bytes_stored).sum();
    say(&format!(
        "{} objects, {} on disk",
        objects.len(),
        bytes(stored)
    ))?;
    if let Some(more @ 1..) = answer.get("left_out").and_then(Value::as_u64) {
        say(&format!(
            "{more} more were left out; name a host or a prefix"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn stat(args: &ObjectArgs) -> anyhow::Result<ExitCode> {
    let answer = args.ask(Method::GET, "objects", &args.selector(false)?)?;
    let objects: Vec<Shown> = list(&answer)?;
    if objects.is_empty() {
        bail!("this is not stored here");
    }
    if args.json {
        args.say_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    for object in &objects {
        let yes = |is| if is { "yes" } else { "no" }.to_owned();
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let fresh = object.fresh_until.map_or_else(
            || "always, its URL names its content".to_owned(),
            |until| format!("until {until} (seconds since 1970)"),
        );
        for (name, value) in [
            ("URL", object.url.clone()),
            ("Content", object.content.clone()),
            (
                "Size",
                format!("{} ({} bytes)", bytes(object.length), object.length),
            ),
            (
                "Stored",
                format!(
                    "{} ({} bytes)",
                    bytes(object.bytes_stored),
                    object.bytes_stored
                ),
            ),
            (
                "Pieces",
                format!("{} of {}", object.pieces_stored, object.pieces),
            ),
            ("Trust", trust_of(object)),
            ("SHA-1", sha1_of(object)),
            ("Piece hashes", hashes_of(object)),
            ("Pinned", yes(object.pinned)),
            ("Fresh", fresh),
            (
                "Stored at",
                format!("{} (seconds since 1970)", object.stored_at),
            ),
            ("ETag", or_none(&object.etag)),
            ("Last-Modified", or_none(&object.last_modified)),
            ("Content-Type", or_none(&object.content_type)),
            ("Key", object.key.clone()),
        ] {
            say(&format!("{name:<14} {value}"))?;
        }
        say("")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn trust_of(object: &Shown) -> String {
    let Shown {
        trust,
        pieces_verified,
        pieces_stored,
        ..
    } = object;
    match trust {
        Trust::Verified => "verified".to_owned(),
        _ if *pieces_verified > 0 => {
            format!("{trust}; {pieces_verified} of {pieces_stored} stored pieces are verified")
        }
        _ => trust.to_string(),
    }
}

fn sha1_of(object: &Shown) -> String {
    match object.sha1 {
        None => "the URL names none",
        Some(Whole::Unknown) => "not computed: not all of it has come",
        Some(Whole::Matches) => "as the URL names it",
        Some(Whole::Differs) => "another than the URL names, twice in the same version",
    }
    .to_owned()
}

fn hashes_of(object: &Shown) -> String {
    object.hashes.as_ref().map_or("-".to_owned(), |hashes| {
        let word = if hashes.trusted { "trusted" } else { "a hint" };
        format!("{} ({word}, from {})", hashes.content_id, hashes.url)
    })
}

pub(super) fn purge(args: &ObjectArgs) -> anyhow::Result<ExitCode> {
    let answer = args.ask(Method::POST, "purge", &args.selector(false)?)?;
    if args.json {
        args.say_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let number = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
    say(&format!(
        "purged {} objects, {} on disk",
        number("objects"),
        bytes(number("bytes"))
    ))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn pin(args: &ObjectArgs, pinned: bool) -> anyhow::Result<ExitCode> {
    let query = format!("{}&pinned={pinned}", args.selector(false)?);
    let answer = args.ask(Method::POST, "pin", &query)?;
    if args.json {
        args.say_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let objects = answer.get("objects").and_then(Value::as_u64).unwrap_or(0);
    let word = if pinned { "pinned" } else { "unpinned" };
    say(&format!("{word} {objects} objects"))?;
    Ok(ExitCode::SUCCESS)
}

/// Exit code 1 where something was damaged: it is forgotten now, and fetched again when somebody wants it. Object by
/// object, since reading a full disk takes hours and a person wants to see that it goes on.
pub(super) fn verify(args: &ObjectArgs) -> anyhow::Result<ExitCode> {
    let answer = args.ask(Method::GET, "objects", &args.selector(false)?)?;
    let meant: Vec<Shown> = list(&answer)?;
    let mut looked = Vec::new();
    let mut table = Table::new(&["CONTENT", ">GOOD", ">ABSENT", ">BAD", "URL"]);
    for object in &meant {
        let query = format!("content={}", object.content);
        let answer = args.ask(Method::POST, "verify", &query)?;
        for object in list::<Looked>(&answer)? {
            table.row([
                object.content.clone(),
                object.pieces_good.to_string(),
                object.pieces_absent.to_string(),
                object.pieces_bad.to_string(),
                object.url.clone(),
            ]);
            for bad in object.bad.iter().filter(|_| !args.json) {
                say(&format!(
                    "{} piece {}: {}/{} at byte {}: {}",
                    object.url, bad.piece, bad.disk, bad.slab, bad.offset, bad.why
                ))?;
            }
            if object.sha1_matches == Some(false) && !args.json {
                say(&format!(
                    "{}: the file does not have the SHA-1 that its URL names",
                    object.url
                ))?;
            }
            looked.push(object);
        }
    }
    let bad: u32 = looked.iter().map(|object| object.pieces_bad).sum();
    if args.json {
        args.say_json(&serde_json::json!({ "objects": looked }))?;
    } else {
        say(&table.to_string())?;
        say(&match bad {
            0 => format!("{} objects, nothing damaged", looked.len()),
            bad => {
                format!("{bad} pieces were damaged; they are forgotten and will be fetched again")
            }
        })?;
    }
    Ok(if bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(what: Option<&str>, all: bool) -> ObjectArgs {
        ObjectArgs {
            what: what.map(str::to_owned),
            all,
            json: false,
            whom: Whom::default(),
        }
    }

    #[test]
    fn what_is_meant_is_seen_from_its_form() {
        for (what, query) in [
            ("http://a.example/x", "url=http%3A%2F%2Fa.example%2Fx"),
            ("http://a.example/x*", "prefix=http%3A%2F%2Fa.example%2Fx"),
            ("a.example", "host=a.example"),
            ("a.example:8530", "host=a.example%3A8530"),
            ("00ff00ff00ff00ff", "content=00ff00ff00ff00ff"),
        ] {
            assert_eq!(
                named(Some(what), false).selector(false).expect("plain"),
                query
            );
        }
        assert!(named(Some("/x"), false).selector(false).is_err());
        assert!(named(Some("*.example"), false).selector(false).is_err());
    }

    #[test]
    fn to_change_all_takes_a_word() {
        assert!(named(None, false).selector(false).is_err());
        assert_eq!(named(None, true).selector(false).expect("said"), "all=true");
        assert_eq!(
            named(None, false).selector(true).expect("a listing"),
            "all=true"
        );
    }
}
