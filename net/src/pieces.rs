//! The bytes of stored pieces for one answer, wherever they are. The rule: a copy of a few blocks is all that an answer
//! holds, so that a client that takes its time pins neither a frame nor a place on disk. Where they are taken at once
//! whether the client takes its time or not, they need not be copied.

use crate::ask::{Answer, Ask, FetchAsk};
use crate::bell::Bell;
use crate::download::Download;
use crate::metrics::Figures;
use crate::plane::shard::Stored;
use bytes::Bytes;
use larder_content::{PieceId, Span};
use larder_proto::http::route::OwnedRoute;
use larder_proto::http::walk::Part;
use larder_proto::time::Time;
use larder_storage::flight::{Flight, FlightError, FlightState};
use larder_storage::ram_tier::RamFrame;
use larder_storage::record::Content;
use larder_storage::store::{Claim, DiskPiece, Found, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Taken in one go.
const CHUNK_BYTES: u32 = 256 << 10;

/// Look-ups without a byte after which a piece is given up: it keeps being moved, or found damaged.
const LOOKS_MAX: u32 = 16;

/// Attempts after a failure of the origin.
const FAILURES_MAX: u32 = 1;

/// The pieces of one answer.
pub(crate) struct Pieces {
    store: Store,
    download: Download,
    figures: Arc<Figures>,
    content: Arc<Content>,
    route: Arc<OwnedRoute>,
    deadline: Time,
    bell: Arc<Bell>,
    take: Take,
    /// The piece that was looked up last: what is asked for by this answer alone is not asked for twice.
    last: AtomicU32,
}

/// How bytes in memory are taken.
#[derive(Clone, Copy)]
enum Take {
    Copied,
    /// So many at most, as they lie there.
    Shared(u32),
}

impl Take {
    /// The beginning of `part`, as far as the first `there` bytes of the frame hold it.
    fn from(self, frame: &Arc<RamFrame>, there: u32, part: Part) -> Option<Bytes> {
        let bytes_max = match self {
            Self::Copied => CHUNK_BYTES,
            Self::Shared(bytes_max) => bytes_max,
        };
        let to = part.to.min(part.from.saturating_add(bytes_max));
        let to = to.min(there);
        if to <= part.from {
            return None;
        }
        match self {
            Self::Shared(_) => frame.share(part.from..to),
            Self::Copied => {
                let bytes = frame.bytes().get(part.from as usize..to as usize)?;
                Some(Bytes::copy_from_slice(bytes))
            }
        }
    }
}

impl Pieces {
    pub(crate) fn new(
        download: &Download,
        figures: &Arc<Figures>,
        content: &Arc<Content>,
        route: &Arc<OwnedRoute>,
        deadline: Time,
    ) -> Self {
        Self {
            store: download.store().clone(),
            download: download.clone(),
            figures: Arc::clone(figures),
            content: Arc::clone(content),
            route: Arc::clone(route),
            deadline,
            bell: Arc::new(Bell::default()),
            take: Take::Copied,
            last: AtomicU32::new(u32::MAX),
        }
    }

    /// From now on no bytes in memory are copied, and at most `bytes_max` of them are given at a time: whoever asked
    /// lets go of them before it waits for anything.
    pub(crate) fn share(&mut self, bytes_max: u32) {
        self.take = Take::Shared(bytes_max);
    }

    fn id(&self, piece: u32) -> PieceId {
        PieceId {
            content: self.content.no,
            piece,
        }
    }

    /// Has those that are missing fetched, and says how many were not.
    pub(crate) fn ask_for(&self, pieces: impl Iterator<Item = u32>) -> Stored {
        let (mut stored, mut missing) = (false, false);
        let mut flights = Vec::new();
        for piece in pieces {
            match self
                .store
                .claim(self.id(piece), self.content.piece_len(piece))
            {
                Claim::Stored => stored = true,
                Claim::Waiter(_) => missing = true,
                Claim::Owner(flight) => {
                    missing = true;
                    flights.push(flight);
                }
            }
        }
        if !flights.is_empty() {
            self.fetch(flights);
        }
        match (stored, missing) {
            (false, false) => Stored::Unasked,
            (true, false) => Stored::All,
            (false, true) => Stored::None,
            (true, true) => Stored::Some,
        }
    }

    fn fetch(&self, flights: Vec<Arc<Flight>>) {
        self.download.ask(Ask::Fetch(FetchAsk {
            content: Arc::clone(&self.content),
            route: Arc::clone(&self.route),
            flights,
            deadline: self.deadline,
            spare_until: None,
        }));
    }

    /// The first bytes of `part`, at least one; waits until they are there.
    pub(crate) async fn bytes(&self, part: Part) -> Result<Bytes, FlightError> {
        let id = self.id(part.piece);
        let mut failures = 0;
        // Once: there may be no room for it.
        let mut admitted = self.last.swap(part.piece, Ordering::Relaxed) == part.piece;
        for _ in 0..LOOKS_MAX {
            let flight = match self.store.find(id) {
                Found::Ram(frame) => {
                    if let Some(bytes) = self.take.from(&frame, frame.filled(), part) {
                        self.figures.bytes_memory.increment(bytes.len() as u64);
                        return Ok(bytes);
                    }
                    continue;
                }
                Found::Disk(piece) => {
                    if piece.hot && !std::mem::replace(&mut admitted, true) {
                        self.admit(piece).await;
                        continue;
                    }
                    if let Some(bytes) = self.read(id, part).await {
                        self.figures.bytes_disk.increment(bytes.len() as u64);
                        return Ok(bytes);
                    }
                    continue;
                }
                Found::Flight(flight) => flight,
                Found::Absent => match self.store.claim(id, self.content.piece_len(part.piece)) {
                    Claim::Stored => continue,
                    Claim::Waiter(flight) => flight,
                    Claim::Owner(flight) => {
                        self.fetch(vec![Arc::clone(&flight)]);
                        flight
                    }
                },
            };
            match self.landing(&flight, part).await {
                Ok(bytes) => {
                    self.figures.bytes_origin.increment(bytes.len() as u64);
                    return Ok(bytes);
                }
                Err(FlightError::Origin | FlightError::Timeout) if failures < FAILURES_MAX => {
                    failures += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Err(FlightError::Origin)
    }

    /// Has a piece that was asked for before read into memory.
    async fn admit(&self, piece: DiskPiece) {
        let store = self.store.clone();
        let admit = move || store.admit_blocking(&piece);
        // Where it could not be, it is read from disk.
        let _ = tokio::task::spawn_blocking(admit).await;
    }

    async fn read(&self, id: PieceId, part: Part) -> Option<Bytes> {
        let to = part.to.min(part.from.saturating_add(CHUNK_BYTES));
        let within = Span::new(u64::from(part.from), u64::from(to));
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || store.read_blocking(id, within));
        let bytes = read.await.ok()??;
        (!bytes.is_empty()).then(|| Bytes::from(bytes))
    }

    /// Waits until a piece that is coming in has come so far.
    async fn landing(&self, flight: &Flight, part: Part) -> Result<Bytes, FlightError> {
        loop {
            let seen = flight.watch(self.bell.watcher());
            let there = seen.filled;
            let take = |frame: Arc<RamFrame>| self.take.from(&frame, there, part);
            if let Some(bytes) = seen.frame.and_then(take) {
                return Ok(bytes);
            }
            match seen.state {
                FlightState::Failed(error) => return Err(error),
                FlightState::Whole => return Err(FlightError::Origin),
                // News that came since the look has left a permit.
                FlightState::Waiting | FlightState::Filling => self.bell.rung().await,
            }
        }
    }
}
