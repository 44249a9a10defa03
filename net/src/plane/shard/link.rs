//! One connection as its shard holds it: the socket, the buffers, the answer at hand. The rule: between two turns a
//! connection holds at most one piece's frame, and gives it up when others wait for one.

use super::clients::{Misses, Sent};
use larder_content::{ContentNo, PieceId, Span};
use larder_proto::answer::{BOUNDARY_BYTES, CacheStatus};
use larder_proto::http::conn::{Conn, Event, Timeouts};
use larder_proto::http::route::OwnedRoute;
use larder_proto::http::walk::{Part, Walk};
use larder_proto::policy::serving::Near;
use larder_proto::swarm::serving::Serving;
use larder_proto::swarm::session::Limits;
use larder_proto::swarm::wire::Block;
use larder_proto::time::Time;
use larder_storage::buf::IoBuf;
use larder_storage::driver::Token;
use larder_storage::flight::{Flight, Watcher};
use larder_storage::ram_tier::RamFrame;
use larder_storage::record::Content;
use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::permit::Hello;
use crate::ask::Resolution;
use crate::crowd::Seat;
use crate::links::Line;
use crate::pace::Pace;
use crate::settings::Settings;

/// One connection.
pub(super) struct Link {
    pub(super) socket: OwnedFd,
    pub(super) token: Token,
    /// What it is counted by, where it is counted.
    pub(super) seat: Option<Seat>,
    /// What decides.
    pub(super) conn: Brain,
    /// Received and not answered.
    pub(super) inbox: Vec<u8>,
    /// How much of the shard's room for that it has.
    pub(super) held: usize,
    /// It was told to go, since that is more than its share.
    pub(super) crammed: bool,
    /// Written and not sent: a head, or a whole small answer.
    pub(super) out: Vec<u8>,
    /// How much of `out` was sent.
    pub(super) out_at: usize,
    /// The body that is being sent.
    pub(super) body: Option<Body>,
    /// What came of the resolution that was asked for.
    pub(super) resolution: Option<Resolution>,
    /// Number of the request at hand: late news for an earlier one is dropped.
    pub(super) serial: u32,
    /// What was known of the URL when the request came.
    pub(super) before: Before,
    /// Status and cache status of the answer at hand, to be counted when it is over.
    pub(super) said: Option<(u16, Option<CacheStatus>)>,
    /// From where it has come; None where the kernel does not know any more.
    pub(super) from: Option<IpAddr>,
    /// What it was sent, and is not noted in the book of clients.
    pub(super) sent: Sent,
    /// What it was sent of the answer at hand, and is noted.
    pub(super) sent_bytes: u64,
    /// When the request at hand came, until its answer is over.
    pub(super) asked: Option<Time>,
    /// The content that the answer at hand is of.
    pub(super) sends: Option<ContentNo>,
    /// What was asked for, where the answer at hand is an error that clients leave for.
    pub(super) refused_host: Option<Box<str>>,
    /// The earliest moment for which it stands in the wheel.
    pub(super) armed: Option<Time>,
    /// The flight that will tell it of progress.
    pub(super) watching: Option<(Arc<Flight>, Watcher)>,
    /// It stands among those that hold a frame while their socket is full.
    pub(super) holds: bool,
    /// It is its turn to get a frame.
    pub(super) first_in_line: bool,
    /// The socket holds bytes back, since more were to follow at once.
    pub(super) held_back: bool,
    /// It waits for leave to send to a peer, and is woken when that may be had.
    pub(super) paced: bool,
    /// What the last head named, for the heads that are like it.
    pub(super) known: Option<Known>,
}

/// What decides about a connection: the rules of one protocol or the other. Both hear the same words.
pub(super) enum Brain {
    Http(Conn),
    Peer(Box<Peer>),
}

/// How long clients and peers may take.
pub(super) struct Patience {
    pub(super) http: Timeouts,
    pub(super) peer: Limits,
}

impl Patience {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            http: Timeouts {
                idle: Duration::from_millis(settings.idle_timeout_ms),
                head: Duration::from_millis(settings.head_timeout_ms),
                stall: Duration::from_millis(settings.send_stall_timeout_ms),
                first_byte: Duration::from_millis(settings.first_byte_timeout_ms),
            },
            peer: Limits {
                silence: Duration::from_millis(settings.peer_silence_timeout_ms),
                idle: Duration::from_millis(settings.peer_idle_timeout_ms),
                ..Limits::default()
            },
        }
    }
}

impl Brain {
    pub(super) fn apply(&mut self, event: Event, patience: &Patience, now: Time) {
        match self {
            Self::Http(conn) => conn.apply(event, &patience.http, now),
            Self::Peer(peer) => {
                let stall = patience.http.stall;
                peer.serving.apply(event, &patience.peer, stall, now);
            }
        }
    }

