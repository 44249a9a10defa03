//! A running appliance: a node with its listeners, administration and background work, put together and taken down
//! again. The rule: parts are stopped in the opposite order of their start, so that none works for another that is gone.

use crate::admin::warm::Warming;
use crate::admin::{self, Token};
use crate::background;
use crate::certificates::{self, Keeper};
use crate::cmdlets::rates::Looks;
use crate::config::Coordination;
use crate::config::{Checked, PeerAddress};
use crate::coordination;
use crate::journal::{self, Journal};
use crate::listen::{self, Purpose};
use crate::machine;
use crate::months::Kept;
use crate::node::{Node, NodeOptions};
use crate::state::{Pulse, State};
use crate::swarm;
use crate::telemetry::Telemetry;
use crate::telemetry::gauges::Gauges;
use arc_swap::ArcSwap;
use larder_net::coordinator::{CoordinatorClient, Server};
use larder_net::discovery::dns_sd::{DnsSd, Offer};
use larder_net::http::tls::PairError;
use larder_net::http::{Certificates, TlsPlane};
use larder_net::metrics::Figures;
use larder_net::origin::Network;
use larder_net::settings::Settings;
use larder_proto::swarm::PeerId;
use larder_storage::store::{OpenError, Store};
use parking_lot::{Mutex, RwLock};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a slab file; see [`larder_storage::store::StoreOptions::slab_bytes`].
const SLAB_BYTES: u64 = 1 << 30;

/// How long leaving the swarms may take at the end.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// For so long a stop goes on serving, and tells each client with its answer to come by a new connection. A connection on
/// which nothing was asked in that time is closed on; a request that crosses with that has to be sent again.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How often a stop looks whether all are gone: the count is told by nobody, and a stop is rare.
const STOP_LOOK: Duration = Duration::from_millis(10);

/// Why an appliance does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {purpose}: {source}; {advice}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What it is for, with its key.
        purpose: &'static str,
        /// Why.
        source: io::Error,
        /// What to do.
        advice: String,
    },
    /// A socket of the service manager's cannot be used.
    #[error(
        "cannot use a socket that systemd opened: {source}; check the socket unit (ListenStream=)"
    )]
    Inherit {
        /// Why.
        source: io::Error,
    },
    /// The memory does not go round.
    #[error(
        "[server] memory_bytes_max = {bytes} is too little for {shards} shard threads; write more, or fewer shards"
    )]
    Memory {
        /// What is configured.
        bytes: u64,
        /// For how many threads.
        shards: usize,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// A certificate can not be used.
    #[error("[tls] {0}")]
    Certificate(#[from] PairError),
    /// The service manager opened a port for https that nothing can be served on.
    #[error(
        "systemd opened a port for https, and there is no certificate; write [tls] with cert and key, or disable its socket unit"
    )]
    NoCertificate,
    /// The admin token can be neither read nor made.
    #[error("cannot read or make {path}: {source}; larder must be allowed to write there")]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Threads or drivers cannot be had.
    #[error("cannot start the threads that serve: {0}; check the limits on processes and memory")]
    Threads(#[source] io::Error),
}

/// A running appliance.
pub struct Appliance {
    state: Arc<State>,
    admin: SocketAddr,
    metrics: Option<SocketAddr>,
    node: Node,
    coordinator_server: Option<Server>,
    dns_sd: Option<DnsSd>,
}

impl fmt::Debug for Appliance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appliance")
            .field("http", &self.state.http)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

/// Where the appliance is started from.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    /// The configuration file, to be read again by a reload.
    pub(crate) file: Option<PathBuf>,
    /// How often the service manager wants to hear of us.
    pub(crate) watchdog: Option<Duration>,
    /// Sockets that the service manager opened.
    pub(crate) sockets: Vec<(Purpose, TcpListener)>,
    /// Other names and sockets towards the origins than this machine's.
    pub(crate) network: Option<Arc<dyn Network>>,
}

impl Appliance {
    /// Starts an appliance in this process. It serves when this returns.
    ///
    /// # Errors
    /// Where an address, the store or a thread cannot be had, in words that say what to do.
    pub fn start(config: Checked, telemetry: Telemetry) -> Result<Self, StartError> {
        Self::start_from(config, telemetry, Origin::default())
    }

