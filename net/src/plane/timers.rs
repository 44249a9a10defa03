//! When connections are due: a coarse wheel. The rule: nobody is woken early, and nobody later than one tick plus the
//! turn of the loop; who moved its deadline meanwhile looks again when woken, so that moving one costs nothing.

use larder_proto::time::Time;
use larder_storage::driver::Token;
use std::time::Duration;

/// How coarse it is. Clients count in seconds.
const TICK_MICROS: u64 = 20_000;

/// About 41 s; a later deadline is looked at once in between.
const SLOTS: u64 = 2048;

/// How far ahead a wait is planned: a shard turns at least once a second.
const LOOK_TICKS: u64 = 50;

/// The wheel of one shard.
#[derive(Debug)]
pub(crate) struct Timers {
    slots: Vec<Vec<Token>>,
    /// The first tick that was not looked at yet.
    tick: u64,
}

impl Timers {
    /// An empty wheel that begins at `now`.
    pub(crate) fn new(now: Time) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            tick: now.as_micros() / TICK_MICROS,
        }
    }

    /// Wakes `token` once, at `due` or before: then it is to say when it is due really.
    pub(crate) fn arm(&mut self, token: Token, due: Time) {
        let tick = due.as_micros().div_ceil(TICK_MICROS);
        let tick = tick.clamp(self.tick, self.tick + SLOTS - 1);
        self.slot(tick).push(token);
    }

    /// Moves all whose time has come to `out`.
    pub(crate) fn expired(&mut self, now: Time, out: &mut Vec<Token>) {
        let last = now.as_micros() / TICK_MICROS;
        // After a long pause each slot is looked at once.
        self.tick = self.tick.max(last.saturating_sub(SLOTS - 1));
        while self.tick <= last {
            let tick = self.tick;
            out.append(self.slot(tick));
            self.tick += 1;
        }
    }

    /// How long to wait at most.
    pub(crate) fn patience(&self, now: Time) -> Duration {
        let next =
            (self.tick..self.tick + LOOK_TICKS).find(|tick| !self.slots[at(*tick)].is_empty());
        let tick = next.unwrap_or(self.tick + LOOK_TICKS);
        Time::from_micros(tick * TICK_MICROS).since(now)
    }

    fn slot(&mut self, tick: u64) -> &mut Vec<Token> {
        &mut self.slots[at(tick)]
    }
}

fn at(tick: u64) -> usize {
    // Below SLOTS, which fits.
    (tick % SLOTS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    proptest! {
        /// Against a list that is looked through.
        #[test]
        fn who_looks_again_when_woken_is_woken_when_due(
            dues in prop::collection::vec(0..120_000u64, 1..40),
            steps in prop::collection::vec(1..3000u64, 1..200),
        ) {
            let mut timers = Timers::new(ms(0));
            for (token, due) in (0..).zip(&dues) {
                timers.arm(Token(token), ms(*due));
            }
            let (mut now, mut woken) = (0, Vec::new());
            let mut waiting: Vec<usize> = (0..dues.len()).collect();
            for step in steps {
                let patience = timers.patience(ms(now));
                prop_assert!(patience <= Duration::from_millis(1020));
                now += step;
                timers.expired(ms(now), &mut woken);
                for token in woken.drain(..) {
                    let index = token.0 as usize;
                    if dues[index] <= now {
                        waiting.retain(|w| *w != index);
                    } else {
                        timers.arm(token, ms(dues[index]));
                    }
                }
                prop_assert!(waiting.iter().all(|w| dues[*w] + 20 > now), "late at {now}: {waiting:?}");
            }
        }
    }
}
