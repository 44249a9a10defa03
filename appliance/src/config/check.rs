//! From the file as written to a configuration that is in order. The rule: this is a function of the text and of what
//! the machine is said to be; it changes nothing, so that a file can be checked beside a running appliance.

use super::checked::{Checked, Log, LogFormat, PeerAddress};
use super::coordinator::{self, Coordination};
use super::crowds;
use super::links;
use super::policy::{self, Policy};
use super::privacy;
use super::problem::Problem;
use super::proxy;
use super::raw::{Section, Spotted, parse};
use super::sources;
use super::tls;
use larder_net::http::tls::{PairError, PairFiles};
use larder_net::settings::Settings;
use larder_proto::http::route::{Authority, OriginRules, RuleError};
use larder_proto::policy::{Role, cache};
use larder_proto::prefetch::Prefetch;
use larder_proto::swarm::PORT;
use larder_storage::driver::DriverKind;
use larder_storage::limits::SizeLimit;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::DeTable;

/// Less than this, and frames, index and catalogue have no room.
pub const MEMORY_BYTES_MIN: u64 = 128 << 20;
const HTTP_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9180;
const PEER_ADDRESS: &str =
    "an address and a port, as in \"0.0.0.0:7680\", or \"\" to serve no peers";
const ADDRESSES: &str = "[\"0.0.0.0:80\", \"[::]:80\"]";
const ADDRESS: &str = "an address and a port, as in \"127.0.0.1:9180\"";

/// What the defaults depend on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Memory that this process may use, in bytes.
    pub memory_bytes: u64,
    /// Where the store lies if nothing is said.
    pub store: PathBuf,
    /// Tries whether a file that is named can be read.
    pub readable: fn(&Path) -> io::Result<()>,
    /// Reads a file that holds a secret.
    pub secret: fn(&Path) -> io::Result<String>,
    /// Tries whether a certificate and its key can be used.
    pub pair: fn(&PairFiles) -> Result<(), PairError>,
    /// Whether users other than a file's own, and its group, may read it.
    pub others_may_read: fn(&Path) -> bool,
    /// Where systemd lays credentials for this process.
    pub credentials_directory: Option<PathBuf>,
    /// A variable of the environment.
    pub variable: fn(&str) -> Option<String>,
    /// What the environment excepts from proxies; may be empty.
    pub no_proxy: String,
}

/// Checks a file's text; an empty text gives the defaults.
///
/// # Errors
/// Everything that is wrong, in no order.
pub fn check(text: &str, machine: &Machine) -> Result<Checked, Vec<Problem>> {
    let (document, problems) = parse(text);
    if !problems.is_empty() {
        // What could be read of such a file is not what was meant.
        return Err(problems);
    }
    check_document(document.get_ref(), machine)
}

/// Checks what was read.
pub(super) fn check_document(
    document: &DeTable<'_>,
    machine: &Machine,
) -> Result<Checked, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut root = Section::root(document);
    let mut warnings = Vec::new();

    let mut section = root.section("server");
    let server = server(&mut section, machine, &mut warnings);
    problems.extend(section.close());

    let mut section = root.section("tls");
    let tls = tls::read(&mut section, server.https_at, machine);
    problems.extend(section.close());

    let mut section = root.section("policy");
    let policy = policy::read(&mut section, machine.variable, &mut warnings);
    problems.extend(section.close());

    let mut section = root.section("store");
    let store_paths = store(&mut section, &policy, machine);
    problems.extend(section.close());

    let mut section = root.section("origins");
    let mut settings = origins(&mut section, machine);
    let origin_cost = links::origin_cost(&mut section);
    settings.proxy = proxy::read(&mut section, machine, &mut warnings);
    settings.cache_status = server.cache_status;
    settings.upload_slots_max = server.upload_slots_max;
    settings.peer_external_port = server.peer_external_port;
    problems.extend(section.close());

    settings.crowds = Arc::new(crowds::read(&mut root));
    settings.links = Arc::new(links::read(&mut root, origin_cost, &mut warnings));

    let mut section = root.section("coordinator");
    let mut taken = Vec::new();
    let listening = |section: &mut Section<'_>, key| addresses(section, key, &mut taken);
    let mut coordination = coordinator::read(&mut section, machine, listening, &mut warnings);
    if let Coordination::Remote(options) = &mut coordination {
        // Authorities that are trusted for origins are trusted for it, too.
        options.ca_file.clone_from(&settings.ca_file);
    }
    problems.extend(section.close());

    let mut section = root.section("prefetch");
    settings.prefetch = prefetch(&mut section);
    problems.extend(section.close());

    let mut section = root.section("discovery");
    let dns_sd = section.flag("dns_sd").is_some_and(|flag| flag.value);
    problems.extend(section.close());

    let mut section = root.section("privacy");
    let seen = privacy::read(&mut section);
    settings.privacy = seen.clients;
    problems.extend(section.close());

    let mut section = root.section("log");
    let log = log(&mut section);
    problems.extend(section.close());
    problems.extend(root.close());

    if !problems.is_empty() {
        return Err(problems);
    }
    settings.policies = policy.typed(Role::Appliance);
    let limit = cache::limit(&settings.policies);
    Ok(Checked {
        http: server.http,
        https: server.https,
        peer: server.peer,
        tls,
        admin: server.admin,
        metrics: server.metrics,
        admin_names: server.admin_names,
        memory_bytes_max: server.memory_bytes_max,
        site: server.site,
        shards: server.shards,
        driver: server.driver,
        store_paths,
        store_bytes_max: SizeLimit {
            percent: limit.percent,
            absolute: limit.bytes,
        },
        age_max_s: settings.policies.cache_age_s_max.unwrap_or(0),
        coordination,
        dns_sd,
        seen,
        settings,
        policy,
        log,
        warnings,
        files: Vec::new(),
        policy_files: BTreeMap::new(),
        hash: sources::hash(document),
    })
}

