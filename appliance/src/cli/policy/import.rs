//! `larder policy import FILE`. The rule: the section goes to standard output and what is to be said of it to standard
//! error; a configuration is changed only where that is asked for, and as a whole or not at all.

use super::say;
use crate::config::{self, Imported};
use anyhow::Context;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A whole registry is smaller.
const BYTES_MAX: u64 = 1 << 30;

/// Options of `larder policy import`.
#[derive(clap::Args, Debug)]
pub(super) struct ImportArgs {
    /// A registry export (.reg), what Intune gives out as JSON, or the agent's admin-config.json.
    file: PathBuf,
    /// The configuration that --write changes.
    #[arg(long, value_name = "FILE", requires = "write")]
    config: Option<PathBuf>,
    /// Put the settings into the configuration, which keeps everything else, instead of printing them.
    #[arg(long, requires = "config")]
    write: bool,
}

pub(super) fn run(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let name = args.file.display();
    let mut bytes = Vec::new();
    File::open(&args.file)
        .and_then(|file| file.take(BYTES_MAX).read_to_end(&mut bytes))
        .with_context(|| format!("{name}: cannot be read; name a file that this user may read"))?;
    let imported = match config::import(&bytes) {
        Ok(imported) => imported,
        Err(lines) => {
            for line in lines {
                eprintln!("{name}: {line}");
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    for warning in &imported.warnings {
        eprintln!("{name}: warning: {warning}");
    }
    match &args.config {
        None => say(&imported.section())?,
        Some(config) => {
            write(config, &imported)?;
            let count = imported.settings.len();
            say(&format!("{}: {count} settings written", config.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts the settings into a configuration that is in order, and is so afterwards.
fn write(path: &Path, imported: &Imported) -> anyhow::Result<()> {
    let name = path.display();
    // What a link leads to, so that it stays one.
    let path = fs::canonicalize(path).with_context(|| {
        format!("{name}: cannot be found; --write changes a file that there is")
    })?;
    let text = fs::read_to_string(&path).with_context(|| format!("{name}: cannot be read"))?;
    let text = config::with_policy(&text, &imported.settings)
        .map_err(|why| anyhow::anyhow!("{name}: is not changed: {why}"))?;
    let mut part = path.clone().into_os_string();
    part.push(".new");
    let part = PathBuf::from(part);
    let put = || -> anyhow::Result<()> {
        let mode = fs::metadata(&path)?.permissions();
        let mut file = File::create(&part)?;
        file.set_permissions(mode)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        config::load(Some(&part))?;
        fs::rename(&part, &path)?;
        Ok(())
    };
    put()
        .with_context(|| format!("{name}: is not changed"))
        .inspect_err(|_| {
            let _ = fs::remove_file(&part);
        })
}
