//! Accepting, receiving, room to send, cancelling and waking.

use super::{Rig, on_each_driver};
use crate::driver::{Event, Token};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::Duration;

on_each_driver!(
    accepts_from_a_blocking_and_a_non_blocking_listener,
    accepts_no_more_after_unlisten,
    no_connection_is_lost_when_it_accepts_no_more,
    says_why_it_can_not_accept,
    receives_what_was_sent_and_then_the_end,
    receives_for_many_at_once,
    leaves_out_what_was_not_taken,
    reports_a_reset,
    says_once_when_there_is_room,
    reports_room_on_a_broken_socket,
    cancels_what_waits_and_takes_no_byte,
    reports_late_bytes_before_cancelled,
    cancels_where_nothing_is_under_way,
    knows_a_reused_descriptor_from_its_predecessor,
    loses_no_wake,
    returns_in_time_with_nothing,
);

const ONE: Token = Token(0x0000_0007_0000_0001);
const TWO: Token = Token(0x0000_0001_0000_0002);

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours, theirs)
}

fn accepted(rig: &mut Rig, number: u32) -> OwnedFd {
    match rig.next() {
        Event::Accepted { listener, fd } => {
            assert_eq!(listener, number);
            fd
        }
        other => panic!("{other:?}"),
    }
}

/// The open flags according to the kernel.
fn flags(fd: &OwnedFd) -> i32 {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("flags:"));
    i32::from_str_radix(line.unwrap().trim(), 8).unwrap()
}

fn accepts_from_a_blocking_and_a_non_blocking_listener(rig: &mut Rig) {
    let listeners = [0, 1].map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners[1].set_nonblocking(true).unwrap();
    for (number, listener) in (5..).zip(&listeners) {
        rig.driver.listen(number, listener.as_raw_fd());
        rig.nothing_happens();
        for _ in 0..3 {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let fd = accepted(rig, number);
            let wanted = libc::O_NONBLOCK | libc::O_CLOEXEC;
            assert_eq!(flags(&fd) & wanted, wanted);
            let server = TcpStream::from(fd);
            assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
        }
    }
    // More than one wait accepts at most.
    let address = listeners[0].local_addr().unwrap();
    let clients: Vec<TcpStream> = (0..40)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    for _ in &clients {
        accepted(rig, 5);
    }
}

fn accepts_no_more_after_unlisten(rig: &mut Rig) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    rig.driver.listen(1, listener.as_raw_fd());
    let _first = TcpStream::connect(address).unwrap();
    accepted(rig, 1);
    rig.driver.unlisten(1);
    rig.nothing_happens();
    let waiting = TcpStream::connect(address).unwrap();
    rig.nothing_happens();
    rig.driver.listen(2, listener.as_raw_fd());
    let server = TcpStream::from(accepted(rig, 2));
    assert_eq!(server.peer_addr().unwrap(), waiting.local_addr().unwrap());
    // Unlisten and close in one breath.
    rig.driver.unlisten(2);
    drop(listener);
    rig.nothing_happens();
    rig.driver.unlisten(99);
}

fn no_connection_is_lost_when_it_accepts_no_more(rig: &mut Rig) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    let (mut accepted, mut waiting) = (0, 0);
    for _ in 0..50 {
        rig.driver.listen(1, listener.as_raw_fd());
        assert!(rig.driver.accepting());
        clients.extend((0..3).map(|_| TcpStream::connect(address).unwrap()));
        rig.driver.unlisten(1);
        while rig.driver.accepting() {
            rig.wait(super::PATIENCE);
        }
        while let Some(event) = rig.queued.pop_front() {
            assert!(matches!(event, Event::Accepted { .. }), "{event:?}");
            accepted += 1;
        }
        // Whatever was not reported by now is still the listener's.
        listener.set_nonblocking(true).unwrap();
        while listener.accept().is_ok() {
            waiting += 1;
        }
    }
    assert_eq!(accepted + waiting, clients.len());
}

fn says_why_it_can_not_accept(rig: &mut Rig) {
    // A connected socket is no listener; epoll sees that only when there seems to be something to accept.
    let (ours, mut theirs) = pair();
    rig.driver.listen(3, ours.as_raw_fd());
    theirs.write_all(b"x").unwrap();
    match rig.next() {
        Event::AcceptFailed { listener, error } => {
            assert_eq!(listener, 3);
            assert!(error.raw_os_error().is_some(), "{error}");
        }
        other => panic!("{other:?}"),
    }
    rig.nothing_happens();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    rig.driver.listen(3, listener.as_raw_fd());
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    accepted(rig, 3);
}

