//! A download side with a store of its own and scripted origins. The rule: it asks and watches as a shard thread does.

use super::script::Origin;
use crate::ask::{Answer, Ask, FetchAsk, Reply, Resolution, ResolveAsk};
use crate::clock::Clock;
use crate::download::Download;
use crate::metrics::Figures;
use crate::origin::OriginClient;
use crate::settings::Settings;
use arc_swap::ArcSwap;
use larder_content::span::piece_start;
use larder_content::{PieceId, Span};
use larder_proto::http::route::{OriginRules, OwnedRoute, route};
use larder_storage::driver::Token;
use larder_storage::flight::{Flight, FlightError, FlightState, Watch, Watcher};
use larder_storage::record::Content;
use larder_storage::store::{Claim, Store, StoreOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// How long a test waits before it calls something hung.
const HUNG_AFTER: Duration = Duration::from_secs(60);

/// What is set up for one test.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) settings: Arc<ArcSwap<Settings>>,
    pub(crate) download: Download,
    pub(crate) clock: Clock,
    /// How long the clients wait for a first byte.
    pub(crate) patience: Duration,
    _folder: tempfile::TempDir,
}

impl World {
    /// All `hosts` lead to the origin. URLs with `/fixed/` in them are immutable.
    pub(crate) fn new(hosts: &[(&str, &Origin)]) -> Self {
        Self::with(hosts, 64 << 20, |_| {})
    }

    pub(crate) fn with(
        hosts: &[(&str, &Origin)],
        memory_bytes_max: u64,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let limit = |options: &mut StoreOptions| options.memory_bytes_max = memory_bytes_max;
        Self::of(hosts, limit, change)
    }

    pub(crate) fn of(
        hosts: &[(&str, &Origin)],
        limit: impl FnOnce(&mut StoreOptions),
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the store");
        let mut options = StoreOptions::new(folder.path());
        options.memory_bytes_max = 64 << 20;
        options.slab_bytes = 64 << 20;
        limit(&mut options);
        let store = Store::open(options).expect("the store opens");
        let connect = hosts
            .iter()
            .map(|(host, origin)| ((*host).to_owned(), origin.address.to_string()));
        let rules = OriginRules::new(&[], None, connect, &["*/fixed/*".to_owned()])
            .expect("the rules are sound");
        let mut settings = Settings::new(rules);
        // Stalls are found out soon, so that the tests need not wait.
        settings.origin_stall_timeout_ms = 300;
        settings.origin_head_timeout_ms = 2_000;
        change(&mut settings);
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let clock = Clock::start();
        let origin = OriginClient::new(Arc::clone(&settings), Arc::new(Figures::new()));
        let download = Download::spawn(store.clone(), Arc::clone(&settings), origin, clock);
        Self {
            store,
            settings,
            download,
            clock,
            patience: Duration::from_secs(14),
            _folder: folder,
        }
    }

    /// As after a restart.
    pub(crate) fn forget_all_but_the_store(&mut self) {
        let origin = OriginClient::new(Arc::clone(&self.settings), Arc::new(Figures::new()));
        let (store, settings) = (self.store.clone(), Arc::clone(&self.settings));
        self.download = Download::spawn(store, settings, origin, self.clock);
    }

    /// The route of a URL `http://host/path`.
    pub(crate) fn route(&self, url: &str) -> OwnedRoute {
        let settings = self.settings.load();
        route(url, None, false, &settings.rules)
            .expect("the URL is allowed")
            .to_owned()
    }

    pub(crate) async fn resolve(
        &self,
        url: &str,
        wanted: Option<(u64, Option<u64>)>,
    ) -> Resolution {
        let (tell, told) = oneshot::channel();
        let ask = ResolveAsk {
            route: self.route(url),
            wanted,
            deadline: self.clock.now() + self.patience,
            revalidate: false,
            reply: Reply::new(move |resolution| {
                let _ = tell.send(resolution);
            }),
        };
        self.download.ask(Ask::Resolve(ask));
        let told = tokio::time::timeout(HUNG_AFTER, told).await;
        told.expect("an ask is answered")
            .expect("an ask is answered exactly once")
    }

    pub(crate) async fn content(
        &self,
        url: &str,
        wanted: Option<(u64, Option<u64>)>,
    ) -> Arc<Content> {
        match self.resolve(url, wanted).await {
            Resolution::Content(content) => content,
            other => panic!("{url} is content, not {other:?}"),
        }
    }

