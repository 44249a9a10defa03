//! The command line. The rule: what a person reads goes to standard output, what went wrong to standard error with
//! what to do about it, and the exit code says which it was.

mod check_config;
mod client;
mod coordinator;
mod csr;
mod doctor;
mod downloads;
mod fleet;
mod get;
mod log;
mod objects;
mod perfsnap;
mod policy;
mod report;
mod serve;
mod shell;
mod status;
mod table;
mod top;
mod warm;

use crate::demo::{self, DemoArgs};
use check_config::CheckConfigArgs;
use clap::{Parser, Subcommand};
use coordinator::CoordinatorArgs;
use csr::CsrArgs;
use doctor::DoctorArgs;
use fleet::FleetArgs;
use get::GetArgs;
use log::LogArgs;
use objects::ObjectArgs;
use perfsnap::PerfSnapArgs;
use policy::PolicyArgs;
use report::ReportArgs;
use serve::ServeArgs;
use shell::{CompletionsArgs, ManArgs};
use status::StatusArgs;
use std::io::{self, Write};
use std::process::ExitCode;
use top::TopArgs;
use warm::WarmArgs;

/// The cache appliance and preferred peer for Delivery Optimization.
#[derive(Parser, Debug)]
#[command(name = "larder", version, about, after_help = EXIT_CODES)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 it failed, or what was checked is not in order; 2 the command line \
                          is wrong.";

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the appliance.
    Serve(ServeArgs),
    /// Run a coordinator alone: where devices learn of each other.
    Coordinator(CoordinatorArgs),
    /// Run a whole branch office on loopback and show where its bytes came from.
    Demo(DemoArgs),
    /// Download an object as a peer would, and check it.
    Get(GetArgs),
    /// Check a configuration file: exit 0, or file:line:column and what to write instead.
    CheckConfig(CheckConfigArgs),
    /// The policies of Delivery Optimization, as they hold here.
    Policy(PolicyArgs),
    /// What is being downloaded, and what is here: Get-DeliveryOptimizationStatus.
    Status(StatusArgs),
    /// What goes on now, looked at again and again.
    Top(TopArgs),
    /// What was downloaded and uploaded, in sum: Get-DeliveryOptimizationPerfSnap, and of a month.
    Perfsnap(PerfSnapArgs),
    /// What has become of downloads: Get-DeliveryOptimizationLog, and its analysis.
    Log(LogArgs),
    /// What was served, fetched and saved in each month.
    Report(ReportArgs),
    /// List what is stored.
    Ls(ObjectArgs),
    /// Show all that is known of an object.
    Stat(ObjectArgs),
    /// Forget objects and their bytes.
    Purge(ObjectArgs),
    /// Ask for nothing more of a download, until it is resumed.
    #[command(after_help = downloads::PAUSE)]
    Pause(ObjectArgs),
    /// Let paused downloads go on.
    Resume(ObjectArgs),
    /// End downloads.
    #[command(after_help = downloads::CANCEL)]
    Cancel(ObjectArgs),
    /// Keep objects whatever room is needed.
    Pin(ObjectArgs),
    /// Let objects be evicted again.
    Unpin(ObjectArgs),
    /// Fill a running appliance from URLs, behind what its clients want.
    Warm(WarmArgs),
    /// Read what is stored of objects and check it.
    Verify(ObjectArgs),
    /// Look at this machine and at the appliance that runs on it, and say what is not as it should be.
    Doctor(DoctorArgs),
    /// Make a request for a certificate, and a key where there is none.
    Csr(CsrArgs),
    /// Look at many appliances at once: a line each, and which of them are not as they should be.
    Fleet(FleetArgs),
    /// Print the completions of a shell.
    Completions(CompletionsArgs),
    /// Print the manual page, or write a page of each command.
    Man(ManArgs),
}

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.command {
        Command::Serve(args) => serve::run(&args),
        Command::Coordinator(args) => coordinator::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Get(args) => get::run(&args),
        Command::CheckConfig(args) => check_config::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Perfsnap(args) => perfsnap::run(&args),
        Command::Log(args) => log::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Ls(args) => objects::ls(&args),
        Command::Stat(args) => objects::stat(&args),
        Command::Purge(args) => objects::purge(&args),
        Command::Pause(args) => downloads::pause(&args),
        Command::Resume(args) => downloads::resume(&args),
        Command::Cancel(args) => downloads::cancel(&args),
        Command::Pin(args) => objects::pin(&args, true),
        Command::Unpin(args) => objects::pin(&args, false),
        Command::Warm(args) => warm::run(&args),
        Command::Verify(args) => objects::verify(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Csr(args) => csr::run(&args),
        Command::Fleet(args) => fleet::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("larder: {error:#}");
        ExitCode::FAILURE
    })
}

/// Writes a line to standard output. A reader that has seen enough (`| head`) is no error.
fn say(line: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests;
