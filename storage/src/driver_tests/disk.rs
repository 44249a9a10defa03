//! Disk reads: into registered, plain and memory tier frames, whole or with a reason.

use super::{Rig, on_each_driver};
use crate::arena::Arena;
use crate::buf::IoBuf;
use crate::driver::{Event, Token};
use crate::ram_tier::RamTier;
use crate::ring::RingDriver;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use tempfile::NamedTempFile;

on_each_driver!(
    reads_what_is_there,
    reads_past_the_page_cache,
    fills_a_frame_of_the_memory_tier,
    refuses_what_does_not_fit,
    says_where_a_file_ends,
    takes_more_reads_than_its_queue_holds,
);

const ONE: Token = Token(1);

fn content(len: u32) -> Vec<u8> {
    (0..len)
        .map(|at| (at % 253) as u8 ^ (at >> 12) as u8)
        .collect()
}

fn file(bytes: &[u8]) -> NamedTempFile {
    // Beside the build, where there is a disk; /tmp may be memory.
    let program = std::env::current_exe().unwrap();
    let mut file = NamedTempFile::new_in(program.parent().unwrap())
        .or_else(|_| NamedTempFile::new())
        .unwrap();
    file.write_all(bytes).unwrap();
    file.as_file().sync_all().unwrap();
    file
}

fn read(rig: &mut Rig, fd: RawFd, offset: u64, len: u32, buf: IoBuf) -> (IoBuf, io::Result<()>) {
    rig.driver.read(ONE, fd, offset, len, buf);
    match rig.next() {
        Event::Read { token, buf, result } => {
            assert_eq!(token, ONE);
            (buf, result)
        }
        other => panic!("{other:?}"),
    }
}

fn reads_what_is_there(rig: &mut Rig) {
    let bytes = content(3 << 20);
    let file = file(&bytes);
    let elsewhere = Arena::new(1 << 20).unwrap();
    for (offset, len) in [(0, 1 << 20), (4096, 4096), (1_048_576, 12_288), (7, 100)] {
        let frames = [rig.arena.frame().unwrap(), elsewhere.frame().unwrap()];
        for frame in frames {
            let (buf, result) = read(rig, file.as_raw_fd(), offset, len, IoBuf::Arena(frame));
            result.unwrap();
            let from = offset as usize;
            assert!(buf.bytes(len as usize) == &bytes[from..from + len as usize]);
        }
    }
    assert_eq!(rig.arena.free_bytes(), 4 << 20);
}

fn direct(file: &NamedTempFile) -> Option<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(file.path())
        .ok()
}

fn reads_past_the_page_cache(rig: &mut Rig) {
    let bytes = content(2 << 20);
    let file = file(&bytes);
    let Some(direct) = direct(&file) else {
        eprintln!("not tried: this file system has no O_DIRECT");
        return;
    };
    let tier = RamTier::new(4 << 20).unwrap();
    for (offset, len) in [(0, 1 << 20), (65_536, 131_072), (1_044_480, 4096)] {
        let bufs = [
            IoBuf::Arena(rig.arena.frame().unwrap()),
            IoBuf::Ram(tier.frame(len).unwrap()),
        ];
        for buf in bufs {
            let (buf, result) = read(rig, direct.as_raw_fd(), offset, len, buf);
            result.unwrap();
            let from = offset as usize;
            assert!(buf.bytes(len as usize) == &bytes[from..from + len as usize]);
        }
    }
}

fn fills_a_frame_of_the_memory_tier(rig: &mut Rig) {
    let bytes = content(200_704);
    let file = file(&bytes);
    let tier = RamTier::new(4 << 20).unwrap();
    // A piece of 200,000 bytes is read in whole blocks; only the piece's own bytes become visible.
    let writer = tier.frame(200_000).unwrap();
    let (buf, result) = read(rig, file.as_raw_fd(), 0, 200_704, IoBuf::Ram(writer));
    result.unwrap();
    assert!(buf.bytes(usize::MAX) == &bytes[..200_000]);
    let IoBuf::Ram(writer) = buf else {
        panic!("the same buffer comes home");
    };
    assert_eq!(writer.remaining(), 0);
    // Readers may be looking at it now.
    let (buf, result) = read(rig, file.as_raw_fd(), 0, 4096, IoBuf::Ram(writer));
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert!(buf.bytes(usize::MAX) == &bytes[..200_000]);
}

