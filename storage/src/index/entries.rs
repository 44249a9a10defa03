//! Where the pieces of one shard of the index are: twelve bytes each, in one flat table. The rule: an entry says where
//! a header is, and the header which piece it is; a tag of 19 bits of the piece's hash spares the looks that would be
//! in vain.
//!
//! Entries lie in the order of their tags, each as near behind the place that its tag chooses as the others leave
//! ("Robin Hood hashing"), so that a search ends at the first entry that is nearer to its own. The table grows by an
//! eighth: what is spare is an eighth and not a half, and since the tag alone chooses the place, growing reads no
//! header.

use super::Location;

const CELL_BITS: u32 = 20;
const SLAB_BITS: u32 = 18;
const DISK_BITS: u32 = 6;
pub(super) const TAG_BITS: u32 = 19;

/// Disks that can be told apart.
pub(crate) const DISKS_MAX: usize = 1 << DISK_BITS;
/// Slabs of a disk that can be told apart: 256 TiB of usual ones.
pub(crate) const SLABS_MAX: u32 = 1 << SLAB_BITS;
/// Cells of a slab's table that can be told apart: those of 4 GiB.
pub(crate) const CELLS_MAX: u32 = 1 << CELL_BITS;

/// No place has this number: the entry is free.
const FREE: u32 = u32::MAX;

/// Tag, disk, slab and cell in two words (with a bit to spare), the place in the third.
#[derive(Clone, Copy, Debug)]
struct Entry([u32; 3]);

impl Entry {
    const EMPTY: Self = Self([0, 0, FREE]);

    fn new(tag: u32, location: Location) -> Self {
        let word = u64::from(tag) << (64 - TAG_BITS)
            | u64::from(location.disk) << (CELL_BITS + SLAB_BITS)
            | u64::from(location.slab) << CELL_BITS
            | u64::from(location.cell);
        Self([word as u32, (word >> 32) as u32, location.place])
    }

    fn word(self) -> u64 {
        u64::from(self.0[1]) << 32 | u64::from(self.0[0])
    }

    fn is_free(self) -> bool {
        self.0[2] == FREE
    }

    fn tag(self) -> u32 {
        self.0[1] >> (32 - TAG_BITS)
    }

    fn location(self) -> Location {
        let word = self.word();
        let bits = |from: u32, count: u32| (word >> from) as u32 & ((1 << count) - 1);
        Location {
            place: self.0[2],
            // Six bits.
            disk: bits(CELL_BITS + SLAB_BITS, DISK_BITS) as u16,
            slab: bits(CELL_BITS, SLAB_BITS),
            cell: bits(0, CELL_BITS),
        }
    }
}

/// The table. What it is asked by is a tag, of which [`TAG_BITS`] bits are set at most.
#[derive(Debug, Default)]
pub(super) struct Entries {
    slots: Box<[Entry]>,
    len: usize,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    /// The place that a tag chooses.
    fn home(&self, tag: u32) -> usize {
        // Below the number of slots, since a tag is below 2^TAG_BITS.
        ((u64::from(tag) * self.slots.len() as u64) >> TAG_BITS) as usize
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() {
            0
        } else {
            at + 1
        }
    }

    /// How far the entry at `at` is behind its place.
    fn distance(&self, at: usize) -> usize {
        let home = self.home(self.slots[at].tag());
        if at >= home {
            at - home
        } else {
            at + self.slots.len() - home
        }
    }

