//! `larder perfsnap`: the seed's `Get-DeliveryOptimizationPerfSnap` and `..PerfSnapThisMonth`. The rule: one object with
//! the cmdlet's keys, all of them, and with `--verbose` those that the seed tells then.

use super::client::Whom;
use super::say;
use super::status::say_keys;
use crate::cmdlets::perfsnap::MORE_KEYS;
use anyhow::Context;
use hyper::Method;
use std::process::ExitCode;

const MEANING: &str = "Counted is what has come and gone since larder has started, or with --this-month in this calendar \
     month, over restarts; sizes are bytes, rates (Bps) bytes a second. Uploaded is what peers were sent; what clients \
     were served by HTTP is BytesToClients (--verbose). PeerEfficiency is the same as PercentPeerCaching. DownlinkBps \
     is 0 where no policy has asked for it to be measured; UplinkBps is never measured.";

/// Options of `larder perfsnap`.
#[derive(clap::Args, Debug)]
#[command(after_help = MEANING)]
pub(super) struct PerfSnapArgs {
    /// Count this calendar month alone: Get-DeliveryOptimizationPerfSnapThisMonth.
    #[arg(long)]
    this_month: bool,
    /// Also print the bytes of each kind of source, and how many peers there were to a download.
    #[arg(long)]
    verbose: bool,
    /// Write JSON, for programs.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whom: Whom,
}

pub(super) fn run(args: &PerfSnapArgs) -> anyhow::Result<ExitCode> {
    let target = if args.this_month {
        "/api/v1/perfsnap?month=this"
    } else {
        "/api/v1/perfsnap"
    };
    let mut answer = args.whom.ask(Method::GET, target)?.json()?;
    let keys = answer
        .as_object_mut()
        .context("the appliance is of another version")?;
    if !args.verbose {
        keys.retain(|key, _| !MORE_KEYS.contains(&key.as_str()));
    }
    if args.json {
        say(&serde_json::to_string_pretty(&answer)?)?;
    } else {
        say_keys(&answer)?;
    }
    Ok(ExitCode::SUCCESS)
}