    /// When a `Tick` is due, unless something happens before.
    pub(super) fn deadline(&self, patience: &Patience) -> Option<Time> {
        match self {
            Self::Http(conn) => conn.deadline(&patience.http),
            Self::Peer(peer) => peer.serving.deadline(&patience.peer, patience.http.stall),
        }
    }

    /// Whether the answer to this request may leave the connection open.
    pub(super) fn may_keep(&self, wanted: bool) -> bool {
        match self {
            Self::Http(conn) => conn.may_keep(wanted),
            Self::Peer(_) => wanted,
        }
    }

    /// When the head of the request at hand was complete.
    pub(super) fn asked(&self) -> Time {
        match self {
            Self::Http(conn) => conn.asked(),
            Self::Peer(_) => Time::default(),
        }
    }

    /// True where nobody waits for a first byte: a part of the answer has left, or it is for a peer, which asks ahead.
    pub(super) fn has_begun(&self) -> bool {
        match self {
            Self::Http(conn) => conn.has_begun(),
            Self::Peer(_) => true,
        }
    }

    /// True where more is to be sent behind what is at hand, the request for which begins `inbox_bytes` bytes.
    pub(super) fn is_followed(&self, inbox_bytes: usize) -> bool {
        match self {
            Self::Http(conn) => conn.is_followed(inbox_bytes),
            Self::Peer(peer) => peer.serving.is_followed(),
        }
    }

    /// The link that a peer has come by, where it has come by one.
    pub(super) fn line<'s>(&self, settings: &'s Settings) -> Option<&'s Line> {
        let address = self.peer()?.address?;
        settings.links.of(address)
    }

    pub(super) fn peer(&self) -> Option<&Peer> {
        match self {
            Self::Http(_) => None,
            Self::Peer(peer) => Some(peer),
        }
    }
}

/// A peer's connection.
pub(super) struct Peer {
    pub(super) serving: Serving,
    /// What it is served, as long as that is shared.
    pub(super) content: Option<Arc<Content>>,
    /// [`larder_storage::store::Store::swarm_changes`] before that was looked up.
    pub(super) changes: u64,
    /// The content of whose new pieces it is told.
    pub(super) registered: Option<ContentNo>,
    /// What was read from disk of this piece for the last block.
    pub(super) last: Option<(u32, Source)>,
    /// From where it has come; None where the kernel does not know any more.
    pub(super) address: Option<IpAddr>,
    /// What it said; None before its handshake.
    pub(super) hello: Option<Hello>,
    /// What it is to us; None before its handshake.
    pub(super) near: Option<Near>,
    /// What it was sent.
    pub(super) pace: Pace,
}

impl Peer {
    pub(super) fn new(serving: Serving, address: Option<IpAddr>, now: Time) -> Self {
        Self {
            serving,
            address,
            pace: Pace::new(now),
            hello: None,
            near: None,
            content: None,
            changes: 0,
            registered: None,
            last: None,
        }
    }

    /// It is served this from now on.
    pub(super) fn shares(&mut self, content: &Arc<Content>, changes: u64) {
        self.content = Some(Arc::clone(content));
        self.changes = changes;
        self.registered = Some(content.no);
    }

    /// Whether this is what it was served from the beginning.
    pub(super) fn is_of(&self, content: &Content) -> bool {
        self.registered == Some(content.no)
    }
}

/// What a head named, and what that depends on besides its bytes.
pub(super) struct Known {
    pub(super) content: Arc<Content>,
    /// [`larder_storage::store::Store::changes`] before it was looked up.
    pub(super) changes: u64,
    /// The rules by which its URL was read.
    pub(super) settings: Arc<Settings>,
}

/// What was known of a URL when its request came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Before {
    /// It was fresh.
    Fresh,
    /// It was stale, under this number.
    Stale(ContentNo),
    /// It was stale, and is sent so.
    Kept,
    /// It was stale, and is sent so while it is fetched anew.
    Updating,
    /// Nothing.
    Nothing,
}

/// A body on its way to the client.
pub(super) struct Body {
    pub(super) content: Arc<Content>,
    pub(super) walk: Walk,
    /// What comes after it, where several ranges are sent.
    pub(super) parts: Option<Parts>,
    pub(super) source: Source,
    /// Whom to ask for missing pieces; made when the first is missed.
    pub(super) route: Option<Arc<OwnedRoute>>,
    /// When the client must have its first byte.
    pub(super) deadline: Time,
    /// Look-ups since the last progress.
    pub(super) looks: u32,
    /// The piece that was looked up last: another look for the same answer is no other ask for it.
    pub(super) asked_for: Option<u32>,
    /// What of it was not stored.
    pub(super) misses: Misses,
    /// It is a block for a peer: its bytes are granted one by one, and what is missing is not fetched.
    pub(super) upload: Option<Upload>,
}

/// A block on its way to a peer.
pub(super) struct Upload {
    pub(super) block: Block,
    /// What stands before its bytes is among what is to be sent, or was.
    pub(super) is_announced: bool,
}

