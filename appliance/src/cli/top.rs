//! `larder top`: what goes on now, again and again. The rule: where nobody looks at a terminal it is printed once, and a
//! terminal is left as it was.

use super::client::Whom;
use super::say;
use super::table::{Table, bytes};
use crate::cmdlets::status::{Row, Status};
use anyhow::Context;
use hyper::Method;
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Rows of each table; there is more in `larder status` and on the page.
const ROWS_MAX: usize = 12;

/// Over so long rates are measured where it is printed once.
const ONCE_OVER: Duration = Duration::from_secs(1);

/// A part of the screen that is not drawn on, from the older terminals on: the other screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left corner, and from there on nothing.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Options of `larder top`.
#[derive(clap::Args, Debug)]
pub(super) struct TopArgs {
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Write JSON, for programs: once, with rates over a second.
    #[arg(long)]
    json: bool,
    /// Print it once, as it is done where the output is no terminal.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    whom: Whom,
}

/// Bytes a second, by where they come from and go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rates {
    from_http: u64,
    from_cache_server: u64,
    from_lan_peers: u64,
    from_group_peers: u64,
    from_internet_peers: u64,
    to_clients: u64,
    to_peers: u64,
}

/// One look.
struct Look {
    at: Instant,
    snap: Value,
    downloads: Vec<Row>,
    /// As they are told, for programs.
    rows: Value,
    clients: Value,
}

