//! Disks for tests: one in memory, one that fails, one that loses power. The rule: what goes wrong is decided by a
//! script or a seed, never by chance.

pub(crate) mod crash_io;
pub(crate) mod fault_io;
pub(crate) mod mem_io;
pub(crate) mod seed;
