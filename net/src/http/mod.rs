//! HTTP beside the shard threads: TLS, and the service that requests are handed over to which a shard does not serve.

mod client_io;
pub(crate) mod described;
pub mod handoff;
pub mod hyper_service;
pub mod patience;
pub mod seats;
pub(crate) mod small;
#[cfg(test)]
mod tests;
pub mod tls;

pub use crate::plane::{Plane, PlaneOptions, PlaneParts, ShardReport};
pub use handoff::{HandedOver, TakeOver};
pub use hyper_service::HyperService;
pub use tls::{Certificates, TlsPlane};
