//! The appliance: command line, configuration, wiring, administration, telemetry. The rule: what the other crates
//! decide is only put together here.
#![forbid(unsafe_code)]

mod admin;
pub mod appliance;
mod background;
mod budget;
mod certificates;
pub mod cli;
mod cmdlets;
pub mod config;
mod coordination;
mod csr;
pub mod demo;
mod device;
mod get;
mod journal;
mod listen;
mod machine;
mod month;
mod months;
mod node;
mod reload;
mod report;
mod scrub;
mod service;
mod state;
mod swarm;
mod systemd;
pub mod telemetry;

pub use appliance::{Appliance, StartError};
pub use config::Checked;
pub use telemetry::Telemetry;
