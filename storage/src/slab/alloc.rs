//! Which sectors of a slab are free. The rule: a sector is in one free run or in none, and neighbouring runs are one.

use std::collections::BTreeMap;

/// Free runs of sectors, by their beginnings.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: BTreeMap<u32, u32>,
    longest: u32,
    free: u32,
}

impl Runs {
    /// One run.
    pub(crate) fn new(start: u32, sectors: u32) -> Self {
        let mut runs = Self::default();
        if sectors > 0 {
            runs.give(start, sectors);
        }
        runs
    }

    /// Sectors in the longest run.
    pub(crate) fn longest(&self) -> u32 {
        self.longest
    }

    /// Bytes of memory that it takes, about: what a tree of such small things takes, half full.
    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        self.runs.len() * 24
    }

    /// Free sectors.
    pub(crate) fn free(&self) -> u32 {
        self.free
    }

    /// Takes `sectors` from the first run that has them, so that what is stored in turn lies in turn.
    pub(crate) fn take(&mut self, sectors: u32) -> Option<u32> {
        if sectors == 0 || sectors > self.longest {
            return None;
        }
        let (&start, _) = self.runs.iter().find(|(_, len)| **len >= sectors)?;
        self.take_at(start, sectors).then_some(start)
    }

    /// Takes just these sectors; false (and nothing changes) where one of them is not free.
    pub(crate) fn take_at(&mut self, start: u32, sectors: u32) -> bool {
        let Some((&run, &len)) = self.runs.range(..=start).next_back() else {
            return false;
        };
        let end = start + sectors;
        if run + len < end {
            return false;
        }
        self.runs.remove(&run);
        if run < start {
            self.runs.insert(run, start - run);
        }
        if end < run + len {
            self.runs.insert(end, run + len - end);
        }
        self.free -= sectors;
        if len == self.longest {
            self.longest = self.runs.values().copied().max().unwrap_or(0);
        }
        true
    }

    /// Gives sectors back.
    pub(crate) fn give(&mut self, start: u32, sectors: u32) {
        let (mut begin, mut len) = (start, sectors);
        if let Some((&before, &before_len)) = self.runs.range(..start).next_back()
            && before + before_len == start
        {
            (begin, len) = (before, len + before_len);
        }
        if let Some(after_len) = self.runs.remove(&(start + sectors)) {
            len += after_len;
        }
        self.runs.insert(begin, len);
        self.free += sectors;
        self.longest = self.longest.max(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_row_of_sectors(steps in prop::collection::vec((any::<bool>(), 1u32..9, any::<prop::sample::Index>()), 1..200)) {
            let mut runs = Runs::new(10, 64);
            let mut taken = vec![true; 10];
            taken.resize(74, false);
            let mut held: Vec<(u32, u32)> = Vec::new();
            for (take, count, which) in steps {
                if take {
                    let first = taken.windows(count as usize).position(|w| w.iter().all(|t| !t));
                    let got = runs.take(count);
                    prop_assert_eq!(got.map(|at| at as usize), first);
                    if let Some(at) = got {
                        taken[at as usize..(at + count) as usize].fill(true);
                        held.push((at, count));
                    }
                } else if !held.is_empty() {
                    let (at, count) = held.swap_remove(which.index(held.len()));
                    prop_assert!(!runs.take_at(at, count));
                    runs.give(at, count);
                    taken[at as usize..(at + count) as usize].fill(false);
                }
                let longest = taken.split(|t| *t).map(<[bool]>::len).max().unwrap_or(0);
                prop_assert_eq!(runs.longest() as usize, longest);
                prop_assert_eq!(runs.free() as usize, taken.iter().filter(|t| !**t).count());
            }
        }
    }
}
