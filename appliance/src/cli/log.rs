//! `larder log`: the seed's `Get-DeliveryOptimizationLog`, and the figures of its log analysis. The rule: a line that can not
//! be read is passed over and counted, and the entries come in the order of their times, whatever file they are in.

use super::client::Whom;
use super::say;
use super::status::say_keys;
use super::table::{Table, bytes};
use crate::journal::analysis::analyze;
use crate::journal::entry::Entry;
use crate::journal::folder_of;
use anyhow::{Context, bail};
use hyper::Method;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const MEANING: &str = "Without --path the log of the appliance is read, which lies in log/ in its first store directory: downloads.jsonl \
     and peers.jsonl, each with its predecessors, 20 MiB at most. Its objects have TimeCreated, ProcessId, ThreadId, Level, \
     LevelName, Message and Function; those of downloads that have ended also Download, those of connections to peers that \
     have ended Connection, with the addresses of peers as [privacy] shows them and for as long.\n\n--analyze prints Files, \
     EligibleFiles (whose mode lets peers bring them), PeeringFiles (of which peers brought something), TotalBytes, \
     BytesFromHttp, BytesFromPeers and Efficiency (percent of the bytes that came from peers).";

/// Options of `larder log`.
#[derive(clap::Args, Debug)]
#[command(after_help = MEANING)]
pub(super) struct LogArgs {
    /// Files to read; * and ? stand for characters of a file's name.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    path: Vec<String>,
    /// Have the running appliance write what it has not yet written. It asks for the token.
    #[arg(long)]
    flush: bool,
    /// Add the log up.
    #[arg(long)]
    analyze: bool,
    /// With --analyze: also print each connection to a peer.
    #[arg(long, requires = "analyze")]
    list_connections: bool,
    /// Write JSON, for programs: an object in each line; with --analyze one object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whom: Whom,
}

pub(super) fn run(args: &LogArgs) -> anyhow::Result<ExitCode> {
    if args.flush {
        args.whom.ask(Method::POST, "/api/v1/log/flush")?.json()?;
    }
    let files = if args.path.is_empty() {
        let (_, store) = args.whom.find()?;
        let store = store.context(
            "the log lies on the appliance's machine; name its configuration by --config, or files by --path",
        )?;
        let pattern = folder_of(&store).join("*.jsonl");
        matching(&pattern.to_string_lossy())?
    } else {
        let mut files = Vec::new();
        for pattern in &args.path {
            let found = matching(pattern)?;
            if found.is_empty() {
                bail!("no file matches {pattern}");
            }
            files.extend(found);
        }
        files.sort();
        files.dedup();
        files
    };
    let (mut entries, mut unread) = (Vec::new(), 0);
    for file in &files {
        let text = fs::read(file).with_context(|| {
            format!(
                "cannot read {}; run this as the user that larder runs as",
                file.display()
            )
        })?;
        for line in String::from_utf8_lossy(&text)
            .lines()
            .filter(|line| !line.is_empty())
        {
            match serde_json::from_str::<Entry>(line) {
                Ok(entry) => entries.push(entry),
                Err(_) => unread += 1,
            }
        }
    }
    entries.sort_by(|a, b| a.time_created.cmp(&b.time_created));
    if args.analyze {
        say_analysis(&entries, args)?;
    } else {
        for entry in &entries {
            if args.json {
                say(&serde_json::to_string(entry)?)?;
            } else {
                say(&entry.to_string())?;
            }
        }
    }
    if unread > 0 {
        eprintln!("larder: {unread} lines are no entries of a log, or were cut off");
    }
    Ok(ExitCode::SUCCESS)
}

fn say_analysis(entries: &[Entry], args: &LogArgs) -> anyhow::Result<()> {
    let analysis = analyze(entries, args.list_connections);
    let mut shown = serde_json::to_value(&analysis)?;
    if args.json {
        return Ok(say(&serde_json::to_string_pretty(&shown)?)?);
    }
    if let Some(keys) = shown.as_object_mut() {
        keys.remove("Connections");
    }
    say_keys(&shown)?;
    if let Some(connections) = analysis.connections {
        let mut table = Table::new(&["IP", "TYPE", ">RECEIVED", ">SECONDS", "URL"]);
        for one in connections {
            table.row([
                one.ip,
                one.peer_type,
                bytes(one.bytes_received),
                one.seconds.to_string(),
                one.source_url,
            ]);
        }
        say(&format!("\n{table}"))?;
    }
    Ok(())
}

/// The files that a path with wildcards in its last part means. One without names itself.
fn matching(pattern: &str) -> anyhow::Result<Vec<PathBuf>> {
    let path = Path::new(pattern);
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let Some(name) = name.filter(|name| name.contains(['*', '?'])) else {
        return Ok(vec![path.to_path_buf()]);
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        entries => entries.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    for entry in entries {
        let entry = entry?;
        let is_meant = matches(
            name.as_bytes(),
            entry.file_name().to_string_lossy().as_bytes(),
        );
        if is_meant && entry.path().is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a name matches: `*` is any characters, `?` one.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut of) = (0, 0);
    // Where the last star was, and what it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while of < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(b'?') => (at, of) = (at + 1, of + 1),
            Some(byte) if *byte == name[of] => (at, of) = (at + 1, of + 1),
            _ => match &mut star {
                Some((from, taken)) => {
                    *taken += 1;
                    (at, of) = (*from + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_characters() {
        for (pattern, name, does) in [
            ("*.jsonl", "downloads.1.jsonl", true),
            ("down*.jsonl", "downloads.jsonl", true),
            ("downloads.?.jsonl", "downloads.1.jsonl", true),
            ("downloads.?.jsonl", "downloads.jsonl", false),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbx", false),
            ("*", "", true),
            ("", "x", false),
            ("a**", "a", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                does,
                "{pattern} {name}"
            );
        }
    }
}
