//! The driver itself: operations in, completions out. The rule: each operation that is asked for ends in its event
//! exactly once, whatever the kernel refuses, postpones or has no room for.

use super::op::{DiskRead, Op, Ops};
use super::recv::{self, RecvBuffers};
use super::setup::{self, RingFeatures, SetupError, Shape};
use super::waker::Waker;
use crate::arena::Arena;
use crate::buf::IoBuf;
use crate::driver::{Driver, DriverKind, Event, RecvAt, Token, TokenMap, Wake};
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a driver that goes away waits for the kernel to let go of its memory. After that the memory is given up
/// rather than freed under the kernel's hands.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a ring is asked for where there is not enough memory, and how long between two questions.
const SETUP_PATIENCE: Duration = Duration::from_millis(500);
const SETUP_PAUSE: Duration = Duration::from_millis(10);

/// What is under way for one token's socket, by the names of the operations.
#[derive(Debug, Default)]
pub(super) struct Under {
    pub(super) recv: Option<u64>,
    pub(super) writable: Option<u64>,
    pub(super) cancelled: bool,
}

/// io_uring as a driver. It belongs to the thread that made it.
pub struct RingDriver {
    /// Closed before what follows is freed.
    pub(super) ring: ManuallyDrop<IoUring>,
    /// Owns the buffers of disk reads under way.
    pub(super) ops: ManuallyDrop<Ops>,
    pub(super) buffers: ManuallyDrop<RecvBuffers>,
    /// Where the eventfd's number is read to.
    pub(super) wake_number: ManuallyDrop<Box<[u8; 8]>>,
    /// Registered memory outlives the ring.
    pub(super) arena: ManuallyDrop<Arena>,
    pub(super) waker: Arc<Waker>,
    pub(super) features: RingFeatures,
    pub(super) under: TokenMap<Under>,
    pub(super) listeners: HashMap<u32, u64>,
    /// Operations that may still report a connection, those that were called off among them.
    pub(super) accepts: usize,
    /// Events that arose outside of `wait`.
    pub(super) ready: Vec<Event>,
    /// Receives that found no buffer: they go again once the buffers are back.
    pub(super) starved: Vec<u64>,
    /// What the submission queue had no room for, in order.
    pub(super) backlog: VecDeque<squeue::Entry>,
    /// Completions of one round.
    pub(super) batch: Vec<cqueue::Entry>,
    /// Going away: nothing is armed again, nobody is told.
    pub(super) closing: bool,
    pub(super) broken: Option<io::Error>,
}

impl RingDriver {
    /// A ring for the calling thread, with the arena's frames registered where memlock permits
    /// ([`RingDriver::features`] says whether).
    ///
    /// # Errors
    /// Why there is none, and what to do about it.
    pub fn new(arena: &Arena) -> Result<RingDriver, SetupError> {
        Self::with_shape(arena, Shape::default())
    }

    /// The same, or less of it.
    pub(crate) fn with_shape(arena: &Arena, shape: Shape) -> Result<RingDriver, SetupError> {
        let began = Instant::now();
        loop {
            match Self::try_new(arena, shape) {
                // The kernel gives back what a closed ring had locked a moment later: of the process that was here
                // before this one, for example.
                Err(SetupError::Resources { .. }) if began.elapsed() < SETUP_PATIENCE => {
                    std::thread::sleep(SETUP_PAUSE);
                }
                other => return other,
            }
        }
    }

    fn try_new(arena: &Arena, shape: Shape) -> Result<RingDriver, SetupError> {
        let (ring, features) = setup::ring(arena, shape)?;
        let buffers =
            RecvBuffers::register(&ring.submitter(), shape.buffers).map_err(|cause| match cause
                .raw_os_error()
            {
                Some(libc::EINVAL) => SetupError::Lacks("a ring of receive buffers"),
                _ => SetupError::Resources {
                    doing: "registered its receive buffers",
                    cause,
                },
            })?;
        let waker = Waker::new(true).map_err(|cause| SetupError::Resources {
            doing: "made an eventfd",
            cause,
        })?;
        let mut driver = RingDriver {
            ring: ManuallyDrop::new(ring),
            ops: ManuallyDrop::default(),
            buffers: ManuallyDrop::new(buffers),
            wake_number: ManuallyDrop::default(),
            arena: ManuallyDrop::new(arena.clone()),
            waker: Arc::new(waker),
            features,
            under: TokenMap::default(),
            listeners: HashMap::new(),
            accepts: 0,
            ready: Vec::new(),
            starved: Vec::new(),
            backlog: VecDeque::new(),
            batch: Vec::new(),
            closing: false,
            broken: None,
        };
        let name = driver.ops.insert(Op::Wake);
        driver.arm(name);
        Ok(driver)
    }

    /// What this ring has.
    pub fn features(&self) -> &RingFeatures {
        &self.features
    }

