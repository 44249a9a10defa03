//! The facade of the store: what shard threads and control threads call. The rule: what a shard thread calls never
//! waits for a disk.

pub mod types;

pub use crate::limits::SizeLimit;
pub use types::*;

use crate::flight::{Flight, FlightError, FlightState};
use crate::ram_tier::{FrameWriter, RamFrame, RamTier};
use crate::record::{Content, Record, Renewal};
use larder_content::{ContentNo, PieceId, Span, UrlKey};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

#[derive(Debug, Default)]
struct Maps {
    flights: HashMap<PieceId, Arc<Flight>>,
    frames: HashMap<PieceId, Arc<RamFrame>>,
    contents: HashMap<UrlKey, Arc<Content>>,
}

#[derive(Debug)]
struct Inner {
    ram: RamTier,
    maps: Mutex<Maps>,
}

/// The store. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

impl Store {
    /// Opens the store, or makes it where there is none.
    ///
    /// # Errors
    /// Where a directory, the catalogue or the memory cannot be had; damage is no error.
    pub fn open(options: StoreOptions) -> Result<Self, OpenError> {
        let bytes = options.memory_bytes_max;
        let ram = RamTier::new(bytes).map_err(|source| OpenError::Memory { bytes, source })?;
        Ok(Self {
            inner: Arc::new(Inner {
                ram,
                maps: Mutex::default(),
            }),
        })
    }

    /// The memory tier, for its descriptor.
    #[must_use]
    pub fn ram(&self) -> &RamTier {
        &self.inner.ram
    }

    /// Where a piece is. Counts as a touch.
    #[must_use]
    pub fn find(&self, id: PieceId) -> Found {
        let maps = self.inner.maps.lock();
        if let Some(frame) = maps.frames.get(&id) {
            return Found::Ram(Arc::clone(frame));
        }
        maps.flights
            .get(&id)
            .map_or(Found::Absent, |flight| Found::Flight(Arc::clone(flight)))
    }

    /// The descriptor of the slab file a piece lies in, opened for reading at offsets and lengths that are multiples
    /// of 4096. It stays valid as long as it is held, whatever happens to the slab. None: the piece has moved.
    #[must_use]
    pub fn slab_fd(&self, _piece: &DiskPiece) -> Option<Arc<OwnedFd>> {
        None
    }

    /// Checks bytes that were read: `data` is the piece's from block `first_block` (of 64 KiB) on, whole blocks or
    /// up to the piece's end. Never waits for a disk.
    #[must_use]
    pub fn verify(&self, _piece: &DiskPiece, _first_block: u32, _data: &[u8]) -> Verified {
        Verified::Moved
    }

    /// A read failed: the piece is dropped and the error counted.
    pub fn read_failed(&self, _piece: &DiskPiece, _error: &io::Error) {}

    /// Memory for a hot piece that is about to be read whole, or None where there is no room or no need.
    #[must_use]
    pub fn admit(&self, _piece: &DiskPiece) -> Option<FrameWriter> {
        None
    }

    /// The whole piece was read into the frame and verified: from now on it is served from memory.
    pub fn admitted(&self, _piece: &DiskPiece, _writer: FrameWriter) {}

    /// Reads and verifies bytes `within` a piece, from memory or disk. May wait for a disk: not for shard threads.
    /// None where the piece is absent, in flight, or turns out damaged.
    #[must_use]
    pub fn read_blocking(&self, id: PieceId, within: Span) -> Option<Vec<u8>> {
        let maps = self.inner.maps.lock();
        let bytes = maps.frames.get(&id)?.bytes();
        bytes
            .get(usize::try_from(within.start).ok()?..usize::try_from(within.end).ok()?)
            .map(<[u8]>::to_vec)
    }

    /// Makes the caller the one who fetches a piece, or shows it who does.
    #[must_use]
    pub fn claim(&self, id: PieceId, len: u32) -> Claim {
        let mut maps = self.inner.maps.lock();
        if maps.frames.contains_key(&id) {
            return Claim::Stored;
        }
        if let Some(flight) = maps.flights.get(&id) {
            return Claim::Waiter(Arc::clone(flight));
        }
        let flight = Arc::new(Flight::new(id, len));
        maps.flights.insert(id, Arc::clone(&flight));
        Claim::Owner(flight)
    }

