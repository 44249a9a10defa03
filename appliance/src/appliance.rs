//! A running appliance: store, downloads, data plane, put together and taken down again. The rule: parts are stopped
//! in the opposite order of their start, so that none works for another that is gone.

use crate::config::Checked;
use crate::telemetry::Telemetry;
use arc_swap::ArcSwap;
use larder_net::clock::Clock;
use larder_net::download::Download;
use larder_net::http::{HandedOver, Plane, PlaneOptions, PlaneParts, TakeOver};
use larder_net::metrics::Figures;
use larder_net::origin::OriginClient;
use larder_net::settings::Settings;
use larder_storage::store::{OpenError, Store, StoreOptions};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Why an appliance does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// Threads or drivers cannot be had.
    #[error("cannot start the threads: {0}")]
    Threads(#[source] io::Error),
}

/// A running appliance.
pub struct Appliance {
    plane: Plane,
    store: Store,
    figures: Arc<Figures>,
    telemetry: Telemetry,
    settings: Arc<ArcSwap<Settings>>,
    http: Vec<SocketAddr>,
    runtime: Runtime,
}

impl fmt::Debug for Appliance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appliance")
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

struct Refuse;

impl TakeOver for Refuse {
    fn take_over(&self, connection: HandedOver) {
        drop(connection);
    }
}

impl Appliance {
    /// Starts an appliance in this process. It serves when this returns.
    ///
    /// # Errors
    /// Where an address, the store or a thread cannot be had, in words that say what to do.
    pub fn start(config: Checked, telemetry: Telemetry) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let mut listeners = Vec::new();
        let mut http = Vec::new();
        for address in &config.http {
            let listen = |source| StartError::Listen {
                address: *address,
                source,
            };
            let listener = TcpListener::bind(address).map_err(listen)?;
            http.push(listener.local_addr().map_err(listen)?);
            listeners.push(listener);
        }
        let clock = Clock::start();
        let settings = Arc::new(ArcSwap::from_pointee(config.settings.clone()));
        let (store, figures) = telemetry.within(|| {
            let store = Store::open(StoreOptions {
                paths: config.store_paths.clone(),
                bytes_max: config.store_bytes_max,
                memory_bytes_max: config.memory_bytes_max / 2,
                slab_bytes: 1 << 30,
            })?;
            Ok::<_, StartError>((store, Arc::new(Figures::new())))
        })?;
        let download = {
            let _entered = runtime.enter();
            let origin = OriginClient::new(Arc::clone(&settings), Arc::clone(&figures));
            Download::spawn(store.clone(), Arc::clone(&settings), origin, clock)
        };
        let options = PlaneOptions {
            shards: config.shards,
            prefer: config.driver,
            arena_bytes: 16 << 20,
        };
        let parts = PlaneParts {
            store: store.clone(),
            settings: Arc::clone(&settings),
            answer: Arc::new(download),
            take_over: Arc::new(Refuse),
            figures: Arc::clone(&figures),
            clock,
        };
        let plane = Plane::start(options, listeners, parts).map_err(StartError::Threads)?;
        Ok(Self {
            plane,
            store,
            figures,
            telemetry,
            settings,
            http,
            runtime,
        })
    }

    /// Where clients are served: the addresses as they are, with real ports.
    #[must_use]
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What is counted.
    #[must_use]
    pub fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// All figures, as Prometheus reads them.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.telemetry.render()
    }

    /// The settings in force; what is stored there holds from the next request on.
    #[must_use]
    pub fn settings(&self) -> &Arc<ArcSwap<Settings>> {
        &self.settings
    }

    /// Stops: no new connections, answers under way have until `cut_after`, then the store is written out.
    pub fn stop(self, cut_after: Duration) {
        self.plane.stop(cut_after);
        self.store.flush();
        self.store.close();
        self.runtime.shutdown_timeout(Duration::from_secs(2));
    }
}
