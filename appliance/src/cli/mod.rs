//! The command line. The rule: what a person reads goes to standard output, what went wrong to standard error with
//! what to do about it, and the exit code says which it was.

mod check_config;
mod client;
mod coordinator;
mod doctor;
mod get;
mod objects;
mod policy;
mod serve;
mod table;
mod warm;

use crate::demo::{self, DemoArgs};
use check_config::CheckConfigArgs;
use clap::{Parser, Subcommand};
use coordinator::CoordinatorArgs;
use doctor::DoctorArgs;
use get::GetArgs;
use objects::ObjectArgs;
use policy::PolicyArgs;
use serve::ServeArgs;
use std::io::{self, Write};
use std::process::ExitCode;
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
    /// List what is stored.
    Ls(ObjectArgs),
    /// Show all that is known of an object.
    Stat(ObjectArgs),
    /// Forget objects and their bytes.
    Purge(ObjectArgs),
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
        Command::Ls(args) => objects::ls(&args),
        Command::Stat(args) => objects::stat(&args),
        Command::Purge(args) => objects::purge(&args),
        Command::Pin(args) => objects::pin(&args, true),
        Command::Unpin(args) => objects::pin(&args, false),
        Command::Warm(args) => warm::run(&args),
        Command::Verify(args) => objects::verify(&args),
        Command::Doctor(args) => doctor::run(&args),
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
