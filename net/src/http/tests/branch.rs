//! A whole branch office on loopback: shards, service, store, downloads, and an origin that speaks as told. The rule:
//! tests look at it through its sockets, and see the origin's side and the store only to count and to read back.

use super::PATIENCE;
use super::raw::{Client, Got};
use crate::download::tests::script::{Asked, Object, Origin, Step};
use crate::download::tests::world::World;
use crate::http::hyper_service::HyperService;
use crate::metrics::Figures;
use crate::plane::{Listeners, Monthly, Plane, PlaneOptions, PlaneParts};
use crate::settings::Settings;
use larder_proto::swarm::PeerId;
use larder_storage::driver::DriverKind;
use larder_storage::store::StoreOptions;
use metrics::Counter;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Hosts that lead to the origin: one, and two of the vendor's family.
const HOSTS: [&str; 3] = [
    super::HOST,
    "a.dl.delivery.mp.microsoft.com",
    "b.dl.delivery.mp.microsoft.com",
];

/// Which way requests take through larder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// Whichever driver there is, and what shards do not serve is handed over.
    Any,
    /// Shards with the ring driver.
    Ring,
    /// Shards with the epoll driver.
    Epoll,
    /// The service: connections are handed over before their first request.
    Service,
}

/// See the file's head.
pub(crate) struct Branch {
    pub(crate) world: World,
    pub(crate) origin: Origin,
    pub(crate) service: HyperService,
    way: Way,
    address: SocketAddr,
    plane: Option<Plane>,
    on_shard: Arc<AtomicU64>,
    handed_over: Arc<AtomicU64>,
}

impl Branch {
    pub(crate) async fn open(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::with(Way::Any, script, |_| {}, |_| {}).await
    }

    pub(crate) async fn of(object: &Object) -> Self {
        let object = object.clone();
        Self::open(move |asked| vec![Step::Send(object.answer(asked))]).await
    }

    pub(crate) async fn with(
        way: Way,
        script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static,
        limit: impl FnOnce(&mut StoreOptions),
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let origin = Origin::start(script).await;
        let hosts = HOSTS.map(|host| (host, &origin));
        let world = World::of(&hosts, limit, change);
        let (on_shard, handed_over) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let mut figures = Figures::new();
        figures.requests_on_shard = Counter::from_arc(Arc::clone(&on_shard));
        figures.requests_handed_over = Counter::from_arc(Arc::clone(&handed_over));
        let figures = Arc::new(figures);
        let service = HyperService::new(
            world.download.clone(),
            Arc::clone(&world.settings),
            Arc::clone(&figures),
        );
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let driver = match way {
            Way::Ring => Some(DriverKind::Ring),
            Way::Epoll => Some(DriverKind::Epoll),
            Way::Any | Way::Service => None,
        };
        let options = PlaneOptions {
            shards: 1,
            prefer: driver,
            arena_bytes: 4 << 20,
            inbox_bytes: 4 << 20,
            seed: 1,
        };
        let parts = PlaneParts {
            store: world.store.clone(),
            settings: Arc::clone(&world.settings),
            answer: Arc::new(world.download.clone()),
            take_over: Arc::new(service.clone()),
            figures,
            clock: world.clock,
            peer_id: PeerId([7; 16]),
            surroundings: Arc::default(),
            monthly: Arc::new(Monthly::uncounted()),
        };
        let plane = Plane::start(
            options,
            Listeners {
                http: vec![listener],
                peer: Vec::new(),
            },
            parts,
        )
        .expect("a plane");
        let reports = plane.reports();
        let is_meant = |kind: DriverKind| driver.is_none_or(|driver| driver == kind);
        assert!(reports.iter().all(|r| is_meant(r.driver)), "{reports:?}");
        Self {
            world,
            origin,
            service,
            way,
            address,
            plane: Some(plane),
            on_shard,
            handed_over,
        }
    }

    /// A connection that goes the way that is meant.
    pub(crate) fn client(&self) -> Client {
        let mut client = Client::connect(self.address);
        if self.way == Way::Service {
            let got = client.elsewhere("Upgrade: websocket\r\n");
            assert_eq!(got.status, 403, "handed over, and refused");
        }
        client
    }

    /// Waits until so many pieces are stored: that follows their last byte.
    pub(crate) fn landed(&self, pieces: u64) {
        self.until("the pieces have landed", || {
            self.world.store.figures().ram_pieces >= pieces
        });
    }

    /// How many requests the origin got.
    pub(crate) fn asked(&self) -> usize {
        self.origin.asked().len()
    }

    /// Open client connections, wherever they are served.
    pub(crate) fn connections(&self) -> usize {
        self.plane.as_ref().map_or(0, Plane::connections) + self.service.open()
    }

    /// How many requests shards answered, and how many the service.
    pub(crate) fn served(&self) -> (u64, u64) {
        let count = |by: &AtomicU64| by.load(Ordering::SeqCst);
        (count(&self.on_shard), count(&self.handed_over))
    }

    /// Waits until `holds`, looking again and again.
    pub(crate) fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < end, "waited in vain: {what}");
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }
}

impl Drop for Branch {
    fn drop(&mut self) {
        if let Some(plane) = self.plane.take() {
            plane.stop(Duration::ZERO);
        }
    }
}

impl Client {
    /// Asks for something on a host that is not allowed, which no origin hears of: the answer shows that the
    /// connection is in step.
    pub(crate) fn elsewhere(&mut self, more: &str) -> Got {
        let head = format!("GET / HTTP/1.1\r\nHost: elsewhere.example\r\n{more}\r\n");
        self.write(head.as_bytes());
        self.read(false)
    }
}
