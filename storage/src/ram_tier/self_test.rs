//! The proof, at start, that what `sendfile(2)` queued outlives its frame on this kernel. The rule: it runs the code
//! that serves, against a reader that does not read, and compares every byte; anything unclear counts as unsafe.

use super::{RamTier, UNIT_BYTES};
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::Duration;

/// The outcome, found once a process.
pub(super) fn outcome() -> &'static Result<(), String> {
    static OUTCOME: OnceLock<Result<(), String>> = OnceLock::new();
    OUTCOME.get_or_init(|| match run() {
        Ok(()) => Ok(()),
        Err(why) => Err(format!(
            "sendfile(2) from the memory tier is not used: {why}; larder copies instead, which costs more CPU"
        )),
    })
}

/// A frame of each of these sizes, in units, between neighbours that stay: a part of a group, and a whole one.
const RUNS: [u32; 3] = [1, 3, 16];

fn run() -> Result<(), String> {
    let tier = RamTier::new(40 * u64::from(UNIT_BYTES)).map_err(|e| format!("no memfd: {e}"))?;
    for units in RUNS {
        try_run(&tier, units * UNIT_BYTES)?;
    }
    Ok(())
}

/// Queues a frame, frees it, fills the same place anew, and only then reads.
fn try_run(tier: &RamTier, len: u32) -> Result<(), String> {
    let before = filled_frame(tier, UNIT_BYTES, 0x11)?;
    let frame = filled_frame(tier, len, 0x5a)?;
    let after = filled_frame(tier, UNIT_BYTES, 0x22)?;
    let mut pair = stalled_pair().map_err(|e| format!("no pair of sockets to try it on: {e}"))?;
    let mut queued = 0;
    while queued < len {
        match frame.frame().send_file(pair.sender(), queued..len) {
            Ok(0) => break,
            Ok(sent) => queued += sent as u32,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(format!("the call fails: {e}")),
        }
    }
    if queued == 0 {
        return Err("the call sends nothing".to_owned());
    }
    let place = frame.frame().offset()..frame.frame().offset() + u64::from(len);
    drop(frame);
    // Fresh frames until the place is in use again, all of them filled with something else.
    let mut covered = 0;
    let mut fresh = Vec::new();
    while covered < place.end - place.start {
        let next = filled_frame(tier, len.min(UNIT_BYTES), 0xc3)?;
        if place.contains(&next.frame().offset()) {
            covered += u64::from(next.frame().len());
        }
        fresh.push(next);
    }
    pair.hang_up();
    let mut arrived = Vec::new();
    pair.receiver()
        .read_to_end(&mut arrived)
        .map_err(|e| format!("reading back failed: {e}"))?;
    if arrived.len() != queued as usize {
        return Err(format!("{} of {queued} bytes arrived", arrived.len()));
    }
    let wrong = arrived
        .iter()
        .enumerate()
        .filter(|(at, byte)| **byte != pattern(0x5a, *at))
        .count();
    if wrong > 0 {
        return Err(format!(
            "{wrong} of {queued} queued bytes changed after their frame of {len} bytes was freed"
        ));
    }
    drop((before, after, fresh));
    Ok(())
}

fn filled_frame(tier: &RamTier, len: u32, seed: u8) -> Result<super::FrameWriter, String> {
    let mut writer = tier
        .frame(len)
        .ok_or_else(|| "the trial tier is too small".to_owned())?;
    let bytes: Vec<u8> = (0..len as usize).map(|at| pattern(seed, at)).collect();
    writer.append(&bytes);
    Ok(writer)
}

/// Differs between neighbouring bytes, pages and seeds.
fn pattern(seed: u8, at: usize) -> u8 {
    seed ^ (at % 251) as u8 ^ (at / 4096 % 256) as u8
}

/// Two ends of a stream: TCP over loopback, as in service, or a local pair where there is no loopback.
enum Pair {
    Tcp(Option<TcpStream>, TcpStream),
    Local(Option<UnixStream>, UnixStream),
}

impl Pair {
    fn sender(&self) -> BorrowedFd<'_> {
        match self {
            Pair::Tcp(Some(sender), _) => sender.as_fd(),
            Pair::Local(Some(sender), _) => sender.as_fd(),
            Pair::Tcp(None, receiver) => receiver.as_fd(),
            Pair::Local(None, receiver) => receiver.as_fd(),
        }
    }

    fn receiver(&mut self) -> &mut dyn Read {
        match self {
            Pair::Tcp(_, receiver) => receiver,
            Pair::Local(_, receiver) => receiver,
        }
    }

    fn hang_up(&mut self) {
        match self {
            Pair::Tcp(sender, _) => drop(sender.take()),
            Pair::Local(sender, _) => drop(sender.take()),
        }
    }
}

fn stalled_pair() -> io::Result<Pair> {
    if let Ok(pair) = tcp_pair() {
        return Ok(pair);
    }
    let (sender, receiver) = UnixStream::pair()?;
    sender.set_nonblocking(true)?;
    receiver.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(Pair::Local(Some(sender), receiver))
}

fn tcp_pair() -> io::Result<Pair> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let sender = TcpStream::connect(listener.local_addr()?)?;
    let ours = sender.local_addr()?;
    loop {
        let (receiver, from) = listener.accept()?;
        // Anyone on the machine may connect here; only our own connection is the trial.
        if from == ours {
            sender.set_nonblocking(true)?;
            receiver.set_read_timeout(Some(Duration::from_secs(10)))?;
            return Ok(Pair::Tcp(Some(sender), receiver));
        }
    }
}