fn receives_what_was_sent_and_then_the_end(rig: &mut Rig) {
    let (ours, mut theirs) = pair();
    let sent: Vec<u8> = (0..20_000u32).map(|at| (at % 251) as u8).collect();
    rig.driver.recv(ONE, ours.as_raw_fd());
    rig.nothing_happens();
    theirs.write_all(&sent).unwrap();
    let mut got = rig.bytes(ONE);
    while got.len() < sent.len() {
        rig.nothing_happens();
        rig.driver.recv(ONE, ours.as_raw_fd());
        got.extend(rig.bytes(ONE));
    }
    assert_eq!(got, sent);
    theirs.write_all(b"last").unwrap();
    drop(theirs);
    rig.driver.recv(ONE, ours.as_raw_fd());
    assert_eq!(rig.bytes(ONE), b"last");
    for _ in 0..2 {
        rig.driver.recv(ONE, ours.as_raw_fd());
        assert_eq!(rig.bytes(ONE), b"");
    }
    rig.nothing_happens();
}

fn receives_for_many_at_once(rig: &mut Rig) {
    let mut pairs: Vec<_> = (0..300).map(|_| pair()).collect();
    for (number, (ours, theirs)) in pairs.iter_mut().enumerate() {
        rig.driver.recv(Token(number as u64), ours.as_raw_fd());
        theirs.write_all(format!("to {number}").as_bytes()).unwrap();
    }
    let mut seen = vec![false; pairs.len()];
    for _ in &pairs {
        let Event::Received { token, at, len } = rig.next() else {
            panic!("a receive ends in bytes");
        };
        let bytes = rig.take(at, len);
        assert_eq!(bytes, format!("to {}", token.0).as_bytes());
        assert!(!std::mem::replace(&mut seen[token.0 as usize], true));
    }
    rig.nothing_happens();
}

fn leaves_out_what_was_not_taken(rig: &mut Rig) {
    let (ours, mut theirs) = pair();
    // Far more rounds than there are buffers: forgotten ones must have come back.
    for round in 0..2500u32 {
        rig.driver.recv(ONE, ours.as_raw_fd());
        theirs.write_all(&round.to_be_bytes()).unwrap();
        let Event::Received { at, len, .. } = rig.next() else {
            panic!("a receive ends in bytes");
        };
        if round % 7 == 0 {
            assert_eq!(rig.take(at, len), round.to_be_bytes());
        }
    }
}

fn reports_a_reset(rig: &mut Rig) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    rig.driver.recv(ONE, server.as_raw_fd());
    rig.nothing_happens();
    server.write_all(b"never read").unwrap();
    client.peek(&mut [0]).unwrap();
    // A close with bytes unread is a reset.
    drop(client);
    match rig.next() {
        Event::RecvFailed { token, error } => {
            assert_eq!(token, ONE);
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        other => panic!("{other:?}"),
    }
}

fn fill(stream: &mut UnixStream) -> usize {
    let mut filled = 0;
    loop {
        match stream.write(&[9; 8192]) {
            Ok(written) => filled += written,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return filled,
            Err(e) => panic!("{e}"),
        }
    }
}

fn says_once_when_there_is_room(rig: &mut Rig) {
    let (mut own, mut other) = pair();
    for _ in 0..3 {
        let filled = fill(&mut own);
        rig.driver.recv(ONE, own.as_raw_fd());
        rig.driver.writable(ONE, own.as_raw_fd());
        rig.nothing_happens();
        // The promise is one event for one question, however much room there comes to be.
        other.read_exact(&mut vec![0; filled]).unwrap();
        let event = rig.next();
        assert!(matches!(event, Event::Writable { token } if token == ONE));
        rig.nothing_happens();
        other.write_all(b"more").unwrap();
        assert_eq!(rig.bytes(ONE), b"more");
    }
}

fn reports_room_on_a_broken_socket(rig: &mut Rig) {
    let (mut ours, theirs) = pair();
    fill(&mut ours);
    rig.driver.writable(ONE, ours.as_raw_fd());
    rig.nothing_happens();
    drop(theirs);
    let event = rig.next();
    assert!(matches!(event, Event::Writable { token } if token == ONE));
}

