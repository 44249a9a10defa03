//! Frames for cold reads: page-aligned memory between the disk and a socket, registered with the ring where memlock
//! permits. The rule: a frame has one owner at a time, and the memory outlives every frame.
//!
//! A frame is as long as what is to be read into it, up to a piece: so little memory holds many small reads, and where
//! only a little is left in one place, a read gets that, and the rest later.

use memmap2::{Advice, MmapMut};
use parking_lot::Mutex;
use std::fmt;
use std::io;
use std::sync::Arc;

/// How large a frame is at most: a whole piece.
pub const FRAME_BYTES: usize = 1 << 20;

/// What frames are made of: a block that has a checksum of its own.
const UNIT_BYTES: usize = 64 << 10;
const FRAME_UNITS: u32 = (FRAME_BYTES / UNIT_BYTES) as u32;

/// The frames of one shard. Clones share them.
#[derive(Clone)]
pub struct Arena(Arc<Memory>);

struct Memory {
    /// Where the first unit begins; page-aligned, as O_DIRECT wants it.
    base: *mut u8,
    /// Owns the memory; after the start it is reached through frames only.
    map: MmapMut,
    free: Mutex<Free>,
}

/// Which units are free.
struct Free {
    /// A bit for each unit, set where it is free.
    words: Vec<u64>,
    count: u32,
}

// SAFETY: `base` points into `map`, which lives as long as Memory; a unit's bytes are reached only through the one
// Frame that has it, and units are handed out under a lock, to one owner at a time.
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
        let free = Mutex::new(Free::new(frames * FRAME_UNITS));
        Ok(Arena(Arc::new(Memory {
            base: map.as_mut_ptr(),
            map,
            free,
        })))
    }

    /// A frame of 1 MiB, or None where there is none.
    pub fn frame(&self) -> Option<Frame> {
        self.frame_of(FRAME_BYTES)
            .filter(|frame| frame.len() == FRAME_BYTES)
    }

    /// A frame for `len` bytes (up to 1 MiB), or for fewer where no more is free in one place; None where nothing is.
    pub fn frame_of(&self, len: usize) -> Option<Frame> {
        let units = len.clamp(1, FRAME_BYTES).div_ceil(UNIT_BYTES) as u32;
        let (first, units) = self.0.free.lock().take(units)?;
        Some(Frame {
            memory: Arc::clone(&self.0),
            first,
            units,
        })
    }

    /// How much memory is free now.
    pub fn free_bytes(&self) -> usize {
        self.0.free.lock().count as usize * UNIT_BYTES
    }

    /// How much memory it can take.
    pub fn capacity_bytes(&self) -> u64 {
        self.0.map.len() as u64
    }

    /// All of its memory, as the kernel registers it: one buffer that every frame lies in.
    pub(crate) fn buffer(&self) -> libc::iovec {
        libc::iovec {
            iov_base: self.0.base.cast(),
            iov_len: self.0.map.len(),
        }
    }

    /// Whether a frame is one of this arena's.
    pub(crate) fn owns(&self, frame: &Frame) -> bool {
        Arc::ptr_eq(&self.0, &frame.memory)
    }
}

impl Free {
    fn new(units: u32) -> Self {
        let mut words = vec![u64::MAX; units.div_ceil(64) as usize];
        if let (Some(last), used @ 1..) = (words.last_mut(), units % 64) {
            *last = (1 << used) - 1;
        }
        Self {
            words,
            count: units,
        }
    }

    fn is_free(&self, unit: u32) -> bool {
        self.words
            .get(unit as usize / 64)
            .is_some_and(|word| word >> (unit % 64) & 1 != 0)
    }

    /// The first run of so many free units, or else the longest that there is.
    fn take(&mut self, units: u32) -> Option<(u32, u32)> {
        let (mut first, mut count) = (0, 0);
        let mut at = 0;
        while count < units {
            let word = self.words.get(at as usize / 64)? >> (at % 64);
            if word == 0 {
                at = (at / 64 + 1) * 64;
                if at as usize / 64 >= self.words.len() {
                    break;
                }
                continue;
            }
            at += word.trailing_zeros();
            let begin = at;
            while at - begin < units && self.is_free(at) {
                at += 1;
            }
            if at - begin > count {
                (first, count) = (begin, at - begin);
            }
            if at as usize / 64 >= self.words.len() {
                break;
            }
        }
        if count == 0 {
            return None;
        }
        self.turn(first, count);
        self.count -= count;
        Some((first, count))
    }

