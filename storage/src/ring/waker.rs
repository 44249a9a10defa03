//! Waking a driver from other threads, by an eventfd. The rule: many wakes before the driver hears cost one write,
//! and none is lost.

use crate::driver::Wake;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// An eventfd with a flag before it.
#[derive(Debug)]
pub(crate) struct Waker {
    file: File,
    /// Set while a wake is on its way that the driver has not heard yet.
    pending: AtomicBool,
}

impl Waker {
    /// `blocking` as the driver reads it: the ring waits for a blocking one, and gives up on another at once.
    pub(crate) fn new(blocking: bool) -> io::Result<Waker> {
        let flags = libc::EFD_CLOEXEC | if blocking { 0 } else { libc::EFD_NONBLOCK };
        // SAFETY: plain system call without pointers.
        let made = unsafe { libc::eventfd(0, flags) };
        if made < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(made) };
        Ok(Waker {
            file: File::from(fd),
            pending: AtomicBool::new(false),
        })
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Empties a non-blocking eventfd.
    pub(crate) fn empty(&self) {
        // WouldBlock means that it is empty already.
        let _ = (&self.file).read(&mut [0; 8]);
    }

    /// The driver has read the eventfd and is about to report it: wakes from now on count anew. Acquires, so that
    /// what a waking thread did before its wake is seen by whoever gets the report.
    pub(crate) fn heard(&self) {
        self.pending.swap(false, Ordering::AcqRel);
    }
}

impl Wake for Waker {
    fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            // Any number but 0 and the largest wakes; it can not fail on an open eventfd that is read now and then.
            let _ = (&self.file).write(&[1; 8]);
        }
    }
}
