//! `larder doctor` is shown one fault after the other, each injected for real, and has to name the right one. The rule:
//! before the fault nothing is bad, and with it nothing but what it breaks.

mod appliance;
mod coordination;
mod disks;
mod limits;
#[path = "../../../net/src/discovery/namespace.rs"]
mod namespace;
mod network;
mod origins;
mod report;
#[path = "../rig/mod.rs"]
mod rig;
mod tls;
