//! One suite for both drivers: whatever the trait promises is tried on epoll, on the ring, on one as older kernels
//! have it, and on both with hardly any receive buffers. The rule: real sockets, real files, and waiting for events, never for time.

mod disk;
mod limits;
mod sockets;
mod stress;

use crate::arena::Arena;
use crate::driver::{Driver, Event, RecvAt, Token};
use crate::epoll::EpollDriver;
use crate::ring::{RingDriver, SetupError, Shape};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A test that waits longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A driver with what a test needs around it.
struct Rig {
    driver: Box<dyn Driver>,
    arena: Arena,
    queued: VecDeque<Event>,
}

impl Rig {
    fn epoll() -> Option<Rig> {
        let arena = Arena::new(4 << 20).unwrap();
        Some(Rig::of(Box::new(EpollDriver::new().unwrap()), arena))
    }

    /// None only where the machine does not allow io_uring at all.
    fn ring(buffers: u16, plain: bool) -> Option<Rig> {
        let arena = Arena::new(4 << 20).unwrap();
        // What the rings of other tests had locked comes back when the kernel gets round to it.
        for _ in 0..40 {
            match RingDriver::with_shape(&arena, Shape { buffers, plain }) {
                Ok(ring) => return Some(Rig::of(Box::new(ring), arena)),
                Err(SetupError::Resources { .. }) => {}
                Err(
                    refused @ (SetupError::Disabled { .. }
                    | SetupError::Denied(_)
                    | SetupError::Absent),
                ) => {
                    eprintln!("not tried: {refused}");
                    return None;
                }
                Err(other) => panic!("{other}"),
            }
        }
        panic!("no memory for a ring in all this time");
    }

    fn of(driver: Box<dyn Driver>, arena: Arena) -> Rig {
        Rig {
            driver,
            arena,
            queued: VecDeque::new(),
        }
    }

    fn wait(&mut self, timeout: Duration) {
        let mut events = Vec::new();
        self.driver.wait(Some(timeout), &mut events).unwrap();
        self.queued.extend(events);
    }

    /// The next event. Only what is already at hand keeps the driver from waiting.
    fn next(&mut self) -> Event {
        let began = Instant::now();
        // A wait may return early with nothing, for instance after a signal, but not for ever.
        loop {
            if let Some(event) = self.queued.pop_front() {
                return event;
            }
            assert!(began.elapsed() < PATIENCE, "no event comes");
            self.wait(PATIENCE);
        }
    }

    /// The next event must be bytes for the token; they are taken.
    fn bytes(&mut self, token: Token) -> Vec<u8> {
        match self.next() {
            Event::Received {
                token: whose,
                at,
                len,
            } => {
                assert_eq!(whose, token);
                self.take(at, len)
            }
            other => panic!("{other:?}"),
        }
    }

    fn take(&mut self, at: RecvAt, len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        if len > 0 {
            self.driver.take(at, len, &mut out);
        }
        assert_eq!(out.len(), len);
        out
    }

    /// Goes once to the kernel and back; nothing else may have happened until then.
    fn nothing_happens(&mut self) {
        self.driver.waker().wake();
        let event = self.next();
        assert!(matches!(event, Event::Woken), "{event:?}");
        assert!(self.queued.is_empty(), "{:?}", self.queued);
    }
}

/// Makes a test of each body for each driver.
macro_rules! on_each_driver {
    ($($body:ident),+ $(,)?) => {
        mod on_epoll {
            $(#[test]
            fn $body() {
                if let Some(mut rig) = crate::driver_tests::Rig::epoll() {
                    super::$body(&mut rig);
                }
            })+
        }
        mod on_ring {
            $(#[test]
            fn $body() {
                if let Some(mut rig) = crate::driver_tests::Rig::ring(1024, false) {
                    super::$body(&mut rig);
                }
            })+
        }
        mod on_ring_short_of_buffers {
            $(#[test]
            fn $body() {
                if let Some(mut rig) = crate::driver_tests::Rig::ring(2, false) {
                    super::$body(&mut rig);
                }
            })+
        }
        mod on_ring_without_extras {
            $(#[test]
            fn $body() {
                if let Some(mut rig) = crate::driver_tests::Rig::ring(1024, true) {
                    super::$body(&mut rig);
                }
            })+
        }
        mod on_ring_without_extras_short_of_buffers {
            $(#[test]
            fn $body() {
                if let Some(mut rig) = crate::driver_tests::Rig::ring(2, true) {
                    super::$body(&mut rig);
                }
            })+
        }
    };
}
use on_each_driver;
