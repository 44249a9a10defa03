//! What peers and the coordinator's clients say. The rule: how bytes are cut changes nothing, and a peer costs no more
//! than its limits allow.

use crate::input::{Input, text};
use larder_content::{ContentId, PIECE_BYTES};
use larder_proto::Time;
use larder_proto::swarm::session::{Action, Event, Limits, Offer};
use larder_proto::swarm::wire::{piece_head, write_bitfield};
use larder_proto::swarm::{Bitfield, Block, Decoder, Incoming, PeerId, Session, WireError};
use larder_proto::tracker::Guid;
use larder_proto::tracker::member::{MEMBER_BYTES, Member};
use larder_proto::tracker::message::{JoinRequest, LeaveRequest, PublishRequest};
use larder_proto::tracker::proof::Proof;
use larder_proto::tracker::query::{PolicyQuery, url_key};
use larder_proto::tracker::reach::ReachRequest;
use std::time::Duration;

/// The same messages, whether they come at once or cut in two; and what is written again reads the same.
pub(crate) fn wire(data: &[u8]) {
    let mut input = Input(data);
    let at = usize::from(u16::from_le_bytes(input.bytes())).min(input.0.len());
    let (first, second) = input.0.split_at(at);
    let (whole, error) = decoded(&[input.0]);
    assert_eq!(
        (&whole, error),
        (&decoded(&[first, second]).0, decoded(&[first, second]).1)
    );
    let written: Vec<u8> = whole.iter().flat_map(Said::bytes).collect();
    let again = decoded(&[&written]).0;
    let kept = whole
        .iter()
        .filter(|said| !matches!(said, Said::Discard(_)));
    // What came in part has no end that could be written.
    assert!(
        again
            .iter()
            .zip(kept)
            .all(|(again, kept)| again == kept || kept.is_part())
    );
}

/// One message, of which the parts are put together.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Said {
    Plain(Vec<u8>),
    Bitfield(u32, Vec<u8>),
    Piece(Block, Vec<u8>),
    Discard(u8),
}

impl Said {
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Plain(bytes) => out.extend_from_slice(bytes),
            Self::Bitfield(_, bytes) => write_bitfield(&mut out, bytes),
            Self::Piece(block, bytes) => {
                out.extend_from_slice(&piece_head(*block));
                out.extend_from_slice(bytes);
            }
            Self::Discard(_) => {}
        }
        out
    }

    fn is_part(&self) -> bool {
        match self {
            Self::Bitfield(of, bytes) => bytes.len() < *of as usize,
            Self::Piece(block, bytes) => bytes.len() < block.len as usize,
            _ => false,
        }
    }
}

fn decoded(parts: &[&[u8]]) -> (Vec<Said>, Option<WireError>) {
    let (mut decoder, mut all) = (Decoder::new(), Vec::new());
    for part in parts {
        let mut input = *part;
        loop {
            let incoming = match decoder.next(&mut input) {
                Ok(Some(incoming)) => incoming,
                Ok(None) => break,
                Err(error) => return (all, Some(error)),
            };
            match (incoming, all.last_mut()) {
                (Incoming::Bitfield { at, bytes, .. }, Some(Said::Bitfield(_, held))) if at > 0 => {
                    assert_eq!(held.len(), at as usize);
                    held.extend_from_slice(bytes);
                }
                (Incoming::Piece { block, at, bytes }, Some(Said::Piece(of, held))) if at > 0 => {
                    assert_eq!((held.len(), *of), (at as usize, block));
                    held.extend_from_slice(bytes);
                }
                (Incoming::Handshake(handshake), _) => {
                    all.push(Said::Plain(handshake.to_bytes().to_vec()));
                }
                (Incoming::Message(message), _) => {
                    let mut bytes = Vec::new();
                    message.write(&mut bytes);
                    all.push(Said::Plain(bytes));
                }
                (Incoming::Bitfield { of, bytes, .. }, _) => {
                    all.push(Said::Bitfield(of, bytes.to_vec()));
                }
                (Incoming::Piece { block, bytes, .. }, _) => {
                    all.push(Said::Piece(block, bytes.to_vec()));
                }
                (Incoming::Discard { id }, _) => all.push(Said::Discard(id)),
            }
        }
        assert!(
            input.is_empty(),
            "what is not read is an error or a message"
        );
    }
    (all, None)
}

const ME: PeerId = PeerId([1; 16]);
const SWARM: ContentId = ContentId([9; 32]);
/// Two whole pieces and seven bytes.
const LENGTH: u64 = 2 * PIECE_BYTES as u64 + 7;

fn limits() -> Limits {
    Limits {
        requests_max: 8,
        asks_max: 8,
        ..Limits::default()
    }
}

