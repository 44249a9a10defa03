//! What happens to a picker and what it wants done. The rule: these are words; what follows from them is in
//! [`Picker`](super::Picker).

use crate::Time;
use crate::swarm::{Bitfield, Block, PeerId};
use crate::tracker::message::PeerType;
use std::net::IpAddr;
use std::time::Duration;

/// Names one connection to a peer for as long as the picker lives; whoever opens connections counts them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PeerNo(pub u64);

/// Whom to blame: who a peer says it is, and where it was reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Who {
    /// As in its handshake.
    pub id: PeerId,
    /// Where its connection leads.
    pub address: IpAddr,
}

/// A peer to whom a connection was opened, both having said who they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Newcomer {
    /// Who it is.
    pub who: Who,
    /// How near it is.
    pub kind: PeerType,
    /// It keeps what it has for ever: it is asked first.
    pub preferred: bool,
    /// How long a word to it and back takes, as far as that is known; zero where it is not.
    pub round_trip: Duration,
    /// What a byte from it costs, where it is at the other end of a link: of several the cheapest is asked. `links` says
    /// what else follows.
    pub link_cost: Option<u32>,
}

/// What has happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A connection is open. It may not be asked for anything before it is [unchoked](Event::Unchoked).
    Joined(PeerNo, Newcomer),
    /// A connection is gone, whoever closed it.
    Left(PeerNo),
    /// The peer told of all its pieces.
    HasPieces(PeerNo, Bitfield),
    /// The peer has one more piece.
    Has(PeerNo, u32),
    /// A piece is on its way to the peer from the origin. Of effect for those at the other end of a link.
    Coming(PeerNo, u32),
    /// The peer answers nothing that it was asked for and has not sent.
    Choked(PeerNo),
    /// The peer may be asked.
    Unchoked(PeerNo),
    /// A whole block of the peer's came, which it was asked for.
    Received(PeerNo, Block),
    /// The peer did not send a block in time; it was called off already.
    Late(PeerNo, Block),
    /// A piece is wanted and not under way: it came in, or came back from the origin. Again: its deadline has changed.
    Wanted {
        /// Which.
        piece: u32,
        /// When whoever waits for it gives up.
        deadline: Time,
        /// Nobody waits for it right now.
        background: bool,
    },
    /// A piece is wanted no more. Bytes of it that have come are not kept, and the scheduler's job is
    /// [given back](Action::GiveBack).
    Unwanted(u32),
    /// The origin is asked for a piece that was wanted. Also the answer to an [`Action::Take`] that was refused.
    AtOrigin(u32),
    /// A piece is here, proved and stored, wherever it came from.
    Landed(u32),
    /// A piece that was [whole](Action::Whole) is not what it should be. Its bytes are not kept.
    Bad(u32),
    /// The moment of [`Picker::deadline`](super::Picker::deadline) has come.
    Tick,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Peers are going to be asked for a piece: take it from the scheduler
    /// ([`Scheduler::take_for_peer`](crate::fetch::Scheduler::take_for_peer)). Where it refuses, apply
    /// [`Event::AtOrigin`], which calls off what is asked for further down the list.
    Take(u32),
    /// Ask a peer for a block.
    Ask(PeerNo, Block),
    /// The block that this peer has just sent is of use: put it in its place. Until then its bytes are kept apart, even
    /// where they come in parts, or else two peers could have a part in one block. What no `Keep` follows is dropped.
    Keep(PeerNo, Block),
    /// A block that a peer was asked for is of no use any more.
    CallOff(PeerNo, Block),
    /// No peer is asked for a piece any more: give the job back to the scheduler
    /// ([`Scheduler::failed`](crate::fetch::Scheduler::failed)). What has come of it may still be of use, until it is
    /// [discarded](Action::Discard).
    GiveBack(u32),
    /// What has come of a piece is of no use: forget it.
    Discard(u32),
    /// All blocks of a piece are here: prove it, and apply [`Event::Landed`] or [`Event::Bad`].
    Whole(u32),
    /// Leave a piece to the peers until then
    /// ([`Scheduler::hold_http`](crate::fetch::Scheduler::hold_http)); not at all at the clock's beginning.
    LeaveToPeers(u32, Time),
    /// The same, where it is left to a link: who is at the other end has it, or is just getting it.
    LeaveToLink(u32, Time),
    /// Ask a peer at the other end of a link to bring a piece in from the origin: it is its own.
    Wanted(PeerNo, u32),
    /// Whether the peer has something that is wanted.
    Interest(PeerNo, bool),
    /// This peer, and nobody else, sent so many bad pieces: put it to the [`Bans`](crate::swarm::bans::Bans). Where it is
    /// connected, [`Action::Drop`] follows.
    Blame(Who, u32),
    /// Close the connection: the peer sent a bad piece, or keeps silent for the third time.
    Drop(PeerNo),
}

/// What a picker holds to, for one content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Bytes in the content.
    pub length: u64,
    /// Bytes of one block. 128 KiB keeps a request on a thin link short, and a piece still is eight messages only.
    pub block_bytes: u32,
    /// Pieces that peers are asked for at once: what bounds the memory for what is half here.
    pub pieces_max: usize,
    /// So long a background download is left to peers (`DODelayBackgroundDownloadFromHttp`).
    pub delay_background: Duration,
    /// So long a foreground download is left to peers (`DODelayForegroundDownloadFromHttp`).
    pub delay_foreground: Duration,
    /// When peers bring less than so many bytes a second, HTTP is added (`DOMinBackgroundQoS`, which is in KB/s).
    pub qos_bytes_per_second: u64,
    /// So long after the beginning HTTP waits for the first peers to be found, whether or not there are any.
    pub look_around: Duration,
    /// So many peers on links are expected: when they are there, nobody else is looked around for.
    pub links: usize,
    /// Whether the peers of a site share out among themselves who asks outside of it for what. Not where HTTP leads to a
    /// cache host nearby, which shares better than they do.
    pub share_out: bool,
    /// All of it is wanted at once, to be read in order: so many pieces after each other, or a few more, are alike, whatever their
    /// deadlines, and come before those behind them. `None`: the deadlines say what comes first.
    pub stretch_pieces: Option<u32>,
    /// This is an appliance: it shares out with others of its kind alone, and waits for no device, as devices wait for it.
    pub preferred: bool,
}

impl Settings {
    /// What is usual for a content of so many bytes.
    #[must_use]
    pub const fn usual(length: u64) -> Self {
        Self {
            length,
            block_bytes: 128 << 10,
            pieces_max: 64,
            delay_background: Duration::ZERO,
            delay_foreground: Duration::ZERO,
            qos_bytes_per_second: 500_000,
            look_around: Duration::from_secs(1),
            links: 0,
            share_out: true,
            stretch_pieces: None,
            preferred: false,
        }
    }
}
