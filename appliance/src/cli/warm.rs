//! `larder warm`: fills a running appliance from URLs. The rule: it asks for one step after the other, so that an
//! interrupt, a window that closes and a rate that is spent all end it between two steps, and what came is kept.

mod list;
mod window;

use super::client::{Whom, encoded};
use super::say;
use super::table::bytes;
use crate::admin::warm::Warmed;
use crate::config::size_of;
use anyhow::{Context, bail};
use hyper::Method;
use larder_content::PIECE_BYTES;
use larder_proto::Time;
use larder_proto::bucket::{Bucket, Take};
use list::Urls;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};
use window::Window;

/// What one step asks for where there is no rate: the appliance asks its origin for it in requests of its own size.
const STEP_BYTES: u64 = 64 << 20;

/// Pauses before a step that failed is tried again, as often as there are pauses.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// Before the next try where clients need the line.
const BUSY_PAUSE: Duration = Duration::from_secs(5);

/// So often an object may change while it is warmed.
const CHANGES_MAX: u32 = 5;

/// How often it is told how far a large object is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The clock is looked at this often while the window is closed: it may be set, and days are not all of one length.
const LOOK_AT_CLOCK_EVERY: Duration = Duration::from_secs(60);

/// Options of `larder warm`.
#[derive(clap::Args, Debug)]
pub(super) struct WarmArgs {
    /// URLs as clients know them: http://host/path
    #[arg(value_name = "URL", required_unless_present = "list")]
    urls: Vec<String>,
    /// A file with one URL in each line, or - for standard input; what follows a # is a comment.
    #[arg(long, value_name = "FILE", conflicts_with = "urls")]
    list: Option<PathBuf>,
    /// Bytes a second at most, over about a second: 20MB, 512KiB. Without it, what the clients leave of the line.
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    rate: Option<u64>,
    /// The part of each day in which anything is asked for, in local time: 22:00-06:00. Outside it waits.
    #[arg(long, value_name = "FROM-TO")]
    window: Option<Window>,
    /// Write JSON, for programs: an object in each line, and the sums in the last.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whom: Whom,
}

fn rate(text: &str) -> Result<u64, String> {
    size_of(text.strip_suffix("/s").unwrap_or(text))
        .filter(|rate| *rate > 0)
        .ok_or_else(|| format!("{text:?} is no rate; write bytes a second as 20MB or 512KiB"))
}

