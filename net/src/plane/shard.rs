//! One shard thread: a driver, its connections, and the loop that joins them. The rule: a turn takes all that has
//! happened, does for a while what can be done without waiting, and waits once; nothing here blocks but that wait.

mod arrival;
mod body;
mod clients;
mod decide;
mod ending;
mod link;
mod peer;
mod permit;

pub(crate) use body::failure;
pub(crate) use decide::Stored;
pub(crate) use link::Before;

use crate::clients::OF_A_SHARD_MAX;
use crate::http::handoff::HandedOver;
use crate::http::small::write_refusal;
use crate::plane::mailbox::{Mailbox, Note};
use crate::plane::timers::Timers;
use crate::plane::uploads::{Allowance, Uploads};
use crate::plane::{PlaneParts, ShardReport};
use crate::settings::Settings;
use clients::Over;
use larder_proto::answer::http_date;
use larder_proto::clients::Book;
use larder_proto::http::conn::{Action, Event as Happened, Refuse};
use larder_proto::http::room::Room;
use larder_proto::time::{Time, UnixSecs};
use larder_storage::arena::Arena;
use larder_storage::driver::{Driver, Event, Token};
use larder_storage::driver_any::{AnyDriver, open_driver};
use larder_storage::flight::Flight;
use larder_storage::store::{DiskPiece, SlabRead};
use link::{Brain, Link, Links, Patience};
use peer::Peers;
use permit::Permit;
use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::PlaneOptions;

/// How long a listener that could not accept is left alone.
const LISTEN_PAUSE: Duration = Duration::from_millis(200);

/// An idle connection keeps a buffer of this size; a larger one is given back.
const IDLE_BUFFER_BYTES: usize = 8 << 10;

/// What all shards of a plane share.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) parts: PlaneParts,
    /// Those for clients, then those for peers.
    pub(crate) listeners: Vec<TcpListener>,
    /// How many of them are for clients.
    pub(crate) for_clients: usize,
    /// What peers may be sent.
    pub(crate) uploads: Uploads,
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    pub(crate) sendfile_is_safe: bool,
}

/// A turn looks at news for so long; what is left keeps its place and has the next turn. So whoever has something new
/// to say is never behind more than this and one piece.
const TURN: Duration = Duration::from_millis(2);

/// What has happened.
enum News {
    /// To a connection.
    Of(Token, Happened),
    /// To the driver. Received bytes are taken at once.
    Event(Event),
}

/// What has become of a connection.
enum Fate {
    Open,
    Closed,
    HandedOver,
}

/// A disk read under way. It keeps the slab file open until it is over, whatever becomes of its connection.
struct ReadUnderWay {
    token: Token,
    serial: u32,
    piece: DiskPiece,
    read: SlabRead,
    _slab: Arc<OwnedFd>,
}

/// One shard.
pub(crate) struct Shard {
    common: Arc<Common>,
    mailbox: Arc<Mailbox>,
    number: usize,
    driver: AnyDriver,
    arena: Arena,
    links: Links,
    timers: Timers,
    settings: Arc<Settings>,
    patience: Patience,
    peers: Peers,
    permit: Permit,
    /// What may be sent to peers without asking again.
    allowance: Allowance,
    now: Time,
    unix: UnixSecs,
    date: [u8; 29],
    reads: Vec<Option<ReadUnderWay>>,
    reads_free: Vec<usize>,
    /// For what was received and is not answered.
    room: Room,
    /// Connections that wait for a frame, the longest first.
    line: VecDeque<Token>,
    /// Connections that hold a frame while their socket is full.
    holders: VecDeque<Token>,
    /// What has happened and is still to be told, in order.
    news: VecDeque<News>,
    /// Flights claimed and not asked for yet.
    claims: Vec<Arc<Flight>>,
    /// Listeners to listen on again, and when.
    paused: Vec<(Time, u32)>,
    /// What was noted of clients since somebody asked.
    clients: Book,
    /// Bytes for connections that are gone, so that the driver gets its buffers back.
    discarded: Vec<u8>,
    last_answers: bool,
    draining: bool,
    stopping: bool,
}

