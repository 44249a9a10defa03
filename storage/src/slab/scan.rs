//! How slabs are found again at a start. The rule: only tables are read; damage costs what is damaged and no more,
//! and is counted.

use super::file::{Slab, name_of, number_of};
use super::layout::{Geometry, Head, PAGE_BYTES, SlotHeader, sector_offset};
use super::table::Table;
use crate::block_io::{AlignedBuf, BlockDir};
use parking_lot::{Mutex, RwLock};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

/// Pages that are read at once: both copies of 128 pages are 1 MiB.
const PAGES_AT_ONCE: u32 = 128;

/// A slab that was found.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// The slab, with its table as it is on disk.
    pub(crate) slab: Arc<Slab>,
    /// Headers that can be, and the cells they are in.
    pub(crate) headers: Vec<(u32, SlotHeader)>,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The slabs, by number.
    pub(crate) slabs: Vec<Scanned>,
    /// Table pages and whole slabs that were found damaged.
    pub(crate) damaged: u64,
    /// Slab files that cannot be read; they were left alone.
    pub(crate) unreadable: Vec<(String, io::Error)>,
    /// Numbers that new slabs must not take.
    pub(crate) taken: Vec<u32>,
}

/// Reads the tables of all slabs in a directory. Files that are no slabs are left alone; a slab without a head, from
/// a start that was cut off or by damage, is removed.
///
/// # Errors
/// Where the directory itself cannot be read.
pub(crate) fn scan(dir: &dyn BlockDir) -> io::Result<Scan> {
    let mut numbers: Vec<u32> = dir
        .list()?
        .iter()
        .filter_map(|name| number_of(name))
        .collect();
    numbers.sort_unstable();
    let mut scan = Scan::default();
    for number in numbers {
        let name = name_of(number);
        match read_slab(dir, &name, number) {
            Ok(Found::Slab(scanned, damaged)) => {
                scan.damaged += damaged;
                scan.slabs.push(scanned);
            }
            Ok(Found::Nothing { unfinished }) => {
                if !unfinished {
                    tracing::warn!(slab = %name, "slab: its head is damaged; the slab is removed and begun anew when it is needed");
                    scan.damaged += 1;
                }
                if let Err(error) = dir.remove(&name) {
                    scan.taken.push(number);
                    scan.unreadable.push((name, error));
                }
            }
            Err(error) => {
                scan.taken.push(number);
                scan.unreadable.push((name, error));
            }
        }
    }
    Ok(scan)
}

enum Found {
    /// A slab, and how much of its table was damaged.
    Slab(Scanned, u64),
    /// No head. Unfinished: none was ever written, since larder or the power went while the file was made.
    Nothing { unfinished: bool },
}

fn read_slab(dir: &dyn BlockDir, name: &str, number: u32) -> io::Result<Found> {
    let io = dir.open(name, false)?;
    let bytes = io.size()?;
    let Some(geometry) = Geometry::of(bytes) else {
        return Ok(Found::Nothing {
            unfinished: bytes == 0,
        });
    };
    let at_once = PAGES_AT_ONCE.min(geometry.pages);
    let mut buf = AlignedBuf::zeroed(2 * PAGE_BYTES * at_once as usize);
    io.read_at(&mut buf.bytes_mut()[..2 * PAGE_BYTES], 0)?;
    let (first, second) = buf.bytes()[..2 * PAGE_BYTES].split_at(PAGE_BYTES);
    let heads = [first, second].map(|copy| Head::read(copy, number, bytes));
    let (head, pages) = match heads {
        [Some(first), Some(second)] if first.birth == second.birth => {
            let later = second.sequence.wrapping_sub(first.sequence) < u32::MAX / 2;
            let head = if later { second } else { first };
            (head, head.pages_in_use)
        }
        // The copy that is left may be the older one: its mark may be too low, so every page is looked at.
        [Some(head), _] | [_, Some(head)] => (head, geometry.pages),
        [None, None] => {
            if let Some(version) = Head::newer(first).or(Head::newer(second)) {
                // It is not ours to remove.
                return Err(io::Error::other(format!(
                    "a newer larder wrote it, in version {version} of slabs"
                )));
            }
            let blank = |copy: &[u8]| copy.iter().all(|byte| *byte == 0);
            return Ok(Found::Nothing {
                unfinished: blank(first) && blank(second),
            });
        }
    };
    let mut table = Table::new(head.birth, geometry.pages);
    let mut damaged = 0;
    let mut page = 0;
    while page < pages {
        let count = at_once.min(pages - page);
        let part = &mut buf.bytes_mut()[..2 * PAGE_BYTES * count as usize];
        io.read_at(part, Geometry::page_offset(page, 0))?;
        for both in part.chunks_exact(2 * PAGE_BYTES) {
            let (first, second) = both.split_at(PAGE_BYTES);
            if !table.load([first, second]) {
                damaged += 1;
            }
        }
        page += count;
    }
    let mut headers: Vec<_> = table.candidates().collect();
    headers.retain(|(cell, header)| {
        let believed = header.is_sound(&geometry) && table.mark(*cell, header.len);
        damaged += u64::from(!believed);
        believed
    });
    table.drop_unmarked();
    debug_assert_eq!(bytes / PAGE_BYTES as u64, u64::from(geometry.sectors));
    debug_assert!(sector_offset(geometry.sectors) <= bytes);
    let slab = Arc::new(Slab {
        number,
        geometry,
        io,
        table: RwLock::new(table),
        head: Mutex::new(head),
        damaged_heads: AtomicU8::new(0),
        committing: Mutex::new(()),
    });
    Ok(Found::Slab(Scanned { slab, headers }, damaged))
}
