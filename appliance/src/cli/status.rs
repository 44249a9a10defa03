//! `larder status`: the seed's `Get-DeliveryOptimizationStatus`. The rule: an object has the cmdlet's keys, all of them;
//! what is shown to people is a part of the same rows.

use super::client::Whom;
use super::say;
use super::table::{Table, bytes};
use crate::cmdlets::status::{MORE_KEYS, PEER_KEY, Row};
use anyhow::Context;
use hyper::Method;
use serde_json::Value;
use std::process::ExitCode;

/// Rows of a table; where there are more, it says so.
const ROWS_MAX: usize = 50;

const KEYS: &str = "Keys, as --json and --verbose print them (in brackets those of Windows 10 of 2018, where they differ):\n  \
     FileId, FileSize, FileSizeInCache, TotalBytesDownloaded, PercentPeerCaching, BytesFromPeers, BytesFromHttp, Status \
     (Downloading, Caching: all of it is here for clients and peers, Complete: what was wanted of it has come, Paused), \
     Priority, BytesFromCacheServer, BytesFromLanPeers, BytesFromGroupPeers, BytesFromInternetPeers (BytesFromIntPeers), \
     BytesToLanPeers, BytesToGroupPeers, BytesToInternetPeers, DownloadDuration (seconds), HttpConnectionCount, \
     LanConnectionCount, GroupConnectionCount, InternetConnectionCount (IntConnectionCount), DownloadMode, SourceURL \
     (HTTPUrl), CacheHost, NumPeers, PredefinedCallerApplication, ExpireOn, IsPinned.\n  \
     With --peer-info also PeerInfo: IP, PeerType, ConnectionEstablished, BytesSent, BytesReceived, UploadRateBytes, \
     DownloadRateBytes.\n\nBytes are those since larder has started.";

/// Options of `larder status`.
#[derive(clap::Args, Debug)]
#[command(after_help = KEYS)]
pub(super) struct StatusArgs {
    /// Print every key, and what larder knows besides.
    #[arg(long)]
    verbose: bool,
    /// Print the peers that are connected for each file.
    #[arg(long)]
    peer_info: bool,
    /// Print all files, and not the first of them alone.
    #[arg(long)]
    all: bool,
    /// Write JSON, for programs: an array with an object for each file.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whom: Whom,
}

pub(super) fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let answer = args.whom.ask(Method::GET, "/api/v1/downloads")?.json()?;
    let downloads = answer.get("downloads").cloned().unwrap_or(Value::Null);
    if args.json {
        let shown = shown(downloads, args.verbose, args.peer_info);
        say(&serde_json::to_string_pretty(&shown)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let count = downloads.as_array().map_or(0, Vec::len);
    let most = if args.all { usize::MAX } else { ROWS_MAX };
    if args.verbose {
        say_lists(shown(downloads, true, args.peer_info), most)?;
    } else {
        let rows: Vec<Row> =
            serde_json::from_value(downloads).context("the appliance is of another version")?;
        say_table(&rows, most, args.peer_info)?;
    }
    if count > most {
        say(&format!(
            "\n{} more are here; --all shows them",
            count - most
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The objects with the keys that are asked for.
fn shown(mut downloads: Value, verbose: bool, peers: bool) -> Value {
    for one in downloads.as_array_mut().into_iter().flatten() {
        let Some(keys) = one.as_object_mut() else {
            continue;
        };
        if !peers {
            keys.remove(PEER_KEY);
        }
        if !verbose {
            keys.retain(|key, _| !MORE_KEYS.contains(&key.as_str()));
        }
    }
    downloads
}

fn say_table(rows: &[Row], most: usize, peers: bool) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        "STATUS",
        "PRIORITY",
        ">SIZE",
        ">DOWNLOADED",
        ">FROM HTTP",
        ">FROM PEERS",
        ">PEERS %",
        ">SECONDS",
        "URL",
    ]);
    for row in rows.iter().take(most) {
        table.row([
            format!("{:?}", row.status),
            row.priority.clone(),
            bytes(row.file_size),
            bytes(row.total_bytes_downloaded),
            bytes(row.bytes_from_http),
            bytes(row.bytes_from_peers),
            format!("{:.0}", row.percent_peer_caching.floor()),
            format!("{:.1}", row.download_duration),
            row.source_url.clone(),
        ]);
    }
    say(&table.to_string())?;
    if !peers {
        return Ok(());
    }
    let mut table = Table::new(&["IP", "TYPE", ">SENT", ">RECEIVED", "URL"]);
    for row in rows.iter().take(most) {
        for peer in &row.peer_info {
            table.row([
                peer.ip.clone(),
                peer.peer_type.clone(),
                bytes(peer.bytes_sent),
                bytes(peer.bytes_received),
                row.source_url.clone(),
            ]);
        }
    }
    say(&format!("\n{table}"))?;
    Ok(())
}

fn say_lists(downloads: Value, most: usize) -> anyhow::Result<()> {
    let rows = downloads.as_array().into_iter().flatten();
    for (nth, row) in rows.take(most).enumerate() {
        if nth > 0 {
            say("")?;
        }
        say_keys(row)?;
    }
    Ok(())
}

/// An object as PowerShell lists one: a key in each line.
pub(super) fn say_keys(object: &Value) -> anyhow::Result<()> {
    let keys = object.as_object().into_iter().flatten();
    let wide = keys.clone().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in keys {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            value => value.to_string(),
        };
        say(format!("{key:<wide$} : {value}").trim_end())?;
    }
    Ok(())
}
