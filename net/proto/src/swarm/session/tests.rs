//! Sessions by a table of what must follow from what, and two of them against each other over a stream cut anywhere.

use super::*;
use crate::swarm::wire::{MESSAGE_BYTES_MAX, WireError, piece_head};
use larder_content::PIECE_BYTES;
use proptest::prelude::*;

const ME: PeerId = PeerId([1; 16]);
const OTHER: PeerId = PeerId([2; 16]);
const SWARM: ContentId = ContentId([9; 32]);
/// Two whole pieces and seven bytes.
const LENGTH: u64 = 2 * PIECE_BYTES as u64 + 7;
const LIMITS: Limits = Limits {
    silence: Duration::from_secs(30),
    idle: Duration::from_secs(150),
    keep_alive: Duration::from_secs(60),
    request: Duration::from_secs(20),
    requests_max: 8,
    asks_max: 8,
    block_bytes_max: PIECE_BYTES,
};

fn at(seconds: u64) -> Time {
    Time::from_micros(seconds * 1_000_000)
}

fn block(piece: u32, offset: u32, len: u32) -> Block {
    Block { piece, offset, len }
}

fn greeting(swarm: ContentId, peer: PeerId) -> Vec<u8> {
    let suffix = [0; 4];
    let handshake = Handshake {
        swarm,
        peer,
        suffix,
    };
    handshake.to_bytes().to_vec()
}

fn bytes_of_all(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        message.write(&mut bytes);
    }
    bytes
}

/// What a session does about these bytes, until it rests; what it says is taken and given back.
fn hears<'b>(session: &mut Session, bytes: &'b [u8], now: Time) -> (Vec<Action<'b>>, Vec<u8>) {
    let (mut input, mut actions, mut said) = (bytes, Vec::new(), Vec::new());
    loop {
        match session.next(&mut input, &LIMITS, now) {
            Action::Rest => return (actions, said),
            Action::Say => session.write(&mut said, now),
            action => {
                actions.push(action);
                match action {
                    Action::Find { .. } => {
                        let found = Event::Found(Some(offer(&[0, 2])));
                        session.apply(found, &LIMITS, now);
                    }
                    Action::Upload(block) => {
                        session.apply(Event::Uploading, &LIMITS, now);
                        session.write(&mut said, now);
                        said.extend_from_slice(&piece_head(block));
                        session.apply(Event::Uploaded, &LIMITS, now);
                    }
                    Action::Close(_) => return (actions, said),
                    _ => {}
                }
            }
        }
    }
}

fn offer(pieces: &[u32]) -> Offer {
    let mut held = Bitfield::new(3);
    for piece in pieces {
        held.set(*piece);
    }
    Offer {
        length: LENGTH,
        pieces: held,
    }
}

/// A session that somebody else opened, and that has answered.
fn served() -> Session {
    let mut session = Session::incoming(ME, at(0));
    let hello = greeting(SWARM, OTHER);
    let (actions, said) = hears(&mut session, &hello, at(1));
    let peer = OTHER;
    assert_eq!(
        actions,
        [
            Action::Find {
                swarm: SWARM,
                peer,
                suffix: [0; 4]
            },
            Action::Opened { peer }
        ]
    );
    let mut expected = greeting(SWARM, ME);
    write_bitfield(&mut expected, &[0b1010_0000]);
    assert_eq!(said, expected);
    session
}

/// A session that we opened, with a peer that has pieces 0 and 2 and lets us ask.
fn asking() -> Session {
    let mut session = Session::outgoing(ME, SWARM, LENGTH, Bitfield::new(3), at(0));
    assert_eq!(
        hears(&mut session, &[], at(0)),
        (vec![], greeting(SWARM, ME))
    );
    let mut answer = greeting(SWARM, OTHER);
    write_bitfield(&mut answer, &[0b1010_0000]);
    Message::Unchoke.write(&mut answer);
    let (actions, said) = hears(&mut session, &answer, at(1));
    let peer = OTHER;
    assert_eq!(
        actions,
        [Action::Opened { peer }, Action::HasPieces, Action::Unchoked]
    );
    assert!(said.is_empty());
    session
}

