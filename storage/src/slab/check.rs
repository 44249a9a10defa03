//! Whether head and table of a slab are on disk as they are in memory. The rule: only what counts at a start is looked at,
//! and what is damaged is put right by the writer, with its next commit, and by nobody else.

use super::file::Slab;
use super::layout::{Geometry, Head, PAGE_BYTES, PageCopy, SlotHeader, check_page};
use crate::block_io::AlignedBuf;
use std::io;
use std::sync::atomic::Ordering;

/// Pages whose copies are read at once.
const PAGES_AT_ONCE: u32 = 32;

/// Memory for it.
#[derive(Debug)]
pub(crate) struct CheckBuf(AlignedBuf);

impl Default for CheckBuf {
    fn default() -> Self {
        Self(AlignedBuf::zeroed(2 * PAGE_BYTES * PAGES_AT_ONCE as usize))
    }
}

impl Slab {
    /// The headers in its table.
    pub(crate) fn headers(&self) -> Vec<SlotHeader> {
        let table = self.table.read();
        table.candidates().map(|(_, header)| header).collect()
    }

    /// Bytes of head and table that a start reads.
    pub(crate) fn table_bytes(&self) -> u64 {
        Geometry::page_offset(self.table.read().pages_in_use(), 0)
    }

    /// Reads head and table from disk, and returns how many copies that count are damaged.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn check(&self, buf: &mut CheckBuf) -> io::Result<u64> {
        let mut damaged = self.check_head(buf)?;
        let pages = self.table.read().pages_in_use();
        let mut first = 0;
        while first < pages {
            let count = PAGES_AT_ONCE.min(pages - first);
            // A commit is not looked at halfway.
            let _committing = self.committing.lock();
            let part = &mut buf.0.bytes_mut()[..2 * PAGE_BYTES * count as usize];
            self.io.read_at(part, Geometry::page_offset(first, 0))?;
            for (page, both) in (first..).zip(part.chunks_exact(2 * PAGE_BYTES)) {
                let mut table = self.table.write();
                let Some(sequence) = table.on_disk(page) else {
                    continue;
                };
                let (one, other) = both.split_at(PAGE_BYTES);
                let copy = if sequence & 1 == 0 { one } else { other };
                if check_page(copy, table.birth(), page) != PageCopy::Whole(sequence) {
                    table.write_again(page);
                    damaged += 1;
                }
            }
            first += count;
        }
        Ok(damaged)
    }

    fn check_head(&self, buf: &mut CheckBuf) -> io::Result<u64> {
        let _committing = self.committing.lock();
        let both = &mut buf.0.bytes_mut()[..2 * PAGE_BYTES];
        self.io.read_at(both, 0)?;
        let mut damaged = 0;
        for (copy, bytes) in both.chunks_exact(PAGE_BYTES).enumerate() {
            let whole = Head::read(bytes, self.number, self.bytes()).is_some();
            damaged |= u8::from(!whole) << copy;
        }
        self.damaged_heads.fetch_or(damaged, Ordering::Relaxed);
        Ok(u64::from(damaged.count_ones()))
    }
}
