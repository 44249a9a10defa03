//! One client connection, from its first byte to its last: events in, actions out. The rule: requests are answered
//! in the order they came, each exactly once, and an answer that can not be completed is broken off, never ended.
//!
//! What was received and what is to be sent lie outside, in buffers of whoever drives the connection. So do the
//! content and its bytes: here is only what decides when to receive, to parse, to send, to wait and to stop.

mod event;

pub use event::{Action, Cause, Event, Failure, Refuse, Remedy, Taking};

use crate::http::alike::Last;
use crate::http::head::{HEAD_BYTES_MAX, Parsed, parse_head};
use crate::time::Time;
use std::time::Duration;

/// Bytes received ahead of the answers; with more than that the connection is not read from.
pub const INBOX_BYTES_MAX: usize = 64 << 10;

/// How long a client may take to close after the last answer.
const LINGER: Duration = Duration::from_secs(2);

/// How long the rest of a body that has begun may be waited for. Fetches end by themselves long before; this is for
/// the one that does not.
const STARVED: Duration = Duration::from_secs(300);

/// How long a client may take, and how long it is kept waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Between two requests.
    pub idle: Duration,
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// Taking no byte of an answer that has begun.
    pub stall: Duration,
    /// From a head's last byte to the answer's first; then it is 503.
    pub first_byte: Duration,
}

