//! Connections of peers, served beside those of HTTP. The rule: what a peer asks for is looked up and sent as a hit is,
//! and is never fetched for it, but for an appliance at the other end of a link; and a peer that is gone leaves nothing behind in any list.
//!
//! A piece that was offered and is not stored any more when its turn comes ends the connection: the protocol has no word
//! for a piece that is lost, and who comes again is told what there is.

use super::clients::Misses;
use super::link::{Body, Brain, Link, Peer, Source, Upload};
use super::permit::Hello;
use super::{Common, Fate, News, Shard};
use crate::ask::{Ask, OfferAsk, OfferReply};
use crate::crowd::Seat;
use crate::metrics::PeerRefused;
use crate::plane::mailbox::Note;
use crate::settings::Settings;
use crate::uploads::Noted;
use larder_content::span::piece_start;
use larder_content::{ContentNo, PieceId, Span};
use larder_proto::http::conn::{Event as Happened, Failure, Remedy};
use larder_proto::http::walk::Walk;
use larder_proto::swarm::bitfield::Bitfield;
use larder_proto::swarm::choker::{Choker, Told};
use larder_proto::swarm::serving::{Action, Serving};
use larder_proto::swarm::session::{self, Offer, Why};
use larder_proto::swarm::wire::Block;
use larder_proto::time::Time;
use larder_storage::driver::{Driver, Token};
use larder_storage::store::Landing;
use std::collections::{HashMap, VecDeque};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// So many things are done for one peer; then others have their turn.
const STEPS_MAX: u32 = 1000;

/// What is said where a piece is not stored any more.
pub(super) const GONE: Failure = Failure {
    status: 404,
    reason: "the piece is not stored any more",
    remedy: Remedy::None,
};

/// The peers of one shard, besides their links.
#[derive(Debug)]
pub(super) struct Peers {
    /// Those that have not said who they are, the oldest first; some of them may have said it, or be gone.
    strangers: VecDeque<Token>,
    /// Who is to be told of new pieces of a content.
    of_content: HashMap<ContentNo, Vec<Token>>,
    choker: Choker<Token>,
    slots: Option<usize>,
    told: Vec<Told<Token>>,
    count: usize,
    /// What peers were sent since somebody asked.
    pub(super) noted: Noted,
}

impl Peers {
    pub(super) fn new(settings: &Settings, shards: usize, seed: u64) -> Self {
        let slots = slots(settings, shards);
        Self {
            strangers: VecDeque::new(),
            of_content: HashMap::new(),
            choker: Choker::new(slots, seed),
            slots,
            told: Vec::new(),
            count: 0,
            noted: Noted::default(),
        }
    }

    /// Whether a peer wants something that it may have. Whose turn it is comes of it.
    pub(super) fn wants(&mut self, token: Token, wants: bool, now: Time) {
        let Self { choker, told, .. } = self;
        choker.interested(token, wants, now, told);
    }
}

/// The slots of one shard: a part of all, and one at least.
fn slots(settings: &Settings, shards: usize) -> Option<usize> {
    match settings.upload_slots_max {
        0 => None,
        slots => Some(slots.div_ceil(shards.max(1))),
    }
}

impl Landing for Common {
    fn landed(&self, id: PieceId) {
        for mailbox in &self.mailboxes {
            if mailbox.peers.load(Ordering::Acquire) > 0 {
                mailbox.tell(Note::Landed(id));
            }
        }
    }

    fn coming(&self, id: PieceId) {
        for mailbox in &self.mailboxes {
            if mailbox.peers.load(Ordering::Acquire) > 0 {
                mailbox.tell(Note::Coming(id));
            }
        }
    }
}

