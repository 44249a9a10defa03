//! A running appliance: store, downloads, data plane, put together and taken down again. The rule: parts are stopped
//! in the opposite order of their start, so that none works for another that is gone.

use crate::admin::{self, Token};
use crate::background;
use crate::budget::Budget;
use crate::certificates::{self, Keeper};
use crate::config::Checked;
use crate::listen::{self, Purpose};
use crate::machine;
use crate::state::{Pulse, State};
use crate::telemetry::Telemetry;
use crate::telemetry::gauges::Gauges;
use arc_swap::ArcSwap;
use larder_net::clock::Clock;
use larder_net::download::Download;
use larder_net::http::tls::PairError;
use larder_net::http::{Certificates, HyperService, Plane, PlaneOptions, PlaneParts, TlsPlane};
use larder_net::metrics::Figures;
use larder_net::origin::{Network, OriginClient, SystemNetwork};
use larder_net::settings::Settings;
use larder_storage::store::{OpenError, Store, StoreOptions};
use parking_lot::{Mutex, RwLock};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Control threads. They wait for origins and administrators; what costs CPU runs on shard threads.
const CONTROL_THREADS: usize = 2;
/// Bytes of a slab file; see [`StoreOptions::slab_bytes`].
const SLAB_BYTES: u64 = 1 << 30;
/// The memory tier needs a piece on its way in for each of a few clients at least.
const RAM_BYTES_MIN: u64 = 16 << 20;

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
    figures: Arc<Figures>,
    admin: SocketAddr,
    metrics: Option<SocketAddr>,
    /// What shard threads hand over is served by it.
    service: HyperService,
    runtime: Runtime,
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
        let shards = match config.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            shards => shards,
        };
        let budget = Budget::new(config.memory_bytes_max, shards);
        if budget.ram_bytes < RAM_BYTES_MIN {
            let bytes = config.memory_bytes_max;
            return Err(StartError::Memory { bytes, shards });
        }
        let mut sockets = Sockets::open(&config, origin.sockets)?;
        let certificates = match (sockets.https.is_empty(), config.tls.is_empty()) {
            (false, true) => return Err(StartError::NoCertificate),
            (false, false) => Some(Arc::new(Certificates::load(&config.tls)?)),
            (true, false) => {
                tracing::warn!("[tls] has no effect: [server] https names no address");
                None
            }
            (true, true) => None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(CONTROL_THREADS)
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let store = telemetry.within(|| {
            Store::open(StoreOptions {
                paths: config.store_paths.clone(),
                bytes_max: config.store_bytes_max,
                memory_bytes_max: budget.ram_bytes,
                index_bytes_max: budget.index_bytes,
                slab_bytes: SLAB_BYTES,
            })
        })?;
        let first = config.store_paths.first().cloned().unwrap_or_default();
        let token = Token::of_store(&first).map_err(|source| StartError::Token {
            path: admin::token_file_in(&first),
            source,
        })?;
        let clock = Clock::start();
        let settings = Arc::new(ArcSwap::from_pointee(budget.fit(config.settings.clone())));
        let figures = telemetry.within(|| Arc::new(Figures::new()));
        let network = origin.network.unwrap_or_else(|| Arc::new(SystemNetwork));
        let client = telemetry
            .within(|| OriginClient::on(network, Arc::clone(&settings), Arc::clone(&figures)));
        let (answer, service) = {
            let _entered = runtime.enter();
            let client = client.clone();
            let download = Download::spawn(store.clone(), Arc::clone(&settings), client, clock);
            let (settings, figures) = (Arc::clone(&settings), Arc::clone(&figures));
            let service = HyperService::new(download.clone(), settings, figures);
            (download, service)
        };
        let parts = PlaneParts {
            store: store.clone(),
            settings: Arc::clone(&settings),
            answer: Arc::new(answer),
            take_over: Arc::new(service.clone()),
            figures: Arc::clone(&figures),
            clock,
        };
        let options = PlaneOptions {
            shards,
            prefer: config.driver,
            arena_bytes: budget.arena_bytes,
        };
        let http = addresses(&sockets.http)?;
        let plane = telemetry
            .within(|| Plane::start(options, std::mem::take(&mut sockets.http), parts))
            .map_err(StartError::Threads)?;
        let https = addresses(&sockets.https)?;
        let tls_plane = match &certificates {
            Some(certificates) => {
                let listeners = std::mem::take(&mut sockets.https);
                let certificates = Arc::clone(certificates);
                let start = || TlsPlane::start(shards, listeners, certificates, &service);
                Some(telemetry.within(start).map_err(StartError::Threads)?)
            }
            None => None,
        };
        let certificates = telemetry.within(|| Keeper::new(certificates));
        certificates.tell(clock.unix());
        let reports = plane.reports().to_vec();
        let driver = reports.first().map(|report| report.driver);
        let gauges = telemetry.within(|| Gauges::new(&config.site, driver));
        gauges.reloaded(true, clock.unix());
        let state = Arc::new(State {
            store,
            origin: client,
            settings,
            config: ArcSwap::from_pointee(config),
            file: origin.file,
            reloading: Mutex::new(()),
            plane: RwLock::new(Some(plane)),
            tls_plane: RwLock::new(tls_plane),
            certificates,
            reports,
            telemetry,
            gauges,
            token,
            budget,
            clock,
            started_unix: clock.unix(),
            http,
            https,
            host_name: machine::host_name(),
            pulse: Pulse::default(),
            stopping: AtomicBool::new(false),
        });
        let admin = sockets.admin.local_addr();
        let metrics = sockets.metrics.as_ref().map(TcpListener::local_addr);
        let _entered = runtime.enter();
        background::spawn(&state, origin.watchdog);
        certificates::watch(&state);
        admin::spawn(sockets.admin, Arc::clone(&state)).map_err(StartError::Threads)?;
        if let Some(listener) = sockets.metrics {
            admin::spawn_metrics(listener, Arc::clone(&state)).map_err(StartError::Threads)?;
        }
        drop(_entered);
        Ok(Self {
            state,
            figures,
            admin: admin.map_err(|source| StartError::Inherit { source })?,
            metrics: metrics
                .transpose()
                .map_err(|source| StartError::Inherit { source })?,
            service,
            runtime,
        })
    }

    /// Where clients are served: the addresses as they are, with real ports.
    #[must_use]
    pub fn http(&self) -> &[SocketAddr] {
        &self.state.http
    }

    /// Where clients are served by https: the addresses as they are, with real ports.
    #[must_use]
    pub fn https(&self) -> &[SocketAddr] {
        &self.state.https
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
        &self.figures
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

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Stops: no new connections, answers under way have until `cut_after`, then the store is written out.
    pub fn stop(self, cut_after: Duration) {
        self.state.stopping.store(true, Ordering::Relaxed);
        // Said before it is taken out, so that whoever asks meanwhile still sees its connections.
        if let Some(plane) = self.state.plane.read().as_ref() {
            plane.drain();
        }
        if let Some(plane) = self.state.tls_plane.read().as_ref() {
            plane.drain();
        }
        let tls_plane = self.state.tls_plane.write().take();
        let plane = self.state.plane.write().take();
        if let Some(plane) = plane {
            plane.stop(cut_after);
        }
        // Nothing is handed over any more; what was is given as long again.
        let whole = self.runtime.block_on(async {
            let by_tls = async {
                match tls_plane {
                    Some(plane) => plane.stop(cut_after).await,
                    None => true,
                }
            };
            let (whole, by_tls) = tokio::join!(self.service.drain(cut_after), by_tls);
            whole && by_tls
        });
        if !whole {
            tracing::info!(
                "requests that pass through were cut off, since they had not ended in time"
            );
        }
        self.state.store.flush();
        self.state.store.close();
        self.runtime.shutdown_timeout(Duration::from_secs(2));
    }
}

/// The sockets of one appliance.
struct Sockets {
    http: Vec<TcpListener>,
    https: Vec<TcpListener>,
    admin: TcpListener,
    metrics: Option<TcpListener>,
}

impl Sockets {
    /// Takes what the service manager opened, and opens the rest.
    fn open(config: &Checked, inherited: Vec<(Purpose, TcpListener)>) -> Result<Self, StartError> {
        let (mut http, mut https, mut admin, mut metrics) = (Vec::new(), Vec::new(), None, None);
        for (purpose, socket) in inherited {
            match purpose {
                Purpose::Http => http.push(socket),
                Purpose::Https => https.push(socket),
                Purpose::Admin => admin = Some(socket),
                Purpose::Metrics => metrics = Some(socket),
            }
        }
        if http.is_empty() {
            http = listen::all(&config.http, Purpose::Http)?;
        }
        if https.is_empty() {
            https = listen::all(&config.https, Purpose::Https)?;
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
            admin,
            metrics,
        })
    }
}

fn addresses(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>, StartError> {
    let addresses = listeners.iter().map(TcpListener::local_addr);
    addresses
        .collect::<io::Result<_>>()
        .map_err(|source| StartError::Inherit { source })
}
