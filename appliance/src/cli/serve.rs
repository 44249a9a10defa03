//! `larder serve`. The rule: it says what it serves once it serves, and why not where it cannot.

use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `larder serve`.
#[derive(clap::Args, Debug)]
pub(super) struct ServeArgs {
    /// The configuration; without one: ports 8080 (HTTP) and 127.0.0.1:9180 (admin), the store in the data directory
    /// of the user.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let _ = &args.config;
    anyhow::bail!("this build does not serve")
}
