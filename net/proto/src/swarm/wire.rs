//! The bytes of the peer protocol: a handshake of 75 bytes, then messages. The rule: nothing but heads is ever held
//! here, at most [`HEAD_BYTES_MAX`] bytes in place; the bytes of pieces and bitfields pass through as they come, so that
//! what a peer announces costs nothing, and how its bytes were cut on the way changes nothing.
//!
//! The form: facts: clients, section 3 (reverse-engineered by several who agree). Decided here: a message of an id that
//! is not known is passed over like those of id 20, since a newer peer may say more than we know; a known id with a
//! length that is not its own ends the connection; a message over [`MESSAGE_BYTES_MAX`] does so as soon as its length is
//! there.
//!
//! One message is larder's own, between appliances that a link joins: that a piece is coming in from the origin. It
//! travels as data to discard (id 20), so that whoever does not know it passes it over.

use super::PeerId;
use larder_content::{ContentId, PIECE_BYTES};

/// Bytes of a handshake as it is sent.
pub const HANDSHAKE_BYTES: usize = 75;

/// The most that a message's length may say: id and what follows it.
pub const MESSAGE_BYTES_MAX: u32 = 0x001f_4000;

/// Bytes before the data of a piece message: length, id, piece, offset.
pub const PIECE_HEAD_BYTES: usize = 13;

/// The most that a decoder holds: a handshake with the long form of its name's length.
pub const HEAD_BYTES_MAX: usize = HANDSHAKE_BYTES + 3;

/// The most pieces of which a bitfield fits into a message.
pub const PIECES_MAX: u32 = (MESSAGE_BYTES_MAX - 1) * 8;

const NAME: &[u8; 14] = b"Swarm protocol";

mod id {
    pub(super) const CHOKE: u8 = 0;
    pub(super) const UNCHOKE: u8 = 1;
    pub(super) const INTERESTED: u8 = 2;
    pub(super) const NOT_INTERESTED: u8 = 3;
    pub(super) const HAVE: u8 = 4;
    pub(super) const BITFIELD: u8 = 5;
    pub(super) const REQUEST: u8 = 6;
    pub(super) const PIECE: u8 = 7;
    pub(super) const CANCEL: u8 = 8;
    pub(super) const DISCARD: u8 = 20;
}

/// What stands before the piece in larder's own messages; the last byte says which message it is.
const COMING: &[u8; 7] = b"larder\x01";
const WANTED: &[u8; 7] = b"larder\x02";

/// The length of such a message: its id, this, and the piece.
const OWN_LENGTH: u32 = 12;

/// What each side says first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handshake {
    /// The content of the swarm, by its HashOfHashes.
    pub swarm: ContentId,
    /// Who is speaking.
    pub peer: PeerId,
    /// What follows the GUID; its meaning is not known. larder shows its group by it, where it belongs to one, and
    /// sends zeros otherwise.
    pub suffix: [u8; 4],
}

impl Handshake {
    /// As it is sent: the name's length in one byte, and the size of pieces in the 8 bytes that one capture shows so.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HANDSHAKE_BYTES] {
        let mut bytes = [0; HANDSHAKE_BYTES];
        // The length of the name, which is 14.
        bytes[0] = 0x0e;
        bytes[1..15].copy_from_slice(NAME);
        bytes[15..23].copy_from_slice(&u64::from(PIECE_BYTES).to_be_bytes());
        bytes[23..55].copy_from_slice(&self.swarm.0);
        bytes[55..71].copy_from_slice(&self.peer.0);
        bytes[71..75].copy_from_slice(&self.suffix);
        bytes
    }

    /// What follows the name.
    fn from_rest(rest: &[u8]) -> Option<Self> {
        Some(Self {
            swarm: ContentId(rest.get(8..40)?.try_into().ok()?),
            peer: PeerId(rest.get(40..56)?.try_into().ok()?),
            suffix: rest.get(56..60)?.try_into().ok()?,
        })
    }
}

