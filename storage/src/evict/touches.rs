//! Who was asked for: one byte per slot, written by the threads that serve. The rule: a touch takes no lock, never
//! allocates, and writes only where it counts, so that a hot slot's byte stays shared between cores.
//!
//! A touch counts where the last one that counted, or the entry, was half a minute ago. A client reads a piece by
//! ranges within seconds, and two hundred that start at once follow each other through an object that arrives: that a
//! piece is wanted again is said by who comes later. Half a minute was no worse than ten seconds or five minutes on a
//! week of patches (`tests/eviction.rs`), and 8 points of the bytes better than none where the store is small.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// More touches than these say nothing more (as in the S3-FIFO paper, two bits).
pub(super) const TOUCHES_MAX: u8 = 3;

/// A byte holds the count and, above it, when it was counted last: six bits that run over after half an hour. One of
/// thirty touches that come later is then taken for one of the same moment, which costs a choice and no more.
const COUNT_BITS: u32 = 2;
const TIMES: u8 = 1 << (8 - COUNT_BITS);
/// What time is counted in.
const TIME_S: u64 = 30;
/// Touches count that are at least so many times apart: between half a minute and a whole one.
const APART: u8 = 2;

/// Slots in the first chunk; each later one is as large as all before it, and one first chunk more.
const FIRST_CHUNK: u64 = 4096;

/// Chunks to hold every `u32`: the last begins at `4096 * (2^20 - 1)`.
const CHUNKS: usize = 21;

/// The counts, shared by the evictor and all who touch. It grows by chunks that never move, so no lock is needed.
#[derive(Debug, Default)]
pub struct Touches {
    chunks: [OnceLock<Box<[AtomicU8]>>; CHUNKS],
    now: AtomicU8,
}

/// Which chunk a slot is in, and where in it.
fn place(slot: u32) -> (usize, usize) {
    let step = u64::from(slot) / FIRST_CHUNK + 1;
    let chunk = step.ilog2();
    let first = FIRST_CHUNK * ((1 << chunk) - 1);
    let at = usize::try_from(u64::from(slot) - first).unwrap_or(usize::MAX);
    (chunk as usize, at)
}

fn packed(count: u8, time: u8) -> u8 {
    time << COUNT_BITS | count
}

impl Touches {
    fn byte(&self, slot: u32) -> Option<&AtomicU8> {
        let (chunk, at) = place(slot);
        self.chunks.get(chunk)?.get()?.get(at)
    }

    /// Says what time it is, in seconds since any moment. To be called every few seconds.
    pub fn tell(&self, seconds: u64) {
        // Truncation is meant: times are compared by their distance.
        self.now
            .store((seconds / TIME_S) as u8 % TIMES, Ordering::Relaxed);
    }

    /// The slot was asked for. Nothing happens where the evictor has never heard of it.
    pub fn touch(&self, slot: u32) {
        if let Some(byte) = self.byte(slot) {
            let held = byte.load(Ordering::Relaxed);
            let (count, time) = (held & TOUCHES_MAX, held >> COUNT_BITS);
            let now = self.now.load(Ordering::Relaxed);
            if count < TOUCHES_MAX && now.wrapping_sub(time) % TIMES >= APART {
                // Two touches at once may count as one: it is an estimate, and cheaper than a locked addition.
                byte.store(packed(count + 1, now), Ordering::Relaxed);
            }
        }
    }

    /// How often it was touched since it was inserted, up to 3; the evictor takes some back as time passes.
    #[must_use]
    pub fn count(&self, slot: u32) -> u8 {
        self.byte(slot)
            .map_or(0, |byte| byte.load(Ordering::Relaxed) & TOUCHES_MAX)
    }

    /// Whether nobody has asked for what is in the slot since it was entered, or the evictor took the touches back, and
    /// that is at least so many half minutes ago. Said of one too few rather than too many: times run over.
    pub(super) fn is_quiet(&self, slot: u32, half_minutes: u8) -> bool {
        self.byte(slot).is_some_and(|byte| {
            let held = byte.load(Ordering::Relaxed);
            let ago = self
                .now
                .load(Ordering::Relaxed)
                .wrapping_sub(held >> COUNT_BITS)
                % TIMES;
            held & TOUCHES_MAX == 0 && ago >= half_minutes
        })
    }

    /// Something new is in the slot. Makes the slot's chunk where there is none yet.
    pub(super) fn begin(&self, slot: u32) {
        let (chunk, at) = place(slot);
        let len = usize::try_from(FIRST_CHUNK << chunk).unwrap_or(usize::MAX);
        let bytes = self.chunks[chunk].get_or_init(|| (0..len).map(|_| AtomicU8::new(0)).collect());
        let now = self.now.load(Ordering::Relaxed);
        bytes[at].store(packed(0, now), Ordering::Relaxed);
    }

    /// Leaves so many of a slot's touches.
    pub(super) fn leave(&self, slot: u32, count: u8) {
        if let Some(byte) = self.byte(slot) {
            let time = byte.load(Ordering::Relaxed) >> COUNT_BITS;
            byte.store(packed(count, time), Ordering::Relaxed);
        }
    }

    /// Bytes of memory that it takes.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        let chunks = self.chunks.iter().filter_map(OnceLock::get);
        chunks.map(|chunk| chunk.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_byte_of_its_own() {
        let mut before = place(0);
        assert_eq!(before, (0, 0));
        for slot in 1..100_000 {
            let now = place(slot);
            let next = (before.0, before.1 + 1);
            let fits = now == next || (now.0 == before.0 + 1 && now.1 == 0);
            assert!(fits, "{slot}: {before:?} {now:?}");
            assert!((now.1 as u64) < FIRST_CHUNK << now.0, "{slot}: {now:?}");
            before = now;
        }
        assert_eq!(place(u32::MAX).0, CHUNKS - 1);
    }

    #[test]
    fn a_count_is_full_at_three_and_unknown_slots_are_ignored() {
        let touches = Touches::default();
        touches.touch(9);
        assert_eq!(touches.count(9), 0);
        touches.begin(9);
        for minute in 1..9 {
            touches.tell(minute * 60);
            touches.touch(9);
        }
        assert_eq!((touches.count(9), touches.count(8)), (3, 0));
        touches.touch(u32::MAX);
        assert_eq!(touches.count(u32::MAX), 0);
    }

    #[test]
    fn touches_of_one_moment_are_one() {
        let touches = Touches::default();
        // Just before the time runs over.
        touches.tell(63 * TIME_S);
        touches.begin(7);
        let mut counts = Vec::new();
        for step in 63..69 {
            touches.tell(step * TIME_S);
            (0..20).for_each(|_| touches.touch(7));
            counts.push(touches.count(7));
        }
        assert_eq!(counts, [0, 0, 1, 1, 2, 2]);
        touches.leave(7, 1);
        touches.touch(7);
        assert_eq!(touches.count(7), 1, "the moment is kept");
    }
}
