//! The project's figures besides the speed of warm ranges, one module each. The rule: each prints what it saw and
//! returns whether that is what it should be; nothing is smoothed.

pub mod cold_client;
pub mod filled;
pub mod once;
pub mod restart;
pub mod shaped;
pub mod slot_writes;
pub mod thin_line;
