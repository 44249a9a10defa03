//! `larder completions` and `larder man`: what a shell and man(1) are given. The rule: both are made of the command line
//! itself, so that they can not say anything else than `--help`.

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `larder completions`.
#[derive(clap::Args, Debug)]
pub(super) struct CompletionsArgs {
    /// Which shell; what is printed belongs into a file that it reads.
    shell: Shell,
}

/// Options of `larder man`.
#[derive(clap::Args, Debug)]
pub(super) struct ManArgs {
    /// A directory, for a page of each command; without one the page of larder itself is printed.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "larder", &mut script);
    print(&script)
}

pub(super) fn man(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command()).render(&mut page)?;
        return print(&page);
    };
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(command(), dir)?;
    Ok(ExitCode::SUCCESS)
}

fn command() -> Command {
    super::Args::command()
}

fn print(text: &[u8]) -> anyhow::Result<ExitCode> {
    match io::stdout().lock().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}
