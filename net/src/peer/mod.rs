//! One connection to a peer, opened by us, on which we download. The rule: it hands on whole blocks that were asked for,
//! and believes nothing else; whether their bytes are right is for whoever has the hashes.
//!
//! What is said and when is decided by [`larder_proto::swarm::session`]; here is the socket.

use crate::bandwidth::{Allowance, Socket};
use crate::clock::Clock;
use crate::links::Direction;
use crate::settings::Settings;
use arc_swap::ArcSwap;
use larder_content::ContentId;
use larder_proto::bucket::Take;
use larder_proto::swarm::session::{Action, Event, Limits, Session, Why};
use larder_proto::swarm::{Bitfield, Block, PeerId};
use larder_proto::time::Time;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;
use tokio::sync::mpsc::UnboundedReceiver;

/// What is read at a time: about a block, so that as much is held of each connection.
const READ_BYTES: usize = 128 << 10;

/// Whom to connect to, and for what.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Who we are.
    pub(crate) me: PeerId,
    pub(crate) swarm: ContentId,
    /// Bytes in the whole content.
    pub(crate) length: u64,
    /// The pieces that are here: the peer is told.
    pub(crate) have: Bitfield,
    /// What shows our group; zeros where we belong to none.
    pub(crate) mark: [u8; 4],
    /// How long opening the connection may take.
    pub(crate) connect_timeout: Duration,
    /// Whose links say how fast it may be read from.
    pub(crate) settings: Arc<ArcSwap<Settings>>,
}

/// What the connection is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Ask for a block.
    Ask(Block),
    /// A block is wanted no more.
    CallOff(Block),
    /// Whether anything of the peer is wanted.
    Want(bool),
    /// A piece is here and proved.
    Landed(u32),
    /// The peer is to bring a piece in from the origin.
    Wanted(u32),
    /// End.
    Close,
}

