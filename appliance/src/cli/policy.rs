//! `larder policy show`. The rule: what is printed is what the rules are given and what they decide, by asking them; no
//! decision is spelled out a second time here.

mod import;

use super::say;
use super::table::{self, Table};
use crate::config::{self, Checked, policy_effect, policy_names};
use crate::device;
use crate::get::{cache_folder, cache_hosts_of_this_network};
use crate::month;
use larder_net::discovery::names;
use larder_proto::policy::Priority::{Background, Foreground};
use larder_proto::policy::eligibility::may_use_cache_host;
use larder_proto::policy::serving::{Near, may_serve};
use larder_proto::policy::settings::{GB, Hours, KB, MB, PerPriority};
use larder_proto::policy::{
    Coordinator, Facts, Group, Names, PeerType, Policies, Role, bandwidth, cache, group,
    may_download, mode, taken,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Options of `larder policy`.
#[derive(clap::Args, Debug)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(clap::Subcommand, Debug)]
enum PolicyCommand {
    /// Print each setting, where it comes from, and what is decided by them on this machine now.
    Show(ShowArgs),
    /// Make a section "policy" of what Windows, Intune or the Linux agent has.
    Import(import::ImportArgs),
}

#[derive(clap::Args, Debug)]
struct ShowArgs {
    /// The configuration; without one: the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &PolicyArgs) -> anyhow::Result<ExitCode> {
    let args = match &args.command {
        PolicyCommand::Show(args) => args,
        PolicyCommand::Import(args) => return import::run(args),
    };
    let config = match config::load(args.config.as_deref()) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::FAILURE);
        }
    };
    if args.json {
        say(&serde_json::to_string_pretty(&all(&config))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (serve, get) = both(&config);
    let mut settings = Table::new(&["setting", "larder serve", "larder get", "from"]);
    for name in policy_names() {
        let (serve, get) = (value(name, &serve), value(name, &get));
        settings.row([name.to_owned(), serve, get, from(name, &config)]);
    }
    say(&settings.to_string())?;
    for (title, policies, folder) in [
        ("larder serve", &serve, store(&config)),
        ("larder get", &get, cache_folder(&config.policy)),
    ] {
        say(&format!(
            "\n{title} on this machine now, while a coordinator answers:"
        ))?;
        for (what, decision) in decisions(policies, &folder) {
            say(&format!("  {what}: {decision}"))?;
        }
    }
    let without: Vec<_> = policy_names()
        .filter(|name| policy_effect(name).is_some())
        .collect();
    if !without.is_empty() {
        say(&format!(
            "\nwithout effect on larder serve so far: {}",
            without.join(", ")
        ))?;
    }
    for warning in &config.warnings {
        if warning.starts_with("policy.") {
            say(&format!("\nnote: {warning}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a setting comes from; of the files beside the configuration by name.
fn from(name: &str, config: &Checked) -> String {
    if !config.policy.0.contains_key(name) {
        return "defaults".to_owned();
    }
    // Some names are spelt in two ways.
    let mut files = config.policy_files.iter();
    let file = files.find(|(spelt, _)| spelt.eq_ignore_ascii_case(name));
    match file.map(|(_, file)| file) {
        Some(file) if config.files.first() != Some(file) => file.display().to_string(),
        _ => "the file".to_owned(),
    }
}

fn both(config: &Checked) -> (Policies, Policies) {
    let policy = &config.policy;
    (policy.typed(Role::Appliance), policy.typed(Role::Device))
}

fn store(config: &Checked) -> PathBuf {
    config.store_paths.first().cloned().unwrap_or_default()
}

fn all(config: &Checked) -> Value {
    let (serve, get) = both(config);
    let of = |policies: &Policies, folder: &Path| {
        let settings = policy_names().map(|name| (name.to_owned(), json!(value(name, policies))));
        let decisions = decisions(policies, folder)
            .into_iter()
            .map(|(what, decision)| (what.to_owned(), json!(decision)));
        json!({
            "Settings": Value::Object(settings.collect()),
            "Decisions": Value::Object(decisions.collect()),
        })
    };
    let set: Vec<_> = policy_names()
        .filter(|name| config.policy.0.contains_key(name))
        .collect();
    let without: Vec<_> = policy_names()
        .filter_map(|name| policy_effect(name).map(|why| json!({"Setting": name, "Why": why})))
        .collect();
    json!({
        "serve": of(&serve, &store(config)),
        "get": of(&get, &cache_folder(&config.policy)),
        "Set": set,
        "Files": config.files,
        "WithoutEffect": without,
        "Warnings": config.warnings,
    })
}

/// A setting's value, in the seed's units.
fn value(name: &str, policies: &Policies) -> String {
    let p = policies;
    let in_units = |bytes: u64, unit: u64, name: &str| format!("{} {name}", bytes / unit);
    let or = |value: Option<String>, none: &str| value.unwrap_or_else(|| none.to_owned());
    let rate = |bytes_s: u64| match bytes_s {
        0 => "as much as there is".to_owned(),
        bytes_s => in_units(bytes_s, KB, "KB/s"),
    };
    let percent = |percent: u8| match percent {
        0 => "as much as there is".to_owned(),
        percent => format!("{percent} %"),
    };
    let list = |list: &[String]| {
        if list.is_empty() {
            "not set".to_owned()
        } else {
            list.join(", ")
        }
    };
    let hours = |hours: Option<Hours>| {
        let words = |h: Hours| {
            format!(
                "{} % {} from {} to {} o'clock, {} % outside",
                h.inside, h.days, h.from, h.to, h.outside
            )
        };
        or(hours.map(words), "not set")
    };
    let seconds = |of: &PerPriority<u64>, background: bool| {
        let seconds = if background {
            of.background
        } else {
            of.foreground
        };
        format!("{seconds} s")
    };
    match name {
        "DODownloadMode" => u8::from(p.mode).to_string(),
        "DOGroupID" => or(p.group_id.map(|id| id.to_string()), "not set"),
        "DOMinRAMAllowedToPeer" => in_units(p.ram_bytes_min, GB, "GB"),
        "DOMinDiskSizeAllowedToPeer" => in_units(p.disk_bytes_min, GB, "GB"),
        "DOMaxCacheAge" => or(p.cache_age_s_max.map(|s| format!("{s} s")), "unlimited"),
        "DOMaxCacheSize" => format!("{} %", p.cache_percent_max),
        "DOAbsoluteMaxCacheSize" => or(p.cache_bytes_max.map(|b| in_units(b, GB, "GB")), "not set"),
        "DOModifyCacheDrive" => "see below".to_owned(),
        "DOMinFileSizeToCache" => in_units(mode::file_bytes_min(p), MB, "MB"),
        "DOMaxDownloadBandwidth" => rate(p.download_bytes_s_max),
        "DOPercentageMaxDownloadBandwidth" => percent(p.download_percent_max),
        "DOMaxUploadBandwidth" => rate(p.upload_bytes_s_max),
        "DOMonthlyUploadDataCap" => match p.upload_month_bytes_max {
            0 => "unlimited".to_owned(),
            bytes => in_units(bytes, GB, "GB"),
        },
        "DOMinBackgroundQoS" => in_units(p.background_bytes_s_min, KB, "KB/s"),
        "DOAllowVPNPeerCaching" => p.vpn_peering.to_string(),
        "DOMinBatteryPercentageAllowedToUpload" => or(
            p.battery_percent_min.map(|percent| format!("{percent} %")),
            "never on battery",
        ),
        "DOPercentageMaxForegroundBandwidth" => percent(p.download_percent_max_of.foreground),
        "DOPercentageMaxBackgroundBandwidth" => percent(p.download_percent_max_of.background),
        "DOMaxForegroundDownloadBandwidth" => rate(p.download_bytes_s_max_of.foreground),
        "DOMaxBackgroundDownloadBandwidth" => rate(p.download_bytes_s_max_of.background),
        "DOSetHoursToLimitBackgroundDownloadBandwidth" => hours(p.hours.background),
        "DOSetHoursToLimitForegroundDownloadBandwidth" => hours(p.hours.foreground),
        "DORestrictPeerSelectionBy" => if p.same_subnet_only { "1" } else { "not set" }.to_owned(),
        "DOGroupIdSource" => or(p.group_source.map(|source| source.to_string()), "not set"),
        "DODelayBackgroundDownloadFromHttp" => seconds(&p.http_delay_s, true),
        "DODelayForegroundDownloadFromHttp" => seconds(&p.http_delay_s, false),
        "DOCacheHost" => list(&p.cache_hosts),
        "DOCacheHostSource" => or(
            p.cache_host_source.map(|source| source.to_string()),
            "not set",
        ),
        "DODelayCacheServerFallbackForeground" => seconds(&p.fallback_delay_s, false),
        "DODelayCacheServerFallbackBackground" => seconds(&p.fallback_delay_s, true),
        "DODisallowCacheServerDownloadsOnVPN" => (!p.vpn_cache_host).to_string(),
        "DOVpnKeywords" => list(&p.vpn_keywords),
        "policy_time_zone" => p.zone.name().to_owned(),
        "policy_dialect" => format!("{:?}", p.dialect)
            .trim_start_matches('Y')
            .to_lowercase(),
        _ => String::new(),
    }
}

/// What the network is called, as far as these policies want to know it.
fn names(policies: &Policies) -> Names {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(names::find(policies, Path::new("/"))),
        Err(_) => Names::default(),
    }
}

/// What the rules decide with these settings on this machine, where the cache lies in `folder`.
fn decisions(policies: &Policies, folder: &Path) -> Vec<(&'static str, String)> {
    let facts: Facts = device::facts(folder, policies);
    // A file that is large enough, with a coordinator that answers: what else there is to decide is decided then.
    let taken = taken(policies, None, Coordinator::Reachable);
    let may = |answer: Result<(), larder_proto::policy::Bar>| match answer {
        Ok(()) => "yes".to_owned(),
        Err(bar) => format!("no: {bar}"),
    };
    let (month_bytes, month) = month::shown(folder, policies.upload_month_bytes_max);
    let upload = |kind| {
        // Of the LAN are those in other subnets as well.
        let same_subnet = kind == PeerType::Lan;
        let near = Near { kind, same_subnet };
        may(may_serve(policies, &facts, near, month_bytes))
    };
    let names = names(policies);
    let found: Group = group(policies, &names);
    let limit = cache::limit(policies);
    let limit = match limit.bytes {
        Some(bytes) => table::bytes(bytes),
        None => format!("{} % of what the drive has to spare", limit.percent),
    };
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    let unix = unix.map_or(0, |since| since.as_secs());
    let mut decided = vec![
        ("mode", format!("{} ({})", u8::from(taken.mode), taken.why)),
        ("shares with", format!("{found}{}", names.trouble(&found))),
        (
            "pieces from peers",
            may(may_download(policies, &facts, taken)),
        ),
        ("pieces to peers of the LAN", upload(PeerType::Lan)),
        ("pieces to peers of the group", upload(PeerType::Group)),
        ("pieces to peers elsewhere", upload(PeerType::Internet)),
        ("sent to peers elsewhere this month", month),
        (
            "peers are used for files from",
            table::bytes(mode::file_bytes_min(policies)),
        ),
        ("cache", format!("{}, at most {limit}", folder.display())),
        (
            "a preferred device",
            if policies.is_preferred() { "yes" } else { "no" }.to_owned(),
        ),
    ];
    if policies.role == Role::Device {
        decided.push(("asked before the origin", before_origin(policies, &facts)));
    }
    decided.extend(speeds(policies, unix));
    decided
}

/// The cache hosts that a download would ask.
fn before_origin(policies: &Policies, facts: &Facts) -> String {
    let taken = taken(policies, None, Coordinator::Reachable);
    if !may_use_cache_host(policies, facts, taken) {
        return "nobody".to_owned();
    }
    let (hosts, why_not) = cache_hosts_of_this_network(policies);
    let hosts = match hosts.as_slice() {
        [] => "nobody".to_owned(),
        hosts => hosts.join(", "),
    };
    match why_not {
        Some(why) => format!("{hosts} (DHCP names none: {why})"),
        None => hosts,
    }
}

/// How fast what is downloaded may be at this moment, and until when that holds.
fn speeds(policies: &Policies, unix: u64) -> Vec<(&'static str, String)> {
    let limits = bandwidth::limits(policies, unix);
    let rows = [
        ("downloads that somebody waits for", Foreground, true),
        ("downloads in the background", Background, true),
        ("pieces from peers of the LAN", Foreground, false),
    ];
    let mut speeds: Vec<_> = rows
        .into_iter()
        .map(|(what, priority, line)| {
            let mut words: Vec<_> = limits.of(priority, line).map(ToString::to_string).collect();
            if words.is_empty() {
                words.push("as fast as they come".to_owned());
            }
            let hours = policies.hours.of(priority).filter(|_| line);
            let until = hours.and_then(|hours| hours.changes_after(unix, &policies.zone));
            if let Some(until) = until {
                let left = until.saturating_sub(unix).div_ceil(60);
                words.push(format!(
                    "the hours change in {} h {} min",
                    left / 60,
                    left % 60
                ));
            }
            (what, words.join("; "))
        })
        .collect();
    let upload = match policies.upload_bytes_s_max {
        0 => "as fast as they go".to_owned(),
        bytes => format!("at most {} KB/s (DOMaxUploadBandwidth)", bytes / KB),
    };
    speeds.push(("uploads to peers", upload));
    let clients = "never limited".to_owned();
    speeds.push(("what clients are given out of the store", clients));
    speeds
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_proto::policy::Dialect;

    #[test]
    fn every_setting_has_a_value_in_words() {
        for role in [Role::Appliance, Role::Device] {
            let policies = Policies::defaults(role, Dialect::Y2018);
            for name in policy_names() {
                assert!(!value(name, &policies).is_empty(), "{name}");
            }
        }
        let device = Policies::defaults(Role::Device, Dialect::Current);
        let rows = [
            ("DODownloadMode", "1"),
            ("DOMaxCacheAge", "259200 s"),
            ("DOMinRAMAllowedToPeer", "4 GB"),
            ("DOMinBackgroundQoS", "2500 KB/s"),
            ("DOMinFileSizeToCache", "50 MB"),
            ("DOMonthlyUploadDataCap", "20 GB"),
            ("policy_dialect", "current"),
        ];
        for (name, words) in rows {
            assert_eq!(value(name, &device), words, "{name}");
        }
    }
}