    /// The same, where names and connections of origins are not this machine's: so that a test sees each address that
    /// is tried.
    ///
    /// # Errors
    /// As [`Appliance::start`].
    pub fn start_on(
        network: Arc<dyn Network>,
        config: Checked,
        telemetry: Telemetry,
    ) -> Result<Self, StartError> {
        let origin = Origin {
            network: Some(network),
            ..Origin::default()
        };
        Self::start_from(config, telemetry, origin)
    }

    pub(crate) fn start_from(
        config: Checked,
        telemetry: Telemetry,
        origin: Origin,
    ) -> Result<Self, StartError> {
        let mut sockets = Sockets::open(&config, origin.sockets)?;
        let coordinating = coordination::Sockets::open(&config.coordination)?;
        let no_tls = sockets.https.is_empty() && coordinating.https.is_empty();
        let certificates = match (no_tls, config.tls.is_empty()) {
            (false, true) => return Err(StartError::NoCertificate),
            (false, false) => Some(Arc::new(Certificates::load(&config.tls)?)),
            (true, false) => {
                tracing::warn!(
                    "[tls] has no effect: neither [server] nor [coordinator] https names an address"
                );
                None
            }
            (true, true) => None,
        };
        let http = addresses(&sockets.http)?;
        let peer = addresses(&sockets.peer)?;
        let node = Node::start(
            NodeOptions {
                shards: config.shards,
                driver: config.driver,
                memory_bytes_max: config.memory_bytes_max,
                store_paths: config.store_paths.clone(),
                uploads: config.store_paths.first().cloned().unwrap_or_default(),
                store_bytes_max: config.store_bytes_max,
                slab_bytes: SLAB_BYTES,
                settings: config.settings.clone(),
                http: std::mem::take(&mut sockets.http),
                peer: std::mem::take(&mut sockets.peer),
                network: origin.network,
            },
            &telemetry,
        )?;
        let first = config.store_paths.first().cloned().unwrap_or_default();
        let token = match Token::of_store(&first) {
            Ok(token) => token,
            Err(source) => {
                node.stop(Duration::ZERO, async { true });
                let path = admin::token_file_in(&first);
                return Err(StartError::Token { path, source });
            }
        };
        let clock = node.clock;
        let https = addresses(&sockets.https)?;
        let tls_plane = match &certificates {
            Some(certificates) => {
                let listeners = std::mem::take(&mut sockets.https);
                let certificates = Arc::clone(certificates);
                let start = || TlsPlane::start(node.shards, listeners, certificates, &node.service);
                Some(telemetry.within(start).map_err(StartError::Threads)?)
            }
            None => None,
        };
        let coordinator = {
            let _entered = node.runtime.enter();
            let shown = certificates.clone();
            coordination::start(&config.coordination, coordinating, shown, clock, &telemetry)?
        };
        let certificates = telemetry.within(|| Keeper::new(certificates));
        certificates.tell(clock.unix());
        let driver = node.reports.first().map(|report| report.driver);
        let gauges = telemetry.within(|| Gauges::new(&config.site, driver));
        gauges.reloaded(true, clock.unix());
        let state = Arc::new(State {
            store: node.store.clone(),
            origin: node.origin.clone(),
            figures: Arc::clone(&node.figures),
            download: node.download.clone(),
            months: Kept::open(&first, Arc::clone(&node.figures)),
            journal: Journal::open(&journal::folder_of(&first)),
            looks: Looks::default(),
            warming: Warming::default(),
            settings: Arc::clone(&node.settings),
            config: ArcSwap::from_pointee(config),
            file: origin.file,
            reloading: Mutex::new(()),
            plane: Arc::clone(&node.plane),
            tls_plane: RwLock::new(tls_plane),
            certificates,
            reports: node.reports.clone(),
            telemetry,
            gauges,
            token,
            budget: node.budget,
            clock,
            started_unix: clock.unix(),
            http,
            https,
            peer,
            host_name: machine::host_name(),
            pulse: Pulse::default(),
            swarm: OnceLock::new(),
            coordinator: coordinator.as_ref().map(|one| one.coordinator.clone()),
            coordinator_at: coordinator
                .as_ref()
                .map_or_else(Vec::new, |one| one.addresses()),
            stopping: AtomicBool::new(false),
        });
        let admin = sockets.admin.local_addr();
        let metrics = sockets.metrics.as_ref().map(TcpListener::local_addr);
        let _entered = node.runtime.enter();
        background::spawn(&state, origin.watchdog);
        certificates::watch(&state);
        admin::spawn(sockets.admin, Arc::clone(&state)).map_err(StartError::Threads)?;
        if let Some(listener) = sockets.metrics {
            admin::spawn_metrics(listener, Arc::clone(&state)).map_err(StartError::Threads)?;
        }
        drop(_entered);
        let coordination = state.config.load().coordination.clone();
        let dns_sd = found_by_dns_sd(&state);
        let appliance = Self {
            state,
            admin: admin.map_err(|source| StartError::Inherit { source })?,
            metrics: metrics
                .transpose()
                .map_err(|source| StartError::Inherit { source })?,
            node,
            coordinator_server: coordinator.and_then(|one| one.server),
            dns_sd,
        };
        match coordination {
            Coordination::Embedded(_) => {
                if let Some(coordinator) = appliance.state.coordinator.clone() {
                    appliance.join_swarm(CoordinatorClient::embedded(coordinator), true);
                }
            }
            Coordination::Remote(options) => {
                let trusted = options.url.starts_with("https://");
                // It was checked with the rest of the configuration.
                match CoordinatorClient::new(*options) {
                    Ok(client) => appliance.join_swarm(client, trusted),
                    Err(error) => tracing::error!("peers are not asked for anything: {error}"),
                }
            }
            Coordination::Off => appliance.watch_surroundings(),
        }
        Ok(appliance)
    }

