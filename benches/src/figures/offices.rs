//! What the swarm is for: one object for all devices of some offices at once. The rule: what is counted is what crossed
//! the lines, headers and all, and not what anybody says of it.

use crate::sites::{Arrangement, SOURCES, Share, run};
use anyhow::Result;
use std::io::Write;

const WITH_APPLIANCES_MAX: f64 = 1.05;
const ORIGIN_WITH_LINKS_MAX: f64 = 1.1;
const WITHOUT_MAX: f64 = 1.3;
const FLAT_MAX: f64 = 1.15;

/// Offices that fetch one object at once: copies by each office's line, with an appliance and without, as one group.
#[derive(clap::Args, Debug)]
pub struct Offices {
    /// Offices.
    #[arg(long, default_value_t = 3)]
    sites: usize,
    /// Devices of each.
    #[arg(long, default_value_t = 6)]
    devices: usize,
    /// MiB of the object.
    #[arg(long, default_value_t = 200)]
    mib: u64,
    /// Mbit/s of each office's line.
    #[arg(long, default_value_t = 100.0)]
    wan_mbit: f64,
    /// Leave the folders with configurations and logs where they are, and say where.
    #[arg(long)]
    keep: bool,
}

impl Offices {
    /// Measures each arrangement once. Good where all aims are reached.
    ///
    /// # Errors
    /// Something does not start, or a device has not the right bytes.
    pub fn run(&self, out: &mut impl Write) -> Result<bool> {
        let mut good = true;
        let mut round = 0;
        let mut tried = |out: &mut dyn Write, name: &str, appliances, share, devices| {
            let arrangement = Arrangement {
                sites: self.sites,
                devices,
                mib: self.mib,
                wan_mbit: self.wan_mbit,
                appliances,
                share,
            };
            let directory = tempfile::Builder::new()
                .disable_cleanup(self.keep)
                .tempdir()?;
            if self.keep {
                writeln!(out, "logs: {}", directory.path().display())?;
            }
            round += 1;
            let outcome = run(&arrangement, directory.path(), round)?;
            let copies: Vec<f64> = (0..self.sites).map(|s| outcome.copies_in(s)).collect();
            let each: Vec<String> = copies.iter().map(|copies| format!("{copies:.3}")).collect();
            writeln!(
                out,
                "{name}, {} x {devices} devices: by each office's line {} copies, from the origin {:.3}, between offices \
                 {:.3}; the last after {:.1} s",
                self.sites,
                each.join(" "),
                outcome.origin_copies(),
                outcome.between_copies(),
                outcome.last.as_secs_f64()
            )?;
            let all = outcome.object_bytes * (self.sites * devices) as u64;
            for (name, bytes) in SOURCES.iter().zip(outcome.sources) {
                let percent = 100.0 * bytes as f64 / all.max(1) as f64;
                write!(out, "  {name} {percent:.1} %")?;
            }
            writeln!(out)?;
            out.flush()?;
            anyhow::Ok((copies.into_iter().fold(0.0, f64::max), outcome))
        };
        let (_, alone) = tried(out, "all by HTTP", false, Share::Nobody, self.devices)?;
        let (most, _) = tried(out, "with appliances", true, Share::Office, self.devices)?;
        let (by_links, linked) = tried(
            out,
            "with appliances and links",
            true,
            Share::Links,
            self.devices,
        )?;
        let (without, few) = tried(out, "without", false, Share::Office, self.devices)?;
        let (_, group) = tried(out, "one group", false, Share::Group, self.devices)?;
        let (_, one) = tried(
            out,
            "two devices",
            false,
            Share::Office,
            self.devices.min(2),
        )?;
        good &= super::at_most(
            out,
            "copies by a line, with appliances",
            most,
            WITH_APPLIANCES_MAX,
        )?;
        good &= super::at_most(
            out,
            "copies by a line, with links",
            by_links,
            WITH_APPLIANCES_MAX,
        )?;
        good &= super::at_most(
            out,
            "copies from the origin in all, with links",
            linked.origin_copies(),
            ORIGIN_WITH_LINKS_MAX,
        )?;
        good &= super::at_most(out, "copies by a line, without", without, WITHOUT_MAX)?;
        // Devices of several offices reach each other by a forwarded port or by IPv6 alone, which these have not.
        let group = group.origin_copies();
        writeln!(
            out,
            "copies from the origin, one group without ports that lead in: {group:.3}"
        )?;
        let flat = few.last.as_secs_f64() / one.last.as_secs_f64();
        good &= super::at_most(out, "the last of all devices / of two", flat, FLAT_MAX)?;
        let gain = alone.last.as_secs_f64() / few.last.as_secs_f64();
        writeln!(out, "the last by HTTP alone / by peers: {gain:.2}")?;
        Ok(good)
    }
}
