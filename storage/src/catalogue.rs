//! The catalogue: what is known of each object, and which URL keys lead to it, in one redb file. The rule: what was
//! put is read back at once, is on disk at most a batch (300 ms) later, and no damage, full disk or kill keeps the
//! store from opening: what cannot be read is dropped and counted.
//!
//! One thread writes, in batches. Reads may wait for the disk: no thread that serves calls them.

mod base;
mod pending;
mod place;
mod row;
mod writer;

use crate::proof::Proof;
use crate::record::Record;
use base::{All, Fault, attempt};
use larder_content::{ContentNo, UrlKey};
use parking_lot::{Condvar, Mutex, RwLock};
use pending::{Pending, Says};
use place::{FilePlace, Place};
use redb::Database;
use row::Entry;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};

/// One content: its number, its record, and the URL keys that lead to it, the one it was created for first. Without
/// any key, others have taken them over: nothing leads to it any more.
pub type Row = (ContentNo, Record, Vec<UrlKey>);

/// Says all that should be in the catalogue, row by row. Called on the catalogue's thread, which holds no lock then.
pub type Source = Box<dyn Fn(&mut dyn FnMut(Row)) + Send + Sync>;

/// What was found when the catalogue was opened.
#[derive(Debug, Default)]
pub struct Opened {
    /// Everything in it.
    pub rows: Vec<Row>,
    /// What proves the bytes of contents, as far as something does.
    pub proofs: Vec<(ContentNo, Proof)>,
    /// Where the file is now that was found damaged, and what was wrong with it; the catalogue was begun anew.
    pub set_aside: Option<(PathBuf, String)>,
    /// Rows that could not be read, and were dropped.
    pub unreadable: u64,
}

/// Why the catalogue cannot be opened, or has not done what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Another process has it open.
    #[error("the catalogue {path} is in use by another process; stop it first")]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// The file can be neither opened nor made.
    #[error("cannot open the catalogue {path}: {cause}; check that larder may write there")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// A damaged file cannot be moved away.
    #[error("cannot rename the damaged catalogue {path}: {source}; remove it by hand")]
    SetAside {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A write failed; it is tried again later.
    #[error("the catalogue was not written: {0}")]
    Write(String),
    /// It cannot be read.
    #[error("the catalogue cannot be read: {0}")]
    Read(String),
    /// The thread that writes cannot be started.
    #[error("cannot start the catalogue's thread: {0}; check the limits on processes")]
    Thread(io::Error),
}

/// How the catalogue is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogueFigures {
    /// Failed writes and reads since the start.
    pub errors_total: u64,
    /// Rows found damaged since the start.
    pub unreadable_total: u64,
    /// Files set aside since the start. Where that happens while the store runs, what the [`Source`] has is put anew.
    pub set_aside_total: u64,
    /// What is wrong now, in plain words; None where the last write went well.
    pub trouble: Option<String>,
}

#[derive(Default)]
struct Counters {
    bytes: AtomicU64,
    errors: AtomicU64,
    unreadable: AtomicU64,
    set_aside: AtomicU64,
}

#[derive(Default)]
struct Queue {
    /// Changes for the next batch.
    pending: Pending,
    /// Changes in the batch that is being written.
    committing: Arc<Pending>,
    /// Counts calls that change; which of them are queued, and which are on disk.
    queued: u64,
    durable: u64,
    /// Failed batches, and the last change that the last of them held.
    failed_batches: u64,
    failed_upto: u64,
    /// Changes whenever what is only on disk changes: who read the disk before must read it again.
    generation: u64,
    flush: bool,
    closing: bool,
    trouble: Option<String>,
}

struct Shared {
    place: Box<dyn Place>,
    /// Named in errors.
    path: PathBuf,
    source: OnceLock<Source>,
    /// None while it cannot be opened.
    base: RwLock<Option<Database>>,
    queue: Mutex<Queue>,
    /// For the writer: there is something to do.
    wake: Condvar,
    /// For who flushes: a batch has ended.
    ended: Condvar,
    counters: Counters,
}

/// The catalogue. Dropping it writes what is waiting.
pub struct Catalogue {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalogue")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

impl Catalogue {
    /// Opens the catalogue at `path`, or makes it. A damaged one is renamed to `<path>.damaged-N` and begun anew; on
    /// a full disk it opens without what cannot be written, and writes as soon as there is room. redb caches up to
    /// `cache_bytes` (32 MiB do). Every page is verified, so this takes time in proportion to the file.
    ///
    /// # Errors
    /// Where the file is in use, or may not be read or written, or no thread can be started.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<(Self, Opened), CatalogueError> {
        Self::open_at(Box::new(FilePlace::new(path, cache_bytes)), path)
    }

