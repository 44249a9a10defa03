//! `larder-bench`: the project's figures, one command each. The rule: every figure is a ratio of two things measured
//! in the same run, and the exit code says whether it is what it should be.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use larder_benches::place;
use larder_benches::servers::Kind;
use larder_benches::side_by_side::{Comparison, table};
use std::io::Write;
use std::process::ExitCode;

/// Measures larder, alone and side by side with nginx.
#[derive(Parser, Debug)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Warm ranges from nginx and larder in turns: speed, latency, CPU seconds per GB.
    SideBySide(SideBySide),
}

#[derive(clap::Args, Debug)]
struct SideBySide {
    /// A short run with a small set: to see that it works, not to be quoted.
    #[arg(long)]
    quick: bool,
    /// Only 1 MiB ranges, larder against the tuned slice cache.
    #[arg(long)]
    pieces_only: bool,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests under way on each connection.
    #[arg(long, default_value_t = 1)]
    pipeline: usize,
    /// Rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// Without larder: the others alone.
    #[arg(long)]
    without_larder: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let inside = place::enter()?;
    let good = match args.command {
        Command::SideBySide(args) => side_by_side(&args, inside)?,
    };
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn side_by_side(args: &SideBySide, inside: bool) -> anyhow::Result<bool> {
    let mut kinds = vec![
        Kind::NginxStatic,
        Kind::NginxSliceLancache,
        Kind::NginxSliceTuned,
    ];
    if args.pieces_only {
        kinds.retain(|kind| *kind == Kind::NginxSliceTuned);
    }
    if !args.without_larder {
        kinds.push(Kind::Larder);
    }
    let mut range_bytes = vec![4 << 10, 16 << 10, 64 << 10, 1 << 20];
    if args.pieces_only {
        range_bytes = vec![1 << 20];
    }
    let comparison = Comparison {
        kinds,
        content_bytes: if args.quick { 128 << 20 } else { 1 << 30 },
        range_bytes,
        connections: args.connections,
        pipeline: args.pipeline,
        rounds: args.rounds.unwrap_or(if args.quick { 2 } else { 5 }),
        seconds: if args.quick { 1.0 } else { 4.0 },
    };
    let directory = tempfile::tempdir()?;
    let compared = comparison.run(directory.path())?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", table(&compared.rows))?;
    let mut good = true;
    if let Some(on_shard) = compared.on_shard {
        writeln!(
            out,
            "requests answered on shard threads: {:.2} %",
            on_shard * 100.0
        )?;
        good &= on_shard > 0.99;
    }
    let of = |kind, range| {
        let mut rows = compared.rows.iter();
        rows.find(|row| row.kind == kind && row.range_bytes == range)
    };
    for range in &comparison.range_bytes {
        let both = (of(Kind::Larder, *range), of(Kind::NginxSliceTuned, *range));
        if let (Some(larder), Some(nginx)) = both {
            let core = larder.core_seconds_per_gb().median / nginx.core_seconds_per_gb().median;
            let process =
                larder.process_seconds_per_gb().median / nginx.process_seconds_per_gb().median;
            writeln!(
                out,
                "{} KiB: CPU s/GB of larder / nginx slice tuned: {core:.2} by the core, {process:.2} by the processes",
                range >> 10
            )?;
            good &= *range != 1 << 20 || core <= 0.9;
        }
    }
    if !inside {
        writeln!(
            out,
            "NOT COMPARABLE: outside of a network namespace of its own"
        )?;
    }
    Ok(good)
}
