//! Clients that ask for one object in any way, leave and come back. The rule: each answer is held against the true
//! versions byte by byte, also one that breaks off.

use super::dice::Dice;
use super::fate::{ENCODED, Fate};
use super::{Branch, Seen};
use crate::http::tests::raw::{Client, Got, Outcome};
use crate::http::tests::version::Version;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// After so long an answer does not come any more, however busy the machine is.
const HUNG_AFTER: Duration = Duration::from_secs(90);

/// What a client asks.
#[derive(Clone, Debug, Default)]
struct Question {
    head_only: bool,
    /// First and last byte of each range.
    ranges: Vec<(u64, u64)>,
    if_range: Option<String>,
    if_none_match: Option<String>,
}

impl Question {
    fn text(&self, path: &str) -> String {
        let method = if self.head_only { "HEAD" } else { "GET" };
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: files.example\r\n");
        if !self.ranges.is_empty() {
            let set: Vec<_> = self
                .ranges
                .iter()
                .map(|(first, last)| format!("{first}-{last}"))
                .collect();
            text += &format!("Range: bytes={}\r\n", set.join(","));
        }
        for (name, value) in [
            ("If-Range", &self.if_range),
            ("If-None-Match", &self.if_none_match),
        ] {
            if let Some(value) = value {
                text += &format!("{name}: {value}\r\n");
            }
        }
        text + "\r\n"
    }
}

/// Some connections, and what was learnt over them.
pub(super) struct Clients<'b> {
    branch: &'b Branch,
    fate: &'b Arc<Mutex<Fate>>,
    seen: &'b Seen,
    path: String,
    versions: Vec<Version>,
    connections: Vec<Option<Client>>,
    /// A strong validator that was seen, and how many bytes from the first on came under it.
    begun: Option<(String, u64)>,
}

impl<'b> Clients<'b> {
    pub(super) fn new(branch: &'b Branch, fate: &'b Arc<Mutex<Fate>>, seen: &'b Seen) -> Self {
        let now = fate.lock().expect("unpoisoned");
        Self {
            branch,
            fate,
            seen,
            path: now.path.clone(),
            versions: now.versions.clone(),
            connections: (0..3).map(|_| None).collect(),
            begun: None,
        }
    }

    pub(super) fn versions(&self) -> Vec<Version> {
        self.versions.clone()
    }

    fn connect(&self) -> Client {
        let client = self.branch.client();
        client
            .stream
            .set_read_timeout(Some(HUNG_AFTER))
            .expect("a timeout");
        client
    }

    fn count(&self, kind: &'static str) {
        *self
            .seen
            .lock()
            .expect("unpoisoned")
            .entry(kind)
            .or_default() += 1;
    }

    /// A few requests: on all connections at once, or one, or one that is given up midway.
    pub(super) fn round(&mut self, dice: &mut Dice) {
        let many = if dice.once_in(2) {
            self.connections.len()
        } else {
            1
        };
        let mut asked = Vec::new();
        for at in 0..many {
            let question = self.question(dice);
            let mut client = self.connections[at]
                .take()
                .unwrap_or_else(|| self.connect());
            if client.try_write(question.text(&self.path).as_bytes()) {
                asked.push((at, client, question));
            }
        }
        for (at, mut client, question) in asked {
            if dice.once_in(6) && !question.head_only {
                self.leave(client, &question, dice);
                continue;
            }
            match client.outcome(question.head_only) {
                Ok(came) => {
                    self.check(&question, &came);
                    let closes = came.got.header("Connection") == Some("close");
                    if came.whole && !closes {
                        self.connections[at] = Some(client);
                    } else if !came.whole {
                        assert!(client.is_over(), "something follows an answer that was cut");
                    }
                }
                Err(_) => self.count("broken"),
            }
        }
    }