fn ends(session: &mut Session, bytes: &[u8]) -> Why {
    match hears(session, bytes, at(2)).0.last() {
        Some(Action::Close(why)) => *why,
        other => panic!("it goes on after {other:?}"),
    }
}

#[test]
fn who_is_asked_for_what_is_not_shared_says_nothing() {
    let mut session = Session::incoming(ME, at(0));
    let hello = greeting(SWARM, OTHER);
    let mut input = hello.as_slice();
    let found = session.next(&mut input, &LIMITS, at(0));
    assert!(matches!(found, Action::Find { .. }));
    assert_eq!(session.next(&mut input, &LIMITS, at(0)), Action::Rest);
    session.apply(Event::Found(None), &LIMITS, at(0));
    let (actions, said) = hears(&mut session, &[], at(0));
    assert_eq!(
        (actions, said),
        (vec![Action::Close(Why::UnknownSwarm)], vec![])
    );
}

#[test]
fn oneself_and_others_are_told_apart() {
    let hello = greeting(SWARM, ME);
    assert_eq!(ends(&mut Session::incoming(ME, at(0)), &hello), Why::Itself);
    let mut session = Session::outgoing(ME, SWARM, LENGTH, Bitfield::new(3), at(0));
    let hello = greeting(ContentId([8; 32]), OTHER);
    assert_eq!(ends(&mut session, &hello), Why::OtherSwarm);
}

#[test]
fn a_block_is_asked_for_and_sent_after_the_unchoke() {
    let mut session = served();
    let wanted = block(2, 0, 7);
    let hello = bytes_of_all(&[Message::Interested]);
    assert_eq!(
        hears(&mut session, &hello, at(2)).0,
        [Action::Interested(true)]
    );
    session.apply(Event::Unchoke, &LIMITS, at(2));
    let ask = bytes_of_all(&[Message::Request(wanted)]);
    let (actions, said) = hears(&mut session, &ask, at(2));
    assert_eq!(actions, [Action::Upload(wanted)]);
    let mut expected = bytes_of_all(&[Message::Unchoke]);
    expected.extend_from_slice(&piece_head(wanted));
    assert_eq!(said, expected, "what is to be said comes before the block");
}

#[test]
fn who_asks_too_early_is_answered_with_the_unchoke_and_not_after_a_choke() {
    let mut session = served();
    let wanted = block(0, 0, 16384);
    let ask = bytes_of_all(&[Message::Request(wanted)]);
    assert_eq!(
        hears(&mut session, &ask, at(2)).0,
        [Action::Interested(true)]
    );
    session.apply(Event::Unchoke, &LIMITS, at(2));
    assert_eq!(hears(&mut session, &[], at(2)).0, [Action::Upload(wanted)]);
    session.apply(Event::Choke, &LIMITS, at(2));
    assert_eq!(
        hears(&mut session, &ask, at(2)),
        (vec![], bytes_of_all(&[Message::Choke]))
    );
    session.apply(Event::Unchoke, &LIMITS, at(3));
    assert_eq!(
        hears(&mut session, &[], at(3)).0,
        [],
        "what was choked away is forgotten"
    );
}

#[test]
fn what_is_in_excess_waits_in_the_socket() {
    let mut session = served();
    let wanted = [Message::Request(block(0, 0, 1)); 20];
    let ask = bytes_of_all(&wanted);
    let mut input = ask.as_slice();
    assert_eq!(
        session.next(&mut input, &LIMITS, at(2)),
        Action::Interested(true)
    );
    assert_eq!(session.next(&mut input, &LIMITS, at(2)), Action::Rest);
    assert_eq!(input.len(), ask.len() / 20 * 12);
    assert!(!session.reads(&LIMITS));
    session.apply(Event::Unchoke, &LIMITS, at(2));
    let mut sent = 0;
    while let Action::Upload(_) = session.next(&mut input, &LIMITS, at(2)) {
        session.apply(Event::Uploading, &LIMITS, at(2));
        session.apply(Event::Uploaded, &LIMITS, at(2));
        sent += 1;
    }
    assert_eq!((sent, input.len()), (20, 0));
}

