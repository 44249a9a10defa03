//! `larder pause`, `resume` and `cancel`: what is done to downloads. The rule: what is said is what was changed.

use super::objects::ObjectArgs;
use super::say;
use hyper::Method;
use serde_json::Value;
use std::process::ExitCode;

/// What `larder pause` says of itself.
pub(super) const PAUSE: &str = "Nothing more of it is asked for, of its origin or of peers, until larder resume, larder \
     cancel or the end of larder. What has come stays and is served. Clients that wait for the rest are held as if the \
     origin had fallen silent: who has no byte yet is answered 503 after 12 s, an answer that has begun is cut after five \
     minutes without a byte, if its client has not left by then; whoever still waits when it is resumed gets it as if \
     nothing had been. What comes in one answer that could not be taken up again can not be paused.";

/// What `larder cancel` says of itself.
pub(super) const CANCEL: &str = "Clients that wait for it are told at once: 503 where no byte was sent, else the answer is cut. \
     What has come stays (larder purge forgets it), and a client that asks again starts it anew.";

pub(super) fn pause(args: &ObjectArgs) -> anyhow::Result<ExitCode> {
    change(args, "pause", "paused")
}

pub(super) fn resume(args: &ObjectArgs) -> anyhow::Result<ExitCode> {
    change(args, "resume", "resumed")
}

pub(super) fn cancel(args: &ObjectArgs) -> anyhow::Result<ExitCode> {
    change(args, "cancel", "cancelled")
}

fn change(args: &ObjectArgs, path: &str, word: &str) -> anyhow::Result<ExitCode> {
    let answer = args.ask(Method::POST, path, &args.selector(false)?)?;
    if args.json {
        args.say_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let urls = answer.get("urls").and_then(Value::as_array);
    for url in urls.into_iter().flatten().filter_map(Value::as_str) {
        say(&format!("{word} {url}"))?;
    }
    let count = answer.get("downloads").and_then(Value::as_u64).unwrap_or(0);
    say(&format!("{word} {count} downloads"))?;
    Ok(ExitCode::SUCCESS)
}
