//! `larder check-config FILE`. The rule: it says exactly what `serve` would say of the same file.

use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `larder check-config`.
#[derive(clap::Args, Debug)]
pub(super) struct CheckConfigArgs {
    /// The file.
    file: PathBuf,
}

pub(super) fn run(args: &CheckConfigArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("{}: this build reads no configuration", args.file.display())
}
