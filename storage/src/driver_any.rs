//! Whichever driver the machine allows, chosen at start. The rule: the ring where it works, epoll where it does not,
//! and the reason in words.

use crate::arena::Arena;
use crate::buf::IoBuf;
use crate::driver::{Driver, DriverKind, Event, RecvAt, Token, Wake};
use crate::epoll::EpollDriver;
use crate::ring::RingDriver;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

/// One of the two drivers. It stays on the thread that opened it.
#[derive(Debug)]
pub enum AnyDriver {
    /// io_uring.
    Ring(Box<RingDriver>),
    /// epoll.
    Epoll(Box<EpollDriver>),
}

/// Opens a driver for the calling thread: the ring, unless epoll is preferred or the ring is refused. Says why it is
/// not the ring, if it was wanted and is not.
///
/// # Errors
/// The kernel's, where it gives neither.
pub fn open_driver(
    prefer: Option<DriverKind>,
    arena: &Arena,
) -> io::Result<(AnyDriver, Option<String>)> {
    let why_not = if prefer == Some(DriverKind::Epoll) {
        None
    } else {
        match RingDriver::new(arena) {
            Ok(ring) => return Ok((AnyDriver::Ring(Box::new(ring)), None)),
            Err(error) => Some(error.to_string()),
        }
    };
    Ok((AnyDriver::Epoll(Box::new(EpollDriver::new()?)), why_not))
}

impl AnyDriver {
    /// What the driver has, for `doctor` and the log.
    pub fn describe(&self) -> String {
        match self {
            AnyDriver::Ring(ring) => ring.features().to_string(),
            AnyDriver::Epoll(epoll) => epoll.describe(),
        }
    }

    /// What would make it cheaper, with what to do for it, for a line in the log at start.
    pub fn advice(&self) -> Option<&str> {
        match self {
            AnyDriver::Ring(ring) => ring.features().unregistered_because.as_deref(),
            AnyDriver::Epoll(_) => None,
        }
    }
}

/// The same call on whichever it is.
macro_rules! either {
    ($self:ident, $driver:ident => $call:expr) => {
        match $self {
            AnyDriver::Ring($driver) => $call,
            AnyDriver::Epoll($driver) => $call,
        }
    };
}

impl Driver for AnyDriver {
    fn kind(&self) -> DriverKind {
        either!(self, driver => driver.kind())
    }

    fn listen(&mut self, listener: u32, fd: RawFd) {
        either!(self, driver => driver.listen(listener, fd));
    }

    fn unlisten(&mut self, listener: u32) {
        either!(self, driver => driver.unlisten(listener));
    }

    fn accepting(&self) -> bool {
        either!(self, driver => driver.accepting())
    }

    fn recv(&mut self, token: Token, fd: RawFd) {
        either!(self, driver => driver.recv(token, fd));
    }

    fn take(&mut self, at: RecvAt, len: usize, out: &mut Vec<u8>) {
        either!(self, driver => driver.take(at, len, out));
    }

    fn writable(&mut self, token: Token, fd: RawFd) {
        either!(self, driver => driver.writable(token, fd));
    }

    fn cancel(&mut self, token: Token, fd: RawFd) {
        either!(self, driver => driver.cancel(token, fd));
    }

    fn read(&mut self, token: Token, fd: RawFd, offset: u64, len: u32, buf: IoBuf) {
        either!(self, driver => driver.read(token, fd, offset, len, buf));
    }

    fn waker(&self) -> Arc<dyn Wake> {
        either!(self, driver => driver.waker())
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        either!(self, driver => driver.wait(timeout, events))
    }
}
