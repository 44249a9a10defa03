//! Many clients that ask at a given rate, some on connections that they keep, some on a new one each time. The rule:
//! a request has failed unless its answer came whole and right, and the only second try is the one that HTTP allows.

use super::fetch::{Answer, Get};
use super::tell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How they ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Clients that keep their connection, as long as they may.
    pub(crate) keeping: u32,
    /// Clients that connect for each request.
    pub(crate) fresh: u32,
    /// Requests of each of them in a second.
    pub(crate) per_second: u32,
}

/// What has become of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) answered: u64,
    /// Answers that said that they are the last on their connection.
    pub(crate) last_ones: u64,
    /// Requests that were sent on a kept connection as it was closed, and again on a new one. A client may do so with
    /// what can be asked twice (RFC 9112, section 9.3.1), and must.
    pub(crate) sent_again: u64,
    pub(crate) failed: Vec<String>,
    pub(crate) slowest: Duration,
    /// How long each has taken.
    pub(crate) took: Vec<Duration>,
}

impl Outcome {
    pub(crate) fn tell(&self, what: &str, took: Duration) {
        tell(&format!(
            "{what}: {} requests in {:.1} s ({:.0} a second), {} failed, {} sent again, {} answers with Connection: \
             close, 99 of 100 took {:.1} ms at most, the slowest {:.2} s",
            self.answered,
            took.as_secs_f64(),
            self.answered as f64 / took.as_secs_f64(),
            self.failed.len(),
            self.sent_again,
            self.last_ones,
            self.percentile(99).as_secs_f64() * 1e3,
            self.slowest.as_secs_f64(),
        ));
    }

    /// What so many of a hundred took at most.
    pub(crate) fn percentile(&self, of_hundred: usize) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        let at = (took.len() * of_hundred).div_ceil(100).saturating_sub(1);
        took.get(at).copied().unwrap_or_default()
    }

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.last_ones += other.last_ones;
        self.sent_again += other.sent_again;
        self.failed.extend(other.failed);
        self.took.extend(other.took);
        self.slowest = self.slowest.max(other.slowest);
    }
}

/// Asks while `meanwhile` runs, and returns when all have their answer. `connect` makes a connection, and `wrong` says
/// what is wrong with an answer.
pub(crate) fn load<S: Read + Write>(
    get: &Get,
    rate: Rate,
    connect: impl Fn() -> io::Result<BufReader<S>> + Sync,
    wrong: impl Fn(&Answer) -> Option<String> + Sync,
    meanwhile: impl FnOnce(),
) -> Outcome {
    let stop = AtomicBool::new(false);
    let sum = Mutex::new(Outcome::default());
    thread::scope(|scope| {
        for number in 0..rate.keeping + rate.fresh {
            let (stop, sum, connect, wrong) = (&stop, &sum, &connect, &wrong);
            scope.spawn(move || {
                let mut client = Client {
                    get,
                    connect,
                    keeps: number < rate.keeping,
                    kept: None,
                    outcome: Outcome::default(),
                };
                let every = Duration::from_secs(1) / rate.per_second;
                // Not all at the same moment.
                let mut due = Instant::now() + every * number / (rate.keeping + rate.fresh);
                while !stop.load(Ordering::Relaxed) {
                    let now = Instant::now();
                    if now < due {
                        thread::park_timeout(due - now);
                        continue;
                    }
                    due += every;
                    client.turn(wrong);
                }
                sum.lock().expect("no panic").add(client.outcome);
            });
        }
        // Also where it panics: else nobody would end.
        struct Stops<'s>(&'s AtomicBool);
        impl Drop for Stops<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stops = Stops(&stop);
        meanwhile();
    });
    sum.into_inner().expect("no panic")
}

struct Client<'c, S, C> {
    get: &'c Get,
    connect: &'c C,
    keeps: bool,
    kept: Option<BufReader<S>>,
    outcome: Outcome,
}

impl<S: Read + Write, C: Fn() -> io::Result<BufReader<S>>> Client<'_, S, C> {
    fn turn(&mut self, wrong: impl Fn(&Answer) -> Option<String>) {
        let began = Instant::now();
        let kept = self.kept.take();
        let was_kept = kept.is_some();
        let mut asked = self.ask(kept);
        if was_kept && matches!(asked, Err(Trouble::NoByte(_))) {
            self.outcome.sent_again += 1;
            asked = self.ask(None);
        }
        let failed = match asked {
            Ok(answer) => wrong(&answer),
            Err(trouble) => Some(format!("{trouble:?}")),
        };
        match failed {
            Some(why) => self.outcome.failed.push(why),
            None => self.outcome.answered += 1,
        }
        let took = began.elapsed();
        self.outcome.took.push(took);
        self.outcome.slowest = self.outcome.slowest.max(took);
    }

    fn ask(&mut self, kept: Option<BufReader<S>>) -> Result<Answer, Trouble> {
        let mut stream = match kept {
            Some(stream) => stream,
            None => (self.connect)().map_err(Trouble::NotConnected)?,
        };
        self.get.ask(&mut stream).map_err(Trouble::NoByte)?;
        if stream.fill_buf().map_err(Trouble::NoByte)?.is_empty() {
            return Err(Trouble::NoByte(io::ErrorKind::UnexpectedEof.into()));
        }
        let answer = self.get.hear(&mut stream).map_err(Trouble::Cut)?;
        let last = answer.field_in_any_case("connection") == Some("close");
        if last {
            self.outcome.last_ones += 1;
        } else if self.keeps {
            self.kept = Some(stream);
        }
        Ok(answer)
    }
}

/// Why there is no answer. The fields are for whoever reads of a failure.
#[derive(Debug)]
enum Trouble {
    NotConnected(#[allow(dead_code)] io::Error),
    /// The connection ended before the answer began.
    NoByte(#[allow(dead_code)] io::Error),
    /// It ended within the answer.
    Cut(#[allow(dead_code)] io::Error),
}
