//! The memory tier: frames that are written once and shared. The rule: bytes below `filled` never change.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[derive(Debug)]
struct Budget {
    bytes_max: u64,
    used: AtomicU64,
}

/// The tier's budget; clones share it.
#[derive(Clone, Debug)]
pub struct RamTier(Arc<Budget>);

/// One frame.
#[derive(Debug)]
pub struct RamFrame {
    budget: Arc<Budget>,
    bytes: UnsafeCell<Box<[u8]>>,
    filled: AtomicU32,
    len: u32,
}

// SAFETY: bytes below `filled` are never written again, those above are touched by the one FrameWriter only.
unsafe impl Sync for RamFrame {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl Send for RamFrame {}

/// The one writer of a frame.
#[derive(Debug)]
pub struct FrameWriter(Arc<RamFrame>);

impl RamTier {
    /// A tier of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// None here.
    pub fn new(bytes_max: u64) -> io::Result<Self> {
        Ok(Self(Arc::new(Budget {
            bytes_max,
            used: AtomicU64::new(0),
        })))
    }
    /// A fresh frame, or None when the budget is used up.
    #[must_use]
    pub fn frame(&self, len: u32) -> Option<FrameWriter> {
        let want = u64::from(len);
        self.0
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                (used + want <= self.0.bytes_max).then_some(used + want)
            })
            .ok()?;
        let bytes = UnsafeCell::new(vec![0; len as usize].into_boxed_slice());
        let frame = RamFrame {
            budget: Arc::clone(&self.0),
            bytes,
            filled: AtomicU32::new(0),
            len,
        };
        Some(FrameWriter(Arc::new(frame)))
    }
    /// The descriptor to send from.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        -1
    }
    /// Bytes in frames.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.0.used.load(Ordering::Acquire)
    }
    /// The budget.
    #[must_use]
    pub fn capacity_bytes(&self) -> u64 {
        self.0.bytes_max
    }
    /// Whether frames may be sent by reference.
    #[must_use]
    pub fn sendfile_is_safe(&self) -> bool {
        false
    }
}

impl Drop for RamFrame {
    fn drop(&mut self) {
        self.budget
            .used
            .fetch_sub(u64::from(self.len), Ordering::AcqRel);
    }
}

impl RamFrame {
    /// Bytes it can hold.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> u32 {
        self.len
    }
    /// Where it lies in the descriptor.
    #[must_use]
    pub fn offset(&self) -> u64 {
        0
    }
    /// Bytes filled.
    #[must_use]
    pub fn filled(&self) -> u32 {
        self.filled.load(Ordering::Acquire)
    }
    /// The filled part.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let filled = self.filled() as usize;
        // SAFETY: bytes below `filled` are never written again.
        unsafe { std::slice::from_raw_parts((*self.bytes.get()).as_ptr(), filled) }
    }
}

impl FrameWriter {
    /// Adds bytes.
    pub fn append(&mut self, bytes: &[u8]) {
        let at = self.filled() as usize;
        assert!(at + bytes.len() <= self.0.len as usize, "the frame is full");
        // SAFETY: this is the only writer, and it writes above `filled` only, within the checked length.
        unsafe {
            let to = (*self.0.bytes.get()).as_mut_ptr().add(at);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        self.set_filled(u32::try_from(at + bytes.len()).unwrap_or(u32::MAX));
    }
    /// Room left.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.0.len - self.filled()
    }
    /// Bytes filled.
    #[must_use]
    pub fn filled(&self) -> u32 {
        self.0.filled()
    }
    /// The frame.
    #[must_use]
    pub fn frame(&self) -> &Arc<RamFrame> {
        &self.0
    }
    /// Says how much a read has filled.
    pub fn set_filled(&mut self, filled: u32) {
        self.0.filled.store(filled, Ordering::Release);
    }
}
