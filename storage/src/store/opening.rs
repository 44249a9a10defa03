//! How a store is opened and closed. The rule: a directory belongs to one process at a time, and damage is counted
//! where an error would keep larder from serving.

use super::proving::Proofs;
use super::{Counters, Inner, OpenError, Store, StoreOptions};
use crate::block_io::{BlockDir, DirectDir};
use crate::catalogue::{Catalogue, CatalogueError, Opened, Row, Source};
use crate::contents::Contents;
use crate::disk::{Common, Disk, DiskOptions, DiskView};
use crate::flight::FlightError;
use crate::hot::HotOrder;
use crate::index::{DISKS_MAX, Index};
use crate::lately::Lately;
use crate::limits::SizeLimit;
use crate::ram_tier::RamTier;
use crate::record::Content;
use crate::writer::{self, Order};
use crossbeam::channel::{Sender, unbounded};
use larder_content::ContentNo;
use parking_lot::{Mutex, RwLock};
use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

/// What redb may cache: enough for its inner pages.
const CATALOGUE_CACHE_BYTES: usize = 32 << 20;

/// A disk as the facade sees it.
#[derive(Debug)]
pub(super) struct DiskHandle {
    /// Its directory, for people.
    pub(super) name: String,
    pub(super) view: Arc<DiskView>,
    pub(super) orders: Sender<Order>,
}

/// A directory, its name for people, and the lock that keeps others out of it.
pub(super) struct Place {
    pub(super) name: String,
    pub(super) dir: Box<dyn BlockDir>,
    pub(super) lock: Option<File>,
}

/// Takes the directories of the options.
pub(super) fn places_of(options: &StoreOptions) -> Result<Vec<Place>, OpenError> {
    options.paths.iter().map(|path| place_of(path)).collect()
}

fn place_of(path: &Path) -> Result<Place, OpenError> {
    let failed = |source| OpenError::Path {
        path: path.to_path_buf(),
        source,
    };
    std::fs::create_dir_all(path).map_err(failed)?;
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join("lock"))
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::InUse {
                path: path.to_path_buf(),
            });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    super::format::check(path)?;
    let dir = DirectDir::new(path).map_err(failed)?;
    Ok(Place {
        name: path.display().to_string(),
        dir: Box::new(dir),
        lock: Some(lock),
    })
}

impl Store {
    /// Opens the store on directories that are held already.
    pub(super) fn open_on(options: &StoreOptions, places: Vec<Place>) -> Result<Self, OpenError> {
        let Some(first) = options.paths.first() else {
            return Err(OpenError::NoPath);
        };
        if options.paths.len() > DISKS_MAX {
            return Err(OpenError::TooManyPaths);
        }
        let bytes = options.memory_bytes_max;
        let ram = RamTier::new(bytes).map_err(|source| OpenError::Memory { bytes, source })?;
        let path = first.join("catalogue.redb");
        let (catalogue, found) =
            Catalogue::open(&path, CATALOGUE_CACHE_BYTES).map_err(|error| match error {
                CatalogueError::InUse { .. } => OpenError::InUse {
                    path: first.clone(),
                },
                other => OpenError::Catalogue(other.to_string()),
            })?;
        let counters = Arc::new(Counters::default());
        let Opened {
            rows,
            proofs,
            set_aside,
            ..
        } = found;
        if let Some((aside, why)) = set_aside {
            tracing::error!(file = %aside.display(), %why, "catalogue: damaged; it is set aside and begun anew, and content is fetched anew");
        }
        let catalogue_bytes = Arc::new(AtomicU64::new(with_room_to_grow(catalogue.bytes())));
        let contents = Arc::new(Contents::default());
        let mut pinned = HashSet::new();
        let mut known = HashSet::new();
        for (no, record, names) in rows {
            let Some(key) = names.first().copied() else {
                // Nothing leads to it any more; its pieces are dropped below.
                catalogue.remove(no);
                continue;
            };
            if record.pinned {
                pinned.insert(no);
            }
            known.insert(no);
            let content = Arc::new(Content::new(no, key, record, names.clone()));
            for key in names {
                // A crash between two records may leave a key with two contents: the one that is read last has it.
                contents.name(key, &content);
            }
        }
        let proofs = Proofs::new(proofs.into_iter().filter(|(no, _)| known.contains(no)));
        catalogue.supply(all_of(Arc::clone(&contents)));
        let common = Common {
            index: Arc::new(Index::new()),
            counters,
            pins: Arc::new(RwLock::new(pinned)),
            generation: Arc::new(AtomicU32::new(0)),
        };
        let hot = Arc::new(HotOrder::default());
        let lately = Lately::new(ram.capacity_bytes());
        let is_known = |no: ContentNo| known.contains(&no);
        let count = places.len() as u64;
        let mut names = Vec::new();
        let mut opened = Vec::new();
        let mut locks = Vec::new();
        for (number, place) in places.into_iter().enumerate() {
            names.push(place.name.clone());
            let disk_options = DiskOptions {
                number: u16::try_from(number).unwrap_or(u16::MAX),
                name: place.name.clone(),
                limit: share_of(options.bytes_max, count),
                slab_bytes: options.slab_bytes,
                index_bytes_max: options.index_bytes_max / count.max(1),
                other_bytes: if number == 0 {
                    Arc::clone(&catalogue_bytes)
                } else {
                    Arc::default()
                },
            };
            let disk = Disk::open(
                disk_options,
                place.dir,
                common.clone(),
                &is_known,
                Instant::now(),
            );
            opened.push(disk.map_err(|source| OpenError::Path {
                path: place.name.into(),
                source,
            })?);
            locks.extend(place.lock);
        }
        let mut disks = Vec::new();
        let mut threads = Vec::new();
        for (disk, name) in opened.into_iter().zip(names) {
            let view = Arc::clone(disk.view());
            let (orders, thread) = start(disk, &common, &hot).map_err(OpenError::Thread)?;
            disks.push(DiskHandle { name, view, orders });
            threads.push(thread);
        }
        Ok(Self {
            inner: Arc::new(Inner {
                ram,
                index_bytes_max: options.index_bytes_max,
                common,
                contents,
                catalogue,
                catalogue_bytes,
                proofs,
                hot,
                lately,
                disks,
                retired: RwLock::default(),
                threads: Mutex::new(threads),
                _locks: locks,
            }),
        })
    }

