//! The tables of the catalogue in redb. The rule: every call into redb is caught: an error or a panic of it becomes
//! a [`Fault`] that says what to do, and no fault takes the process along.
//!
//! redb verifies the checksums of its pages only when it is told to, and may panic on a page that is damaged;
//! so a file is checked whole when the store opens. After a failed write it refuses all calls until it is opened anew.

use super::pending::Pending;
use super::row::{self, Entry};
use crate::proof::Proof;
use larder_content::{ContentNo, UrlKey};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Content number -> row. The version is part of the name: a new format is a new table.
const CONTENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("contents-1");

/// URL key -> content number. It holds where that content's row names the key too.
const KEYS: TableDefinition<'_, [u8; 32], u64> = TableDefinition::new("keys-1");

/// Content number -> what proves its bytes.
const PROOFS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("proofs-1");

/// Content number and part -> hashes of pieces.
const HASHES: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("hashes-1");

/// Why the catalogue did not do as it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The disk is full: later it may not be.
    #[error("no room on the disk: {0}")]
    NoRoom(String),
    /// The file is not what was written: it is set aside.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// Another process has it.
    #[error("it is in use by another process")]
    InUse,
    /// The disk or the system refused.
    #[error("{0}")]
    Failed(String),
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Self {
        let text = error.to_string();
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::InUse,
            redb::Error::Io(error) => Self::of_io(&error),
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableIsMultimap(_) => Self::Damaged(text),
            _ => Self::Failed(text),
        }
    }
}

impl Fault {
    fn of_io(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        let text = error.to_string();
        match error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Self::NoRoom(text),
            Kind::InvalidData | Kind::UnexpectedEof => Self::Damaged(text),
            _ if error.raw_os_error() == Some(libc::EIO) => Self::Damaged(text),
            _ => Self::Failed(text),
        }
    }
}

/// Calls redb. A panic in it is damage: it only asserts what a sound file fulfils.
pub(super) fn attempt<T>(call: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(Fault::from),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Fault::Damaged(
                text.unwrap_or("redb panicked on it").to_owned(),
            ))
        }
    }
}

/// Closes a database. One that is damaged may panic on being closed.
pub(super) fn close(database: Database) {
    if let Err(fault) = attempt(|| database.close().map_err(redb::Error::from)) {
        tracing::debug!(%fault, "closing the catalogue");
    }
}

/// Makes the tables where they are missing, so that reading them is no error.
pub(super) fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let reading = database.begin_read()?;
    if reading.open_table(CONTENTS).is_ok()
        && reading.open_table(KEYS).is_ok()
        && reading.open_table(PROOFS).is_ok()
        && reading.open_table(HASHES).is_ok()
    {
        return Ok(());
    }
    let mut writing = database.begin_write()?;
    writing.set_quick_repair(true);
    writing.open_table(CONTENTS)?;
    writing.open_table(KEYS)?;
    writing.open_table(PROOFS)?;
    writing.open_table(HASHES)?;
    Ok(writing.commit()?)
}

/// Everything that is in it.
#[derive(Debug, Default)]
pub(super) struct All {
    /// The contents, each with the keys that lead to it.
    pub(super) contents: Vec<(ContentNo, Entry)>,
    /// What proves their bytes.
    pub(super) proofs: Vec<(ContentNo, Proof)>,
    /// Rows that cannot be read.
    pub(super) unreadable: Vec<ContentNo>,
}

pub(super) fn read_all(database: &Database) -> Result<All, redb::Error> {
    let reading = database.begin_read()?;
    let contents = reading.open_table(CONTENTS)?;
    // In the order of the file: looking each key up would read its pages again and again.
    let mut owners = HashMap::new();
    for item in reading.open_table(KEYS)?.iter()? {
        let (key, owner) = item?;
        owners.insert(UrlKey(key.value()), owner.value());
    }
    let mut all = All::default();
    for item in contents.iter()? {
        let (no, row) = item?;
        let raw = no.value();
        let no = ContentNo::new(raw);
        let Some(mut entry) = row::decode(no, row.value()).filter(|_| no.get() == raw) else {
            all.unreadable.push(no);
            continue;
        };
        entry.keys.retain(|key| owners.get(key) == Some(&raw));
        all.contents.push((no, entry));
    }
    for item in reading.open_table(PROOFS)?.iter()? {
        let (no, row) = item?;
        let no = ContentNo::new(no.value());
        // One that cannot be read is none: then nothing is proved, which costs no byte.
        if let Some(proof) = row::decode_proof(no, row.value()) {
            all.proofs.push((no, proof));
        }
    }
    Ok(all)
}

