//! Places, the units of room and of eviction: each is one piece, or one pack of small pieces. The rule: a sector of a
//! slab is free, in quarantine, or in exactly one place.
//!
//! Memory: 16 bytes a place, four in the row of its slab, and four for each piece of a pack.

use crate::index::CELLS_MAX;
use crate::slab::alloc::Runs;
use crate::slab::file::Slab;
use crate::tight;
use larder_content::PieceId;
use std::collections::HashMap;
use std::sync::Arc;

/// The books of one slab.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) slab: Arc<Slab>,
    pub(super) runs: Runs,
    /// The places in it.
    pub(super) row: Row,
    /// Data was written that is not durable yet.
    pub(super) wrote: bool,
    /// No header fits any more, until one is forgotten.
    pub(super) table_is_full: bool,
}

impl Books {
    pub(super) fn new(slab: Arc<Slab>) -> Self {
        let geometry = slab.geometry;
        Self {
            runs: Runs::new(
                geometry.data_sector,
                geometry.sectors - geometry.data_sector,
            ),
            slab,
            row: Row::default(),
            wrote: false,
            table_is_full: false,
        }
    }

    /// Sectors between the places on both sides of `sector`, and the first of them.
    pub(super) fn gap_around(&self, sector: u32, places: &Places) -> (u32, u32) {
        let place_at = |place: u32| places.get(place);
        let begin = self
            .row
            .before(sector + 1, places)
            .map(place_at)
            .map_or(self.slab.geometry.data_sector, |place| {
                place.start + place.sectors
            });
        let end = self
            .row
            .from(sector, places)
            .map(place_at)
            .map_or(self.slab.geometry.sectors, |place| place.start);
        (begin, end.saturating_sub(begin))
    }
}

/// The places of one slab, in order.
#[derive(Debug, Default)]
pub(super) struct Row(Vec<u32>);

impl Row {
    /// How many begin before `sector`.
    fn count_before(&self, sector: u32, places: &Places) -> usize {
        self.0
            .partition_point(|place| places.get(*place).start < sector)
    }

    /// The first that begins at `sector` or behind it.
    pub(super) fn from(&self, sector: u32, places: &Places) -> Option<u32> {
        self.0.get(self.count_before(sector, places)).copied()
    }

    /// The last that begins before `sector`.
    pub(super) fn before(&self, sector: u32, places: &Places) -> Option<u32> {
        let at = self.count_before(sector, places).checked_sub(1)?;
        self.0.get(at).copied()
    }

    /// The one that begins at `sector`.
    pub(super) fn at(&self, sector: u32, places: &Places) -> Option<u32> {
        self.from(sector, places)
            .filter(|place| places.get(*place).start == sector)
    }

    pub(super) fn insert(&mut self, place: u32, places: &Places) {
        let at = self.count_before(places.get(place).start, places);
        tight::insert(&mut self.0, at, place);
    }

    pub(super) fn remove(&mut self, place: u32, places: &Places) {
        let at = self.count_before(places.get(place).start, places);
        if self.0.get(at) == Some(&place) {
            self.0.remove(at);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        tight::bytes(&self.0)
    }
}

/// No piece is in it.
const NO_CELL: u32 = CELLS_MAX;
/// More than one is: they are in a list of their own.
const MANY_CELLS: u32 = CELLS_MAX + 1;

/// One place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) slab: u32,
    pub(super) start: u32,
    pub(super) sectors: u32,
    /// The cell of the one header in it: nearly always there is one.
    cell: u32,
}

const _: () = assert!(size_of::<Place>() == 16);

/// All places of a disk, by number. Numbers are used again.
#[derive(Debug, Default)]
pub(super) struct Places {
    places: Vec<Place>,
    /// The cells of those that have many.
    many: HashMap<u32, Vec<u32>>,
    free: Vec<u32>,
}

impl Places {
    pub(super) fn add(&mut self, slab: u32, start: u32, sectors: u32) -> u32 {
        let place = Place {
            slab,
            start,
            sectors,
            cell: NO_CELL,
        };
        if let Some(number) = self.free.pop() {
            self.places[number as usize] = place;
            return number;
        }
        tight::push(&mut self.places, place);
        (self.places.len() - 1) as u32
    }

    pub(super) fn get(&self, place: u32) -> Place {
        self.places[place as usize]
    }

    pub(super) fn in_use(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// The cells of its headers.
    pub(super) fn cells(&self, place: u32) -> &[u32] {
        let cell = &self.places[place as usize].cell;
        match *cell {
            NO_CELL => &[],
            MANY_CELLS => self.many.get(&place).map_or(&[], Vec::as_slice),
            _ => std::slice::from_ref(cell),
        }
    }

    /// Forgets a place, and says what was in it.
    pub(super) fn remove(&mut self, place: u32) -> (Place, Vec<u32>) {
        let cells = self.cells(place).to_vec();
        self.many.remove(&place);
        tight::push(&mut self.free, place);
        let held = &mut self.places[place as usize];
        held.cell = NO_CELL;
        (*held, cells)
    }

    pub(super) fn add_cell(&mut self, place: u32, cell: u32) {
        let held = &mut self.places[place as usize].cell;
        match *held {
            NO_CELL => *held = cell,
            MANY_CELLS => tight::push(self.many.entry(place).or_default(), cell),
            first => {
                *held = MANY_CELLS;
                self.many.insert(place, vec![first, cell]);
            }
        }
    }

    /// True where the place is empty now.
    pub(super) fn remove_cell(&mut self, place: u32, cell: u32) -> bool {
        let held = &mut self.places[place as usize].cell;
        if *held == cell {
            *held = NO_CELL;
        }
        if let Some(cells) = self.many.get_mut(&place) {
            cells.retain(|other| *other != cell);
            if cells.is_empty() {
                self.many.remove(&place);
                *held = NO_CELL;
            }
        }
        *held == NO_CELL
    }

    /// What eviction is told of a place: its bytes on disk and one of its pieces; None where it is empty.
    pub(super) fn weigh(&self, place: u32, books: &[Option<Books>]) -> Option<(u32, PieceId)> {
        let cell = *self.cells(place).first()?;
        let place = self.get(place);
        let books = books.get(place.slab as usize)?.as_ref()?;
        let header = books.slab.header(cell)?;
        Some((place.sectors * crate::block_io::SECTOR_BYTES, header.id))
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        // A map's entry, its mark, and what it has to spare: packs are few.
        let packs = self.many.capacity() * (size_of::<(u32, Vec<u32>)>() + 2);
        let cells: usize = self.many.values().map(tight::bytes).sum();
        tight::bytes(&self.places) + tight::bytes(&self.free) + packs + cells
    }
}
