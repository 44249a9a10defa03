//! Places, the units of room and of eviction: each is one piece, or one pack of small pieces. The rule: a sector of a
//! slab is free, in quarantine, or in exactly one place.

use crate::slab::alloc::Runs;
use crate::slab::file::Slab;
use larder_content::PieceId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The books of one slab.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) slab: Arc<Slab>,
    pub(super) runs: Runs,
    /// The places in it by their first sectors.
    pub(super) places: BTreeMap<u32, u32>,
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
            places: BTreeMap::new(),
            wrote: false,
            table_is_full: false,
        }
    }

    /// Sectors between the places on both sides of `sector`, and the first of them.
    pub(super) fn gap_around(&self, sector: u32, places: &Places) -> (u32, u32) {
        let begin = self
            .places
            .range(..=sector)
            .next_back()
            .map_or(self.slab.geometry.data_sector, |(start, place)| {
                start + places.sectors(*place)
            });
        let end = self
            .places
            .range(sector..)
            .next()
            .map_or(self.slab.geometry.sectors, |(start, _)| *start);
        (begin, end.saturating_sub(begin))
    }
}

/// The cells of a place's headers: nearly always one.
#[derive(Debug, Default)]
pub(super) enum Cells {
    #[default]
    None,
    One(u32),
    Many(Vec<u32>),
}

impl Cells {
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let (one, many) = match self {
            Self::None => (None, [].as_slice()),
            Self::One(cell) => (Some(*cell), [].as_slice()),
            Self::Many(cells) => (None, cells.as_slice()),
        };
        one.into_iter().chain(many.iter().copied())
    }

    fn add(&mut self, cell: u32) {
        match self {
            Self::None => *self = Self::One(cell),
            Self::One(first) => *self = Self::Many(vec![*first, cell]),
            Self::Many(cells) => cells.push(cell),
        }
    }

    /// Takes one away; true where none is left.
    fn remove(&mut self, cell: u32) -> bool {
        match self {
            Self::None => true,
            Self::One(only) => {
                if *only == cell {
                    *self = Self::None;
                }
                matches!(self, Self::None)
            }
            Self::Many(cells) => {
                cells.retain(|held| *held != cell);
                cells.is_empty()
            }
        }
    }
}

/// One place.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) slab: u32,
    pub(super) start: u32,
    pub(super) sectors: u32,
    pub(super) cells: Cells,
}

/// All places of a disk, by number. Numbers are used again.
#[derive(Debug, Default)]
pub(super) struct Places {
    places: Vec<Place>,
    free: Vec<u32>,
}

impl Places {
    pub(super) fn add(&mut self, slab: u32, start: u32, sectors: u32) -> u32 {
        let place = Place {
            slab,
            start,
            sectors,
            cells: Cells::None,
        };
        if let Some(number) = self.free.pop() {
            self.places[number as usize] = place;
            return number;
        }
        self.places.push(place);
        (self.places.len() - 1) as u32
    }

    pub(super) fn get(&self, place: u32) -> &Place {
        &self.places[place as usize]
    }

    pub(super) fn sectors(&self, place: u32) -> u32 {
        self.places[place as usize].sectors
    }

    pub(super) fn remove(&mut self, place: u32) -> Place {
        self.free.push(place);
        std::mem::take(&mut self.places[place as usize])
    }

    pub(super) fn add_cell(&mut self, place: u32, cell: u32) {
        self.places[place as usize].cells.add(cell);
    }

    /// True where the place is empty now.
    pub(super) fn remove_cell(&mut self, place: u32, cell: u32) -> bool {
        self.places[place as usize].cells.remove(cell)
    }

    /// What eviction is told of a place: its bytes on disk and one of its pieces; None where it is empty.
    pub(super) fn weigh(&self, place: u32, books: &[Option<Books>]) -> Option<(u32, PieceId)> {
        let place = self.get(place);
        let cell = place.cells.iter().next()?;
        let books = books.get(place.slab as usize)?.as_ref()?;
        let header = books.slab.header(cell)?;
        Some((place.sectors * crate::block_io::SECTOR_BYTES, header.id))
    }
}
