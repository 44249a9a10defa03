//! The system calls with which a shard thread writes to its sockets and finds its core, and those about descriptors
//! that a start needs. The rule: every call here returns at once, and what it could not do now is `WouldBlock`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Sends from memory without blocking, and without SIGPIPE. `more` says that bytes of the same answer follow, so that
/// the head leaves in one segment with the body's first bytes.
///
/// # Errors
/// `WouldBlock` where the socket has no room; else what send(2) reports.
pub fn send(fd: RawFd, bytes: &[u8], more: bool) -> io::Result<usize> {
    // SAFETY: the pointer and length describe `bytes`, which is borrowed for the whole call; send(2) only reads it.
    let n = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags_of(more)) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// How [`send`] and [`send_both`] send.
const fn flags_of(more: bool) -> libc::c_int {
    libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | if more { libc::MSG_MORE } else { 0 }
}

/// Sends two stretches of memory as if they were one, else as [`send`].
///
/// # Errors
/// As [`send`].
pub fn send_both(fd: RawFd, first: &[u8], second: &[u8], more: bool) -> io::Result<usize> {
    let mut stretches = [first, second].map(|stretch| libc::iovec {
        iov_base: stretch.as_ptr().cast_mut().cast(),
        iov_len: stretch.len(),
    });
    // SAFETY: a message is plain numbers and pointers; all of them zero names nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = stretches.as_mut_ptr();
    message.msg_iovlen = stretches.len();
    // SAFETY: the message names `stretches`, which lives on this frame for the whole call, and they name two slices
    // that are borrowed as long; sendmsg(2) only reads them.
    let n = unsafe { libc::sendmsg(fd, &raw const message, flags_of(more)) };
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

/// Takes at most `len` bytes that were received off a TCP socket without copying them anywhere, for a reader that only
/// measures. 0 is the end of the stream.
///
/// # Errors
/// `WouldBlock` where nothing is there; else what recv(2) reports.
pub fn discard(fd: RawFd, len: usize) -> io::Result<usize> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: with MSG_TRUNC TCP drops the bytes and never writes to the buffer (tcp(7)), so there need not be one.
    let n = unsafe { libc::recv(fd, std::ptr::null_mut(), len, flags) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// A copy of a descriptor that this process was started with, closed in the programs that it starts. The inherited one
/// stays open: a listening socket that a service manager holds is never closed by us.
///
/// # Errors
/// `EBADF` where there is no such descriptor; else what fcntl(2) reports.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl(2) with F_DUPFD_CLOEXEC touches no memory; a bad descriptor gives EBADF.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Raises the number of files and sockets that this process may have open to the most it may ask for; says how many.
///
/// # Errors
/// What getrlimit(2) or setrlimit(2) report.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` lives on this frame for the whole call, which writes to it.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` lives on this frame for the whole call, which only reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

/// What the kernel knows of what came in on a TCP connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpSeen {
    /// The present round trip, as a receiver sees it: by timestamps (RFC 7323), else by the last requests. Zero while
    /// nothing is known.
    pub round_trip: Duration,
    /// Bytes that arrived since it was opened.
    pub received: u64,
    /// Segments that arrived before others that should have come first.
    pub out_of_order: u32,
    /// Bytes in the largest segment that the other side may send.
    pub segment: u32,
}

/// What has come in on a TCP connection so far.
///
/// # Errors
/// What getsockopt(2) reports; `InvalidData` where the kernel tells less than Linux 5.4 does.
pub fn tcp_seen(fd: RawFd) -> io::Result<TcpSeen> {
    // The kernel's struct tcp_info, of which the C library knows the older half only.
    let mut info = [0_u8; 256];
    let mut len: libc::socklen_t = 256;
    // SAFETY: the pointer and length are those of `info`, both are borrowed for the whole call, and the kernel writes no
    // more than `len` bytes there.
    let got = unsafe {
        libc::getsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    let told = usize::try_from(len).unwrap_or(0).min(info.len());
    let four = |at: usize| -> io::Result<[u8; 4]> {
        let bytes = info[..told].get(at..at + 4);
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| io::ErrorKind::InvalidData.into())
    };
    let number = |at| four(at).map(u32::from_ne_bytes);
    // tcpi_options with TCPI_OPT_TIMESTAMPS; tcpi_rcv_rtt, and tcpi_rtt.
    let has_timestamps = info[5] & 1 != 0;
    let round_trip_us = number(if has_timestamps { 92 } else { 68 })?;
    let [low, high] = [four(128)?, four(132)?];
    let mut received = [0; 8];
    received[..4].copy_from_slice(&low);
    received[4..].copy_from_slice(&high);
    Ok(TcpSeen {
        round_trip: Duration::from_micros(round_trip_us.into()),
        received: own_number(received),
        out_of_order: number(224)?,
        segment: number(84)?,
    })
}

#[allow(
    clippy::host_endian_bytes,
    reason = "the kernel of this machine wrote it"
)]
const fn own_number(bytes: [u8; 8]) -> u64 {
    u64::from_ne_bytes(bytes)
}

