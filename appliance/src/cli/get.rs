//! `larder get`. The rule: standard output is the object's or the report's alone; what a person should know goes to
//! standard error, and little of it where that is no terminal.

use super::say;
use crate::config::{self, Log, LogFormat};
use crate::get::{self, Failure, Order, Report, progress};
use crate::telemetry::log;
use larder_net::sock;
use larder_proto::policy::Priority;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `larder get`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(super) struct GetArgs {
    /// What to download: http://host/path or https://host/path.
    url: String,
    /// Where to: a file, which an older one stays until the new one is whole; a directory, for a file in it by the
    /// URL's name; or - for standard output. Without it: the URL's name, in the present directory.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    // Not as documentation, which would take the tables' names for links.
    #[arg(
        long,
        value_name = "FILE",
        help = "The configuration: [policy], [origins], [coordinator] url and [server] peer of it are obeyed, the rest is an appliance's"
    )]
    config: Option<PathBuf>,
    /// Nobody waits for it.
    #[arg(long)]
    background: bool,
    /// Stay as a peer when it is done, until an interrupt.
    #[arg(long)]
    seed: bool,
    /// Print one JSON object at the end, with the fields of Get-DeliveryOptimizationStatus.
    #[arg(long)]
    json: bool,
    /// Say what is going on.
    #[arg(short, long)]
    verbose: bool,
}

const EXIT_CODES: &str = "\
The bytes are written to FILE.part, in order, and take FILE's place once they are whole, checked and on disk. What came \
is kept in the cache meanwhile, so that the same command goes on where a former one was stopped or killed.

Exit codes:
  0    right and whole
  1    this machine's trouble, as a file that can not be written
  2    the command line or the configuration is wrong
  3    the origin has no such object, or does not give it
  4    the origin can not be reached, breaks off, or is in trouble
  5    the bytes are not what they should be
  6    no room on the disk
  130  stopped by a signal";

pub(super) fn run(args: &GetArgs) -> anyhow::Result<ExitCode> {
    let config = match config::load(args.config.as_deref()) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::from(Failure::Usage(String::new()).code()));
        }
    };
    log::install(&Log {
        format: LogFormat::Text,
        filter: if args.verbose { "info" } else { "error" }.to_owned(),
    });
    // Many connections and pieces at once; where it can not be raised there are fewer of them.
    if let Err(error) = sock::raise_open_files() {
        tracing::info!("the limit of open files stays as it is: {error}");
    }
    let (report, seeding) = get::run(&Order {
        url: args.url.clone(),
        output: args.output.clone(),
        config,
        priority: if args.background {
            Priority::Background
        } else {
            Priority::Foreground
        },
        seed: args.seed,
    });
    if let Some(failure) = &report.failure {
        eprintln!("larder: {failure}");
    } else if std::io::stderr().is_terminal() {
        eprintln!("{}", summary(&report));
    }
    if args.json {
        say(&serde_json::to_string_pretty(&report)?)?;
    }
    match seeding {
        Some(seeding) => seeding.until_signal(),
        None if args.seed && report.failure.is_none() => eprintln!(
            "larder: there is nobody to stay for: download mode {} has no peers ({})",
            report.download_mode, report.download_mode_reason
        ),
        None => {}
    }
    Ok(ExitCode::from(report.exit_code))
}

fn summary(report: &Report) -> String {
    let path = report.path.as_deref().unwrap_or_default();
    let size = progress::size(report.file_size.unwrap_or_default());
    let words = progress::words(report.bytes_from_disk, report.sources);
    let words = if words.is_empty() {
        String::new()
    } else {
        format!(": {words}")
    };
    format!("{path}: {size} in {:.1} s{words}", report.download_duration)
}
