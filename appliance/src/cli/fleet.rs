//! `larder fleet`: many appliances in one table. The rule: all are asked at once and none for longer than the patience,
//! so that one that is down costs no more than a line that says so.

mod figures;
mod inventory;

use super::client::{authority_of, exchange, read_token};
use super::say;
use super::table::Table;
use crate::certificates::WARN_BEFORE_DAYS;
use figures::Seen;
use hyper::Method;
use inventory::{Entry, read};
use serde::Serialize;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Exit code where there is no inventory to go by.
const NO_INVENTORY: u8 = 2;

/// Options of `larder fleet`.
#[derive(clap::Args, Debug)]
pub(super) struct FleetArgs {
    /// The appliances: a line each of name, metrics or admin address (http://host:port) and, for an admin address off
    /// loopback, a file with its token; or TOML, a table `[[appliance]]` each with name, url, token_file, profile.
    #[arg(long, value_name = "FILE")]
    inventory: PathBuf,
    /// How long an appliance may take to answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// Write JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// One appliance, as it was found.
#[derive(Debug, Serialize)]
struct Found {
    name: String,
    url: String,
    #[serde(flatten)]
    seen: Seen,
    /// Its settings are others than those of most appliances of its profile.
    drifted: bool,
    /// Why nothing is known of it.
    unreachable: Option<String>,
    /// All that is not as it should be, in words.
    troubles: Vec<String>,
    #[serde(skip)]
    profile: String,
}

/// Exit code 1 where an appliance is not as it should be.
pub(super) fn run(args: &FleetArgs) -> anyhow::Result<ExitCode> {
    let entries = match read(&args.inventory) {
        Ok(entries) => entries,
        Err(problems) => {
            eprintln!("{}", problems.join("\n"));
            return Ok(ExitCode::from(NO_INVENTORY));
        }
    };
    let mut fleet = ask_all(entries, Duration::from_secs(args.timeout))?;
    judge(&mut fleet);
    if args.json {
        say(&serde_json::to_string_pretty(&fleet)?)?;
    } else {
        say(&table(&fleet))?;
    }
    let in_order = fleet.iter().all(|found| found.troubles.is_empty());
    Ok(if in_order {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Asks all of them at once; they come back in the order of the inventory.
fn ask_all(entries: Vec<Entry>, patience: Duration) -> anyhow::Result<Vec<Found>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let fleet = runtime.block_on(async {
        let asked: Vec<_> = entries
            .into_iter()
            .map(|entry| tokio::spawn(ask(entry, patience)))
            .collect();
        let mut fleet = Vec::with_capacity(asked.len());
        for one in asked {
            fleet.push(one.await?);
        }
        anyhow::Ok(fleet)
    });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    fleet
}

async fn ask(entry: Entry, patience: Duration) -> Found {
    let answered = tokio::time::timeout(patience, look(&entry)).await;
    let (seen, unreachable) = match answered {
        Ok(Ok(seen)) => (seen, None),
        Ok(Err(error)) => (Seen::default(), Some(format!("{error:#}"))),
        Err(_) => {
            let words = format!("no answer within {} s", patience.as_secs());
            (Seen::default(), Some(words))
        }
    };
    Found {
        name: entry.name,
        url: entry.url,
        seen,
        drifted: false,
        unreachable,
        troubles: Vec::new(),
        profile: entry.profile,
    }
}

async fn look(entry: &Entry) -> anyhow::Result<Seen> {
    let authority = authority_of(&entry.url)?;
    let token = entry.token_file.as_deref().map(read_token).transpose()?;
    let ask = |target| exchange(&authority, Method::GET, target, token.as_deref());
    let answer = ask("/metrics").await?;
    if !answer.status.is_success() {
        let words = answer.text.lines().next().unwrap_or_default();
        anyhow::bail!("it answered {}: {words}", answer.status);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut seen = figures::read(&answer.text, now.map_or(0, |now| now.as_secs()))
        .ok_or_else(|| anyhow::anyhow!("what answers there is no larder"))?;
    if !seen.degraded.is_empty() {
        // The admin address says more than figures can; the metrics address has none of that.
        let words = ask("/readyz").await.ok().filter(|answer| {
            matches!(answer.status.as_u16(), 200 | 503) && answer.text.lines().count() > 1
        });
        if let Some(answer) = words {
            seen.degraded = answer.text.lines().skip(1).map(str::to_owned).collect();
        }
    }
    Ok(seen)
}

/// Finds out who has drifted, and says of each what is not as it should be.
fn judge(fleet: &mut [Found]) {
    let usual = usual_hashes(fleet);
    for found in fleet.iter_mut() {
        let mut troubles = Vec::new();
        if let Some(why) = &found.unreachable {
            troubles.push(format!("UNREACHABLE: {why}"));
        }
        if let (Some(own), Some(usual)) = (&found.seen.config_hash, usual.get(&found.profile)) {
            found.drifted = own != usual;
            if found.drifted {
                troubles.push(format!("DRIFTED: its configuration is not {usual}"));
            }
        }
        match found.seen.certificate_days {
            Some(days) if days < 0 => troubles.push("CERTIFICATE EXPIRED".to_owned()),
            Some(days) if days.unsigned_abs() < WARN_BEFORE_DAYS => {
                troubles.push(format!("CERTIFICATE expires in {days} days"));
            }
            _ => {}
        }
        if !found.seen.degraded.is_empty() {
            troubles.push(format!("DEGRADED: {}", found.seen.degraded.join("; ")));
        }
        found.troubles = troubles;
    }
}

/// By profile, the hash that most have; of two that as many have, the one that comes first in the inventory.
fn usual_hashes(fleet: &[Found]) -> HashMap<String, String> {
    let mut counted: Vec<(&str, &str, usize)> = Vec::new();
    for found in fleet {
        let Some(hash) = found.seen.config_hash.as_deref() else {
            continue;
        };
        let same = |(profile, other, _): &&mut (&str, &str, usize)| {
            *profile == found.profile && *other == hash
        };
        match counted.iter_mut().find(same) {
            Some((_, _, count)) => *count += 1,
            None => counted.push((&found.profile, hash, 1)),
        }
    }
    // So that the first of equals is what stays.
    counted.reverse();
    counted.sort_by_key(|(_, _, count)| *count);
    let usual = counted.into_iter();
    usual
        .map(|(profile, hash, _)| (profile.to_owned(), hash.to_owned()))
        .collect()
}

fn table(fleet: &[Found]) -> String {
    let mut table = Table::new(&["NAME", "SITE", "VERSION", "CONFIG", "HITS", "CERT", "STATE"]);
    let dash = || "-".to_owned();
    for found in fleet {
        let seen = &found.seen;
        let state = match found.troubles.is_empty() {
            true => "ok".to_owned(),
            false => found.troubles.join(", "),
        };
        table.row([
            found.name.clone(),
            seen.site.clone().unwrap_or_else(dash),
            seen.version.clone().unwrap_or_else(dash),
            seen.config_hash.clone().unwrap_or_else(dash),
            seen.hit_ratio
                .map_or_else(dash, |ratio| format!("{:.1} %", ratio * 100.0)),
            seen.certificate_days
                .map_or_else(dash, |days| format!("{days} d")),
            state,
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, profile: &str, hash: &str) -> Found {
        Found {
            name: name.to_owned(),
            url: String::new(),
            seen: Seen {
                config_hash: Some(hash.to_owned()),
                ..Seen::default()
            },
            drifted: false,
            unreachable: None,
            troubles: Vec::new(),
            profile: profile.to_owned(),
        }
    }

    #[test]
    fn who_differs_from_most_of_its_profile_has_drifted() {
        let mut fleet = [
            found("a", "", "1"),
            found("b", "", "2"),
            found("c", "", "1"),
            found("d", "big", "2"),
            found("e", "even", "5"),
            found("f", "even", "6"),
        ];
        judge(&mut fleet);
        let drifted: Vec<_> = fleet
            .iter()
            .filter(|f| f.drifted)
            .map(|f| &f.name)
            .collect();
        assert_eq!(drifted, ["b", "f"]);
        assert_eq!(fleet[1].troubles, ["DRIFTED: its configuration is not 1"]);
    }

    #[test]
    fn a_certificate_is_told_three_weeks_ahead() {
        let mut fleet = [-1, 0, 20, 21].map(|days| {
            let mut one = found("a", "", "1");
            one.seen.certificate_days = Some(days);
            one
        });
        judge(&mut fleet);
        let troubles = fleet.map(|found| found.troubles.join(""));
        let expected = [
            "CERTIFICATE EXPIRED",
            "CERTIFICATE expires in 0 days",
            "CERTIFICATE expires in 20 days",
            "",
        ];
        assert_eq!(troubles, expected);
    }
}
