//! The project's figures besides the speed of warm ranges, one module each. The rule: each prints what it saw and
//! returns whether that is what it should be; nothing is smoothed.

pub mod cold_client;
pub mod coordinator;
pub mod filled;
pub mod filling;
pub mod idle;
pub mod in_order;
pub mod index_size;
pub mod mixed;
pub mod offices;
pub mod once;
pub mod patch_morning;
pub mod peers;
pub mod restart;
pub mod shaped;
pub mod slot_writes;
pub mod slow_readers;
pub mod thin_line;
pub mod working_set;
pub mod yielding;

use std::io::{self, Write};

/// Prints a figure with the most that it may be, and says whether it is within.
fn at_most(out: &mut impl Write, what: &str, figure: f64, most: f64) -> io::Result<bool> {
    let good = figure <= most;
    let missed = if good { "" } else { "  <- MISSED" };
    writeln!(out, "{what}: {figure:.3} (aim: at most {most}){missed}")?;
    out.flush()?;
    Ok(good)
}

/// The same where it is to be so much at least.
fn at_least(out: &mut impl Write, what: &str, figure: f64, least: f64) -> io::Result<bool> {
    let good = figure >= least;
    let missed = if good { "" } else { "  <- MISSED" };
    writeln!(out, "{what}: {figure:.3} (aim: at least {least}){missed}")?;
    out.flush()?;
    Ok(good)
}
