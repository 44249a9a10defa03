//! The download side against origins that behave, and against those that do not. The rule: the bytes that a flight
//! carries are right, or it fails.

mod chance;
mod faults;
mod script;
mod stale;
mod whole_way;
mod world;
