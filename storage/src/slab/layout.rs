//! What lies where in a slab file, as bytes. The rule: nothing is believed before its checksum is right and its
//! numbers are inside the slab, and everything is little endian, whatever the machine.
//!
//! ```text
//! sector 0        head, copy 0     | written in turn, so that one whole copy is there
//! sector 1        head, copy 1     | whenever the power fails
//! sector 2        table page 0, copy 0
//! sector 3        table page 0, copy 1
//! ...             two sectors for each page, as many pages as there may be pieces of 4 KiB
//! data_sector     places: runs of whole sectors, each one piece or one pack of small pieces
//! ```
//!
//! The table comes first and in one stretch, since a start reads the tables and nothing else. Each page has two
//! copies, of which the older is overwritten: a page holds headers that were durable before, and a write that is torn
//! must not take them along. Each copy costs 1 % of the slab.
//!
//! ```text
//! head:  0 magic 8 | 8 version 4 | 12 sequence 4 | 16 slab 4 | 20 sectors 4 | 24 pages in use 4 | 28 zeros 4
//!        | 32 birth 8 | zeros | 4088 xxh3-64 of 0..4088
//! page:  0 xxh3-64 of 8..4096, seeded with birth and page number 8 | 8 sequence 4 | 12 zeros 4
//!        | 16 .. 4096: 102 cells of 40
//! cell:  0 content 8 (0: free) | 8 piece 4 | 12 generation 4 | 16 place 4 | 20 sector 4 | 24 skip 2 | 26 zeros 2
//!        | 28 length 4 | 32 xxh3-64 of the first 64 KiB 8
//!        followed by as many cells as the checksums of the other blocks fill, five in each
//! ```
//!
//! A page of zeros was never written and holds nothing. The seed makes a page that was written to the wrong slab, or
//! to the wrong place in it, a damaged one.

use crate::block_io::SECTOR_BYTES;
use crate::index::CELLS_MAX;
use larder_content::{BLOCK_BYTES, ContentNo, PIECE_BYTES, PieceId};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes in a table page, one sector.
pub(crate) const PAGE_BYTES: usize = SECTOR_BYTES as usize;
/// Cells in a page.
pub(crate) const CELLS_PER_PAGE: u32 = 102;
const CELL_BYTES: usize = 40;
const PAGE_HEAD_BYTES: usize = 16;
const SUMS_PER_CELL: usize = 5;
const MAGIC: [u8; 8] = *b"lardSLAB";
/// Goes up whenever an older larder could not read what a newer one wrote.
const VERSION: u32 = 1;
/// Blocks in a piece at most.
pub(crate) const BLOCKS_MAX: usize = (PIECE_BYTES / BLOCK_BYTES) as usize;

/// Pieces below this length share sectors. Above it, rounding up to whole sectors loses 3 % at most on average.
pub(crate) const SHARED_BELOW_BYTES: u32 = 64 << 10;
/// Sectors in a pack, the place of small pieces; 1 MiB, as a whole piece, so that one fits where the other was.
pub(crate) const PACK_SECTORS: u32 = PIECE_BYTES / SECTOR_BYTES;

/// The smallest slab that is made: room for its table and three pieces.
pub(crate) const SLAB_BYTES_MIN: u64 = 4 << 20;

/// The largest: as many cells as the index can tell apart.
pub(crate) const SLAB_BYTES_MAX: u64 =
    (CELLS_MAX / CELLS_PER_PAGE * CELLS_PER_PAGE) as u64 * SECTOR_BYTES as u64;

/// How a slab of some size is divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Geometry {
    /// Sectors in the file.
    pub(crate) sectors: u32,
    /// Pages in the table, each of which has two copies.
    pub(crate) pages: u32,
    /// The first sector of the data.
    pub(crate) data_sector: u32,
}

impl Geometry {
    /// For a file of `bytes`; None where no piece fits, and above the largest.
    pub(crate) fn of(bytes: u64) -> Option<Self> {
        if bytes > SLAB_BYTES_MAX {
            return None;
        }
        let sectors = u32::try_from(bytes / u64::from(SECTOR_BYTES)).ok()?;
        let pages = sectors.div_ceil(CELLS_PER_PAGE);
        let data_sector = (2 + 2 * pages).next_multiple_of(16);
        (data_sector + PACK_SECTORS <= sectors).then_some(Self {
            sectors,
            pages,
            data_sector,
        })
    }