#[test]
fn a_cancelled_request_is_not_answered() {
    let mut session = served();
    let (first, second) = (block(0, 0, 16384), block(0, 16384, 16384));
    let ask = [
        Message::Request(first),
        Message::Request(second),
        Message::Cancel(first),
    ];
    hears(&mut session, &bytes_of_all(&ask), at(2));
    session.apply(Event::Unchoke, &LIMITS, at(2));
    assert_eq!(hears(&mut session, &[], at(2)).0, [Action::Upload(second)]);
}

#[test]
fn requests_for_what_there_is_not_end_the_session() {
    let piece = PIECE_BYTES;
    for (wanted, why) in [
        (block(0, 0, 0), None),
        (block(0, 1, piece), None),
        (block(0, u32::MAX, 2), None),
        (block(2, 0, 8), None),
        (block(3, 0, 1), None),
        (block(u32::MAX, 0, 1), None),
        (block(1, 0, 1), Some(Why::NotOffered(1))),
    ] {
        let ask = bytes_of_all(&[Message::Request(wanted)]);
        let why = why.unwrap_or(Why::NoSuchBlock(wanted));
        assert_eq!(ends(&mut served(), &ask), why);
        assert!(why.is_fault());
    }
    // A block reaches to the end of its piece, and is as large as one.
    let ask = bytes_of_all(&[block(0, 0, piece), block(2, 6, 1)].map(Message::Request));
    assert_eq!(
        hears(&mut served(), &ask, at(2)).0,
        [Action::Interested(true)]
    );
}

#[test]
fn lies_about_pieces_end_the_session() {
    let have = bytes_of_all(&[Message::Have(3)]);
    assert_eq!(ends(&mut served(), &have), Why::NoSuchPiece(3));
    let mut spare = Vec::new();
    write_bitfield(&mut spare, &[0b0001_0000]);
    assert!(matches!(ends(&mut served(), &spare), Why::Bitfield(_)));
    let mut long = Vec::new();
    write_bitfield(&mut long, &[0, 0]);
    assert!(matches!(ends(&mut served(), &long), Why::Bitfield(_)));
    let length = (MESSAGE_BYTES_MAX + 1).to_be_bytes();
    let too_long = WireError::TooLong(MESSAGE_BYTES_MAX + 1);
    assert_eq!(ends(&mut served(), &length), Why::Wire(too_long));
    let unasked = piece_head(block(0, 0, 16384));
    let with_bytes = [unasked.as_slice(), &[0]].concat();
    assert_eq!(ends(&mut served(), &with_bytes), Why::Unasked);
}

#[test]
fn a_landed_piece_is_told_to_who_has_it_not() {
    let mut session = served();
    hears(&mut session, &bytes_of_all(&[Message::Have(1)]), at(2));
    session.apply(Event::Landed(1), &LIMITS, at(2));
    session.apply(Event::Landed(0), &LIMITS, at(2));
    assert!(hears(&mut session, &[], at(2)).1.is_empty());
    let ask = bytes_of_all(&[Message::Request(block(1, 0, 1))]);
    assert_eq!(
        hears(&mut session, &ask, at(2)).0,
        [Action::Interested(true)]
    );
    let mut other = Session::incoming(ME, at(0));
    hears(&mut other, &greeting(SWARM, OTHER), at(0));
    other.apply(Event::Landed(1), &LIMITS, at(2));
    assert_eq!(
        hears(&mut other, &[], at(2)).1,
        bytes_of_all(&[Message::Have(1)])
    );
}

#[test]
fn what_lands_while_the_content_is_looked_up_is_told_with_the_rest() {
    let mut session = Session::incoming(ME, at(0));
    let hello = greeting(SWARM, OTHER);
    let mut input = hello.as_slice();
    assert!(matches!(
        session.next(&mut input, &LIMITS, at(0)),
        Action::Find { .. }
    ));
    session.apply(Event::Landed(1), &LIMITS, at(0));
    session.apply(Event::Found(Some(offer(&[0]))), &LIMITS, at(0));
    let mut expected = greeting(SWARM, ME);
    write_bitfield(&mut expected, &[0b1100_0000]);
    assert_eq!(hears(&mut session, &[], at(0)).1, expected);
}