    fn give(&mut self, first: u32, count: u32) {
        self.turn(first, count);
        self.count += count;
    }

    /// Free units become used ones, or used ones free.
    fn turn(&mut self, first: u32, count: u32) {
        for unit in first..first + count {
            self.words[unit as usize / 64] ^= 1 << (unit % 64);
        }
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena")
            .field("capacity_bytes", &self.capacity_bytes())
            .field("free_bytes", &self.free_bytes())
            .finish()
    }
}

/// Up to 1 MiB, page-aligned. It goes back to its arena when it is dropped.
pub struct Frame {
    memory: Arc<Memory>,
    first: u32,
    units: u32,
}

impl Frame {
    /// How many bytes it has room for.
    #[expect(clippy::len_without_is_empty, reason = "a frame is never empty")]
    pub fn len(&self) -> usize {
        self.units as usize * UNIT_BYTES
    }

    /// The first `len` bytes (at most all of it), as the last read left them.
    pub fn bytes(&self, len: usize) -> &[u8] {
        let len = len.min(self.len());
        // SAFETY: the frame's units are mapped (zeros at first), and only this Frame reaches them; who writes has it
        // by `&mut` or owns it.
        unsafe { std::slice::from_raw_parts(self.start(), len) }
    }

    /// The whole frame, to write to.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`; `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.len()) }
    }

    pub(crate) fn read_target(&mut self) -> (*mut u8, usize) {
        (self.start(), self.len())
    }

    fn start(&self) -> *mut u8 {
        self.memory
            .base
            .wrapping_add(self.first as usize * UNIT_BYTES)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.memory.free.lock().give(self.first, self.units);
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({}+{})", self.first, self.units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_apart_aligned_and_come_back() {
        let arena = Arena::new(3 << 20).unwrap();
        assert_eq!(arena.capacity_bytes(), 3 << 20);
        let mut frames: Vec<Frame> = std::iter::from_fn(|| arena.frame()).collect();
        assert_eq!((frames.len(), arena.free_bytes()), (3, 0));
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
        assert_eq!(arena.free_bytes(), FRAME_BYTES);
        assert!(arena.frame().is_some());
    }

    #[test]
    fn a_frame_is_as_long_as_it_is_to_be_or_as_there_is_room() {
        // An arena of 20 MiB has more units than a word has bits.
        for mib in [1, 20] {
            let arena = Arena::new(mib << 20).unwrap();
            let unit = UNIT_BYTES;
            let all: Vec<Frame> = std::iter::from_fn(|| arena.frame_of(1)).collect();
            assert_eq!(all.len() as u64, mib << 4);
            assert!(all.iter().all(|frame| frame.len() == unit));
            let mut slots: Vec<Option<Frame>> = all.into_iter().map(Some).collect();
            let last = slots.len() - 1;
            // Two in a row, and one at the end.
            for at in [3, 4, last] {
                slots[at] = None;
            }
            assert_eq!(arena.free_bytes(), 3 * unit);
            let both = arena.frame_of(2 * unit).unwrap();
            assert_eq!(both.len(), 2 * unit);
            drop(both);
            assert!(arena.frame().is_none());
            assert_eq!(arena.free_bytes(), 3 * unit, "what is too short goes back");
            let most = arena.frame_of(FRAME_BYTES).unwrap();
            assert_eq!(most.len(), 2 * unit);
            assert_eq!(arena.frame_of(FRAME_BYTES).map(|f| f.len()), Some(unit));
            drop((most, slots));
            assert_eq!(arena.free_bytes() as u64, arena.capacity_bytes());
            assert!(arena.frame().is_some());
        }
    }

    #[test]
    fn a_frame_outlives_its_arena_and_goes_anywhere() {
        let arena = Arena::new(0).unwrap();
        let mut frame = arena.frame().unwrap();
        assert!(arena.frame_of(1).is_none());
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
