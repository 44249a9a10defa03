//! The facade of the store: what shard threads and control threads call. The rule: what a shard thread calls never
//! waits for a disk.

mod counters;
mod format;
mod opening;
mod proving;
mod reading;
mod scrubbing;
mod sharing;
#[cfg(test)]
mod tests;
pub mod types;
mod verifying;

pub use crate::limits::SizeLimit;
pub(crate) use counters::Counters;
pub use proving::{PieceHash, Trusted, WholeFile};
pub use scrubbing::Pass;
pub use sharing::Landing;
pub use types::*;
pub use verifying::{BadPiece, LookBuf, Looked};

use crate::catalogue::Catalogue;
use crate::contents::{Contents, Renamed};
use crate::disk::Common;
use crate::flight::{Flight, FlightError, FlightState};
use crate::hot::HotOrder;
use crate::index::Hot;
use crate::lately::Lately;
use crate::ram_tier::{FrameWriter, RamTier};
use crate::record::{Content, Record};
use crate::writer::Order;
use counters::read;
use crossbeam::channel::bounded;
use larder_content::{ContentNo, PieceId, UrlKey};
use opening::{DiskHandle, row_of, share_of};
use parking_lot::{Mutex, RwLock};
use proving::Proofs;
use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

#[derive(Debug)]
struct Inner {
    ram: RamTier,
    index_bytes_max: u64,
    common: Common,
    contents: Arc<Contents>,
    catalogue: Catalogue,
    /// What the limit counts for it.
    catalogue_bytes: Arc<AtomicU64>,
    proofs: Proofs,
    hot: Arc<HotOrder>,
    lately: Lately,
    disks: Vec<DiskHandle>,
    /// Contents that are gone: what still arrives for them is not stored.
    retired: RwLock<HashSet<ContentNo>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held as long as the store lives.
    _locks: Vec<File>,
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
        let places = opening::places_of(&options)?;
        Self::open_on(&options, places)
    }

    /// The memory tier, for its descriptor.
    #[must_use]
    pub fn ram(&self) -> &RamTier {
        &self.inner.ram
    }

    /// Makes the caller the one who fetches a piece, or shows it who does.
    #[must_use]
    pub fn claim(&self, id: PieceId, len: u32) -> Claim {
        let mut shard = self.inner.common.index.shard(id);
        if shard.hot.contains_key(&id) || shard.location(id).is_some() {
            return Claim::Stored;
        }
        if let Some(flight) = shard.flights.get(&id) {
            return Claim::Waiter(Arc::clone(flight));
        }
        let flight = Arc::new(Flight::new(id, len));
        shard.flights.insert(id, Arc::clone(&flight));
        Claim::Owner(flight)
    }

    /// Memory for a piece that is about to arrive; makes room by forgetting hot pieces that nobody is reading. None
    /// where everything is in use: wait and ask again.
    #[must_use]
    pub fn frame(&self, len: u32) -> Option<FrameWriter> {
        let inner = &self.inner;
        let mut writer = inner.hot.frame(&inner.common.index, &inner.ram, len)?;
        writer.populate();
        Some(writer)
    }

    /// Stores a flight that is whole. It is served from its frame until it is on disk; where it cannot be stored it
    /// is forgotten, and counted.
    pub fn keep(&self, flight: &Arc<Flight>) {
        let id = flight.id();
        let common = &self.inner.common;
        let whole = flight.state() == FlightState::Whole;
        let frame = flight.frame().filter(|_| whole);
        let retired = self.inner.retired.read().contains(&id.content);
        {
            let mut shard = common.index.shard(id);
            if shard
                .flights
                .get(&id)
                .is_some_and(|held| Arc::ptr_eq(held, flight))
            {
                shard.flights.remove(&id);
            }
            let (Some(frame), false) = (&frame, retired) else {
                return;
            };
            // Kept twice, or already there: what is there is as good.
            if shard.hot.contains_key(&id) || shard.location(id).is_some() {
                return;
            }
            let hot = Hot {
                frame: Arc::clone(frame),
                touched: false,
                waits: true,
                location: None,
            };
            shard.hot.insert(id, hot);
        }
        let sent = frame.is_some_and(|frame| {
            let content = self.inner.contents.by_no(id.content);
            let pieces = content.map_or(0, |content| content.pieces());
            self.disk_for(id.content)
                .is_some_and(|disk| disk.orders.send(Order::Keep(id, frame, pieces)).is_ok())
        });
        if sent {
            self.stored(id);
        } else {
            common.counters.not_kept.fetch_add(1, Ordering::Relaxed);
            common.index.shard(id).hot.remove(&id);
        }
    }

    /// The disk that a content's pieces go to: always the same one, so that an object lies in runs.
    fn disk_for(&self, content: ContentNo) -> Option<&DiskHandle> {
        let online = |disk: &&DiskHandle| !disk.view.offline.load(Ordering::Relaxed);
        let count = self.inner.disks.iter().filter(online).count() as u64;
        let at = content.get().checked_rem(count)?;
        let mut disks = self.inner.disks.iter().filter(online);
        disks.nth(usize::try_from(at).ok()?)
    }

    /// Gives a flight up: it fails, and the next claim of the piece makes a new one.
    pub fn abandon(&self, flight: &Arc<Flight>, error: FlightError) {
        let id = flight.id();
        let mut shard = self.inner.common.index.shard(id);
        if shard
            .flights
            .get(&id)
            .is_some_and(|held| Arc::ptr_eq(held, flight))
        {
            shard.flights.remove(&id);
        }
        drop(shard);
        flight.fail(error);
    }

    /// The content a URL key names, if it is in memory. For any thread.
    #[must_use]
    pub fn content(&self, key: &UrlKey) -> Option<Arc<Content>> {
        self.inner.contents.get(key)
    }

    /// While this number stays, [`Store::content`] gives what it gave. For any thread.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.inner.contents.changes()
    }

    /// The content a URL key names; may read the catalogue. For control threads.
    #[must_use]
    pub fn load(&self, key: &UrlKey) -> Option<Arc<Content>> {
        self.content(key)
    }

    /// Begins a new version of what the key names. The old one, if no other key names it, loses its pieces.
    pub fn create(&self, key: UrlKey, record: Record) -> Arc<Content> {
        let content = Self::prepare(key, record);
        self.publish(&content);
        content
    }

    /// A new version that no key leads to yet: its pieces can be claimed before anybody finds it.
    #[must_use]
    pub fn prepare(key: UrlKey, record: Record) -> Arc<Content> {
        let no = ContentNo::new(RandomState::new().hash_one(key.0));
        Arc::new(Content::new(no, key, record, vec![key]))
    }

    /// From now on its key leads to a version that was prepared. The old one, if no other key names it, loses its
    /// pieces.
    pub fn publish(&self, content: &Arc<Content>) {
        if content.is_pinned() {
            self.inner.common.pins.write().insert(content.no);
        }
        self.name(content.key, content);
    }

    /// The origin has confirmed a version: what is said of it from now on. Its pieces stay, and so do its names; of
    /// a version that is gone meanwhile nothing is kept.
    pub fn renew(&self, content: &Arc<Content>, record: Record) -> Arc<Content> {
        let renewed = self.inner.contents.replace(content, record);
        self.write_down(&renewed);
        renewed
    }

    /// Lets one more key name a content.
    pub fn alias(&self, key: UrlKey, content: &Arc<Content>) {
        self.name(key, content);
    }

    fn name(&self, key: UrlKey, content: &Arc<Content>) {
        let renamed = self.inner.contents.name(key, content);
        // The new one first: a crash between the two leaves both, and an unused one is only room.
        self.write_down(content);
        match renamed {
            Renamed::Nothing => {}
            Renamed::Lives(before) => self.write_down(&before),
            Renamed::Gone(before) => {
                self.retire(&[before], false);
            }
        }
    }

    /// The catalogue gets the record as it stands, unless the content is gone.
    fn write_down(&self, content: &Arc<Content>) {
        let inner = &self.inner;
        inner.contents.while_named(content.no, |content| {
            let (no, record, names) = row_of(content);
            inner.catalogue.put(no, record, names);
        });
        inner.count_catalogue();
    }

    /// Contents are gone: so are their pieces. Returns their bytes on disk, if it is to wait until they are gone
    /// there, too.
    fn retire(&self, contents: &[Arc<Content>], wait: bool) -> u64 {
        let inner = &self.inner;
        {
            let mut retired = inner.retired.write();
            let mut pins = inner.common.pins.write();
            for content in contents {
                retired.insert(content.no);
                pins.remove(&content.no);
            }
        }
        for content in contents {
            inner.catalogue.remove(content.no);
            inner.proofs.forget(content.no);
        }
        let gone: HashSet<ContentNo> = contents.iter().map(|content| content.no).collect();
        for mut shard in inner.common.index.shards() {
            shard.hot.retain(|id, _| !gone.contains(&id.content));
        }
        let mut replies = Vec::new();
        for disk in &inner.disks {
            let numbers = contents.iter().map(|c| (c.no, c.pieces())).collect();
            let (reply, answer) = bounded(1);
            let sent = disk
                .orders
                .send(Order::Purge(numbers, wait.then_some(reply)));
            if wait && sent.is_ok() {
                replies.push(answer);
            }
        }
        if wait {
            inner.flush_catalogue();
        }
        let bytes = replies.into_iter().filter_map(|answer| answer.recv().ok());
        bytes.sum()
    }

    fn matching(&self, filter: &Filter) -> Vec<Arc<Content>> {
        if let Filter::Content(no) = filter {
            return self.inner.contents.by_no(*no).into_iter().collect();
        }
        let mut all = self.inner.contents.all();
        all.retain(|content| filter.matches(content.no, content.record()));
        all
    }

    /// The objects that the filter names. Reads the catalogue.
    #[must_use]
    pub fn list(&self, filter: &Filter) -> Vec<Listed> {
        let contents = self.matching(filter);
        contents
            .iter()
            .map(|content| self.listed(content))
            .collect()
    }

    fn listed(&self, content: &Arc<Content>) -> Listed {
        let stored = self.stored_pieces(content);
        let lens = stored.iter().map(|piece| content.piece_len(*piece));
        Listed {
            no: content.no,
            key: content.key,
            record: content.snapshot(),
            bytes_stored: lens.map(u64::from).sum(),
            pieces_stored: u32::try_from(stored.len()).unwrap_or(u32::MAX),
            pieces: content.pieces(),
        }
    }

    /// The pieces of a content that are on disk.
    fn stored_pieces(&self, content: &Content) -> Vec<u32> {
        let mut stored = Vec::new();
        let index = &self.inner.common.index;
        let held = self.pieces_on_disk();
        if u64::from(content.pieces()) > held {
            // An origin may claim any length: the shorter way round.
            for shard in index.shards() {
                let own = shard.on_disk().filter(|(id, _)| id.content == content.no);
                stored.extend(own.map(|(id, _)| id.piece));
            }
        } else {
            let no = content.no;
            let ids = (0..content.pieces()).map(|piece| PieceId { content: no, piece });
            let there = ids.filter(|id| index.shard(*id).location(*id).is_some());
            stored.extend(there.map(|id| id.piece));
        }
        stored
    }

    fn pieces_on_disk(&self) -> u64 {
        let disks = self.inner.disks.iter();
        disks.map(|disk| read(&disk.view.pieces)).sum()
    }

    /// All contents that have a name.
    #[must_use]
    pub fn contents(&self) -> Vec<Arc<Content>> {
        self.inner.contents.all()
    }

    /// The pieces of a content that are on disk.
    #[must_use]
    pub fn pieces_of(&self, content: &Content) -> Vec<u32> {
        self.stored_pieces(content)
    }

    /// A content that has a name, by its number.
    #[must_use]
    pub fn by_no(&self, no: ContentNo) -> Option<Arc<Content>> {
        self.inner.contents.by_no(no)
    }

    /// One object, by its key.
    #[must_use]
    pub fn stat(&self, key: &UrlKey) -> Option<Listed> {
        Some(self.listed(&self.load(key)?))
    }

    /// Forgets the objects that the filter names, and their pieces. From memory at once, and from the disk by the
    /// time it returns.
    pub fn purge(&self, filter: &Filter) -> Purged {
        let mut contents = self.matching(filter);
        contents.retain(|content| self.inner.contents.remove(content));
        if contents.is_empty() {
            return Purged::default();
        }
        Purged {
            objects: contents.len() as u64,
            bytes: self.retire(&contents, true),
        }
    }

    /// Spares objects from eviction, or no longer; returns how many.
    pub fn pin(&self, filter: &Filter, pinned: bool) -> u64 {
        let contents = self.matching(filter);
        for content in &contents {
            content.set_pinned(pinned);
            let mut pins = self.inner.common.pins.write();
            if pinned {
                pins.insert(content.no);
            } else {
                pins.remove(&content.no);
            }
            drop(pins);
            self.write_down(content);
        }
        contents.len() as u64
    }

    /// The store in numbers.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let inner = &self.inner;
        let counters = &inner.common.counters;
        let catalogue = inner.catalogue.figures();
        let mut figures = Figures {
            objects: inner.contents.len() as u64,
            ram_bytes: inner.ram.used_bytes(),
            ram_capacity_bytes: inner.ram.capacity_bytes(),
            corrupt_total: read(&counters.corrupt)
                + catalogue.set_aside_total
                + catalogue.unreadable_total,
            degraded: catalogue.trouble.into_iter().collect(),
            evictions_total: read(&counters.evictions),
            index_evictions_total: read(&counters.index_evictions),
            index_capacity_bytes: inner.index_bytes_max,
            io_errors_total: read(&counters.io_errors) + catalogue.errors_total,
            bytes: inner.catalogue.bytes(),
            not_kept_total: read(&counters.not_kept),
            scrubbed_total: read(&counters.scrubbed),
            scrub_passes_total: read(&counters.scrub_passes),
            ..Figures::default()
        };
        for shard in inner.common.index.shards() {
            figures.ram_pieces += shard.hot.len() as u64;
        }
        for disk in &inner.disks {
            let view = &disk.view;
            figures.bytes += read(&view.slab_bytes);
            figures.piece_bytes += read(&view.piece_bytes);
            figures.pieces += read(&view.pieces);
            figures.index_bytes += read(&view.index_bytes);
            figures.capacity_bytes += read(&view.cap_bytes);
            figures
                .degraded
                .extend(view.degraded.lock().iter().cloned());
        }
        figures
    }

    /// Has another limit from now on: what is above it goes within seconds, pinned content excepted.
    pub fn limit_to(&self, limit: SizeLimit) {
        let disks = &self.inner.disks;
        let limit = share_of(limit, disks.len() as u64);
        for disk in disks {
            // A thread that has ended stores nothing any more.
            let _ = disk.orders.send(Order::Limit(limit));
        }
    }

    /// Writes out what is waiting, and returns when it is on disk.
    pub fn flush(&self) {
        let mut answers = Vec::new();
        for disk in &self.inner.disks {
            let (reply, answer) = bounded(1);
            if disk.orders.send(Order::Flush(reply)).is_ok() {
                answers.push(answer);
            }
        }
        self.inner.flush_catalogue();
        for answer in answers {
            // A thread that ends has flushed.
            let _ = answer.recv();
        }
    }
}