    /// Flushes and stops the store's threads. Flights under way fail; later calls find nothing new stored.
    pub fn close(&self) {
        let mut flights = Vec::new();
        for mut shard in self.inner.common.index.shards() {
            flights.extend(shard.flights.drain().map(|(_, flight)| flight));
        }
        for flight in flights {
            flight.fail(FlightError::Closing);
        }
        self.inner.stop();
    }
}

impl Inner {
    /// Ends the threads after what they were given. A second call finds none.
    fn stop(&self) {
        let threads = std::mem::take(&mut *self.threads.lock());
        for disk in &self.disks {
            // A thread that has ended already needs no word.
            let _ = disk.orders.send(Order::Close);
        }
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!(
                    "a thread of the store has panicked; what it had not written is lost"
                );
            }
        }
        self.flush_catalogue();
    }

    /// Waits until the catalogue is durable. Where it cannot be, it says so itself and tries again.
    pub(super) fn flush_catalogue(&self) {
        if let Err(error) = self.catalogue.flush() {
            tracing::warn!(%error, "catalogue: not durable yet");
        }
        self.count_catalogue();
    }

    /// The limit on the first disk counts the catalogue.
    pub(super) fn count_catalogue(&self) {
        let bytes = with_room_to_grow(self.catalogue.bytes());
        self.catalogue_bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the catalogue keeps of a content.
pub(super) fn row_of(content: &Content) -> Row {
    (content.no, content.snapshot(), content.names())
}

/// All that the catalogue should hold. Each row is put while its content is still named, so that what is given up
/// meanwhile is removed after it was put.
fn all_of(contents: Arc<Contents>) -> Source {
    Box::new(move |put| {
        for content in contents.all() {
            contents.while_named(content.no, |content| put(row_of(content)));
        }
    })
}

/// The catalogue grows by itself, while slabs give way only a moment later: so it is counted as a little larger.
fn with_room_to_grow(bytes: u64) -> u64 {
    bytes + bytes / 4 + (1 << 20)
}

/// A limit in bytes is shared by all disks; a percentage is of each.
pub(super) fn share_of(limit: SizeLimit, disks: u64) -> SizeLimit {
    SizeLimit {
        absolute: limit.absolute.map(|bytes| bytes / disks.max(1)),
        ..limit
    }
}

fn start(
    disk: Disk,
    common: &Common,
    hot: &Arc<HotOrder>,
) -> std::io::Result<(Sender<Order>, JoinHandle<()>)> {
    let (orders, received) = unbounded();
    let (index, hot) = (Arc::clone(&common.index), Arc::clone(hot));
    let name = format!("store-disk-{}", disk.view().number);
    let thread = std::thread::Builder::new()
        .name(name)
        .spawn(move || writer::run(disk, &received, &index, &hot))?;
    Ok((orders, thread))
}