struct Server {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    /// Where the file asks for it.
    https_at: Option<Spotted<()>>,
    peer: PeerAddress,
    admin: SocketAddr,
    metrics: Option<SocketAddr>,
    admin_names: Vec<String>,
    memory_bytes_max: u64,
    site: String,
    shards: usize,
    driver: Option<DriverKind>,
    cache_status: bool,
    upload_slots_max: usize,
    peer_external_port: Option<u16>,
}

fn server(section: &mut Section<'_>, machine: &Machine, warnings: &mut Vec<String>) -> Server {
    let mut taken: Vec<SocketAddr> = Vec::new();
    let http = addresses(section, "http", &mut taken)
        .unwrap_or_else(|| vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, HTTP_PORT))]);
    let https = addresses(section, "https", &mut taken).unwrap_or_default();
    let https_at = section.any("https").filter(|_| !https.is_empty());
    let https_at = https_at.map(|spot| Spotted {
        value: (),
        key: spot.key,
        at: spot.at,
    });
    let peer = peer(section, &mut taken);
    let admin = address(section, "admin", &mut taken)
        .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT)));
    let metrics = address(section, "metrics", &mut taken);
    let names = section.texts("admin_names", "[\"larder.example.org\"]");
    let mut admin_names = Vec::new();
    for name in names.map(|list| list.value).unwrap_or_default() {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if name.value.is_empty() || !name.value.chars().all(plain) {
            let what = format!(
                "{:?} is no host name; write the name alone, as in \"larder.example.org\"",
                name.value
            );
            section.add(name.problem(what));
        } else {
            admin_names.push(name.value.to_ascii_lowercase());
        }
    }
    Server {
        http,
        https,
        https_at,
        peer,
        admin,
        metrics,
        admin_names,
        memory_bytes_max: memory(section, machine, warnings),
        site: site(section),
        shards: section
            .number("shards", 0..=256, "threads (0: one for each core)")
            .and_then(|number| usize::try_from(number.value).ok())
            .unwrap_or(0),
        driver: driver(section),
        cache_status: section.flag("cache_status").is_none_or(|flag| flag.value),
        upload_slots_max: section
            .number("upload_slots_max", 0..=100_000, "peers (0: all of them)")
            .and_then(|number| usize::try_from(number.value).ok())
            .unwrap_or(0),
        peer_external_port: section
            .number("peer_external_port", 1..=65_535, "a TCP port")
            .and_then(|number| u16::try_from(number.value).ok()),
    }
}

fn memory(section: &mut Section<'_>, machine: &Machine, warnings: &mut Vec<String>) -> u64 {
    let Some(size) = section.size("memory_bytes_max") else {
        // A quarter leaves the machine to the kernel and to whatever else runs there.
        return (machine.memory_bytes / 4).clamp(MEMORY_BYTES_MIN, 4 << 30);
    };
    if size.value < MEMORY_BYTES_MIN {
        let what = format!(
            "{} bytes are too few to run; write at least \"128MiB\"",
            size.value
        );
        section.add(size.problem(what));
    } else if size.value > machine.memory_bytes {
        warnings.push(format!(
            "server.memory_bytes_max is more than the {} MiB that this process may use",
            machine.memory_bytes >> 20
        ));
    }
    size.value
}

