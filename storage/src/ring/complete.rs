//! What a completion means: the next step of its operation, or its event. The rule: an operation leaves the table
//! with its last completion, and with exactly one event.

use super::driver::{RingDriver, Under};
use super::op::Op;
use crate::driver::{Event, RecvAt, Token};
use io_uring::cqueue;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// A disk read that the kernel wants repeated more often than this has failed.
const READ_RETRIES_MAX: u16 = 1000;
/// How often one wait fetches completions that the kernel had to keep aside.
const OVERFLOW_ROUNDS_MAX: u32 = 4;

impl RingDriver {
    /// Fetches completions and turns them into events.
    pub(super) fn reap(&mut self, events: &mut Vec<Event>) {
        for _ in 0..OVERFLOW_ROUNDS_MAX {
            let mut batch = std::mem::take(&mut self.batch);
            batch.extend(self.ring.completion());
            for entry in batch.drain(..) {
                self.completed(&entry, events);
            }
            self.batch = batch;
            if !self.ring.submission().cq_overflow() {
                return;
            }
            // The kernel holds more; entering moves them to the queue, which is empty now.
            let _ = self.ring.submit();
        }
    }

    fn completed(&mut self, entry: &cqueue::Entry, events: &mut Vec<Event>) {
        let (name, result) = (entry.user_data(), entry.result());
        let buffer = cqueue::buffer_select(entry.flags());
        if let Some(id) = buffer {
            self.buffers.received(id);
        }
        let more = cqueue::more(entry.flags());
        match self.ops.get_mut(name) {
            Some(Op::Accept { .. }) => self.accepted(name, result, more, events),
            Some(Op::Recv { .. }) => self.received(name, result, buffer, events),
            Some(Op::Writable { .. }) => self.has_room(name, result, events),
            Some(Op::Read(_)) => self.read_on(name, result, events),
            Some(Op::Wake) => self.woken(name, result, events),
            Some(Op::Cancel { target }) => {
                let target = *target;
                self.ops.remove(name);
                // Not found, or found running: it ends by itself most likely, and else this is asked again.
                if matches!(-result, libc::ENOENT | libc::EALREADY)
                    && !self.closing
                    && self.ops.contains(target)
                {
                    self.cancel_op(target);
                }
            }
            None => {}
        }
    }

    fn accepted(&mut self, name: u64, result: i32, more: bool, events: &mut Vec<Event>) {
        let Some(Op::Accept {
            listener,
            stopped,
            polling,
            multishot,
            ..
        }) = self.ops.get_mut(name)
        else {
            return;
        };
        let listener = *listener;
        let mut end = *stopped || self.closing;
        if *polling {
            *polling = false;
            if result >= 0 || is_passing(-result) {
                return self.accept_goes_on(name, end, false);
            }
        } else if result >= 0 {
            // SAFETY: a successful accept gives a descriptor that nobody else has.
            let fd = unsafe { OwnedFd::from_raw_fd(result) };
            self.features.multishot_accept &= *multishot;
            if !self.closing {
                events.push(Event::Accepted { listener, fd });
            }
            return self.accept_goes_on(name, end, more);
        }
        match -result {
            libc::EAGAIN => *polling = true,
            libc::EINVAL if *multishot => *multishot = false,
            errno if is_passing(errno) => {}
            _ if end => {}
            errno => {
                end = true;
                self.listeners.remove(&listener);
                events.push(Event::AcceptFailed {
                    listener,
                    error: io::Error::from_raw_os_error(errno),
                });
            }
        }
        self.accept_goes_on(name, end, more);
    }

    fn accept_goes_on(&mut self, name: u64, end: bool, more: bool) {
        if more {
            return;
        }
        if end {
            self.ops.remove(name);
            self.accepts -= 1;
        } else {
            self.arm(name);
        }
    }

