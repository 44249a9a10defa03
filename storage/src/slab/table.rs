//! The table of one slab in memory: the very bytes that are on disk, or will be with the next group. The rule: a cell
//! that was put or cleared makes its page dirty, and a page is sealed with a sequence number once for each write.

use super::layout::{
    BLOCKS_MAX, CELLS_PER_PAGE, PAGE_BYTES, PageCopy, SlotHeader, blocks, cells, check_page,
    clear_cells, read_sum, seal_page,
};
use crate::tight;
use std::collections::BTreeSet;

/// Pages that are taken into use at a time: raising the mark of pages in use costs a write of the head.
const PAGES_STEP: u32 = 16;

/// All cells of one page, as bits.
const ALL_CELLS: u128 = (1 << CELLS_PER_PAGE) - 1;

/// The table of one slab.
#[derive(Debug)]
pub(crate) struct Table {
    birth: u64,
    pages_max: u32,
    pages: Vec<Page>,
    dirty: BTreeSet<u32>,
    /// No page before this one has four free cells in a row.
    first_with_room: u32,
}

#[derive(Debug)]
struct Page {
    /// None where it holds nothing and is on disk so.
    bytes: Option<Box<[u8; PAGE_BYTES]>>,
    taken: u128,
    sequence: u32,
}

impl Page {
    fn empty() -> Self {
        Self {
            bytes: None,
            taken: 0,
            sequence: 0,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8; PAGE_BYTES] {
        self.bytes.get_or_insert_with(|| Box::new([0; PAGE_BYTES]))
    }

    fn header(&self, at: u32) -> Option<SlotHeader> {
        SlotHeader::read(self.bytes.as_deref()?, at)
    }
}

/// A page ready to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealed {
    /// Which.
    pub(crate) page: u32,
    /// Which of its copies is to be overwritten.
    pub(crate) copy: u32,
}

impl Table {
    pub(crate) fn new(birth: u64, pages_max: u32) -> Self {
        Self {
            birth,
            pages_max,
            pages: Vec::new(),
            dirty: BTreeSet::new(),
            first_with_room: 0,
        }
    }

    /// Pages that may be written from now on.
    pub(crate) fn pages_in_use(&self) -> u32 {
        self.pages.len() as u32
    }

    /// Adds the next page as it was found on disk; of two whole copies the later one counts. False where it is
    /// damaged: it then begins anew, empty, and dirty, so that a whole copy is written.
    pub(crate) fn load(&mut self, copies: [&[u8]; 2]) -> bool {
        let number = self.pages_in_use();
        let checked = copies.map(|copy| check_page(copy, self.birth, number));
        let (from, sequence) = match checked {
            // Sequence numbers are compared by their distance, so that they may run over.
            [PageCopy::Whole(first), PageCopy::Whole(second)] => {
                if second.wrapping_sub(first) < u32::MAX / 2 {
                    (Some(1), second)
                } else {
                    (Some(0), first)
                }
            }
            [PageCopy::Whole(sequence), _] => (Some(0), sequence),
            [_, PageCopy::Whole(sequence)] => (Some(1), sequence),
            _ => (None, 0),
        };
        let mut page = Page::empty();
        page.sequence = sequence;
        if let Some(from) = from {
            page.bytes_mut().copy_from_slice(copies[from]);
        }
        tight::push(&mut self.pages, page);
        // A torn write leaves one copy damaged and the other whole: nothing that was durable is lost.
        let lost = from.is_none() && checked.contains(&PageCopy::Damaged);
        if lost {
            self.dirty.insert(number);
        }
        !lost
    }

    /// Marks the cells of a header that was loaded and is believed; false where they overlap another's.
    pub(crate) fn mark(&mut self, cell: u32, len: u32) -> bool {
        let (page, at) = place_of(cell);
        let count = cells(len);
        if at + count > CELLS_PER_PAGE {
            return false;
        }
        let page = &mut self.pages[page as usize];
        let bits = bits(at, count);
        let free = page.taken & bits == 0;
        if free {
            page.taken |= bits;
        }
        free
    }

    /// Clears every cell that is not marked, after a load: what is not believed must not come back.
    pub(crate) fn drop_unmarked(&mut self) {
        for (number, page) in self.pages.iter_mut().enumerate() {
            for cell in 0..CELLS_PER_PAGE {
                if page.taken & bits(cell, 1) == 0 && page.header(cell).is_some() {
                    clear_cells(page.bytes_mut(), cell, 1);
                    self.dirty.insert(number as u32);
                }
            }
            if page.taken == 0 && !self.dirty.contains(&(number as u32)) {
                page.bytes = None;
            }
        }
    }