fn refuses_what_does_not_fit(rig: &mut Rig) {
    let file = file(&content(4096));
    let fd = file.as_raw_fd();
    let tier = RamTier::new(1 << 20).unwrap();
    let too_long = [
        (IoBuf::Arena(rig.arena.frame().unwrap()), (1 << 20) + 1),
        (IoBuf::Ram(tier.frame(10).unwrap()), 65_537),
    ];
    for (buf, len) in too_long {
        let (_, result) = read(rig, fd, 0, len, buf);
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    let frame = rig.arena.frame().unwrap();
    let (_, result) = read(rig, fd, 0, 0, IoBuf::Arena(frame));
    result.unwrap();
    let frame = rig.arena.frame().unwrap();
    let (_, result) = read(rig, -1, 0, 4096, IoBuf::Arena(frame));
    assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EBADF));
    assert_eq!(rig.arena.free_bytes(), 4 << 20);
}

fn says_where_a_file_ends(rig: &mut Rig) {
    let file = file(&content(10_000));
    let direct = direct(&file);
    let fds = [
        Some(file.as_raw_fd()),
        direct.as_ref().map(AsRawFd::as_raw_fd),
    ];
    for fd in fds.into_iter().flatten() {
        for (offset, len) in [(0, 12_288), (8192, 4096), (16_384, 4096)] {
            let tier = RamTier::new(1 << 20).unwrap();
            let writer = tier.frame(len).unwrap();
            let (buf, result) = read(rig, fd, offset, len, IoBuf::Ram(writer));
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            assert_eq!(buf.bytes(usize::MAX), b"", "a part is not shown");
        }
    }
}

fn takes_more_reads_than_its_queue_holds(rig: &mut Rig) {
    let bytes = content(4 << 20);
    let file = file(&bytes);
    let tier = RamTier::new(256 << 20).unwrap();
    let reads = 3000u64;
    let offset = |number: u64| number * 512;
    for number in 0..reads {
        let buf = IoBuf::Ram(tier.frame(512).unwrap());
        rig.driver
            .read(Token(number), file.as_raw_fd(), offset(number), 512, buf);
    }
    let mut seen = vec![false; 3000];
    for _ in 0..reads {
        let Event::Read { token, buf, result } = rig.next() else {
            panic!("a read ends in its event");
        };
        result.unwrap();
        let from = offset(token.0) as usize;
        assert_eq!(buf.bytes(512), &bytes[from..from + 512]);
        assert!(!std::mem::replace(&mut seen[token.0 as usize], true));
    }
    assert_eq!(tier.used_bytes(), 0);
    rig.nothing_happens();
}

#[test]
fn a_ring_that_goes_away_gives_every_buffer_back() {
    let Some(Rig { arena, .. }) = Rig::ring(2, false) else {
        return;
    };
    let mut ring = RingDriver::new(&arena).unwrap();
    let (reader, writer) = io::pipe().unwrap();
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let tier = RamTier::new(1 << 20).unwrap();
    use crate::driver::Driver;
    // These reads never end by themselves: nobody writes to the pipe. Some are submitted, some are not yet.
    for round in 0..2 {
        for number in 0..2 {
            let frame = arena.frame().unwrap();
            ring.read(
                Token(number),
                reader.as_raw_fd(),
                0,
                4096,
                IoBuf::Arena(frame),
            );
        }
        let writer = tier.frame(4096).unwrap();
        ring.read(Token(2), reader.as_raw_fd(), 0, 4096, IoBuf::Ram(writer));
        ring.recv(Token(3 + round), ours.as_raw_fd());
        if round == 0 {
            let mut events = Vec::new();
            ring.wait(Some(std::time::Duration::ZERO), &mut events)
                .unwrap();
            assert!(events.is_empty(), "{events:?}");
        }
    }
    assert_eq!((arena.free_bytes(), tier.used_bytes()), (0, 2 * 65_536));
    drop(ring);
    assert_eq!((arena.free_bytes(), tier.used_bytes()), (4 << 20, 0));
    drop(writer);
}