    /// Brings `span` of a content in, as a shard thread does, and returns its bytes.
    pub(crate) async fn bytes(
        &self,
        content: &Arc<Content>,
        url: &str,
        span: Span,
    ) -> Result<Vec<u8>, FlightError> {
        let mut all = Vec::new();
        let flights = self.claim(content, url, span);
        for (id, flight) in flights {
            let piece = match flight {
                Some(flight) => whole(&flight).await?,
                None => self.stored(content, url, id).await?,
            };
            let begin = piece_start(id.piece);
            let cut = |at: u64| usize::try_from(at.saturating_sub(begin)).expect("small");
            let (from, to) = (cut(span.start), cut(span.end).min(piece.len()));
            all.extend_from_slice(&piece[from..to]);
        }
        Ok(all)
    }

    /// A piece that is stored; fetched again where it has gone before it was read.
    async fn stored(
        &self,
        content: &Arc<Content>,
        url: &str,
        id: PieceId,
    ) -> Result<Vec<u8>, FlightError> {
        let len = u64::from(content.piece_len(id.piece));
        loop {
            let store = self.store.clone();
            let read =
                tokio::task::spawn_blocking(move || store.read_blocking(id, Span::new(0, len)));
            if let Some(bytes) = read.await.expect("the reader lives") {
                return Ok(bytes);
            }
            let start = piece_start(id.piece);
            let claimed = self.claim(content, url, Span::new(start, start + len));
            if let Some((_, Some(flight))) = claimed.into_iter().next() {
                return whole(&flight).await;
            }
        }
    }

    /// Claims the pieces of a span, and asks for those that nobody fetches. `None`: stored already.
    pub(crate) fn claim(
        &self,
        content: &Arc<Content>,
        url: &str,
        span: Span,
    ) -> Vec<(PieceId, Option<Arc<Flight>>)> {
        let mut all = Vec::new();
        let mut mine = Vec::new();
        for piece in span.pieces() {
            let id = PieceId {
                content: content.no,
                piece,
            };
            let flight = match self.store.claim(id, content.piece_len(piece)) {
                Claim::Owner(flight) => {
                    mine.push(Arc::clone(&flight));
                    Some(flight)
                }
                Claim::Waiter(flight) => Some(flight),
                Claim::Stored => None,
            };
            all.push((id, flight));
        }
        if !mine.is_empty() {
            self.download.ask(Ask::Fetch(FetchAsk {
                content: Arc::clone(content),
                route: Arc::new(self.route(url)),
                flights: mine,
                deadline: self.clock.now() + self.patience,
                spare_until: None,
            }));
        }
        all
    }

    /// A whole object, asked for as a client without ranges does; asks again once where it changed midway.
    pub(crate) async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let content = match self.resolve(url, None).await {
            Resolution::Content(content) => content,
            other => return Err(format!("{other:?}")),
        };
        self.bytes(&content, url, Span::whole(content.length()))
            .await
            .map_err(|error| error.to_string())
    }
}

struct Wake(Notify);

impl Watch for Wake {
    fn progress(&self, _token: Token, _id: PieceId) {
        self.0.notify_one();
    }
}

/// Waits until a flight is over, and gives its bytes.
pub(crate) async fn whole(flight: &Arc<Flight>) -> Result<Vec<u8>, FlightError> {
    let wake = Arc::new(Wake(Notify::new()));
    let waiting = async {
        loop {
            let seen = flight.watch(Watcher {
                wake: Arc::clone(&wake) as Arc<dyn Watch>,
                token: Token(1),
            });
            match seen.state {
                FlightState::Whole => {
                    let frame = seen.frame.expect("a whole flight has its bytes");
                    assert_eq!(frame.filled(), flight.len(), "a whole flight is full");
                    return Ok(frame.bytes().to_vec());
                }
                FlightState::Failed(error) => return Err(error),
                _ => wake.0.notified().await,
            }
        }
    };
    let over = tokio::time::timeout(HUNG_AFTER, waiting).await;
    over.expect("every flight ends")
}

/// Watches a flight until it is over, and tells what of it may be used meanwhile.
pub(crate) async fn watch(
    flight: &Arc<Flight>,
    mut tell: impl FnMut(u32),
) -> Result<(), FlightError> {
    let wake = Arc::new(Wake(Notify::new()));
    let waiting = async {
        loop {
            let seen = flight.watch(Watcher {
                wake: Arc::clone(&wake) as Arc<dyn Watch>,
                token: Token(1),
            });
            tell(seen.filled);
            match seen.state {
                FlightState::Whole => return Ok(()),
                FlightState::Failed(error) => return Err(error),
                _ => wake.0.notified().await,
            }
        }
    };
    let over = tokio::time::timeout(HUNG_AFTER, waiting).await;
    over.expect("every flight ends")
}

/// Waits until it is so.
pub(super) async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    for _ in 0..4000 {
        if is() {
            return;
        }
        looks.tick().await;
    }
    panic!("it never came true: {what}");
}