    /// Takes cells for a header of a piece of `len` bytes and writes it there. None where the table is full.
    pub(crate) fn put(&mut self, header: &SlotHeader, sums: &[u64]) -> Option<u32> {
        let count = cells(header.len);
        let number = self.page_with_room(count)?;
        let page = &mut self.pages[number as usize];
        let at = first_run(page.taken, count)?;
        page.taken |= bits(at, count);
        header.write(page.bytes_mut(), at, sums);
        self.dirty.insert(number);
        Some(number * CELLS_PER_PAGE + at)
    }

    fn page_with_room(&mut self, count: u32) -> Option<u32> {
        while let Some(page) = self.pages.get(self.first_with_room as usize) {
            if first_run(page.taken, 4).is_some() {
                break;
            }
            self.first_with_room += 1;
        }
        let from = self.first_with_room..self.pages_in_use();
        for number in from {
            if first_run(self.pages[number as usize].taken, count).is_some() {
                return Some(number);
            }
        }
        let number = self.pages_in_use();
        let end = (number + PAGES_STEP).min(self.pages_max);
        for _ in number..end {
            tight::push(&mut self.pages, Page::empty());
        }
        if number < end {
            return Some(number);
        }
        // Scattered free cells in the pages that were passed over: slow, and only in a table that is all but full.
        (0..self.first_with_room)
            .find(|number| first_run(self.pages[*number as usize].taken, count).is_some())
    }

    /// The header at a cell.
    pub(crate) fn get(&self, cell: u32) -> Option<SlotHeader> {
        let (page, at) = place_of(cell);
        self.pages.get(page as usize)?.header(at)
    }

    /// The checksums of the header at a cell, of blocks `first..first + count`; None beyond its end.
    pub(crate) fn sums(&self, cell: u32, first: usize, count: usize) -> Option<[u64; BLOCKS_MAX]> {
        let header = self.get(cell)?;
        if first + count > blocks(header.len) {
            return None;
        }
        let (page, at) = place_of(cell);
        let bytes = self.pages[page as usize].bytes.as_deref()?;
        let mut sums = [0; BLOCKS_MAX];
        for (sum, block) in sums.iter_mut().zip(first..first + count) {
            *sum = read_sum(bytes, at, block);
        }
        Some(sums)
    }

    /// Forgets the header at a cell.
    pub(crate) fn clear(&mut self, cell: u32) {
        let Some(header) = self.get(cell) else {
            return;
        };
        let (number, at) = place_of(cell);
        let count = cells(header.len);
        let page = &mut self.pages[number as usize];
        page.taken &= !bits(at, count);
        clear_cells(page.bytes_mut(), at, count);
        self.dirty.insert(number);
        self.first_with_room = self.first_with_room.min(number);
    }

    /// The cells that hold something which looks like a header.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = (u32, SlotHeader)> + '_ {
        self.pages.iter().enumerate().flat_map(|(number, page)| {
            let mut cell = 0;
            std::iter::from_fn(move || {
                while cell < CELLS_PER_PAGE {
                    let at = cell;
                    cell += 1;
                    if let Some(header) = page.header(at) {
                        // The cells after it hold its checksums, which may look like anything.
                        cell += cells(header.len).saturating_sub(1).min(CELLS_PER_PAGE);
                        return Some((number as u32 * CELLS_PER_PAGE + at, header));
                    }
                }
                None
            })
        })
    }

    /// What tells the pages of this slab from others.
    pub(crate) fn birth(&self) -> u64 {
        self.birth
    }

    /// The sequence number that a page has on disk; None where it was never written, or is to be written anyway.
    pub(crate) fn on_disk(&self, page: u32) -> Option<u32> {
        let sequence = self.pages.get(page as usize)?.sequence;
        (sequence > 0 && !self.dirty.contains(&page)).then_some(sequence)
    }

    /// Lets a page be written once more, as it is.
    pub(crate) fn write_again(&mut self, page: u32) {
        self.dirty.insert(page);
    }

    /// Bytes of memory that it takes.
    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        // What the allocator adds to each page.
        const MORE: usize = 16;
        let held = self.pages.iter().filter(|page| page.bytes.is_some());
        tight::bytes(&self.pages) + held.count() * (PAGE_BYTES + MORE)
    }

    /// Whether anything is to be written.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Seals the next dirty page into `out`; None when all are clean.
    pub(crate) fn seal(&mut self, out: &mut [u8]) -> Option<Sealed> {
        let number = self.dirty.pop_first()?;
        let page = &mut self.pages[number as usize];
        page.sequence = page.sequence.wrapping_add(1);
        match &page.bytes {
            Some(bytes) => out.copy_from_slice(&bytes[..]),
            None => out.fill(0),
        }
        if page.taken == 0 {
            page.bytes = None;
        }
        seal_page(out, self.birth, number, page.sequence);
        Some(Sealed {
            page: number,
            copy: page.sequence & 1,
        })
    }
}

fn place_of(cell: u32) -> (u32, u32) {
    (cell / CELLS_PER_PAGE, cell % CELLS_PER_PAGE)
}

