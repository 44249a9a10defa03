//! A way in for the fuzzer, to the tables of slabs, which nobody outside of the store has anything to do with. The rule:
//! it is there where `--cfg fuzzing` says so, and in no build that is shipped.

use crate::block_io::BlockDir;
use crate::slab::file::name_of;
use crate::slab::layout::{
    CELLS_PER_PAGE, Geometry, Head, PAGE_BYTES, SLAB_BYTES_MIN, SlotHeader, seal_page,
    sector_offset,
};
use crate::slab::scan::{Scan, scan};
use crate::testing::mem_io::MemDir;
use parking_lot::Mutex;
use std::sync::Arc;

const BIRTH: u64 = 0x1122_3344_5566_7788;

/// Bytes that stand in one cell of one copy of a page.
#[derive(Clone, Copy, Debug)]
pub struct Patch {
    /// Which copy of which page.
    pub page: u8,
    /// Which cell.
    pub cell: u8,
    /// The page's sequence number.
    pub sequence: u8,
    /// The page gets the checksum that it must have.
    pub sealed: bool,
    /// What stands there.
    pub bytes: [u8; 40],
}

/// Takes up a directory with one slab, of which `heads` are the sequence numbers of both heads and the pages in use that
/// each tells; bits 0 and 1 of `flags` leave one out, and bit 2 makes the second one another slab's.
///
/// # Panics
/// Where the scan finds what can not be, or something else when it looks again.
pub fn scanned(flags: u8, heads: [u8; 4], patches: &[Patch]) {
    let geometry = Geometry::of(SLAB_BYTES_MIN).expect("the smallest has a table");
    let mut file = vec![0; sector_offset(geometry.sectors) as usize];
    let (pages, _) = file.as_chunks_mut::<PAGE_BYTES>();
    for copy in 0..2 {
        let head = Head {
            sequence: heads[copy].into(),
            slab: 0,
            sectors: geometry.sectors,
            pages_in_use: heads[2 + copy].into(),
            birth: BIRTH ^ u64::from(flags >> 2 & 1) * copy as u64,
        };
        if flags >> copy & 1 == 0 {
            head.write(&mut pages[copy]);
        }
    }
    for patch in patches {
        let number = u32::from(patch.page) % (2 * geometry.pages);
        let page = &mut pages[2 + number as usize];
        let at = 16 + 40 * (u32::from(patch.cell) % CELLS_PER_PAGE) as usize;
        page[at..at + 40].copy_from_slice(&patch.bytes);
        if patch.sealed {
            seal_page(page, BIRTH, number / 2, patch.sequence.into());
        }
    }
    let dir = MemDir::new(u64::MAX);
    let file = Arc::new(Mutex::new(file));
    dir.files.lock().insert(name_of(0), file);
    let found = headers(&geometry, &scan(&dir).expect("it can be listed"), true);
    let again = headers(&geometry, &scan(&dir).expect("it can be listed"), false);
    assert_eq!(
        found, again,
        "what was found is there when it was written back"
    );
    assert!(dir.list().expect("it can be listed").len() <= 1);
}

/// The headers that were found, each of which can be; what was cleared meanwhile is written back.
fn headers(geometry: &Geometry, scan: &Scan, commit: bool) -> Vec<(u32, SlotHeader)> {
    let mut all = Vec::new();
    for scanned in &scan.slabs {
        for (cell, header) in &scanned.headers {
            assert!(header.is_sound(geometry), "{header:?}");
            assert_eq!(scanned.slab.header(*cell).as_ref(), Some(header));
            all.push((*cell, *header));
        }
        if commit {
            scanned.slab.commit().expect("memory can be written");
        }
    }
    all
}