impl Body {
    /// How many bytes of a piece are asked for by looking it up now; 0 where that was done before.
    pub(super) fn asks_for(&mut self, part: Part) -> u32 {
        if self.asked_for.replace(part.piece) == Some(part.piece) {
            return 0;
        }
        part.to - part.from
    }
}

/// The parts of a multipart body that were not begun.
pub(super) struct Parts {
    pub(super) spans: std::vec::IntoIter<Span>,
    pub(super) boundary: [u8; BOUNDARY_BYTES],
}

/// Where the bytes of the piece at hand come from.
pub(super) enum Source {
    /// It is to be looked up.
    Unknown,
    /// From memory.
    Ram(Arc<RamFrame>),
    /// From its flight, as far as that has come.
    Flight(Arc<Flight>),
    /// From a frame that was read from disk.
    Disk {
        buf: IoBuf,
        /// Where in the piece the bytes begin.
        begin: u32,
        /// Where in the frame they are.
        blocks: Range<usize>,
    },
    /// A disk read is under way.
    Reading(PieceId),
    /// It waits for a frame to read into.
    InLine,
}

impl Link {
    pub(super) fn new(socket: OwnedFd, token: Token, conn: Brain, seat: Option<Seat>) -> Self {
        let from = socket2::SockRef::from(&socket).peer_addr().ok();
        let from = from.and_then(|address| address.as_socket());
        Self {
            from: from.map(|address| address.ip().to_canonical()),
            sent: Sent::default(),
            sent_bytes: 0,
            asked: None,
            sends: None,
            refused_host: None,
            socket,
            token,
            seat,
            conn,
            inbox: Vec::new(),
            held: 0,
            crammed: false,
            out: Vec::new(),
            out_at: 0,
            body: None,
            resolution: None,
            serial: 0,
            before: Before::Nothing,
            said: None,
            armed: None,
            watching: None,
            holds: false,
            first_in_line: false,
            held_back: false,
            paced: false,
            known: None,
        }
    }

    /// Forgets the answer that was begun, of which nothing was sent.
    pub(super) fn drop_answer(&mut self) {
        self.out.clear();
        self.out_at = 0;
        self.body = None;
        self.said = None;
        self.sends = None;
        self.refused_host = None;
        self.unwatch();
    }

    /// Gives up a frame that was read from disk: what is left to send of it is looked up again.
    pub(super) fn give_up_frame(&mut self) {
        if let Some(body) = &mut self.body
            && matches!(body.source, Source::Disk { .. })
        {
            body.source = Source::Unknown;
        }
        if let Brain::Peer(peer) = &mut self.conn {
            peer.last = None;
        }
    }

    /// Takes its name off the flight that it watches.
    pub(super) fn unwatch(&mut self) {
        if let Some((flight, watcher)) = self.watching.take() {
            flight.unwatch(&watcher);
        }
    }
}

/// The connections of a shard, by token.
#[derive(Default)]
pub(super) struct Links {
    slots: Vec<Slot>,
    free: Vec<u32>,
    open: usize,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    link: Option<Box<Link>>,
}

/// Tokens of connections are below this; those of disk reads have it set.
pub(super) const OF_A_READ: u64 = 1 << 63;

impl Links {
    /// Adds a connection that `make` builds around its token.
    pub(super) fn add(&mut self, make: impl FnOnce(Token) -> Link) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            // There are never as many descriptors.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let slot = &mut self.slots[index as usize];
        let token = Token(u64::from(slot.generation) << 32 | u64::from(index));
        slot.link = Some(Box::new(make(token)));
        self.open += 1;
        token
    }

    /// Takes a connection out to work on it; [`Links::put`] or [`Links::remove`] must follow.
    pub(super) fn take(&mut self, token: Token) -> Option<Box<Link>> {
        self.slot(token)?.link.take()
    }

    pub(super) fn put(&mut self, link: Box<Link>) {
        if let Some(slot) = self.slot(link.token) {
            slot.link = Some(link);
        }
    }

    /// A connection that is not taken out.
    pub(super) fn get(&mut self, token: Token) -> Option<&mut Link> {
        self.slot(token)?.link.as_deref_mut()
    }

    /// Gives up the token of a connection that was taken out.
    pub(super) fn remove(&mut self, token: Token) {
        if let Some(slot) = self.slot(token) {
            slot.generation = (slot.generation + 1) & 0x7fff_ffff;
            slot.link = None;
            self.free.push((token.0 & 0xffff_ffff) as u32);
            self.open -= 1;
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.open
    }

    /// All tokens, for news that concerns everybody.
    pub(super) fn tokens(&self) -> Vec<Token> {
        let open = self.slots.iter().filter_map(|slot| slot.link.as_deref());
        open.map(|link| link.token).collect()
    }

    fn slot(&mut self, token: Token) -> Option<&mut Slot> {
        let index = usize::try_from(token.0 & 0xffff_ffff).ok()?;
        self.slots
            .get_mut(index)
            .filter(|slot| u64::from(slot.generation) == token.0 >> 32)
    }
}
