//! `larder get` as it is run: the program, real origins, real files. The rule: a test knows what the program wrote, what
//! it said, by which code it ended, and what its origin was asked for; nothing else.

mod cache_hosts;
mod device;
mod dhcp;
mod endings;
#[path = "../../../net/src/discovery/namespace.rs"]
mod namespace;
mod origin;
mod peers;
mod resuming;
#[path = "../rig/mod.rs"]
mod rig;
mod whole;

pub(crate) const MIB: usize = 1 << 20;
