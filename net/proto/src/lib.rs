//! The rules of larder: bytes and events in, decisions out. The rule of the crate: no I/O and no clock; time and
//! bytes are arguments, so that every decision can be tested by a table.
#![forbid(unsafe_code)]

pub mod answer;
pub mod bandwidth;
pub mod ber;
pub mod bucket;
pub mod clients;
pub mod crowd;
pub mod date;
pub mod dhcp;
pub mod directives;
pub mod dns;
pub mod fetch;
pub mod freshness;
pub mod http;
pub mod invalidation;
pub mod links;
mod list;
pub mod months;
pub mod netlink;
pub mod netlogon;
pub mod plan;
pub mod policy;
pub mod prefetch;
pub mod proving;
pub mod range;
pub mod renewal;
pub mod reuse;
pub mod swarm;
pub mod time;
pub mod tls;
pub mod tracker;
pub mod upstream;
pub mod variant;

pub use time::{Time, UnixSecs};