    /// Memory for a piece that is about to arrive; makes room by forgetting hot pieces that nobody is reading. None
    /// where everything is in use: wait and ask again.
    #[must_use]
    pub fn frame(&self, len: u32) -> Option<FrameWriter> {
        self.inner.ram.frame(len)
    }

    /// Stores a flight that is whole. It is served from its frame until it is on disk; where it cannot be stored it
    /// is forgotten, and counted.
    pub fn keep(&self, flight: &Arc<Flight>) {
        let mut maps = self.inner.maps.lock();
        maps.flights.remove(&flight.id());
        if let (FlightState::Whole, Some(frame)) = (flight.state(), flight.frame()) {
            maps.frames.insert(flight.id(), frame);
        }
    }

    /// Gives a flight up: it fails, and the next claim of the piece makes a new one.
    pub fn abandon(&self, flight: &Arc<Flight>, error: FlightError) {
        self.inner.maps.lock().flights.remove(&flight.id());
        flight.fail(error);
    }

    /// The content a URL key names, if it is in memory. For any thread.
    #[must_use]
    pub fn content(&self, key: &UrlKey) -> Option<Arc<Content>> {
        self.inner.maps.lock().contents.get(key).cloned()
    }

    /// The content a URL key names; may read the catalogue. For control threads.
    #[must_use]
    pub fn load(&self, key: &UrlKey) -> Option<Arc<Content>> {
        self.content(key)
    }

    /// Begins a new version of what the key names. The old one, if no other key names it, loses its pieces.
    pub fn create(&self, key: UrlKey, record: Record) -> Arc<Content> {
        let no = ContentNo::new(RandomState::new().hash_one(key.0));
        let content = Arc::new(Content::new(no, key, record, vec![key]));
        let old = self
            .inner
            .maps
            .lock()
            .contents
            .insert(key, Arc::clone(&content));
        if let Some(old) = old {
            old.remove_name(&key);
        }
        content
    }

    /// The origin has confirmed a version: its dates are renewed.
    pub fn refresh(&self, content: &Arc<Content>, renewal: Renewal) {
        content.renew(renewal);
    }

    /// Lets one more key name a content.
    pub fn alias(&self, key: UrlKey, content: &Arc<Content>) {
        content.add_name(key);
        self.inner
            .maps
            .lock()
            .contents
            .insert(key, Arc::clone(content));
    }

    /// The objects that the filter names. Reads the catalogue.
    #[must_use]
    pub fn list(&self, filter: &Filter) -> Vec<Listed> {
        let maps = self.inner.maps.lock();
        let meant = maps
            .contents
            .values()
            .filter(|content| filter.matches(content.no, content.record()));
        meant
            .map(|content| Listed {
                no: content.no,
                key: content.key,
                record: content.snapshot(),
                bytes_stored: 0,
                pieces_stored: 0,
                pieces: content.pieces(),
            })
            .collect()
    }

    /// One object, by its key.
    #[must_use]
    pub fn stat(&self, key: &UrlKey) -> Option<Listed> {
        let no = self.load(key)?.no;
        self.list(&Filter::Content(no)).pop()
    }

    /// Forgets the objects that the filter names, and their pieces.
    pub fn purge(&self, filter: &Filter) -> Purged {
        let mut maps = self.inner.maps.lock();
        let before = maps.contents.len();
        maps.contents
            .retain(|_, content| !filter.matches(content.no, content.record()));
        Purged {
            objects: (before - maps.contents.len()) as u64,
            bytes: 0,
        }
    }

    /// Spares objects from eviction, or no longer; returns how many.
    pub fn pin(&self, filter: &Filter, pinned: bool) -> u64 {
        let maps = self.inner.maps.lock();
        let meant = maps
            .contents
            .values()
            .filter(|content| filter.matches(content.no, content.record()));
        meant.map(|content| content.set_pinned(pinned)).count() as u64
    }

    /// The store in numbers.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            ram_bytes: self.inner.ram.used_bytes(),
            ram_capacity_bytes: self.inner.ram.capacity_bytes(),
            ..Figures::default()
        }
    }

    /// Writes out what is waiting, and returns when it is on disk.
    pub fn flush(&self) {}

    /// Flushes and stops the store's threads. Flights under way fail; later calls find nothing new stored.
    pub fn close(&self) {
        let flights: Vec<_> = self
            .inner
            .maps
            .lock()
            .flights
            .drain()
            .map(|(_, flight)| flight)
            .collect();
        for flight in flights {
            flight.fail(FlightError::Closing);
        }
    }
}