/// Some bytes of a piece, as they are asked for and sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Block {
    /// Which piece.
    pub piece: u32,
    /// The first byte in the piece.
    pub offset: u32,
    /// How many bytes.
    pub len: u32,
}

/// A message without the bytes of pieces or bitfields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// Nothing, but that the peer is there.
    KeepAlive,
    /// What was asked for and not sent is forgotten, and nothing more is to be asked for.
    Choke,
    /// Blocks may be asked for.
    Unchoke,
    /// The other has what is wanted.
    Interested,
    /// The other has nothing that is wanted.
    NotInterested,
    /// A piece is there from now on.
    Have(u32),
    /// A block is wanted.
    Request(Block),
    /// A block is wanted no more.
    Cancel(Block),
    /// A piece is on its way in from the origin. Said to appliances at the other end of a link alone.
    Coming(u32),
    /// The other is asked to bring a piece in from the origin, for itself and whoever it is linked to. Said to appliances
    /// at the other end of a link alone.
    Wanted(u32),
}

impl Message {
    /// Writes it to the end of `out`.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::KeepAlive => out.extend_from_slice(&[0; 4]),
            Self::Choke => write_bare(out, id::CHOKE),
            Self::Unchoke => write_bare(out, id::UNCHOKE),
            Self::Interested => write_bare(out, id::INTERESTED),
            Self::NotInterested => write_bare(out, id::NOT_INTERESTED),
            Self::Have(piece) => {
                write_head(out, 5, id::HAVE);
                out.extend_from_slice(&piece.to_be_bytes());
            }
            Self::Request(block) => write_block(out, id::REQUEST, block),
            Self::Cancel(block) => write_block(out, id::CANCEL, block),
            Self::Coming(piece) => write_own(out, COMING, piece),
            Self::Wanted(piece) => write_own(out, WANTED, piece),
        }
    }
}

fn write_head(out: &mut Vec<u8>, length: u32, id: u8) {
    out.extend_from_slice(&length.to_be_bytes());
    out.push(id);
}

fn write_bare(out: &mut Vec<u8>, id: u8) {
    write_head(out, 1, id);
}

fn write_block(out: &mut Vec<u8>, id: u8, block: Block) {
    write_head(out, 13, id);
    for number in [block.piece, block.offset, block.len] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn write_own(out: &mut Vec<u8>, which: &[u8; 7], piece: u32) {
    write_head(out, OWN_LENGTH, id::DISCARD);
    out.extend_from_slice(which);
    out.extend_from_slice(&piece.to_be_bytes());
}

/// Writes a bitfield message. Contents of more than [`PIECES_MAX`] pieces have none.
pub fn write_bitfield(out: &mut Vec<u8>, bytes: &[u8]) {
    if let Ok(length) = u32::try_from(bytes.len())
        && length < MESSAGE_BYTES_MAX
    {
        write_head(out, length + 1, id::BITFIELD);
        out.extend_from_slice(bytes);
    }
}

/// What stands before a block's bytes when it is sent. A block has at most [`MESSAGE_BYTES_MAX`] less 9 bytes.
#[must_use]
pub fn piece_head(block: Block) -> [u8; PIECE_HEAD_BYTES] {
    let mut head = [0; PIECE_HEAD_BYTES];
    head[0..4].copy_from_slice(&block.len.saturating_add(9).to_be_bytes());
    head[4] = id::PIECE;
    head[5..9].copy_from_slice(&block.piece.to_be_bytes());
    head[9..13].copy_from_slice(&block.offset.to_be_bytes());
    head
}

/// What has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Incoming<'b> {
    /// The handshake, once, before anything else.
    Handshake(Handshake),
    /// A message.
    Message(Message),
    /// Some bytes of a bitfield, in order. It is whole where `at` and these are `of`.
    Bitfield {
        /// How many came before.
        at: u32,
        /// How many there are in all.
        of: u32,
        /// These.
        bytes: &'b [u8],
    },
    /// Some bytes of a block, in order. It is whole where `at` and these are the block's length.
    Piece {
        /// Which block.
        block: Block,
        /// How many of its bytes came before.
        at: u32,
        /// These.
        bytes: &'b [u8],
    },
    /// A message to be passed over: of id 20, or of one that is not known. Its bytes are passed over as they come.
    Discard {
        /// Its id.
        id: u8,
    },
}