/// The request at hand.
#[derive(Clone, Copy, Debug)]
struct Request {
    /// When its head was complete.
    asked: Time,
    head_bytes: usize,
    keep_alive: bool,
    head_only: bool,
    failures: u8,
    resolved_anew: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    Nothing,
    Room,
    Bytes,
    Turn,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Between requests, or in the middle of a head.
    Reading,
    /// A decision is due.
    Deciding(Request, Cause),
    /// An error is to be written.
    Refusing(Request, u16, &'static str),
    /// A resolution is under way.
    Resolving(Request),
    /// The head is written, and may have left.
    Answering {
        request: Request,
        keep_alive: bool,
        begun: bool,
        wait: Wait,
    },
    /// The last answer was sent; the client is to close.
    Lingering {
        said: bool,
    },
    /// It ends as soon as nothing is under way.
    Leaving(Leave),
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leave {
    Close { cut: bool },
    TakeOver,
}

/// One connection.
#[derive(Debug)]
pub struct Conn {
    phase: Phase,
    /// When the phase, or the last progress in it, began.
    since: Time,
    /// A head has begun, and when.
    head_begun: bool,
    /// Bytes of the inbox in which no head ends.
    searched: usize,
    /// Bytes of the inbox that belong to an answered request.
    forget: usize,
    receiving: bool,
    awaiting_room: bool,
    cancelling: bool,
    called_off: bool,
    ended: bool,
    taking: Taking,
    /// At least one request was answered.
    served: bool,
    /// The head that was read last.
    last: Last,
}

impl Conn {
    /// A connection that was accepted at `now`.
    #[must_use]
    pub fn new(now: Time, draining: bool) -> Self {
        Self {
            phase: Phase::Reading,
            since: now,
            head_begun: false,
            searched: 0,
            forget: 0,
            receiving: false,
            awaiting_room: false,
            cancelling: false,
            called_off: false,
            ended: false,
            taking: if draining { Taking::None } else { Taking::All },
            served: false,
            last: Last::default(),
        }
    }

    /// Whether the answer to this request may leave the connection open.
    #[must_use]
    pub fn may_keep(&self, wanted: bool) -> bool {
        wanted && self.taking == Taking::All
    }

    /// When the head of the request at hand was complete; the last progress where there is none.
    #[must_use]
    pub fn asked(&self) -> Time {
        match self.phase {
            Phase::Deciding(request, _)
            | Phase::Refusing(request, ..)
            | Phase::Resolving(request)
            | Phase::Answering { request, .. } => request.asked,
            _ => self.since,
        }
    }

    /// True where a first byte of the answer at hand has left.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        matches!(self.phase, Phase::Answering { begun: true, .. })
    }

    /// True where more requests have come behind the one at hand, which is the first of `inbox_bytes` received bytes.
    #[must_use]
    pub fn is_followed(&self, inbox_bytes: usize) -> bool {
        match self.phase {
            Phase::Answering {
                request,
                keep_alive,
                ..
            } => keep_alive && inbox_bytes > request.head_bytes,
            _ => false,
        }
    }

    /// When a [`Event::Tick`] is due, unless something happens before.
    #[must_use]
    pub fn deadline(&self, timeouts: &Timeouts) -> Option<Time> {
        match self.phase {
            Phase::Reading if self.head_begun => Some(self.since + timeouts.head),
            // Its first request may be on its way; it is not waited for as long as otherwise.
            Phase::Reading if self.taking == Taking::None => Some(self.since + LINGER),
            Phase::Reading => Some(self.since + timeouts.idle),
            Phase::Resolving(request) => Some(request.asked + timeouts.first_byte),
            Phase::Answering {
                request,
                begun,
                wait,
                ..
            } => match wait {
                Wait::Room => Some(self.since + timeouts.stall),
                Wait::Bytes if begun => Some(self.since + STARVED),
                Wait::Bytes => Some(request.asked + timeouts.first_byte),
                Wait::Nothing | Wait::Turn => None,
            },
            Phase::Lingering { .. } => Some(self.since + LINGER),
            Phase::Deciding(..) | Phase::Refusing(..) | Phase::Leaving(_) | Phase::Gone => None,
        }
    }

    /// Takes note of what has happened.
    pub fn apply(&mut self, event: Event, timeouts: &Timeouts, now: Time) {
        match event {
            Event::Received => self.receiving = false,
            Event::Ended => {
                self.receiving = false;
                self.ended = true;
            }
            Event::Broken => {
                self.receiving = false;
                self.ended = true;
                self.leave(Leave::Close { cut: false });
            }
            Event::Room => {
                self.awaiting_room = false;
                self.wakes(Wait::Room);
            }
            Event::Cancelled => {
                self.cancelling = false;
                self.called_off = true;
                self.receiving = false;
                self.awaiting_room = false;
            }
            Event::Resolving => self.resolving(),
            Event::Arrived => self.arrived(),
            Event::Answering { keep_alive } => self.answering(keep_alive, now),
            Event::HandOver => self.leave(Leave::TakeOver),
            Event::Sent => {
                self.since = now;
                if let Phase::Answering { begun, request, .. } = &mut self.phase {
                    *begun = true;
                    request.failures = 0;
                }
            }
            Event::Full => self.waits(Wait::Room),
            Event::Starved => self.waits(Wait::Bytes),
            Event::Yielded => self.waits(Wait::Turn),
            Event::Done => self.done(now),
            Event::Failed(failure) => self.failed(failure),
            Event::Tick => {
                if self.deadline(timeouts).is_some_and(|due| now >= due) {
                    self.late();
                }
            }
            Event::Last if self.taking == Taking::All => self.taking = Taking::Last,
            Event::Last => {}
            Event::Drain => self.taking = Taking::None,
            Event::Stop => {
                let cut = self.has_begun();
                self.leave(Leave::Close { cut });
            }
        }
    }

    /// What to do now. To be called, and done, until it says [`Action::Rest`] or is the last one.
    pub fn next<'b>(&mut self, inbox: &'b [u8], now: Time) -> Action<'b> {
        if self.forget > 0 {
            return Action::Forget(std::mem::take(&mut self.forget));
        }
        match self.phase {
            Phase::Reading => self.read(inbox, now),
            Phase::Deciding(_, cause) => match parse_head(inbox) {
                Parsed::Head(head) => Action::Decide { head, cause },
                // It was read before, from the same bytes.
                _ => {
                    self.leave(Leave::Close { cut: false });
                    self.next(inbox, now)
                }
            },
            Phase::Refusing(request, status, reason) => Action::Refuse(Refuse {
                status,
                reason,
                keep_alive: request.keep_alive,
                head_only: request.head_only,
            }),
            Phase::Resolving(_) => self.receive_ahead(inbox),
            Phase::Answering { wait, .. } => match wait {
                Wait::Nothing => Action::Send,
                Wait::Room if !self.awaiting_room => {
                    self.awaiting_room = true;
                    Action::AwaitRoom
                }
                Wait::Room | Wait::Bytes | Wait::Turn => self.receive_ahead(inbox),
            },
            Phase::Lingering { said: false } => {
                self.phase = Phase::Lingering { said: true };
                Action::FinishSending
            }
            Phase::Lingering { said: true } if self.ended => {
                self.leave(Leave::Close { cut: false });
                self.next(inbox, now)
            }
            Phase::Lingering { said: true } if !inbox.is_empty() => Action::Discard,
            Phase::Lingering { said: true } => self.receive_ahead(inbox),
            Phase::Leaving(leave) => self.go(leave),
            Phase::Gone => Action::Rest,
        }
    }

    fn read<'b>(&mut self, inbox: &'b [u8], now: Time) -> Action<'b> {
        if !inbox.is_empty() && !self.head_begun {
            self.head_begun = true;
            self.since = now;
        }
        // A head ends with a line; so only a new line can complete one, and a client that sends byte by byte does
        // not have all of it read again for each.
        let ends = inbox.len() > HEAD_BYTES_MAX
            || inbox
                .get(self.searched..)
                .is_some_and(|new| new.contains(&b'\n'));
        self.searched = inbox.len();
        let mut request = Request {
            asked: now,
            head_bytes: inbox.len(),
            keep_alive: false,
            head_only: false,
            failures: 0,
            resolved_anew: false,
        };
        if ends {
            let parsed = match self.last.read(inbox) {
                Some(head) => Parsed::Head(head),
                None => parse_head(inbox),
            };
            match parsed {
                Parsed::Head(head) => {
                    if !head.alike {
                        self.last.keep(inbox, &head);
                    }
                    request.head_bytes = head.consumed;
                    request.keep_alive = head.keep_alive;
                    request.head_only = head.method == "HEAD";
                    self.phase = Phase::Deciding(request, Cause::New);
                    return Action::Decide {
                        head,
                        cause: Cause::New,
                    };
                }
                Parsed::Bad { status, reason } => {
                    self.phase = Phase::Refusing(request, status, reason);
                    return self.next(inbox, now);
                }
                Parsed::Incomplete => {}
            }
        }
        let over = self.taking == Taking::None && self.served;
        if self.ended || (over && inbox.is_empty()) {
            self.leave(Leave::Close { cut: false });
            return self.next(inbox, now);
        }
        self.receive_ahead(inbox)
    }

    fn receive_ahead(&mut self, inbox: &[u8]) -> Action<'static> {
        if self.receiving || self.ended || inbox.len() >= INBOX_BYTES_MAX {
            return Action::Rest;
        }
        self.receiving = true;
        Action::Receive
    }

    fn go(&mut self, leave: Leave) -> Action<'static> {
        if self.cancelling {
            return Action::Rest;
        }
        // A socket that goes elsewhere is called off in any case: its driver may know it though nothing is under way.
        let elsewhere = leave == Leave::TakeOver && !self.called_off;
        if self.receiving || self.awaiting_room || elsewhere {
            self.cancelling = true;
            return Action::Cancel;
        }
        self.phase = Phase::Gone;
        match leave {
            Leave::Close { cut } => Action::Close { cut },
            Leave::TakeOver => Action::TakeOver,
        }
    }

    fn leave(&mut self, leave: Leave) {
        if !matches!(self.phase, Phase::Leaving(_) | Phase::Gone) {
            self.phase = Phase::Leaving(leave);
        }
    }

    fn waits(&mut self, what: Wait) {
        if let Phase::Answering { wait, .. } = &mut self.phase {
            *wait = what;
        }
    }

    fn wakes(&mut self, from: Wait) {
        if let Phase::Answering { wait, .. } = &mut self.phase
            && *wait == from
        {
            *wait = Wait::Nothing;
        }
    }

    fn resolving(&mut self) {
        if let Phase::Deciding(request, _) = self.phase {
            self.phase = Phase::Resolving(request);
        }
    }

    fn arrived(&mut self) {
        match self.phase {
            Phase::Resolving(request) => self.phase = Phase::Deciding(request, Cause::Resolved),
            Phase::Answering { .. } => {
                self.wakes(Wait::Bytes);
                self.wakes(Wait::Turn);
            }
            _ => {}
        }
    }

    fn answering(&mut self, keep_alive: bool, now: Time) {
        if let Phase::Deciding(request, _) | Phase::Refusing(request, ..) = self.phase {
            self.since = now;
            self.phase = Phase::Answering {
                request,
                keep_alive: self.may_keep(keep_alive),
                begun: false,
                wait: Wait::Nothing,
            };
        }
    }

    fn done(&mut self, now: Time) {
        let Phase::Answering {
            request,
            keep_alive,
            ..
        } = self.phase
        else {
            return;
        };
        self.served = true;
        self.forget = request.head_bytes;
        self.searched = 0;
        self.head_begun = false;
        self.since = now;
        self.phase = if keep_alive {
            Phase::Reading
        } else {
            Phase::Lingering { said: false }
        };
    }

    fn failed(&mut self, failure: Failure) {
        let Phase::Answering {
            mut request, begun, ..
        } = self.phase
        else {
            return;
        };
        match failure.remedy {
            Remedy::Again if request.failures == 0 => {
                request.failures += 1;
                if let Phase::Answering {
                    request: at_hand,
                    wait,
                    ..
                } = &mut self.phase
                {
                    *at_hand = request;
                    *wait = Wait::Nothing;
                }
            }
            _ if begun => self.leave(Leave::Close { cut: true }),
            Remedy::Anew if !request.resolved_anew => {
                request.resolved_anew = true;
                self.phase = Phase::Deciding(request, Cause::Changed);
            }
            _ => self.phase = Phase::Refusing(request, failure.status, failure.reason),
        }
    }

    fn late(&mut self) {
        match self.phase {
            Phase::Resolving(request)
            | Phase::Answering {
                request,
                begun: false,
                wait: Wait::Bytes,
                ..
            } => {
                self.phase = Phase::Refusing(
                    request,
                    503,
                    "the origin has not answered in time; try again",
                );
            }
            Phase::Answering { wait, .. } => self.leave(Leave::Close {
                cut: wait == Wait::Bytes,
            }),
            _ => self.leave(Leave::Close { cut: false }),
        }
    }
}

#[cfg(test)]
mod tests;