impl Shard {
    /// A peer has connected.
    pub(super) fn welcome_peer(&mut self, socket: OwnedFd, seat: Option<Seat>) {
        let figures = Arc::clone(&self.common.parts.figures);
        self.peers.count += 1;
        self.mailbox
            .peers
            .store(self.peers.count, Ordering::Release);
        figures.peer_connections.increment(1.0);
        let me = self.common.parts.peer_id;
        let serving = Serving::new(me, self.now);
        let from = socket2::SockRef::from(&socket).peer_addr().ok();
        let from = from.and_then(|address| address.as_socket());
        let address = from.map(|address| address.ip().to_canonical());
        let peer = Brain::Peer(Box::new(Peer::new(serving, address, self.now)));
        let token = self.links.add(|token| Link::new(socket, token, peer, seat));
        if let Some(address) = address {
            self.clients.met(address, self.now).peerings += 1;
        }
        let each = self.settings.peer_connections_max;
        let most = each.div_ceil(self.common.mailboxes.len().max(1));
        if self.peers.count > most {
            figures.peer_refused(PeerRefused::Crowded);
            // Whoever has said nothing yet makes room; where all are known, the new one goes.
            let oldest = self.oldest_stranger().unwrap_or(token);
            self.tell(oldest, Happened::Stop);
            if oldest == token {
                return;
            }
        }
        self.peers.strangers.push_back(token);
        let event = if self.stopping {
            Happened::Stop
        } else if self.draining {
            Happened::Drain
        } else {
            Happened::Arrived
        };
        self.tell(token, event);
    }

    fn oldest_stranger(&mut self) -> Option<Token> {
        loop {
            let token = self.peers.strangers.pop_front()?;
            let link = self.links.get(token);
            let peer = link.and_then(|link| link.conn.peer());
            if peer.is_some_and(|peer| peer.serving.session().peer().is_none()) {
                return Some(token);
            }
        }
    }

    /// Does what a peer's connection wants done, until it rests.
    pub(super) fn act_for_peer(&mut self, link: &mut Link, inbox: &mut Vec<u8>) -> Fate {
        let fd = link.socket.as_raw_fd();
        let (mut read, mut left, mut steps) = (0, super::body::TURN_BYTES, 0);
        let fate = loop {
            steps += 1;
            if steps > STEPS_MAX {
                self.news.push_back(News::Of(link.token, Happened::Arrived));
                break Fate::Open;
            }
            let Brain::Peer(peer) = &mut link.conn else {
                break Fate::Closed;
            };
            let mut input = inbox.get(read..).unwrap_or(&[]);
            let action = peer.serving.next(&mut input, &self.patience.peer, self.now);
            read = inbox.len() - input.len();
            let event = match action {
                Action::Rest => break Fate::Open,
                Action::Receive => {
                    self.driver.recv(link.token, fd);
                    continue;
                }
                Action::AwaitRoom => {
                    self.driver.writable(link.token, fd);
                    continue;
                }
                Action::Cancel => {
                    self.driver.cancel(link.token, fd);
                    continue;
                }
                Action::FinishSending => {
                    // A peer that is gone already is closed on soon.
                    let _ = socket2::SockRef::from(&link.socket).shutdown(Shutdown::Write);
                    continue;
                }
                Action::Find {
                    swarm,
                    peer,
                    suffix,
                } => {
                    let hello = Hello {
                        swarm,
                        peer,
                        suffix,
                    };
                    self.find(link, hello);
                    continue;
                }
                Action::Opened { .. } => continue,
                Action::Interested(wants) => {
                    let wants = wants && link.conn.peer().is_some_and(|peer| self.may_ask(peer));
                    self.peers.wants(link.token, wants, self.now);
                    self.hand_out_slots(Some(link));
                    continue;
                }
                Action::Wanted(piece) => {
                    self.bring_for(link, piece);
                    continue;
                }
                Action::Say => {
                    peer.serving.session_mut().write(&mut link.out, self.now);
                    Happened::Answering { keep_alive: true }
                }
                Action::Begin(block) => {
                    peer.serving.session_mut().write(&mut link.out, self.now);
                    let begun = self.begin(link, block);
                    link.conn.apply(
                        Happened::Answering { keep_alive: true },
                        &self.patience,
                        self.now,
                    );
                    if !begun {
                        Happened::Failed(GONE)
                    } else if left == 0 {
                        self.news.push_back(News::Of(link.token, Happened::Arrived));
                        Happened::Yielded
                    } else {
                        left = left.saturating_sub(block.len.into());
                        continue;
                    }
                }
                Action::Send => self.send(link, &[]),
                Action::Close(why) => {
                    self.left(why);
                    break Fate::Closed;
                }
            };
            link.conn.apply(event, &self.patience, self.now);
        };
        inbox.drain(..read);
        fate
    }

