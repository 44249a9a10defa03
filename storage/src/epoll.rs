//! The driver for machines that refuse io_uring: epoll, with a few threads for disk reads. The rule: whatever the ring
//! promises holds here too, and the same tests say so.
//!
//! Sockets are registered once, edge-triggered: a request costs one wait and one receive, as few calls as can be.

use crate::buf::IoBuf;
use crate::driver::{Driver, DriverKind, Event, RecvAt, Token, Wake};
use crate::ring::waker::Waker;
use crossbeam::channel::{Receiver, Sender, unbounded};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How many events one wait fetches, and how many receives it does.
const BATCH: usize = 256;
/// How much one receive brings at most.
const BUFFER_BYTES: usize = 4096;
/// How many connections one wait accepts from a listener, so that a flood of them starves nobody.
const ACCEPTS_MAX: usize = 16;
/// Threads for disk reads.
const READERS: usize = 2;

/// The names of what is not a socket among epoll's events; a socket's has its descriptor below and a count above.
const WAKER: u64 = u64::MAX;
const DISK: u64 = u64::MAX - 1;
const LISTENER: u64 = 1 << 63;

/// What is known of a descriptor that was used as a socket.
#[derive(Clone, Copy, Debug, Default)]
struct Socket {
    /// Who uses it, if anybody.
    token: Option<Token>,
    /// Tells this use of the descriptor's number from earlier ones.
    count: u32,
    /// There may be something to receive: an edge has come, and no receive has found the end of it.
    readable: bool,
    /// The other end has closed, or an error waits: every receive has an answer.
    ended: bool,
    wants_bytes: bool,
    wants_room: bool,
}

/// epoll as a driver.
#[derive(Debug)]
pub struct EpollDriver {
    epoll: OwnedFd,
    waker: Arc<Waker>,
    /// By descriptor.
    sockets: Vec<Socket>,
    listeners: HashMap<u32, RawFd>,
    /// Descriptors (with their count) that can be received from without another edge.
    due: VecDeque<(RawFd, u32)>,
    /// Where received bytes are until taken: a part of it each.
    received: Vec<u8>,
    /// How many parts are in use.
    parts: usize,
    /// Events that arose outside of `wait`.
    ready: Vec<Event>,
    fetched: Vec<libc::epoll_event>,
    disk: Disk,
}

impl EpollDriver {
    /// A driver with its own threads for disk reads.
    ///
    /// # Errors
    /// The kernel's, where it gives no descriptor or no thread.
    pub fn new() -> io::Result<EpollDriver> {
        // SAFETY: plain system call without pointers.
        let made = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if made < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and nobody else has it.
        let epoll = unsafe { OwnedFd::from_raw_fd(made) };
        let waker = Arc::new(Waker::new(false)?);
        let disk = Disk::start()?;
        let driver = EpollDriver {
            epoll,
            waker,
            sockets: Vec::new(),
            listeners: HashMap::new(),
            due: VecDeque::new(),
            received: vec![0; BATCH * BUFFER_BYTES],
            parts: 0,
            ready: Vec::new(),
            fetched: Vec::with_capacity(BATCH),
            disk,
        };
        let input = libc::EPOLLIN as u32;
        driver.control(libc::EPOLL_CTL_ADD, driver.waker.fd(), input, WAKER)?;
        driver.control(libc::EPOLL_CTL_ADD, driver.disk.finished.fd(), input, DISK)?;
        Ok(driver)
    }

    /// What this driver has, for `doctor` and the log.
    pub fn describe(&self) -> String {
        format!("epoll with {READERS} threads for disk reads")
    }

