//! The appliance: command line, configuration, wiring, administration, telemetry. The rule: what the other crates
//! decide is only put together here.
#![forbid(unsafe_code)]

pub mod appliance;
pub mod cli;
pub mod config;
pub mod demo;
pub mod telemetry;

pub use appliance::{Appliance, StartError};
pub use config::Checked;
pub use telemetry::Telemetry;
