//! Which piece goes first when room is needed: S3-FIFO (Yang et al., SOSP 2023) over slot numbers, weighed by bytes.
//! The rule: pure bookkeeping, without I/O and clock; what a thread that serves does (a touch) needs no lock, and
//! asking for a victim ends, whatever is refused and whoever touches meanwhile.
//!
//! New slots enter a small queue, a tenth of the bytes. What was touched by the time it is first in line moves
//! on to the main queue; the rest is the first to go, and its key is remembered. A key that comes back while it is
//! remembered enters the main queue at once, where each touch buys another round. So a scan, or a file that a single
//! machine wanted, passes through the tenth without displacing what many ask for. Touches of one moment are one: a
//! client that reads a piece by many small ranges wants it once.
//!
//! Memory: 12 bytes a slot, one byte of touches, eight bytes of remembered keys, and an eighth to spare.

mod ghost;
mod touches;

pub use touches::Touches;

use crate::tight;
use ghost::Ghost;
use std::sync::Arc;
use touches::TOUCHES_MAX;

/// The small queue's share of the bytes is one part in this many.
const SMALL_PART: u64 = 10;

/// Touches that bring a slot from the small queue to the main one. The paper has two; on a week of patches, where a
/// machine asks for a piece once or a few times in a row, one missed fewer bytes at every size.
const TOUCHES_TO_STAY: u8 = 1;

/// Half minutes. Two minutes, or none, cost two points of the bytes in a store of 1 % of a week of patches, where a piece
/// that has just come went along with what was old.
const QUIET_FOR: u8 = 16;

/// No slot: the end of a queue.
const NONE: u32 = u32::MAX;

/// The length of a slot and its queue share a word: two bits for the queue.
const BYTES_BITS: u32 = 30;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Nowhere,
    Small,
    Main,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    before: u32,
    after: u32,
    /// Length in bytes, and above it the [`Place`].
    packed: u32,
}

const _: () = assert!(std::mem::size_of::<Slot>() == 12);

impl Slot {
    const EMPTY: Self = Self {
        before: NONE,
        after: NONE,
        packed: 0,
    };

    const fn bytes(self) -> u32 {
        self.packed & ((1 << BYTES_BITS) - 1)
    }

    const fn place(self) -> Place {
        match self.packed >> BYTES_BITS {
            1 => Place::Small,
            2 => Place::Main,
            _ => Place::Nowhere,
        }
    }

    fn pack(place: Place, bytes: u32) -> u32 {
        let tag = match place {
            Place::Nowhere => 0,
            Place::Small => 1,
            Place::Main => 2,
        };
        tag << BYTES_BITS | bytes.min((1 << BYTES_BITS) - 1)
    }
}

/// A first-in-first-out queue through the slots' links.
#[derive(Debug)]
struct Queue {
    first: u32,
    last: u32,
    bytes: u64,
    slots: u32,
}

impl Queue {
    const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
        bytes: 0,
        slots: 0,
    };
}

/// Decides what goes. One lock around it is enough: only who stores and who makes room call it.
#[derive(Debug)]
pub struct Evictor {
    slots: Vec<Slot>,
    small: Queue,
    main: Queue,
    ghost: Ghost,
    touches: Arc<Touches>,
    victim_was_new: bool,
}

impl Default for Evictor {
    fn default() -> Self {
        Self::new()
    }
}

impl Evictor {
    /// An evictor that knows no slot.
    #[must_use]
    pub fn new() -> Self {
        Self {
            slots: Vec::new(),
            small: Queue::EMPTY,
            main: Queue::EMPTY,
            ghost: Ghost::new(),
            touches: Arc::default(),
            victim_was_new: false,
        }
    }

    /// The counts of touches, to share with the threads that serve.
    #[must_use]
    pub fn touches(&self) -> Arc<Touches> {
        Arc::clone(&self.touches)
    }

