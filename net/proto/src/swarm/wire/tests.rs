//! The codec against what it wrote itself, cut anywhere, and against garbage.

use super::*;
use proptest::prelude::*;

fn handshake() -> Handshake {
    Handshake {
        swarm: ContentId([0xc3; 32]),
        peer: PeerId([0x5a; 16]),
        suffix: [1, 2, 3, 4],
    }
}

/// An event that owns what it brings, with the bytes of one message joined.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Heard {
    Handshake(Handshake),
    Message(Message),
    Bitfield(u32, Vec<u8>),
    Piece(Block, Vec<u8>),
    Discard(u8),
}

/// Reads parts of a stream one after the other.
fn read(parts: &[&[u8]]) -> (Vec<Heard>, Option<WireError>) {
    let (mut decoder, mut heard) = (Decoder::new(), Vec::new());
    for part in parts {
        let mut input = *part;
        loop {
            match decoder.next(&mut input) {
                Ok(None) => break,
                Ok(Some(incoming)) => hear(&mut heard, incoming),
                Err(error) => {
                    let again = decoder.next(&mut input);
                    assert_eq!(again, Err(error), "what is broken stays so");
                    return (heard, Some(error));
                }
            }
        }
        assert!(input.is_empty(), "all of it is read");
    }
    (heard, None)
}

fn hear(heard: &mut Vec<Heard>, incoming: Incoming<'_>) {
    match incoming {
        Incoming::Handshake(handshake) => heard.push(Heard::Handshake(handshake)),
        Incoming::Message(message) => heard.push(Heard::Message(message)),
        Incoming::Discard { id } => heard.push(Heard::Discard(id)),
        Incoming::Bitfield { at: 0, of, bytes } => heard.push(Heard::Bitfield(of, bytes.to_vec())),
        Incoming::Piece {
            block,
            at: 0,
            bytes,
        } => heard.push(Heard::Piece(block, bytes.to_vec())),
        Incoming::Bitfield { at, bytes, .. } | Incoming::Piece { at, bytes, .. } => {
            let Some(Heard::Bitfield(_, held) | Heard::Piece(_, held)) = heard.last_mut() else {
                panic!("a message goes on that has not begun");
            };
            assert_eq!(held.len(), at as usize, "in order");
            held.extend_from_slice(bytes);
        }
    }
}

fn block() -> impl Strategy<Value = Block> {
    any::<(u32, u32, u32)>().prop_map(|(piece, offset, len)| Block { piece, offset, len })
}

fn anything() -> impl Strategy<Value = Heard> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        Just(Heard::Message(Message::KeepAlive)),
        Just(Heard::Message(Message::Choke)),
        Just(Heard::Message(Message::Unchoke)),
        Just(Heard::Message(Message::Interested)),
        Just(Heard::Message(Message::NotInterested)),
        any::<u32>().prop_map(|piece| Heard::Message(Message::Have(piece))),
        any::<u32>().prop_map(|piece| Heard::Message(Message::Coming(piece))),
        any::<u32>().prop_map(|piece| Heard::Message(Message::Wanted(piece))),
        block().prop_map(|block| Heard::Message(Message::Request(block))),
        block().prop_map(|block| Heard::Message(Message::Cancel(block))),
        bytes().prop_map(|bytes| Heard::Bitfield(bytes.len() as u32, bytes)),
        (any::<(u32, u32)>(), bytes()).prop_map(|((piece, offset), bytes)| {
            let len = bytes.len() as u32;
            Heard::Piece(Block { piece, offset, len }, bytes)
        }),
        (9_u8..).prop_map(Heard::Discard),
    ]
}

