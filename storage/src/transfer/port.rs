//! Reads and writes of foreign files, by io_uring or by plain calls. The rule: one path of code for both: what is
//! called is a future, and by plain calls it is ready at its first poll.

use std::fs::File as Plain;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use tokio_uring::Runtime;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::fs::File as Ring;

/// One transfer has one operation under way, so the smallest ring does.
const RING_ENTRIES: u32 = 8;

/// By what foreign files are read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// io_uring.
    Ring,
    /// Plain calls, because io_uring is refused.
    Plain {
        /// Why it is refused.
        why: String,
    },
}

/// A ring, or why there is none. tokio-uring's own `start` panics there.
fn ring() -> io::Result<Runtime> {
    let mut builder = tokio_uring::builder();
    Runtime::new(builder.entries(RING_ENTRIES))
}

/// What is used here. It is tried once: a kernel or a container that refuses io_uring goes on refusing it.
#[must_use]
pub fn means() -> &'static Means {
    static MEANS: OnceLock<Means> = OnceLock::new();
    MEANS.get_or_init(|| {
        // On a thread of its own: a runtime may not be dropped inside another one.
        let tried = std::thread::spawn(|| ring().map(drop)).join();
        match tried.unwrap_or_else(|_| Err(io::Error::other("starting a ring panicked"))) {
            Ok(()) => Means::Ring,
            Err(error) => {
                let why = error.to_string();
                tracing::warn!(
                    why,
                    "io_uring is refused: foreign files are read and written by plain calls, which is slower at most"
                );
                Means::Plain { why }
            }
        }
    })
}

/// A foreign file that is open.
pub(super) enum Port {
    Ring(Ring),
    Plain(Plain),
}

impl Port {
    pub(super) fn new(means: &Means, file: Plain) -> Self {
        match means {
            Means::Ring => Self::Ring(Ring::from_std(file)),
            Means::Plain { .. } => Self::Plain(file),
        }
    }

    /// Reads into `buffer[filled..]` from `offset` on; 0 at the end of the file.
    pub(super) async fn read(
        &self,
        mut buffer: Vec<u8>,
        filled: usize,
        offset: u64,
    ) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Self::Ring(file) => {
                let (result, slice) = file.read_at(buffer.slice(filled..), offset).await;
                (result, slice.into_inner())
            }
            Self::Plain(file) => (file.read_at(&mut buffer[filled..], offset), buffer),
        }
    }

    /// Writes all of `bytes` at `offset`.
    pub(super) async fn write(&self, bytes: Vec<u8>, offset: u64) -> io::Result<()> {
        match self {
            Self::Ring(file) => file.write_all_at(bytes, offset).await.0,
            Self::Plain(file) => file.write_all_at(&bytes, offset),
        }
    }

    /// Asks for room for `length` bytes, where that can be asked: a full disk is better known before than after.
    pub(super) async fn reserve(&self, length: u64) -> io::Result<()> {
        match self {
            Self::Ring(file) if length > 0 => match file.fallocate(0, length, 0).await {
                Err(error) if cannot_be_asked(&error) => Ok(()),
                result => result,
            },
            _ => Ok(()),
        }
    }

    /// Returns when what was written is on disk.
    pub(super) async fn sync(&self) -> io::Result<()> {
        match self {
            Self::Ring(file) => file.sync_all().await,
            Self::Plain(file) => file.sync_all(),
        }
    }

    /// Closes the file. A ring's file must be closed on its ring.
    pub(super) async fn close(self) -> io::Result<()> {
        match self {
            Self::Ring(file) => file.close().await,
            Self::Plain(_) => Ok(()),
        }
    }
}

fn cannot_be_asked(error: &io::Error) -> bool {
    // An old kernel does not know the operation on a ring, and some file systems not at all.
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL)
    )
}

/// Runs a future of this module's to its end, on this thread, which must not be a runtime's.
pub(super) fn run<T>(means: &Means, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match means {
        Means::Ring => ring()?.block_on(future),
        Means::Plain { .. } => match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::Error::other("a plain call was not done at once")),
        },
    }
}
