//! The coordinator: where devices learn of each other and of what contents are. The rule: what may be answered is
//! decided in `larder_proto::tracker`; here are sockets, clocks and the places where it is kept.

pub mod client;
pub mod key;

pub use client::{ClientError, ClientOptions, CoordinatorClient};
pub use key::Key;

/// The TCP port of a coordinator where nothing else is said: the one beside the peers' 7680.
pub const DEFAULT_PORT: u16 = 7681;
