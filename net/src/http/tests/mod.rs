//! A running plane on loopback, with a scripted origin behind it. The rule: each test runs under both drivers, and
//! waits for what it waits for (bytes, an ask), never for time to pass.

mod answers;
mod endings;
mod misses;
mod origin;
mod raw;

use crate::clock::Clock;
use crate::http::handoff::{HandedOver, TakeOver};
use crate::http::plane::{Plane, PlaneOptions, PlaneParts};
use crate::metrics::Figures;
use crate::settings::Settings;
use arc_swap::ArcSwap;
use larder_proto::http::route::OriginRules;
use larder_storage::driver::DriverKind;
use larder_storage::store::{Store, StoreOptions};
use origin::Origin;
use raw::Client;
use std::net::{SocketAddr, TcpListener};
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
const PATIENCE: Duration = Duration::from_secs(20);

/// The host that the scripted origin stands for.
const HOST: &str = "files.example";

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
    origin: Arc<Origin>,
    settings: Arc<ArcSwap<Settings>>,
    given: Receiver<HandedOver>,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn start(driver: DriverKind) -> Self {
        Self::with(driver, 2, 64 << 20)
    }

    fn with(driver: DriverKind, shards: usize, memory_bytes_max: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(StoreOptions {
            memory_bytes_max,
            ..StoreOptions::new(folder.path())
        })
        .expect("a store");
        let allow = [HOST.to_owned()];
        let immutable = [format!("{HOST}/fixed/*")];
        let rules = OriginRules::new(&allow, None, [], &immutable).expect("rules");
        let settings = Arc::new(ArcSwap::from_pointee(Settings::new(rules)));
        let clock = Clock::start();
        let origin = Origin::start(store.clone(), clock);
        let (give, given) = channel();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let options = PlaneOptions {
            shards,
            prefer: Some(driver),
            arena_bytes: 4 << 20,
        };
        let parts = PlaneParts {
            store,
            settings: Arc::clone(&settings),
            answer: Arc::clone(&origin) as _,
            take_over: Arc::new(Giver(Mutex::new(give))),
            figures: Arc::new(Figures::new()),
            clock,
        };
        let plane = Plane::start(options, vec![listener], parts).expect("a plane");
        assert!(
            plane.reports().iter().all(|r| r.driver == driver),
            "{:?}",
            plane.reports()
        );
        Self {
            plane: Some(plane),
            address,
            origin,
            settings,
            given,
            _folder: folder,
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
