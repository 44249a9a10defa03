//! Who may ask for blocks, where not everybody may at once. The rule: nobody who wants something waits for ever, and
//! whoever holds a slot keeps it for a whole turn, so that a change of hands is worth what it costs.
//!
//! Those who upload nothing to us can not be told apart by what they give, so slots go round: every
//! [`TURN`] the one that has held its slot longest gives it up to the one that has waited longest; every third time to
//! any of those who wait, by chance: the optimistic slot, by which a newcomer in a long line is served soon.

use crate::time::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// How long a slot is held while others wait.
pub const TURN: Duration = Duration::from_secs(10);

/// Every so many turns, chance decides.
const OPTIMISTIC: u32 = 3;

/// What is to be told to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told<K> {
    /// It may ask.
    Unchoke(K),
    /// It may not.
    Choke(K),
}

/// The slots of one thread, and who wants them. `K` names a peer.
#[derive(Debug)]
pub struct Choker<K> {
    /// None: everybody has one.
    slots: Option<usize>,
    holding: VecDeque<K>,
    waiting: VecDeque<K>,
    turns: u32,
    next: Time,
    random: u64,
}

impl<K: Copy + PartialEq> Choker<K> {
    /// So many slots; None: everybody has one. `seed` is what chance begins with.
    #[must_use]
    pub fn new(slots: Option<usize>, seed: u64) -> Self {
        Self {
            slots,
            holding: VecDeque::new(),
            waiting: VecDeque::new(),
            turns: 0,
            next: Time::default(),
            random: seed | 1,
        }
    }

    /// From now on there are so many slots.
    pub fn set_slots(&mut self, slots: Option<usize>, now: Time, told: &mut Vec<Told<K>>) {
        self.slots = slots;
        while self.holding.len() > self.slots_max() {
            let Some(last) = self.holding.pop_back() else {
                break;
            };
            self.waiting.push_front(last);
            told.push(Told::Choke(last));
        }
        self.fill(now, told);
    }

    fn slots_max(&self) -> usize {
        self.slots.unwrap_or(usize::MAX)
    }

    /// Whether a peer wants something.
    pub fn interested(&mut self, peer: K, wants: bool, now: Time, told: &mut Vec<Told<K>>) {
        if !wants {
            if self.leaves(peer, now, told) {
                told.push(Told::Choke(peer));
            }
            return;
        }
        if !self.holding.contains(&peer) && !self.waiting.contains(&peer) {
            self.waiting.push_back(peer);
            self.fill(now, told);
        }
    }

    /// A peer is gone.
    pub fn gone(&mut self, peer: K, now: Time, told: &mut Vec<Told<K>>) {
        self.leaves(peer, now, told);
    }

    /// True where it had a slot.
    fn leaves(&mut self, peer: K, now: Time, told: &mut Vec<Told<K>>) -> bool {
        if let Some(at) = self.holding.iter().position(|held| *held == peer) {
            self.holding.remove(at);
            self.fill(now, told);
            return true;
        }
        self.waiting.retain(|waiting| *waiting != peer);
        false
    }

    /// Gives free slots to those who wait longest.
    fn fill(&mut self, now: Time, told: &mut Vec<Told<K>>) {
        while self.holding.len() < self.slots_max()
            && let Some(first) = self.waiting.pop_front()
        {
            self.holding.push_back(first);
            told.push(Told::Unchoke(first));
        }
        if !self.waiting.is_empty() && self.next <= now {
            self.next = now + TURN;
        }
    }

