//! A running plane on loopback, with a scripted origin behind it. The rule: each test runs under both drivers, and
//! waits for what it waits for (bytes, an ask), never for time to pass.

mod answers;
pub(crate) mod branch;
mod chance;
mod disk;
mod endings;
mod forty;
mod lies;
mod misses;
mod origin;
mod peer;
mod peers;
pub(crate) mod raw;
mod served;
mod version;
mod windows;

use crate::clock::Clock;
use crate::http::handoff::{HandedOver, TakeOver};
use crate::metrics::Figures;
use crate::plane::{Listeners, Monthly, Plane, PlaneOptions, PlaneParts, Surroundings};
use crate::settings::Settings;
use arc_swap::ArcSwap;
use larder_proto::http::route::OriginRules;
use larder_storage::driver::DriverKind;
use larder_storage::ram_tier::FrameWriter;
use larder_storage::store::{Store, StoreOptions};
use metrics::Counter;
use origin::Origin;
use raw::Client;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Runs each of the tests under each driver.
macro_rules! on_each_driver {
    ($($name:ident),* $(,)?) => {
        mod ring {
            $(#[test] fn $name() { super::$name(crate::http::tests::Rig::start(larder_storage::driver::DriverKind::Ring)); })*
        }
        mod epoll {
            $(#[test] fn $name() { super::$name(crate::http::tests::Rig::start(larder_storage::driver::DriverKind::Epoll)); })*
        }
    };
}
pub(super) use on_each_driver;

/// Patience with whatever a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The host that the scripted origin stands for.
pub(crate) const HOST: &str = "files.example";

/// One whose URLs do not name their content.
pub(crate) const LIVE: &str = "live.example";

/// Gives connections that are handed over to the test.
struct Giver(Mutex<Sender<HandedOver>>);

impl TakeOver for Giver {
    fn take_over(&self, connection: HandedOver) {
        let sender = self.0.lock().expect("no test panics here");
        // The test may be over.
        let _ = sender.send(connection);
    }
}

/// A plane and what is around it.
struct Rig {
    /// None once it was stopped.
    plane: Option<Plane>,
    address: SocketAddr,
    /// Where peers are served.
    peer_address: SocketAddr,
    origin: Arc<Origin>,
    settings: Arc<ArcSwap<Settings>>,
    surroundings: Arc<ArcSwap<Surroundings>>,
    given: Receiver<HandedOver>,
    store: Store,
    sent: Sent,
    folder: tempfile::TempDir,
}

/// Where peers are served, and how it is counted what they get.
struct Laid {
    peers_at: IpAddr,
    monthly: Arc<Monthly>,
}

/// Body bytes sent, by where they came from.
#[derive(Default)]
struct Sent {
    memory: Arc<AtomicU64>,
    disk: Arc<AtomicU64>,
    origin: Arc<AtomicU64>,
}

impl Sent {
    fn figures(&self) -> Figures {
        let mut figures = Figures::new();
        figures.bytes_memory = Counter::from_arc(Arc::clone(&self.memory)).into();
        figures.bytes_disk = Counter::from_arc(Arc::clone(&self.disk)).into();
        figures.bytes_origin = Counter::from_arc(Arc::clone(&self.origin)).into();
        figures
    }

    fn sum(&self) -> u64 {
        let all = [&self.memory, &self.disk, &self.origin].into_iter();
        all.map(|count| count.load(Ordering::SeqCst)).sum()
    }

    /// Takes what was sent since the last look: from memory, from disk, while it came in. A shard counts after it has
    /// sent: see [`Rig::has_sent`].
    fn take(&self) -> [u64; 3] {
        [&self.memory, &self.disk, &self.origin].map(|count| count.swap(0, Ordering::SeqCst))
    }
}

impl Rig {
    fn start(driver: DriverKind) -> Self {
        Self::with(driver, 2, 64 << 20)
    }

    fn with(driver: DriverKind, shards: usize, memory_bytes_max: u64) -> Self {
        let laid = Laid {
            peers_at: Ipv4Addr::LOCALHOST.into(),
            monthly: Arc::new(Monthly::uncounted()),
        };
        Self::laid(driver, shards, memory_bytes_max, laid)
    }

    fn laid(driver: DriverKind, shards: usize, memory_bytes_max: u64, laid: Laid) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(StoreOptions {
            memory_bytes_max,
            slab_bytes: 64 << 20,
            ..StoreOptions::new(folder.path())
        })
        .expect("a store");
        // What is not immutable is handed over, but for ranges of it.
        let allow = [HOST.to_owned(), LIVE.to_owned()];
        let immutable = [format!("{HOST}/*")];
        let rules = OriginRules::new(&allow, None, [], &immutable).expect("rules");
        let settings = Arc::new(ArcSwap::from_pointee(Settings::new(rules)));
        let clock = Clock::start();
        let origin = Origin::start(store.clone(), clock);
        let (give, given) = channel();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let peer = TcpListener::bind((laid.peers_at, 0)).expect("a port");
        let peer_address = peer.local_addr().expect("an address");
        let options = PlaneOptions {
            shards,
            prefer: Some(driver),
            arena_bytes: 4 << 20,
            inbox_bytes: 4 << 20,
            seed: 1,
        };
        let sent = Sent::default();
        let surroundings = Arc::default();
        let parts = PlaneParts {
            store: store.clone(),
            settings: Arc::clone(&settings),
            answer: Arc::clone(&origin) as _,
            take_over: Arc::new(Giver(Mutex::new(give))),
            figures: Arc::new(sent.figures()),
            clock,
            peer_id: peer::RIG,
            surroundings: Arc::clone(&surroundings),
            monthly: laid.monthly,
        };
        let plane = Plane::start(
            options,
            Listeners {
                http: vec![listener],
                peer: vec![peer],
            },
            parts,
        )
        .expect("a plane");
        assert!(
            plane.reports().iter().all(|r| r.driver == driver),
            "{:?}",
            plane.reports()
        );
        Self {
            plane: Some(plane),
            address,
            peer_address,
            origin,
            settings,
            surroundings,
            given,
            store,
            sent,
            folder,
        }
    }

    fn set(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = Settings::clone(&self.settings.load());
        change(&mut settings);
        self.settings.store(Arc::new(settings));
    }

    fn client(&self) -> Client {
        Client::connect(self.address)
    }

    fn plane(&self) -> &Plane {
        self.plane.as_ref().expect("it runs")
    }

    /// Takes all of the memory tier: what is stored is on disk alone from now on, and nothing is admitted until the
    /// frames are dropped.
    fn hold_memory(&self) -> Vec<FrameWriter> {
        self.store.flush();
        let mut held = Vec::new();
        self.until("nothing is in memory", || {
            held.extend(std::iter::from_fn(|| self.store.frame(1 << 20)));
            held.extend(std::iter::from_fn(|| self.store.frame(1 << 16)));
            self.store.figures().ram_pieces == 0
        });
        self.sent.take();
        held
    }

    /// Waits until so much was sent since the last look (see [`Sent::take`]), just so.
    fn has_sent(&self, wanted: [u64; 3]) {
        let mut sent = [0; 3];
        self.until("all was counted", || {
            for (sum, more) in sent.iter_mut().zip(self.sent.take()) {
                *sum += more;
            }
            sent.iter().sum::<u64>() >= wanted.iter().sum()
        });
        assert_eq!(sent, wanted, "from memory, from disk, while it came in");
    }

    /// Waits until `holds`, looking again and again.
    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let end = std::time::Instant::now() + PATIENCE;
        while !holds() {
            assert!(std::time::Instant::now() < end, "waited in vain: {what}");
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.origin.release_all();
        if let Some(plane) = self.plane.take() {
            plane.stop(Duration::ZERO);
        }
        self.origin.stop();
    }
}