    /// The largest file of at most `bytes` whose data is just whole pieces: what would be left at the end is no use.
    pub(crate) fn fitting(bytes: u64) -> Option<u64> {
        let geometry = Self::of(bytes)?;
        let data = geometry.sectors - geometry.data_sector;
        let sectors = geometry.data_sector + data / PACK_SECTORS * PACK_SECTORS;
        Some(sector_offset(sectors))
    }

    /// Where a copy (0 or 1) of a page lies in the file.
    pub(crate) fn page_offset(page: u32, copy: u32) -> u64 {
        sector_offset(2 + 2 * page + (copy & 1))
    }
}

/// Where a sector begins in the file.
pub(crate) fn sector_offset(sector: u32) -> u64 {
    u64::from(sector) * u64::from(SECTOR_BYTES)
}

/// The head of a slab.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    /// Counts the writes of the head; its parity says which copy it is.
    pub(crate) sequence: u32,
    /// The slab's number, as in its file's name.
    pub(crate) slab: u32,
    /// Sectors in the file.
    pub(crate) sectors: u32,
    /// No page from this one on was ever written.
    pub(crate) pages_in_use: u32,
    /// Drawn at random when the slab was made: tells it from an earlier one of that number.
    pub(crate) birth: u64,
}

impl Head {
    pub(crate) fn write(&self, page: &mut [u8]) {
        page.fill(0);
        page[..8].copy_from_slice(&MAGIC);
        put_u32(page, 8, VERSION);
        put_u32(page, 12, self.sequence);
        put_u32(page, 16, self.slab);
        put_u32(page, 20, self.sectors);
        put_u32(page, 24, self.pages_in_use);
        put_u64(page, 32, self.birth);
        let sum = xxh3_64(&page[..PAGE_BYTES - 8]);
        put_u64(page, PAGE_BYTES - 8, sum);
    }

    /// The version of a head that is whole, and of a larder that knew more than this one.
    pub(crate) fn newer(page: &[u8]) -> Option<u32> {
        let version = get_u32(page, 8);
        let whole =
            page[..8] == MAGIC && get_u64(page, PAGE_BYTES - 8) == xxh3_64(&page[..PAGE_BYTES - 8]);
        (whole && version > VERSION).then_some(version)
    }

    /// None where it is damaged, of another version, or not that slab's.
    pub(crate) fn read(page: &[u8], slab: u32, file_bytes: u64) -> Option<Self> {
        let head = Self {
            sequence: get_u32(page, 12),
            slab: get_u32(page, 16),
            sectors: get_u32(page, 20),
            pages_in_use: get_u32(page, 24),
            birth: get_u64(page, 32),
        };
        let whole = page[..8] == MAGIC
            && get_u32(page, 8) == VERSION
            && get_u64(page, PAGE_BYTES - 8) == xxh3_64(&page[..PAGE_BYTES - 8]);
        let geometry = Geometry::of(file_bytes)?;
        let fits = head.slab == slab
            && head.sectors == geometry.sectors
            && head.pages_in_use <= geometry.pages;
        (whole && fits).then_some(head)
    }
}

fn page_seed(birth: u64, page: u32) -> u64 {
    birth ^ (u64::from(page) << 32)
}

/// Puts sequence and checksum into a page whose cells are complete.
pub(crate) fn seal_page(bytes: &mut [u8], birth: u64, page: u32, sequence: u32) {
    put_u32(bytes, 8, sequence);
    put_u32(bytes, 12, 0);
    let sum = xxh3_64_with_seed(&bytes[8..], page_seed(birth, page));
    put_u64(bytes, 0, sum);
}

/// A page that was never written.
static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// What a copy of a page is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PageCopy {
    /// Never written.
    Virgin,
    /// Whole, of this sequence number.
    Whole(u32),
    /// Neither.
    Damaged,
}

/// Looks at one copy of a page.
pub(crate) fn check_page(bytes: &[u8], birth: u64, page: u32) -> PageCopy {
    if get_u64(bytes, 0) == xxh3_64_with_seed(&bytes[8..], page_seed(birth, page)) {
        PageCopy::Whole(get_u32(bytes, 8))
    } else if bytes == ZEROS {
        PageCopy::Virgin
    } else {
        PageCopy::Damaged
    }
}