    fn received(&mut self, name: u64, result: i32, buffer: Option<u16>, events: &mut Vec<Event>) {
        let Some(Op::Recv { token, polling, .. }) = self.ops.get_mut(name) else {
            return;
        };
        let token = *token;
        let quit = self.closing || self.under.get(&token).is_some_and(|u| u.cancelled);
        if !quit {
            let was_polling = std::mem::take(polling);
            match result {
                0.. if was_polling => return self.arm(name),
                _ if result == -libc::EINTR => return self.arm(name),
                _ if result == -libc::EAGAIN => {
                    *polling = true;
                    return self.arm(name);
                }
                _ if result == -libc::ENOBUFS => return self.starved.push(name),
                _ => {}
            }
        }
        let was_polling = matches!(self.ops.remove(name), Some(Op::Recv { polling: true, .. }));
        match (result, buffer) {
            (1.., Some(id)) => events.push(Event::Received {
                token,
                at: RecvAt(u32::from(id)),
                len: usize::try_from(result).unwrap_or(0),
            }),
            (0, _) if !was_polling => {
                self.give_back(buffer);
                events.push(Event::Received {
                    token,
                    at: RecvAt(u32::MAX),
                    len: 0,
                });
            }
            // Cancelled: a receive that was only waiting ends without a word of its own.
            _ if quit && (was_polling || is_nothing(-result)) => self.give_back(buffer),
            _ => {
                self.give_back(buffer);
                events.push(Event::RecvFailed {
                    token,
                    error: io::Error::from_raw_os_error(if result < 0 {
                        -result
                    } else {
                        libc::EIO
                    }),
                });
            }
        }
        self.is_over(token, events, |under| under.recv = None);
    }

    fn give_back(&mut self, buffer: Option<u16>) {
        if let Some(id) = buffer {
            self.buffers.give(id);
        }
    }

    fn has_room(&mut self, name: u64, result: i32, events: &mut Vec<Event>) {
        let Some(Op::Writable { token }) = self.ops.remove(name) else {
            return;
        };
        if result != -libc::ECANCELED {
            events.push(Event::Writable { token });
        }
        self.is_over(token, events, |under| under.writable = None);
    }

    /// Forgets an operation of a token, and reports the end if it was the last of a cancelled one.
    fn is_over(&mut self, token: Token, events: &mut Vec<Event>, forget: impl FnOnce(&mut Under)) {
        let Some(under) = self.under.get_mut(&token) else {
            return;
        };
        forget(under);
        if under.recv.is_none() && under.writable.is_none() {
            if under.cancelled {
                events.push(Event::Cancelled { token });
            }
            self.under.remove(&token);
        }
    }

    fn read_on(&mut self, name: u64, result: i32, events: &mut Vec<Event>) {
        let Some(Op::Read(read)) = self.ops.get_mut(name) else {
            return;
        };
        let outcome = match result {
            1.. => {
                read.done += result.unsigned_abs().min(read.len - read.done);
                read.retries = 0;
                (read.done == read.len).then_some(Ok(()))
            }
            0 => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            _ => match -result {
                libc::EINTR | libc::EAGAIN if read.retries < READ_RETRIES_MAX => {
                    read.retries += 1;
                    None
                }
                // What is left after the end of a file is not aligned any more.
                libc::EINVAL if read.done > 0 => Some(Err(io::ErrorKind::UnexpectedEof.into())),
                errno => Some(Err(io::Error::from_raw_os_error(errno))),
            },
        };
        match outcome {
            None if !self.closing => self.arm(name),
            outcome => {
                let Some(Op::Read(mut read)) = self.ops.remove(name) else {
                    return;
                };
                let result = outcome.unwrap_or(Err(io::ErrorKind::Interrupted.into()));
                if result.is_ok() {
                    read.buf.read_done(read.len);
                }
                events.push(Event::Read {
                    token: read.token,
                    buf: read.buf,
                    result,
                });
            }
        }
    }

    fn woken(&mut self, name: u64, result: i32, events: &mut Vec<Event>) {
        if self.closing {
            self.ops.remove(name);
            return;
        }
        if result > 0 {
            self.waker.heard();
            events.push(Event::Woken);
        } else if !matches!(-result, libc::EINTR | libc::EAGAIN | libc::ECANCELED) {
            self.ops.remove(name);
            self.broken = Some(io::Error::from_raw_os_error(-result));
            return;
        }
        self.arm(name);
    }
}

/// An error of accepting that says nothing about the listener: the next connection may be well.
pub(crate) fn is_passing(errno: i32) -> bool {
    matches!(
        errno,
        libc::EAGAIN
            | libc::EINTR
            | libc::ECANCELED
            | libc::ECONNABORTED
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENONET
            | libc::EPERM
    )
}

/// A receive's error that means that nothing was received and nothing is wrong.
fn is_nothing(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECANCELED | libc::EINTR | libc::EAGAIN | libc::ENOBUFS
    )
}