fn bits(at: u32, count: u32) -> u128 {
    ((1 << count) - 1) << at
}

/// Where the first run of `count` (1..=4) free cells begins.
fn first_run(taken: u128, count: u32) -> Option<u32> {
    let free = !taken & ALL_CELLS;
    let begins = (1..count).fold(free, |begins, ahead| begins & (free >> ahead));
    (begins != 0).then(|| begins.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_content::{ContentNo, PieceId};
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn header(piece: u32, len: u32) -> SlotHeader {
        SlotHeader {
            id: PieceId {
                content: ContentNo::new(5),
                piece,
            },
            generation: piece,
            place: 1000,
            sector: 1000,
            skip: 0,
            len,
        }
    }

    fn sums_of(piece: u32, len: u32) -> Vec<u64> {
        (0..blocks(len) as u64)
            .map(|block| u64::from(piece) << 8 | block)
            .collect()
    }

    /// Writes dirty pages as a disk would have them.
    fn write_out(table: &mut Table, disk: &mut HashMap<(u32, u32), Vec<u8>>) {
        let mut out = vec![0; PAGE_BYTES];
        while let Some(sealed) = table.seal(&mut out) {
            disk.insert((sealed.page, sealed.copy), out.clone());
        }
    }

    fn read_back(disk: &HashMap<(u32, u32), Vec<u8>>, pages: u32) -> (Table, u32) {
        let virgin = vec![0; PAGE_BYTES];
        let mut table = Table::new(9, 40);
        let mut damaged = 0;
        for page in 0..pages {
            let copies = [0, 1].map(|copy| disk.get(&(page, copy)).unwrap_or(&virgin).as_slice());
            damaged += u32::from(!table.load(copies));
        }
        let found: Vec<_> = table.candidates().collect();
        for (cell, header) in found {
            assert!(table.mark(cell, header.len));
        }
        (table, damaged)
    }

    proptest! {
        #[test]
        fn holds_what_was_put_until_it_is_cleared_and_reads_back(steps in prop::collection::vec((0u8..4, 1u32..=1 << 20, any::<prop::sample::Index>()), 1..400)) {
            let mut table = Table::new(9, 40);
            let mut disk = HashMap::new();
            let mut plain: Vec<(u32, u32, u32)> = Vec::new();
            for (number, (kind, len, which)) in steps.into_iter().enumerate() {
                let number = number as u32;
                match kind {
                    0 if !plain.is_empty() => {
                        let (cell, ..) = plain.swap_remove(which.index(plain.len()));
                        table.clear(cell);
                        prop_assert_eq!(table.get(cell), None);
                    }
                    1 => write_out(&mut table, &mut disk),
                    _ => {
                        if let Some(cell) = table.put(&header(number, len), &sums_of(number, len)) {
                            plain.push((cell, number, len));
                        }
                    }
                }
            }
            write_out(&mut table, &mut disk);
            let (read, damaged) = read_back(&disk, table.pages_in_use());
            prop_assert_eq!(damaged, 0);
            prop_assert_eq!(read.candidates().count(), plain.len());
            for (cell, number, len) in plain {
                prop_assert_eq!(read.get(cell), Some(header(number, len)));
                let sums = read.sums(cell, 0, blocks(len)).unwrap();
                prop_assert_eq!(&sums[..blocks(len)], &sums_of(number, len)[..]);
                prop_assert!(read.sums(cell, 1, blocks(len)).is_none());
            }
        }
    }

    #[test]
    fn a_torn_page_leaves_the_copy_before_it() {
        let mut table = Table::new(9, 40);
        let mut disk = HashMap::new();
        table.put(&header(1, 10), &[1]).unwrap();
        write_out(&mut table, &mut disk);
        table.put(&header(2, 10), &[2]).unwrap();
        write_out(&mut table, &mut disk);
        assert_eq!(read_back(&disk, 16).0.candidates().count(), 2);
        disk.get_mut(&(0, 0)).unwrap()[80] ^= 1;
        let (read, damaged) = read_back(&disk, 16);
        assert_eq!((read.candidates().count(), damaged), (1, 0));
        disk.get_mut(&(0, 1)).unwrap()[80] ^= 1;
        let (read, damaged) = read_back(&disk, 16);
        assert_eq!((read.candidates().count(), damaged), (0, 1));
    }

    #[test]
    fn a_full_table_says_so() {
        let mut table = Table::new(9, 2);
        let mut cells = Vec::new();
        while let Some(cell) = table.put(&header(0, 10), &[0]) {
            cells.push(cell);
        }
        assert_eq!(cells.len() as u32, 2 * CELLS_PER_PAGE);
        table.clear(7);
        assert_eq!(table.put(&header(0, 1 << 20), &[0; 16]), None);
        assert_eq!(table.put(&header(0, 10), &[0]), Some(7));
    }
}