impl Shard {
    /// Opens the driver of the calling thread.
    pub(crate) fn open(
        common: Arc<Common>,
        number: usize,
        options: &PlaneOptions,
    ) -> io::Result<(Self, ShardReport)> {
        let arena = Arena::new(options.arena_bytes)?;
        let (driver, why_not_ring) = open_driver(options.prefer, &arena)?;
        let report = ShardReport {
            driver: driver.kind(),
            describe: driver.describe(),
            advice: why_not_ring.or_else(|| driver.advice().map(str::to_owned)),
        };
        let mailbox = Arc::clone(&common.mailboxes[number]);
        mailbox.open(driver.waker());
        let settings = common.parts.settings.load_full();
        let (now, unix) = (common.parts.clock.now(), common.parts.clock.unix());
        let shard = Self {
            mailbox,
            number,
            driver,
            arena,
            links: Links::default(),
            timers: Timers::new(now),
            patience: Patience::of(&settings),
            peers: Peers::new(
                &settings,
                common.mailboxes.len(),
                options.seed ^ number as u64,
            ),
            permit: Permit::new(&common, &settings),
            allowance: Allowance::default(),
            settings,
            now,
            unix,
            date: http_date(unix),
            reads: Vec::new(),
            reads_free: Vec::new(),
            room: Room::new(options.inbox_bytes),
            line: VecDeque::new(),
            holders: VecDeque::new(),
            news: VecDeque::new(),
            claims: Vec::new(),
            paused: Vec::new(),
            clients: Book::new(OF_A_SHARD_MAX),
            discarded: Vec::new(),
            last_answers: false,
            draining: false,
            stopping: false,
            common,
        };
        Ok((shard, report))
    }

    /// Serves until it is told to stop.
    ///
    /// # Errors
    /// The driver's, when it is broken; then the connections of this shard are gone.
    pub(crate) fn run(mut self) -> io::Result<()> {
        for listener in 0..self.common.listeners.len() {
            self.listen(listener);
        }
        let (mut events, mut due) = (Vec::new(), Vec::new());
        loop {
            self.mailbox.turns.fetch_add(1, Ordering::Relaxed);
            let ended = self.common.parts.clock.now();
            let turn_seconds = &self.common.parts.figures.turn_seconds;
            turn_seconds.record(ended.since(self.now).as_secs_f64());
            let patience = if self.news.is_empty() {
                self.timers.patience(ended)
            } else {
                Duration::ZERO
            };
            self.driver.wait(Some(patience), &mut events)?;
            self.look_at_the_clock();
            for event in events.drain(..) {
                self.take_in(event);
            }
            while let Some(note) = self.mailbox.read() {
                self.told(note);
            }
            let end = self.now + TURN;
            while let Some(news) = self.news.pop_front() {
                match news {
                    News::Of(token, event) => self.tell(token, event),
                    News::Event(event) => self.happened(event),
                }
                if self.common.parts.clock.now() >= end {
                    break;
                }
            }
            self.timers.expired(self.now, &mut due);
            for token in due.drain(..) {
                self.due(token);
            }
            self.look_who_may_ask();
            self.turn_slots();
            self.serve_line();
            self.listen_again();
            if self.is_over() {
                return Ok(());
            }
        }
    }

    fn look_at_the_clock(&mut self) {
        let parts = &self.common.parts;
        self.now = parts.clock.now();
        let unix = parts.clock.unix();
        if unix != self.unix {
            self.unix = unix;
            self.date = http_date(unix);
        }
        let current = parts.settings.load();
        if !Arc::ptr_eq(&current, &self.settings) {
            self.settings = Arc::clone(&current);
            self.patience = Patience::of(&self.settings);
        }
    }

    fn listen(&mut self, listener: usize) {
        if let Ok(number) = u32::try_from(listener) {
            let fd = self.common.listeners[listener].as_raw_fd();
            self.driver.listen(number, fd);
        }
    }

