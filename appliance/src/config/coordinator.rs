//! `[coordinator]`: whether this process is a coordinator, or which one it asks. The rule: a secret stands in a file of
//! its own, is read when the file is checked, and is never shown.

use super::check::Machine;
use super::raw::{Section, Spotted};
use ipnet::IpNet;
use larder_net::coordinator::{
    ClientOptions, DEFAULT_PORT, Key, Publisher, RedisOptions, ServiceOptions,
};
use larder_proto::tracker::Guid;
use larder_proto::tracker::site::Sites;
use larder_proto::tracker::state::Limits;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

const MODES: &str = "\"embedded\" or \"off\"";
const BACKENDS: &str = "\"memory\" or \"redis://host:port,host:port\"";
const URL: &str = "a URL, as in \"https://larder.example.org:7681\"";
const KEY_FILE: &str = "the path of a file that holds the key";
const NETWORKS: &str = "[\"10.1.0.0/16\", \"2001:db8:1::/48\"]";

/// A coordinator in this process.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// Where it serves HTTP.
    pub http: Vec<SocketAddr>,
    /// Where it serves HTTPS, with the certificates of `[tls]`.
    pub https: Vec<SocketAddr>,
    /// The file names addresses: one that can not be had is an error then.
    pub is_asked_for: bool,
    /// What it goes by.
    pub service: ServiceOptions,
    /// Records in all.
    pub records_max: usize,
    /// Bytes of all records that are kept in memory.
    pub record_bytes_max: usize,
    /// Where it keeps things; None is in memory.
    pub redis: Option<RedisOptions>,
}

/// What `[coordinator]` comes to.
#[derive(Clone, Debug)]
pub enum Coordination {
    /// This process is one, for itself and for others.
    Embedded(Box<Embedded>),
    /// Another one is asked.
    Remote(Box<ClientOptions>),
    /// None: simple mode.
    Off,
}

impl Coordination {
    /// A coordinator in memory on these addresses.
    #[must_use]
    pub fn embedded(http: Vec<SocketAddr>) -> Self {
        Self::Embedded(Box::new(Embedded {
            http,
            https: Vec::new(),
            is_asked_for: true,
            service: ServiceOptions::default(),
            records_max: 100_000,
            record_bytes_max: 256 << 20,
            redis: None,
        }))
    }
}

/// Reads `[coordinator]`. `addresses` reads a list of addresses of the section.
pub(super) fn read(
    section: &mut Section<'_>,
    machine: &Machine,
    addresses: impl FnMut(&mut Section<'_>, &'static str) -> Option<Vec<SocketAddr>>,
    warnings: &mut Vec<String>,
) -> Coordination {
    let mode = section.text("mode", MODES);
    let url = section.text("url", URL);
    let embedded = embedded(section, machine, addresses, warnings);
    let remote = remote(section, machine, url.as_ref(), warnings);
    match (&mode, url) {
        (Some(mode), Some(url)) if mode.value == "embedded" => {
            let what = "is set, and so is coordinator.mode = \"embedded\"; write only one of them";
            section.add(url.problem(what));
        }
        (Some(mode), _) if !matches!(mode.value, "embedded" | "off") => {
            let what = format!("{:?} is no mode; write {MODES}, or url alone", mode.value);
            section.add(mode.problem(what));
        }
        _ => {}
    }
    match (mode.map(|mode| mode.value), remote) {
        (Some("off"), _) => Coordination::Off,
        (_, Some(remote)) => Coordination::Remote(Box::new(remote)),
        _ => Coordination::Embedded(Box::new(embedded)),
    }
}

fn remote(
    section: &mut Section<'_>,
    machine: &Machine,
    url: Option<&Spotted<&str>>,
    warnings: &mut Vec<String>,
) -> Option<ClientOptions> {
    let group = section.text("group", "the GUID of a closed group");
    let group_file = section.text("group_key_file", KEY_FILE);
    let name = section.text("publisher", "the name by which this appliance publishes");
    let name_file = section.text("publisher_key_file", KEY_FILE);
    let mut pair = |name: Option<Spotted<&str>>, file: Option<Spotted<&str>>, other: &str| match (
        name, file,
    ) {
        (Some(name), Some(file)) => key(section, machine, name.value, &file, warnings),
        (Some(one), None) | (None, Some(one)) => {
            section.add(one.problem(format!("is set alone; write coordinator.{other}, too")));
            None
        }
        (None, None) => None,
    };
    let group_key = pair(group, group_file, "group and coordinator.group_key_file");
    let publisher_key = pair(
        name,
        name_file,
        "publisher and coordinator.publisher_key_file",
    );
    let url = url?;
    let mut options = ClientOptions::new(url.value);
    options.group_key = group_key;
    options.publisher_key = publisher_key;
    if let Err(error) = larder_net::coordinator::CoordinatorClient::new(options.clone()) {
        section.add(url.problem(error.to_string()));
    }
    Some(options)
}

