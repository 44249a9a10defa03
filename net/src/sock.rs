//! The system calls with which a shard thread writes to its sockets, and finds its core. The rule: every call here
//! returns at once, and what it could not do now is `WouldBlock`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;

/// Sends from memory without blocking, and without SIGPIPE. `more` says that bytes of the same answer follow, so that
/// the head leaves in one segment with the body's first bytes.
///
/// # Errors
/// `WouldBlock` where the socket has no room; else what send(2) reports.
pub fn send(fd: RawFd, bytes: &[u8], more: bool) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | if more { libc::MSG_MORE } else { 0 };
    // SAFETY: the pointer and length describe `bytes`, which is borrowed for the whole call; send(2) only reads it.
    let n = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Sends `len` bytes at `offset` of a memory file without copying them. The socket is non-blocking.
///
/// # Errors
/// `WouldBlock` where the socket has no room; else what sendfile(2) reports.
pub fn sendfile(fd: RawFd, file: RawFd, offset: u64, len: usize) -> io::Result<usize> {
    let mut at = i64::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: `at` lives on this frame for the whole call; the kernel only updates it. Bad descriptors give EBADF.
    let n = unsafe { libc::sendfile(fd, file, &raw mut at, len) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Binds the calling thread to the `nth` (counted round) of the cores that it may use.
///
/// # Errors
/// What sched_getaffinity(2) and sched_setaffinity(2) report; a sandbox may forbid them.
pub fn pin_to_core(nth: usize) -> io::Result<()> {
    // SAFETY: a set of cores is plain bits; all of them zero is the empty set.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: the pointer and size are those of `allowed`, which is borrowed for the call.
    if unsafe { libc::sched_getaffinity(0, size, &raw mut allowed) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let cores: Vec<usize> = (0..8 * size)
        // SAFETY: the number is below the bits of the set, and the set is initialised.
        .filter(|core| unsafe { libc::CPU_ISSET(*core, &allowed) })
        .collect();
    let Some(core) = cores.get(nth % cores.len().max(1)) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    // SAFETY: as above.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the number was found in a set of the same size.
    unsafe { libc::CPU_SET(*core, &mut one) };
    // SAFETY: the pointer and size are those of `one`, which is borrowed for the call.
    if unsafe { libc::sched_setaffinity(0, size, &raw const one) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_full_socket_is_would_block_and_a_closed_one_an_error() {
        let (a, mut b) = UnixStream::pair().expect("a socket pair");
        a.set_nonblocking(true).expect("non-blocking");
        let chunk = vec![7u8; 65536];
        let mut sent = 0;
        let error = loop {
            match send(a.as_raw_fd(), &chunk, false) {
                Ok(n) => sent += n,
                Err(e) => break e,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let mut got = vec![0; sent];
        b.read_exact(&mut got).expect("what was sent");
        assert!(got.iter().all(|b| *b == 7));
        drop(b);
        assert_eq!(
            send(a.as_raw_fd(), b"x", false)
                .expect_err("nobody reads")
                .kind(),
            io::ErrorKind::BrokenPipe
        );
    }

    #[test]
    fn sendfile_sends_the_asked_stretch() {
        let (a, mut b) = UnixStream::pair().expect("a socket pair");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"0123456789").expect("written");
        assert_eq!(
            sendfile(a.as_raw_fd(), file.as_raw_fd(), 3, 4).expect("sent"),
            4
        );
        let mut got = [0; 4];
        b.read_exact(&mut got).expect("what was sent");
        assert_eq!(&got, b"3456");
    }

    #[test]
    fn a_thread_is_pinned_to_one_core() {
        let cores = || std::thread::available_parallelism().expect("known").get();
        let before = cores();
        // On a thread of its own, so that the other tests keep their cores.
        let pinned = std::thread::spawn(move || pin_to_core(7).map(|()| cores()));
        assert_eq!(pinned.join().expect("it ran").expect("pinned"), 1);
        assert_eq!(cores(), before);
    }
}
