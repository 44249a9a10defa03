//! What a disk read fills.

use crate::ram_tier::FrameWriter;

/// A buffer lent to the driver.
#[derive(Debug)]
pub enum IoBuf {
    /// A frame of the memory tier.
    Ram(FrameWriter),
}
