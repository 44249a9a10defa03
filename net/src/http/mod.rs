//! The HTTP data plane: connections on shard threads, and the service they are handed over to.

pub mod handoff;
pub mod plane;

pub use handoff::{HandedOver, TakeOver};
pub use plane::{Plane, PlaneOptions, PlaneParts, ShardReport};