fn written(all: &[Heard], long_name: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if long_name {
        out.extend_from_slice(&[0, 0, 0]);
    }
    out.extend_from_slice(&handshake().to_bytes());
    for heard in all {
        match heard {
            Heard::Handshake(_) => {}
            Heard::Message(message) => message.write(&mut out),
            Heard::Bitfield(_, bytes) => write_bitfield(&mut out, bytes),
            Heard::Piece(block, bytes) => {
                out.extend_from_slice(&piece_head(*block));
                out.extend_from_slice(bytes);
            }
            Heard::Discard(id) => {
                write_head(&mut out, 1 + u32::from(*id), *id);
                out.resize(out.len() + usize::from(*id), 0xee);
            }
        }
    }
    out
}

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_is_cut(
        all in prop::collection::vec(anything(), 0..20),
        long_name in any::<bool>(),
        cuts in prop::collection::vec(1..90_usize, 1..50),
    ) {
        let stream = written(&all, long_name);
        let mut expected = vec![Heard::Handshake(handshake())];
        expected.extend(all);
        prop_assert_eq!(read(&[&stream]), (expected.clone(), None));
        let (mut parts, mut rest) = (Vec::new(), stream.as_slice());
        for cut in cuts.iter().cycle() {
            let (part, left) = rest.split_at((*cut).min(rest.len()));
            parts.push(part);
            rest = left;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(read(&parts), (expected, None));
    }

    /// After a handshake or without one, whole or byte by byte: no panic, and the same end.
    #[test]
    fn garbage_is_the_same_error_however_it_is_cut(
        garbage in prop::collection::vec(any::<u8>(), 0..300),
        shaken in any::<bool>(),
        short in any::<bool>(),
    ) {
        let mut stream = if shaken { handshake().to_bytes().to_vec() } else { Vec::new() };
        if short {
            // A length that is not too much, so that what follows it is looked at.
            stream.extend_from_slice(&[0, 0, 0]);
        }
        stream.extend_from_slice(&garbage);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(read(&[&stream]), read(&bytes));
    }
}

/// As one capture has it (facts: clients 3.1).
#[test]
fn a_handshake_is_75_bytes_in_the_known_order() {
    let bytes = handshake().to_bytes();
    assert_eq!(&bytes[..15], b"\x0eSwarm protocol");
    assert_eq!(&bytes[15..23], &[0, 0, 0, 0, 0, 0x10, 0, 0]);
    assert_eq!(&bytes[23..55], &[0xc3; 32]);
    assert_eq!(&bytes[55..71], &[0x5a; 16]);
    assert_eq!(&bytes[71..], &[1, 2, 3, 4]);
    let mut other = bytes;
    other[15..23].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(read(&[&other]).0, [Heard::Handshake(handshake())]);
}

#[test]
fn what_is_no_handshake_is_told_from_its_first_wrong_byte() {
    for (stream, wrong_at) in [
        (&b"GET / HTTP/1.1\r\n"[..], 0),
        (b"\x13BitTorrent protocol", 0),
        (b"\0\0\x0eS", 2),
        (b"\0\0\0\x0fSwarm protocol", 3),
        (b"\x0eSwarm protoc0l", 13),
    ] {
        assert_eq!(read(&[&stream[..wrong_at]]), (vec![], None));
        let broken = (vec![], Some(WireError::NotAHandshake));
        assert_eq!(read(&[&stream[..=wrong_at]]), broken, "{stream:?}");
    }
}

#[test]
fn a_message_that_is_too_long_ends_with_its_length() {
    let begin = |length: u32| {
        let mut stream = handshake().to_bytes().to_vec();
        stream.extend_from_slice(&length.to_be_bytes());
        stream
    };
    assert_eq!(read(&[&begin(MESSAGE_BYTES_MAX)]).1, None);
    let too_long = MESSAGE_BYTES_MAX + 1;
    assert_eq!(
        read(&[&begin(too_long)]).1,
        Some(WireError::TooLong(too_long))
    );
    assert_eq!(
        read(&[&begin(u32::MAX)]).1,
        Some(WireError::TooLong(u32::MAX))
    );
}

#[test]
fn a_known_message_of_another_length_is_an_error() {
    for (id, lengths) in [
        (0, [2, 5]),
        (3, [2, 9]),
        (4, [1, 6]),
        (6, [12, 14]),
        (7, [1, 8]),
        (8, [1, 17]),
    ] {
        for length in lengths {
            let mut stream = handshake().to_bytes().to_vec();
            write_head(&mut stream, length, id);
            assert_eq!(read(&[&stream]).1, Some(WireError::Length { id, length }));
        }
    }
}

#[test]
fn the_largest_bitfield_fits_into_a_message() {
    let bytes = vec![0; super::super::bitfield::bytes_of(PIECES_MAX) as usize];
    let mut stream = handshake().to_bytes().to_vec();
    write_bitfield(&mut stream, &bytes);
    let (heard, error) = read(&[&stream]);
    assert_eq!((heard.len(), error), (2, None));
    let before = stream.len();
    write_bitfield(&mut stream, &[bytes, vec![0]].concat());
    assert_eq!(stream.len(), before, "a longer one is not written");
}