fn embedded(
    section: &mut Section<'_>,
    machine: &Machine,
    mut addresses: impl FnMut(&mut Section<'_>, &'static str) -> Option<Vec<SocketAddr>>,
    warnings: &mut Vec<String>,
) -> Embedded {
    let http = addresses(section, "http");
    let https = addresses(section, "https");
    let is_asked_for = http.is_some() || https.is_some();
    let own = || vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT))];
    let standard = ServiceOptions::default();
    let mut number = |key, range, unit, standard: u64| {
        let number = section.number(key, range, unit);
        number.map_or(standard, |number| number.value)
    };
    let heartbeat = number(
        "heartbeat_secs",
        5..=3600,
        "seconds",
        standard.heartbeat_secs.into(),
    );
    let ttl = number(
        "peer_ttl_secs",
        5..=14_400,
        "seconds",
        heartbeat + heartbeat / 2,
    );
    let limits = Limits {
        peer_ttl: Duration::from_secs(ttl),
        peers_max: whole(number("peers_max", 1..=100_000_000, "peers", 1_000_000)),
        contents_per_peer_max: short(number("contents_per_peer_max", 1..=65_535, "contents", 256)),
    };
    let calls = number(
        "calls_per_minute",
        1..=10_000_000,
        "calls of one address",
        standard.calls_per_minute.into(),
    );
    let lifetime = number(
        "record_lifetime_secs",
        60..=315_360_000,
        "seconds",
        standard.record_lifetime_secs,
    );
    let records_max = whole(number("records_max", 1..=100_000_000, "records", 100_000));
    let record_bytes_max = section
        .size("record_bytes_max")
        .map_or(256 << 20, |size| size.value);
    if ttl <= heartbeat {
        let spot = section
            .any("peer_ttl_secs")
            .or_else(|| section.any("heartbeat_secs"));
        if let Some(spot) = spot {
            let what = format!(
                "peers would be forgotten before they speak again; write more than {heartbeat}"
            );
            section.add(spot.problem(what));
        }
    }
    let service = ServiceOptions {
        sites: sites(section),
        heartbeat_secs: u32::try_from(heartbeat).unwrap_or(u32::MAX),
        limits,
        calls_per_minute: u32::try_from(calls).unwrap_or(u32::MAX),
        record_lifetime_secs: lifetime,
        groups: groups(section, machine, warnings),
        publishers: publishers(section, machine, warnings),
    };
    Embedded {
        http: http.unwrap_or_else(|| if is_asked_for { Vec::new() } else { own() }),
        https: https.unwrap_or_default(),
        is_asked_for,
        service,
        records_max,
        record_bytes_max: usize::try_from(record_bytes_max).unwrap_or(usize::MAX),
        redis: redis(section, machine, records_max, warnings),
    }
}

fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn short(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn sites(section: &mut Section<'_>) -> Sites {
    let mut table = section.section("sites");
    let mut sites = Vec::new();
    for (name, networks) in table.lists(NETWORKS) {
        let mut nets: Vec<IpNet> = Vec::new();
        for network in networks {
            match network.value.parse::<IpNet>() {
                Ok(net) => nets.push(net.trunc()),
                Err(_) => {
                    let what = format!("{:?} is no network; write as in {NETWORKS}", network.value);
                    table.add(network.problem(what));
                }
            }
        }
        sites.push((name, nets));
    }
    table
        .problems()
        .into_iter()
        .for_each(|problem| section.add(problem));
    Sites::new(sites)
}

fn groups(section: &mut Section<'_>, machine: &Machine, warnings: &mut Vec<String>) -> Vec<Key> {
    let mut table = section.section("groups");
    let mut groups = Vec::new();
    for (name, file) in table.pairs(KEY_FILE) {
        let Ok(group) = name.value.parse::<Guid>() else {
            let what = format!(
                "{:?} is no GUID; write \"<GUID of the group>\" = \"<key file>\"",
                name.value
            );
            table.add(name.problem(what));
            continue;
        };
        let file = Spotted {
            value: file,
            key: name.key.clone(),
            at: name.at,
        };
        groups.extend(key(
            &mut table,
            machine,
            &group.to_string(),
            &file,
            warnings,
        ));
    }
    table
        .problems()
        .into_iter()
        .for_each(|problem| section.add(problem));
    groups
}

fn publishers(
    section: &mut Section<'_>,
    machine: &Machine,
    warnings: &mut Vec<String>,
) -> Vec<Publisher> {
    let mut table = section.section("publishers");
    let mut publishers = Vec::new();
    for (name, mut one) in table.tables() {
        let trusts = "\"verified\" or \"attested\"";
        let file = one.text("key_file", KEY_FILE);
        let trust = one.text("trust", trusts);
        let group = one.text("group", "the GUID of its group");
        let may_verify = match trust.as_ref().map(|trust| trust.value) {
            Some("verified") => true,
            Some("attested") | None => false,
            Some(other) => {
                if let Some(trust) = &trust {
                    one.add(trust.problem(format!("{other:?} is no trust; write {trusts}")));
                }
                false
            }
        };
        let group = group.and_then(|group| {
            let guid = group.value.parse::<Guid>();
            if guid.is_err() {
                one.add(group.problem(format!("{:?} is no GUID", group.value)));
            }
            guid.ok()
        });
        if name.value.parse::<Guid>().is_ok() || !is_name(name.value) {
            let what = "is no name of a publisher; write letters, digits, - and ., and no GUID";
            one.add(name.problem(what));
        }
        match file {
            Some(file) => {
                if let Some(key) = key(&mut one, machine, name.value, &file, warnings) {
                    publishers.push(Publisher {
                        key,
                        may_verify,
                        group,
                    });
                }
            }
            None => one
                .add(name.problem("has no key; write key_file, the path of a file that holds it")),
        }
        one.close()
            .into_iter()
            .for_each(|problem| table.add(problem));
    }
    table
        .problems()
        .into_iter()
        .for_each(|problem| section.add(problem));
    publishers
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    !name.is_empty() && name.len() <= 64 && name.chars().all(plain)
}

/// The key in a file, without the line feed at its end.
fn key(
    section: &mut Section<'_>,
    machine: &Machine,
    name: &str,
    file: &Spotted<&str>,
    warnings: &mut Vec<String>,
) -> Option<Key> {
    let secret = secret(section, machine, file, warnings)?;
    match Key::new(name, secret.as_bytes()) {
        Ok(key) => Some(key),
        Err(why) => {
            section.add(file.problem(format!("the key in {:?} {why}", file.value)));
            None
        }
    }
}

fn secret(
    section: &mut Section<'_>,
    machine: &Machine,
    file: &Spotted<&str>,
    warnings: &mut Vec<String>,
) -> Option<String> {
    let path = Path::new(file.value);
    if !path.is_absolute() {
        let what = format!("{:?} is no whole path; write it from the root", file.value);
        section.add(file.problem(what));
        return None;
    }
    match (machine.secret)(path) {
        Ok(text) => {
            if (machine.others_may_read)(path) {
                warnings.push(format!(
                    "{} {} can be read by every user of this machine; chmod 640, with the group that larder runs as",
                    file.key, file.value
                ));
            }
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        Err(error) => {
            let what = format!(
                "{:?} cannot be read: {error}; name a file that larder may read",
                file.value
            );
            section.add(file.problem(what));
            None
        }
    }
}

fn redis(
    section: &mut Section<'_>,
    machine: &Machine,
    records_max: usize,
    warnings: &mut Vec<String>,
) -> Option<RedisOptions> {
    let file = section.text(
        "redis_password_file",
        "the path of a file that holds the password of Redis",
    );
    let password = file.and_then(|file| secret(section, machine, &file, warnings));
    let backend = section.text("backend", BACKENDS)?;
    if backend.value == "memory" {
        return None;
    }
    let nodes = backend.value.strip_prefix("redis://").unwrap_or("");
    let nodes: Vec<String> = nodes
        .split(',')
        .map(|node| node.trim().to_owned())
        .collect();
    let is_node = |node: &String| {
        let port = node
            .rsplit_once(':')
            .map(|(host, port)| (host, port.parse::<u16>()));
        matches!(port, Some((host, Ok(port))) if port != 0 && !host.is_empty() && !host.contains(['/', '@']))
    };
    if !nodes.iter().all(is_node) {
        let what = format!("{:?} is no backend; write {BACKENDS}", backend.value);
        section.add(backend.problem(what));
        return None;
    }
    Some(RedisOptions {
        nodes,
        password,
        records_max,
    })
}
