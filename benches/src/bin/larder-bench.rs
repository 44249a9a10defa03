//! `larder-bench`: the project's figures, one command each. The rule: every figure is a ratio of two things measured
//! in the same run, and the exit code says whether it is what it should be.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use larder_benches::figures;
use larder_benches::figures::filled::{Filling, fill};
use larder_benches::kind::Kind;
use larder_benches::place;
use larder_benches::side_by_side::{Comparison, aims, table};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures larder, alone and side by side with nginx.
#[derive(Parser, Debug)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Warm ranges from nginx, Varnish and larder in turns: speed, latency, CPU seconds per GB.
    SideBySide(SideBySide),
    /// Origin bytes of many clients that fetch the same cold file at once, by one host name and by four.
    Once {
        /// Clients.
        #[arg(long, default_value_t = 50)]
        clients: u64,
    },
    /// One cold client through larder against the same client straight to the origin, on shaped lines.
    ColdClient {
        /// Rounds on each line.
        #[arg(long, default_value_t = 3)]
        rounds: u64,
        /// Only the line of 1 Gbit/s between two namespaces.
        #[arg(long, conflicts_with = "long_lines_only")]
        gigabit_only: bool,
        /// Only the long lines through a forwarder.
        #[arg(long)]
        long_lines_only: bool,
    },
    /// Many clients on a line of 10 Mbit/s.
    ThinLine {
        /// Clients.
        #[arg(long, default_value_t = 200)]
        clients: u64,
        /// Bytes of the file that they fetch.
        #[arg(long, default_value_t = 100 << 20)]
        bytes: u64,
    },
    /// Fills a store with very many pieces, for `restart --store`.
    MakeStore {
        /// Where; it must hold none.
        directory: PathBuf,
        #[command(flatten)]
        filling: Filling,
    },
    /// How long a start after kill -9 takes on a store of many pieces, and what a piece costs in memory.
    Restart {
        /// The store; without one it is filled for the run.
        #[arg(long)]
        store: Option<PathBuf>,
        #[command(flatten)]
        filling: Filling,
        /// Starts.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// The far end of the line of 1 Gbit/s.
    #[command(hide = true)]
    Origin {
        /// Rounds that it has files for.
        #[arg(long)]
        rounds: u64,
    },
}

#[derive(clap::Args, Debug)]
struct SideBySide {
    /// A short run with a small set: to see that it works, not to be quoted.
    #[arg(long)]
    quick: bool,
    /// Only 1 MiB ranges, larder against the tuned slice cache.
    #[arg(long)]
    pieces_only: bool,
    /// Ranges that are in nobody's memory, from the disk.
    #[arg(long)]
    cold: bool,
    /// All by TLS (TLS_AES_128_GCM_SHA256), warm ranges of 64 KiB and 1 MiB.
    #[arg(long, conflicts_with_all = ["cold", "pieces_only", "pipeline"])]
    tls: bool,
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
    let mut out = std::io::stdout();
    if let Command::Origin { rounds } = args.command {
        // In the namespace that its line leads to.
        figures::shaped::serve_far(&mut out, rounds)?;
        return Ok(ExitCode::SUCCESS);
    }
    let inside = place::enter()?;
    let good = match args.command {
        Command::SideBySide(args) => side_by_side(&args, inside)?,
        Command::Once { clients } => figures::once::run(&mut out, clients)?,
        Command::ColdClient {
            rounds,
            gigabit_only,
            long_lines_only,
        } => figures::shaped::run_all(&mut out, rounds, !long_lines_only, !gigabit_only)?,
        Command::ThinLine { clients, bytes } => figures::thin_line::run(&mut out, clients, bytes)?,
        Command::MakeStore { directory, filling } => {
            let figures = fill(&directory, filling)?.figures();
            writeln!(
                out,
                "{} pieces in {} objects, {} MiB on disk",
                figures.pieces,
                figures.objects,
                figures.bytes >> 20
            )?;
            figures.pieces == filling.pieces
        }
        Command::Restart {
            store,
            filling,
            rounds,
        } => match store {
            Some(store) => figures::restart::run(&mut out, &store, None, rounds)?,
            None => figures::restart::run_filled(&mut out, filling, rounds)?,
        },
        Command::Origin { .. } => unreachable!("it has been served"),
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
        Kind::Varnish,
        Kind::Larder,
        Kind::LarderEpoll,
    ];
    if args.cold {
        kinds = vec![
            Kind::NginxStatic,
            Kind::NginxAio,
            Kind::NginxDirectio,
            Kind::NginxSliceTuned,
            Kind::Larder,
        ];
    }
    if args.pieces_only {
        kinds.retain(|kind| matches!(kind, Kind::NginxSliceTuned | Kind::Larder));
    }
    if args.tls {
        kinds = vec![Kind::NginxStatic, Kind::NginxSliceTuned, Kind::Larder];
    }
    if args.without_larder {
        kinds.retain(|kind| !kind.is_larder());
    }
    let mut range_bytes = match (args.cold, args.pipeline) {
        (true, _) => vec![128 << 10, 1 << 20],
        (false, 1) => vec![4 << 10, 16 << 10, 64 << 10, 1 << 20],
        (false, _) => vec![4 << 10, 16 << 10],
    };
    if args.tls {
        range_bytes = vec![64 << 10, 1 << 20];
    }
    if args.pieces_only {
        range_bytes = vec![1 << 20];
    }
    let comparison = Comparison {
        kinds,
        content_bytes: match (args.quick, args.cold) {
            (true, false) => 128 << 20,
            (false, true) => 4 << 30,
            _ => 1 << 30,
        },
        cold: args.cold,
        range_bytes,
        connections: args.connections,
        pipeline: args.pipeline,
        rounds: args.rounds.unwrap_or(if args.quick { 2 } else { 5 }),
        seconds: if args.quick { 1.0 } else { 4.0 },
        tls: args.tls,
    };
    let directory = tempfile::tempdir()?;
    let compared = comparison.run(directory.path())?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", table(&compared.rows))?;
    let mut good = true;
    // What comes by TLS has threads of its own.
    if let Some(on_shard) = compared.on_shard.filter(|_| !args.tls) {
        writeln!(
            out,
            "requests answered on shard threads: {:.2} %",
            on_shard * 100.0
        )?;
        good &= on_shard > 0.99;
    }
    let (lines, reached) = aims(&compared.rows);
    write!(out, "{lines}")?;
    good &= reached;
    if !inside {
        writeln!(
            out,
            "NOT COMPARABLE: outside of a network namespace of its own"
        )?;
        good &= !args.tls;
    }
    Ok(good)
}
