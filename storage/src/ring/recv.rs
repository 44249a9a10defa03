//! The ring of receive buffers: the kernel takes one when bytes have arrived, so a connection that waits holds none.
//! The rule: a buffer is the kernel's from `give` until a completion names it, and ours from then until `give`.

use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use memmap2::MmapMut;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

/// How many buffers a driver has; a power of two, as the kernel wants it.
pub(super) const BUFFERS: u16 = 1024;
/// How large a buffer is: more than nearly every request head.
pub(super) const BUFFER_BYTES: u32 = 4096;
/// The group's number; a ring has one.
pub(super) const GROUP: u16 = 0;

/// The buffers and the ring by which they go to the kernel.
#[derive(Debug)]
pub(super) struct RecvBuffers {
    /// The ring of entries, page-aligned; its tail lies in the reserved field of the first entry.
    entries: MmapMut,
    /// Where the first buffer begins, in `_buffers`. Reached by address only, since the kernel writes there.
    start: *mut u8,
    _buffers: MmapMut,
    /// Entries published so far, modulo 2^16.
    tail: u16,
    /// Which buffers are ours now.
    ours: Vec<bool>,
    /// Those that became ours since the last `reclaim`.
    recent: Vec<u16>,
}

impl RecvBuffers {
    /// Registers a ring of `count` (a power of two) with the kernel and gives it every buffer.
    pub(super) fn register(submitter: &Submitter<'_>, count: u16) -> io::Result<RecvBuffers> {
        let mut entries = MmapMut::map_anon(usize::from(count) * size_of::<BufRingEntry>())?;
        let mut buffers = MmapMut::map_anon(usize::from(count) * BUFFER_BYTES as usize)?;
        let address = entries.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the address is that of `count` entries, page-aligned, zeroed (tail 0). They live as long as the
        // value returned, which the driver drops after the ring (or never).
        unsafe { submitter.register_buf_ring_with_flags(address, count, GROUP, 0)? };
        let mut all = RecvBuffers {
            entries,
            start: buffers.as_mut_ptr(),
            _buffers: buffers,
            tail: 0,
            ours: vec![true; usize::from(count)],
            recent: Vec::with_capacity(usize::from(count)),
        };
        for id in 0..count {
            all.give(id);
        }
        Ok(all)
    }

    /// A completion has named this buffer: it is ours.
    pub(super) fn received(&mut self, id: u16) {
        if let Some(ours) = self.ours.get_mut(usize::from(id)) {
            *ours = true;
            self.recent.push(id);
        }
    }

    /// What is in a buffer of ours; None for another.
    pub(super) fn bytes(&self, id: u16, len: usize) -> Option<&[u8]> {
        if !*self.ours.get(usize::from(id))? {
            return None;
        }
        // SAFETY: the buffer lies in the mapping, which was zeroed; the kernel is done with it until `give`, which
        // takes `&mut self` and so ends this borrow.
        Some(unsafe { std::slice::from_raw_parts(self.at(id), len.min(BUFFER_BYTES as usize)) })
    }

    fn at(&self, id: u16) -> *mut u8 {
        self.start
            .wrapping_add(usize::from(id) * BUFFER_BYTES as usize)
    }

    /// Gives a buffer of ours to the kernel; another is left alone.
    pub(super) fn give(&mut self, id: u16) {
        match self.ours.get_mut(usize::from(id)) {
            Some(ours) if *ours => *ours = false,
            _ => return,
        }
        let at = usize::from(self.tail) % self.ours.len();
        let address = self.at(id);
        let base = self.entries.as_mut_ptr().cast::<BufRingEntry>();
        // SAFETY: `at` is below the number of entries, so the entry lies in the mapping; it is not published, so the kernel does not read
        // it. Field by field, since the first entry's reserved field is the tail.
        unsafe {
            let entry = base.wrapping_add(at);
            (*entry).set_addr(address.expose_provenance() as u64);
            (*entry).set_len(BUFFER_BYTES);
            (*entry).set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail is two aligned bytes inside the first entry; the kernel only reads them. Release publishes
        // the entry before it.
        unsafe {
            let tail = BufRingEntry::tail(base).cast_mut().cast::<u16>();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }

    /// Gives back what was received and never taken, so that nobody's mistake empties the ring.
    pub(super) fn reclaim(&mut self) {
        while let Some(id) = self.recent.pop() {
            self.give(id);
        }
    }
}
