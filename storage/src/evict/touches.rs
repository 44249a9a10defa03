//! Who was asked for: one byte per slot, written by the threads that serve. The rule: a touch takes no lock, never
//! allocates, and writes only where the count is not yet full, so that a hot slot's byte stays shared between cores.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// More touches than these say nothing more (as in the S3-FIFO paper, two bits).
pub(super) const TOUCHES_MAX: u8 = 3;

/// Slots in the first chunk; each later one is as large as all before it, and one first chunk more.
const FIRST_CHUNK: u64 = 4096;

/// Chunks to hold every `u32`: the last begins at `4096 * (2^20 - 1)`.
const CHUNKS: usize = 21;

/// The counts, shared by the evictor and all who touch. It grows by chunks that never move, so no lock is needed.
#[derive(Debug, Default)]
pub struct Touches {
    chunks: [OnceLock<Box<[AtomicU8]>>; CHUNKS],
}

/// Which chunk a slot is in, and where in it.
fn place(slot: u32) -> (usize, usize) {
    let step = u64::from(slot) / FIRST_CHUNK + 1;
    let chunk = step.ilog2();
    let first = FIRST_CHUNK * ((1 << chunk) - 1);
    let at = usize::try_from(u64::from(slot) - first).unwrap_or(usize::MAX);
    (chunk as usize, at)
}

impl Touches {
    fn byte(&self, slot: u32) -> Option<&AtomicU8> {
        let (chunk, at) = place(slot);
        self.chunks.get(chunk)?.get()?.get(at)
    }

    /// The slot was asked for. Nothing happens where the evictor has never heard of it.
    pub fn touch(&self, slot: u32) {
        if let Some(byte) = self.byte(slot) {
            let count = byte.load(Ordering::Relaxed);
            if count < TOUCHES_MAX {
                // Two touches at once may count as one: it is an estimate, and cheaper than a locked addition.
                byte.store(count + 1, Ordering::Relaxed);
            }
        }
    }

    /// How often it was touched since it was inserted, up to 3; the evictor takes some back as time passes.
    #[must_use]
    pub fn count(&self, slot: u32) -> u8 {
        self.byte(slot)
            .map_or(0, |byte| byte.load(Ordering::Relaxed))
    }

    /// Sets a count; makes the slot's chunk where there is none yet.
    pub(super) fn set(&self, slot: u32, count: u8) {
        let (chunk, at) = place(slot);
        let len = usize::try_from(FIRST_CHUNK << chunk).unwrap_or(usize::MAX);
        let bytes = self.chunks[chunk].get_or_init(|| (0..len).map(|_| AtomicU8::new(0)).collect());
        bytes[at].store(count, Ordering::Relaxed);
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
        touches.set(9, 0);
        (0..9).for_each(|_| touches.touch(9));
        assert_eq!((touches.count(9), touches.count(8)), (3, 0));
        touches.touch(u32::MAX);
        assert_eq!(touches.count(u32::MAX), 0);
    }
}
