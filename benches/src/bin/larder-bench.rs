//! `larder-bench`: the project's figures, one command each. The rule: every figure is a ratio of two things measured
//! in the same run, and the exit code says whether it is what it should be.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use larder_benches::{command, figures, place};
use std::io::Write;
use std::process::ExitCode;

/// Measures larder, alone and side by side with nginx and Varnish.
#[derive(Parser, Debug)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

/// One line for each command. What it takes, its help and what it does are with its type, in a module of its own.
macro_rules! commands {
    ($($(#[$about:meta])* $name:ident($args:ty),)*) => {
        #[derive(Subcommand, Debug)]
        enum Command {
            $($(#[$about])* $name($args),)*
        }

        impl Command {
            fn run(self, out: &mut impl Write) -> anyhow::Result<bool> {
                match self {
                    $(Self::$name(args) => args.run(out),)*
                }
            }
        }
    };
}

// In the order of their names, so that additions meet seldom.
commands! {
    ColdClient(figures::shaped::ColdClient),
    Coordinator(figures::coordinator::CoordinatorFigure),
    Filling(figures::filling::Filling),
    Idle(figures::idle::Idle),
    InOrder(figures::in_order::InOrder),
    IndexSize(figures::index_size::IndexSize),
    MakeStore(figures::filled::MakeStore),
    Mixed(figures::mixed::Mixed),
    Offices(figures::offices::Offices),
    Once(figures::once::Once),
    #[command(hide = true)]
    Origin(figures::shaped::FarEnd),
    #[command(hide = true)]
    Other(figures::yielding::Other),
    PatchMorning(figures::patch_morning::PatchMorning),
    Peers(figures::peers::Peers),
    Restart(figures::restart::Restart),
    SideBySide(command::SideBySide),
    SlotWrites(figures::slot_writes::SlotWrites),
    SlowReaders(figures::slow_readers::SlowReaders),
    ThinLine(figures::thin_line::ThinLine),
    WorkingSet(figures::working_set::WorkingSet),
    Yielding(figures::yielding::Yielding),
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    // The far end of a line is in the namespace that the line leads to.
    if !matches!(args.command, Command::Origin(_) | Command::Other(_)) {
        place::enter()?;
    }
    // What larder's installation sets is there for all that is measured, memory of other servers included.
    let _pages = place::Pages::advised();
    Ok(match args.command.run(&mut std::io::stdout())? {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
