//! Where the catalogue lies. The rule: a damaged file is never written again: it is renamed, for whoever wants to
//! know what happened, and of those only the last two are kept, so that damage does not fill the disk.

use redb::{Builder, Database, DatabaseError};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many damaged files are kept.
const DAMAGED_KEPT: usize = 2;

/// A file, or in tests a piece of memory that fails when it is told to.
pub(super) trait Place: Send + Sync {
    /// Opens the catalogue or makes one. `check`: verify every page first.
    fn open(&self, check: bool) -> Result<Database, DatabaseError>;

    /// Moves what is there out of the way, and says where it is now.
    fn set_aside(&self) -> io::Result<PathBuf>;

    /// Bytes on disk, damaged files included.
    fn bytes(&self) -> u64;
}

#[derive(Debug)]
pub(super) struct FilePlace {
    path: PathBuf,
    cache_bytes: usize,
}

impl FilePlace {
    pub(super) fn new(path: &Path, cache_bytes: usize) -> Self {
        Self {
            path: path.to_path_buf(),
            cache_bytes,
        }
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }

    /// Damaged files that are there, by number.
    fn damaged(&self) -> Vec<(u64, PathBuf)> {
        let Some(name) = self.path.file_name().and_then(|name| name.to_str()) else {
            return Vec::new();
        };
        let mut found: Vec<_> = fs::read_dir(self.folder())
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let other = entry.file_name();
                let rest = other.to_str()?.strip_prefix(name)?;
                let number = rest.strip_prefix(".damaged-")?.parse().ok()?;
                Some((number, entry.path()))
            })
            .collect();
        found.sort();
        found
    }

    /// Makes names in the folder durable. Where that is refused the next start finds out, so it is no error.
    fn sync_folder(&self) {
        if let Err(error) = File::open(self.folder()).and_then(|folder| folder.sync_all()) {
            tracing::debug!(%error, "syncing the folder of the catalogue");
        }
    }
}

impl Place for FilePlace {
    fn open(&self, check: bool) -> Result<Database, DatabaseError> {
        let is_new = fs::metadata(&self.path).map_or(true, |about| about.len() == 0);
        let opened = Builder::new()
            .set_cache_size(self.cache_bytes)
            .set_check_integrity_on_open(check)
            .create(&self.path);
        match &opened {
            Ok(_) if is_new => self.sync_folder(),
            // Another process is making it.
            Err(DatabaseError::DatabaseAlreadyOpen) => {}
            // What a full disk left of the attempt is half a file, and not to be taken for a damaged one. Where it
            // is not removed it is, and gets set aside.
            Err(_) if is_new => drop(fs::remove_file(&self.path)),
            _ => {}
        }
        opened
    }

    fn set_aside(&self) -> io::Result<PathBuf> {
        let damaged = self.damaged();
        let number = damaged.last().map_or(1, |(number, _)| number + 1);
        let mut name = OsString::from(self.path.file_name().unwrap_or_default());
        name.push(format!(".damaged-{number}"));
        let target = self.path.with_file_name(name);
        fs::rename(&self.path, &target)?;
        let surplus = (damaged.len() + 1).saturating_sub(DAMAGED_KEPT);
        for (_, path) in damaged.iter().take(surplus) {
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!(%error, path = %path.display(), "removing an old damaged catalogue");
            }
        }
        self.sync_folder();
        Ok(target)
    }

    fn bytes(&self) -> u64 {
        let on_disk = |path: &Path| fs::metadata(path).map_or(0, |about| about.blocks() * 512);
        let damaged = self.damaged();
        on_disk(&self.path) + damaged.iter().map(|(_, path)| on_disk(path)).sum::<u64>()
    }
}
