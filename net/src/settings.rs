//! What an administrator can tune of the data plane and the origins, checked and ready. The rule: this type is only
//! built from checked configuration, is published whole, and is never changed in place.

use crate::links::Links;
use larder_proto::clients::Privacy;
use larder_proto::crowd::CrowdRules;
use larder_proto::http::proxy::ProxyRules;
use larder_proto::http::route::OriginRules;
use larder_proto::policy::{Dialect, Policies, Priority, Role};
use larder_proto::prefetch::Prefetch;
use std::path::PathBuf;
use std::sync::Arc;

/// The proxy between larder and the origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where it is, and what goes past it.
    pub rules: ProxyRules,
    /// A file with `user:password` in its first line.
    pub credentials_file: Option<PathBuf>,
}

/// The settings in force; readers take them from an `ArcSwap` once per request.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which origins may be asked, and how they are reached.
    pub rules: OriginRules,
    /// Whether answers carry `X-Cache-Status` and `Cache-Status` (RFC 9211).
    pub cache_status: bool,
    /// How long a keep-alive connection may be idle between requests.
    pub idle_timeout_ms: u64,
    /// How long a client may take from the first byte of a request head to its last.
    pub head_timeout_ms: u64,
    /// How long a client may take to the end of its TLS handshake.
    pub handshake_timeout_ms: u64,
    /// How long a client may take no byte of an answer that has begun.
    pub send_stall_timeout_ms: u64,
    /// After how long a request without a first byte is answered 503; clients leave at 20 s (facts: clients 1.6).
    pub first_byte_timeout_ms: u64,
    /// Bytes that one answer may have under way ahead of its client, within what the client asked for.
    pub ahead_bytes_max: u64,
    /// Connections to one origin at once.
    pub origin_connections_max: usize,
    /// Bytes that one origin request may ask for at most.
    pub run_bytes_max: u64,
    /// Bytes asked of the origins at once, at most.
    pub window_bytes_max: u64,
    /// How long a connection to an origin may take to open.
    pub connect_timeout_ms: u64,
    /// How long an origin may take to its answer's head.
    pub origin_head_timeout_ms: u64,
    /// How long an origin may send nothing in the middle of a body.
    pub origin_stall_timeout_ms: u64,
    /// How long a peer may take to the end of its handshake; one that says nothing is kept for so long, as the seed's
    /// Telnet test wants it.
    pub peer_silence_timeout_ms: u64,
    /// A peer of which nothing is heard for so long, and that takes no byte, is gone.
    pub peer_idle_timeout_ms: u64,
    /// Peers that may be connected to us at once. Beyond that those that have not said who they are make room.
    pub peer_connections_max: usize,
    /// Networks whose addresses may have only so many connections at once, of clients and peers together.
    pub crowds: Arc<CrowdRules>,
    /// The port of this network's public IPv4 address that leads to the peers' one; without it, peers elsewhere are told
    /// of no IPv4 address (facts: clients 3.5).
    pub peer_external_port: Option<u16>,
    /// Peers that may ask for blocks at once; 0 is all of them. Others have their turn every ten seconds.
    pub upload_slots_max: usize,
    /// Links to appliances elsewhere, and what the origin costs beside them.
    pub links: Arc<Links>,
    /// When all of an object is fetched of which clients have asked for a part.
    pub prefetch: Prefetch,
    /// A PEM file with certificate authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxy by which origins are asked, where there is one.
    pub proxy: Option<Proxy>,
    /// Cache hosts, with or without a port, that are asked in order before an origin is (`DOCacheHost`).
    pub cache_hosts: Vec<String>,
    /// For how long the failures of a cache host are borne before the next, or the origin, is asked.
    pub cache_host_patience_ms: u64,
    /// The store is one user's own: what a shared cache may not keep is kept there all the same, and nothing is given
    /// from it while its origin does not say whether it is still the one.
    pub own_store: bool,
    /// Whether somebody waits for what is fetched.
    pub priority: Priority,
    /// What may be seen of the addresses of clients and peers.
    pub privacy: Privacy,
    /// The policies of Delivery Optimization.
    pub policies: Policies,
}

impl Settings {
    /// The defaults of an appliance, with these rules.
    #[must_use]
    pub fn new(rules: OriginRules) -> Self {
        Self {
            rules,
            cache_status: true,
            idle_timeout_ms: 75_000,
            head_timeout_ms: 10_000,
            handshake_timeout_ms: 10_000,
            send_stall_timeout_ms: 60_000,
            first_byte_timeout_ms: 12_000,
            ahead_bytes_max: 16 << 20,
            origin_connections_max: 16,
            run_bytes_max: 8 << 20,
            window_bytes_max: 64 << 20,
            connect_timeout_ms: 5_000,
            origin_head_timeout_ms: 20_000,
            origin_stall_timeout_ms: 20_000,
            peer_silence_timeout_ms: 30_000,
            peer_idle_timeout_ms: 150_000,
            peer_connections_max: 4096,
            crowds: Arc::default(),
            peer_external_port: None,
            upload_slots_max: 0,
            links: Arc::default(),
            prefetch: Prefetch::default(),
            ca_file: None,
            proxy: None,
            cache_hosts: Vec::new(),
            cache_host_patience_ms: 0,
            own_store: false,
            priority: Priority::Foreground,
            privacy: Privacy::Full,
            policies: Policies::defaults(Role::Appliance, Dialect::Y2018),
        }
    }
}
