//! What an appliance and a device that downloads have in common: store, origins, downloads, data plane. The rule: it is
//! put together here and nowhere else, so that the engine exists once, and it is stopped in the opposite order.

use crate::appliance::StartError;
use crate::budget::Budget;
use crate::month::Uploads;
use crate::telemetry::Telemetry;
use arc_swap::ArcSwap;
use larder_net::clock::Clock;
use larder_net::download::Download;
use larder_net::http::HyperService;
use larder_net::metrics::Figures;
use larder_net::origin::{Network, OriginClient, SystemNetwork};
use larder_net::plane::{Listeners, Plane, PlaneOptions, PlaneParts, ShardReport, Surroundings};
use larder_net::settings::Settings;
use larder_proto::swarm::PeerId;
use larder_storage::driver::DriverKind;
use larder_storage::store::{SizeLimit, Store, StoreOptions};
use parking_lot::RwLock;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Control threads. They wait for origins and administrators; what costs CPU runs on shard threads.
const CONTROL_THREADS: usize = 2;
/// The memory tier needs a piece on its way in for each of a few clients at least.
const RAM_BYTES_MIN: u64 = 16 << 20;

/// How a node is laid out.
pub(crate) struct NodeOptions {
    /// Shard threads; 0 is one for each core.
    pub(crate) shards: usize,
    /// The driver to try first; None is io_uring.
    pub(crate) driver: Option<DriverKind>,
    /// Bytes of memory for everything that grows with content or clients.
    pub(crate) memory_bytes_max: u64,
    /// The directories of the store, one for each disk.
    pub(crate) store_paths: Vec<PathBuf>,
    /// Where it is kept what has gone to Internet peers in this month.
    pub(crate) uploads: PathBuf,
    /// How much disk it may use.
    pub(crate) store_bytes_max: SizeLimit,
    /// Bytes of a slab file; see [`StoreOptions::slab_bytes`].
    pub(crate) slab_bytes: u64,
    /// What shard threads and origins go by at first.
    pub(crate) settings: Settings,
    /// Where clients are served.
    pub(crate) http: Vec<TcpListener>,
    /// Where peers are served.
    pub(crate) peer: Vec<TcpListener>,
    /// Other names and sockets towards the origins than this machine's.
    pub(crate) network: Option<Arc<dyn Network>>,
}

/// The parts, running.
pub(crate) struct Node {
    pub(crate) store: Store,
    /// What shard threads and origins go by; what is stored there holds from the next request on.
    pub(crate) settings: Arc<ArcSwap<Settings>>,
    pub(crate) figures: Arc<Figures>,
    /// Who asks the origins.
    pub(crate) origin: OriginClient,
    /// Who brings in what is missing.
    pub(crate) download: Download,
    /// What shard threads hand over is served by it.
    pub(crate) service: HyperService,
    /// None once the node has stopped.
    pub(crate) plane: Arc<RwLock<Option<Plane>>>,
    pub(crate) reports: Vec<ShardReport>,
    /// Who it is among peers, drawn anew at each start.
    pub(crate) peer_id: PeerId,
    /// What shard threads go by when they serve peers.
    pub(crate) surroundings: Arc<ArcSwap<Surroundings>>,
    /// What goes to Internet peers, counted.
    pub(crate) uploads: Arc<Uploads>,
    /// Shard threads.
    pub(crate) shards: usize,
    pub(crate) budget: Budget,
    pub(crate) clock: Clock,
    pub(crate) runtime: Runtime,
}

