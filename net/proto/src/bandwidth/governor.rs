//! The policies at work on what is downloaded. The rule: what holds is decided anew from policies and the time whenever
//! either has changed, and what is under way is under it from its next step on.

use super::available::Available;
use super::budget::{Budget, Flow};
use super::yielding::{Sample, Yielding};
use crate::UnixSecs;
use crate::bucket::Take;
use crate::policy::Priority;
use crate::policy::bandwidth::{Limits, Rates, limits};
use crate::policy::settings::Policies;
use crate::time::Time;
use std::time::Duration;

/// So long after its last bytes a foreground is taken to go on.
const FOREGROUND_HOLDS: Duration = Duration::from_secs(1);

/// All that a process downloads.
#[derive(Debug)]
pub struct Governor {
    budget: Budget,
    available: Available,
    limits: Limits,
    background_min: u64,
    /// It has no limit of its own.
    background_is_free: bool,
    yielding: Yielding,
    foreground_at: Option<Time>,
}

impl Governor {
    /// Without limits until the policies say otherwise.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self {
            budget: Budget::new(now),
            available: Available::default(),
            limits: Limits::default(),
            background_min: 0,
            background_is_free: true,
            yielding: Yielding::default(),
            foreground_at: None,
        }
    }

    /// These policies are in force at this moment. True where that changes a limit.
    pub fn set(&mut self, policies: &Policies, unix: UnixSecs, now: Time) -> bool {
        let new = limits(policies, unix);
        self.background_min = policies.background_bytes_s_min;
        let changed = new != self.limits;
        self.background_is_free = !new.has_own(Priority::Background);
        self.limits = new;
        self.apply(now);
        changed
    }

    /// At most `want` bytes for a flow, or when to ask again.
    pub fn take(&mut self, flow: &Flow, want: u64, now: Time) -> Take {
        if flow.by_line && self.limits.has_percentage() && self.available.begin_if_due(now) {
            self.apply(now);
        }
        self.budget.take(flow, want, now)
    }

    /// Bytes that were granted are not read after all.
    pub fn give_back(&mut self, flow: &Flow, bytes: u64) {
        self.budget.give_back(flow, bytes);
    }

    /// Bytes were read.
    pub fn came(&mut self, flow: &Flow, bytes: u64, now: Time) {
        if !flow.by_line {
            return;
        }
        if flow.priority == Priority::Foreground {
            self.foreground_at = Some(now);
            self.yielding.foreground(true);
        }
        if let Some(measured) = self.available.came(flow.priority, bytes, now) {
            self.apply(now);
            self.budget.charge(measured.came, measured.within);
        }
    }

    /// Whether the background has no limit of its own and therefore yields to whoever else wants the line.
    #[must_use]
    pub const fn yields(&self) -> bool {
        self.background_is_free
    }

    /// What was seen on the background's connections by the line since the last time. True where their windows may be
    /// others now.
    pub fn sampled(&mut self, samples: &[Sample], now: Time) -> bool {
        let recent = |at: Time| now < at + FOREGROUND_HOLDS;
        self.yielding
            .foreground(self.foreground_at.is_some_and(recent));
        self.yielding.sampled(samples, now)
    }

    /// Bytes that may be on their way on each of so many background connections by the line; None where the background
    /// does not yield.
    #[must_use]
    pub fn window(&self, connections: usize) -> Option<u64> {
        self.yields().then(|| self.yielding.share(connections))
    }

    /// Bytes a second that hold now.
    #[must_use]
    pub const fn rates(&self) -> Rates {
        self.budget.rates()
    }

    /// The limits behind them.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What the line was measured to bring, in bytes a second.
    #[must_use]
    pub fn available(&self) -> Option<u64> {
        self.available.known()
    }

    fn apply(&mut self, now: Time) {
        // What a bucket held at the beginning is no part of what the line brings under a limit.
        let all = self.limits.rates(None).all;
        let available = self.available.bytes_s();
        let available = available.map(|bytes| if all > 0 { bytes.min(all) } else { bytes });
        let rates = self.limits.rates(available);
        self.budget.set_rates(rates, self.background_min, now);
    }
}