/// What has happened on it.
#[derive(Debug)]
pub(crate) enum News<'b> {
    /// Both have said who they are.
    Open {
        /// Who the other is.
        peer: PeerId,
        /// How long the opening took, which is a word and back.
        round_trip: Duration,
    },
    /// All that the peer has.
    Pieces(Bitfield),
    /// The peer has one more.
    Has(u32),
    /// A piece is on its way to the peer from the origin.
    Coming(u32),
    /// The peer may be asked.
    Unchoked,
    /// The peer may not be asked; what it was asked for and has not come is lost.
    Choked,
    /// A block that was asked for is whole.
    Block(Block, &'b [u8]),
    /// A block did not come in time; it was called off.
    Late(Block),
    /// The connection is over. The last news.
    Closed(&'b Over),
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Over {
    /// It never began.
    #[error("it can not be reached: {0}")]
    NotConnected(io::Error),
    /// The session ended.
    #[error(transparent)]
    Session(Why),
}

/// Runs one connection from its opening to its end.
pub(crate) async fn run(
    target: Target,
    clock: Clock,
    limits: Limits,
    mut orders: UnboundedReceiver<Order>,
    mut allowance: Allowance,
    tell: impl Fn(News<'_>),
) {
    let began = clock.now();
    let opening = TcpStream::connect(target.address);
    let opened = tokio::time::timeout(target.connect_timeout, opening).await;
    let stream = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
    let stream = match stream {
        Ok(stream) => stream,
        Err(error) => return tell(News::Closed(&Over::NotConnected(error))),
    };
    // Held as long as the connection is.
    let socket = Socket::of(&stream);
    if let Some(socket) = &socket {
        allowance.comes_on(socket);
    }
    let now = clock.now();
    let Target {
        me,
        swarm,
        length,
        have,
        mark,
        address,
        settings,
        ..
    } = target;
    let mut link = Link {
        session: Session::outgoing_marked(me, swarm, length, have, mark, now),
        limits,
        clock,
        tell,
        coming: Vec::new(),
        allowance,
        round_trip: now.since(began),
        settings,
        from: address.ip(),
        granted: 0,
    };
    let why = link.talk(stream, &mut orders).await;
    (link.tell)(News::Closed(&Over::Session(why)));
}

/// Reads as much as may be read, once that is anything. Dropped, it has read nothing.
async fn read(
    from: &mut ReadHalf<'_>,
    buf: &mut [u8],
    allowance: &mut Allowance,
) -> io::Result<usize> {
    let most = poll_fn(|cx| allowance.poll(cx, buf.len())).await;
    let count = from.read(&mut buf[..most]).await?;
    allowance.came(count);
    Ok(count)
}

struct Link<T> {
    session: Session,
    limits: Limits,
    clock: Clock,
    tell: T,
    /// The block that is coming in.
    coming: Vec<u8>,
    /// How much may be read now.
    allowance: Allowance,
    round_trip: Duration,
    settings: Arc<ArcSwap<Settings>>,
    from: IpAddr,
    /// Bytes that may be read without asking again.
    granted: usize,
}

impl<T: Fn(News<'_>)> Link<T> {
    async fn talk(&mut self, mut stream: TcpStream, orders: &mut UnboundedReceiver<Order>) -> Why {
        let (mut reader, mut writer) = stream.split();
        let mut buf = vec![0; READ_BYTES];
        let (mut from, mut to) = (0, 0);
        let mut out = Vec::new();
        let mut said = 0;
        loop {
            let mut input = &buf[from..to];
            if let Some(why) = self.act(&mut input, &mut out) {
                return why;
            }
            from = to - input.len();
            let wants = from == to && self.session.reads(&self.limits);
            let not_before = if wants { self.may_read_at() } else { None };
            let reads = wants && not_before.is_none();
            let deadline = earlier(self.session.deadline(&self.limits), not_before);
            let pause = deadline.map(|at| at.since(self.clock.now()));
            let room = self.granted.min(buf.len());
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => self.apply(Event::Stop),
                },
                read = read(&mut reader, &mut buf[..room], &mut self.allowance), if reads => {
                    match read {
                        Ok(0) => self.apply(Event::Ended),
                        Ok(count) => {
                            self.granted = self.granted.saturating_sub(count);
                            (from, to) = (0, count);
                        }
                        Err(_) => self.apply(Event::Broken),
                    }
                }
                written = writer.write(&out[said..]), if said < out.len() => {
                    match written {
                        Ok(count @ 1..) => {
                            said += count;
                            if said == out.len() {
                                out.clear();
                                said = 0;
                            }
                        }
                        Ok(0) | Err(_) => self.apply(Event::Broken),
                    }
                }
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {
                    self.apply(Event::Tick);
                }
            }
        }
    }

    /// When bytes may be read again; None where some may be now. What is left in the socket makes the peer wait.
    fn may_read_at(&mut self) -> Option<Time> {
        if self.granted > 0 {
            return None;
        }
        let settings = self.settings.load();
        let Some(line) = settings.links.of(self.from) else {
            self.granted = READ_BYTES;
            return None;
        };
        match line.take(Direction::In, READ_BYTES as u64, self.clock.now()) {
            Take::Granted(bytes) => {
                self.granted = usize::try_from(bytes).unwrap_or(READ_BYTES);
                None
            }
            Take::Later(at) => Some(at),
        }
    }

    fn apply(&mut self, event: Event) {
        self.session.apply(event, &self.limits, self.clock.now());
    }

    /// Does what the session says. The reason, where it is over.
    fn act(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Option<Why> {
        loop {
            let now = self.clock.now();
            match self.session.next(input, &self.limits, now) {
                Action::Rest => return None,
                Action::Say => self.session.write(out, now),
                Action::Opened { peer } => {
                    let round_trip = self.round_trip;
                    (self.tell)(News::Open { peer, round_trip });
                }
                Action::HasPieces => (self.tell)(News::Pieces(self.session.theirs().clone())),
                Action::Has(piece) => (self.tell)(News::Has(piece)),
                Action::Coming(piece) => (self.tell)(News::Coming(piece)),
                Action::Unchoked => (self.tell)(News::Unchoked),
                Action::Choked => (self.tell)(News::Choked),
                Action::Late(block) => (self.tell)(News::Late(block)),
                Action::Data { block, at, bytes } => self.take(block, at, bytes),
                Action::Close(why) => return Some(why),
                // Nothing is served on a connection that we opened.
                Action::Interested(_) | Action::Wanted(_) => {}
                Action::Find { .. } | Action::Upload(_) | Action::Finish => {
                    return Some(Why::Stopped);
                }
            }
        }
    }

    fn obey(&mut self, order: Order) {
        self.apply(match order {
            Order::Ask(block) => Event::Ask(block),
            Order::CallOff(block) => Event::CallOff(block),
            Order::Want(want) => Event::Want(want),
            Order::Landed(piece) => Event::Landed(piece),
            Order::Wanted(piece) => Event::Wanted(piece),
            Order::Close => Event::Stop,
        });
    }

    /// Takes bytes of a block; they come in order, and no others between them.
    fn take(&mut self, block: Block, at: u32, bytes: &[u8]) {
        let whole = block.len as usize;
        if at == 0 && bytes.len() == whole {
            return (self.tell)(News::Block(block, bytes));
        }
        if at == 0 {
            self.coming.clear();
        }
        self.coming.extend_from_slice(bytes);
        if self.coming.len() == whole {
            (self.tell)(News::Block(block, &self.coming));
        }
    }
}

fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    one.into_iter().chain(other).min()
}