fn cancels_what_waits_and_takes_no_byte(rig: &mut Rig) {
    let (mut ours, mut theirs) = pair();
    fill(&mut ours);
    for submitted in [false, true] {
        rig.driver.recv(ONE, ours.as_raw_fd());
        rig.driver.writable(ONE, ours.as_raw_fd());
        if submitted {
            rig.nothing_happens();
        }
        rig.driver.cancel(ONE, ours.as_raw_fd());
        let event = rig.next();
        assert!(
            matches!(event, Event::Cancelled { token } if token == ONE),
            "{event:?}"
        );
        theirs.write_all(b"for somebody else").unwrap();
        rig.nothing_happens();
        let mut read = [0; 17];
        ours.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"for somebody else");
    }
}

fn reports_late_bytes_before_cancelled(rig: &mut Rig) {
    let (mut ours, mut theirs) = pair();
    for round in 0..200u32 {
        rig.driver.recv(ONE, ours.as_raw_fd());
        if round % 2 == 0 {
            rig.nothing_happens();
        }
        theirs.write_all(&round.to_be_bytes()).unwrap();
        rig.driver.cancel(ONE, ours.as_raw_fd());
        let mut got = Vec::new();
        loop {
            match rig.next() {
                Event::Received { at, len, .. } => got.extend(rig.take(at, len)),
                Event::Cancelled { token } => break assert_eq!(token, ONE),
                other => panic!("{other:?}"),
            }
        }
        let mut rest = vec![0; 4 - got.len()];
        ours.read_exact(&mut rest).unwrap();
        got.extend(rest);
        assert_eq!(got, round.to_be_bytes());
    }
    rig.nothing_happens();
}

fn cancels_where_nothing_is_under_way(rig: &mut Rig) {
    let (ours, mut theirs) = pair();
    rig.driver.cancel(ONE, ours.as_raw_fd());
    let event = rig.next();
    assert!(matches!(event, Event::Cancelled { token } if token == ONE));
    rig.driver.recv(TWO, ours.as_raw_fd());
    theirs.write_all(b"hello").unwrap();
    assert_eq!(rig.bytes(TWO), b"hello");
    rig.driver.cancel(TWO, ours.as_raw_fd());
    let event = rig.next();
    assert!(matches!(event, Event::Cancelled { token } if token == TWO));
    rig.nothing_happens();
}

fn knows_a_reused_descriptor_from_its_predecessor(rig: &mut Rig) {
    let mut last = None;
    let mut reused = 0;
    for number in 0..50u64 {
        let (ours, mut theirs) = pair();
        reused += usize::from(last == Some(ours.as_raw_fd()));
        last = Some(ours.as_raw_fd());
        rig.driver.recv(Token(number), ours.as_raw_fd());
        theirs.write_all(&number.to_be_bytes()).unwrap();
        assert_eq!(rig.bytes(Token(number)), number.to_be_bytes());
        // Closed with bytes left over and without a word to the driver, which is allowed.
        theirs.write_all(b"left over").unwrap();
        if number % 2 == 0 {
            rig.nothing_happens();
        }
    }
    // Other tests open descriptors at the same time, so not every number comes again.
    eprintln!("{reused} of 50 descriptors were reused");
}

fn loses_no_wake(rig: &mut Rig) {
    let (sender, receiver) = mpsc::channel();
    let mut heard = 0;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (sender, waker) = (sender.clone(), rig.driver.waker());
            scope.spawn(move || {
                for _ in 0..2000 {
                    sender.send(()).unwrap();
                    waker.wake();
                }
            });
        }
        while heard < 8000 {
            let event = rig.next();
            assert!(matches!(event, Event::Woken), "{event:?}");
            heard += receiver.try_iter().count();
        }
    });
    assert_eq!(heard, 8000);
    // Many wakes before one wait are one event.
    while !rig.queued.is_empty() {
        rig.next();
    }
    rig.wait(Duration::ZERO);
    rig.queued.clear();
    let waker = rig.driver.waker();
    (0..100).for_each(|_| waker.wake());
    rig.nothing_happens();
}

fn returns_in_time_with_nothing(rig: &mut Rig) {
    for timeout_ms in [0, 1, 20] {
        let mut events = Vec::new();
        let timeout = Some(Duration::from_millis(timeout_ms));
        rig.driver.wait(timeout, &mut events).unwrap();
        assert!(events.is_empty(), "{events:?}");
    }
}
