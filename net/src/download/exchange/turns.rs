//! Who asks an origin where several want the same of it. The rule: one asks and the others wait for what it learns; what
//! is for one client alone makes nobody wait.

use super::super::Inner;
use larder_content::UrlKey;
use larder_proto::time::Time;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long it is remembered that the answers to a URL are for one client each, so that those who ask do not wait for
/// each other. One bad answer must not keep an object out of the store for longer.
const ALONE_FOR: Duration = Duration::from_secs(5);

/// How many of these are remembered.
const REMEMBERED_MAX: usize = 4096;

/// What those who waited are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// Look again: it may be stored now.
    Again,
    /// Ask for yourself.
    Alone,
}

/// What somebody who wants to ask is to do.
pub(crate) enum Turn {
    /// Ask, and tell the others.
    Mine(Asking),
    /// Wait for the one who asks.
    Others(watch::Receiver<Option<Told>>),
    /// Ask for yourself.
    Alone,
}

/// Those who ask.
#[derive(Default)]
pub(in crate::download) struct Turns {
    under_way: Mutex<HashMap<UrlKey, watch::Receiver<Option<Told>>>>,
    alone: Mutex<HashMap<UrlKey, Time>>,
}

/// The duty to tell those who wait. Dropped, they are told to look again.
pub(crate) struct Asking {
    inner: Arc<Inner>,
    key: UrlKey,
    tell: watch::Sender<Option<Told>>,
}

impl Asking {
    /// Tells all who wait.
    pub(crate) fn tell(self, told: Told) {
        if told == Told::Alone {
            self.inner.turns.remember(self.key, self.inner.clock.now());
        }
        self.say(told);
    }

    /// Those who ask from now on find what the store has.
    fn say(&self, told: Told) {
        self.inner.turns.under_way.lock().remove(&self.key);
        self.tell.send_if_modified(|said| {
            let first = said.is_none();
            if first {
                *said = Some(told);
            }
            first
        });
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // Where it has told already, another may be asking by now.
        if self.tell.borrow().is_none() {
            self.say(Told::Again);
        }
    }
}

impl Turns {
    fn remember(&self, key: UrlKey, now: Time) {
        let mut alone = self.alone.lock();
        if alone.len() >= REMEMBERED_MAX {
            alone.retain(|_, until| now < *until);
        }
        if alone.len() < REMEMBERED_MAX {
            alone.insert(key, now + ALONE_FOR);
        }
    }
}

impl super::Download {
    /// Asks for the turn to put the question of `key`.
    pub(crate) fn turn(&self, key: UrlKey) -> Turn {
        self.0.turn(key)
    }
}

impl Inner {
    /// Asks for the turn to put the question of `key`.
    pub(in crate::download) fn turn(self: &Arc<Self>, key: UrlKey) -> Turn {
        let until = self.turns.alone.lock().get(&key).copied();
        if until.is_some_and(|until| self.clock.now() < until) {
            return Turn::Alone;
        }
        let mut under_way = self.turns.under_way.lock();
        if let Some(told) = under_way.get(&key) {
            self.figures().coalesced.increment(1);
            return Turn::Others(told.clone());
        }
        let (tell, told) = watch::channel(None);
        under_way.insert(key, told);
        Turn::Mine(Asking {
            inner: Arc::clone(self),
            key,
            tell,
        })
    }
}
