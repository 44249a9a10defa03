//! Frames for cold reads: page-aligned memory between the disk and a socket, registered with the ring where memlock
//! permits. The rule: a frame has one owner at a time, and the memory outlives every frame.

use crossbeam::queue::ArrayQueue;
use memmap2::{Advice, MmapMut};
use std::fmt;
use std::io;
use std::sync::Arc;

/// How large a frame is: a whole piece.
pub const FRAME_BYTES: usize = 1 << 20;

/// The frames of one shard. Clones share them.
#[derive(Clone)]
pub struct Arena(Arc<Memory>);

struct Memory {
    /// Where the first frame begins; page-aligned, as O_DIRECT wants it.
    base: *mut u8,
    /// Owns the memory; after the start it is reached through frames only.
    map: MmapMut,
    free: ArrayQueue<u32>,
    frames: u32,
}

// SAFETY: `base` points into `map`, which lives as long as Memory; a frame's bytes are reached only through the one
// Frame that has its number, and numbers are handed out by the queue, one owner at a time.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Arena {
    /// An arena of `bytes` (rounded down to whole frames of 1 MiB, at least one). Memory is taken at first use.
    ///
    /// # Errors
    /// The kernel's, where it gives no address range.
    pub fn new(bytes: u64) -> io::Result<Arena> {
        let frames = u32::try_from(bytes / FRAME_BYTES as u64)
            .map_err(io::Error::other)?
            .max(1);
        let mut map = MmapMut::map_anon(frames as usize * FRAME_BYTES)?;
        // Only advice: fewer page table entries where the machine has huge pages to give.
        let _ = map.advise(Advice::HugePage);
        let free = ArrayQueue::new(frames as usize);
        for index in (0..frames).rev() {
            // The queue has a place for each frame.
            let _ = free.push(index);
        }
        Ok(Arena(Arc::new(Memory {
            base: map.as_mut_ptr(),
            map,
            free,
            frames,
        })))
    }

    /// A frame, or None while all of them are lent.
    pub fn frame(&self) -> Option<Frame> {
        let index = self.0.free.pop()?;
        Some(Frame {
            memory: Arc::clone(&self.0),
            index,
        })
    }

    /// How many frames there are.
    pub fn frames(&self) -> u32 {
        self.0.frames
    }

    /// How many frames are free now.
    pub fn free_frames(&self) -> usize {
        self.0.free.len()
    }

    /// How much memory it can take.
    pub fn capacity_bytes(&self) -> u64 {
        self.0.map.len() as u64
    }

    /// The frames as the kernel registers them: one buffer a frame, by number.
    pub(crate) fn buffers(&self) -> impl Iterator<Item = libc::iovec> + '_ {
        (0..self.0.frames).map(|index| libc::iovec {
            iov_base: self.0.start(index).cast(),
            iov_len: FRAME_BYTES,
        })
    }

    /// Whether a frame is one of this arena's.
    pub(crate) fn owns(&self, frame: &Frame) -> bool {
        Arc::ptr_eq(&self.0, &frame.memory)
    }
}

impl Memory {
    fn start(&self, index: u32) -> *mut u8 {
        self.base.wrapping_add(index as usize * FRAME_BYTES)
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena")
            .field("frames", &self.frames())
            .field("free_frames", &self.free_frames())
            .finish()
    }
}

/// One frame of 1 MiB, page-aligned. It goes back to its arena when it is dropped.
pub struct Frame {
    memory: Arc<Memory>,
    index: u32,
}

impl Frame {
    /// The first `len` bytes (at most 1 MiB), as the last read left them.
    pub fn bytes(&self, len: usize) -> &[u8] {
        let len = len.min(FRAME_BYTES);
        // SAFETY: the frame's 1 MiB is mapped (zeros at first), and only this Frame reaches it; who writes has it by
        // `&mut` or owns it.
        unsafe { std::slice::from_raw_parts(self.memory.start(self.index), len) }
    }

    /// The whole frame, to write to.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`; `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start(self.index), FRAME_BYTES) }
    }

    /// Its number, which is its place among the ring's registered buffers.
    pub fn index(&self) -> u32 {
        self.index
    }

    pub(crate) fn read_target(&mut self) -> (*mut u8, usize) {
        (self.memory.start(self.index), FRAME_BYTES)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // The queue has a place for each frame.
        let _ = self.memory.free.push(self.index);
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({})", self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_apart_aligned_and_come_back() {
        let arena = Arena::new(3 << 20).unwrap();
        assert_eq!(arena.frames(), 3);
        let mut frames: Vec<Frame> = std::iter::from_fn(|| arena.frame()).collect();
        assert_eq!((frames.len(), arena.free_frames()), (3, 0));
        for (fill, frame) in frames.iter_mut().enumerate() {
            frame.bytes_mut().fill(fill as u8 + 1);
        }
        for (fill, frame) in frames.iter().enumerate() {
            assert_eq!(frame.bytes(1).as_ptr().addr() % 4096, 0);
            assert_eq!(frame.bytes(usize::MAX).len(), FRAME_BYTES);
            assert!(
                frame
                    .bytes(FRAME_BYTES)
                    .iter()
                    .all(|byte| *byte == fill as u8 + 1)
            );
        }
        frames.pop();
        assert_eq!(arena.free_frames(), 1);
        assert!(arena.frame().is_some());
    }

    #[test]
    fn a_frame_outlives_its_arena_and_goes_anywhere() {
        let arena = Arena::new(0).unwrap();
        let mut frame = arena.frame().unwrap();
        assert!(arena.frame().is_none());
        drop(arena);
        let frame = std::thread::spawn(move || {
            frame.bytes_mut()[..3].copy_from_slice(b"abc");
            frame
        })
        .join()
        .unwrap();
        assert_eq!(frame.bytes(3), b"abc");
    }
}