/// Where one piece lies, and which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SlotHeader {
    /// Which piece.
    pub(crate) id: PieceId,
    /// Tells this use of the place from others.
    pub(crate) generation: u32,
    /// First sector of the place it lies in: its own, or a pack's.
    pub(crate) place: u32,
    /// The sector that its first byte is in.
    pub(crate) sector: u32,
    /// Bytes from there to its first byte.
    pub(crate) skip: u16,
    /// Bytes in the piece.
    pub(crate) len: u32,
}

/// Checksums that a piece of this length has.
pub(crate) fn blocks(len: u32) -> usize {
    len.div_ceil(BLOCK_BYTES) as usize
}

/// Cells that the header of a piece of this length takes.
pub(crate) fn cells(len: u32) -> u32 {
    let more = blocks(len).saturating_sub(1).div_ceil(SUMS_PER_CELL);
    1 + u32::try_from(more).unwrap_or(u32::MAX - 1)
}

impl SlotHeader {
    /// Whether it lies in a pack with others.
    pub(crate) fn is_shared(&self) -> bool {
        self.len < SHARED_BELOW_BYTES
    }

    /// Sectors in its place.
    pub(crate) fn place_sectors(&self) -> u32 {
        if self.is_shared() {
            PACK_SECTORS
        } else {
            self.len.div_ceil(SECTOR_BYTES)
        }
    }

    /// Whether its numbers can be: inside the slab, inside its place.
    pub(crate) fn is_sound(&self, geometry: &Geometry) -> bool {
        let place_end = u64::from(self.place) + u64::from(self.place_sectors());
        let end = sector_offset(self.sector) + u64::from(self.skip) + u64::from(self.len);
        (1..=PIECE_BYTES).contains(&self.len)
            && u32::from(self.skip) < SECTOR_BYTES
            && self.place >= geometry.data_sector
            && self.sector >= self.place
            && (self.is_shared() || (self.sector == self.place && self.skip == 0))
            && place_end <= u64::from(geometry.sectors)
            && end <= place_end * u64::from(SECTOR_BYTES)
    }

    /// Writes it and the checksums of its blocks into the cells from `cell` of a page on.
    pub(crate) fn write(&self, page: &mut [u8], cell: u32, sums: &[u64]) {
        debug_assert_eq!(sums.len(), blocks(self.len));
        let at = cell_offset(cell);
        put_u64(page, at, self.id.content.get());
        put_u32(page, at + 8, self.id.piece);
        put_u32(page, at + 12, self.generation);
        put_u32(page, at + 16, self.place);
        put_u32(page, at + 20, self.sector);
        page[at + 24..at + 26].copy_from_slice(&self.skip.to_le_bytes());
        page[at + 26..at + 28].fill(0);
        put_u32(page, at + 28, self.len);
        for (block, sum) in sums.iter().enumerate() {
            put_u64(page, at + 32 + 8 * block, *sum);
        }
    }

    /// Reads the header at `cell` of a page; None where the cell is free. Its numbers are as they stand there.
    pub(crate) fn read(page: &[u8], cell: u32) -> Option<Self> {
        let at = cell_offset(cell);
        let content = get_u64(page, at);
        (content != 0).then(|| Self {
            id: PieceId {
                content: ContentNo::new(content),
                piece: get_u32(page, at + 8),
            },
            generation: get_u32(page, at + 12),
            place: get_u32(page, at + 16),
            sector: get_u32(page, at + 20),
            skip: u16::from_le_bytes([page[at + 24], page[at + 25]]),
            len: get_u32(page, at + 28),
        })
    }
}

/// The checksum of one block of the header at `cell`.
pub(crate) fn read_sum(page: &[u8], cell: u32, block: usize) -> u64 {
    get_u64(page, cell_offset(cell) + 32 + 8 * block)
}

/// Makes `count` cells free.
pub(crate) fn clear_cells(page: &mut [u8], cell: u32, count: u32) {
    page[cell_offset(cell)..cell_offset(cell + count)].fill(0);
}