    /// Bytes in the slots that it knows.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.small.bytes + self.main.bytes
    }

    /// How many slots it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.small.slots as usize + self.main.slots as usize
    }

    /// True where it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A piece of `bytes` (at most 2^30 - 1) was stored in the slot; `key_hash` is any good hash of what it is, the
    /// same one when it comes back later. A slot that is known already is first removed. `u32::MAX` is no slot.
    pub fn inserted(&mut self, slot: u32, bytes: u32, key_hash: u64) {
        let hash = fold(key_hash);
        let window = self.main.bytes.max(self.bytes() / 2);
        let place = if self.ghost.is_back(hash, window) {
            Place::Main
        } else {
            Place::Small
        };
        self.enter(slot, bytes, place);
    }

    /// A piece was found in the slot at the start. What survived until now has earned more than what is new, so it
    /// enters the main queue: give the slots in the order in which they were written.
    pub fn restored(&mut self, slot: u32, bytes: u32) {
        self.enter(slot, bytes, Place::Main);
    }

    /// The piece in the slot was asked for. Threads that serve call [`Touches::touch`] instead.
    pub fn touched(&self, slot: u32) {
        self.touches.touch(slot);
    }

    /// Whether the slot could go along with the last victim: it is in the same queue, and has not been asked for in the
    /// last eight minutes. Who makes room in runs takes such neighbours along; others would cost misses.
    #[must_use]
    pub fn goes_along(&self, slot: u32) -> bool {
        let queue = if self.victim_was_new {
            Place::Small
        } else {
            Place::Main
        };
        let place = self.slots.get(slot as usize).map(|slot| slot.place());
        place == Some(queue) && self.touches.is_quiet(slot, QUIET_FOR)
    }

    /// The slot was emptied by other means. Nothing happens where it is not known.
    pub fn removed(&mut self, slot: u32) {
        self.leave(slot);
    }

    /// Bytes of memory that it takes.
    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        tight::bytes(&self.slots) + self.ghost.memory_bytes() + self.touches.memory_bytes()
    }

    /// The slot that goes next, or None where `may` refuses them all. It is no longer known afterwards.
    ///
    /// `may` is asked for slots that are due, and answers with the hash of what is in them, as [`Evictor::inserted`]
    /// got it, or with None: pinned or busy ones are refused, and moved back in line. Each slot is asked for a few
    /// times at most.
    pub fn victim(&mut self, may: &mut dyn FnMut(u32) -> Option<u64>) -> Option<u32> {
        // A touch buys one round, and a slot can have bought three: after that many rounds somebody touches faster
        // than this loop turns, and touches count no longer.
        let patience = (self.len() as u64 + 1) * u64::from(TOUCHES_MAX + 1);
        let mut steps = 0_u64;
        let mut refused_in_a_row = 0;
        while refused_in_a_row <= self.len() {
            // Where the whole main queue is refused, the small one gives although it is within its share.
            let of_small = self.small.first != NONE
                && (self.small.bytes * SMALL_PART > self.bytes()
                    || refused_in_a_row >= self.main.slots as usize);
            let slot = if of_small {
                self.small.first
            } else {
                self.main.first
            };
            let known = *self.slots.get(slot as usize)?;
            steps += 1;
            let count = self.touches.count(slot);
            let needed = if of_small { TOUCHES_TO_STAY } else { 1 };
            if count >= needed && steps <= patience {
                let left = if of_small { 0 } else { count - 1 };
                self.touches.leave(slot, left);
                self.move_to_main(slot);
                refused_in_a_row = 0;
            } else if let Some(key_hash) = may(slot) {
                self.leave(slot);
                self.victim_was_new = of_small;
                if of_small {
                    self.ghost.left(fold(key_hash), known.bytes());
                }
                return Some(slot);
            } else {
                self.move_to_main(slot);
                refused_in_a_row += 1;
            }
        }
        None
    }

    fn enter(&mut self, slot: u32, bytes: u32, place: Place) {
        if slot == NONE {
            return;
        }
        self.leave(slot);
        let at = slot as usize;
        if at >= self.slots.len() {
            tight::grow(&mut self.slots, at + 1, Slot::EMPTY);
            self.ghost.reserve(self.slots.len());
        }
        self.slots[at] = Slot {
            packed: Slot::pack(Place::Nowhere, bytes),
            ..Slot::EMPTY
        };
        self.touches.begin(slot);
        self.append(slot, place);
    }

    fn move_to_main(&mut self, slot: u32) {
        self.leave(slot);
        self.append(slot, Place::Main);
    }

    fn queue(&mut self, place: Place) -> Option<&mut Queue> {
        match place {
            Place::Nowhere => None,
            Place::Small => Some(&mut self.small),
            Place::Main => Some(&mut self.main),
        }
    }

    /// Puts a slot that is in no queue at the end of one.
    fn append(&mut self, slot: u32, place: Place) {
        let bytes = self.slots[slot as usize].bytes();
        let Some(queue) = self.queue(place) else {
            return;
        };
        let before = std::mem::replace(&mut queue.last, slot);
        if before == NONE {
            queue.first = slot;
        }
        queue.bytes += u64::from(bytes);
        queue.slots += 1;
        if let Some(before) = self.slots.get_mut(before as usize) {
            before.after = slot;
        }
        let entry = &mut self.slots[slot as usize];
        entry.before = before;
        entry.after = NONE;
        entry.packed = Slot::pack(place, bytes);
    }

    /// Takes a slot out of its queue, if it is in one.
    fn leave(&mut self, slot: u32) {
        let Some(entry) = self.slots.get_mut(slot as usize) else {
            return;
        };
        let was = *entry;
        entry.packed = Slot::pack(Place::Nowhere, was.bytes());
        let Some(queue) = self.queue(was.place()) else {
            return;
        };
        queue.bytes -= u64::from(was.bytes());
        queue.slots -= 1;
        if was.before == NONE {
            queue.first = was.after;
        }
        if was.after == NONE {
            queue.last = was.before;
        }
        if let Some(before) = self.slots.get_mut(was.before as usize) {
            before.after = was.after;
        }
        if let Some(after) = self.slots.get_mut(was.after as usize) {
            after.before = was.before;
        }
    }
}

/// Half of the hash is enough to remember a key by: one in a thousand is mistaken with four million remembered.
const fn fold(key_hash: u64) -> u32 {
    (key_hash >> 32) as u32 ^ key_hash as u32
}

#[cfg(test)]
mod tests;
