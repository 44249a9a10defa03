//! The memory tier: hot pieces and pieces on their way in, as frames of one memfd, sent by `sendfile(2)` without a
//! copy. The rule: a byte that was once visible in a frame is never written again; a frame is freed by punching its
//! whole units out of the file, so that what is still queued on a socket stays what it was.
//!
//! `sendfile` queues references to pages. Punching a whole folio takes it out of the file and leaves it to those who
//! still refer to it; punching a part of one writes zeros into it, on its way to a client. So no folio may be larger
//! than a unit. The mapping lies at an odd multiple of 64 KiB, where the kernel can not place a larger one, whatever
//! the machine's huge page settings are; a self-test with a reader that does not read proves it at start.

mod self_test;
mod units;

use bytes::Bytes;
use larder_content::PIECE_BYTES;
use memmap2::{MmapMut, MmapOptions};
use parking_lot::Mutex;
use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use units::{GROUP_UNITS, Units};

/// What is allocated and punched: 64 KiB, which is the largest folio there can be and the checksum block.
pub const UNIT_BYTES: u32 = 64 << 10;

/// The memory tier. Clones share it.
#[derive(Clone)]
pub struct RamTier(Arc<Tier>);

/// The file, its mapping and the books.
struct Tier {
    file: OwnedFd,
    /// Where the file's first byte is mapped, inside `reserved`.
    base: *mut u8,
    /// Holds the addresses; unmapping it unmaps the file, too.
    reserved: MmapMut,
    capacity_units: u32,
    units: Mutex<Units>,
    /// Bytes of ranges that could not be punched: they stay charged and are never used again.
    lost_bytes: AtomicU64,
}

// SAFETY: `base` points into a mapping that lives as long as the Tier. Who may write where is settled by the books:
// a range belongs to one FrameWriter, and what readers see of it (`filled`) is not written any more.
unsafe impl Send for Tier {}
// SAFETY: as above; the books are behind a mutex.
unsafe impl Sync for Tier {}

impl RamTier {
    /// A tier of at most `bytes_max` bytes (rounded down to 64 KiB). Memory is taken as frames are filled.
    ///
    /// # Errors
    /// The kernel's, where it gives no memfd or no address range.
    pub fn new(bytes_max: u64) -> io::Result<RamTier> {
        let capacity_units = u32::try_from(bytes_max / u64::from(UNIT_BYTES)).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a memory tier of {bytes_max} bytes is more than this program can map"),
            )
        })?;
        let group_bytes = u64::from(GROUP_UNITS) * u64::from(UNIT_BYTES);
        // One group a unit of the budget: addresses are free, and no run is ever refused for fragments.
        let bytes = u64::from(capacity_units.max(1)) * group_bytes;
        let file = memfd(bytes)?;
        let (reserved, base) = map(&file, bytes)?;
        Ok(RamTier(Arc::new(Tier {
            file,
            base,
            reserved,
            capacity_units,
            units: Mutex::new(Units::new(capacity_units)),
            lost_bytes: AtomicU64::new(0),
        })))
    }

    /// A fresh frame for `len` bytes (1..=1 MiB); None when the budget is used up, or for another length.
    pub fn frame(&self, len: u32) -> Option<FrameWriter> {
        if len == 0 || len > PIECE_BYTES {
            return None;
        }
        let count = len.div_ceil(UNIT_BYTES);
        let first = self.0.units.lock().take(count)?;
        Some(FrameWriter {
            frame: Arc::new(RamFrame {
                tier: Arc::clone(&self.0),
                first,
                len,
                filled: AtomicU32::new(0),
            }),
        })
    }

    /// The memfd, for `sendfile(2)`. Nobody may write to it.
    pub fn fd(&self) -> RawFd {
        self.0.file.as_raw_fd()
    }

    /// Bytes of the units that frames hold, filled or not.
    pub fn used_bytes(&self) -> u64 {
        u64::from(self.0.units.lock().used()) * u64::from(UNIT_BYTES)
    }

    /// The most there can be.
    pub fn capacity_bytes(&self) -> u64 {
        u64::from(self.0.capacity_units) * u64::from(UNIT_BYTES)
    }

    /// Bytes that the kernel refused to free; 0 on a healthy machine. They count as used.
    pub fn lost_bytes(&self) -> u64 {
        self.0.lost_bytes.load(Ordering::Relaxed)
    }

    /// Whether what `sendfile(2)` queued survives the frame on this kernel. Tried once a process, with a reader that
    /// does not read; where it says false, send copies from [`RamFrame::bytes`].
    pub fn sendfile_is_safe(&self) -> bool {
        self_test::outcome().is_ok()
    }

    /// Why `sendfile(2)` is not used, in plain words, or None where it is.
    pub fn sendfile_refused_because(&self) -> Option<&'static str> {
        self_test::outcome().as_ref().err().map(String::as_str)
    }
}

impl fmt::Debug for RamTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RamTier")
            .field("used_bytes", &self.used_bytes())
            .field("capacity_bytes", &self.capacity_bytes())
            .finish()
    }
}

