//! One connection of the load: asks, takes answers apart, and asks again. The rule: what is not compared is dropped
//! inside the kernel, and a request costs no memory.

use super::stream::Stream;
use super::{Load, Order};
use crate::latency::Latencies;
use larder_content::span::{piece_of, piece_start};
use larder_proto::swarm::wire::{PIECE_HEAD_BYTES, piece_head};
use larder_proto::swarm::{Block, Message};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Instant;

/// The most that a head may have.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// What is read for a head: a usual one, and little of the body, which is dropped cheaper than it is read.
const HEAD_BYTES: usize = 1 << 10;
/// Whole answers up to this are read with their heads, because that is one call instead of two.
const SMALL_BYTES: u64 = 8 << 10;

/// What the connections of a load have in common.
#[derive(Debug)]
pub(super) struct Shared {
    /// No more requests.
    pub(super) stop: bool,
    /// The number of the next range, of those that are not asked for again.
    pub(super) next: u64,
    /// How many of those were asked for.
    pub(super) asked: u64,
    /// Answers that came, since it was reset.
    pub(super) requests: u64,
    /// Answers that were compared, of all.
    pub(super) compared: u64,
    /// From each request to its answer's last byte, since it was reset.
    pub(super) latencies: Latencies,
}

/// A request whose answer is not whole yet.
#[derive(Clone, Copy, Debug)]
struct Asked {
    start: u64,
    end: u64,
    at: Instant,
}

/// Where in the stream of answers it is.
#[derive(Clone, Copy, Debug)]
enum Reading {
    Head,
    /// In the first answer's body, at this byte of the object.
    Body {
        at: u64,
        compare: bool,
    },
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    /// Body bytes that came, since it was reset.
    pub(super) bytes: u64,
    random: u64,
    /// Answers that came and the connection's number, so that connections compare in turns.
    turn: u64,
    asked: VecDeque<Asked>,
    reading: Reading,
    requests: Vec<u8>,
    sent: usize,
    buffer: Vec<u8>,
    used: usize,
    have: usize,
    /// How much is read at once for a head.
    room: usize,
    /// The last receive brought all that the kernel had.
    dry: bool,
}

impl Connection {
    pub(super) fn new(load: &Load, stream: Stream, number: u64) -> Self {
        let whole = match load.range_bytes {
            small @ 0..=SMALL_BYTES => load.pipeline * (HEAD_BYTES + small as usize),
            _ => HEAD_BYTES,
        };
        let room = whole.clamp(HEAD_BYTES, 64 << 10);
        Self {
            stream,
            bytes: 0,
            random: number + 1,
            turn: number,
            asked: VecDeque::with_capacity(load.pipeline),
            reading: Reading::Head,
            requests: Vec::with_capacity(load.pipeline * HEAD_BYTES),
            sent: 0,
            buffer: vec![0; room.max(HEAD_BYTES_MAX)],
            used: 0,
            have: 0,
            room,
            dry: false,
        }
    }

    /// Whether every answer has come.
    pub(super) fn is_done(&self) -> bool {
        self.asked.is_empty()
    }

    /// Expects nothing any more.
    pub(super) fn give_up(&mut self) {
        self.asked.clear();
    }

