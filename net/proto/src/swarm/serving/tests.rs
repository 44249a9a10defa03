//! What a served connection wants done around its socket.

use super::*;
use crate::http::conn::{Failure, Remedy};
use crate::swarm::bitfield::Bitfield;
use crate::swarm::session::Offer;
use crate::swarm::wire::{Handshake, Message};
use larder_content::PIECE_BYTES;

const ME: PeerId = PeerId([1; 16]);
const STALL: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Time {
    Time::from_micros(seconds * 1_000_000)
}

fn limits() -> Limits {
    Limits::default()
}

fn hello() -> Vec<u8> {
    let handshake = Handshake {
        swarm: ContentId([9; 32]),
        peer: PeerId([2; 16]),
        suffix: [0; 4],
    };
    handshake.to_bytes().to_vec()
}

fn block(offset: u32) -> Block {
    Block {
        piece: 0,
        offset,
        len: 16_384,
    }
}

/// The next action, with bytes that came.
fn hears(serving: &mut Serving, bytes: &[u8]) -> Action {
    let mut input = bytes;
    let action = serving.next(&mut input, &limits(), at(1));
    assert!(input.is_empty());
    action
}

fn rests(serving: &mut Serving) -> Action {
    hears(serving, &[])
}

fn tell(serving: &mut Serving, event: Event) {
    serving.apply(event, &limits(), STALL, at(1));
}

/// Has shaken hands, said so, and may ask.
fn opened() -> Serving {
    let mut serving = Serving::new(ME, at(0));
    assert_eq!(rests(&mut serving), Action::Receive);
    tell(&mut serving, Event::Received);
    assert!(matches!(hears(&mut serving, &hello()), Action::Find { .. }));
    let pieces = Bitfield::full(1);
    let length = u64::from(PIECE_BYTES);
    let found = session::Event::Found(Some(Offer { length, pieces }));
    serving.session_mut().apply(found, &limits(), at(1));
    serving
        .session_mut()
        .apply(session::Event::Unchoke, &limits(), at(1));
    assert!(matches!(rests(&mut serving), Action::Opened { .. }));
    assert_eq!(rests(&mut serving), Action::Say);
    say(&mut serving);
    assert_eq!(rests(&mut serving), Action::Send);
    tell(&mut serving, Event::Done);
    assert_eq!(rests(&mut serving), Action::Receive);
    assert_eq!(rests(&mut serving), Action::Rest);
    serving
}

fn say(serving: &mut Serving) {
    serving.session_mut().write(&mut Vec::new(), at(1));
    tell(serving, Event::Answering { keep_alive: true });
}

/// Asks for two blocks, and is at the first.
fn busy() -> Serving {
    let mut serving = opened();
    tell(&mut serving, Event::Received);
    let mut asks = Vec::new();
    Message::Request(block(0)).write(&mut asks);
    Message::Request(block(16_384)).write(&mut asks);
    assert_eq!(hears(&mut serving, &asks[..17]), Action::Interested(true));
    assert_eq!(hears(&mut serving, &asks[17..]), Action::Begin(block(0)));
    say(&mut serving);
    assert!(serving.is_followed());
    serving
}

#[test]
fn it_is_read_from_while_it_is_sent_to() {
    let mut serving = busy();
    assert_eq!(rests(&mut serving), Action::Send);
    tell(&mut serving, Event::Full);
    assert_eq!(rests(&mut serving), Action::AwaitRoom);
    assert_eq!(rests(&mut serving), Action::Receive);
    assert_eq!(rests(&mut serving), Action::Rest);
    let mut cancel = Vec::new();
    Message::Cancel(block(16_384)).write(&mut cancel);
    tell(&mut serving, Event::Received);
    assert_eq!(hears(&mut serving, &cancel), Action::Receive);
    assert!(!serving.is_followed());
    tell(&mut serving, Event::Room);
    assert_eq!(rests(&mut serving), Action::Send);
    tell(&mut serving, Event::Done);
    assert_eq!(rests(&mut serving), Action::Rest);
}