    /// From now on it takes pieces from peers as well, and offers what it has, as far as the policies allow; once.
    /// `trusted`: what the coordinator says of contents was authenticated on its way here.
    pub fn join_swarm(&self, coordinator: CoordinatorClient, trusted: bool) {
        let listening = &self.state.peer;
        let config = self.state.config.load();
        let cache = config.store_paths.first().cloned().unwrap_or_default();
        self.state
            .swarm
            .get_or_init(|| swarm::join(&self.node, coordinator, trusted, listening, true, &cache));
    }

    fn watch_surroundings(&self) {
        let config = self.state.config.load();
        let cache = config.store_paths.first().cloned().unwrap_or_default();
        swarm::watch(&self.node, &self.state.peer, &cache);
    }

    /// Where clients are served: the addresses as they are, with real ports.
    #[must_use]
    pub fn http(&self) -> &[SocketAddr] {
        &self.state.http
    }

    /// Where this appliance is a coordinator for others: the addresses as they are, with real ports.
    #[must_use]
    pub fn coordinator(&self) -> &[SocketAddr] {
        &self.state.coordinator_at
    }

    /// Where clients are served by https: the addresses as they are, with real ports.
    #[must_use]
    pub fn https(&self) -> &[SocketAddr] {
        &self.state.https
    }

    /// Where peers are served: the addresses as they are, with real ports.
    #[must_use]
    pub fn peer(&self) -> &[SocketAddr] {
        &self.state.peer
    }