    fn control(&self, operation: i32, fd: RawFd, events: u32, name: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: name };
        // SAFETY: `event` is a local variable which the call only reads; a wrong descriptor is its error.
        let done = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &mut event) };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// The socket's state, registered for the token. With `room` its readiness for sending is looked at anew.
    fn socket(&mut self, token: Token, fd: RawFd, room: bool) -> io::Result<&mut Socket> {
        let at = usize::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
        if self.sockets.len() <= at {
            self.sockets.resize(at + 1, Socket::default());
        }
        let known = self.sockets[at].token == Some(token);
        if !known {
            let count = self.sockets[at].count.wrapping_add(1) & 0x7fff_ffff;
            self.sockets[at] = Socket {
                count,
                ..Socket::default()
            };
        }
        if !known || room {
            let edges = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET;
            let room = if room { libc::EPOLLOUT } else { 0 };
            let events = (edges | room).cast_unsigned();
            let name = u64::from(self.sockets[at].count) << 32 | at as u64;
            let first = if known {
                libc::EPOLL_CTL_MOD
            } else {
                libc::EPOLL_CTL_ADD
            };
            match self.control(first, fd, events, name) {
                // Its number was used before and its registration outlived that: by a copy of the descriptor.
                Err(e) if e.raw_os_error() == Some(libc::EEXIST) => {
                    self.control(libc::EPOLL_CTL_MOD, fd, events, name)?;
                }
                other => other?,
            }
            self.sockets[at].token = Some(token);
        }
        Ok(&mut self.sockets[at])
    }

    fn happened(&mut self, event: libc::epoll_event, events: &mut Vec<Event>) {
        let (flags, name) = (event.events.cast_signed(), event.u64);
        match name {
            WAKER => {
                self.waker.empty();
                self.waker.heard();
                events.push(Event::Woken);
            }
            DISK => self.disk.collect(events),
            _ if name & LISTENER != 0 => self.accept((name & 0xffff_ffff) as u32, events),
            _ => self.socket_happened(name, flags, events),
        }
    }

    fn socket_happened(&mut self, name: u64, flags: i32, events: &mut Vec<Event>) {
        let (at, count) = ((name & 0xffff_ffff) as usize, (name >> 32) as u32);
        let Some(socket) = self.sockets.get_mut(at) else {
            return;
        };
        let Some(token) = socket.token.filter(|_| socket.count == count) else {
            return;
        };
        let over = flags & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) != 0;
        socket.ended |= over;
        if over || flags & libc::EPOLLIN != 0 {
            socket.readable = true;
            if socket.wants_bytes {
                self.due.push_back((at as RawFd, count));
            }
        }
        let room = flags & (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) != 0;
        if room && std::mem::take(&mut socket.wants_room) {
            events.push(Event::Writable { token });
        }
    }

    fn accept(&mut self, listener: u32, events: &mut Vec<Event>) {
        let Some(&fd) = self.listeners.get(&listener) else {
            return;
        };
        for _ in 0..ACCEPTS_MAX {
            let nobody = std::ptr::null_mut();
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            // SAFETY: null addresses are allowed where the peer's name is not asked for.
            let accepted = unsafe { libc::accept4(fd, nobody, nobody.cast(), flags) };
            if accepted >= 0 {
                // SAFETY: a successful accept gives a descriptor that nobody else has.
                let fd = unsafe { OwnedFd::from_raw_fd(accepted) };
                events.push(Event::Accepted { listener, fd });
                continue;
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EAGAIN) => return,
                Some(errno) if crate::ring::is_passing(errno) => {}
                _ => {
                    self.unlisten(listener);
                    events.push(Event::AcceptFailed { listener, error });
                    return;
                }
            }
        }
    }

    /// Receives for those who asked and for whom there may be something, as far as there are buffers.
    fn receive_due(&mut self, events: &mut Vec<Event>) {
        while self.parts < BATCH {
            let Some((fd, count)) = self.due.pop_front() else {
                return;
            };
            self.receive(fd, count, events);
        }
    }

    fn receive(&mut self, fd: RawFd, count: u32, events: &mut Vec<Event>) {
        let Some(socket) = usize::try_from(fd)
            .ok()
            .and_then(|at| self.sockets.get_mut(at))
        else {
            return;
        };
        // It may stand in the queue twice, or have been cancelled since.
        let due = socket.count == count && socket.wants_bytes && socket.readable;
        let Some(token) = socket.token.filter(|_| due) else {
            return;
        };
        let begin = self.parts * BUFFER_BYTES;
        let buffer = &mut self.received[begin..begin + BUFFER_BYTES];
        let result = loop {
            // SAFETY: the pointer and length are those of a slice that is borrowed for the call.
            let got = unsafe {
                libc::recv(
                    fd,
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    libc::MSG_DONTWAIT,
                )
            };
            match usize::try_from(got) {
                Ok(len) => break Ok(len),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        break Err(error);
                    }
                }
            }
        };
        match result {
            Ok(len) => {
                // A short receive has found the end of what was there; what comes later brings a new edge.
                socket.readable = len == BUFFER_BYTES || socket.ended;
                socket.wants_bytes = false;
                let at = RecvAt(u32::try_from(self.parts).unwrap_or(u32::MAX));
                self.parts += usize::from(len > 0);
                events.push(Event::Received { token, at, len });
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                socket.readable = false;
                socket.ended = false;
            }
            Err(error) => {
                socket.wants_bytes = false;
                events.push(Event::RecvFailed { token, error });
            }
        }
    }

    fn fetch(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        // Rounded up, so that a timer's time has really come.
        let timeout_ms = timeout.map_or(-1, |t| {
            i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        self.fetched.clear();
        // SAFETY: the call writes at most `BATCH` events to memory with room for as many.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                self.fetched.as_mut_ptr(),
                BATCH as i32,
                timeout_ms,
            )
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            };
        };
        // SAFETY: the call has just written that many.
        unsafe { self.fetched.set_len(count) };
        Ok(())
    }
}

