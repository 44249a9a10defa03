//! A download side that has an origin, a coordinator and peers, all on loopback. The rule: peers speak the wire, and what
//! counts is which bytes the client got and who was asked for them.

mod faults;
mod stand;
mod ways;
