//! A whole branch office on loopback: an origin, the appliance, ten clients. The rule: it ends well only if every
//! byte was right and crossed the line to the origin once.

use std::process::ExitCode;

/// Options of `larder demo`.
#[derive(clap::Args, Debug, Default)]
pub struct DemoArgs {}

/// Runs the branch office and prints where the bytes came from.
///
/// # Errors
/// Where a part of it cannot be started, in words.
pub fn run(_args: &DemoArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("this build has no demo")
}
