//! Piece-hash files.
