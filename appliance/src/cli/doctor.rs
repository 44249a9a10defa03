//! `larder doctor`: what an administrator would look at one by one. The rule: each line says what was found, and where
//! that is not as it should be, what to do; nothing is changed, and nothing is waited for without end.

mod appliance;
mod certificates;
mod checks;
mod clients;
mod clocks;
mod coordinator;
mod discovery;
mod disks;
mod files;
mod finding;
mod health;
mod links;
mod machine;
mod origins;
mod outside;
mod patient;
mod peers;
mod ports;
mod ranges;

use super::client::Whom;
use super::say;
use super::table::Table;
use checks::{CHECKS, Check, examine};
use finding::{Finding, Grade};
use patient::Patient;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Options of `larder doctor`.
#[derive(clap::Args, Debug)]
pub(super) struct DoctorArgs {
    /// Write JSON, for programs.
    #[arg(long)]
    json: bool,
    /// List the checks, and look at nothing.
    #[arg(long)]
    list: bool,
    /// An object to try byte ranges with; without it, the vendor's own for such tests, and some that clients got.
    #[arg(long, value_name = "URL")]
    probe: Option<String>,
    /// How long a check may take, in seconds; one that takes longer is told as hanging.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    #[command(flatten)]
    whom: Whom,
}

/// Exit code 1 where something does not work.
pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    if args.list {
        say(&list(args.json)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let patience = Duration::from_secs(args.timeout);
    let patient = Arc::new(Patient::new(
        args.whom.clone(),
        args.probe.clone(),
        patience,
    ));
    let findings = examine(&patient, CHECKS, patience);
    if args.json {
        say(&serde_json::to_string_pretty(&findings)?)?;
    } else {
        say(&table(&findings))?;
    }
    let bad = findings.iter().any(|finding| finding.grade == Grade::Bad);
    Ok(if bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn list(json: bool) -> anyhow::Result<String> {
    let one = |check: &Check| serde_json::json!({ "check": check.name, "about": check.about });
    if json {
        let all: Vec<_> = CHECKS.iter().map(one).collect();
        return Ok(serde_json::to_string_pretty(&all)?);
    }
    let mut table = Table::new(&["CHECK", "ABOUT"]);
    for check in CHECKS {
        table.row([check.name.to_owned(), check.about.to_owned()]);
    }
    Ok(table.to_string())
}

fn table(findings: &[Finding]) -> String {
    let mut table = Table::new(&["", "WHAT", "FOUND, AND WHAT TO DO"]);
    for finding in findings {
        let mark = match finding.grade {
            Grade::Good => "good",
            Grade::Fair => "fair",
            Grade::Bad => "BAD",
        };
        let advice = finding.advice.iter().map(|advice| format!("; {advice}"));
        let words = finding.found.clone() + &advice.collect::<String>();
        table.row([mark.to_owned(), finding.about.clone(), words]);
    }
    let of = |grade| findings.iter().filter(|one| one.grade == grade).count();
    let (good, fair, bad) = (of(Grade::Good), of(Grade::Fair), of(Grade::Bad));
    format!("{table}\n\n{good} good, {fair} fair, {bad} bad")
}
