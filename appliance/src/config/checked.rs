//! The configuration as the rest of the program sees it. The rule: a value of this type is in order; whoever has one
//! need not check it again.

use super::coordinator::Coordination;
use super::policy::Policy;
use super::privacy::Seen;
use larder_net::http::tls::PairFiles;
use larder_net::settings::Settings;
use larder_proto::http::route::OriginRules;
use larder_storage::driver::DriverKind;
use larder_storage::limits::SizeLimit;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged, as `tracing` filters are written: `info`, `larder_net=debug,info`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

/// Where peers are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerAddress {
    /// Here; port 0 is one that the kernel chooses.
    At(SocketAddr),
    /// Here, unless something else listens there: nobody has asked for it, so it is no reason not to start.
    IfFree(SocketAddr),
    /// Nowhere.
    Nowhere,
}

/// A configuration that is in order.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Where clients are served; port 0 is one that the kernel chooses.
    pub http: Vec<SocketAddr>,
    /// Where clients are served by https.
    pub https: Vec<SocketAddr>,
    /// Where peers are served.
    pub peer: PeerAddress,
    /// The certificates that they are shown; the first is for those who ask for no other.
    pub tls: Vec<PairFiles>,
    /// Where administrators are.
    pub admin: SocketAddr,
    /// Where `/metrics` alone is, without names of objects.
    pub metrics: Option<SocketAddr>,
    /// Names, besides addresses and this machine's own, by which the admin address is called.
    pub admin_names: Vec<String>,
    /// Bytes of memory for everything that grows with content or clients.
    pub memory_bytes_max: u64,
    /// The name of the place, for figures and reports; may be empty.
    pub site: String,
    /// Shard threads; 0 is one for each core.
    pub shards: usize,
    /// The driver to try first; None is io_uring.
    pub driver: Option<DriverKind>,
    /// The directories of the store, one for each disk.
    pub store_paths: Vec<PathBuf>,
    /// How much disk it may use.
    pub store_bytes_max: SizeLimit,
    /// After how many seconds an object that is not pinned is forgotten; 0 is never.
    pub age_max_s: u64,
    /// Whether this process is a coordinator, or which one it asks.
    pub coordination: Coordination,
    /// Whether DNS-SD tells of this appliance.
    pub dns_sd: bool,
    /// What may be seen of clients.
    pub seen: Seen,
    /// What the data plane and the origin client work with.
    pub settings: Settings,
    /// The policies that are set, by their documented names.
    pub policy: Policy,
    /// What is logged, and how.
    pub log: Log,
    /// What the file asks for that has no effect yet, in words.
    pub warnings: Vec<String>,
    /// The files that it was read from: the one that was named, then those of `conf.d`.
    pub files: Vec<PathBuf>,
    /// In which of them each policy that is set stands.
    pub policy_files: BTreeMap<String, PathBuf>,
    /// 48 bits that are alike on machines that have the same settings but for their addresses, names and sizes.
    pub hash: u64,
}

impl Checked {
    /// An appliance on loopback, on ports that the kernel chooses, that keeps at most 1 GiB in `store` and uses
    /// 256 MiB of memory: for demonstrations and tests.
    #[must_use]
    pub fn on_loopback(store: impl Into<PathBuf>, rules: OriginRules) -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            http: vec![any_port],
            https: Vec::new(),
            peer: PeerAddress::At(any_port),
            tls: Vec::new(),
            admin: any_port,
            metrics: None,
            admin_names: Vec::new(),
            memory_bytes_max: 256 << 20,
            site: String::new(),
            shards: 0,
            driver: None,
            store_paths: vec![store.into()],
            store_bytes_max: SizeLimit::bytes(1 << 30),
            age_max_s: 0,
            coordination: Coordination::Off,
            dns_sd: false,
            seen: Seen::default(),
            settings: Settings::new(rules),
            policy: Policy::default(),
            log: Log::default(),
            warnings: Vec::new(),
            files: Vec::new(),
            policy_files: BTreeMap::new(),
            hash: 0,
        }
    }
}