    /// Submits the next step of an operation that is kept under `name`.
    pub(super) fn arm(&mut self, name: u64) {
        let Some(op) = self.ops.get_mut(name) else {
            return;
        };
        let entry = match op {
            Op::Accept {
                fd, polling: true, ..
            } => opcode::PollAdd::new(Fd(*fd), libc::POLLIN as u32).build(),
            Op::Accept { fd, multishot, .. } => {
                let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
                if *multishot {
                    opcode::AcceptMulti::new(Fd(*fd)).flags(flags).build()
                } else {
                    let nobody = std::ptr::null_mut();
                    opcode::Accept::new(Fd(*fd), nobody, nobody.cast())
                        .flags(flags)
                        .build()
                }
            }
            Op::Recv {
                fd, polling: true, ..
            } => opcode::PollAdd::new(Fd(*fd), libc::POLLIN as u32).build(),
            Op::Recv { fd, .. } => {
                opcode::Recv::new(Fd(*fd), std::ptr::null_mut(), recv::BUFFER_BYTES)
                    .buf_group(recv::GROUP)
                    .build()
                    .flags(squeue::Flags::BUFFER_SELECT)
            }
            Op::Read(read) => {
                let left = read.len - read.done;
                let offset = read.offset + u64::from(read.done);
                // Asked for when the read began, and nothing has been filled since.
                let Some((start, _)) = read.buf.read_target() else {
                    return;
                };
                let at = start.wrapping_add(read.done as usize);
                match read.fixed {
                    Some(index) => opcode::ReadFixed::new(Fd(read.fd), at, left, index)
                        .offset(offset)
                        .build(),
                    None => opcode::Read::new(Fd(read.fd), at, left)
                        .offset(offset)
                        .build(),
                }
            }
            Op::Wake => {
                let at = self.wake_number.as_mut_ptr();
                opcode::Read::new(Fd(self.waker.fd()), at, 8).build()
            }
            Op::Cancel { target } => opcode::AsyncCancel::new(*target).build(),
            // Armed when it was made, since that is where its descriptor is known, and never again.
            Op::Writable { .. } => return,
        };
        self.push(entry.user_data(name));
    }

