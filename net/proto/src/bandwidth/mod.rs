//! How much of the line downloads take. The rule: no byte is read that was not granted here, one budget is for all flows,
//! and what clients are given out of the store never comes here.
//!
//! `available` measures what the line brings, of which the policies take percentages; `budget` shares out what is allowed:
//! somebody who waits comes first, and downloads of one kind share alike; `yielding` is for a background that has no
//! limit and is not to be in anybody's way; `governor` puts them together with the policies.

mod available;
mod budget;
mod governor;
mod level;
#[cfg(test)]
mod tests;
mod yielding;

pub use available::Available;
pub use budget::{Budget, Flow};
pub use governor::Governor;
pub use yielding::{Sample, Yielding};
