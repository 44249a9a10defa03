//! What happens to a session, what it wants done, and why it ends. The rule: these are words; what follows from them is
//! in [`Session`](super::Session).

use crate::swarm::PeerId;
use crate::swarm::bitfield::{Bitfield, BitfieldError};
use crate::swarm::wire::{Block, WireError};
use crate::time::Time;
use larder_content::{ContentId, PIECE_BYTES};
use std::time::Duration;

/// What a peer may take of us, and how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// From the opening of a connection to the peer's whole handshake. The seed's Telnet test wants a connection that
    /// says nothing to stay open.
    pub silence: Duration,
    /// A peer of which nothing is heard for so long, and that takes no byte either, is gone.
    pub idle: Duration,
    /// After so long without a word a keep-alive is said.
    pub keep_alive: Duration,
    /// A block that was asked for and of which no byte has come for so long is late.
    pub request: Duration,
    /// Requests of a peer that wait for their turn. With so many the peer is not read from until some are answered: so
    /// nothing is lost, and what is in excess waits in its own socket.
    pub requests_max: usize,
    /// Blocks that are asked for at once.
    pub asks_max: usize,
    /// Bytes of a block, at most, in both directions. No block reaches over the end of its piece in any case.
    pub block_bytes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(30),
            idle: Duration::from_secs(150),
            keep_alive: Duration::from_secs(60),
            request: Duration::from_secs(20),
            requests_max: 256,
            asks_max: 256,
            block_bytes_max: PIECE_BYTES,
        }
    }
}

/// A content that is shared, as far as a session has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Bytes in the whole content.
    pub length: u64,
    /// The pieces that the peer may ask for; of as many as the length has.
    pub pieces: Bitfield,
}

/// What has happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The answer to [`Action::Find`]: what is shared of that content. None: nothing, and the connection is closed
    /// without a word.
    Found(Option<Offer>),
    /// A piece is here and proved: the peer is told, unless it has it.
    Landed(u32),
    /// A piece is on its way in from the origin, and the peer, which is at the other end of a link, is told, unless it has
    /// it.
    Coming(u32),
    /// The peer, which is at the other end of a link, is asked to bring a piece in from the origin.
    Wanted(u32),
    /// The peer may ask for blocks.
    Unchoke,
    /// The peer may not ask for blocks; what it asked for and was not begun is forgotten.
    Choke,
    /// The block of [`Action::Upload`] is begun.
    Uploading,
    /// The socket has taken some bytes of the block at hand.
    Progress,
    /// All of the block at hand was given to the socket.
    Uploaded,
    /// Whether the peer has something that is wanted.
    Want(bool),
    /// A block is wanted of the peer. Without effect where [`Session::may_ask`](super::Session::may_ask) says no.
    Ask(Block),
    /// A block that was asked for is wanted no more: the peer is told, and what comes of it is passed over.
    CallOff(Block),
    /// The peer sends nothing any more. What it asked for before is still answered.
    Ended,
    /// The connection is broken.
    Broken,
    /// The moment of [`Session::deadline`](super::Session::deadline) may have come.
    Tick,
    /// The connection is to end after the block at hand.
    Drain,
    /// The connection is to end now.
    Stop,
    /// The block at hand, or the next one, can not be had any more.
    Lost,
}

/// What is to be done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action<'b> {
    /// Nothing, until something happens or more bytes come.
    Rest,
    /// Send what [`Session::write`](super::Session::write) gives.
    Say,
    /// Look a content up; [`Event::Found`] is to follow. Until then nothing more is read.
    Find {
        /// Which.
        swarm: ContentId,
        /// For whom.
        peer: PeerId,
        /// The end of its handshake.
        suffix: [u8; 4],
    },
    /// Both have said who they are. Once.
    Opened {
        /// Who the other is.
        peer: PeerId,
    },
    /// The peer is interested in what is offered, or no more.
    Interested(bool),
    /// The next block that the peer is to be sent. Where it is begun: [`Event::Uploading`], then what
    /// [`Session::write`](super::Session::write) gives, [`piece_head`](crate::swarm::wire::piece_head) and the bytes are
    /// sent, then [`Event::Uploaded`]. Until it is begun it is named again each time.
    Upload(Block),
    /// The peer has told of all its pieces: see [`Session::theirs`](super::Session::theirs).
    HasPieces,
    /// The peer has one more piece.
    Has(u32),
    /// A piece is on its way to the peer from the origin.
    Coming(u32),
    /// The peer asks us to bring in a piece that is not here.
    Wanted(u32),
    /// The peer answers nothing that was asked for and has not come: ask others for it.
    Choked,
    /// The peer may be asked.
    Unchoked,
    /// Some bytes of a block that was asked for, in order; the last ones where `at` and these are its length.
    Data {
        /// The block.
        block: Block,
        /// How many of its bytes came before.
        at: u32,
        /// These.
        bytes: &'b [u8],
    },
    /// A block that was asked for did not come in time. It was called off.
    Late(Block),
    /// Say that nothing more will be sent (shut down for writing); the peer is given a moment to read the rest.
    Finish,
    /// Close the connection. The last action.
    Close(Why),
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It is not the protocol.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A bitfield is not one of the content.
    #[error(transparent)]
    Bitfield(#[from] BitfieldError),
    /// A peer tells of a piece that the content does not have.
    #[error("it tells of piece {0}, which the content does not have")]
    NoSuchPiece(u32),
    /// A request for nothing, for more than is given at once, or over the end of a piece.
    #[error("it asks for {} bytes at {} of piece {}, which is no block of it", .0.len, .0.offset, .0.piece)]
    NoSuchBlock(Block),
    /// A request for a piece that was not offered.
    #[error("it asks for piece {0}, which was not offered")]
    NotOffered(u32),
    /// Bytes that were not asked for.
    #[error("it sends bytes that were not asked for")]
    Unasked,
    /// The peer answers for another content than it was asked for.
    #[error("it answers for another content")]
    OtherSwarm,
    /// The content is not shared here.
    #[error("its content is not shared here")]
    UnknownSwarm,
    /// The peer is oneself.
    #[error("it is this very peer")]
    Itself,
    /// No handshake in time.
    #[error("no handshake came in time")]
    Silent,
    /// Nothing was heard of it for too long.
    #[error("nothing was heard of it for too long")]
    Idle,
    /// It has taken no byte for too long.
    #[error("it took no byte for too long")]
    Stalled,
    /// A piece that was offered is not there any more: who comes again sees what is.
    #[error("a piece that it asks for is not stored any more")]
    Lost,
    /// The peer has closed.
    #[error("it has closed the connection")]
    Ended,
    /// The connection broke.
    #[error("the connection broke")]
    Broken,
    /// We end it.
    #[error("larder is stopping")]
    Stopped,
}

impl Why {
    /// True where the peer has broken the rules.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        matches!(
            self,
            Self::Wire(_)
                | Self::Bitfield(_)
                | Self::NoSuchPiece(_)
                | Self::NoSuchBlock(_)
                | Self::NotOffered(_)
                | Self::Unasked
                | Self::OtherSwarm
        )
    }
}

/// The earlier of two moments that may come.
pub(super) fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
