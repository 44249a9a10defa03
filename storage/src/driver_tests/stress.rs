//! Hundreds of connections with random sends, receives, cancellations and questions for room, by seed. The rule:
//! what each one received, in order, is what was sent to it; nothing is lost, doubled or given to another.

use super::{Rig, on_each_driver};
use crate::buf::IoBuf;
use crate::driver::{Event, Token};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

on_each_driver!(every_byte_arrives_once_and_in_order);

/// xorshift64*: the same run for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        ((mixed >> 33) as usize) % sides
    }
}

struct Side {
    ours: UnixStream,
    theirs: Option<UnixStream>,
    sent: Vec<u8>,
    got: Vec<u8>,
    receiving: bool,
    asking: bool,
    cancelling: bool,
    ended: bool,
}

impl Side {
    fn new() -> Side {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        Side {
            ours,
            theirs: Some(theirs),
            sent: Vec::new(),
            got: Vec::new(),
            receiving: false,
            asking: false,
            cancelling: false,
            ended: false,
        }
    }

    fn send(&mut self, dice: &mut Dice, number: usize) {
        let Some(theirs) = &mut self.theirs else {
            return;
        };
        let len = [1, 100, 4096, 4097, 20_000][dice.roll(5)];
        let seed = dice.roll(256) ^ number;
        let bytes: Vec<u8> = (0..len).map(|at| (at ^ seed) as u8).collect();
        match theirs.write(&bytes) {
            Ok(written) => self.sent.extend_from_slice(&bytes[..written]),
            Err(e) => assert_eq!(e.kind(), io::ErrorKind::WouldBlock),
        }
    }
}

fn every_byte_arrives_once_and_in_order(rig: &mut Rig) {
    for seed in [1, 0xbead, 0x5eed_5eed] {
        run(rig, seed);
    }
}

fn run(rig: &mut Rig, seed: u64) {
    let mut dice = Dice(seed);
    let mut sides: Vec<Side> = (0..200).map(|_| Side::new()).collect();
    // The seed is the generation, so that a late event of the run before would be noticed.
    let token = |number: usize| Token(seed << 32 | number as u64);
    let mut disk = tempfile::tempfile().unwrap();
    disk.write_all(&[3; 8192]).unwrap();
    let mut reading = 0;
    for step in 0..20_000 {
        let number = dice.roll(sides.len());
        let side = &mut sides[number];
        let (token, fd) = (token(number), side.ours.as_raw_fd());
        match dice.roll(16) {
            0..5 => side.send(&mut dice, number),
            5..12 if !side.receiving && !side.cancelling && !side.ended => {
                side.receiving = true;
                rig.driver.recv(token, fd);
            }
            12 if !side.asking && !side.cancelling && !side.ended => {
                side.asking = true;
                rig.driver.writable(token, fd);
            }
            13 if !side.cancelling => {
                side.cancelling = true;
                rig.driver.cancel(token, fd);
            }
            14 => {
                if let Some(frame) = rig.arena.frame() {
                    reading += 1;
                    let buf = IoBuf::Arena(frame);
                    rig.driver.read(token, disk.as_raw_fd(), 4096, 4096, buf);
                }
            }
            15 if dice.roll(40) == 0 => side.theirs = None,
            _ => {}
        }
        if step % 16 == 0 {
            rig.wait(std::time::Duration::ZERO);
            settle(rig, &mut sides, &mut reading, seed);
        }
    }
    for side in &mut sides {
        side.theirs = None;
    }
    while reading > 0 || sides.iter().any(|side| !side.ended || side.asking) {
        for (number, side) in sides.iter_mut().enumerate() {
            if !side.ended && !side.receiving && !side.cancelling {
                side.receiving = true;
                rig.driver.recv(token(number), side.ours.as_raw_fd());
            }
        }
        let event = rig.next();
        rig.queued.push_front(event);
        settle(rig, &mut sides, &mut reading, seed);
    }
    for (number, side) in sides.iter().enumerate() {
        assert!(side.got == side.sent, "seed {seed}: connection {number}");
    }
    // A cancellation of the last steps may still be on its way.
    while sides.iter().any(|side| side.cancelling) {
        let event = rig.next();
        rig.queued.push_front(event);
        settle(rig, &mut sides, &mut reading, seed);
    }
    rig.nothing_happens();
}

fn settle(rig: &mut Rig, sides: &mut [Side], reading: &mut usize, seed: u64) {
    while let Some(event) = rig.queued.pop_front() {
        let whose = |token: Token| {
            assert_eq!(token.0 >> 32, seed, "an event of another run");
            (token.0 & 0xffff_ffff) as usize
        };
        match event {
            Event::Received { token, at, len } => {
                let side = &mut sides[whose(token)];
                assert!(std::mem::replace(&mut side.receiving, false), "seed {seed}");
                side.ended |= len == 0;
                if len > 0 {
                    rig.driver.take(at, len, &mut side.got);
                }
            }
            Event::Writable { token } => {
                let side = &mut sides[whose(token)];
                assert!(std::mem::replace(&mut side.asking, false), "seed {seed}");
            }
            Event::Cancelled { token } => {
                let side = &mut sides[whose(token)];
                assert!(
                    std::mem::replace(&mut side.cancelling, false),
                    "seed {seed}"
                );
                side.receiving = false;
                side.asking = false;
            }
            Event::Read { buf, result, .. } => {
                result.unwrap();
                assert_eq!(buf.bytes(4096), [3; 4096]);
                *reading -= 1;
            }
            other => panic!("seed {seed}: {other:?}"),
        }
    }
}
