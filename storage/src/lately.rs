//! What was asked for lately of pieces on disk, to tell which are worth memory. The rule: reading something once, however
//! much, brings nothing to memory; what is asked for again is admitted where it would most likely still be there, had
//! it been admitted before.
//!
//! Lately is within as many bytes of other pieces as the memory holds. A small range is no whole piece: all of the
//! piece would be read for it, so it is worth that only where half of it was asked for.

use crate::index::hash_of;
use larder_content::PieceId;
use std::sync::atomic::{AtomicU64, Ordering};

/// Half a piece that was asked for makes the next time worth memory: the second time that somebody wants all of it,
/// and the fifth for small ranges.
const WORTH_EIGHTHS: u64 = 4;

/// An epoch ends when half of what the memory holds was asked for; longer ago is no more lately.
const LATELY_EPOCHS: u64 = 2;

/// A slot for each so many bytes of memory: pieces of 1 MiB fill a tenth of them.
const BYTES_PER_SLOT: u64 = 64 << 10;
const SLOTS_MIN: u64 = 1 << 10;
const SLOTS_MAX: u64 = 1 << 20;

/// A slot: a tag of the piece, the epoch in which it was asked for last, and eighths of it.
const TAG_SHIFT: u32 = 32;
const EPOCH_SHIFT: u32 = 8;
const EPOCH_MASK: u64 = (1 << (TAG_SHIFT - EPOCH_SHIFT)) - 1;
const HEAT_MASK: u64 = (1 << EPOCH_SHIFT) - 1;

/// See the file's head. A piece that falls on the slot of another takes it: it is an estimate, without locks.
#[derive(Debug)]
pub(crate) struct Lately {
    slots: Box<[AtomicU64]>,
    epoch_bytes: u64,
    /// Bytes of pieces that were asked for and had not been lately.
    asked_bytes: AtomicU64,
}

impl Lately {
    /// For a memory of so many bytes.
    pub(crate) fn new(memory_bytes: u64) -> Self {
        let slots = (memory_bytes / BYTES_PER_SLOT).clamp(SLOTS_MIN, SLOTS_MAX);
        Self {
            slots: (0..slots.next_power_of_two())
                .map(|_| AtomicU64::new(0))
                .collect(),
            epoch_bytes: (memory_bytes / 2).max(1),
            asked_bytes: AtomicU64::new(0),
        }
    }

    /// So many `bytes` of a piece of `len` are asked for. True where enough was before, lately.
    pub(crate) fn asks_again(&self, id: PieceId, len: u32, bytes: u32) -> bool {
        let hash = hash_of(id);
        // As many as fit: the table's length is a power of two.
        let at = hash as usize & (self.slots.len() - 1);
        let Some(slot) = self.slots.get(at) else {
            return false;
        };
        let eighths = (u64::from(bytes) * 8).div_ceil(u64::from(len.max(1)));
        let epoch = (self.asked_bytes.load(Ordering::Relaxed) / self.epoch_bytes) & EPOCH_MASK;
        let held = slot.load(Ordering::Relaxed);
        let (tag, last) = (hash >> TAG_SHIFT, held >> EPOCH_SHIFT & EPOCH_MASK);
        let is_lately =
            held >> TAG_SHIFT == tag && epoch.wrapping_sub(last) & EPOCH_MASK <= LATELY_EPOCHS;
        let before = if is_lately { held & HEAT_MASK } else { 0 };
        if before == 0 {
            self.asked_bytes
                .fetch_add(u64::from(len), Ordering::Relaxed);
        }
        let heat = (before + eighths.clamp(1, 8)).min(HEAT_MASK);
        slot.store(
            tag << TAG_SHIFT | epoch << EPOCH_SHIFT | heat,
            Ordering::Relaxed,
        );
        before >= WORTH_EIGHTHS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_content::ContentNo;

    const PIECE: u32 = 1 << 20;

    fn id(piece: u32) -> PieceId {
        let content = ContentNo::new(77);
        PieceId { content, piece }
    }

    fn asked(lately: &Lately, pieces: std::ops::Range<u32>, bytes: u32) -> usize {
        let again = pieces.filter(|piece| lately.asks_again(id(*piece), PIECE, bytes));
        again.count()
    }

    #[test]
    fn all_of_a_piece_is_worth_memory_the_second_time_and_small_ranges_the_fifth() {
        let lately = Lately::new(64 << 20);
        let whole: Vec<_> = (0..3).map(|_| asked(&lately, 0..1, PIECE)).collect();
        assert_eq!(whole, [0, 1, 1]);
        let small: Vec<_> = (0..6).map(|_| asked(&lately, 1..2, 1)).collect();
        assert_eq!(small, [0, 0, 0, 0, 1, 1]);
        assert_eq!(asked(&lately, 1..2, PIECE), 1);
    }

    #[test]
    fn what_fits_is_admitted_the_second_time_and_a_scan_never() {
        let lately = Lately::new(64 << 20);
        assert_eq!(asked(&lately, 0..60, PIECE), 0);
        // But for a few that fell on one slot.
        assert!(asked(&lately, 0..60, PIECE) >= 55);
        let lately = Lately::new(64 << 20);
        for _ in 0..5 {
            assert_eq!(asked(&lately, 0..200, PIECE), 0);
        }
        // A scan of ranges that are not all of a piece: no more.
        let lately = Lately::new(64 << 20);
        for _ in 0..20 {
            assert_eq!(asked(&lately, 0..200, 128 << 10), 0);
        }
    }
}