fn site(section: &mut Section<'_>) -> String {
    let Some(site) = section.text("site", "a short name, as in \"berlin\"") else {
        return String::new();
    };
    if site.value.chars().count() > 64 || site.value.chars().any(char::is_control) {
        section.add(site.problem("is no short name; write at most 64 printable characters"));
    }
    site.value.to_owned()
}

fn driver(section: &mut Section<'_>) -> Option<DriverKind> {
    let words = "\"auto\", \"io_uring\" or \"epoll\"";
    let driver = section.text("driver", words)?;
    match driver.value {
        "auto" => None,
        "io_uring" => Some(DriverKind::Ring),
        "epoll" => Some(DriverKind::Epoll),
        other => {
            section.add(driver.problem(format!("{other:?} is no driver; write {words}")));
            None
        }
    }
}

fn store(section: &mut Section<'_>, policy: &Policy, machine: &Machine) -> Vec<PathBuf> {
    let example = "[\"/var/lib/larder\"]";
    let Some(list) = section.texts("paths", example) else {
        return vec![policy.folder().unwrap_or_else(|| machine.store.clone())];
    };
    if policy.folder().is_some() {
        section.add(
            list.problem("is set, and so is policy.DOModifyCacheDrive; write only one of them"),
        );
    }
    if section.is_empty_list("paths") {
        section.add(list.problem(format!("names no directory; write {example}")));
    }
    let mut paths: Vec<PathBuf> = Vec::new();
    for path in list.value {
        let what = if !path.value.starts_with('/') {
            format!(
                "{:?} is no whole path; write it from the root, as in {example}",
                path.value
            )
        } else if paths.iter().any(|known| known == path.value) {
            format!(
                "{:?} is named twice; write each disk's directory once",
                path.value
            )
        } else {
            paths.push(PathBuf::from(path.value));
            continue;
        };
        section.add(path.problem(what));
    }
    paths
}

fn origins(section: &mut Section<'_>, machine: &Machine) -> Settings {
    let nothing = |_: RuleError| OriginRules::default();
    let mut allow: Vec<String> = OriginRules::vendor_allow()
        .iter()
        .map(ToString::to_string)
        .collect();
    if let Some(list) = section.texts("allow", "[\"*.windowsupdate.com\"]") {
        allow.clear();
        for item in list.value {
            let one = [item.value.to_owned()];
            match OriginRules::new(&one, None, [], &[]) {
                Ok(_) => allow.extend(one),
                Err(error) => section.add(rule(&item, error)),
            }
        }
    }
    let default = section
        .text("default", "a URL, as in \"http://127.0.0.1:8000\"")
        .and_then(|url| match default_origin(url.value) {
            Ok(origin) => match OriginRules::new(&[], Some(origin.clone()), [], &[]) {
                Ok(_) => Some(origin),
                Err(error) => {
                    section.add(rule(&url, error));
                    None
                }
            },
            Err(why) => {
                section.add(url.problem(format!("{:?} {why}", url.value)));
                None
            }
        });
    let mut table = section.section("connect");
    let mut connect = Vec::new();
    for (name, to) in table.pairs("where to connect, as in \"127.0.0.1:8000\"") {
        let one = (name.value.to_owned(), to.to_owned());
        match OriginRules::new(&[], None, [one.clone()], &[]) {
            Ok(_) => connect.push(one),
            Err(error) => table.add(rule(&name, error)),
        }
    }
    table
        .problems()
        .into_iter()
        .for_each(|problem| section.add(problem));
    let mut immutable = Vec::new();
    if let Some(list) = section.texts("immutable", "[\"wsus.example/Content/*\"]") {
        for item in list.value {
            let one = [item.value.to_owned()];
            match OriginRules::new(&[], None, [], &one) {
                Ok(_) => immutable.extend(one),
                Err(error) => section.add(rule(&item, error)),
            }
        }
    }
    let rules = OriginRules::new(&allow, default, connect, &immutable).unwrap_or_else(nothing);
    let mut settings = Settings::new(rules);
    if let Some(file) = section.text("ca_file", "the path of a PEM file") {
        settings.ca_file = Some(PathBuf::from(file.value));
        if !file.value.starts_with('/') {
            let what = format!(
                "{:?} is no whole path; write it from the root, as in \"/etc/larder/ca.pem\"",
                file.value
            );
            section.add(file.problem(what));
        } else if let Err(error) = (machine.readable)(Path::new(file.value)) {
            let what = format!(
                "{:?} cannot be read: {error}; name a PEM file that larder may read",
                file.value
            );
            section.add(file.problem(what));
        }
    }
    settings
}

