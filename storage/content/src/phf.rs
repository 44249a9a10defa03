//! Piece-hash files. The rule: what is parsed is bounded before it is read, and trusted only once it proves itself.
