//! How a body is walked: piece after piece, with a window of pieces asked for ahead of the client. The rule: nothing
//! is asked for beyond the span that the client asked for, and never more than the window ahead of what it has taken.

use larder_content::span::{piece_len, piece_of, piece_start};
use larder_content::{PIECE_BYTES, Span};
use std::ops::Range;

/// A place in the span of one answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walk {
    /// Bytes of the whole object.
    length: u64,
    /// What is sent.
    span: Span,
    /// The next byte to send.
    at: u64,
    /// The first piece that was not asked for ahead yet.
    asked_to: u32,
}

/// Some bytes of one piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Which piece.
    pub piece: u32,
    /// The first byte in the piece.
    pub from: u32,
    /// One past the last byte in the piece.
    pub to: u32,
}

impl Walk {
    /// Begins at the span's first byte. The span lies within the object.
    #[must_use]
    pub fn new(length: u64, span: Span) -> Self {
        debug_assert!(span.end <= length, "a span lies within its object");
        Self {
            length,
            span,
            at: span.start,
            asked_to: span.pieces().start,
        }
    }

    /// What is to be sent of the piece at hand; None when all is sent.
    #[must_use]
    pub fn here(&self) -> Option<Part> {
        if self.at >= self.span.end {
            return None;
        }
        let piece = piece_of(self.at);
        let begin = piece_start(piece);
        let within = |byte: u64| {
            u32::try_from(byte.saturating_sub(begin).min(u64::from(PIECE_BYTES)))
                .unwrap_or(PIECE_BYTES)
        };
        Some(Part {
            piece,
            from: within(self.at),
            to: within(self.span.end),
        })
    }

    /// Bytes of the piece at hand when it is whole.
    #[must_use]
    pub fn piece_len(&self) -> u32 {
        piece_len(self.length, piece_of(self.at))
    }

    /// `bytes` were sent.
    pub fn advance(&mut self, bytes: u64) {
        self.at = self.at.saturating_add(bytes).min(self.span.end);
    }

    /// Bytes that are still to be sent.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.span.end - self.at
    }

    /// The pieces to ask for now, so that at most `ahead_bytes_max` (at least one piece) lie ahead of the client.
    /// Nothing while more than half of that is asked for already: so they are asked for in runs, not one by one.
    pub fn ask_ahead(&mut self, ahead_bytes_max: u64) -> Range<u32> {
        let pieces = self.span.pieces();
        if self.at >= self.span.end {
            return pieces.end..pieces.end;
        }
        let first = piece_of(self.at);
        let begin = self.asked_to.max(first);
        let window = u32::try_from(ahead_bytes_max / u64::from(PIECE_BYTES))
            .unwrap_or(u32::MAX)
            .max(1);
        if begin > first && begin - first > window / 2 {
            return begin..begin;
        }
        let end = first.saturating_add(window).min(pieces.end).max(begin);
        self.asked_to = end;
        begin..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PIECE: u64 = PIECE_BYTES as u64;

    #[test]
    fn beyond_four_gib_the_piece_and_its_bytes_are_exact() {
        let length = (9 << 32) + 7;
        let walk = Walk::new(length, Span::new((1 << 32) - 1, (1 << 32) + 1));
        let here = walk.here().expect("two bytes to send");
        assert_eq!((here.piece, here.from, here.to), (4095, 1_048_575, 1 << 20));
        let last = Walk::new(length, Span::new(length - 1, length));
        assert_eq!(last.piece_len(), 7);
        assert_eq!(last.here().map(|p| (p.from, p.to)), Some((6, 7)));
    }

    #[test]
    fn an_empty_span_asks_for_nothing() {
        let mut walk = Walk::new(0, Span::whole(0));
        assert_eq!(walk.here(), None);
        assert!(walk.ask_ahead(16 << 20).is_empty());
    }

    #[test]
    fn pieces_are_asked_for_in_runs_of_half_a_window() {
        let mut walk = Walk::new(100 * PIECE, Span::whole(100 * PIECE));
        assert_eq!(walk.ask_ahead(8 * PIECE), 0..8);
        for _ in 0..3 {
            walk.advance(PIECE);
            assert!(walk.ask_ahead(8 * PIECE).is_empty());
        }
        walk.advance(PIECE);
        assert_eq!(walk.ask_ahead(8 * PIECE), 8..12);
        // A window smaller than a piece still lets the client go on.
        let mut narrow = Walk::new(3 * PIECE, Span::whole(3 * PIECE));
        assert_eq!(narrow.ask_ahead(0), 0..1);
        assert!(narrow.ask_ahead(0).is_empty());
        narrow.advance(PIECE);
        assert_eq!(narrow.ask_ahead(0), 1..2);
    }

    proptest! {
        #[test]
        fn every_byte_is_sent_once_and_was_asked_for(
            length in 1..20 * PIECE,
            start in 0..20 * PIECE,
            len in 1..20 * PIECE,
            ahead in 0..9 * PIECE,
            step in 1..3 * PIECE,
        ) {
            let span = Span::new(start.min(length - 1), (start.min(length - 1) + len).min(length));
            let mut walk = Walk::new(length, span);
            let (mut sent, mut asked) = (span.start, span.pieces().start);
            while let Some(part) = walk.here() {
                let now = walk.ask_ahead(ahead);
                prop_assert!(now.is_empty() || now.start == asked);
                asked = asked.max(now.end);
                prop_assert!(asked > part.piece && asked <= span.pieces().end);
                prop_assert!(u64::from(asked - part.piece) <= (ahead / PIECE).max(1));
                prop_assert_eq!(u64::from(part.piece) * PIECE + u64::from(part.from), sent);
                prop_assert!(part.to <= walk.piece_len() && part.from < part.to);
                let taken = step.min(u64::from(part.to - part.from));
                walk.advance(taken);
                sent += taken;
            }
            prop_assert_eq!(sent, span.end);
            prop_assert_eq!(asked, span.pieces().end);
        }
    }
}
