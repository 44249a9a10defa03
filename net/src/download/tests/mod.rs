//! The download side against origins that behave, and against those that do not. The rule: the bytes that a flight
//! carries are right, or it fails.

mod bandwidth;
mod bring;
mod faults;
mod prefetch;
mod proving;
pub(crate) mod script;
mod stale;
mod whole_way;
pub(crate) mod world;
