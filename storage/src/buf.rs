//! What a disk read is lent: a frame of the arena, or a fresh frame of the memory tier. The rule: it is owned by who
//! uses it, so a driver that holds one is the only one that can reach its memory.

use crate::arena::Frame;
use crate::ram_tier::FrameWriter;

/// A buffer on its way through a driver.
#[derive(Debug)]
pub enum IoBuf {
    /// For bytes that are sent once.
    Arena(Frame),
    /// For a piece that goes to the memory tier. It must be fresh: nothing filled. A read that succeeds fills it, to
    /// the length that was read or the frame's own length, whichever is less.
    Ram(FrameWriter),
}

impl IoBuf {
    /// The first `len` bytes; of a memory tier frame at most what is filled.
    pub fn bytes(&self, len: usize) -> &[u8] {
        match self {
            IoBuf::Arena(frame) => frame.bytes(len),
            IoBuf::Ram(writer) => {
                let filled = writer.frame().bytes();
                &filled[..len.min(filled.len())]
            }
        }
    }

    /// Where a read may write and how much fits. None where bytes are visible to readers already.
    pub(crate) fn read_target(&mut self) -> Option<(*mut u8, usize)> {
        match self {
            IoBuf::Arena(frame) => Some(frame.read_target()),
            IoBuf::Ram(writer) => writer.read_target(),
        }
    }

    /// A read of `len` bytes into [`IoBuf::read_target`] has succeeded.
    pub(crate) fn read_done(&mut self, len: u32) {
        if let IoBuf::Ram(writer) = self {
            writer.set_filled(len);
        }
    }
}
