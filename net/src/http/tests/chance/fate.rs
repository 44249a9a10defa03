//! What an origin does with each request for one object, by chance. The rule: whatever goes wrong is something that a
//! careful reader of the RFCs can see; an origin that sends other bytes under the same strong validator is beyond help.

use super::dice::Dice;
use crate::download::tests::script::{Asked, Step, bare};
use crate::http::tests::lies::LIES;
use crate::http::tests::version::Version;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Lengths at which something changes.
const LENGTHS: [u64; 14] = [
    1000,
    1,
    0,
    65_535,
    65_536,
    65_537,
    200_000,
    MIB - 1,
    MIB,
    MIB + 1,
    MIB + 65_536,
    2 * MIB,
    2 * MIB + 1,
    3 * MIB - 7,
];

/// Where bodies are cut.
const CUTS: [u64; 9] = [
    0,
    1,
    65_535,
    65_536,
    65_537,
    MIB - 1,
    MIB,
    MIB + 1,
    1_500_000,
];

/// The body that is sent encoded though nobody asked for that.
pub(super) const ENCODED: &[u8] = b"GZIPPED, UNLIKE ANY VERSION";

/// The fate of one object.
pub(super) struct Fate {
    /// Its path, in which the seed is.
    pub(super) path: String,
    /// The URL names its content.
    pub(super) fixed: bool,
    pub(super) versions: Vec<Version>,
    /// Which of them the origin has now.
    pub(super) now: usize,
    /// How many more requests may go wrong.
    pub(super) faults: u32,
    dice: Dice,
    /// What it did, for whoever looks into a failure.
    story: Vec<String>,
}

impl Fate {
    pub(super) fn new(seed: u64, dice: &mut Dice) -> Self {
        let fixed = dice.once_in(2);
        let some = 4 + dice.below(11) as usize;
        let length = dice.one_of(&LENGTHS[..some]);
        let control = dice.one_of(&["max-age=3600", "max-age=3600", "no-cache", "max-age=0"]);
        let kind = dice.below(6);
        let versions = (0..2_u8).map(|n| {
            // Another version is of another length at times; where nothing else tells two apart, always.
            let other = if kind < 5 || !fixed {
                dice.one_of(&[length, length, length + 1, 5000])
            } else {
                length + 1
            };
            let length = if n == 0 { length } else { other };
            let date = format!("Last-Modified: Sun, 06 Nov 1994 08:49:3{n} GMT\r\n");
            let validators = match kind {
                0 | 1 => format!("ETag: \"v{n}\"\r\n"),
                2 => format!("ETag: \"v{n}\"\r\n{date}"),
                3 => format!("ETag: W/\"v{n}\"\r\n"),
                4 => date,
                _ => String::new(),
            };
            let headers = format!("{validators}Cache-Control: {control}\r\n");
            Version::bare(length, n, &headers)
        });
        let versions = versions.collect();
        let folder = if fixed { "fixed" } else { "may-change" };
        Self {
            path: format!("/{folder}/s{seed}/a"),
            fixed,
            versions,
            now: 0,
            faults: dice.below(7) as u32,
            dice: Dice::new(!seed),
            story: Vec::new(),
        }
    }

    /// True where what is stored is confirmed each time.
    pub(super) fn is_always_confirmed(&self) -> bool {
        !self.fixed && self.versions[0].header("cache-control") != Some("max-age=3600")
    }

    fn answer(&mut self, asked: &Asked) -> Vec<Step> {
        let folder = asked
            .target
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        let to = |name: String| vec![bare("302 Found", &format!("Location: {folder}/{name}\r\n"))];
        let name = asked.target.rsplit('/').next().unwrap_or_default();
        if name == "loop" {
            return to("loop".to_owned());
        }
        if let Some(Ok(left)) = name.strip_prefix("hop").map(str::parse::<u32>)
            && left > 0
        {
            return to(format!("hop{}", left - 1));
        }
        let goes_wrong = self.faults > 0 && !self.dice.once_in(3);
        if goes_wrong {
            self.faults -= 1;
            let fault = self.dice.below(32);
            let steps = self.fault(fault, asked, &to);
            self.story.push(format!(
                "fault {fault} as version {} to {:?}",
                self.now, asked.range
            ));
            steps
        } else {
            self.story
                .push(format!("version {} to {:?}", self.now, asked.range));
            vec![Step::Send(self.honest(asked))]
        }
    }

    fn honest(&self, asked: &Asked) -> Vec<u8> {
        self.versions[self.now].answer(asked)
    }