    fn open_at(place: Box<dyn Place>, path: &Path) -> Result<(Self, Opened), CatalogueError> {
        let shared = Arc::new(Shared {
            place,
            path: path.to_path_buf(),
            source: OnceLock::new(),
            base: RwLock::default(),
            queue: Mutex::default(),
            wake: Condvar::new(),
            ended: Condvar::new(),
            counters: Counters::default(),
        });
        let opened = shared.start()?;
        let for_writer = Arc::clone(&shared);
        let writer = Builder::new()
            .name("catalogue".to_owned())
            .spawn(move || writer::run(&for_writer))
            .map_err(CatalogueError::Thread)?;
        let catalogue = Self {
            shared,
            writer: Mutex::new(Some(writer)),
        };
        Ok((catalogue, opened))
    }

    /// Where the file is found damaged later on and begun anew, all of `source` is put into it. The first call counts.
    pub fn supply(&self, source: Source) {
        let _ = self.shared.source.set(source);
    }

    /// Everything in it, with what is queued. Waits for the disk.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn load_all(&self) -> Result<Vec<Row>, CatalogueError> {
        self.shared.load_all().map_err(|fault| {
            self.shared.failed(&fault);
            CatalogueError::Read(fault.to_string())
        })
    }

    /// What a key leads to, what is queued included. May wait for the disk. A row that cannot be read is none, and
    /// counted.
    #[must_use]
    pub fn get(&self, key: &UrlKey) -> Option<Row> {
        self.shared.get(key)
    }

    /// Sets what is known of a content, and the keys that lead to it: keys that are not among them any more lead
    /// nowhere, and keys that led to others now lead to it. Queued: durable a batch later. Never waits for the disk.
    pub fn put(&self, no: ContentNo, record: Record, keys: Vec<UrlKey>) {
        self.shared
            .change(|pending| pending.put(no, Entry { record, keys }));
    }

    /// Forgets a content and the keys that lead to it. Queued, as [`Catalogue::put`].
    pub fn remove(&self, no: ContentNo) {
        self.shared.change(|pending| pending.remove(no));
    }

    /// Sets what proves a content's bytes. Queued, as [`Catalogue::put`]; it goes with the content.
    pub fn put_proof(&self, no: ContentNo, proof: Proof) {
        self.shared.change(|pending| pending.put_proof(no, proof));
    }

    /// Sets a part of a content's hashes, or removes it. Queued, as [`Catalogue::put`]; it goes with the content.
    pub fn put_hashes(&self, no: ContentNo, part: u32, hashes: Option<Vec<u8>>) {
        self.shared
            .change(|pending| pending.put_hashes(no, part, hashes));
    }

    /// A part of a content's hashes, what is queued included. May wait for the disk; none where it cannot be read.
    #[must_use]
    pub fn hashes(&self, no: ContentNo, part: u32) -> Option<Vec<u8>> {
        self.shared.hashes(no, part)
    }

    /// Returns when everything that was queued before is durable.
    ///
    /// # Errors
    /// Where the attempt failed. The changes stay queued, are still read back, and are tried again later.
    pub fn flush(&self) -> Result<(), CatalogueError> {
        let mut queue = self.shared.queue.lock();
        let (want, failed_before) = (queue.queued, queue.failed_batches);
        while queue.durable < want {
            if queue.failed_batches > failed_before && queue.failed_upto >= want {
                let cause = queue.trouble.clone().unwrap_or_default();
                return Err(CatalogueError::Write(cause));
            }
            queue.flush = true;
            self.shared.wake.notify_one();
            self.shared.ended.wait(&mut queue);
        }
        Ok(())
    }

    /// Bytes that it takes on disk, damaged files that were set aside included; as of the last batch.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.counters.bytes.load(Ordering::Relaxed)
    }

    /// How it is.
    #[must_use]
    pub fn figures(&self) -> CatalogueFigures {
        let counters = &self.shared.counters;
        CatalogueFigures {
            errors_total: counters.errors.load(Ordering::Relaxed),
            unreadable_total: counters.unreadable.load(Ordering::Relaxed),
            set_aside_total: counters.set_aside.load(Ordering::Relaxed),
            trouble: self.shared.queue.lock().trouble.clone(),
        }
    }
}

