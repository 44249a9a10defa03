//! Who may read how much, under all limits together. The rule: a foreground that wants more is given it before any
//! background is, and downloads of one kind that want more are given alike, however many connections each of them has.
//!
//! While a foreground takes all that there is, the background is left a twentieth, and no more than the minimum that the
//! policies promise it (seed: Minimum Background QoS): its servers would close connections that stand still.

use super::level::Level;
use crate::bucket::Take;
use crate::policy::Priority;
use crate::policy::bandwidth::Rates;
use crate::policy::settings::PerPriority;
use crate::time::Time;
use std::collections::HashMap;
use std::time::Duration;

/// For so long after it asked, a foreground is taken to want more.
const FOREGROUND_HOLDS: Duration = Duration::from_millis(100);

/// So many steps are left to it meanwhile.
const RESERVED_STEPS: u64 = 2;

/// The background's part while a foreground takes all.
const TRICKLE_PART: u64 = 20;

/// By so much somebody who is to come back may be late.
const LATE: Duration = Duration::from_millis(50);

/// Whoever was not heard of for so long begins anew.
const AWAY: Duration = Duration::from_secs(1);

/// So many downloads are remembered before those that are away are forgotten.
const REMEMBERED_MAX: usize = 256;

/// Who reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// Which download it is part of.
    pub download: u64,
    /// Whether somebody waits for it.
    pub priority: Priority,
    /// It comes by the line to the world; else from a peer of the LAN.
    pub by_line: bool,
}

/// The one budget.
#[derive(Debug)]
pub struct Budget {
    all: Level,
    line: Level,
    foreground: Level,
    background: Level,
    /// What the background gets though a foreground wants all.
    trickle: Level,
    /// When a foreground asked last: by the line, and of peers of the LAN.
    asked: [Option<Time>; 2],
    /// One for each priority and way.
    turns: HashMap<(Priority, bool), Turns>,
    rates: Rates,
}

/// Those of one kind.
#[derive(Debug, Default)]
struct Turns {
    of: HashMap<u64, Turn>,
    /// What the last was given before it was its turn: where everybody who wants more stands.
    reached: u64,
}

/// A download's turn among those of its kind.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// What it was given, or what would put it beside the others.
    given: u64,
    asked_at: Time,
    /// It was refused, and comes back then.
    back_at: Option<Time>,
}

impl Budget {
    /// Without limits.
    #[must_use]
    pub fn new(now: Time) -> Self {
        let level = Level::new(now);
        Self {
            all: level,
            line: level,
            foreground: level,
            background: level,
            trickle: level,
            asked: [None; 2],
            turns: HashMap::new(),
            rates: Rates::default(),
        }
    }

    /// These limits hold from now on. `background_min` is what the background is promised, in bytes a second.
    pub fn set_rates(&mut self, rates: Rates, background_min: u64, now: Time) {
        self.rates = rates;
        self.all.set_rate(rates.all, now);
        self.line.set_rate(rates.line, now);
        self.foreground.set_rate(rates.foreground, now);
        self.background.set_rate(rates.background, now);
        let shared = [rates.all, rates.line].into_iter().filter(|rate| *rate > 0);
        let part = shared.min().map_or(0, |rate| rate / TRICKLE_PART);
        let trickle = match (part, background_min) {
            (0, _) => 0,
            (part, 0) => part,
            (part, promised) => part.min(promised),
        };
        self.trickle.set_rate(trickle, now);
    }

    /// The limits that hold.
    #[must_use]
    pub const fn rates(&self) -> Rates {
        self.rates
    }

    /// At most `want` bytes for a flow.
    pub fn take(&mut self, flow: &Flow, want: u64, now: Time) -> Take {
        let scopes = Self::scopes(flow);
        let limited = scopes.iter().filter(|scope| self.of(**scope).is_limit());
        let Some(step) = limited.map(|scope| self.of(*scope).step()).min() else {
            return Take::Granted(want.max(1));
        };
        if flow.priority == Priority::Foreground {
            self.asked[usize::from(flow.by_line)] = Some(now);
        }
        let want = want.clamp(1, step);
        if let Some(at) = self.others_turn(flow, step, now) {
            return self.refuse(flow, at, now);
        }
        let mut at = now;
        for scope in scopes {
            let reserved = self.reserved(*scope, flow, now);
            let level = self.level(*scope);
            // Never more than it can hold, so that whoever waits is given it some time.
            let needed = (want + reserved * level.step()).min(level.holds());
            if level.is_limit() && level.there(now) < needed {
                let when = level.when(needed, now);
                at = at.max(when).max(now + Duration::from_micros(1));
            }
        }
        if at > now {
            let little = want.min(self.trickle.step());
            if self.trickles(flow, little, now) {
                return self.grant(flow, little, now);
            }
            return self.refuse(flow, at, now);
        }
        self.grant(flow, want, now)
    }