    /// Who it is among peers.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.node.peer_id
    }

    /// Where administrators are.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Where `/metrics` alone is.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// The token that changes by the admin API ask for.
    #[must_use]
    pub fn token(&self) -> &str {
        self.state.token.text()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.state.store
    }

    /// What is counted.
    #[must_use]
    pub fn figures(&self) -> &Arc<Figures> {
        &self.node.figures
    }

    /// All figures, as Prometheus reads them.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.state.metrics()
    }

    /// The settings in force; what is stored there holds from the next request on.
    #[must_use]
    pub fn settings(&self) -> &Arc<ArcSwap<Settings>> {
        &self.state.settings
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Stops: clients are told to connect anew, then no connection is accepted, answers under way have until `cut_after`,
    /// and the store is written out.
    pub fn stop(self, cut_after: Duration) {
        self.state.stopping.store(true, Ordering::Relaxed);
        self.state.journal.look(&self.state);
        let told = Instant::now();
        self.node.last_answers();
        if let Some(plane) = self.state.tls_plane.read().as_ref() {
            plane.last_answers();
        }
        if let Some(dns_sd) = self.dns_sd {
            dns_sd.stop();
        }
        if let Some(swarm) = self.state.swarm.get() {
            self.node.runtime.block_on(swarm.leave(LEAVE_WITHIN));
        }
        if let Some(server) = self.coordinator_server {
            self.node.runtime.block_on(server.stop(LEAVE_WITHIN));
        }
        let connections = || self.state.connections() + self.node.service.open();
        while connections() > 0 && told.elapsed() < LAST_ANSWERS {
            thread::park_timeout(STOP_LOOK);
        }
        // Said before it is taken out, so that whoever asks meanwhile still sees its connections.
        self.node.drain();
        if let Some(plane) = self.state.tls_plane.read().as_ref() {
            plane.drain();
        }
        let tls_plane = self.state.tls_plane.write().take();
        let by_tls = async move {
            match tls_plane {
                Some(plane) => plane.stop(cut_after).await,
                None => true,
            }
        };
        self.node.stop(cut_after, by_tls);
        self.state.months.keep();
    }
}

/// Tells the network of this appliance, where that is wanted. Where it can not be done it is told by other means.
fn found_by_dns_sd(state: &State) -> Option<DnsSd> {
    let config = state.config.load();
    if !config.dns_sd {
        return None;
    }
    let Some(offer) = Offer::of(&config.site, &state.host_name, &state.http) else {
        tracing::warn!(
            "[discovery] dns_sd has no effect: [server] http listens on loopback alone, where no client is"
        );
        return None;
    };
    match state.telemetry.within(|| DnsSd::start(offer)) {
        Ok(dns_sd) => Some(dns_sd),
        Err(error) => {
            tracing::error!("DNS-SD: nobody is told of this appliance: {error}");
            None
        }
    }
}

/// The sockets of one appliance.
struct Sockets {
    http: Vec<TcpListener>,
    https: Vec<TcpListener>,
    peer: Vec<TcpListener>,
    admin: TcpListener,
    metrics: Option<TcpListener>,
}

impl Sockets {
    /// Takes what the service manager opened, and opens the rest.
    fn open(config: &Checked, inherited: Vec<(Purpose, TcpListener)>) -> Result<Self, StartError> {
        let (mut http, mut https, mut peer) = (Vec::new(), Vec::new(), Vec::new());
        let (mut admin, mut metrics) = (None, None);
        for (purpose, socket) in inherited {
            match purpose {
                Purpose::Http => http.push(socket),
                Purpose::Https => https.push(socket),
                Purpose::Peer => peer.push(socket),
                Purpose::Admin => admin = Some(socket),
                Purpose::Metrics => metrics = Some(socket),
                // No socket of the service manager's is named so.
                Purpose::Coordinator => {}
            }
        }
        if http.is_empty() {
            http = listen::all(&config.http, Purpose::Http)?;
        }
        if https.is_empty() {
            https = listen::all(&config.https, Purpose::Https)?;
        }
        if peer.is_empty() {
            peer.extend(for_peers(config.peer)?);
        }
        let admin = match admin {
            Some(socket) => socket,
            None => listen::one(config.admin, Purpose::Admin)?,
        };
        if let (None, Some(address)) = (&metrics, config.metrics) {
            metrics = Some(listen::one(address, Purpose::Metrics)?);
        }
        Ok(Self {
            http,
            https,
            peer,
            admin,
            metrics,
        })
    }
}

/// Listens for peers. What the configuration does not ask for is no reason not to start.
fn for_peers(address: PeerAddress) -> Result<Option<TcpListener>, StartError> {
    match address {
        PeerAddress::Nowhere => Ok(None),
        PeerAddress::At(address) => listen::one(address, Purpose::Peer).map(Some),
        PeerAddress::IfFree(address) => match listen::one(address, Purpose::Peer) {
            Ok(listener) => Ok(Some(listener)),
            Err(error) => {
                tracing::warn!("peers are not served: {error}");
                Ok(None)
            }
        },
    }
}

fn addresses(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>, StartError> {
    let addresses = listeners.iter().map(TcpListener::local_addr);
    addresses
        .collect::<io::Result<_>>()
        .map_err(|source| StartError::Inherit { source })
}
