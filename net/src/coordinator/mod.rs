//! The coordinator: where devices learn of each other and of what contents are. The rule: what may be answered is
//! decided in `larder_proto::tracker`; here are sockets, clocks and the places where it is kept.

mod backend;
pub mod client;
mod figures;
pub mod key;
pub mod memory;
pub mod redis;
pub mod server;
pub mod service;
#[cfg(test)]
mod tests;

pub use self::redis::{Redis, RedisOptions};
pub use backend::{Backend, BackendError};
pub use client::{ClientError, ClientOptions, CoordinatorClient};
pub use key::Key;
pub use memory::Memory;
pub use server::{Server, ServerOptions};
pub use service::{Caller, Coordinator, Proven, Publisher, Refusal, ServiceOptions};

/// The TCP port of a coordinator where nothing else is said: the one beside the peers' 7680.
pub const DEFAULT_PORT: u16 = 7681;
