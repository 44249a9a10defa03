//! What pieces cost in memory, and that they stay within their share of it. The rule: what is counted is what is in
//! use, at the most that it takes with what its lists have to spare, so that the count falls as pieces go.

use super::{Disk, NotKept};
use crate::slab::layout::{SHARED_BELOW_BYTES, cells};
use std::sync::atomic::Ordering;

/// A piece in the index: twelve bytes, of nine eighths of a table that is seven eighths full.
pub(crate) const ENTRY_BYTES: u64 = 16;
/// A place: 16 bytes, 13 for eviction, eight for a key that is remembered, four in the row of its slab, and an eighth.
pub(crate) const PLACE_BYTES: u64 = 48;
/// A piece that shares a place is in the list of that place's cells.
pub(crate) const SHARED_BYTES: u64 = 5;
/// A cell of a table: 40 bytes as on disk, and its part of what a page takes besides.
pub(crate) const CELL_BYTES: u64 = 43;

/// Below this part of the share it is no longer scarce.
const ENOUGH: (u64, u64) = (15, 16);

/// What is in use.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InUse {
    pieces: u64,
    shared: u64,
    cells: u64,
}

impl InUse {
    pub(super) fn add(&mut self, len: u32) {
        self.pieces += 1;
        self.shared += u64::from(len < SHARED_BELOW_BYTES);
        self.cells += u64::from(cells(len));
    }

    pub(super) fn remove(&mut self, len: u32) {
        self.pieces -= 1;
        self.shared -= u64::from(len < SHARED_BELOW_BYTES);
        self.cells -= u64::from(cells(len));
    }

    fn bytes(self, places: u64) -> u64 {
        self.pieces * ENTRY_BYTES
            + self.shared * SHARED_BYTES
            + self.cells * CELL_BYTES
            + places * PLACE_BYTES
    }
}

impl Disk {
    /// Bytes of memory for the pieces on this disk.
    pub(super) fn index_bytes(&self) -> u64 {
        self.in_use.bytes(self.places.in_use() as u64)
    }

    /// Makes room in memory for one more piece of `len` bytes.
    pub(super) fn room_in_memory(&mut self, len: u32) -> Result<(), NotKept> {
        let mut one = InUse::default();
        one.add(len);
        let allowed = self.options.index_bytes_max.saturating_sub(one.bytes(1));
        if self.index_bytes() > allowed {
            self.evict_to(allowed);
        }
        if self.index_bytes() > allowed {
            return Err(NotKept::NoRoom);
        }
        Ok(())
    }

    /// Assesses the share anew, as after a start with less of it.
    pub(super) fn assess_memory(&mut self) {
        let max = self.options.index_bytes_max;
        if self.index_bytes() > max {
            self.evict_to(max);
        }
        if self.index_bytes() < max / ENOUGH.1 * ENOUGH.0 {
            self.crowded = false;
        }
    }

    fn evict_to(&mut self, allowed: u64) {
        if !self.crowded {
            tracing::warn!(
                disk = %self.options.name,
                bytes_max = self.options.index_bytes_max,
                "disk: there is no memory to keep more pieces on it; the least wanted are evicted though there may be room on the disk; raise [server] memory_bytes_max"
            );
        }
        self.crowded = true;
        while self.index_bytes() > allowed {
            let Some(victim) = self.victim() else { break };
            let pieces = self.evict(victim);
            self.common
                .counters
                .index_evictions
                .fetch_add(u64::from(pieces), Ordering::Relaxed);
        }
    }
}