/// Has a TCP connection offer its sender no larger window than so many bytes, until the kernel gives it more memory.
/// What was offered before is not taken back.
///
/// # Errors
/// What setsockopt(2) reports.
pub fn set_receive_window_max(fd: RawFd, bytes: u32) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
    // SAFETY: the pointer and size are those of `bytes`, which lives on this frame for the whole call; it is only read.
    let set = unsafe {
        libc::setsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_WINDOW_CLAMP,
            (&raw const bytes).cast(),
            size,
        )
    };
    if set != 0 {
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

    #[test]
    fn discarded_bytes_are_gone_and_no_others() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut a = std::net::TcpStream::connect(address).expect("connected");
        let (mut b, _) = listener.accept().expect("accepted");
        assert_eq!(
            discard(b.as_raw_fd(), 9).expect_err("nothing there").kind(),
            io::ErrorKind::WouldBlock
        );
        a.write_all(b"0123456789").expect("sent");
        // Waits until they are there, and leaves them.
        b.set_nonblocking(false).expect("blocking");
        let mut all = [0; 10];
        while b.peek(&mut all).expect("peeked") < all.len() {}
        assert_eq!(discard(b.as_raw_fd(), 7).expect("dropped"), 7);
        let mut rest = [0; 3];
        b.read_exact(&mut rest).expect("the rest");
        assert_eq!(&rest, b"789");
        drop(a);
        while b.peek(&mut rest).expect("peeked") > 0 {}
        assert_eq!(discard(b.as_raw_fd(), 7).expect("the end"), 0);
    }

    #[test]
    fn what_came_is_counted_and_a_window_can_be_bound() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut a = std::net::TcpStream::connect(address).expect("connected");
        let (b, _) = listener.accept().expect("accepted");
        set_receive_window_max(b.as_raw_fd(), 200_000).expect("bound");
        set_receive_window_max(b.as_raw_fd(), u32::MAX).expect("let go");
        let before = tcp_seen(b.as_raw_fd()).expect("known");
        assert_eq!(before.received, 0);
        assert!(before.segment > 500, "{before:?}");
        a.write_all(&[7; 5000]).expect("sent");
        b.set_nonblocking(false).expect("blocking");
        while b.peek(&mut [0; 5000]).expect("peeked") < 5000 {}
        let after = tcp_seen(b.as_raw_fd()).expect("known");
        assert_eq!(after.received, 5000, "{after:?}");
        assert_eq!(after.out_of_order, 0, "{after:?}");
        let file = tempfile::tempfile().expect("a file");
        assert!(tcp_seen(file.as_raw_fd()).is_err());
        assert!(set_receive_window_max(file.as_raw_fd(), 1).is_err());
    }

    #[test]
    fn two_stretches_leave_as_one() {
        let (a, mut b) = UnixStream::pair().expect("a socket pair");
        let sent = send_both(a.as_raw_fd(), b"head", b"body", false).expect("sent");
        assert_eq!(sent, 8);
        assert_eq!(send_both(a.as_raw_fd(), b"", b"!", true).expect("sent"), 1);
        let mut got = [0; 9];
        b.read_exact(&mut got).expect("all of it");
        assert_eq!(&got, b"headbody!");
        drop(b);
        let error = send_both(a.as_raw_fd(), b"a", b"b", false).expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn an_inherited_socket_is_copied_and_a_missing_one_refused() {
        let (a, mut b) = UnixStream::pair().expect("a socket pair");
        let mut copy = UnixStream::from(inherited(a.as_raw_fd()).expect("copied"));
        drop(a);
        copy.write_all(b"x").expect("the copy is open");
        let mut got = [0];
        b.read_exact(&mut got).expect("what was sent");
        assert_eq!(
            inherited(-1).expect_err("no descriptor").raw_os_error(),
            Some(libc::EBADF)
        );
    }

    #[test]
    fn the_limit_of_open_files_is_the_hard_one() {
        let raised = raise_open_files().expect("raised");
        assert_eq!(raise_open_files().expect("raised again"), raised);
    }
}
