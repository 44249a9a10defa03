//! storage
#![deny(unsafe_code)]

#[allow(unsafe_code)]
#[allow(dead_code, reason = "the disk reads of the drivers use the rest")]
pub mod arena;
#[allow(dead_code, reason = "the disk reads of the drivers use the rest")]
pub mod buf;
pub mod driver;
#[allow(unsafe_code)]
#[allow(dead_code, reason = "the disk reads of the drivers use the rest")]
pub mod ram_tier;