    /// Queues a submission; where the queue is full it goes to the kernel first, or waits its turn.
    fn push(&mut self, entry: squeue::Entry) {
        if self.backlog.is_empty() {
            if self.try_push(&entry) {
                return;
            }
            // Any failure shows again in `wait`; here it only means that there is no room yet.
            let _ = self.ring.submit();
            if self.try_push(&entry) {
                return;
            }
        }
        self.backlog.push_back(entry);
    }

    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: memory that the entry names is the arena's or the memory tier's by way of an IoBuf in `ops`, the
        // waker's number, or none; all of it is owned by this driver until the completion, and leaked if none comes.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    fn flush_backlog(&mut self) {
        while let Some(entry) = self.backlog.front().cloned() {
            if !self.try_push(&entry) {
                let _ = self.ring.submit();
                if !self.try_push(&entry) {
                    return;
                }
            }
            self.backlog.pop_front();
        }
    }

    fn rearm_starved(&mut self) {
        let mut starved = std::mem::take(&mut self.starved);
        for name in starved.drain(..) {
            self.arm(name);
        }
        self.starved = starved;
    }

    pub(super) fn cancel_op(&mut self, target: u64) {
        let name = self.ops.insert(Op::Cancel { target });
        self.arm(name);
    }

    /// Submits and waits for one completion, unless there is one.
    fn enter(&mut self, wait: bool, timeout: Option<Duration>) -> io::Result<()> {
        let want = usize::from(wait && self.ring.completion().is_empty());
        let result = match timeout {
            Some(timeout) if want > 0 => {
                let limit = Timespec::new()
                    .sec(timeout.as_secs())
                    .nsec(timeout.subsec_nanos());
                let args = SubmitArgs::new().timespec(&limit);
                self.ring.submitter().submit_with_args(want, &args)
            }
            _ => self.ring.submit_and_wait(want),
        };
        match result {
            Ok(_) => Ok(()),
            // Time is up, a signal, or no room for more until completions are fetched, which comes next.
            Err(e)
                if matches!(
                    e.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    /// Cancels everything and waits until the kernel has let go; false if it has not in time.
    fn drain(&mut self) -> bool {
        self.closing = true;
        // These never reached the kernel.
        for entry in std::mem::take(&mut self.backlog) {
            self.ops.remove(entry.get_user_data());
        }
        for name in std::mem::take(&mut self.starved) {
            self.ops.remove(name);
        }
        let began = Instant::now();
        let mut unheard = Vec::new();
        while self.ops.len() > 0 {
            let left = DRAIN_TIMEOUT.saturating_sub(began.elapsed());
            if left.is_zero() {
                return false;
            }
            let all = opcode::AsyncCancel2::new(CancelBuilder::any())
                .build()
                .user_data(u64::MAX);
            if !self.try_push(&all) {
                let _ = self.ring.submit();
            }
            let step = left.min(Duration::from_millis(100));
            if self.enter(true, Some(step)).is_err() {
                return false;
            }
            self.reap(&mut unheard);
            unheard.clear();
        }
        true
    }
}

impl Driver for RingDriver {
    fn kind(&self) -> DriverKind {
        DriverKind::Ring
    }

    fn listen(&mut self, listener: u32, fd: RawFd) {
        self.unlisten(listener);
        let name = self.ops.insert(Op::Accept {
            listener,
            fd,
            stopped: false,
            polling: false,
            multishot: self.features.multishot_accept,
        });
        self.accepts += 1;
        self.listeners.insert(listener, name);
        self.arm(name);
    }

    fn unlisten(&mut self, listener: u32) {
        let Some(name) = self.listeners.remove(&listener) else {
            return;
        };
        if let Some(Op::Accept { stopped, .. }) = self.ops.get_mut(name) {
            *stopped = true;
        }
        self.cancel_op(name);
        // Its descriptor may be closed as soon as this returns, so the kernel must have resolved it by then.
        let _ = self.ring.submit();
    }

    fn accepting(&self) -> bool {
        self.accepts > 0
    }

    fn recv(&mut self, token: Token, fd: RawFd) {
        let under = self.under.entry(token).or_default();
        if under.recv.is_some() || under.cancelled {
            return;
        }
        let name = self.ops.insert(Op::Recv {
            token,
            fd,
            polling: false,
        });
        under.recv = Some(name);
        self.arm(name);
    }

    fn take(&mut self, at: RecvAt, len: usize, out: &mut Vec<u8>) {
        let Ok(id) = u16::try_from(at.0) else {
            return;
        };
        if let Some(bytes) = self.buffers.bytes(id, len) {
            out.extend_from_slice(bytes);
            self.buffers.give(id);
        }
    }

    fn writable(&mut self, token: Token, fd: RawFd) {
        let under = self.under.entry(token).or_default();
        if under.writable.is_some() || under.cancelled {
            return;
        }
        let name = self.ops.insert(Op::Writable { token });
        under.writable = Some(name);
        let entry = opcode::PollAdd::new(Fd(fd), libc::POLLOUT as u32).build();
        self.push(entry.user_data(name));
    }

    fn cancel(&mut self, token: Token, _fd: RawFd) {
        // A receive without a buffer is not with the kernel: it goes there first, where the cancellation finds it.
        self.rearm_starved();
        let Some(under) = self.under.get_mut(&token) else {
            self.ready.push(Event::Cancelled { token });
            return;
        };
        if under.cancelled {
            return;
        }
        under.cancelled = true;
        for target in [under.recv, under.writable].into_iter().flatten() {
            self.cancel_op(target);
        }
    }

    fn read(&mut self, token: Token, fd: RawFd, offset: u64, len: u32, mut buf: IoBuf) {
        let room = buf.read_target().map_or(0, |(_, room)| room);
        let refused = if len as usize > room {
            Some(Err(io::ErrorKind::InvalidInput.into()))
        } else {
            (len == 0).then_some(Ok(()))
        };
        if let Some(result) = refused {
            self.ready.push(Event::Read { token, buf, result });
            return;
        }
        let fixed = match &buf {
            // All of the arena is one registered buffer.
            IoBuf::Arena(frame) if self.arena.owns(frame) => {
                (self.features.registered_bytes > 0).then_some(0)
            }
            _ => None,
        };
        let name = self.ops.insert(Op::Read(DiskRead {
            token,
            fd,
            offset,
            len,
            done: 0,
            retries: 0,
            fixed,
            buf,
        }));
        self.arm(name);
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        self.buffers.reclaim();
        self.rearm_starved();
        self.flush_backlog();
        let idle = self.ready.is_empty() && self.backlog.is_empty();
        events.append(&mut self.ready);
        self.enter(idle && timeout != Some(Duration::ZERO), timeout)?;
        self.reap(events);
        Ok(())
    }
}

impl Drop for RingDriver {
    fn drop(&mut self) {
        let let_go = self.drain();
        // SAFETY: dropped once, here, and not used after. The ring is closed before the memory is freed; memory that
        // the kernel has not let go of stays allocated for good.
        unsafe {
            ManuallyDrop::drop(&mut self.ring);
            if let_go {
                ManuallyDrop::drop(&mut self.ops);
                ManuallyDrop::drop(&mut self.buffers);
                ManuallyDrop::drop(&mut self.wake_number);
                ManuallyDrop::drop(&mut self.arena);
            } else {
                tracing::warn!("a disk read did not end in time; its memory is given up");
            }
        }
    }
}

impl std::fmt::Debug for RingDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RingDriver")
            .field("features", &self.features)
            .field("under_way", &self.ops.len())
            .finish_non_exhaustive()
    }
}
