//! The appliance: command line, configuration, wiring, administration, telemetry. The rule: what the other crates
//! decide is only put together here.
#![forbid(unsafe_code)]

mod admin;
pub mod appliance;
mod background;
mod budget;
mod certificates;
pub mod cli;
pub mod config;
mod coordination;
pub mod demo;
mod device;
mod get;
mod listen;
mod machine;
mod node;
mod reload;
mod service;
mod state;
mod swarm;
mod systemd;
pub mod telemetry;

pub use appliance::{Appliance, StartError};
pub use config::Checked;
pub use telemetry::Telemetry;