impl Node {
    /// Starts a node. It serves when this returns.
    ///
    /// # Errors
    /// Where memory, the store or a thread cannot be had, in words that say what to do.
    pub(crate) fn start(options: NodeOptions, telemetry: &Telemetry) -> Result<Self, StartError> {
        let shards = match options.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            shards => shards,
        };
        let budget = Budget::new(options.memory_bytes_max, shards);
        if budget.ram_bytes < RAM_BYTES_MIN {
            let bytes = options.memory_bytes_max;
            return Err(StartError::Memory { bytes, shards });
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(CONTROL_THREADS)
            .thread_name("control")
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let store = telemetry.within(|| {
            Store::open(StoreOptions {
                paths: options.store_paths,
                bytes_max: options.store_bytes_max,
                memory_bytes_max: budget.ram_bytes,
                index_bytes_max: budget.index_bytes,
                slab_bytes: options.slab_bytes,
            })
        })?;
        let clock = Clock::start();
        let settings = Arc::new(ArcSwap::from_pointee(budget.fit(options.settings)));
        let figures = telemetry.within(|| Arc::new(Figures::new()));
        telemetry.within(|| settings.load().links.count());
        let network = options.network.unwrap_or_else(|| Arc::new(SystemNetwork));
        let origin = telemetry
            .within(|| OriginClient::on(network, Arc::clone(&settings), Arc::clone(&figures)));
        let (download, service) = {
            let _entered = runtime.enter();
            let (origin, settings) = (origin.clone(), Arc::clone(&settings));
            let download = Download::spawn(store.clone(), Arc::clone(&settings), origin, clock);
            let service = HyperService::new(download.clone(), settings, Arc::clone(&figures));
            (download, service)
        };
        let mut random = [0; 16];
        File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(&mut random))
            .map_err(StartError::Threads)?;
        let peer_id = PeerId(random);
        let uploads = telemetry.within(|| Arc::new(Uploads::new(&options.uploads)));
        uploads.look(&settings.load(), false);
        runtime.spawn(Arc::clone(&uploads).keep(Arc::clone(&settings)));
        let surroundings = Arc::default();
        let parts = PlaneParts {
            store: store.clone(),
            settings: Arc::clone(&settings),
            answer: Arc::new(download.clone()),
            take_over: Arc::new(service.clone()),
            figures: Arc::clone(&figures),
            clock,
            peer_id,
            surroundings: Arc::clone(&surroundings),
            monthly: uploads.monthly(),
        };
        let plane_options = PlaneOptions {
            shards,
            prefer: options.driver,
            arena_bytes: budget.arena_bytes,
            inbox_bytes: budget.inbox_bytes(shards),
            seed: RandomState::new().hash_one(random),
        };
        let listeners = Listeners {
            http: options.http,
            peer: options.peer,
        };
        let plane = telemetry
            .within(|| Plane::start(plane_options, listeners, parts))
            .map_err(StartError::Threads)?;
        Ok(Self {
            store,
            settings,
            figures,
            origin,
            download,
            service,
            reports: plane.reports().to_vec(),
            plane: Arc::new(RwLock::new(Some(plane))),
            peer_id,
            surroundings,
            uploads,
            shards,
            budget,
            clock,
            runtime,
        })
    }

    /// Each answer says that it is the last one on its connection. New connections are accepted, idle ones stay.
    pub(crate) fn last_answers(&self) {
        if let Some(plane) = self.plane.read().as_ref() {
            plane.last_answers();
        }
        self.service.last_answers();
    }

    /// No new connections from here on; those that wait for nothing are closed.
    pub(crate) fn drain(&self) {
        if let Some(plane) = self.plane.read().as_ref() {
            plane.drain();
        }
    }

    /// Stops: answers under way have until `cut_after`, then the store is written out. `others` are drained meanwhile;
    /// they say whether all of theirs ended in time.
    pub(crate) fn stop(self, cut_after: Duration, others: impl Future<Output = bool>) {
        let plane = self.plane.write().take();
        if let Some(plane) = plane {
            plane.stop(cut_after);
        }
        self.uploads.give_back();
        // Nothing is handed over any more; what was is given as long again.
        let whole = self.runtime.block_on(async {
            let (whole, others) = tokio::join!(self.service.drain(cut_after), others);
            whole && others
        });
        if !whole {
            tracing::info!(
                "requests that pass through were cut off, since they had not ended in time"
            );
        }
        self.store.flush();
        self.store.close();
        self.runtime.shutdown_timeout(Duration::from_secs(2));
    }
}