    fn left(&self, why: Why) {
        let figures = &self.common.parts.figures;
        match why {
            Why::UnknownSwarm => figures.peer_refused(PeerRefused::Unknown),
            Why::Silent => figures.peer_refused(PeerRefused::Silent),
            Why::Stalled | Why::Idle => figures.peer_refused(PeerRefused::Stalled),
            Why::Lost => figures.peer_refused(PeerRefused::Lost),
            why if why.is_fault() => {
                figures.peer_refused(PeerRefused::Protocol);
                tracing::debug!(%why, "a peer's connection is closed");
            }
            _ => {}
        }
    }

    /// Looks a content up, where the peer is one that is answered: whether it is shared at once, which of its pieces on a
    /// thread that may read the catalogue.
    fn find(&mut self, link: &mut Link, hello: Hello) {
        let swarm = hello.swarm;
        let is_answered = match &mut link.conn {
            Brain::Peer(peer) => self.meets(peer, hello),
            Brain::Http(_) => false,
        };
        let parts = &self.common.parts;
        let (token, serial) = (link.token, link.serial);
        let changes = parts.store.swarm_changes();
        let content = parts.store.by_swarm(&swarm).filter(|_| is_answered);
        let (Some(content), Brain::Peer(peer)) = (content, &mut link.conn) else {
            return self.offered(link, None);
        };
        // From now on it hears of new pieces, so that none falls between.
        let of_content = self.peers.of_content.entry(content.no).or_default();
        of_content.push(token);
        peer.shares(&content, changes);
        let mailbox = Arc::clone(&self.mailbox);
        let reply = OfferReply::new(move |pieces| {
            mailbox.tell(Note::Offered {
                token,
                serial,
                pieces,
            });
        });
        parts.answer.ask(Ask::Offer(OfferAsk {
            content,
            swarm,
            reply,
        }));
    }

    /// It is known what a peer may be offered.
    pub(super) fn offered(&self, link: &mut Link, pieces: Option<Vec<u32>>) {
        let Brain::Peer(peer) = &mut link.conn else {
            return;
        };
        let offer = pieces.zip(peer.content.as_ref()).map(|(pieces, content)| {
            let mut held = Bitfield::new(content.pieces());
            for piece in pieces {
                held.set(piece);
            }
            Offer {
                length: content.length(),
                pieces: held,
            }
        });
        let found = session::Event::Found(offer);
        let session = peer.serving.session_mut();
        session.apply(found, &self.patience.peer, self.now);
    }

    /// A piece is on its way in from its origin: those who would otherwise fetch it as well are told.
    pub(super) fn coming(&mut self, id: PieceId) {
        let Some(tokens) = self.peers.of_content.get(&id.content) else {
            return;
        };
        for token in tokens {
            if let Some(link) = self.links.get(*token)
                && link.conn.line(&self.settings).is_some()
                && let Brain::Peer(peer) = &mut link.conn
            {
                let coming = session::Event::Coming(id.piece);
                let session = peer.serving.session_mut();
                session.apply(coming, &self.patience.peer, self.now);
                self.news.push_back(News::Of(*token, Happened::Arrived));
            }
        }
    }

    /// Who is at the other end of a link asks for a piece to be brought in, and may only there.
    fn bring_for(&self, link: &Link, piece: u32) {
        if let Brain::Peer(peer) = &link.conn
            && let Some(content) = &peer.content
            && link.conn.line(&self.settings).is_some()
        {
            let ask = Ask::Wanted(Arc::clone(content), piece);
            self.common.parts.answer.ask(ask);
        }
    }

    /// A piece can be offered from now on.
    pub(super) fn landed(&mut self, id: PieceId) {
        let Some(tokens) = self.peers.of_content.get(&id.content) else {
            return;
        };
        for token in tokens {
            if let Some(link) = self.links.get(*token)
                && let Brain::Peer(peer) = &mut link.conn
            {
                let session = peer.serving.session_mut();
                session.apply(
                    session::Event::Landed(id.piece),
                    &self.patience.peer,
                    self.now,
                );
                self.news.push_back(News::Of(*token, Happened::Arrived));
            }
        }
    }

