//! The HTTP data plane: connections on shard threads, and the service they are handed over to.

mod client_io;
mod described;
pub mod handoff;
pub mod hyper_service;
mod mailbox;
pub mod plane;
mod shard;
mod small;
#[cfg(test)]
mod tests;
mod timers;
pub mod tls;

pub use handoff::{HandedOver, TakeOver};
pub use hyper_service::HyperService;
pub use plane::{Plane, PlaneOptions, PlaneParts, ShardReport};
pub use tls::{Certificates, TlsPlane};
