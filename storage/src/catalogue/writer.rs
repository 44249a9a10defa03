//! The one thread that writes, and what it does about faults. The rule: a batch that fails stays queued under what
//! came later and is tried again; a damaged file is set aside once it cannot be mended by opening it anew, and what is
//! known still is written to the new one.

use super::base::{self, All, Fault, attempt, close};
use super::pending::Pending;
use super::row::Entry;
use super::{CatalogueError, Opened, Shared};
use larder_content::ContentNo;
use redb::Database;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long changes are gathered: two syncs of the disk for each batch are not worth less than this.
const BATCH_WINDOW: Duration = Duration::from_millis(300);

/// So many changed contents are written at once, before the window ends.
const BATCH_CONTENTS: usize = 4096;

/// After a failed batch, the wait for the next attempt; doubled each time, up to the second.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// Writes batches until the catalogue closes and everything is written, or cannot be.
pub(super) fn run(shared: &Shared) {
    let mut retry = None;
    let mut queue = shared.queue.lock();
    loop {
        while queue.pending.is_empty() && !queue.closing && !queue.flush {
            shared.wake.wait(&mut queue);
        }
        let until = Instant::now() + retry.unwrap_or(BATCH_WINDOW);
        while !queue.closing && !queue.flush {
            let enough = retry.is_none() && queue.pending.contents.len() >= BATCH_CONTENTS;
            if enough || shared.wake.wait_until(&mut queue, until).timed_out() {
                break;
            }
        }
        queue.flush = false;
        let upto = queue.queued;
        if !queue.pending.is_empty() {
            let batch = Arc::new(std::mem::take(&mut queue.pending));
            queue.committing = Arc::clone(&batch);
            drop(queue);
            let set_aside = shared.counters.set_aside.load(Ordering::Relaxed);
            let result = shared.commit(&batch);
            if shared.counters.set_aside.load(Ordering::Relaxed) != set_aside {
                shared.put_anew();
            }
            if let Err(fault) = &result {
                shared.failed(fault);
            }
            queue = shared.queue.lock();
            queue.committing = Arc::default();
            queue.generation += 1;
            match result {
                Ok(()) => {
                    (queue.durable, queue.trouble, retry) = (upto, None, None);
                }
                Err(fault) => {
                    queue.pending.over(&batch);
                    queue.trouble = Some(format!("the catalogue cannot be written: {fault}"));
                    queue.failed_batches += 1;
                    queue.failed_upto = upto;
                    retry = Some(retry.map_or(RETRY[0], |last| (last * 2).min(RETRY[1])));
                }
            }
        }
        shared.ended.notify_all();
        if queue.closing && (queue.pending.is_empty() || retry.is_some()) {
            return;
        }
    }
}

impl Shared {
    /// Opens the base for the first time and reads it all.
    pub(super) fn start(&self) -> Result<Opened, CatalogueError> {
        let mut opened = Opened::default();
        let result = match self.open_and_read(true) {
            Err(Fault::Damaged(why)) => {
                opened.set_aside = Some((self.set_aside(&why)?, why));
                self.open_and_read(true)
            }
            // To verify writes a little. What is there can be read without.
            Err(Fault::NoRoom(_)) => self.open_and_read(false),
            result => result,
        };
        match result {
            Ok((base, all)) => {
                opened.unreadable = all.unreadable.len() as u64;
                self.counters
                    .unreadable
                    .fetch_add(opened.unreadable, Ordering::Relaxed);
                self.drop_unreadable(&base, &all.unreadable);
                let row = |(no, entry): (ContentNo, Entry)| (no, entry.record, entry.keys);
                opened.proofs = all.proofs;
                opened.rows = all.contents.into_iter().map(row).collect();
                *self.base.write() = Some(base);
            }
            Err(fault @ Fault::NoRoom(_)) => {
                self.failed(&fault);
                self.queue.lock().trouble = Some(format!("the catalogue cannot be made: {fault}"));
            }
            Err(Fault::InUse) => {
                return Err(CatalogueError::InUse {
                    path: self.path.clone(),
                });
            }
            Err(fault) => {
                return Err(CatalogueError::Open {
                    path: self.path.clone(),
                    cause: fault.to_string(),
                });
            }
        }
        self.measure();
        Ok(opened)
    }

    fn drop_unreadable(&self, base: &Database, unreadable: &[ContentNo]) {
        if !unreadable.is_empty() {
            let count = unreadable.len();
            tracing::warn!(path = %self.path.display(), count, "rows of the catalogue are damaged and dropped");
            if let Err(fault) = attempt(|| base::sweep(base, unreadable)) {
                self.failed(&fault);
            }
        }
    }

    fn open_base(&self, check: bool) -> Result<Database, Fault> {
        let base = attempt(|| self.place.open(check).map_err(redb::Error::from))?;
        match attempt(|| base::make_tables(&base)) {
            Ok(()) => Ok(base),
            Err(fault) => {
                close(base);
                Err(fault)
            }
        }
    }

    fn open_and_read(&self, check: bool) -> Result<(Database, All), Fault> {
        let base = self.open_base(check)?;
        match attempt(|| base::read_all(&base)) {
            Ok(all) => Ok((base, all)),
            Err(fault) => {
                close(base);
                Err(fault)
            }
        }
    }

    fn set_aside(&self, why: &str) -> Result<PathBuf, CatalogueError> {
        self.counters.set_aside.fetch_add(1, Ordering::Relaxed);
        let moved = self.place.set_aside();
        let path = moved.map_err(|source| CatalogueError::SetAside {
            path: self.path.clone(),
            source,
        })?;
        tracing::error!(why, path = %path.display(), "a damaged catalogue was set aside and is begun anew");
        Ok(path)
    }

    /// What was only in the file that was set aside is queued again.
    fn put_anew(&self) {
        let Some(source) = self.source.get() else {
            return;
        };
        source(&mut |(no, record, keys)| {
            self.change(|pending| pending.put(no, Entry { record, keys }));
        });
    }

    /// Writes a batch. What redb refuses after a fault is mended by opening it anew; what stays damaged is set aside.
    fn commit(&self, batch: &Pending) -> Result<(), Fault> {
        let mut result = self.write(batch, false);
        if let Err(Fault::Damaged(_)) = result {
            result = self.write(batch, true);
        }
        if let Err(Fault::Damaged(why)) = &result {
            match self.set_aside(why) {
                Ok(_) => result = self.write(batch, false),
                Err(error) => result = Err(Fault::Failed(error.to_string())),
            }
        }
        self.measure();
        result
    }

    /// Opens the base if it is closed, and writes. After a fault it is closed, and opened again if that can be, so
    /// that reading goes on.
    fn write(&self, batch: &Pending, check: bool) -> Result<(), Fault> {
        if self.base.read().is_none() {
            let base = self.open_base(check)?;
            *self.base.write() = Some(base);
        }
        let result = match &*self.base.read() {
            Some(base) => attempt(|| base::write(base, batch)),
            None => Err(Fault::Failed("it is closed".to_owned())),
        };
        if let Err(fault) = &result {
            self.close();
            if !matches!(fault, Fault::Damaged(_)) {
                *self.base.write() = self.open_base(false).ok();
            }
        }
        result
    }

    pub(super) fn close(&self) {
        if let Some(base) = self.base.write().take() {
            close(base);
        }
    }

    fn measure(&self) {
        let bytes = self.place.bytes();
        self.counters.bytes.store(bytes, Ordering::Relaxed);
    }
}