#[test]
fn silence_ends_after_its_time_and_keep_alives_are_said() {
    let mut session = Session::incoming(ME, at(0));
    assert_eq!(session.deadline(&LIMITS), Some(at(30)));
    session.apply(Event::Tick, &LIMITS, at(29));
    // A half of a handshake is no more than silence.
    assert_eq!(hears(&mut session, b"\x0eSwarm", at(29)).0, []);
    session.apply(Event::Tick, &LIMITS, at(30));
    assert_eq!(
        hears(&mut session, &[], at(30)).0,
        [Action::Close(Why::Silent)]
    );
    let mut session = served();
    assert_eq!(session.deadline(&LIMITS), Some(at(61)));
    session.apply(Event::Tick, &LIMITS, at(61));
    assert_eq!(hears(&mut session, &[], at(61)), (vec![], vec![0; 4]));
    session.apply(Event::Tick, &LIMITS, at(150));
    hears(&mut session, &[], at(150));
    assert_eq!(session.deadline(&LIMITS), Some(at(151)));
    session.apply(Event::Tick, &LIMITS, at(151));
    assert_eq!(
        hears(&mut session, &[], at(151)).0,
        [Action::Close(Why::Idle)]
    );
}

#[test]
fn a_drain_ends_after_the_block_at_hand() {
    let mut session = served();
    let ask = bytes_of_all(&[block(0, 0, 1), block(0, 1, 1)].map(Message::Request));
    let mut input = ask.as_slice();
    session.apply(Event::Unchoke, &LIMITS, at(2));
    assert_eq!(
        session.next(&mut input, &LIMITS, at(2)),
        Action::Interested(true)
    );
    assert_eq!(
        session.next(&mut input, &LIMITS, at(2)),
        Action::Upload(block(0, 0, 1))
    );
    session.apply(Event::Uploading, &LIMITS, at(2));
    session.apply(Event::Drain, &LIMITS, at(2));
    assert_eq!(hears(&mut session, &ask, at(2)).0, []);
    session.apply(Event::Uploaded, &LIMITS, at(3));
    assert_eq!(hears(&mut session, &[], at(3)).0, [Action::Finish]);
    session.apply(Event::Ended, &LIMITS, at(4));
    assert_eq!(
        hears(&mut session, &[], at(4)).0,
        [Action::Close(Why::Ended)]
    );
    let mut silent = Session::incoming(ME, at(0));
    silent.apply(Event::Drain, &LIMITS, at(1));
    assert_eq!(
        hears(&mut silent, &[], at(1)).0,
        [Action::Close(Why::Stopped)]
    );
}

#[test]
fn a_block_comes_that_was_asked_for() {
    let mut session = asking();
    let wanted = block(0, 16384, 4);
    for bad in [block(1, 0, 1), block(2, 0, 8), block(0, 0, 0)] {
        assert!(!session.may_ask(bad, &LIMITS), "{bad:?}");
    }
    session.apply(Event::Want(true), &LIMITS, at(2));
    session.apply(Event::Ask(wanted), &LIMITS, at(2));
    let said = hears(&mut session, &[], at(2)).1;
    assert_eq!(
        said,
        bytes_of_all(&[Message::Interested, Message::Request(wanted)])
    );
    let answer = [&piece_head(wanted)[..], b"1234"].concat();
    let (actions, _) = hears(&mut session, &answer, at(3));
    let data = Action::Data {
        block: wanted,
        at: 0,
        bytes: b"1234",
    };
    assert_eq!(actions, [data]);
    assert_eq!(session.asked(), 0);
    assert_eq!(ends(&mut session, &answer), Why::Unasked);
}

#[test]
fn a_peer_that_asks_us_where_we_ask_is_not_answered() {
    let mut session = asking();
    session.apply(Event::Landed(1), &LIMITS, at(2));
    session.apply(Event::Unchoke, &LIMITS, at(2));
    let ask = bytes_of_all(&[Message::Interested, Message::Request(block(1, 0, 1))]);
    let (actions, said) = hears(&mut session, &ask, at(2));
    assert_eq!(actions, [Action::Interested(true)]);
    assert_eq!(said, bytes_of_all(&[Message::Have(1)]));
}