    /// Bytes that were taken are not read after all.
    pub fn give_back(&mut self, flow: &Flow, bytes: u64) {
        for scope in Self::scopes(flow) {
            self.level(*scope).give_back(bytes);
        }
        let turns = self.turns.get_mut(&(flow.priority, flow.by_line));
        if let Some(turn) = turns.and_then(|turns| turns.of.get_mut(&flow.download)) {
            turn.given = turn.given.saturating_sub(bytes);
        }
    }

    /// So many bytes came by the line within this time while its percentages did not hold: what was too much is paid
    /// back.
    pub fn charge(&mut self, came: PerPriority<u64>, within: Duration) {
        let micros = u64::try_from(within.as_micros()).unwrap_or(u64::MAX);
        let excess = |rate: u64, came: u64| {
            let fair = u128::from(rate) * u128::from(micros) / 1_000_000;
            came.saturating_sub(u64::try_from(fair).unwrap_or(u64::MAX))
        };
        let PerPriority {
            foreground,
            background,
        } = came;
        let both = foreground.saturating_add(background);
        self.line.take(excess(self.rates.line, both));
        self.foreground
            .take(excess(self.rates.foreground, foreground));
        self.background
            .take(excess(self.rates.background, background));
    }

    fn grant(&mut self, flow: &Flow, bytes: u64, now: Time) -> Take {
        for scope in Self::scopes(flow) {
            self.level(*scope).take(bytes);
        }
        let turn = self.turn(flow, now);
        let before = turn.given;
        turn.given = before.saturating_add(bytes);
        turn.asked_at = now;
        if let Some(turns) = self.turns.get_mut(&(flow.priority, flow.by_line)) {
            turns.reached = turns.reached.max(before);
        }
        Take::Granted(bytes)
    }

    fn refuse(&mut self, flow: &Flow, at: Time, now: Time) -> Take {
        let turn = self.turn(flow, now);
        turn.asked_at = now;
        turn.back_at = Some(turn.back_at.map_or(at, |back| back.max(at)));
        Take::Later(at)
    }

    /// A background is given what it is left though a foreground wants all.
    fn trickles(&mut self, flow: &Flow, bytes: u64, now: Time) -> bool {
        let held = flow.priority == Priority::Background
            && self.trickle.is_limit()
            && [Scope::All, Scope::Line]
                .into_iter()
                .any(|scope| self.reserved(scope, flow, now) > 0)
            && self.trickle.there(now) >= bytes;
        if held {
            self.trickle.take(bytes);
        }
        held
    }

    /// Steps of a limit that are left to a foreground.
    fn reserved(&self, scope: Scope, flow: &Flow, now: Time) -> u64 {
        if flow.priority == Priority::Foreground {
            return 0;
        }
        let recent = |asked: Option<Time>| asked.is_some_and(|at| now < at + FOREGROUND_HOLDS);
        let wanted = match scope {
            Scope::All => self.asked.into_iter().any(recent),
            Scope::Line => recent(self.asked[1]),
            _ => false,
        };
        if wanted { RESERVED_STEPS } else { 0 }
    }

    /// When somebody else of its kind comes back who was given less.
    fn others_turn(&mut self, flow: &Flow, step: u64, now: Time) -> Option<Time> {
        let given = self.turn(flow, now).given;
        let turns = self.turns.get(&(flow.priority, flow.by_line))?;
        let others = turns.of.iter().filter(|(download, turn)| {
            **download != flow.download && turn.given.saturating_add(step) <= given
        });
        let back = others.filter_map(|(_, turn)| turn.back_at);
        let back = back.filter(|at| now <= *at + LATE);
        let at = back.min()?;
        Some(at.max(now + Duration::from_millis(1)))
    }

    fn turn(&mut self, flow: &Flow, now: Time) -> &mut Turn {
        let Turns { of, reached } = self.turns.entry((flow.priority, flow.by_line)).or_default();
        if of.len() > REMEMBERED_MAX {
            of.retain(|_, turn| now < turn.asked_at + AWAY);
        }
        let turn = of.entry(flow.download).or_insert(Turn {
            given: *reached,
            asked_at: now,
            back_at: None,
        });
        // Whoever was not kept waiting has nothing to catch up with.
        let waits = turn.back_at.is_some_and(|at| now <= at + LATE);
        if !waits {
            turn.given = turn.given.max(*reached);
        }
        turn
    }

    /// What a flow is under.
    const fn scopes(flow: &Flow) -> &'static [Scope] {
        use Scope::{All, Background, Foreground, Line};
        match flow.priority {
            _ if !flow.by_line => &[All],
            Priority::Foreground => &[All, Line, Foreground],
            Priority::Background => &[All, Line, Background],
        }
    }

    const fn of(&self, scope: Scope) -> &Level {
        match scope {
            Scope::All => &self.all,
            Scope::Line => &self.line,
            Scope::Foreground => &self.foreground,
            Scope::Background => &self.background,
        }
    }

    const fn level(&mut self, scope: Scope) -> &mut Level {
        match scope {
            Scope::All => &mut self.all,
            Scope::Line => &mut self.line,
            Scope::Foreground => &mut self.foreground,
            Scope::Background => &mut self.background,
        }
    }
}

/// One of the limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scope {
    All,
    Line,
    Foreground,
    Background,
}