/// A rule's error without the key, which is known already.
fn rule<T>(spot: &Spotted<T>, error: RuleError) -> Problem {
    spot.problem(match error {
        RuleError::Allow { pattern, why } | RuleError::Immutable { pattern, why } => {
            format!("{pattern:?} {why}")
        }
        RuleError::Connect { to, why, .. } => format!("{to:?}: {why}"),
        RuleError::Default { host, why } => format!("{host:?} {why}"),
    })
}

fn default_origin(url: &str) -> Result<Authority, &'static str> {
    let form = "is no origin; write scheme, host and port alone, as in \"http://127.0.0.1:8000\"";
    let (https, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Err(form),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() || rest.contains(['/', '?', '#', '@']) {
        return Err(form);
    }
    // A colon inside the brackets of an IPv6 address is no port's.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (
            host,
            port.parse::<u16>()
                .ok()
                .filter(|port| *port != 0)
                .ok_or(form)?,
        ),
        _ => (rest, if https { 443 } else { 80 }),
    };
    Ok(Authority {
        https,
        host: host.to_owned(),
        port,
    })
}

fn prefetch(section: &mut Section<'_>) -> Prefetch {
    let pieces = section.number("pieces", 0..=4096, "pieces of 1 MiB; 0 is never");
    let clients = section.number("clients", 0..=64, "clients; 0 is never");
    let count = |spot: Option<Spotted<u64>>| {
        spot.and_then(|spot| u32::try_from(spot.value).ok())
            .unwrap_or(0)
    };
    Prefetch {
        pieces: count(pieces),
        clients: count(clients),
    }
}

fn log(section: &mut Section<'_>) -> Log {
    let mut log = Log::default();
    let words = "\"text\" or \"json\"";
    if let Some(format) = section.text("format", words) {
        match format.value {
            "text" => log.format = LogFormat::Text,
            "json" => log.format = LogFormat::Json,
            other => section.add(format.problem(format!("{other:?} is no format; write {words}"))),
        }
    }
    let levels = "\"error\", \"warn\", \"info\" or \"debug\", or as in \"info,larder_net=debug\"";
    if let Some(filter) = section.text("level", levels) {
        if filter.value.is_empty()
            || tracing_subscriber::EnvFilter::builder()
                .parse(filter.value)
                .is_err()
        {
            section.add(filter.problem(format!("{:?} is no level; write {levels}", filter.value)));
        }
        log.filter = filter.value.to_owned();
    }
    log
}

fn addresses(
    section: &mut Section<'_>,
    key: &'static str,
    taken: &mut Vec<SocketAddr>,
) -> Option<Vec<SocketAddr>> {
    let list = section.texts(key, ADDRESSES)?;
    // A cache host without clients is a slip; to serve none by https is what most want.
    if key == "http" && section.is_empty_list(key) {
        section.add(list.problem(format!("names no address; write {ADDRESSES}")));
    }
    let parsed = list
        .value
        .iter()
        .filter_map(|item| one_address(section, item, ADDRESSES, taken));
    Some(parsed.collect())
}

fn address(
    section: &mut Section<'_>,
    key: &'static str,
    taken: &mut Vec<SocketAddr>,
) -> Option<SocketAddr> {
    let item = section.text(key, ADDRESS)?;
    one_address(section, &item, ADDRESS, taken)
}

/// Where peers are served: nowhere, where it is empty.
fn peer(section: &mut Section<'_>, taken: &mut Vec<SocketAddr>) -> PeerAddress {
    let Some(item) = section.text("peer", PEER_ADDRESS) else {
        return PeerAddress::IfFree(SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)));
    };
    if item.value.is_empty() {
        return PeerAddress::Nowhere;
    }
    match one_address(section, &item, PEER_ADDRESS, taken) {
        Some(address) => PeerAddress::At(address),
        None => PeerAddress::Nowhere,
    }
}

fn one_address(
    section: &mut Section<'_>,
    item: &Spotted<&str>,
    form: &str,
    taken: &mut Vec<SocketAddr>,
) -> Option<SocketAddr> {
    let Ok(address) = item.value.parse::<SocketAddr>() else {
        section.add(item.problem(format!("{:?} is no address; write {form}", item.value)));
        return None;
    };
    if address.port() != 0 && taken.contains(&address) {
        let what = format!("{address} is named twice; write another port");
        section.add(item.problem(what));
        return None;
    }
    taken.push(address);
    Some(address)
}
