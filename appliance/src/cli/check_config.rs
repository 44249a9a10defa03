//! `larder check-config FILE`. The rule: it says exactly what `serve` would say of the same file.

use super::say;
use crate::config;
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `larder check-config`.
#[derive(clap::Args, Debug)]
pub(super) struct CheckConfigArgs {
    /// The file.
    file: PathBuf,
}

pub(super) fn run(args: &CheckConfigArgs) -> anyhow::Result<ExitCode> {
    let checked = match config::load(Some(&args.file)) {
        Ok(checked) => checked,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::FAILURE);
        }
    };
    for warning in &checked.warnings {
        eprintln!("{}: warning: {warning}", args.file.display());
    }
    say(&format!("{}: in order", args.file.display()))?;
    Ok(ExitCode::SUCCESS)
}
