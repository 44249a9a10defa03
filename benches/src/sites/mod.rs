//! Branch offices in one house: namespaces, devices, appliances, an origin and a coordinator. The rule: every device is
//! the program itself in a process of its own, and what crossed a line is told by the kernel's counters of that line.

mod device;
mod network;
mod office;

pub use network::Network;
pub use office::{Arrangement, Outcome, SOURCES, Share, run};
