//! What content is: identities, spans and piece hashes. The ground floor of larder: pure values, no I/O, no clock.
#![forbid(unsafe_code)]

pub mod base64;
pub mod hash;
pub mod ids;
pub mod key;
pub mod neighbour;
pub mod phf;
pub mod span;

pub use ids::{BLOCK_BYTES, ContentNo, PIECE_BYTES, PieceId, UrlKey};
pub use phf::{ContentId, Phf, PhfError};
pub use span::Span;