pub(super) fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let first = look(&args.whom)?;
    if args.json || args.once || !io::stdout().is_terminal() {
        runtime.block_on(async { tokio::time::sleep(ONCE_OVER).await });
        let second = look(&args.whom)?;
        let rates = Rates::between(&first, &second);
        if args.json {
            let shown = json!({
                "Rates": rates,
                "PerfSnap": second.snap,
                "Downloads": second.rows,
                "Clients": second.clients,
            });
            say(&serde_json::to_string_pretty(&shown)?)?;
        } else {
            say(&screen(&second, rates))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    write(ENTER)?;
    let done = watch(args, &runtime, first);
    write(LEAVE)?;
    done?;
    Ok(ExitCode::SUCCESS)
}

/// Looks until it is interrupted.
fn watch(args: &TopArgs, runtime: &Runtime, mut last: Look) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    write(&format!("{CLEAR}{}\n", screen(&last, Rates::default())))?;
    loop {
        let is_over = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => true,
                _ = terminate.recv() => true,
                () = tokio::time::sleep(Duration::from_secs(args.interval)) => false,
            }
        });
        if is_over {
            return Ok(());
        }
        match look(&args.whom) {
            Ok(now) => {
                let rates = Rates::between(&last, &now);
                write(&format!("{CLEAR}{}\n", screen(&now, rates)))?;
                last = now;
            }
            // It may be starting again.
            Err(error) => write(&format!("{CLEAR}{error:#}\n"))?,
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn look(whom: &Whom) -> anyhow::Result<Look> {
    let snap = whom.ask(Method::GET, "/api/v1/perfsnap")?.json()?;
    let downloads = whom.ask(Method::GET, "/api/v1/downloads?recent=true")?;
    let rows = downloads.json()?.get("downloads").cloned();
    let rows = rows.unwrap_or(Value::Null);
    let clients = whom.ask(Method::GET, "/api/v1/clients")?.json()?;
    Ok(Look {
        at: Instant::now(),
        snap,
        downloads: serde_json::from_value(rows.clone())
            .context("the appliance is of another version")?,
        rows,
        clients: clients.get("clients").cloned().unwrap_or(Value::Null),
    })
}

impl Rates {
    fn between(then: &Look, now: &Look) -> Self {
        Self::of(&then.snap, &now.snap, now.at.duration_since(then.at))
    }

    /// Between two sums. One that has become less is of a larder that was started anew.
    fn of(then: &Value, now: &Value, passed: Duration) -> Self {
        let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = |key: &str| {
            let sum = |of: &Value| of.get(key).and_then(Value::as_u64).unwrap_or(0);
            let grown = sum(now).saturating_sub(sum(then));
            grown.saturating_mul(1000) / millis
        };
        Self {
            from_http: rate("BytesFromCDN"),
            from_cache_server: rate("BytesFromCacheServer"),
            from_lan_peers: rate("BytesFromLanPeers"),
            from_group_peers: rate("BytesFromGroupPeers"),
            from_internet_peers: rate("BytesFromInternetPeers"),
            to_clients: rate("BytesToClients"),
            to_peers: rate("TotalBytesUploaded"),
        }
    }
}

/// Everything as it is shown.
fn screen(look: &Look, rates: Rates) -> String {
    let number = |key: &str| look.snap.get(key).and_then(Value::as_f64).unwrap_or(0.0);
    let count = |status: Status| {
        let rows = look.downloads.iter();
        rows.filter(|row| row.status == status).count()
    };
    let mut text = format!(
        "larder: {} downloading, {} paused; {:.0} peers; CPU {:.1} %; {:.2} % from peers since the start\n\n",
        count(Status::Downloading),
        count(Status::Paused),
        number("NumberOfPeers"),
        number("CpuUsagePct"),
        number("PercentPeerCaching"),
    );
    let mut table = Table::new(&["BYTES/S", ">"]);
    for (what, rate) in [
        ("to clients", rates.to_clients),
        ("to peers", rates.to_peers),
        ("from origins", rates.from_http),
        ("from cache hosts", rates.from_cache_server),
        ("from peers on the same network", rates.from_lan_peers),
        (
            "from peers of the group, over links",
            rates.from_group_peers,
        ),
        ("from other peers", rates.from_internet_peers),
    ] {
        table.row([what.to_owned(), bytes(rate)]);
    }
    text.push_str(&table.to_string());
    let mut table = Table::new(&["STATUS", ">SIZE", ">DOWNLOADED", ">PEERS %", "URL"]);
    for row in look.downloads.iter().take(ROWS_MAX) {
        table.row([
            format!("{:?}", row.status),
            bytes(row.file_size),
            bytes(row.total_bytes_downloaded),
            format!("{:.0}", row.percent_peer_caching.floor()),
            row.source_url.clone(),
        ]);
    }
    text.push_str(&format!("\n\n{table}\n\n"));
    let mut table = Table::new(&[
        "CLIENT",
        ">REQUESTS",
        ">FROM STORE",
        ">FETCHED",
        ">AS PEER",
        "OBJECT",
    ]);
    let clients = look.clients.as_array().into_iter().flatten();
    for client in clients.take(ROWS_MAX) {
        let text = |key: &str| client.get(key).and_then(Value::as_str).unwrap_or("-");
        let number = |key: &str| client.get(key).and_then(Value::as_u64).unwrap_or(0);
        table.row([
            text("client").to_owned(),
            number("requests").to_string(),
            bytes(number("bytes_from_store")),
            bytes(number("bytes_fetched")),
            bytes(number("bytes_as_peer")),
            text("object").to_owned(),
        ]);
    }
    text.push_str(&table.to_string());
    // A URL can hold no such thing, and what tells it is another process.
    text.retain(|c| c == '\n' || !c.is_control());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_what_has_grown() {
        let then = json!({ "BytesFromCDN": 1000, "BytesToClients": 5000 });
        let now = json!({ "BytesFromCDN": 3000, "BytesToClients": 100, "TotalBytesUploaded": 70 });
        let rates = Rates::of(&then, &now, Duration::from_secs(2));
        let expected = Rates {
            from_http: 1000,
            to_peers: 35,
            ..Rates::default()
        };
        assert_eq!(rates, expected);
        assert_eq!(Rates::of(&then, &then, Duration::ZERO), Rates::default());
    }

    #[test]
    fn what_is_shown_commands_no_terminal() {
        let look = Look {
            at: Instant::now(),
            snap: Value::Null,
            downloads: Vec::new(),
            rows: Value::Null,
            clients: json!([{ "client": "\u{1b}[31m10.0.0.1", "object": "a\rb" }]),
        };
        let text = screen(&look, Rates::default());
        assert!(
            text.contains("[31m10.0.0.1") && !text.contains(['\u{1b}', '\r']),
            "{text}"
        );
    }
}
