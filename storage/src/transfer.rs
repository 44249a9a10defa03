//! Foreign files: import of a file that lies on a disk already (a WSUS content folder, the drive of another cache) and
//! export of an object to a file. The rule: memory for one piece, whatever the file's length; a file that changes
//! while it is read is an error, and an export is there whole or not at all.
//!
//! It runs on a thread of its own, through tokio-uring: its speed is of no matter to who is served, and its reads and
//! writes are not on the rings of the threads that serve.

mod port;

pub use port::{Means, means};

use larder_content::PIECE_BYTES;
use larder_content::span::{piece_count, piece_len, piece_start};
use port::{Port, run};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The file to import cannot be opened.
    #[error("cannot open {path}: {source}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a directory, a pipe or a device.
    #[error("{path} is not a regular file: name the file itself")]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// It has more pieces than can be counted.
    #[error("{path} has {bytes} bytes, which is more than an object can have")]
    TooLong {
        /// Which.
        path: PathBuf,
        /// How many.
        bytes: u64,
    },
    /// It cannot be read.
    #[error("cannot read {path} at byte {offset}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// It was written to meanwhile: what was given of it is not one version.
    #[error("{path} changed while it was read: try again when nobody writes to it")]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// Who takes the pieces refused one.
    #[error("piece {piece} could not be taken: {source}")]
    Refused {
        /// Which.
        piece: u32,
        /// Why.
        source: io::Error,
    },
    /// A piece of the object to export is not there.
    #[error("piece {piece} is not stored whole: fetch the object first")]
    Missing {
        /// Which.
        piece: u32,
    },
    /// The disk to export to is too small or full.
    #[error("no room for {bytes} bytes at {path}: {source}")]
    NoRoom {
        /// Where.
        path: PathBuf,
        /// How many are needed.
        bytes: u64,
        /// What the disk said.
        source: io::Error,
    },
    /// The export cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The thread cannot be started.
    #[error("cannot start a thread for the transfer: {0}; check the limits on processes")]
    Thread(io::Error),
}

/// What was imported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imported {
    /// Bytes in the file.
    pub bytes: u64,
    /// SHA-256 of all of them.
    pub sha256: [u8; 32],
}

/// Reads a file and gives its pieces to `on_piece` in order: 1 MiB each, the last one shorter. Waits until it is
/// done. Pieces that were given before an error must be forgotten.
///
/// # Errors
/// Where it cannot be read, is no regular file, changes meanwhile, or `on_piece` fails.
pub fn import(
    path: &Path,
    on_piece: impl FnMut(u32, &[u8]) -> io::Result<()> + Send,
) -> Result<Imported, TransferError> {
    import_by(means(), path, on_piece)
}

/// Writes an object of `length` bytes to `path`, which is replaced if it exists; `read` gives its pieces, in order,
/// proved. Waits until it is on disk.
///
/// # Errors
/// Where a piece is missing, or the file cannot be written; `path` is then as it was before.
pub fn export(
    path: &Path,
    length: u64,
    read: impl FnMut(u32) -> Option<Vec<u8>> + Send,
) -> Result<(), TransferError> {
    export_by(means(), path, length, read)
}

/// Runs on a thread of its own: a ring belongs to its thread, and a caller may be inside another runtime.
fn on_a_thread<T: Send>(
    work: impl FnOnce() -> Result<T, TransferError> + Send,
) -> Result<T, TransferError> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("transfer".to_owned());
        let running = builder
            .spawn_scoped(scope, work)
            .map_err(TransferError::Thread)?;
        running
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn import_by(
    means: &Means,
    path: &Path,
    on_piece: impl FnMut(u32, &[u8]) -> io::Result<()> + Send,
) -> Result<Imported, TransferError> {
    on_a_thread(|| {
        let (file, about) = open(path)?;
        let watched = file.try_clone().map_err(|source| TransferError::Open {
            path: path.to_path_buf(),
            source,
        })?;
        let length = about.len();
        let work = async {
            let port = Port::new(means, file);
            let result = read_pieces(&port, path, length, on_piece).await;
            // Nothing was written: whether closing it goes well says nothing.
            let _ = port.close().await;
            Ok(result)
        };
        let imported = run(means, work).unwrap_or_else(|source| {
            Err(TransferError::Read {
                path: path.to_path_buf(),
                offset: 0,
                source,
            })
        })?;
        let same = watched
            .metadata()
            .is_ok_and(|now| stamp(&now) == stamp(&about));
        same.then_some(imported).ok_or(TransferError::Changed {
            path: path.to_path_buf(),
        })
    })
}

