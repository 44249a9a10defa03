//! A whole branch office on loopback: an origin, the appliance, ten clients. The rule: it uses the appliance as any
//! client would, through its sockets, and believes nothing that it has not compared.

pub mod client;
pub mod content;
pub mod origin;
pub mod tally;
