//! Which units of the memory tier are taken: runs of 1 to 16 units inside groups of 16, under an exact budget.
//! The rule: a run is refused for want of budget only, never because the free units lie scattered.
//!
//! That holds because addresses cost nothing: there may be as many groups as the budget has units. If a run of `k`
//! units fits the budget, fewer groups than that have any unit taken, so a wholly free group is left for it.

/// Units in a group: a run never crosses the border of a group.
pub(super) const GROUP_UNITS: u32 = 16;

/// One group's units.
struct Group {
    /// One bit a unit, set where taken.
    taken: u16,
    /// Where the group stands in the list of its longest free run.
    place: u32,
}

/// The books of taken and free units.
pub(super) struct Units {
    /// The groups used so far; more are begun when these have no room.
    groups: Vec<Group>,
    /// Group numbers by the length of their longest free run, so that a run goes where it fits most closely.
    by_run: [Vec<u32>; 17],
    used: u32,
    max: u32,
}

impl Units {
    pub(super) fn new(max: u32) -> Self {
        Units {
            groups: Vec::new(),
            by_run: Default::default(),
            used: 0,
            max,
        }
    }

    pub(super) fn used(&self) -> u32 {
        self.used
    }

    /// Takes `count` (1..=16) units in a row and says where they begin.
    pub(super) fn take(&mut self, count: u32) -> Option<u32> {
        debug_assert!((1..=GROUP_UNITS).contains(&count));
        if count > self.max - self.used {
            return None;
        }
        let fitting = self.by_run[count as usize..]
            .iter()
            .find_map(|list| list.last().copied());
        let group = match fitting {
            Some(group) => group,
            None => self.begin_group()?,
        };
        let at = first_run(self.groups[group as usize].taken, count)?;
        self.change(group, |taken| taken | mask(at, count));
        self.used += count;
        Some(group * GROUP_UNITS + at)
    }

    /// Gives a run back that `take` gave.
    pub(super) fn give(&mut self, first: u32, count: u32) {
        let (group, at) = (first / GROUP_UNITS, first % GROUP_UNITS);
        debug_assert_eq!(
            self.groups[group as usize].taken & mask(at, count),
            mask(at, count),
            "units given back that were not taken"
        );
        self.change(group, |taken| taken & !mask(at, count));
        self.used -= count;
    }

    fn begin_group(&mut self) -> Option<u32> {
        let group = u32::try_from(self.groups.len()).ok()?;
        // The head of this file says why this does not happen; the mapping ends here, so it is checked all the same.
        if group >= self.max {
            return None;
        }
        let list = &mut self.by_run[GROUP_UNITS as usize];
        self.groups.push(Group {
            taken: 0,
            place: list.len() as u32,
        });
        list.push(group);
        Some(group)
    }

    fn change(&mut self, group: u32, to: impl FnOnce(u16) -> u16) {
        let Group { taken: old, place } = self.groups[group as usize];
        let list = &mut self.by_run[longest_run(old) as usize];
        list.swap_remove(place as usize);
        if let Some(&moved) = list.get(place as usize) {
            self.groups[moved as usize].place = place;
        }
        let new = to(old);
        let list = &mut self.by_run[longest_run(new) as usize];
        self.groups[group as usize] = Group {
            taken: new,
            place: list.len() as u32,
        };
        list.push(group);
    }
}

fn mask(at: u32, count: u32) -> u16 {
    ((((1u32 << count) - 1) << at) & 0xffff) as u16
}

/// The length of the longest run of free units.
fn longest_run(taken: u16) -> u32 {
    let mut free = !taken;
    let mut run = 0;
    while free != 0 {
        free &= free << 1;
        run += 1;
    }
    run
}

/// Where the first run of `count` free units begins.
fn first_run(taken: u16, count: u32) -> Option<u32> {
    let free = u32::from(!taken);
    let mut begins = free;
    for ahead in 1..count {
        begins &= free >> ahead;
    }
    (begins != 0).then(|| begins.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_run_fits_however_scattered_the_free_units_are() {
        let mut units = Units::new(64);
        let ones: Vec<u32> = (0..64).filter_map(|_| units.take(1)).collect();
        assert_eq!(ones.len(), 64);
        assert_eq!(units.take(1), None);
        // Three of every four go back, so that no run of four is free among these groups.
        for unit in ones.iter().filter(|unit| *unit % 4 != 0) {
            units.give(*unit, 1);
        }
        assert_eq!(units.used(), 16);
        for _ in 0..3 {
            assert!(units.take(16).is_some());
        }
        assert_eq!(units.used(), 64);
        assert_eq!(units.take(1), None);
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_list_of_units(max in 1u32..200, steps in prop::collection::vec((any::<bool>(), 1u32..=16, any::<prop::sample::Index>()), 1..300)) {
            let mut units = Units::new(max);
            let mut plain = vec![false; (max * GROUP_UNITS) as usize];
            let mut held: Vec<(u32, u32)> = Vec::new();
            for (take, count, which) in steps {
                if take {
                    let used = plain.iter().filter(|taken| **taken).count() as u32;
                    let got = units.take(count);
                    prop_assert_eq!(got.is_some(), used + count <= max);
                    if let Some(first) = got {
                        prop_assert_eq!(first / GROUP_UNITS, (first + count - 1) / GROUP_UNITS);
                        for unit in first..first + count {
                            prop_assert!(!plain[unit as usize]);
                            plain[unit as usize] = true;
                        }
                        held.push((first, count));
                    }
                } else if !held.is_empty() {
                    let (first, count) = held.swap_remove(which.index(held.len()));
                    units.give(first, count);
                    plain[first as usize..(first + count) as usize].fill(false);
                }
                prop_assert_eq!(units.used() as usize, plain.iter().filter(|taken| **taken).count());
            }
        }
    }
}