/// What changes when a file is written to.
fn stamp(about: &Metadata) -> (u64, i64, i64, i64, i64) {
    let (written, changed) = (about.mtime_nsec(), about.ctime_nsec());
    (about.len(), about.mtime(), written, about.ctime(), changed)
}

fn open(path: &Path) -> Result<(File, Metadata), TransferError> {
    let of = |source| TransferError::Open {
        path: path.to_path_buf(),
        source,
    };
    // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(of)?;
    let about = file.metadata().map_err(of)?;
    if !about.is_file() {
        return Err(TransferError::NotAFile {
            path: path.to_path_buf(),
        });
    }
    if about.len() > piece_start(u32::MAX) {
        return Err(TransferError::TooLong {
            path: path.to_path_buf(),
            bytes: about.len(),
        });
    }
    Ok((file, about))
}

async fn read_pieces(
    port: &Port,
    path: &Path,
    length: u64,
    mut on_piece: impl FnMut(u32, &[u8]) -> io::Result<()>,
) -> Result<Imported, TransferError> {
    let changed = || TransferError::Changed {
        path: path.to_path_buf(),
    };
    let mut sha = Sha256::new();
    let mut buffer = vec![0; PIECE_BYTES as usize];
    for piece in 0..piece_count(length) {
        buffer.resize(piece_len(length, piece) as usize, 0);
        let filled = fill(port, path, &mut buffer, piece_start(piece)).await?;
        if filled < buffer.len() {
            return Err(changed());
        }
        sha.update(&buffer);
        on_piece(piece, &buffer).map_err(|source| TransferError::Refused { piece, source })?;
    }
    buffer.resize(1, 0);
    if fill(port, path, &mut buffer, length).await? > 0 {
        return Err(changed());
    }
    Ok(Imported {
        bytes: length,
        sha256: sha.finalize().into(),
    })
}

/// Fills the buffer from `offset` on, or as far as the file goes.
async fn fill(
    port: &Port,
    path: &Path,
    buffer: &mut Vec<u8>,
    offset: u64,
) -> Result<usize, TransferError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let at = offset + filled as u64;
        let (result, back) = port.read(std::mem::take(buffer), filled, at).await;
        *buffer = back;
        match result {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(TransferError::Read {
                    path: path.to_path_buf(),
                    offset: at,
                    source,
                });
            }
        }
    }
    Ok(filled)
}

/// A file under another name until it is whole; removed where it does not get so far.
struct Unfinished {
    path: PathBuf,
    armed: bool,
}

impl Unfinished {
    /// `.<name>.<process>-<count>.part` beside the target, so that renaming it stays within the file system.
    fn beside(target: &Path) -> io::Result<(Self, File)> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let Some(name) = target.file_name() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it names no file",
            ));
        };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{count}.part", std::process::id()));
        let path = target.with_file_name(hidden);
        let file = File::options().write(true).create_new(true).open(&path)?;
        Ok((Self { path, armed: true }, file))
    }

    fn rename_to(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.armed = false;
        let folder = target.parent().filter(|folder| *folder != Path::new(""));
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.armed
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "removing an unfinished export");
        }
    }
}

fn export_by(
    means: &Means,
    path: &Path,
    length: u64,
    read: impl FnMut(u32) -> Option<Vec<u8>> + Send,
) -> Result<(), TransferError> {
    let failed = |source: io::Error| {
        use io::ErrorKind as Kind;
        let path = path.to_path_buf();
        match source.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => TransferError::NoRoom {
                path,
                bytes: length,
                source,
            },
            _ => TransferError::Write { path, source },
        }
    };
    on_a_thread(|| {
        let (unfinished, file) = Unfinished::beside(path).map_err(failed)?;
        let work = async {
            let port = Port::new(means, file);
            let result = write_pieces(&port, length, read).await;
            let closed = port.close().await;
            match result {
                Ok(None) => closed.map(|()| None),
                result => result,
            }
        };
        if let Some(piece) = run(means, work).map_err(failed)? {
            return Err(TransferError::Missing { piece });
        }
        unfinished.rename_to(path).map_err(failed)
    })
}

/// Writes them all and waits for the disk. Some: this piece is missing.
async fn write_pieces(
    port: &Port,
    length: u64,
    mut read: impl FnMut(u32) -> Option<Vec<u8>>,
) -> io::Result<Option<u32>> {
    port.reserve(length).await?;
    for piece in 0..piece_count(length) {
        let whole = |bytes: &Vec<u8>| bytes.len() == piece_len(length, piece) as usize;
        let Some(bytes) = read(piece).filter(whole) else {
            return Ok(Some(piece));
        };
        port.write(bytes, piece_start(piece)).await?;
    }
    port.sync().await?;
    Ok(None)
}

#[cfg(test)]
mod tests;