    fn fault(&mut self, fault: u64, asked: &Asked, to: &dyn Fn(String) -> Vec<Step>) -> Vec<Step> {
        let version = self.versions[self.now].clone();
        let honest = self.honest(asked);
        let head_end = honest
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .map_or(0, |at| at + 4);
        let with = |more: &str| {
            let at = honest
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            [&honest[..at], more.as_bytes(), b"\r\n", &honest[at..]].concat()
        };
        let chunked = |whole: bool| {
            let body = version.whole();
            let headers = &version.headers;
            let mut answer =
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{headers}\r\n")
                    .into_bytes();
            for chunk in body.chunks(100_000) {
                answer.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                answer.extend(chunk);
                answer.extend(b"\r\n");
            }
            answer.extend(if whole { &b"0\r\n\r\n"[..] } else { b"" });
            answer
        };
        match fault {
            0 => vec![bare("500 Oops", "")],
            1 => vec![bare("503 Busy", "Retry-After: 1\r\n")],
            2 => vec![bare(
                self.dice.one_of(&[
                    "429 Slow Down",
                    "404 Not Found",
                    "403 Forbidden",
                    "502 Bad Gateway",
                ]),
                "",
            )],
            3 => vec![Step::Close],
            4 => vec![Step::Reset],
            5 => vec![Step::Hang],
            6..=10 => {
                let cut = head_end + self.dice.one_of(&CUTS) as usize;
                let then = self
                    .dice
                    .one_of(&[Step::Close, Step::Close, Step::Reset, Step::Hang]);
                vec![Step::Send(honest[..cut.min(honest.len())].to_vec()), then]
            }
            11 => {
                let cut = self.dice.below(head_end as u64) as usize;
                vec![Step::Send(honest[..cut].to_vec()), Step::Close]
            }
            12 => vec![Step::Send(version.full())],
            13..=15 => {
                let (first, last) = asked.range.unwrap_or((0, None));
                let end = last.map_or(version.length, |last| version.length.min(last as u64 + 1));
                let first = first as u64;
                if first + 2 >= end {
                    return vec![Step::Close];
                }
                let (_, lie) = self.dice.one_of(&LIES);
                vec![Step::Send(lie(&version, first..end))]
            }
            16 | 17 => {
                self.now = 1 - self.now;
                vec![Step::Send(self.honest(asked))]
            }
            18 => {
                let length = ENCODED.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n{}\r\n",
                    version.headers
                );
                vec![Step::Send([head.as_bytes(), ENCODED].concat())]
            }
            19 => vec![Step::Send(chunked(true))],
            20 => vec![Step::Send(chunked(false)), Step::Close],
            21 => {
                // Behind it another answer, for whoever asks next on this connection.
                let poison = Version::bare(
                    version.length,
                    9,
                    version
                        .headers
                        .split_once("\r\n")
                        .map_or("", |(_, rest)| rest),
                );
                vec![Step::Send([honest, poison.full()].concat())]
            }
            22 => vec![Step::Send(with("Content-Length: 7"))],
            23 => vec![Step::Send(with("Transfer-Encoding: chunked"))],
            24 => to("b".to_owned()),
            25 => to("loop".to_owned()),
            26 => to("hop11".to_owned()),
            27 => vec![bare("302 Found", "Location: http://elsewhere.example/\r\n")],
            28 => vec![bare(
                "304 Not Modified",
                self.dice.one_of(&["", "ETag: \"other\"\r\n"]),
            )],
            29 => {
                let junk: String = match self.dice.below(4) {
                    0 => "X-Junk: \u{1}\u{2}".to_owned(),
                    1 => format!("X-Long: {}", "j".repeat(70_000)),
                    2 => {
                        (0..150)
                            .map(|n| format!("X-{n}: y\r\n"))
                            .collect::<String>()
                            + "X: y"
                    }
                    _ => "no colon at all".to_owned(),
                };
                vec![Step::Send(with(&junk))]
            }
            30 => {
                let begun = honest.len().min(head_end + 10);
                vec![
                    Step::Trickle(honest[..begun].to_vec(), 40, Duration::from_millis(1)),
                    Step::Hang,
                ]
            }
            _ => {
                // Fewer bytes than were asked for, which is allowed.
                match asked.range {
                    Some((first, _)) if (first as u64) < version.length => {
                        let first = first as u64;
                        let end = version.length.min(first + 1 + self.dice.below(MIB + 10));
                        vec![Step::Send(version.part(first..end))]
                    }
                    _ => vec![Step::Send(
                        [b"HTTP/1.1 103 Early Hints\r\n\r\n", &honest[..]].concat(),
                    )],
                }
            }
        }
    }
}

/// The fates of the objects that are being tried, by seed.
#[derive(Default)]
pub(super) struct Fates(Mutex<HashMap<u64, Arc<Mutex<Fate>>>>);

impl Fates {
    pub(super) fn put(&self, seed: u64, fate: &Arc<Mutex<Fate>>) {
        self.0
            .lock()
            .expect("unpoisoned")
            .insert(seed, Arc::clone(fate));
    }

    pub(super) fn take(&self, seed: u64) {
        self.0.lock().expect("unpoisoned").remove(&seed);
    }

    pub(super) fn story(&self, seed: u64) -> String {
        let fate = self.0.lock().expect("unpoisoned").remove(&seed);
        fate.map_or(String::new(), |fate| {
            let fate = fate
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let lengths: Vec<_> = fate.versions.iter().map(|v| v.length).collect();
            format!(
                "{} of {lengths:?} bytes, {:?}\n  {}",
                fate.path,
                fate.versions[0].headers,
                fate.story.join("\n  ")
            )
        })
    }

    pub(super) fn answer(&self, asked: &Asked) -> Vec<Step> {
        let seed = asked
            .target
            .split('/')
            .find_map(|part| part.strip_prefix('s')?.parse().ok());
        let fate =
            seed.and_then(|seed: u64| self.0.lock().expect("unpoisoned").get(&seed).cloned());
        match fate {
            Some(fate) => fate.lock().expect("unpoisoned").answer(asked),
            // What is late is for nobody.
            None => vec![Step::Close],
        }
    }
}