fn cell_offset(cell: u32) -> usize {
    PAGE_HEAD_BYTES + cell as usize * CELL_BYTES
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn get_u64(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(len: u32, place: u32) -> SlotHeader {
        SlotHeader {
            id: PieceId {
                content: ContentNo::new(0x0102_0304_0506_0708),
                piece: 9,
            },
            generation: 3,
            place,
            sector: place,
            skip: 0,
            len,
        }
    }

    #[test]
    fn the_bytes_on_disk_are_these_for_ever() {
        let mut page = vec![0; PAGE_BYTES];
        let mut small = header(5000, 6000);
        (small.sector, small.skip) = (6001, 7);
        small.write(&mut page, 1, &[0xa1a2_a3a4_a5a6_a7a8]);
        assert_eq!(
            page[56..96],
            [
                8, 7, 6, 5, 4, 3, 2, 1, 9, 0, 0, 0, 3, 0, 0, 0, 0x70, 0x17, 0, 0, 0x71, 0x17, 0, 0,
                7, 0, 0, 0, 0x88, 0x13, 0, 0, 0xa8, 0xa7, 0xa6, 0xa5, 0xa4, 0xa3, 0xa2, 0xa1
            ]
        );
        assert!(page[96..].iter().all(|byte| *byte == 0));
        assert_eq!(SlotHeader::read(&page, 1), Some(small));
        assert_eq!(SlotHeader::read(&page, 0), None);
    }

    #[test]
    fn a_header_takes_the_cells_that_its_checksums_need() {
        let lens = [1, 65_536, 65_537, 6 << 16, (6 << 16) + 1, 1 << 20];
        assert_eq!(lens.map(cells), [1, 1, 2, 2, 3, 4]);
        let mut page = vec![0; PAGE_BYTES];
        let sums: Vec<u64> = (1..=16).collect();
        header(1 << 20, 6000).write(&mut page, 98, &sums);
        assert_eq!(read_sum(&page, 98, 15), 16);
        clear_cells(&mut page, 98, 4);
        assert!(page.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn what_cannot_be_is_not_sound() {
        let geometry = Geometry::of(1 << 30).unwrap();
        assert_eq!((geometry.pages, geometry.data_sector), (2571, 5152));
        let good = header(1 << 20, 5152);
        assert!(good.is_sound(&geometry));
        for bad in [
            header(0, 5152),
            header((1 << 20) + 1, 5152),
            header(1 << 20, 5151),
            header(1 << 20, (1 << 18) - 255),
            SlotHeader { skip: 1, ..good },
            SlotHeader {
                sector: 5153,
                ..good
            },
            SlotHeader {
                sector: 5152 + 255,
                len: 4097,
                ..good
            },
        ] {
            assert!(!bad.is_sound(&geometry), "{bad:?}");
        }
        assert!(header(1 << 20, (1 << 18) - 256).is_sound(&geometry));
        assert_eq!(Geometry::of(1 << 20), None);
        let fitting = Geometry::fitting(1 << 30).unwrap();
        assert_eq!(fitting, sector_offset(5152 + 1003 * 256));
        let trimmed = Geometry::of(fitting).unwrap();
        assert!((trimmed.sectors - trimmed.data_sector) / 256 >= 1003);
    }

    #[test]
    fn a_page_is_good_at_its_own_place_only() {
        let mut page = vec![0; PAGE_BYTES];
        assert_eq!(check_page(&page, 7, 3), PageCopy::Virgin);
        header(1 << 20, 6000).write(&mut page, 0, &[5; 16]);
        seal_page(&mut page, 7, 3, 41);
        assert_eq!(check_page(&page, 7, 3), PageCopy::Whole(41));
        assert_eq!(check_page(&page, 7, 2), PageCopy::Damaged);
        assert_eq!(check_page(&page, 8, 3), PageCopy::Damaged);
        page[100] ^= 1;
        assert_eq!(check_page(&page, 7, 3), PageCopy::Damaged);
    }

    #[test]
    fn a_head_is_good_for_its_own_slab_and_size() {
        let head = Head {
            sequence: 5,
            slab: 2,
            sectors: 1 << 18,
            pages_in_use: 16,
            birth: 77,
        };
        let mut page = vec![1; PAGE_BYTES];
        head.write(&mut page);
        assert_eq!(Head::read(&page, 2, 1 << 30), Some(head));
        assert_eq!(Head::read(&page, 3, 1 << 30), None);
        assert_eq!(Head::read(&page, 2, 1 << 29), None);
        assert_eq!(Head::newer(&page), None);
        page[4000] ^= 1;
        assert_eq!(Head::read(&page, 2, 1 << 30), None);
        page[8] += 1;
        assert_eq!(Head::newer(&page), None, "it may be damaged");
    }
}