/// A memfd of `bytes` address space; no page is there yet.
fn memfd(bytes: u64) -> io::Result<OwnedFd> {
    let name = c"larder-ram-tier";
    // Never executable, where the kernel knows how to say so (6.3); plain otherwise.
    let mut made = -1;
    for flags in [libc::MFD_CLOEXEC | libc::MFD_NOEXEC_SEAL, libc::MFD_CLOEXEC] {
        // SAFETY: `name` is a NUL-terminated string that outlives the call.
        made = unsafe { libc::memfd_create(name.as_ptr(), flags) };
        if made >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL) {
            break;
        }
    }
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else has it.
    let file = unsafe { OwnedFd::from_raw_fd(made) };
    let length = i64::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: plain system call on a descriptor that is open.
    if unsafe { libc::ftruncate64(file.as_raw_fd(), length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

/// Maps the file at an odd multiple of the unit, so that no folio larger than a unit fits.
fn map(file: &OwnedFd, bytes: u64) -> io::Result<(MmapMut, *mut u8)> {
    let len = usize::try_from(bytes).map_err(io::Error::other)?;
    let unit = UNIT_BYTES as usize;
    let mut reserved = MmapOptions::new()
        .len(len + 2 * unit)
        .no_reserve_swap()
        .map_anon()?;
    let begin = reserved.as_mut_ptr();
    let past_even = begin.addr() % (2 * unit);
    let skip = if past_even <= unit {
        unit - past_even
    } else {
        3 * unit - past_even
    };
    let at = begin.wrapping_add(skip);
    debug_assert_eq!(at.addr() % (2 * unit), unit);
    // SAFETY: `skip` < 2 units, so `at..at + len` lies inside the reservation, which is ours, which nobody refers
    // to, and which is replaced here page by page; `reserved` unmaps the whole range when it is dropped.
    let mapped = unsafe {
        libc::mmap64(
            at.cast(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_FIXED,
            file.as_raw_fd(),
            0,
        )
    };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // Only advice: with `hugepages-64kB/shmem_enabled` at `advise` a unit is one folio, else 4 KiB pages, dearer.
    // SAFETY: advice on a range that was mapped just now; it changes no content.
    unsafe { libc::madvise(at.cast(), len, libc::MADV_HUGEPAGE) };
    Ok((reserved, at))
}

/// Bytes of one piece in the memory tier, shared as `Arc<RamFrame>`. The last owner to go frees it.
pub struct RamFrame {
    tier: Arc<Tier>,
    /// The first unit.
    first: u32,
    len: u32,
    /// Bytes from the beginning that are written and will not change.
    filled: AtomicU32,
}

impl RamFrame {
    /// How many bytes it will hold when it is whole.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Never: a frame has at least one byte to hold.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Where it begins in the memfd.
    pub fn offset(&self) -> u64 {
        u64::from(self.first) * u64::from(UNIT_BYTES)
    }

    /// How many bytes from the beginning are there and final.
    pub fn filled(&self) -> u32 {
        self.filled.load(Ordering::Acquire)
    }

    /// The filled part.
    pub fn bytes(&self) -> &[u8] {
        let filled = self.filled() as usize;
        // SAFETY: the first `filled` bytes were written before `filled` was published (Release, read by Acquire),
        // are not written again while the frame lives, and the mapping lives as long as `tier`.
        unsafe { std::slice::from_raw_parts(self.start(), filled) }
    }

    /// A part of the filled bytes without a copy; it keeps the frame alive. None beyond what is filled.
    pub fn share(self: &Arc<Self>, part: Range<u32>) -> Option<Bytes> {
        struct Owner(Arc<RamFrame>);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                self.0.bytes()
            }
        }
        if part.start > part.end || part.end > self.filled() {
            return None;
        }
        let whole = Bytes::from_owner(Owner(Arc::clone(self)));
        Some(whole.slice(part.start as usize..part.end as usize))
    }

    /// Sends `part` of the filled bytes by `sendfile(2)` and says how many the socket took. What was queued stays
    /// right after the frame is gone, where [`RamTier::sendfile_is_safe`].
    ///
    /// # Errors
    /// The kernel's (`WouldBlock` where the socket is full and non-blocking), and `InvalidInput` beyond what is filled.
    pub fn send_file(&self, socket: BorrowedFd<'_>, part: Range<u32>) -> io::Result<usize> {
        if part.start > part.end || part.end > self.filled() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut offset =
            i64::try_from(self.offset() + u64::from(part.start)).map_err(io::Error::other)?;
        // SAFETY: both descriptors are open for the length of the call, and `offset` is a local variable.
        let sent = unsafe {
            libc::sendfile64(
                socket.as_raw_fd(),
                self.tier.file.as_raw_fd(),
                &mut offset,
                part.len(),
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    fn units(&self) -> u32 {
        self.len.div_ceil(UNIT_BYTES)
    }

    fn start(&self) -> *mut u8 {
        // Inside the mapping: it has a unit's bytes for each unit that the books give out.
        self.tier
            .base
            .wrapping_add(self.first as usize * UNIT_BYTES as usize)
    }
}

impl fmt::Debug for RamFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RamFrame")
            .field("offset", &self.offset())
            .field("filled", &self.filled())
            .field("len", &self.len)
            .finish()
    }
}

impl Drop for RamFrame {
    fn drop(&mut self) {
        let bytes = u64::from(self.units()) * u64::from(UNIT_BYTES);
        if let Err(error) = self.tier.punch(self.offset(), bytes) {
            // The pages are still in the file, so a new frame here would write over what may be queued somewhere.
            self.tier.lost_bytes.fetch_add(bytes, Ordering::Relaxed);
            tracing::warn!(%error, bytes, "memory tier: a frame could not be punched; its memory is lost until restart");
            return;
        }
        self.tier.units.lock().give(self.first, self.units());
    }
}

impl Tier {
    fn punch(&self, offset: u64, bytes: u64) -> io::Result<()> {
        let (offset, bytes) = (
            i64::try_from(offset).map_err(io::Error::other)?,
            i64::try_from(bytes).map_err(io::Error::other)?,
        );
        loop {
            // SAFETY: the range belongs to a frame that is being dropped: nobody holds a slice of it any more.
            let done = unsafe {
                libc::fallocate64(
                    self.file.as_raw_fd(),
                    libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
                    offset,
                    bytes,
                )
            };
            if done == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

impl AsFd for RamTier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.file.as_fd()
    }
}

impl fmt::Debug for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tier")
            .field("mapped_bytes", &self.reserved.len())
            .finish_non_exhaustive()
    }
}

/// The one writer of a frame. What it has written is visible to all who hold the frame.
#[derive(Debug)]
pub struct FrameWriter {
    frame: Arc<RamFrame>,
}

impl FrameWriter {
    /// Adds bytes after those that are filled.
    ///
    /// # Panics
    /// When they are more than [`FrameWriter::remaining`]: whoever reads from outside has to cut before.
    pub fn append(&mut self, bytes: &[u8]) {
        assert!(
            bytes.len() <= self.remaining() as usize,
            "{} bytes for a frame with room for {}",
            bytes.len(),
            self.remaining()
        );
        let filled = self.filled();
        // SAFETY: the range begins after what readers may see and ends within the frame (checked above); this
        // writer is the only one (`&mut self`, no Clone), and `bytes` can not lie there since no slice of it exists.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.frame.start().wrapping_add(filled as usize),
                bytes.len(),
            );
        }
        // Fits: at most the frame's length, which is a u32.
        let filled = filled + bytes.len() as u32;
        self.frame.filled.store(filled, Ordering::Release);
    }

    /// What is not filled yet, for bytes that are put there in order; [`FrameWriter::add`] makes them visible.
    pub fn room(&mut self) -> &mut [u8] {
        let (filled, missing) = (self.filled() as usize, self.remaining() as usize);
        // SAFETY: the range begins after what readers may see and ends within the frame; this writer is the only one
        // and is borrowed. What nobody has written yet is mapped and reads as zeros.
        unsafe { std::slice::from_raw_parts_mut(self.frame.start().wrapping_add(filled), missing) }
    }

    /// The first `count` bytes of [`FrameWriter::room`] are there, at most all of it.
    pub fn add(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.set_filled(self.filled().saturating_add(count));
    }

    /// How many bytes are missing until the frame is whole.
    pub fn remaining(&self) -> u32 {
        self.frame.len - self.filled()
    }

    /// How many bytes are there.
    pub fn filled(&self) -> u32 {
        self.frame.filled.load(Ordering::Relaxed)
    }

    /// The frame, for readers.
    pub fn frame(&self) -> &Arc<RamFrame> {
        &self.frame
    }

    /// Has the kernel give all of the frame's memory at once. Written bit by bit it would be given page by page, with a
    /// fault for each, which costs more than copying the bytes.
    pub(crate) fn populate(&mut self) {
        let (start, bytes) = (self.frame.start(), self.frame.len as usize);
        // SAFETY: the range belongs to this frame and is mapped for as long as it lives; the advice changes no content,
        // it only puts pages of zeros where there are none. Where the kernel does not know it, or has no memory just
        // now, the pages come by faults as ever.
        unsafe { libc::madvise(start.cast(), bytes, libc::MADV_POPULATE_WRITE) };
    }

    /// Where a disk read may write, and how much there is room for: whole units, so that a read of the disk's
    /// granularity fits. None once anything is filled, since readers may be looking.
    pub(crate) fn read_target(&mut self) -> Option<(*mut u8, usize)> {
        let room = self.frame.units() as usize * UNIT_BYTES as usize;
        (self.filled() == 0).then(|| (self.frame.start(), room))
    }

    /// Declares the first `count` bytes written (by a disk read into [`FrameWriter::read_target`]); never fewer than
    /// before, never more than the frame's length.
    pub(crate) fn set_filled(&mut self, count: u32) {
        let count = count.clamp(self.filled(), self.frame.len);
        self.frame.filled.store(count, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