#[test]
fn a_peer_that_takes_nothing_is_left() {
    let mut serving = busy();
    tell(&mut serving, Event::Full);
    assert_eq!(serving.deadline(&limits(), STALL), Some(at(61)));
    assert_eq!(rests(&mut serving), Action::AwaitRoom);
    let tick = |serving: &mut Serving, now| serving.apply(Event::Tick, &limits(), STALL, now);
    tick(&mut serving, at(60));
    assert_eq!(rests(&mut serving), Action::Receive);
    tick(&mut serving, at(61));
    assert_eq!(rests(&mut serving), Action::Cancel);
    assert_eq!(rests(&mut serving), Action::Rest);
    tell(&mut serving, Event::Cancelled);
    assert_eq!(rests(&mut serving), Action::Close(Why::Stalled));
    assert_eq!(rests(&mut serving), Action::Rest);
}

#[test]
fn a_piece_that_is_gone_ends_it() {
    let mut serving = busy();
    let failure = Failure {
        status: 404,
        reason: "gone",
        remedy: Remedy::None,
    };
    tell(&mut serving, Event::Failed(failure));
    assert_eq!(rests(&mut serving), Action::Close(Why::Lost));
}

#[test]
fn words_leave_before_the_end_is_said() {
    let mut serving = opened();
    serving
        .session_mut()
        .apply(session::Event::Choke, &limits(), at(1));
    assert_eq!(rests(&mut serving), Action::Say);
    say(&mut serving);
    tell(&mut serving, Event::Full);
    tell(&mut serving, Event::Drain);
    assert_eq!(rests(&mut serving), Action::AwaitRoom);
    assert_eq!(rests(&mut serving), Action::Rest);
    tell(&mut serving, Event::Room);
    assert_eq!(rests(&mut serving), Action::Send);
    tell(&mut serving, Event::Done);
    assert_eq!(rests(&mut serving), Action::FinishSending);
    assert_eq!(rests(&mut serving), Action::Rest);
    tell(&mut serving, Event::Ended);
    assert_eq!(rests(&mut serving), Action::Close(Why::Ended));
}

/// Each change of interest is answered by a choke or an unchoke.
#[test]
fn who_talks_and_does_not_listen_is_not_listened_to() {
    let mut serving = opened();
    let mut talk = Vec::new();
    for _ in 0..50_000 {
        Message::Interested.write(&mut talk);
        Message::NotInterested.write(&mut talk);
    }
    let (mut input, mut unsaid) = (talk.as_slice(), Vec::new());
    loop {
        match serving.next(&mut input, &limits(), at(1)) {
            Action::Interested(wants) => {
                let event = match wants {
                    true => session::Event::Unchoke,
                    false => session::Event::Choke,
                };
                serving.session_mut().apply(event, &limits(), at(1));
            }
            Action::Say => {
                serving.session_mut().write(&mut unsaid, at(1));
                tell(&mut serving, Event::Answering { keep_alive: true });
            }
            Action::Send => tell(&mut serving, Event::Full),
            Action::AwaitRoom => {}
            Action::Rest => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(input.len() > talk.len() / 2, "{} are left", input.len());
    assert!(unsaid.len() < 200 << 10, "{}", unsaid.len());
    // What it has not read ends it.
    serving.apply(Event::Tick, &limits(), STALL, at(61));
    assert_eq!(serving.next(&mut input, &limits(), at(61)), Action::Cancel);
}

#[test]
fn a_receive_that_is_under_way_is_called_off_before_the_end() {
    let mut serving = opened();
    tell(&mut serving, Event::Stop);
    assert_eq!(rests(&mut serving), Action::Cancel);
    assert_eq!(rests(&mut serving), Action::Rest);
    tell(&mut serving, Event::Cancelled);
    assert_eq!(rests(&mut serving), Action::Close(Why::Stopped));
}

#[test]
fn a_stop_waits_for_nothing_but_the_socket() {
    let mut serving = busy();
    tell(&mut serving, Event::Full);
    assert_eq!(rests(&mut serving), Action::AwaitRoom);
    tell(&mut serving, Event::Stop);
    assert_eq!(rests(&mut serving), Action::Cancel);
    tell(&mut serving, Event::Cancelled);
    assert_eq!(rests(&mut serving), Action::Close(Why::Stopped));
}
