//! Which pieces of a content somebody has. The rule: bit 0 is the highest of the first byte, and the spare bits at the
//! end are zero (facts: clients 3.2).

use std::ops::Range;

/// Which of a content's pieces somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitfield {
    pieces: u32,
    count: u32,
    bytes: Vec<u8>,
}

/// Why bytes are no bitfield of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BitfieldError {
    /// Too many bytes, or too few.
    #[error("a bitfield of {found} bytes; {pieces} pieces have one of {}", bytes_of(*pieces))]
    Length {
        /// How many bytes came.
        found: u64,
        /// How many pieces there are.
        pieces: u32,
    },
    /// A bit beyond the last piece is set.
    #[error("a bitfield says that there is a piece beyond the last one")]
    Spare,
}

/// How many bytes the bitfield of a content of so many pieces has.
#[must_use]
pub const fn bytes_of(pieces: u32) -> u32 {
    pieces.div_ceil(8)
}

impl Bitfield {
    /// None of so many pieces.
    #[must_use]
    pub fn new(pieces: u32) -> Self {
        Self {
            pieces,
            count: 0,
            bytes: vec![0; bytes_of(pieces) as usize],
        }
    }

    /// All of so many pieces.
    #[must_use]
    pub fn full(pieces: u32) -> Self {
        let mut bytes = vec![0xff; bytes_of(pieces) as usize];
        if let Some(last) = bytes.last_mut() {
            *last &= !spare_bits(pieces);
        }
        Self {
            pieces,
            count: pieces,
            bytes,
        }
    }

    /// What a peer says that it has.
    ///
    /// # Errors
    /// Where it is not of this length, or a spare bit is set.
    pub fn from_wire(pieces: u32, bytes: Vec<u8>) -> Result<Self, BitfieldError> {
        if bytes.len() != bytes_of(pieces) as usize {
            return Err(BitfieldError::Length {
                found: bytes.len() as u64,
                pieces,
            });
        }
        if bytes
            .last()
            .is_some_and(|last| last & spare_bits(pieces) != 0)
        {
            return Err(BitfieldError::Spare);
        }
        Ok(Self {
            pieces,
            // At most `pieces`, since the spare bits are zero.
            count: bytes.iter().map(|byte| byte.count_ones()).sum(),
            bytes,
        })
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many pieces the content has.
    #[must_use]
    pub const fn pieces(&self) -> u32 {
        self.pieces
    }

    /// How many of them are there.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// True where none is missing.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.count == self.pieces
    }

    /// Whether a piece is there; not, where the content has no such piece.
    #[must_use]
    pub fn has(&self, piece: u32) -> bool {
        piece < self.pieces
            && self
                .bytes
                .get((piece / 8) as usize)
                .is_some_and(|byte| byte & bit(piece) != 0)
    }

    /// A piece is there from now on; false where it was already, or the content has no such piece.
    pub fn set(&mut self, piece: u32) -> bool {
        if piece >= self.pieces || self.has(piece) {
            return false;
        }
        if let Some(byte) = self.bytes.get_mut((piece / 8) as usize) {
            *byte |= bit(piece);
            self.count += 1;
        }
        true
    }

    /// A piece is there no more; false where it was not.
    pub fn clear(&mut self, piece: u32) -> bool {
        if !self.has(piece) {
            return false;
        }
        if let Some(byte) = self.bytes.get_mut((piece / 8) as usize) {
            *byte &= !bit(piece);
            self.count -= 1;
        }
        true
    }

    /// The pieces that are there, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.within(0..self.pieces)
    }

    /// Those of a stretch.
    pub fn within(&self, pieces: Range<u32>) -> impl Iterator<Item = u32> + '_ {
        pieces.filter(|piece| self.has(*piece))
    }

    /// Whether a piece is there that `other` lacks.
    #[must_use]
    pub fn has_more_than(&self, other: &Self) -> bool {
        let lacks = other.bytes.iter().copied().chain(std::iter::repeat(0));
        self.bytes
            .iter()
            .zip(lacks)
            .any(|(ours, theirs)| ours & !theirs != 0)
    }
}

const fn bit(piece: u32) -> u8 {
    0x80 >> (piece % 8)
}

/// The bits of the last byte that stand for no piece.
const fn spare_bits(pieces: u32) -> u8 {
    match pieces % 8 {
        0 => 0,
        used => 0xff >> used,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_first_piece_is_the_highest_bit_and_spare_bits_are_zero() {
        let mut field = Bitfield::new(10);
        assert!(field.set(0) && field.set(9) && !field.set(9) && !field.set(10));
        assert_eq!(field.bytes(), [0x80, 0x40]);
        assert_eq!(Bitfield::full(10).bytes(), [0xff, 0xc0]);
        assert_eq!(
            Bitfield::from_wire(10, vec![0, 0x20]),
            Err(BitfieldError::Spare)
        );
        assert_eq!(
            Bitfield::from_wire(10, vec![0; 3]),
            Err(BitfieldError::Length {
                found: 3,
                pieces: 10
            })
        );
        assert!(
            Bitfield::from_wire(8, vec![0xff])
                .expect("no spare bit")
                .is_full()
        );
        assert_eq!(Bitfield::from_wire(0, vec![]), Ok(Bitfield::full(0)));
    }

    proptest! {
        /// Against a set of numbers.
        #[test]
        fn a_bitfield_is_a_set_of_pieces(
            pieces in 0..300_u32,
            steps in prop::collection::vec((any::<bool>(), 0..310_u32), 0..200),
        ) {
            let (mut field, mut set) = (Bitfield::new(pieces), BTreeSet::new());
            for (sets, piece) in steps {
                if sets {
                    prop_assert_eq!(field.set(piece), piece < pieces && set.insert(piece));
                } else {
                    prop_assert_eq!(field.clear(piece), set.remove(&piece));
                }
            }
            prop_assert_eq!(field.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(field.count() as usize, set.len());
            let again = Bitfield::from_wire(pieces, field.bytes().to_vec());
            prop_assert_eq!(again.as_ref(), Ok(&field));
            prop_assert!(!field.has_more_than(&field));
            prop_assert_eq!(field.has_more_than(&Bitfield::new(pieces)), !set.is_empty());
        }
    }
}