    fn question(&self, dice: &mut Dice) -> Question {
        let length = self.versions[0].length;
        let one = |dice: &mut Dice| {
            let anywhere = dice.below(length + 1);
            let edge = dice.one_of(&[0, 65_536, 1 << 20, 2 << 20, length, anywhere]);
            let first = (edge + dice.below(5)).saturating_sub(2);
            (
                first,
                first + dice.one_of(&[0, 4, 100, 70_000, 1 << 20, 3 << 20]),
            )
        };
        match dice.below(10) {
            0..=2 => Question::default(),
            3 => Question {
                head_only: true,
                ..Question::default()
            },
            4 => Question {
                if_none_match: Some(dice.one_of(&["\"v0\"", "\"v1\"", "W/\"v0\""]).to_owned()),
                ..Question::default()
            },
            5 => Question {
                ranges: vec![one(dice), one(dice)],
                ..Question::default()
            },
            6 | 7 if self.begun.is_some() => {
                // Goes on where an earlier answer stopped.
                let (tag, had) = self.begun.clone().unwrap_or_default();
                Question {
                    ranges: vec![(had, u64::MAX >> 1)],
                    if_range: Some(tag),
                    ..Question::default()
                }
            }
            _ => Question {
                ranges: vec![one(dice)],
                ..Question::default()
            },
        }
    }

    /// Takes a part of the answer and goes.
    fn leave(&mut self, mut client: Client, question: &Question, dice: &mut Dice) {
        let Ok(mut got) = client.try_head() else {
            return self.count("broken");
        };
        let length: u64 = got
            .header("Content-Length")
            .map_or(0, |n| n.parse().expect("a length"));
        got.body = client.up_to(dice.below(length + 1) as usize);
        if question.ranges.len() < 2 {
            self.check(question, &Outcome { got, whole: false });
        }
    }

    fn check(&mut self, question: &Question, came: &Outcome) {
        let Outcome { got, whole } = came;
        let what = || format!("{} to {question:?}, {:?}", got.status, got.headers);
        if got.status >= 400 && got.status != 416 {
            return self.count("refused");
        }
        if got.header("Content-Encoding") == Some("gzip") {
            // The origin's own words, passed on as they are.
            assert!(
                ENCODED.starts_with(&got.body[..]) && got.status == 200,
                "{}",
                what()
            );
            return self.count("encoded");
        }
        let of_it: Vec<Version> = self
            .versions
            .iter()
            .filter(|v| may_be_of(got, v))
            .cloned()
            .collect();
        let right = match got.status {
            200 => of_it.iter().any(|v| {
                let length = got
                    .header("Content-Length")
                    .map_or(v.length, |n| n.parse().expect("a length"));
                let all = question.head_only || !whole || got.body.len() as u64 == v.length;
                v.length == length && v.holds(0, &got.body) && all
            }),
            206 if question.ranges.len() == 2 && got.header("Content-Range").is_none() => {
                !whole || of_it.iter().any(|v| parts_are_right(got, v))
            }
            206 => of_it
                .iter()
                .any(|v| part_is_right(got, v, question, *whole)),
            304 => question.if_none_match.is_some() && got.body.is_empty(),
            416 => {
                let said = |v: &&Version| {
                    got.header("Content-Range") == Some(&format!("bytes */{}", v.length))
                };
                self.versions
                    .iter()
                    .filter(said)
                    .any(|v| question.ranges.iter().all(|(first, _)| *first >= v.length))
            }
            _ => false,
        };
        assert!(right, "no true version: {}", what());
        // A resume never gets a piece of another version.
        if let (206, Some(tag)) = (got.status, &question.if_range) {
            assert_eq!(
                got.header("ETag"),
                Some(tag.as_str()),
                "a resume of another version"
            );
        }
        let first_byte = question.ranges.is_empty() || got.status == 200;
        if let Some(tag) = got
            .header("ETag")
            .filter(|tag| first_byte && !tag.starts_with("W/"))
        {
            self.begun = Some((tag.to_owned(), got.body.len() as u64));
        }
        self.count(if *whole { "right" } else { "cut" });
    }