impl Driver for EpollDriver {
    fn kind(&self) -> DriverKind {
        DriverKind::Epoll
    }

    fn listen(&mut self, listener: u32, fd: RawFd) {
        self.unlisten(listener);
        let name = LISTENER | u64::from(listener);
        // A listener shared by several shards wakes one of them; the one that comes late must not block in accept.
        let shared = (libc::EPOLLIN | libc::EPOLLEXCLUSIVE) as u32;
        let began =
            set_nonblocking(fd).and_then(|()| self.control(libc::EPOLL_CTL_ADD, fd, shared, name));
        match began {
            Ok(()) => {
                self.listeners.insert(listener, fd);
            }
            Err(error) => self.ready.push(Event::AcceptFailed { listener, error }),
        }
    }

    fn unlisten(&mut self, listener: u32) {
        if let Some(fd) = self.listeners.remove(&listener) {
            // Fails only for a descriptor that is closed, and so gone from epoll already.
            let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
        }
    }

    fn accepting(&self) -> bool {
        !self.listeners.is_empty()
    }

    fn recv(&mut self, token: Token, fd: RawFd) {
        match self.socket(token, fd, false) {
            Ok(socket) => {
                let due = !std::mem::replace(&mut socket.wants_bytes, true) && socket.readable;
                let count = socket.count;
                if due {
                    self.due.push_back((fd, count));
                }
            }
            Err(error) => self.ready.push(Event::RecvFailed { token, error }),
        }
    }

    fn take(&mut self, at: RecvAt, len: usize, out: &mut Vec<u8>) {
        let begin = at.0 as usize * BUFFER_BYTES;
        if (at.0 as usize) < self.parts && len <= BUFFER_BYTES {
            out.extend_from_slice(&self.received[begin..begin + len]);
        }
    }

    fn writable(&mut self, token: Token, fd: RawFd) {
        match self.socket(token, fd, true) {
            Ok(socket) => socket.wants_room = true,
            // The next send tells what is wrong.
            Err(_) => self.ready.push(Event::Writable { token }),
        }
    }

    fn cancel(&mut self, token: Token, fd: RawFd) {
        let socket = usize::try_from(fd)
            .ok()
            .and_then(|at| self.sockets.get_mut(at));
        if let Some(socket) = socket.filter(|socket| socket.token == Some(token)) {
            socket.token = None;
            let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
        }
        self.ready.push(Event::Cancelled { token });
    }

