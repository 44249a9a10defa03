//! Sockets: the HTTP data plane, origins and downloads. Rules live in `larder-proto`; this crate acts on them.
#![deny(unsafe_code)]

pub mod ask;
mod bandwidth;
mod bell;
pub mod clients;
pub mod clock;
pub mod coordinator;
pub mod crowd;
pub mod discovery;
pub mod download;
pub mod hosts;
pub mod http;
pub mod links;
pub mod metrics;
pub mod origin;
mod pace;
mod peer;
mod pieces;
pub mod plane;
pub mod settings;
pub mod sock;
pub mod swarm;
pub mod tally;
pub mod uploads;
pub mod whole;