    /// The origin is well: so must the object be, after the few seconds for which errors are remembered.
    pub(super) fn are_served_again(&mut self) {
        let until = Instant::now() + HUNG_AFTER;
        let whole = Question::default();
        loop {
            let mut client = self.connect();
            client.write(whole.text(&self.path).as_bytes());
            if let Ok(came) = client.outcome(false) {
                self.check(&whole, &came);
                if came.whole
                    && came.got.status == 200
                    && came.got.header("Content-Encoding").is_none()
                {
                    break;
                }
            }
            assert!(Instant::now() < until, "the object is not well again");
            std::thread::park_timeout(Duration::from_millis(50));
        }
        // And so for all who come at once.
        let now = self.fate.lock().expect("unpoisoned");
        let current = now.versions[now.now].clone();
        let confirmed = now.is_always_confirmed();
        drop(now);
        let length = self.versions[0].length;
        let questions = [
            whole.clone(),
            Question {
                ranges: vec![(0, 9)],
                ..whole.clone()
            },
            Question {
                ranges: vec![(length / 2, length)],
                ..whole
            },
        ];
        let mut asked: Vec<_> = questions
            .into_iter()
            .map(|question| {
                let mut client = self.connect();
                client.write(question.text(&self.path).as_bytes());
                (client, question)
            })
            .collect();
        for (client, question) in &mut asked {
            loop {
                if let Ok(came) = client.outcome(false) {
                    self.check(question, &came);
                    let told = came.got.status < 400 || came.got.status == 416;
                    if confirmed && came.got.status < 400 {
                        let is_current = may_be_of(&came.got, &current);
                        assert!(is_current, "an old version, though it must be confirmed");
                    }
                    if came.whole && told {
                        break;
                    }
                }
                // On a machine that is busy with other seeds an origin may seem slow.
                assert!(Instant::now() < until, "not well again: {question:?}");
                *client = self.connect();
                client.write(question.text(&self.path).as_bytes());
            }
        }
    }
}

/// Whether its validators are those of a version.
fn may_be_of(got: &Got, version: &Version) -> bool {
    got.header("ETag") == version.header("etag")
        && got.header("Last-Modified") == version.header("last-modified")
}

fn part_is_right(got: &Got, version: &Version, question: &Question, whole: bool) -> bool {
    let Some((first, end, length)) = got.header("Content-Range").and_then(read_range) else {
        return false;
    };
    // An origin may send fewer bytes than it was asked for, which is passed on where it is not stored.
    let passed_on = got.header("X-Cache-Status") == Some("BYPASS");
    let asked = question.ranges.iter().any(|(from, last)| {
        let until = version.length.min(last.saturating_add(1));
        first == *from && (end == until || (passed_on && end < until))
    });
    // Two ranges that touch are one.
    let joined = question.ranges.len() == 2;
    let filled = !whole || got.body.len() as u64 == end - first;
    length == version.length && (asked || joined) && filled && version.holds(first, &got.body)
}

/// Reads `bytes a-b/n` as the first byte, the end and the length.
fn read_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, length) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((
        first.parse().ok()?,
        last.parse::<u64>().ok()? + 1,
        length.parse().ok()?,
    ))
}

fn parts_are_right(got: &Got, version: &Version) -> bool {
    let kind = got.header("Content-Type").unwrap_or_default();
    let Some(boundary) = kind.strip_prefix("multipart/byteranges; boundary=") else {
        return false;
    };
    // The first line may go without the line end before it, as an origin's own parts do that are passed on.
    let all = [b"\r\n", &got.body[..]].concat();
    let mut rest = match got.body.starts_with(b"--") {
        true => &all[..],
        false => &got.body[..],
    };
    let mut parts = 0;
    loop {
        let line = format!("\r\n--{boundary}");
        let Some(after) = rest.strip_prefix(line.as_bytes()) else {
            return false;
        };
        if after == b"--\r\n" {
            return parts > 0;
        }
        let Some(end) = after.windows(4).position(|four| four == b"\r\n\r\n") else {
            return false;
        };
        let head = String::from_utf8_lossy(&after[..end]);
        let range = head
            .lines()
            .find_map(|line| read_range(line.strip_prefix("Content-Range: ")?));
        let Some((first, end_of_it, length)) = range else {
            return false;
        };
        let body = &after[end + 4..];
        let count = (end_of_it - first) as usize;
        if body.len() < count || length != version.length || !version.holds(first, &body[..count]) {
            return false;
        }
        rest = &body[count..];
        parts += 1;
    }
}
