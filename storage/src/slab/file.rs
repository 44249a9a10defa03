//! One slab file, with its table in memory. The rule: one thread writes (the disk's writer); any thread may read the
//! table, under a lock that is never held across a read or write of the disk.

use super::layout::{BLOCKS_MAX, Geometry, Head, PAGE_BYTES, SlotHeader, blocks, sector_offset};
use super::table::Table;
use crate::block_io::{AlignedBuf, BlockDir, BlockIo, SECTOR_BYTES};
use crate::index::SLABS_MAX;
use larder_content::BLOCK_BYTES;
use parking_lot::{Mutex, RwLock};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use xxhash_rust::xxh3::xxh3_64;

/// One slab.
#[derive(Debug)]
pub(crate) struct Slab {
    /// Its number on its disk.
    pub(crate) number: u32,
    /// How it is divided.
    pub(crate) geometry: Geometry,
    pub(super) io: Box<dyn BlockIo>,
    pub(super) table: RwLock<Table>,
    /// The head as it is on disk; the writer's own.
    pub(super) head: Mutex<Head>,
    /// Copies of it that were found damaged, a bit each: both are to be written, those first.
    pub(super) damaged_heads: AtomicU8,
    /// Held while table and head are written or compared with what is on disk.
    pub(super) committing: Mutex<()>,
}

/// The name of a slab's file.
pub(crate) fn name_of(number: u32) -> String {
    format!("slab-{number:08}")
}

/// The number in a slab file's name.
pub(crate) fn number_of(name: &str) -> Option<u32> {
    let number = name.strip_prefix("slab-")?.parse().ok()?;
    (name == name_of(number) && number < SLABS_MAX).then_some(number)
}

/// The checksum of each block of a piece.
pub(crate) fn sums_of(piece: &[u8]) -> ([u64; BLOCKS_MAX], usize) {
    let mut sums = [0; BLOCKS_MAX];
    let mut count = 0;
    for (sum, block) in sums.iter_mut().zip(piece.chunks(BLOCK_BYTES as usize)) {
        *sum = xxh3_64(block);
        count += 1;
    }
    (sums, count)
}

impl Slab {
    /// Makes a slab file of `bytes`, which takes its room on the disk.
    ///
    /// # Errors
    /// The disk's; `StorageFull` where there is no room. Nothing is left behind, if the disk permits.
    pub(crate) fn make(
        dir: &dyn BlockDir,
        number: u32,
        bytes: u64,
        birth: u64,
    ) -> io::Result<Arc<Self>> {
        let geometry = Geometry::of(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        let name = name_of(number);
        let io = dir.open(&name, true)?;
        let head = Head {
            sequence: 0,
            slab: number,
            sectors: geometry.sectors,
            pages_in_use: 0,
            birth,
        };
        let slab = Self {
            number,
            geometry,
            io,
            table: RwLock::new(Table::new(birth, geometry.pages)),
            head: Mutex::new(head),
            damaged_heads: AtomicU8::new(0),
            committing: Mutex::new(()),
        };
        let made = slab
            .io
            .preallocate(sector_offset(geometry.sectors))
            .and_then(|()| slab.write_head(0))
            .and_then(|()| slab.write_head(0))
            .and_then(|()| slab.io.sync());
        if let Err(error) = made {
            // The error that matters is the first; a file left behind has no head and is removed at the next start.
            let _ = dir.remove(&name);
            return Err(error);
        }
        Ok(Arc::new(slab))
    }

    /// Bytes of the whole file.
    pub(crate) fn bytes(&self) -> u64 {
        sector_offset(self.geometry.sectors)
    }

    /// The descriptor for drivers.
    pub(crate) fn fd(&self) -> Option<Arc<OwnedFd>> {
        self.io.fd()
    }

    /// The header at a cell.
    pub(crate) fn header(&self, cell: u32) -> Option<SlotHeader> {
        self.table.read().get(cell)
    }

    /// Whether `data` is what the header at `cell` promises from block `first` on; None where it promises nothing of
    /// the kind.
    pub(crate) fn matches(
        &self,
        cell: u32,
        generation: u32,
        first: usize,
        data: &[u8],
    ) -> Option<bool> {
        let count = data.len().div_ceil(BLOCK_BYTES as usize);
        let (header, promised) = {
            let table = self.table.read();
            let header = table
                .get(cell)
                .filter(|header| header.generation == generation)?;
            (header, table.sums(cell, first, count)?)
        };
        // Whole blocks, or up to the piece's end.
        let end = first * BLOCK_BYTES as usize + data.len();
        if !data.len().is_multiple_of(BLOCK_BYTES as usize) && end != header.len as usize {
            return None;
        }
        let (found, count) = sums_of(data);
        Some(found[..count] == promised[..count])
    }

    /// Puts a header into the table; it reaches the disk with the next [`Slab::commit`].
    pub(crate) fn put(&self, header: &SlotHeader, sums: &[u64]) -> Option<u32> {
        debug_assert!(header.is_sound(&self.geometry));
        debug_assert_eq!(sums.len(), blocks(header.len));
        self.table.write().put(header, sums)
    }

    /// Forgets the header at a cell, where it is still that use of the place.
    pub(crate) fn clear(&self, cell: u32, generation: u32) -> Option<SlotHeader> {
        let mut table = self.table.write();
        let header = table
            .get(cell)
            .filter(|header| header.generation == generation)?;
        table.clear(cell);
        Some(header)
    }

    /// Writes data to whole sectors.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn write(&self, sector: u32, data: &[u8]) -> io::Result<()> {
        debug_assert!(sector >= self.geometry.data_sector);
        debug_assert!(data.len().is_multiple_of(SECTOR_BYTES as usize));
        self.io.write_at(data, sector_offset(sector))
    }