#[test]
fn what_was_called_off_or_choked_away_is_passed_over_once() {
    let mut session = asking();
    let (first, second, third) = (block(0, 0, 4), block(0, 4, 4), block(0, 8, 4));
    for wanted in [first, second, third] {
        session.apply(Event::Ask(wanted), &LIMITS, at(2));
    }
    hears(&mut session, &[], at(2));
    let answer = |wanted: Block| [&piece_head(wanted)[..], b"1234"].concat();
    // In the middle of the first, the second is called off: that is nothing to the first.
    let bytes = answer(first);
    assert_eq!(hears(&mut session, &bytes[..15], at(2)).0.len(), 1);
    session.apply(Event::CallOff(second), &LIMITS, at(2));
    let (actions, said) = hears(&mut session, &bytes[15..], at(2));
    assert!(
        matches!(actions[..], [Action::Data { at: 2, .. }]),
        "{actions:?}"
    );
    assert_eq!(said, bytes_of_all(&[Message::Cancel(second)]));
    assert_eq!(hears(&mut session, &answer(second), at(2)).0, []);
    // In the middle of the third, the third.
    let bytes = answer(third);
    assert_eq!(hears(&mut session, &bytes[..15], at(2)).0.len(), 1);
    session.apply(Event::CallOff(third), &LIMITS, at(2));
    assert_eq!(hears(&mut session, &bytes[15..], at(2)).0, []);
    session.apply(Event::Ask(first), &LIMITS, at(3));
    let choke = bytes_of_all(&[Message::Choke]);
    assert_eq!(hears(&mut session, &choke, at(3)).0, [Action::Choked]);
    assert!(!session.may_ask(first, &LIMITS));
    assert_eq!(hears(&mut session, &answer(first), at(3)).0, []);
    assert_eq!(ends(&mut session, &answer(first)), Why::Unasked);
}

#[test]
fn a_block_is_late_when_nothing_comes() {
    let mut session = asking();
    let (first, second) = (block(0, 0, 4), block(0, 4, 4));
    session.apply(Event::Ask(first), &LIMITS, at(2));
    session.apply(Event::Ask(second), &LIMITS, at(2));
    hears(&mut session, &[], at(2));
    assert_eq!(session.deadline(&LIMITS), Some(at(22)));
    let bytes = [&piece_head(first)[..], b"1234"].concat();
    hears(&mut session, &bytes, at(20));
    session.apply(Event::Tick, &LIMITS, at(39));
    assert_eq!(
        hears(&mut session, &[], at(39)).0,
        [],
        "others came meanwhile"
    );
    session.apply(Event::Tick, &LIMITS, at(40));
    let (actions, said) = hears(&mut session, &[], at(40));
    assert_eq!(actions, [Action::Late(second)]);
    assert_eq!(said, bytes_of_all(&[Message::Cancel(second)]));
}

proptest! {
    /// Whatever comes after the handshake, a session never panics, holds no more requests than it may, and says
    /// nothing after its end.
    #[test]
    fn garbage_costs_no_more_than_its_bound(
        garbage in prop::collection::vec(any::<u8>(), 0..400),
        cut in 1..40_usize,
        ids in prop::collection::vec((0..9_u8, 0..18_u8), 0..40),
    ) {
        let mut bytes = Vec::new();
        for (id, length) in ids {
            bytes.extend_from_slice(&u32::from(length).to_be_bytes());
            bytes.push(id);
            bytes.resize(bytes.len() + usize::from(length).saturating_sub(1), id & 1);
        }
        bytes.extend_from_slice(&garbage);
        let mut session = served();
        for part in bytes.chunks(cut) {
            let (actions, _) = hears(&mut session, part, at(2));
            prop_assert!(session.requests() <= LIMITS.requests_max);
            if let Some(Action::Close(_)) = actions.last() {
                prop_assert_eq!(hears(&mut session, part, at(2)), (vec![], vec![]));
                return Ok(());
            }
        }
    }
}

