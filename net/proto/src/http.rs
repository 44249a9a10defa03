//! Requests as bytes: their heads, the origin they name, and the addresses that no origin may have.

pub mod address;
pub mod head;
pub mod route;
mod rules;