    /// When [`Choker::tick`] is due; None while nobody waits.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        (!self.waiting.is_empty() && !self.holding.is_empty()).then_some(self.next)
    }

    /// The moment of [`Choker::deadline`] may have come.
    pub fn tick(&mut self, now: Time, told: &mut Vec<Told<K>>) {
        if self.deadline().is_none_or(|due| now < due) {
            return;
        }
        self.next = now + TURN;
        self.turns = self.turns.wrapping_add(1);
        let chosen = if self.turns.is_multiple_of(OPTIMISTIC) {
            self.chance(self.waiting.len())
        } else {
            0
        };
        if let (Some(next), Some(last)) = (self.waiting.remove(chosen), self.holding.pop_front()) {
            self.waiting.push_back(last);
            self.holding.push_back(next);
            told.push(Told::Choke(last));
            told.push(Told::Unchoke(next));
        }
    }

    /// A number below `below`, by xorshift.
    fn chance(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let below = u64::try_from(below).unwrap_or(u64::MAX).max(1);
        // Below the number of those who wait, which is a usize.
        usize::try_from(self.random % below).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn without_a_limit_everybody_has_a_slot_at_once() {
        let (mut choker, mut told) = (Choker::new(None, 7), Vec::new());
        for peer in 0..100 {
            choker.interested(peer, true, at(0), &mut told);
            choker.interested(peer, true, at(0), &mut told);
        }
        assert_eq!(told, (0..100).map(Told::Unchoke).collect::<Vec<_>>());
        assert_eq!(choker.deadline(), None);
        told.clear();
        choker.interested(5, false, at(1), &mut told);
        assert_eq!(told, [Told::Choke(5)]);
    }

    #[test]
    fn everybody_has_a_turn() {
        let (mut choker, mut told) = (Choker::new(Some(2), 7), Vec::new());
        for peer in 0..20 {
            choker.interested(peer, true, at(0), &mut told);
        }
        assert_eq!(told, [Told::Unchoke(0), Told::Unchoke(1)]);
        let mut served = HashSet::new();
        let mut seconds = 0;
        while served.len() < 20 {
            seconds += 1;
            assert!(seconds < 20 * 10 * 3, "{served:?} alone were served");
            told.clear();
            choker.tick(at(seconds), &mut told);
            assert!(told.is_empty() || seconds % 10 == 0, "a turn is a turn");
            served.extend(told.iter().filter_map(|told| match told {
                Told::Unchoke(peer) => Some(*peer),
                Told::Choke(_) => None,
            }));
        }
    }

    #[test]
    fn a_slot_that_becomes_free_goes_to_the_next() {
        let (mut choker, mut told) = (Choker::new(Some(1), 7), Vec::new());
        for peer in [1, 2, 3] {
            choker.interested(peer, true, at(0), &mut told);
        }
        told.clear();
        choker.gone(2, at(1), &mut told);
        assert!(told.is_empty(), "it only waited");
        choker.gone(1, at(1), &mut told);
        assert_eq!(told, [Told::Unchoke(3)]);
        told.clear();
        choker.interested(4, true, at(2), &mut told);
        choker.set_slots(Some(2), at(2), &mut told);
        assert_eq!(told, [Told::Unchoke(4)]);
        told.clear();
        choker.set_slots(Some(1), at(3), &mut told);
        assert_eq!(told, [Told::Choke(4)]);
    }

    proptest! {
        /// What is told adds up: never more than the slots hold, and nobody is told twice.
        #[test]
        fn slots_are_never_overdrawn(
            slots in 0..4_usize,
            seed in any::<u64>(),
            steps in prop::collection::vec((0..4_u8, 0..8_u8, 0..15_u64), 1..200),
        ) {
            let mut choker = Choker::new(Some(slots), seed);
            let (mut holders, mut now) = (HashSet::new(), 0);
            for (kind, peer, seconds) in steps {
                now += seconds;
                let mut told = Vec::new();
                match kind {
                    0 => choker.interested(peer, true, at(now), &mut told),
                    1 => choker.interested(peer, false, at(now), &mut told),
                    2 => {
                        choker.gone(peer, at(now), &mut told);
                        holders.remove(&peer);
                    }
                    _ => choker.tick(at(now), &mut told),
                }
                // A slot is told free before it is told taken, but for one that is given up.
                for told in &told {
                    if let Told::Choke(peer) = told {
                        prop_assert!(holders.remove(peer));
                    }
                }
                for told in &told {
                    if let Told::Unchoke(peer) = told {
                        prop_assert!(holders.insert(*peer));
                    }
                }
                prop_assert!(holders.len() <= slots);
            }
        }
    }
}