    /// Reads whole sectors.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.io.read_at(buf, offset)
    }

    /// The checksums that the header at a cell promises.
    #[cfg(test)]
    pub(crate) fn promised(&self, cell: u32, len: u32) -> Option<[u64; BLOCKS_MAX]> {
        self.table.read().sums(cell, 0, blocks(len))
    }

    /// Bytes of memory that the table takes.
    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        self.table.read().memory_bytes()
    }

    /// Whether the table has changes that are not on disk.
    pub(crate) fn is_dirty(&self) -> bool {
        self.table.read().is_dirty() || self.damaged_heads.load(Ordering::Relaxed) != 0
    }

    /// Makes durable what was written, then the headers that name it (and the forgetting of others), in that order.
    ///
    /// # Errors
    /// The disk's. The slab is then not to be used any more: what it holds is unknown.
    pub(crate) fn commit(&self) -> io::Result<()> {
        let _committing = self.committing.lock();
        let pages = self.table.read().pages_in_use();
        let damaged = self.damaged_heads.swap(0, Ordering::Relaxed);
        if damaged != 0 {
            {
                let mut head = self.head.lock();
                if damaged == 1 << (head.sequence & 1) {
                    // The whole copy stays until the other one is whole, too.
                    head.sequence = head.sequence.wrapping_add(1);
                }
            }
            self.write_head(pages)?;
            self.io.sync()?;
            self.write_head(pages)?;
        } else if pages > self.head.lock().pages_in_use {
            self.write_head(pages)?;
        }
        // Data, and the mark of pages in use, before any page that relies on them.
        self.io.sync()?;
        let mut out = AlignedBuf::zeroed(PAGE_BYTES);
        loop {
            let Some(sealed) = self.table.write().seal(out.bytes_mut()) else {
                break;
            };
            self.io
                .write_at(out.bytes(), Geometry::page_offset(sealed.page, sealed.copy))?;
        }
        self.io.sync()
    }

    fn write_head(&self, pages_in_use: u32) -> io::Result<()> {
        let mut head = self.head.lock();
        let next = Head {
            sequence: head.sequence.wrapping_add(1),
            pages_in_use,
            ..*head
        };
        let mut out = AlignedBuf::zeroed(PAGE_BYTES);
        next.write(out.bytes_mut());
        self.io
            .write_at(out.bytes(), sector_offset(next.sequence & 1))?;
        *head = next;
        Ok(())
    }
}