/// Why what came is not of this protocol. Nothing after it can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The connection does not begin with a handshake.
    #[error("it does not begin with a handshake of the swarm protocol")]
    NotAHandshake,
    /// A message is longer than any may be.
    #[error("a message of {0} bytes; {MESSAGE_BYTES_MAX} are the most")]
    TooLong(u32),
    /// A message has another length than those of its id.
    #[error("a message of id {id} with a length of {length} bytes")]
    Length {
        /// Its id.
        id: u8,
        /// What it says.
        length: u32,
    },
}

/// Reads what a peer says, however it is cut.
#[derive(Clone, Debug)]
pub struct Decoder {
    head: [u8; HEAD_BYTES_MAX],
    held: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Handshake,
    /// Between messages, or in the head of one.
    Head,
    Bitfield {
        at: u32,
        of: u32,
    },
    Piece {
        block: Block,
        at: u32,
    },
    /// So many bytes are to be passed over.
    Discard(u32),
    Broken(WireError),
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// At the beginning of a connection.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            head: [0; HEAD_BYTES_MAX],
            held: 0,
            state: State::Handshake,
        }
    }

    /// True where nothing of a message, or of the handshake, is there yet.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.held == 0 && matches!(self.state, State::Handshake | State::Head)
    }

    /// What comes next in `input`, which is shortened by what was read of it. None: all of it was read, and more is
    /// needed.
    ///
    /// # Errors
    /// Where it is not of this protocol; from then on always.
    pub fn next<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Incoming<'b>>, WireError> {
        loop {
            let step = match self.state {
                State::Handshake => self.handshake(input),
                State::Head => self.message(input),
                State::Bitfield { at, of } => {
                    let bytes = take(input, of - at);
                    let to = at + len_of(bytes);
                    self.state = if to == of {
                        State::Head
                    } else {
                        State::Bitfield { at: to, of }
                    };
                    let is_news = !bytes.is_empty() || of == 0;
                    Ok(is_news.then_some(Incoming::Bitfield { at, of, bytes }))
                }
                State::Piece { block, at } => {
                    let bytes = take(input, block.len - at);
                    let to = at + len_of(bytes);
                    self.state = if to == block.len {
                        State::Head
                    } else {
                        State::Piece { block, at: to }
                    };
                    let is_news = !bytes.is_empty() || block.len == 0;
                    Ok(is_news.then_some(Incoming::Piece { block, at, bytes }))
                }
                State::Discard(left) => {
                    let left = left - len_of(take(input, left));
                    if left == 0 {
                        self.state = State::Head;
                        continue;
                    }
                    self.state = State::Discard(left);
                    Ok(None)
                }
                State::Broken(error) => Err(error),
            };
            return step.inspect_err(|error| self.state = State::Broken(*error));
        }
    }

    /// Holds the first `len` bytes of a head; false where they are not there yet.
    fn hold(&mut self, input: &mut &[u8], len: usize) -> bool {
        let missing = len.saturating_sub(self.held);
        // A head is short, so this fits.
        let bytes = take(input, u32::try_from(missing).unwrap_or(0));
        self.head[self.held..self.held + bytes.len()].copy_from_slice(bytes);
        self.held += bytes.len();
        self.held >= len
    }

    fn number(&self, at: usize) -> u32 {
        let bytes = [
            self.head[at],
            self.head[at + 1],
            self.head[at + 2],
            self.head[at + 3],
        ];
        u32::from_be_bytes(bytes)
    }

    fn block(&self) -> Block {
        Block {
            piece: self.number(5),
            offset: self.number(9),
            len: self.number(13),
        }
    }

    fn handshake<'b>(&mut self, input: &mut &[u8]) -> Result<Option<Incoming<'b>>, WireError> {
        // What does not begin so is told from its first wrong byte on, however few have come.
        self.hold(input, 1);
        let length: &[u8] = match self.head[0] {
            0 => &[0, 0, 0, 0x0e],
            _ => &[0x0e],
        };
        let named = length.len() + NAME.len();
        let whole = self.hold(input, named + 60);
        let begins = length.iter().chain(NAME);
        if !begins
            .zip(&self.head[..self.held])
            .all(|(wanted, got)| wanted == got)
        {
            return Err(WireError::NotAHandshake);
        }
        if !whole {
            return Ok(None);
        }
        let handshake = Handshake::from_rest(&self.head[named..]);
        self.held = 0;
        self.state = State::Head;
        Ok(handshake.map(Incoming::Handshake))
    }

    fn message<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Incoming<'b>>, WireError> {
        if !self.hold(input, 4) {
            return Ok(None);
        }
        let length = self.number(0);
        if length > MESSAGE_BYTES_MAX {
            return Err(WireError::TooLong(length));
        }
        if length == 0 {
            return Ok(self.read(Message::KeepAlive));
        }
        if !self.hold(input, 5) {
            return Ok(None);
        }
        let id = self.head[4];
        let fits = match id {
            id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED => length == 1,
            id::HAVE => length == 5,
            id::REQUEST | id::CANCEL => length == 13,
            id::PIECE => length >= 9,
            _ => true,
        };
        if !fits {
            return Err(WireError::Length { id, length });
        }
        let head_bytes = match id {
            id::HAVE => 9,
            id::REQUEST | id::CANCEL => 17,
            id::PIECE => PIECE_HEAD_BYTES,
            id::DISCARD if length == OWN_LENGTH => 16,
            _ => 5,
        };
        if !self.hold(input, head_bytes) {
            return Ok(None);
        }
        let message = match id {
            id::CHOKE => Message::Choke,
            id::UNCHOKE => Message::Unchoke,
            id::INTERESTED => Message::Interested,
            id::NOT_INTERESTED => Message::NotInterested,
            id::HAVE => Message::Have(self.number(5)),
            id::REQUEST => Message::Request(self.block()),
            id::CANCEL => Message::Cancel(self.block()),
            id::BITFIELD => {
                self.held = 0;
                self.state = State::Bitfield {
                    at: 0,
                    of: length - 1,
                };
                return self.next(input);
            }
            id::PIECE => {
                let block = Block {
                    piece: self.number(5),
                    offset: self.number(9),
                    len: length - 9,
                };
                self.held = 0;
                self.state = State::Piece { block, at: 0 };
                return self.next(input);
            }
            id::DISCARD if length == OWN_LENGTH && self.head[5..12] == *COMING => {
                Message::Coming(self.number(12))
            }
            id::DISCARD if length == OWN_LENGTH && self.head[5..12] == *WANTED => {
                Message::Wanted(self.number(12))
            }
            id::DISCARD if length == OWN_LENGTH => {
                self.held = 0;
                return Ok(Some(Incoming::Discard { id }));
            }
            id => {
                self.held = 0;
                self.state = State::Discard(length - 1);
                return Ok(Some(Incoming::Discard { id }));
            }
        };
        Ok(self.read(message))
    }

    fn read<'b>(&mut self, message: Message) -> Option<Incoming<'b>> {
        self.held = 0;
        Some(Incoming::Message(message))
    }
}

/// At most `len` bytes off the beginning of `input`.
fn take<'b>(input: &mut &'b [u8], len: u32) -> &'b [u8] {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(input.len());
    let (taken, rest) = input.split_at(len);
    *input = rest;
    taken
}

/// Of what [`take`] gave, which fits.
fn len_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
