//! Where a device keeps pieces. The rule: one process has a store at a time; a second download at the same time uses
//! one of its own beside it, by the object's name, so that it resumes from there as well, and clears it away when done.

use crate::appliance::StartError;
use crate::config::Policy;
use crate::node::{Node, NodeOptions};
use crate::telemetry::Telemetry;
use larder_content::UrlKey;
use larder_storage::store::OpenError;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Bytes of a slab file: a gigabyte for one small download is too much to ask of a device.
pub(super) const SLAB_BYTES: u64 = 64 << 20;

/// So many downloads of one object may run at once on one machine.
const BESIDE_MAX: u32 = 8;

/// The directory by policy, else the user's cache directory (XDG base directory specification).
pub(crate) fn folder(policy: &Policy) -> PathBuf {
    policy.folder().unwrap_or_else(|| {
        let absolute = |name| {
            let path = PathBuf::from(std::env::var_os(name)?);
            path.is_absolute().then_some(path)
        };
        let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        cache
            .unwrap_or_else(|| PathBuf::from("/var/cache"))
            .join("larder")
    })
}

/// A store that was opened.
pub(super) struct Opened {
    pub(super) node: Node,
    /// The directory to remove when the download is done.
    pub(super) beside: Option<PathBuf>,
}

/// Where to look for a store, in order: first where an earlier download of the object was left.
fn places(folder: &Path, key: &UrlKey) -> Vec<PathBuf> {
    let name: String = key.0[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let beside = |number: u32| folder.join("more").join(format!("{name}-{number}"));
    let mut places: Vec<PathBuf> = (1..=BESIDE_MAX).map(beside).collect();
    let left = places.iter().position(|place| place.exists());
    let first = left.map_or(folder.to_path_buf(), |at| places.remove(at));
    if first != folder {
        places.insert(0, folder.to_path_buf());
    }
    places.insert(0, first);
    places
}

/// Opens the first store that no other process has.
///
/// # Errors
/// None can be had.
pub(super) fn open(
    folder: &Path,
    key: &UrlKey,
    options: impl Fn(PathBuf) -> NodeOptions,
    telemetry: &Telemetry,
) -> Result<Opened, StartError> {
    let mut last = StartError::Store(OpenError::NoPath);
    for place in places(folder, key) {
        match Node::start(options(place.clone()), telemetry) {
            Ok(node) => {
                let beside = (place != folder).then_some(place);
                return Ok(Opened { node, beside });
            }
            Err(StartError::Store(error @ OpenError::InUse { .. })) => {
                tracing::debug!("{error}");
                last = StartError::Store(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// Clears away stores beside the first that were left for longer than `age_s_max`, and that nobody has open.
pub(super) fn sweep(folder: &Path, age_s_max: u64) {
    let entries = fs::read_dir(folder.join("more")).into_iter().flatten();
    for place in entries.flatten().map(|entry| entry.path()) {
        let lock = File::open(place.join("lock"));
        let is_old = |lock: &File| {
            let changed = fs::metadata(place.join("catalogue.redb")).or_else(|_| lock.metadata());
            let age = changed
                .and_then(|found| found.modified())
                .ok()?
                .elapsed()
                .ok()?;
            (age.as_secs() >= age_s_max).then_some(())
        };
        if let Ok(lock) = lock
            && is_old(&lock).is_some()
            && lock.try_lock().is_ok()
            && let Err(error) = fs::remove_dir_all(&place)
        {
            tracing::debug!(%error, "{} can not be removed", place.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_for_too_long_is_cleared_away() {
        let dir = tempfile::tempdir().expect("a directory");
        let make = |name: &str| {
            let place = dir.path().join("more").join(name);
            fs::create_dir_all(&place).expect("made");
            File::create(place.join("lock")).expect("made")
        };
        let (held, _left) = (make("held-1"), make("left-1"));
        held.lock().expect("locked");
        let names = || {
            let entries = fs::read_dir(dir.path().join("more")).expect("there");
            let mut names: Vec<_> = entries
                .map(|entry| entry.expect("an entry").file_name())
                .collect();
            names.sort_unstable();
            names
        };
        sweep(dir.path(), 3600);
        assert_eq!(names(), ["held-1", "left-1"]);
        sweep(dir.path(), 0);
        assert_eq!(names(), ["held-1"]);
        sweep(&dir.path().join("none"), 0);
    }

    #[test]
    fn what_was_left_of_an_object_is_looked_at_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let key = UrlKey([0xab; 32]);
        let first = |key: &UrlKey| places(dir.path(), key)[0].clone();
        assert_eq!(first(&key), dir.path());
        let beside = dir.path().join("more/abababababababab-2");
        fs::create_dir_all(&beside).expect("made");
        assert_eq!(first(&key), beside);
        assert_eq!(places(dir.path(), &key)[1], dir.path());
        assert_eq!(places(dir.path(), &key).len(), 9);
        assert_eq!(first(&UrlKey([1; 32])), dir.path(), "another object's");
    }
}