    fn read(&mut self, token: Token, fd: RawFd, offset: u64, len: u32, mut buf: IoBuf) {
        let room = buf.read_target().map_or(0, |(_, room)| room);
        let refused = if len as usize > room {
            Some(Err(io::ErrorKind::InvalidInput.into()))
        } else {
            (len == 0).then_some(Ok(()))
        };
        match refused {
            Some(result) => self.ready.push(Event::Read { token, buf, result }),
            None => self.disk.ask(Job {
                token,
                fd,
                offset,
                len,
                buf,
            }),
        }
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.parts = 0;
        let idle = self.ready.is_empty() && self.due.is_empty();
        events.append(&mut self.ready);
        self.fetch(if idle { timeout } else { Some(Duration::ZERO) })?;
        let mut fetched = std::mem::take(&mut self.fetched);
        for event in fetched.drain(..) {
            self.happened(event, events);
        }
        self.fetched = fetched;
        self.receive_due(events);
        Ok(())
    }
}

fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: plain system call without pointers; a wrong descriptor is its error.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    if unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// One disk read; it owns its buffer.
#[derive(Debug)]
struct Job {
    token: Token,
    fd: RawFd,
    offset: u64,
    len: u32,
    buf: IoBuf,
}

/// The threads that read from disk.
#[derive(Debug)]
struct Disk {
    /// None once the driver goes away.
    jobs: Option<Sender<Job>>,
    done: Receiver<(Job, io::Result<()>)>,
    finished: Arc<Waker>,
    closing: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Disk {
    fn start() -> io::Result<Disk> {
        let (jobs, queue) = unbounded::<Job>();
        let (report, done) = unbounded();
        let mut disk = Disk {
            jobs: Some(jobs),
            done,
            finished: Arc::new(Waker::new(false)?),
            closing: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
        };
        for _ in 0..READERS {
            let (queue, report) = (queue.clone(), report.clone());
            let (finished, closing) = (Arc::clone(&disk.finished), Arc::clone(&disk.closing));
            let thread = std::thread::Builder::new().name("larder-read".to_owned());
            disk.threads.push(thread.spawn(move || {
                for mut job in queue {
                    if closing.load(Ordering::Relaxed) {
                        continue;
                    }
                    let result = read_whole(&mut job);
                    // Nobody to tell: the driver is gone, and the buffer goes home by being dropped.
                    let _ = report.send((job, result));
                    finished.wake();
                }
            })?);
        }
        Ok(disk)
    }

    fn ask(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The threads hold the other end until `jobs` is dropped.
            let _ = jobs.send(job);
        }
    }

    fn collect(&self, events: &mut Vec<Event>) {
        self.finished.empty();
        self.finished.heard();
        while let Ok((job, result)) = self.done.try_recv() {
            events.push(Event::Read {
                token: job.token,
                buf: job.buf,
                result,
            });
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        drop(self.jobs.take());
        for thread in self.threads.drain(..) {
            // A reader does not panic; if it did, there is nothing to do about it here.
            let _ = thread.join();
        }
    }
}

fn read_whole(job: &mut Job) -> io::Result<()> {
    let len = job.len as usize;
    let Some((start, room)) = job.buf.read_target() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if len > room {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut done = 0;
    while done < len {
        let offset = i64::try_from(job.offset + done as u64).map_err(io::Error::other)?;
        // SAFETY: `done..len` lies within the buffer's room (checked above); the job owns the buffer, so that nobody
        // else reads or writes there.
        let got =
            unsafe { libc::pread64(job.fd, start.wrapping_add(done).cast(), len - done, offset) };
        match usize::try_from(got) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(got) => done += got,
            Err(_) => {
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    // What is left after the end of a file is not aligned any more.
                    Some(libc::EINVAL) if done > 0 => {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    _ => return Err(error),
                }
            }
        }
    }
    job.buf.read_done(job.len);
    Ok(())
}