/// Two sessions that live through the same, of which one hears each stretch of bytes cut in two.
pub(crate) fn session(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let (mut one, mut two) = (Side::new(flags), Side::new(flags));
    let mut now = Time::default();
    while !input.is_empty() && !one.is_over() {
        let tag = input.byte();
        let event = match tag {
            0..0x80 => {
                let cut = usize::from(input.byte());
                let heard = input.take(usize::from(tag) + 1);
                let (first, second) = heard.split_at(cut.min(heard.len()));
                one.hear(&[heard], now);
                two.hear(&[first, second], now);
                assert_eq!(one.told, two.told);
                continue;
            }
            0x80 => Event::Unchoke,
            0x81 => Event::Choke,
            0x82 => Event::Landed(input.byte().into()),
            0x83 => Event::Coming(input.byte().into()),
            0x84 => Event::Want(input.byte() & 1 != 0),
            0x85 => Event::Ask(block(&mut input)),
            0x86 => Event::CallOff(block(&mut input)),
            0x87 => Event::Ended,
            0x88 => Event::Drain,
            0x89 => Event::Lost,
            0x8a => Event::Broken,
            _ => {
                now = now + Duration::from_secs(u64::from(tag & 0x7f));
                Event::Tick
            }
        };
        for side in [&mut one, &mut two] {
            side.session.apply(event.clone(), &limits(), now);
            side.hear(&[], now);
        }
        assert_eq!(one.told, two.told);
    }
}

fn block(input: &mut Input<'_>) -> Block {
    Block {
        piece: input.byte().into(),
        offset: u32::from(input.byte()) << 12,
        len: u32::from(u16::from_le_bytes(input.bytes())),
    }
}

/// A session, the bytes that it has not read yet, and what it told.
struct Side {
    session: Session,
    unread: Vec<u8>,
    told: Vec<String>,
    data: Vec<u8>,
}

impl Side {
    fn new(flags: u8) -> Self {
        let now = Time::default();
        let session = match flags & 1 {
            0 => Session::incoming(ME, now),
            _ => Session::outgoing(ME, SWARM, LENGTH, Bitfield::new(3), now),
        };
        Self {
            session,
            unread: Vec::new(),
            told: Vec::new(),
            data: Vec::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.told
            .last()
            .is_some_and(|told| told.starts_with("Close"))
    }

    /// Does what the session wants done, first with what is left unread and then with each part.
    fn hear(&mut self, parts: &[&[u8]], now: Time) {
        let limits = limits();
        for part in [&[][..]].iter().chain(parts) {
            self.unread.extend_from_slice(part);
            let bytes = std::mem::take(&mut self.unread);
            let mut rest = &bytes[..];
            loop {
                assert!(self.session.requests() <= limits.requests_max);
                assert!(self.session.asked() <= limits.asks_max);
                assert!(self.session.theirs().count() <= 3);
                match self.session.next(&mut rest, &limits, now) {
                    Action::Rest => break,
                    // When it speaks depends on how it is spoken to.
                    Action::Say => self.session.write(&mut Vec::new(), now),
                    Action::Upload(block) => {
                        assert!(block.len > 0 && block.piece < 3);
                        self.session.apply(Event::Uploading, &limits, now);
                        self.session.write(&mut Vec::new(), now);
                        self.session.apply(Event::Uploaded, &limits, now);
                    }
                    Action::Data { bytes, .. } => self.data.extend_from_slice(bytes),
                    action @ Action::Find { .. } => {
                        self.told.push(format!("{action:?}"));
                        let pieces = Bitfield::full(3);
                        let offer = Offer {
                            length: LENGTH,
                            pieces,
                        };
                        let found = Event::Found(Some(offer));
                        self.session.apply(found, &limits, now);
                    }
                    action => self.told.push(format!("{action:?}")),
                }
            }
            self.unread = rest.to_vec();
        }
        self.told.push(format!("{} bytes of data", self.data.len()));
    }
}

/// Every message that the coordinator takes: what was read is written so that it is read again.
pub(crate) fn tracker(data: &[u8]) {
    fn again<T: serde::Serialize + PartialEq + std::fmt::Debug, E: std::fmt::Debug>(
        parse: fn(&[u8]) -> Result<T, E>,
        data: &[u8],
    ) {
        if let Ok(message) = parse(data) {
            let written = serde_json::to_vec(&message).expect("it can be written");
            assert_eq!(parse(&written).expect("it can be read again"), message);
        }
    }
    again(JoinRequest::parse, data);
    again(LeaveRequest::parse, data);
    again(PublishRequest::parse, data);
    again(ReachRequest::parse, data);
    if let Some(member) = data.get(..MEMBER_BYTES).and_then(Member::decode) {
        assert_eq!(Member::decode(&member.encode()), Some(member));
    }
    let Some(text) = text(data) else {
        return;
    };
    if let Ok(query) = PolicyQuery::parse(text) {
        let target = query.target();
        let (_, written) = target.split_once('?').expect("a query");
        assert_eq!(PolicyQuery::parse(written).as_ref(), Ok(&query));
    }
    if let Some(proof) = Proof::parse(text) {
        assert_eq!(Proof::parse(&proof.header()), Some(proof));
    }
    if let Ok(guid) = text.parse::<Guid>() {
        assert_eq!(guid.to_string().parse(), Ok(guid));
    }
    let _ = url_key(text);
}