/// A part of a content's hashes; none where it is not there, or damaged.
pub(super) fn read_hashes(
    database: &Database,
    no: ContentNo,
    part: u32,
) -> Result<Option<Vec<u8>>, redb::Error> {
    let reading = database.begin_read()?;
    let hashes = reading.open_table(HASHES)?;
    let row = hashes.get((no.get(), part))?;
    Ok(row.and_then(|row| row::decode_hashes(no, part, row.value())))
}

/// What a key leads to: the content, and its entry unless the row cannot be read.
pub(super) fn read_key(
    database: &Database,
    key: &UrlKey,
) -> Result<Option<(ContentNo, Option<Entry>)>, redb::Error> {
    let reading = database.begin_read()?;
    let Some(raw) = reading
        .open_table(KEYS)?
        .get(&key.0)?
        .map(|raw| raw.value())
    else {
        return Ok(None);
    };
    let no = ContentNo::new(raw);
    let contents = reading.open_table(CONTENTS)?;
    let Some(row) = contents.get(raw)? else {
        return Ok(None);
    };
    let entry = row::decode(no, row.value());
    // A key that the content does not name (any more) leads nowhere.
    let leads = entry.as_ref().is_none_or(|entry| entry.keys.contains(key));
    Ok(leads.then_some((no, entry)))
}

/// Writes changes and returns when they are durable.
pub(super) fn write(database: &Database, changes: &Pending) -> Result<(), redb::Error> {
    let mut writing = database.begin_write()?;
    // The state of the page allocator is saved with each commit, so that opening after a crash need not rebuild it.
    writing.set_quick_repair(true);
    {
        let mut contents = writing.open_table(CONTENTS)?;
        let mut owners = writing.open_table(KEYS)?;
        for (no, change) in &changes.contents {
            let old = contents
                .get(no.get())?
                .map(|row| row::keys(*no, row.value()));
            for key in old.unwrap_or_default() {
                let kept = change.as_ref().is_some_and(|new| new.keys.contains(&key));
                let owned = owners
                    .get(&key.0)?
                    .is_some_and(|raw| raw.value() == no.get());
                if owned && !kept {
                    owners.remove(&key.0)?;
                }
            }
            match change.as_deref().map(|entry| row::encode(*no, entry)) {
                Some(Ok(row)) => contents.insert(no.get(), row.as_slice())?,
                Some(Err(error)) => {
                    // A record is text and numbers: not reached, but no reason to lose the rest of the batch.
                    tracing::error!(%error, content = %no, "a record cannot be written");
                    None
                }
                None => contents.remove(no.get())?,
            };
        }
        let mut proofs = writing.open_table(PROOFS)?;
        let mut hashes = writing.open_table(HASHES)?;
        for (no, change) in &changes.contents {
            if change.is_none() {
                proofs.remove(no.get())?;
                hashes.retain_in((no.get(), 0)..=(no.get(), u32::MAX), |_, _| false)?;
            }
        }
        for (no, proof) in &changes.proofs {
            if let Some(row) = row::encode_proof(*no, proof) {
                proofs.insert(no.get(), row.as_slice())?;
            }
        }
        for ((no, part), change) in &changes.hashes {
            let at = (no.get(), *part);
            match change {
                Some(bytes) => {
                    let row = row::encode_hashes(*no, *part, bytes);
                    hashes.insert(at, row.as_slice())?;
                }
                None => _ = hashes.remove(at)?,
            }
        }
        for (key, no) in &changes.keys {
            let owner = changes.contents.get(no).and_then(Option::as_ref);
            if owner.is_some_and(|entry| entry.keys.contains(key)) {
                owners.insert(&key.0, no.get())?;
            } else {
                owners.remove(&key.0)?;
            }
        }
    }
    Ok(writing.commit()?)
}

/// Removes rows that cannot be read, and keys that lead to no row.
pub(super) fn sweep(database: &Database, unreadable: &[ContentNo]) -> Result<(), redb::Error> {
    let mut writing = database.begin_write()?;
    writing.set_quick_repair(true);
    {
        let mut contents = writing.open_table(CONTENTS)?;
        for no in unreadable {
            contents.remove(no.get())?;
        }
        let mut broken: io::Result<()> = Ok(());
        writing
            .open_table(KEYS)?
            .retain(|_, no| match contents.get(no) {
                Ok(row) => row.is_some(),
                Err(error) => {
                    broken = Err(io::Error::other(error.to_string()));
                    true
                }
            })?;
        broken.map_err(redb::Error::Io)?;
    }
    Ok(writing.commit()?)
}
