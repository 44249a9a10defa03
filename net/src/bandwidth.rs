//! What is downloaded, held to the policies. The rule: whoever reads off a connection to an origin, a cache host or a peer
//! has an [`Allowance`], and reads no byte that it was not granted; a pause that this makes is no stall of the other side.
//!
//! What holds is decided by [`larder_proto::bandwidth`]; here are the clock and the waiting, in `sockets` the windows of a
//! background that yields. New settings are looked for
//! at each step, and the schedule each second.

mod sockets;

use crate::clock::Clock;
use crate::settings::Settings;
use arc_swap::ArcSwap;
use larder_proto::bandwidth::{Flow, Governor};
use larder_proto::bucket::Take;
use larder_proto::policy::Priority;
use larder_proto::policy::bandwidth::Limit;
use larder_proto::time::Time;
use parking_lot::{Mutex, MutexGuard};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

pub(crate) use sockets::Socket;
use sockets::Sockets;

/// Who is told to come back later asks again so soon at least: what it waits for may be over by then.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How often it is looked whether other hours have begun.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Downloads that have no content are told apart by numbers from here on.
const NAMELESS: u64 = 1 << 63;

/// All that this process downloads; clones share it.
#[derive(Clone)]
pub(crate) struct Bandwidth(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    settings: Arc<ArcSwap<Settings>>,
    clock: Clock,
    nameless: AtomicU64,
}

struct State {
    governor: Governor,
    /// By which the governor was set last.
    settings: Option<Arc<Settings>>,
    look_at: Time,
    sockets: Sockets,
}

impl Bandwidth {
    pub(crate) fn new(settings: Arc<ArcSwap<Settings>>) -> Self {
        let clock = Clock::start();
        let state = State {
            governor: Governor::new(clock.now()),
            settings: None,
            look_at: Time::default(),
            sockets: Sockets::default(),
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            settings,
            clock,
            nameless: AtomicU64::new(NAMELESS),
        }))
    }

    /// For one connection, whose bytes come by the line to the world, or from a peer of the LAN.
    pub(crate) fn allowance(&self, priority: Priority, by_line: bool) -> Allowance {
        let no = self.0.nameless.fetch_add(1, Ordering::Relaxed);
        Allowance {
            bandwidth: self.clone(),
            no,
            socket: Weak::new(),
            watched: false,
            flow: Flow {
                download: no,
                priority,
                by_line,
            },
            left: 0,
            owed: 0,
            pause: None,
        }
    }

    /// What the line was measured to bring, in bytes a second; None where that was never wanted.
    pub(crate) fn available(&self) -> Option<u64> {
        self.0.state.lock().governor.available()
    }

    /// The present state, under the settings and the schedule of now.
    fn state(&self, now: Time) -> MutexGuard<'_, State> {
        let mut state = self.0.state.lock();
        let settings = self.0.settings.load();
        let is_same = state
            .settings
            .as_ref()
            .is_some_and(|seen| Arc::ptr_eq(seen, &settings));
        if !is_same || now >= state.look_at {
            let unix = self.0.clock.unix();
            if state.governor.set(&settings.policies, unix, now) {
                tell(state.governor.limits().all());
            }
            state.settings = Some(Arc::clone(&settings));
            state.look_at = now + LOOK_EVERY;
        }
        state
    }
}

fn tell(limits: &[Limit]) {
    let words: Vec<_> = limits.iter().map(ToString::to_string).collect();
    if words.is_empty() {
        tracing::info!("downloads are not limited any more");
    } else {
        tracing::info!("downloads are limited from now on: {}", words.join("; "));
    }
}

/// What one connection may read.
pub(crate) struct Allowance {
    bandwidth: Bandwidth,
    /// Which one it is.
    no: u64,
    /// What its bytes come on.
    socket: Weak<Socket>,
    /// It is of the background, which yields.
    watched: bool,
    flow: Flow,
    /// Granted, and not read yet.
    left: u64,
    /// Read, and not granted yet: of a frame nobody knows how long it will be.
    owed: u64,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Allowance {
    /// Which download it is part of, and whether somebody waits for that.
    pub(crate) fn belongs_to(&mut self, download: u64, priority: Priority) {
        let download = download & !NAMELESS;
        if self.flow.download != download || self.flow.priority != priority {
            self.give_back();
            (self.flow.download, self.flow.priority) = (download, priority);
            // Whoever waits is not to wait for what the background was told.
            self.pause = None;
            self.watch();
        }
    }

    /// Its bytes come on this connection.
    pub(crate) fn comes_on(&mut self, socket: &Arc<Socket>) {
        self.socket = Arc::downgrade(socket);
        self.watch();
    }

    /// A background that comes by the line yields to others; whoever waits for something does not.
    fn watch(&mut self) {
        let Some(socket) = self.socket.upgrade() else {
            return;
        };
        let yields = self.flow.by_line && self.flow.priority == Priority::Background;
        if yields && !self.watched {
            let now = self.bandwidth.0.clock.now();
            let mut state = self.bandwidth.state(now);
            let State {
                governor, sockets, ..
            } = &mut *state;
            sockets.add(self.no, &socket, governor, now);
        } else if !yields {
            self.forget();
            socket.let_go();
        }
        self.watched = yields;
    }

    fn forget(&mut self) {
        if std::mem::take(&mut self.watched) {
            self.bandwidth.0.state.lock().sockets.remove(self.no);
        }
    }

    /// How many bytes may be read now; at least one, and at most `want`. What is read is told by [`Allowance::came`].
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, want: usize) -> Poll<usize> {
        let want = u64::try_from(want).unwrap_or(u64::MAX).max(1);
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            if self.owed == 0 && self.left > 0 {
                let most = self.left.min(want);
                return Poll::Ready(usize::try_from(most).unwrap_or(usize::MAX));
            }
            let now = self.bandwidth.0.clock.now();
            let asked = if self.owed > 0 { self.owed } else { want };
            let take = self
                .bandwidth
                .state(now)
                .governor
                .take(&self.flow, asked, now);
            match take {
                Take::Granted(bytes) if self.owed > 0 => {
                    self.owed = self.owed.saturating_sub(bytes);
                }
                Take::Granted(bytes) => self.left = bytes,
                Take::Later(at) => {
                    self.pause = Some(Box::pin(tokio::time::sleep(at.since(now).min(PAUSE_MAX))));
                }
            }
        }
    }

    /// So many bytes were read.
    pub(crate) fn came(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.owed = self.owed.saturating_add(bytes.saturating_sub(self.left));
        self.left = self.left.saturating_sub(bytes);
        let now = self.bandwidth.0.clock.now();
        let mut state = self.bandwidth.0.state.lock();
        let State {
            governor, sockets, ..
        } = &mut *state;
        governor.came(&self.flow, bytes, now);
        match self.flow.priority {
            Priority::Background if self.watched => sockets.look(governor, now),
            Priority::Background => {}
            Priority::Foreground => sockets.make_way(governor, now),
        }
    }

    fn give_back(&mut self) {
        if self.left > 0 {
            let mut state = self.bandwidth.0.state.lock();
            state.governor.give_back(&self.flow, self.left);
            self.left = 0;
        }
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        self.give_back();
        self.forget();
    }
}