    fn listen_again(&mut self) {
        if self.draining {
            self.paused.clear();
        }
        while let Some(at) = self.paused.iter().position(|(due, _)| *due <= self.now) {
            let (_, listener) = self.paused.swap_remove(at);
            self.listen(listener as usize);
        }
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Accepted { listener, fd } => self.accepted(listener, fd),
            Event::AcceptFailed { listener, error } => {
                self.common.parts.figures.accept_failures.increment(1);
                tracing::warn!(%error, "cannot accept connections just now; raise the limit on open files if this stays");
                self.paused.push((self.now + LISTEN_PAUSE, listener));
            }
            // Taken in before.
            Event::Received { token, len, .. } => {
                let event = match len {
                    0 => Happened::Ended,
                    _ => Happened::Received,
                };
                self.tell(token, event);
            }
            Event::RecvFailed { token, .. } => self.tell(token, Happened::Broken),
            Event::Writable { token } => self.tell(token, Happened::Room),
            Event::Cancelled { token } => self.tell(token, Happened::Cancelled),
            Event::Read { token, buf, result } => self.read_done(token, buf, result),
            Event::Woken => {}
        }
    }

    /// Takes what an event brings off the driver, which wants its buffers back before the next wait.
    fn take_in(&mut self, event: Event) {
        if let Event::Received { token, at, len } = event
            && len > 0
        {
            if let Some(link) = self.links.get(token) {
                self.driver.take(at, len, &mut link.inbox);
            } else {
                self.driver.take(at, len, &mut self.discarded);
                self.discarded.clear();
            }
        }
        self.news.push_back(News::Event(event));
    }

    fn told(&mut self, note: Note) {
        match note {
            Note::Socket(fd, speaks, seat) => self.welcome(fd, speaks, seat),
            Note::Resolved {
                token,
                serial,
                resolution,
            } => {
                if let Some(link) = self.links.get(token).filter(|link| link.serial == serial) {
                    link.resolution = Some(resolution);
                    self.news.push_back(News::Of(token, Happened::Arrived));
                }
            }
            Note::Progress(token, id) => {
                if let Some(link) = self.links.get(token) {
                    link.watching = link.watching.take().filter(|(flight, _)| flight.id() != id);
                    self.news.push_back(News::Of(token, Happened::Arrived));
                }
            }
            Note::Offered {
                token,
                serial,
                pieces,
            } => {
                if let Some(mut link) = self.links.take(token) {
                    if link.serial == serial {
                        self.offered(&mut link, pieces);
                    }
                    self.links.put(link);
                    self.news.push_back(News::Of(token, Happened::Arrived));
                }
            }
            Note::Landed(id) => self.landed(id),
            Note::Coming(id) => self.coming(id),
            Note::Clients(to) => self.give_clients(&to),
            Note::Last => self.say_last(),
            Note::Drain => self.drain(),
            Note::Stop => self.stop(),
        }
    }

    fn due(&mut self, token: Token) {
        if let Some(link) = self.links.get(token) {
            link.armed = None;
            if std::mem::take(&mut link.paced) {
                self.tell(token, Happened::Arrived);
            }
            self.tell(token, Happened::Tick);
        }
    }

    /// Gives frames that came back to those who wait for one, and takes frames from those who can not send.
    fn serve_line(&mut self) {
        while !self.line.is_empty() && self.arena.free_bytes() == 0 {
            let Some(holder) = self.holders.pop_front() else {
                break;
            };
            if let Some(link) = self.links.get(holder) {
                link.holds = false;
                link.give_up_frame();
            }
        }
        // Some of those in line may be gone, or be served from memory by now: the next ones are not to wait for that.
        for _ in 0..self.line.len() {
            if self.arena.free_bytes() == 0 {
                return;
            }
            let Some(token) = self.line.pop_front() else {
                return;
            };
            if let Some(link) = self.links.get(token) {
                link.first_in_line = true;
                self.tell(token, Happened::Arrived);
            }
        }
    }

    /// Lets a connection know what happened, and does what it wants done.
    fn tell(&mut self, token: Token, event: Happened) {
        let Some(mut link) = self.links.take(token) else {
            return;
        };
        link.conn.apply(event, &self.patience, self.now);
        let mut inbox = std::mem::take(&mut link.inbox);
        let fate = match link.conn {
            Brain::Http(_) => self.act(&mut link, &mut inbox),
            Brain::Peer(_) => self.act_for_peer(&mut link, &mut inbox),
        };
        if std::mem::take(&mut link.held_back) {
            // No further answer has followed: what waits for one leaves now, which saying this again makes it do.
            let _ = socket2::SockRef::from(&link.socket).set_tcp_nodelay(true);
        }
        match fate {
            Fate::Open => {}
            Fate::Closed => return self.gone(&mut link),
            Fate::HandedOver => {
                self.gone(&mut link);
                let Link { socket, seat, .. } = *link;
                let received = inbox;
                let take_over = &self.common.parts.take_over;
                return take_over.take_over(HandedOver {
                    socket,
                    received,
                    seat,
                });
            }
        }
        if inbox.is_empty() && (inbox.capacity() > IDLE_BUFFER_BYTES || self.room.is_short()) {
            inbox = Vec::new();
        }
        link.inbox = inbox;
        if self.is_crammed(&mut link) {
            self.news.push_back(News::Of(token, Happened::Stop));
        }
        if let Some(deadline) = link.conn.deadline(&self.patience)
            && link.armed.is_none_or(|armed| deadline < armed)
        {
            link.armed = Some(deadline);
            self.timers.arm(token, deadline);
        }
        self.links.put(link);
    }

    /// Does what a connection wants done, until it rests.
    fn act(&mut self, link: &mut Link, inbox: &mut Vec<u8>) -> Fate {
        loop {
            let fd = link.socket.as_raw_fd();
            let Brain::Http(conn) = &mut link.conn else {
                return Fate::Closed;
            };
            let event = match conn.next(inbox, self.now) {
                Action::Rest => return Fate::Open,
                Action::Receive => {
                    self.driver.recv(link.token, fd);
                    continue;
                }
                Action::Decide { head, cause } => self.decide(link, &head, cause),
                Action::Refuse(refuse) => self.refuse(link, refuse),
                Action::Send => self.send(link, inbox),
                Action::AwaitRoom => {
                    self.driver.writable(link.token, fd);
                    continue;
                }
                Action::Forget(bytes) => {
                    inbox.drain(..bytes);
                    continue;
                }
                Action::FinishSending => {
                    // A client that is gone already is closed on soon.
                    let _ = socket2::SockRef::from(&link.socket).shutdown(Shutdown::Write);
                    continue;
                }
                Action::Discard => {
                    inbox.clear();
                    continue;
                }
                Action::Cancel => {
                    self.driver.cancel(link.token, fd);
                    continue;
                }
                Action::TakeOver => return Fate::HandedOver,
                Action::Close { cut } => {
                    if cut {
                        self.common.parts.figures.cut.increment(1);
                    }
                    self.count(link, if cut { Over::Cut } else { Over::Left });
                    return Fate::Closed;
                }
            };
            link.conn.apply(event, &self.patience, self.now);
        }
    }

    fn refuse(&mut self, link: &mut Link, refuse: Refuse) -> Happened {
        link.drop_answer();
        let keep_alive = link.conn.may_keep(refuse.keep_alive);
        self.write_refusal(
            link,
            refuse.status,
            refuse.reason,
            keep_alive,
            refuse.head_only,
        );
        Happened::Answering { keep_alive }
    }

    /// Writes an error as the answer.
    fn write_refusal(
        &self,
        link: &mut Link,
        status: u16,
        reason: &str,
        keep_alive: bool,
        head_only: bool,
    ) {
        write_refusal(
            &mut link.out,
            status,
            reason,
            keep_alive,
            head_only,
            self.settings.cache_status,
            &self.date,
        );
        link.said = Some((status, None));
    }

    /// Counts the answer at hand, once.
    fn count(&mut self, link: &mut Link, over: Over) {
        self.note_answer(link, over);
        if let Some((status, cache)) = link.said.take() {
            let figures = &self.common.parts.figures;
            figures.request(status, cache);
            figures.requests_on_shard.increment(1);
        }
    }

    fn gone(&mut self, link: &mut Link) {
        self.note_sent(link);
        link.unwatch();
        self.room.changed(link.held, 0);
        self.links.remove(link.token);
        self.mailbox.connections.fetch_sub(1, Ordering::Relaxed);
        match link.conn {
            Brain::Http(_) => self.common.parts.figures.connections.decrement(1.0),
            Brain::Peer(_) => self.peer_is_gone(link),
        }
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.mailbox.alive.store(false, Ordering::Release);
        self.mailbox.accepting.store(false, Ordering::Release);
        self.mailbox.connections.store(0, Ordering::Relaxed);
        self.mailbox.peers.store(0, Ordering::Release);
    }
}
