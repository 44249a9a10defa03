//! `larder check-config FILE`. The rule: it says exactly what `serve` would say of the same file.

use super::say;
use crate::config;
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `larder check-config`.
#[derive(clap::Args, Debug)]
pub(super) struct CheckConfigArgs {
    /// The file; what lies in conf.d beside it is read as well.
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
    let beside: Vec<String> = checked
        .files
        .iter()
        .skip(1)
        .map(|file| file.display().to_string())
        .collect();
    let with = match beside.is_empty() {
        true => String::new(),
        false => format!(", with {}", beside.join(", ")),
    };
    say(&format!("{}: in order{with}", args.file.display()))?;
    Ok(ExitCode::SUCCESS)
}
