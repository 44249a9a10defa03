//! `larder report`: what an appliance has served, fetched and saved, month by month. The rule: a month is printed as it is
//! counted, and one of which nothing can be known is an error and no row of zeros.

use super::client::{Whom, encoded};
use super::say;
use super::table::{Table, bytes};
use crate::report::Report;
use anyhow::Context;
use hyper::Method;
use serde_json::Value;
use std::process::ExitCode;

const MEANING: &str = "Served is what clients got by HTTP and peers by the swarm; fetched is what came from the origin (all of \
     it, of use or not), a cache host, peers and links. Saved is what clients and peers on the same network got, less \
     what came over the line to the world for it: everything but from peers on the same network. 24 months are kept, \
     over restarts; a month is one of local time, and ends when the clock says so.";

/// Options of `larder report`.
#[derive(clap::Args, Debug)]
#[command(after_help = MEANING)]
pub(super) struct ReportArgs {
    /// The month, as 2026-10, with each source; without it a line for each month that is kept.
    #[arg(long, value_name = "YYYY-MM")]
    month: Option<String>,
    /// Write CSV (RFC 4180), for spreadsheets: a line for each month, the same columns always.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Write JSON, for programs: an object for the month, or an array of them.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whom: Whom,
}

pub(super) fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let target = match &args.month {
        Some(month) => format!("/api/v1/report?month={}", encoded(month)),
        None => "/api/v1/report".to_owned(),
    };
    let answer = args.whom.ask(Method::GET, &target)?.json()?;
    let months = answer.get("months").cloned().unwrap_or(Value::Null);
    let reports: Vec<Report> =
        serde_json::from_value(months.clone()).context("the appliance is of another version")?;
    if args.json {
        let shown = match args.month {
            Some(_) => months.get(0).cloned().unwrap_or(Value::Null),
            None => months,
        };
        say(&serde_json::to_string_pretty(&shown)?)?;
    } else if args.csv {
        // Lines end as RFC 4180 has it.
        say(&format!("{}\r", Report::COLUMNS.join(",")))?;
        for report in &reports {
            say(&format!(
                "{}\r",
                report.cells().map(|cell| quoted(&cell)).join(",")
            ))?;
        }
    } else if let (Some(_), Some(report)) = (&args.month, reports.first()) {
        say_month(report)?;
    } else {
        say_months(&reports)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A cell of CSV. One that a spreadsheet would take for a formula is made a text.
fn quoted(cell: &str) -> String {
    let text = match cell.chars().next() {
        Some('=' | '+' | '-' | '@') => format!("'{cell}"),
        _ => cell.to_owned(),
    };
    if text.contains(['"', ',', '\r', '\n']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

fn say_months(reports: &[Report]) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        "MONTH",
        ">REQUESTS",
        ">HITS",
        ">SERVED",
        ">FETCHED",
        ">SAVED",
        ">SAVED %",
    ]);
    for report in reports {
        table.row([
            report.month.clone(),
            report.requests.to_string(),
            report.requests_hit.to_string(),
            bytes(report.served_bytes.all),
            bytes(report.fetched_bytes.all),
            bytes(report.saved_bytes),
            format!("{:.2}", report.saved_percent),
        ]);
    }
    Ok(say(&table.to_string())?)
}

fn say_month(report: &Report) -> anyhow::Result<()> {
    let site = match report.site.as_str() {
        "" => String::new(),
        site => format!(", {site}"),
    };
    say(&format!(
        "{}{site}: {} requests, {} of them answered from the store alone\n",
        report.month, report.requests, report.requests_hit
    ))?;
    let (served, fetched) = (&report.served_bytes, &report.fetched_bytes);
    let mut table = Table::new(&["", "SOURCE", ">BYTES", ">"]);
    for (what, source, count) in [
        ("served", "to clients from memory", served.memory),
        ("", "to clients from disk", served.disk),
        ("", "to clients while it came in", served.fetched),
        ("", "to peers on the same network", served.lan_peers),
        (
            "",
            "to peers of the group and over links",
            served.group_peers,
        ),
        ("", "to other peers", served.internet_peers),
        ("", "all", served.all),
        ("fetched", "from origins", fetched.http),
        ("", "from cache hosts", fetched.cache_server),
        ("", "from peers on the same network", fetched.lan_peers),
        ("", "from peers of the group", fetched.group_peers),
        ("", "from other peers", fetched.internet_peers),
        ("", "over links", fetched.links),
        ("", "all", fetched.all),
        ("saved", "did not come over the line", report.saved_bytes),
    ] {
        table.row([
            what.to_owned(),
            source.to_owned(),
            count.to_string(),
            bytes(count),
        ]);
    }
    say(&table.to_string())?;
    say(&format!("\n{:.2} % were saved", report.saved_percent))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_a_text_whatever_a_site_is_called() {
        for (cell, written) in [
            ("berlin", "berlin"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "'=1+1"),
            ("", ""),
        ] {
            assert_eq!(quoted(cell), written);
        }
    }
}