    /// Sets up what a block is sent from; false where its content is not shared any more. What was read for the block
    /// before it serves for this one, too, where it holds it.
    fn begin(&self, link: &mut Link, block: Block) -> bool {
        let store = &self.common.parts.store;
        self.common.parts.figures.peer_requests.increment(1);
        let Brain::Peer(peer) = &mut link.conn else {
            return false;
        };
        let changes = store.swarm_changes();
        if peer.changes != changes {
            // Whether it is the content of that swarm still, or its hashes were refuted.
            let swarm = peer.serving.session().swarm();
            let shared = swarm.and_then(|swarm| store.by_swarm(&swarm));
            let same = |content: &Arc<_>| peer.is_of(content);
            peer.content = shared.filter(same);
            peer.changes = changes;
        }
        let begin = piece_start(block.piece) + u64::from(block.offset);
        let Some(content) = peer.content.clone() else {
            return false;
        };
        let source = match peer.last.take() {
            Some((piece, source)) if piece == block.piece => source,
            _ => Source::Unknown,
        };
        link.body = Some(Body {
            walk: Walk::new(
                content.length(),
                Span::new(begin, begin + u64::from(block.len)),
            ),
            content,
            parts: None,
            source,
            route: None,
            deadline: self.now,
            looks: 0,
            asked_for: None,
            misses: Misses::Nothing,
            upload: Some(Upload {
                block,
                is_announced: false,
            }),
        });
        true
    }

    /// A block was sent: what it was read into is kept for the next one, as long as nobody else needs it.
    pub(super) fn keep_frame(&mut self, link: &mut Link, body: Body) {
        let Brain::Peer(peer) = &mut link.conn else {
            return;
        };
        if let (Some(upload), Source::Disk { .. }) = (&body.upload, &body.source)
            && self.line.is_empty()
        {
            peer.last = Some((upload.block.piece, body.source));
            if !link.holds {
                link.holds = true;
                self.holders.push_back(link.token);
            }
        }
    }

    /// Looks whether slots change hands.
    pub(super) fn turn_slots(&mut self) {
        let slots = slots(&self.settings, self.common.mailboxes.len());
        let Peers {
            choker,
            told,
            slots: present,
            ..
        } = &mut self.peers;
        if slots != *present {
            *present = slots;
            choker.set_slots(slots, self.now, told);
        }
        choker.tick(self.now, told);
        self.hand_out_slots(None);
    }

    /// Tells peers that they may ask, or may no more. `here` is one that is taken out of its place.
    pub(super) fn hand_out_slots(&mut self, mut here: Option<&mut Link>) {
        let mut told = std::mem::take(&mut self.peers.told);
        for told in told.drain(..) {
            let (token, event) = match told {
                Told::Unchoke(token) => (token, session::Event::Unchoke),
                Told::Choke(token) => (token, session::Event::Choke),
            };
            let link = match &mut here {
                Some(link) if link.token == token => Some(&mut **link),
                _ => {
                    self.news.push_back(News::Of(token, Happened::Arrived));
                    self.links.get(token)
                }
            };
            if let Some(link) = link
                && let Brain::Peer(peer) = &mut link.conn
            {
                let session = peer.serving.session_mut();
                session.apply(event, &self.patience.peer, self.now);
            }
        }
        self.peers.told = told;
    }

    /// A peer's connection is over.
    pub(super) fn peer_is_gone(&mut self, link: &mut Link) {
        let Brain::Peer(peer) = &mut link.conn else {
            return;
        };
        let token = link.token;
        if let Some(no) = peer.registered
            && let Some(tokens) = self.peers.of_content.get_mut(&no)
        {
            tokens.retain(|held| *held != token);
            if tokens.is_empty() {
                self.peers.of_content.remove(&no);
            }
        }
        if link.holds {
            self.holders.retain(|held| *held != token);
        }
        self.peers.count -= 1;
        self.mailbox
            .peers
            .store(self.peers.count, Ordering::Release);
        self.common.parts.figures.peer_connections.decrement(1.0);
        // Those who have said who they are stand there no more, or are passed over.
        if self.peers.strangers.front() == Some(&token) {
            self.peers.strangers.pop_front();
        }
        if self.peers.strangers.len() > 2 * self.peers.count + 64 {
            let links = &mut self.links;
            self.peers
                .strangers
                .retain(|token| links.get(*token).is_some());
        }
        let Peers { choker, told, .. } = &mut self.peers;
        choker.gone(token, self.now, told);
        self.hand_out_slots(None);
    }
}
