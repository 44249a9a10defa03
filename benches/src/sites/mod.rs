//! Branch offices in one house: namespaces, devices, appliances, an origin and a coordinator. The rule: every device is
//! the program itself in a process of its own, and what crossed a line is told by the kernel's counters of that line.

mod arrangement;
mod device;
mod network;
mod object;
mod office;

pub use arrangement::{Arrangement, Outcome, SOURCES, Share};
pub use network::Network;
pub(crate) use network::wan_address;
pub use office::run;
