//! Stretches of an object, and how pieces lie in it. The rule: a [`Span`] is half-open and never backwards.

use crate::ids::PIECE_BYTES;
use std::ops::Range;

/// Bytes `start..end` of an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Span {
    /// First byte.
    pub start: u64,
    /// One past the last byte; never less than `start`.
    pub end: u64,
}

impl Span {
    /// The span `start..end`; an `end` before `start` gives an empty span at `start`.
    #[must_use]
    pub const fn new(start: u64, end: u64) -> Self {
        Self {
            start,
            end: if end < start { start } else { end },
        }
    }

    /// The whole of an object of `length` bytes.
    #[must_use]
    pub const fn whole(length: u64) -> Self {
        Self {
            start: 0,
            end: length,
        }
    }

    /// Bytes in the span.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// True where there is no byte in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The pieces that hold a byte of the span.
    #[must_use]
    pub fn pieces(self) -> Range<u32> {
        if self.is_empty() {
            let at = piece_of(self.start);
            return at..at;
        }
        piece_of(self.start)..piece_of(self.end - 1) + 1
    }
}

/// The piece that holds byte `offset`. Objects end well before `u32::MAX` pieces (4 PiB).
#[must_use]
pub fn piece_of(offset: u64) -> u32 {
    u32::try_from(offset / u64::from(PIECE_BYTES)).unwrap_or(u32::MAX)
}

/// Where piece `piece` begins in its object.
#[must_use]
pub const fn piece_start(piece: u32) -> u64 {
    piece as u64 * PIECE_BYTES as u64
}

/// How many pieces an object of `length` bytes has.
#[must_use]
pub fn piece_count(length: u64) -> u32 {
    u32::try_from(length.div_ceil(u64::from(PIECE_BYTES))).unwrap_or(u32::MAX)
}

/// How long piece `piece` of an object of `length` bytes is; 0 beyond its end.
#[must_use]
pub fn piece_len(length: u64, piece: u32) -> u32 {
    let left = length.saturating_sub(piece_start(piece));
    u32::try_from(left.min(u64::from(PIECE_BYTES))).unwrap_or(PIECE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_span_are_those_that_hold_its_bytes() {
        let piece = u64::from(PIECE_BYTES);
        assert_eq!(Span::new(0, 1).pieces(), 0..1);
        assert_eq!(Span::new(0, piece).pieces(), 0..1);
        assert_eq!(Span::new(0, piece + 1).pieces(), 0..2);
        assert_eq!(Span::new(piece - 1, piece + 1).pieces(), 0..2);
        assert!(Span::new(5, 5).pieces().is_empty());
        assert_eq!(Span::new(5 << 30, (5 << 30) + 1).pieces(), 5120..5121);
    }

    #[test]
    fn the_last_piece_is_short_and_there_is_none_after_it() {
        let piece = u64::from(PIECE_BYTES);
        assert_eq!(piece_count(0), 0);
        assert_eq!(piece_count(1), 1);
        assert_eq!(piece_count(3 * piece), 3);
        assert_eq!(piece_len(3 * piece, 2), PIECE_BYTES);
        assert_eq!(piece_len(3 * piece, 3), 0);
        assert_eq!(piece_len(3 * piece + 7, 3), 7);
    }
}
