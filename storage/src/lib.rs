//! The piece store and the ways to the kernel: slabs, header tables, catalogue, memory tier, drivers. The rule: what
//! leaves the store is proved to be what was put in, or does not leave.
#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod arena;
pub mod block_io;
pub mod buf;
pub mod catalogue;
mod contents;
mod disk;
pub mod driver;
pub mod driver_any;
#[cfg(test)]
mod driver_tests;
#[allow(unsafe_code)]
pub mod epoll;
pub mod evict;
pub mod flight;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hot;
mod index;
mod lately;
pub mod limits;
pub mod proof;
#[allow(unsafe_code)]
pub mod ram_tier;
pub mod record;
#[allow(unsafe_code)]
pub mod ring;
mod slab;
pub mod store;
#[cfg(any(test, fuzzing))]
mod testing;
mod tight;
pub mod transfer;
mod writer;

pub use flight::{Flight, FlightError, FlightState, Seen, Watch, Watcher};
pub use ram_tier::{FrameWriter, RamFrame, RamTier};
pub use record::{Content, Record};
pub use store::{
    Claim, DiskPiece, Figures, Filter, Found, Listed, OpenError, Purged, SizeLimit, Store,
    StoreOptions, Verified,
};