    /// Takes what has come and asks again. It is called when the socket is readable, and once before.
    pub(super) fn go_on(&mut self, load: &Load, shared: &mut Shared) -> io::Result<()> {
        let mut now = None;
        self.dry = false;
        loop {
            match self.take(load, shared, &mut now) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.ask(load, shared, now);
                }
                taken => taken?,
            }
            self.ask(load, shared, now)?;
            if self.dry || self.asked.is_empty() || !self.stream.holds_bytes() {
                return Ok(());
            }
        }
    }

    /// Asks until as many requests as may be are under way.
    fn ask(&mut self, load: &Load, shared: &mut Shared, now: Option<Instant>) -> io::Result<()> {
        if self.asked.len() < load.pipeline && !shared.stop {
            let at = now.unwrap_or_else(Instant::now);
            while self.asked.len() < load.pipeline {
                let Some((start, end)) = self.next_range(load, shared) else {
                    break;
                };
                if load.swarm.is_some() {
                    Message::Request(block(start, end)).write(&mut self.requests);
                } else {
                    write!(
                        self.requests,
                        "GET {} HTTP/1.1\r\nHost: {}\r\nRange: bytes={start}-{}\r\n\r\n",
                        load.file.path,
                        load.host,
                        end - 1
                    )?;
                }
                self.asked.push_back(Asked { start, end, at });
            }
        }
        while self.sent < self.requests.len() {
            match self.stream.send(&self.requests[self.sent..]) {
                Ok(n) => self.sent += n,
                // The server owes answers: the rest goes when the next one comes.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.requests.clear();
        self.sent = 0;
        Ok(())
    }

    fn next_range(&mut self, load: &Load, shared: &mut Shared) -> Option<(u64, u64)> {
        let ranges = load.ranges();
        let number = match load.order {
            Order::Random => {
                // Xorshift: the order matters to nobody, only that it jumps.
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                self.random % ranges
            }
            _ if shared.asked >= ranges => return None,
            Order::Once => shared.asked,
            Order::Shuffled => {
                shared.next = shuffled(shared.next, ranges);
                shared.next
            }
        };
        shared.asked += 1;
        let start = number * load.range_bytes;
        Some((start, (start + load.range_bytes).min(load.file.len)))
    }

    /// Takes answers, or parts of one, up to the last.
    fn take(
        &mut self,
        load: &Load,
        shared: &mut Shared,
        now: &mut Option<Instant>,
    ) -> io::Result<()> {
        while let Some(asked) = self.asked.front().copied() {
            let (at, compare) = match self.reading {
                Reading::Body { at, compare } => (at, compare),
                Reading::Head => {
                    let held = &self.buffer[self.used..self.have];
                    let end = match load.swarm {
                        Some(_) => block_begins(held, asked)?,
                        None => head_end(held, asked)?,
                    };
                    let Some(end) = end else {
                        self.fill(self.room)?;
                        continue;
                    };
                    self.used += end;
                    let every = load.compare_every;
                    (asked.start, every > 0 && self.turn.is_multiple_of(every))
                }
            };
            let left = usize::try_from(asked.end - at).unwrap_or(usize::MAX);
            let held = left.min(self.have - self.used);
            let held_bytes = &self.buffer[self.used..self.used + held];
            if compare && let Some(byte) = load.file.first_wrong(at, held_bytes) {
                return Err(wrong(&format!("byte {byte} is wrong")));
            }
            self.used += held;
            self.bytes += held as u64;
            let at = at + held as u64;
            self.reading = Reading::Body { at, compare };
            if held == left {
                self.reading = Reading::Head;
                self.asked.pop_front();
                let now = *now.get_or_insert_with(Instant::now);
                shared
                    .latencies
                    .note(now.saturating_duration_since(asked.at));
                shared.requests += 1;
                shared.compared += u64::from(compare);
                self.turn += 1;
                continue;
            }
            let left = left - held;
            if compare {
                self.fill(left.min(self.buffer.len()))?;
                continue;
            }
            let forgotten = self.stream.forget(left)?;
            if forgotten == 0 {
                return Err(wrong(&format!("cut at byte {at}")));
            }
            self.bytes += forgotten as u64;
            let at = at + forgotten as u64;
            self.reading = Reading::Body { at, compare };
            self.dry = forgotten < left && !self.stream.holds_bytes();
            if self.dry {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Receives up to `room` bytes behind those that are held. A receive that brought less than it could is not tried
    /// again: the socket says when there is more.
    fn fill(&mut self, room: usize) -> io::Result<()> {
        if self.dry {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.buffer.copy_within(self.used..self.have, 0);
        self.have -= self.used;
        self.used = 0;
        let room = (self.have + room).min(self.buffer.len());
        if room == self.have {
            return Err(wrong("a head without an end"));
        }
        match self.stream.read(&mut self.buffer[self.have..room])? {
            0 => Err(wrong("the server closed the connection")),
            n => {
                self.have += n;
                self.dry = self.have < room && !self.stream.holds_bytes();
                Ok(())
            }
        }
    }
}

/// The number that follows in an order of all numbers below `count` that jumps: a congruence that goes through all
/// numbers below a power of two (Hull and Dobell: its addend is odd, its factor one more than a multiple of 4), but for
/// those that are too large.
fn shuffled(mut number: u64, count: u64) -> u64 {
    let mask = count.next_power_of_two() - 1;
    loop {
        number = number
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f)
            & mask;
        if number < count {
            return number;
        }
    }
}

/// The block of a range that lies in one piece.
fn block(start: u64, end: u64) -> Block {
    let piece = piece_of(start);
    let within = start - piece_start(piece);
    Block {
        piece,
        offset: u32::try_from(within).unwrap_or(u32::MAX),
        len: u32::try_from(end - start).unwrap_or(u32::MAX),
    }
}

/// Where a block's bytes begin, if all that stands before them is there. It must be the asked one.
fn block_begins(bytes: &[u8], asked: Asked) -> io::Result<Option<usize>> {
    match bytes.get(..PIECE_HEAD_BYTES) {
        None => Ok(None),
        Some(head) if head == piece_head(block(asked.start, asked.end)) => Ok(Some(head.len())),
        Some(head) => Err(wrong(&format!("not the asked block: {head:?}"))),
    }
}

/// Where the head ends, if it is whole. It must be that of the asked range.
fn head_end(bytes: &[u8], asked: Asked) -> io::Result<Option<usize>> {
    let (mut end, mut length) = (0, None);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        end += line.len();
        match line {
            b"\r\n" => {
                let head = &bytes[..end];
                let right =
                    head.starts_with(b"HTTP/1.1 206 ") && length == Some(asked.end - asked.start);
                return match right {
                    true => Ok(Some(end)),
                    false => Err(wrong(&format!(
                        "not the asked range: {:?}",
                        String::from_utf8_lossy(head)
                    ))),
                };
            }
            _ => length = length.or_else(|| content_length(line)),
        }
    }
    Ok(None)
}

fn content_length(line: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"content-length:";
    let (name, value) = line.split_at_checked(NAME.len())?;
    if !name.eq_ignore_ascii_case(NAME) {
        return None;
    }
    std::str::from_utf8(value.trim_ascii()).ok()?.parse().ok()
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: u64 = 10;

    fn end_of(head: &str) -> io::Result<Option<usize>> {
        let asked = Asked {
            start: 0,
            end: ASKED,
            at: Instant::now(),
        };
        head_end(head.as_bytes(), asked)
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        let head = "HTTP/1.1 206 Partial Content\r\ncontent-Length: 10\r\n\r\n";
        assert_eq!(end_of(head).expect("right"), Some(head.len()));
        assert_eq!(
            end_of(&format!("{head}\r\n")).expect("right"),
            Some(head.len())
        );
        for cut in 0..head.len() {
            assert_eq!(end_of(&head[..cut]).expect("not yet"), None, "{cut}");
        }
    }

    #[test]
    fn a_shuffled_order_has_each_number_once() {
        for count in [1, 2, 3, 7, 8, 1000, 4096] {
            let numbers = std::iter::successors(Some(0), |number| Some(shuffled(*number, count)));
            let mut numbers: Vec<u64> = numbers
                .skip(1)
                .take(usize::try_from(count).expect("few"))
                .collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn another_answer_is_wrong() {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
            "HTTP/1.1 206 Partial Content\r\nContent-Length: 11\r\n\r\n",
            "HTTP/1.1 206 Partial Content\r\nX-Content-Length: 10\r\n\r\n",
            "HTTP/1.1 206 Partial Content\r\n\r\n",
        ] {
            assert!(end_of(head).is_err(), "{head:?}");
        }
    }
}