    /// The entry of a tag that `is` the one, and where it is.
    pub(super) fn find(
        &self,
        tag: u32,
        mut is: impl FnMut(Location) -> bool,
    ) -> Option<(usize, Location)> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = self.home(tag);
        let mut away = 0;
        loop {
            let entry = self.slots[at];
            if entry.is_free() || self.distance(at) < away {
                return None;
            }
            if entry.tag() == tag && is(entry.location()) {
                return Some((at, entry.location()));
            }
            at = self.next(at);
            away += 1;
        }
    }

    /// Adds an entry; whether there is one for the same piece is not looked at.
    pub(super) fn add(&mut self, tag: u32, location: Location) {
        if self.len >= self.slots.len() / 8 * 7 {
            self.resize(self.slots.len() + (self.slots.len() / 64).max(1) * 8);
        }
        self.put(Entry::new(tag, location));
    }

    fn put(&mut self, mut held: Entry) {
        self.len += 1;
        let mut at = self.home(held.tag());
        let mut away = 0;
        loop {
            if self.slots[at].is_free() {
                self.slots[at] = held;
                return;
            }
            let other = self.distance(at);
            if other < away {
                std::mem::swap(&mut self.slots[at], &mut held);
                away = other;
            }
            at = self.next(at);
            away += 1;
        }
    }

    /// Another location for the entry at `at`, which was found by the same tag.
    pub(super) fn replace(&mut self, at: usize, location: Location) {
        self.slots[at] = Entry::new(self.slots[at].tag(), location);
    }

    /// Takes the entry at `at` away; those behind it move up.
    pub(super) fn remove(&mut self, at: usize) {
        self.len -= 1;
        let mut hole = at;
        loop {
            let next = self.next(hole);
            if self.slots[next].is_free() || self.distance(next) == 0 {
                break;
            }
            self.slots[hole] = self.slots[next];
            hole = next;
        }
        self.slots[hole] = Entry::EMPTY;
        if self.slots.len() > 8 && self.len < self.slots.len() / 2 {
            self.resize((self.len / 6 + 1) * 8);
        }
    }

    pub(super) fn locations(&self) -> impl Iterator<Item = Location> + '_ {
        let taken = self.slots.iter().filter(|entry| !entry.is_free());
        taken.map(|entry| entry.location())
    }

    /// Makes room for so many entries in all.
    pub(super) fn reserve(&mut self, entries: usize) {
        let slots = (entries / 7 + 1) * 8;
        if slots > self.slots.len() {
            self.resize(slots);
        }
    }

    fn resize(&mut self, slots: usize) {
        let slots = slots.max(8).next_multiple_of(8);
        let old = std::mem::replace(&mut self.slots, vec![Entry::EMPTY; slots].into());
        self.len = 0;
        for entry in old.into_iter().filter(|entry| !entry.is_free()) {
            self.put(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn an_entry_keeps_its_numbers_at_their_largest() {
        let location = Location::new(63, SLABS_MAX - 1, CELLS_MAX - 1, u32::MAX - 1);
        let tag = (1 << TAG_BITS) - 1;
        let entry = Entry::new(tag, location);
        assert_eq!((entry.tag(), entry.location()), (tag, location));
        assert!(!entry.is_free() && Entry::EMPTY.is_free());
        assert_eq!(size_of::<Entry>(), 12);
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_map(steps in prop::collection::vec((0u8..3, any::<prop::sample::Index>(), 0u32..6), 1..400)) {
            let mut table = Entries::default();
            let mut plain: BTreeMap<u32, u32> = BTreeMap::new();
            for (cell, (kind, which, tag)) in (0..).zip(steps) {
                // Few tags, at both ends of what there is: long stretches that go round the end.
                let tag = [0, 1, 7, (1 << TAG_BITS) - 1, (1 << TAG_BITS) - 2, 1 << 18][tag as usize];
                let held: Vec<u32> = plain.keys().copied().collect();
                let cell_of = |which: prop::sample::Index| held[which.index(held.len())];
                match kind {
                    0 if !held.is_empty() => {
                        let cell = cell_of(which);
                        let tag = plain.remove(&cell).unwrap();
                        let (at, _) = table.find(tag, |found| found.cell == cell).unwrap();
                        table.remove(at);
                    }
                    _ => {
                        table.add(tag, Location::new(1, 2, cell, cell));
                        plain.insert(cell, tag);
                    }
                }
                prop_assert_eq!(table.len(), plain.len());
                prop_assert_eq!(table.find(3, |_| true), None);
            }
            let mut found: Vec<u32> = table.locations().map(|location| location.cell).collect();
            found.sort_unstable();
            let wanted: Vec<u32> = plain.keys().copied().collect();
            prop_assert_eq!(found, wanted);
            for (cell, tag) in plain {
                let (_, location) = table.find(tag, |found| found.cell == cell).unwrap();
                prop_assert_eq!(location, Location::new(1, 2, cell, cell));
            }
        }
    }

    #[test]
    fn a_full_table_spares_an_eighth_and_a_little() {
        let mut table = Entries::default();
        let mut tag = 0_u32;
        for cell in 0..200_000 {
            tag = tag.wrapping_mul(0x9E37_79B1).wrapping_add(0x1234_5677);
            table.add(tag >> (32 - TAG_BITS), Location::new(0, 0, cell, cell));
            let bytes = table.bytes() as f64 / f64::from(cell + 1);
            assert!(cell < 1000 || bytes < 15.6, "{cell}: {bytes}");
        }
    }
}