proptest! {
    // Each case is a whole content.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// One that downloads against one that serves, over a stream that is cut anywhere: every byte arrives, once.
    #[test]
    fn two_sessions_bring_a_content_over(
        block_bytes in prop::sample::select(vec![16_384_u32, 65_536, PIECE_BYTES]),
        cuts in prop::collection::vec(1..200_000_usize, 1..20),
        chokes in prop::collection::vec(any::<bool>(), 1..20),
    ) {
        let content: Vec<u8> = (0..LENGTH).map(|at| (at % 251) as u8).collect();
        let mut seed = Session::incoming(OTHER, at(0));
        let mut leech = Session::outgoing(ME, SWARM, LENGTH, Bitfield::new(3), at(0));
        let mut missing: Vec<Block> = (0..3).flat_map(|piece| {
            let len = piece_len(LENGTH, piece);
            (0..len).step_by(block_bytes as usize).map(move |offset| block(piece, offset, block_bytes.min(len - offset)))
        }).collect();
        let mut got = vec![0; content.len()];
        let (mut to_seed, mut to_leech) = (Vec::new(), Vec::new());
        let (mut cuts, mut chokes) = (cuts.iter().cycle(), chokes.iter().cycle());
        let mut choked_us = false;
        for round in 0..5000 {
            let now = at(round / 1000);
            // What the seed hears and says.
            let sent = to_seed.len().min(*cuts.next().unwrap());
            let part: Vec<u8> = to_seed.drain(..sent).collect();
            let mut input = part.as_slice();
            loop {
                match seed.next(&mut input, &LIMITS, now) {
                    Action::Find { swarm, .. } => {
                        prop_assert_eq!(swarm, SWARM);
                        let offer = Offer { length: LENGTH, pieces: Bitfield::full(3) };
                        seed.apply(Event::Found(Some(offer)), &LIMITS, now);
                    }
                    Action::Interested(true) => seed.apply(Event::Unchoke, &LIMITS, now),
                    Action::Say => seed.write(&mut to_leech, now),
                    Action::Upload(block) => {
                        seed.apply(Event::Uploading, &LIMITS, now);
                        seed.write(&mut to_leech, now);
                        to_leech.extend_from_slice(&piece_head(block));
                        let from = block.piece as usize * PIECE_BYTES as usize + block.offset as usize;
                        to_leech.extend_from_slice(&content[from..from + block.len as usize]);
                        seed.apply(Event::Uploaded, &LIMITS, now);
                    }
                    Action::Rest => break,
                    Action::Opened { .. } | Action::HasPieces | Action::Has(_) | Action::Interested(false) => {}
                    other => prop_assert!(false, "the seed: {other:?}"),
                }
            }
            to_seed.splice(0..0, input.iter().copied());
            if round % 40 == 39 && missing.len() > 1 {
                let event = if *chokes.next().unwrap() { Event::Choke } else { Event::Unchoke };
                seed.apply(event, &LIMITS, now);
            } else if round % 40 == 20 {
                seed.apply(Event::Unchoke, &LIMITS, now);
            }
            // What the leech hears and says.
            let sent = to_leech.len().min(*cuts.next().unwrap());
            let part: Vec<u8> = to_leech.drain(..sent).collect();
            let mut input = part.as_slice();
            loop {
                match leech.next(&mut input, &LIMITS, now) {
                    Action::Opened { peer } => {
                        prop_assert_eq!(peer, OTHER);
                        leech.apply(Event::Want(true), &LIMITS, now);
                    }
                    Action::Data { block, at, bytes } => {
                        let from = block.piece as usize * PIECE_BYTES as usize + (block.offset + at) as usize;
                        got[from..from + bytes.len()].copy_from_slice(bytes);
                        if at as usize + bytes.len() == block.len as usize {
                            let before = missing.len();
                            missing.retain(|held| *held != block);
                            prop_assert_eq!(missing.len(), before - 1, "once");
                        }
                    }
                    Action::Say => leech.write(&mut to_seed, now),
                    Action::Choked => choked_us = true,
                    Action::Unchoked => choked_us = false,
                    Action::Rest => break,
                    Action::HasPieces | Action::Has(_) => {}
                    other => prop_assert!(false, "the leech: {other:?}"),
                }
            }
            prop_assert!(input.is_empty());
            if missing.is_empty() {
                break;
            }
            let asked: Vec<Block> = leech.asked.iter().map(|(block, _)| *block).collect();
            for wanted in missing.iter().filter(|block| !asked.contains(block)).take(8) {
                prop_assert!(!(choked_us && leech.may_ask(*wanted, &LIMITS)));
                leech.apply(Event::Ask(*wanted), &LIMITS, now);
            }
        }
        prop_assert!(missing.is_empty(), "{} blocks are missing", missing.len());
        prop_assert_eq!(got, content);
    }
}