/// Exit code 1 where anything failed; the rest is warmed all the same.
pub(super) fn run(args: &WarmArgs) -> anyhow::Result<ExitCode> {
    let mut urls = match &args.list {
        None => Urls::Given(args.urls.clone().into_iter()),
        Some(file) if file.as_os_str() == "-" => {
            Urls::Listed(Box::new(BufReader::new(io::stdin())))
        }
        Some(file) => {
            let opened = File::open(file);
            let opened = opened.with_context(|| format!("cannot read {}", file.display()))?;
            Urls::Listed(Box::new(BufReader::new(opened)))
        }
    };
    let mut warm = Warm {
        args,
        bucket: Bucket::new(args.rate.unwrap_or(0), Time::default()),
        began: Instant::now(),
        warmed: HashSet::new(),
        beside_bytes: 0,
    };
    let (mut objects, mut failed, mut fetched, mut there) = (0_u64, 0_u64, 0, 0);
    while let Some(url) = urls.next().context("cannot read the list of URLs")? {
        let mut sum = Sum::default();
        let done = warm.object(&url, &mut sum)?;
        objects += 1;
        failed += u64::from(done.is_err());
        fetched += sum.fetched;
        there += sum.there;
        args.tell(&url, &sum, done.err().as_deref())?;
    }
    if args.json {
        say(
            &json!({ "objects": objects, "failed": failed, "fetched": fetched, "there": there })
                .to_string(),
        )?;
    } else {
        say(&format!(
            "{} objects warmed, {failed} failed; {} fetched, {} were there",
            objects - failed,
            bytes(fetched),
            bytes(there)
        ))?;
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl WarmArgs {
    fn tell(&self, url: &str, sum: &Sum, failed: Option<&str>) -> anyhow::Result<()> {
        let Sum { fetched, there, .. } = sum;
        match failed {
            _ if self.json => {
                let line =
                    json!({ "url": url, "fetched": fetched, "there": there, "failed": failed });
                say(&line.to_string())?;
            }
            None => {
                let (fetched, there) = (bytes(*fetched), bytes(*there));
                say(&format!("{fetched:>10} fetched {there:>10} there  {url}"))?;
            }
            Some(why) => eprintln!("failed: {url}: {why}"),
        }
        Ok(())
    }
}

/// What came of one object.
#[derive(Default)]
struct Sum {
    fetched: u64,
    there: u64,
}

/// What a step came to.
enum Stepped {
    Came(Warmed),
    Not { why: String, may_pass: bool },
}

struct Warm<'a> {
    args: &'a WarmArgs,
    bucket: Bucket,
    began: Instant,
    /// Objects that are to stay, by their numbers: what comes later must not push them out.
    warmed: HashSet<String>,
    beside_bytes: u64,
}

impl Warm<'_> {
    /// Warms one object, or says in words why not.
    ///
    /// # Errors
    /// Nothing can be warmed: there is no appliance, or it is not ours to change.
    fn object(&mut self, url: &str, sum: &mut Sum) -> anyhow::Result<Result<(), String>> {
        let mut told_at = Instant::now();
        let (mut version, mut last): (Option<String>, Option<String>) = (None, None);
        let (mut from, mut failures, mut changes, mut waits) = (0, 0, 0, false);
        loop {
            self.wait_for_window()?;
            let (why, may_pass) = match self.step(url, version.as_deref(), from)? {
                Stepped::Not { why, may_pass } => (why, may_pass),
                Stepped::Came(came) => {
                    self.pay(came.fetched);
                    sum.fetched += came.fetched;
                    let known = last.replace(came.content.clone());
                    if known.is_some_and(|known| known != came.content) {
                        changes += 1;
                        if changes > CHANGES_MAX {
                            return Ok(Err("it changes all the time".to_owned()));
                        }
                    }
                    let Some(next) = came.next else {
                        sum.there = came.length.saturating_sub(sum.fetched);
                        if self.warmed.insert(came.content) {
                            self.beside_bytes = self.beside_bytes.saturating_add(came.length);
                        }
                        return Ok(Ok(()));
                    };
                    let moves = came.fetched > 0 || next != from;
                    from = next;
                    version = Some(came.content);
                    if !self.args.json && told_at.elapsed() >= TELL_EVERY {
                        told_at = Instant::now();
                        let at = bytes(u64::from(from) * u64::from(PIECE_BYTES));
                        say(&format!(
                            "{at:>10} of {:<10} so far  {url}",
                            bytes(came.length)
                        ))?;
                    }
                    let Some(why) = came.unfinished else {
                        failures = 0;
                        continue;
                    };
                    if came.busy {
                        if !std::mem::replace(&mut waits, true) && !self.args.json {
                            say(&format!("clients need the line; it waits  {url}"))?;
                        }
                        sleep(BUSY_PAUSE);
                        continue;
                    }
                    if moves {
                        failures = 0;
                    }
                    (why, true)
                }
            };
            // Whatever is behind the URL by then is asked for anew.
            version = None;
            match PAUSES.get(failures).filter(|_| may_pass) {
                Some(pause) => sleep(*pause),
                None => return Ok(Err(why)),
            }
            failures += 1;
        }
    }

    fn step(&self, url: &str, version: Option<&str>, from: u32) -> anyhow::Result<Stepped> {
        let step_bytes = match self.bucket.rate() {
            0 => STEP_BYTES,
            // What a bucket holds when it is full.
            rate => (rate / 4).clamp(u64::from(PIECE_BYTES), STEP_BYTES),
        };
        let mut target = format!(
            "/api/v1/warm?url={}&from={from}&bytes_max={step_bytes}&beside={}",
            encoded(url),
            self.beside_bytes
        );
        if let Some(version) = version {
            target.push_str(&format!("&content={version}"));
        }
        let answer = self.args.whom.ask(Method::POST, &target)?;
        let value: Option<Value> = serde_json::from_str(&answer.text).ok();
        let may_pass = value
            .as_ref()
            .and_then(|value| value.get("may_pass")?.as_bool());
        let Some(may_pass) = may_pass else {
            // What is not about this object is about all of them.
            let came = serde_json::from_value(answer.json()?);
            return Ok(Stepped::Came(
                came.context("the appliance is of another version")?,
            ));
        };
        match answer.json() {
            Ok(_) => bail!("the appliance is of another version"),
            Err(why) => Ok(Stepped::Not {
                why: why.to_string(),
                may_pass,
            }),
        }
    }

    fn now(&self) -> Time {
        Time::default() + self.began.elapsed()
    }

    /// Waits until bytes that came are within the rate.
    fn pay(&mut self, mut left: u64) {
        while left > 0 {
            match self.bucket.take(left, self.now()) {
                Take::Granted(granted) => left = left.saturating_sub(granted),
                Take::Later(at) => sleep(at.since(self.now())),
            }
        }
    }

    fn wait_for_window(&self) -> anyhow::Result<()> {
        let Some(window) = self.args.window else {
            return Ok(());
        };
        let mut told = self.args.json;
        loop {
            let time = jiff::Zoned::now().time();
            let part = |part: i8| u32::try_from(part).unwrap_or(0);
            let second = part(time.hour()) * 3600 + part(time.minute()) * 60 + part(time.second());
            let left = window.opens_in_secs(second);
            if left == 0 {
                return Ok(());
            }
            if !std::mem::replace(&mut told, true) {
                let minutes = left.div_ceil(60);
                say(&format!(
                    "outside the window; it opens in {} h {} min",
                    minutes / 60,
                    minutes % 60
                ))?;
            }
            sleep(Duration::from_secs(u64::from(left)).min(LOOK_AT_CLOCK_EVERY));
        }
    }
}