impl Drop for Catalogue {
    fn drop(&mut self) {
        self.shared.queue.lock().closing = true;
        self.shared.wake.notify_all();
        if let Some(writer) = self.writer.lock().take()
            && writer.join().is_err()
        {
            tracing::error!("the catalogue's thread panicked");
        }
        self.shared.close();
    }
}

impl Shared {
    fn change(&self, how: impl FnOnce(&mut Pending)) {
        let mut queue = self.queue.lock();
        how(&mut queue.pending);
        queue.queued += 1;
        self.wake.notify_one();
    }

    fn failed(&self, fault: &Fault) {
        self.counters.errors.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(path = %self.path.display(), %fault, "the catalogue");
    }

    fn get(&self, key: &UrlKey) -> Option<Row> {
        let row = |no: ContentNo, entry: Entry| (no, entry.record, entry.keys);
        loop {
            let generation = {
                let queue = self.queue.lock();
                for changes in [&queue.pending, &*queue.committing] {
                    match changes.key(key) {
                        Says::Some(no, entry) => return Some(row(no, (*entry).clone())),
                        Says::None => return None,
                        Says::Nothing => {}
                    }
                }
                queue.generation
            };
            let found = self.read(|base| base::read_key(base, key));
            let queue = self.queue.lock();
            if queue.generation != generation {
                // A batch ended between the two looks: what it held is seen by neither.
                continue;
            }
            let (no, entry) = match found {
                Ok(found) => found?,
                Err(fault) => {
                    drop(queue);
                    self.failed(&fault);
                    return None;
                }
            };
            for changes in [&queue.pending, &*queue.committing] {
                // Asked for the key first: it may have been given to another content meanwhile.
                for says in [changes.key(key), changes.content(no, key)] {
                    match says {
                        Says::Some(no, entry) => return Some(row(no, (*entry).clone())),
                        Says::None => return None,
                        Says::Nothing => {}
                    }
                }
            }
            if entry.is_none() {
                self.counters.unreadable.fetch_add(1, Ordering::Relaxed);
            }
            return entry.map(|entry| row(no, entry));
        }
    }

    fn hashes(&self, no: ContentNo, part: u32) -> Option<Vec<u8>> {
        loop {
            let generation = {
                let queue = self.queue.lock();
                for changes in [&queue.pending, &*queue.committing] {
                    if let Some(said) = changes.hashes.get(&(no, part)) {
                        return said.as_ref().map(|hashes| hashes.to_vec());
                    }
                    if changes.removes(no) {
                        return None;
                    }
                }
                queue.generation
            };
            let found = self.read(|base| base::read_hashes(base, no, part));
            if self.queue.lock().generation != generation {
                // A batch ended meanwhile, as in `get`.
                continue;
            }
            return found.unwrap_or_else(|fault| {
                self.failed(&fault);
                None
            });
        }
    }

    /// Reads the base, which is closed where a full disk keeps it from being opened.
    fn read<T>(&self, how: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Fault> {
        match &*self.base.read() {
            Some(base) => attempt(|| how(base)),
            None => Err(Fault::Failed("it could not be opened yet".to_owned())),
        }
    }

    fn load_all(&self) -> Result<Vec<Row>, Fault> {
        loop {
            let (changes, generation) = {
                let queue = self.queue.lock();
                let mut changes = queue.pending.clone();
                changes.over(&queue.committing);
                (changes, queue.generation)
            };
            let all = self.read(base::read_all)?;
            if self.queue.lock().generation == generation {
                return Ok(rows(all, &changes));
            }
        }
    }
}

/// What was read, as the changes leave it.
fn rows(all: All, changes: &Pending) -> Vec<Row> {
    let mut contents: HashMap<ContentNo, Entry> = all.contents.into_iter().collect();
    for (no, change) in &changes.contents {
        match change {
            Some(entry) => contents.insert(*no, (**entry).clone()),
            None => contents.remove(no),
        };
    }
    let mut rows: Vec<Row> = contents
        .into_iter()
        .map(|(no, mut entry)| {
            entry
                .keys
                .retain(|key| changes.keys.get(key).is_none_or(|owner| *owner == no));
            (no, entry.record, entry.keys)
        })
        .collect();
    rows.sort_unstable_by_key(|(no, _, _)| *no);
    rows
}

#[cfg(test)]
mod tests;
