//! The body of an answer, piece by piece: found, read, waited for, sent. The rule: a byte is sent from memory that is
//! final (a frame's filled part, or what was verified after a read), or not at all.

use super::clients::{Misses, Over};
use super::link::{Body, Link, OF_A_READ, Peer, Source};
use super::peer::GONE;
use super::{News, ReadUnderWay, Shard};
use crate::http::described::facts_of;
use crate::links::Direction;
use crate::sock;
use larder_content::{BLOCK_BYTES, PieceId, Span};
use larder_proto::answer;
use larder_proto::bucket::Take;
use larder_proto::http::conn::{Event as Happened, Failure, Remedy};
use larder_proto::http::walk::{Part, Walk};
use larder_proto::policy::PeerType;
use larder_proto::swarm::wire::piece_head;
use larder_storage::buf::IoBuf;
use larder_storage::driver::{Driver, Token};
use larder_storage::flight::{FlightError, FlightState, Watch, Watcher};
use larder_storage::ram_tier::RamFrame;
use larder_storage::store::{Claim, DiskPiece, Found, Verified};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

/// What one connection may send in one go; then others have their turn.
pub(super) const TURN_BYTES: u64 = 2 << 20;

/// A part of at most so many bytes leaves in one call with its head: copying it costs less than the second call. Where
/// the next answer follows at once, larger ones gain by sharing a segment with it.
const fn together_bytes_max(followed: bool) -> u32 {
    if followed { 16 << 10 } else { 4 << 10 }
}

/// So long it takes, mostly, until bytes for Internet peers are counted and may be sent.
const COUNTED_WITHIN: Duration = Duration::from_millis(20);
/// So often it is looked whether a new month has begun, where the old one is used up in the middle of a block.
const MONTH_EVERY: Duration = Duration::from_secs(1);

/// Look-ups without a byte sent after which a piece is given up: it keeps being moved, or found damaged.
const LOOKS_MAX: u32 = 16;

/// The origin may not be asked any more.
pub(super) const NOT_ALLOWED: FlightError = FlightError::Origin;

/// What there is to send of a piece right now.
enum Ready {
    /// These bytes of the piece, from this source.
    Bytes(Part),
    /// Nothing, and this is why.
    Not(Happened),
}

impl Shard {
    /// Sends what comes next of an answer, as much as goes.
    pub(super) fn send(&mut self, link: &mut Link, inbox: &[u8]) -> Happened {
        if let Some(mut body) = link.body.take() {
            if let Some(event) = self.send_body(link, &mut body, inbox) {
                link.body = Some(body);
                return event;
            }
            self.keep_frame(link, body);
        }
        match self.send_out(link, false) {
            Ok(true) => {
                self.count(link, Over::Whole);
                Happened::Done
            }
            Ok(false) => Happened::Full,
            Err(_) => Happened::Broken,
        }
    }

    /// Sends what is there of a body, after what is written; None when nothing is left of it.
    fn send_body(&mut self, link: &mut Link, body: &mut Body, inbox: &[u8]) -> Option<Happened> {
        let mut left = TURN_BYTES;
        loop {
            let Some(part) = body.walk.here() else {
                if self.next_part(link, body) {
                    continue;
                }
                return None;
            };
            if left == 0 {
                self.news.push_back(News::Of(link.token, Happened::Arrived));
                return Some(Happened::Yielded);
            }
            let ready = match self.ready(link, body, part, inbox) {
                Ready::Bytes(ready) => ready,
                Ready::Not(event) => return Some(event),
            };
            let ready = match self.granted(link, body, ready) {
                Some(granted) => granted,
                None => return Some(Happened::Starved),
            };
            let followed = link.conn.is_followed(inbox.len());
            let sent = match (&body.source, ready.to - ready.from) {
                (Source::Ram(frame), bytes) if bytes <= together_bytes_max(followed) => {
                    let frame = Arc::clone(frame);
                    self.send_together(link, body, &frame, ready, followed)
                }
                _ => match self.send_out(link, true) {
                    Ok(true) => self
                        .send_part(link, body, ready)
                        .inspect(|_| link.held_back = false),
                    Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
                    Err(error) => Err(error),
                },
            };
            if body.upload.is_some() {
                let left = u64::from(ready.to - ready.from);
                let sent = *sent.as_ref().unwrap_or(&0) as u64;
                let unsent = left.saturating_sub(sent);
                self.allowance.give_back(unsent);
                if let Some(line) = link.conn.line(&self.settings) {
                    line.give_back(Direction::Out, unsent);
                    line.went(Direction::Out, left.saturating_sub(unsent));
                }
                if let Some(near) = link.conn.peer().and_then(|peer| peer.near) {
                    let figures = &self.common.parts.figures;
                    figures.given_bytes(near.kind).increment(sent);
                    if near.kind == PeerType::Internet {
                        self.common.parts.monthly.give_back(unsent);
                    }
                }
            }
            match sent {
                Ok(sent) => {
                    let sent = sent as u64;
                    left = left.saturating_sub(sent);
                    match (body.misses, &body.source) {
                        (Misses::All, _) | (Misses::Some, Source::Flight(_)) => {
                            link.sent.fetched += sent;
                        }
                        _ => link.sent.stored += sent,
                    }
                    self.sent(link);
                    self.advance(body, part, sent, inbox);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.loosen(link, body);
                    return Some(Happened::Full);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Some(Happened::Broken),
            }
        }
    }

    /// As much of what is ready as may leave now; None where it is a peer's, and nothing may: it is woken when it may.
    fn granted(&mut self, link: &mut Link, body: &mut Body, ready: Part) -> Option<Part> {
        let Some(upload) = &mut body.upload else {
            return Some(ready);
        };
        let monthly = &self.common.parts.monthly;
        let counts = link.conn.peer().is_some_and(Peer::is_internet);
        let mut want = u64::from(ready.to - ready.from);
        if counts {
            want = monthly.take(want);
            if want == 0 {
                link.paced = true;
                let after = if monthly.is_over() {
                    MONTH_EVERY
                } else {
                    COUNTED_WITHIN
                };
                self.timers.arm(link.token, self.now + after);
                return None;
            }
        }
        let uploads = &self.common.uploads;
        let mut taken = self.allowance.take(want, &self.settings, uploads, self.now);
        if let (Take::Granted(bytes), Some(line)) = (taken, link.conn.line(&self.settings)) {
            // A link has a rate of its own, besides that of all uploads.
            taken = line.take(Direction::Out, bytes, self.now);
            let of_it = match taken {
                Take::Granted(of_it) => of_it,
                Take::Later(_) => 0,
            };
            self.allowance.give_back(bytes.saturating_sub(of_it));
        }
        if counts {
            let granted = match taken {
                Take::Granted(bytes) => bytes,
                Take::Later(_) => 0,
            };
            monthly.give_back(want.saturating_sub(granted));
        }
        match taken {
            Take::Granted(bytes) => {
                if !std::mem::replace(&mut upload.is_announced, true) {
                    link.out.extend_from_slice(&piece_head(upload.block));
                }
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                let to = ready.to.min(ready.from.saturating_add(bytes));
                Some(Part { to, ..ready })
            }
            Take::Later(at) => {
                link.paced = true;
                self.timers.arm(link.token, at);
                None
            }
        }
    }

    /// Goes on to the next part of a multipart body, or ends the body; false when there is none.
    fn next_part(&self, link: &mut Link, body: &mut Body) -> bool {
        let Some(parts) = &mut body.parts else {
            return false;
        };
        let Some(span) = parts.spans.next() else {
            answer::write_parts_end(&mut link.out, &parts.boundary);
            return false;
        };
        let facts = facts_of(&body.content, self.unix);
        answer::write_part(&mut link.out, &parts.boundary, span, &facts);
        body.walk = Walk::new(facts.length, span);
        body.source = Source::Unknown;
        true
    }

    /// Sends what is written; true when nothing is left of it. `more`: bytes of a body follow at once.
    fn send_out(&self, link: &mut Link, more: bool) -> io::Result<bool> {
        while link.out_at < link.out.len() {
            match sock::send(link.socket.as_raw_fd(), &link.out[link.out_at..], more) {
                Ok(sent) => {
                    link.out_at += sent;
                    self.sent(link);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        link.out.clear();
        link.out_at = 0;
        Ok(true)
    }

    /// Sends what is written and a part from memory in one call; says how many bytes of the part the socket took. `more`:
    /// another answer follows at once, so that both leave in one segment.
    fn send_together(
        &self,
        link: &mut Link,
        body: &Body,
        frame: &RamFrame,
        part: Part,
        more: bool,
    ) -> io::Result<usize> {
        let bytes = &frame.bytes()[part.from as usize..part.to as usize];
        let head = &link.out[link.out_at..];
        let sent = sock::send_both(link.socket.as_raw_fd(), head, bytes, more)?;
        link.held_back = more;
        let of_head = sent.min(head.len());
        link.out_at += of_head;
        if link.out_at == link.out.len() {
            link.out.clear();
            link.out_at = 0;
        }
        let figures = &self.common.parts.figures;
        let counter = match body.upload {
            Some(_) => &figures.peer_bytes_memory,
            None => &figures.bytes_memory,
        };
        counter.increment((sent - of_head) as u64);
        Ok(sent - of_head)
    }

    /// Some bytes of the answer have left.
    fn sent(&self, link: &mut Link) {
        if !link.conn.has_begun() {
            let waited = self.now.since(link.conn.asked());
            let figures = &self.common.parts.figures;
            figures.first_byte_seconds.record(waited.as_secs_f64());
        }
        link.conn.apply(Happened::Sent, &self.patience, self.now);
    }

    fn advance(&mut self, body: &mut Body, part: Part, sent: u64, inbox: &[u8]) {
        body.looks = 0;
        body.walk.advance(sent);
        // A block lies in one piece, and nothing is fetched for it.
        if sent < u64::from(part.to - part.from) || body.upload.is_some() {
            return;
        }
        // On to the next piece; some further ahead may be due to be asked for.
        body.source = Source::Unknown;
        for piece in body.walk.ask_ahead(self.settings.ahead_bytes_max) {
            let id = PieceId {
                content: body.content.no,
                piece,
            };
            let len = body.content.piece_len(piece);
            if let Claim::Owner(flight) = self.common.parts.store.claim(id, len) {
                body.misses = body.misses.max(Misses::Some);
                self.claims.push(flight);
            }
        }
        if !self.claims.is_empty() {
            let route = self.route_of(inbox);
            self.ask_for(body, || route);
        }
    }

    /// What can be sent of `part` now.
    fn ready(&mut self, link: &mut Link, body: &mut Body, part: Part, inbox: &[u8]) -> Ready {
        loop {
            match &body.source {
                Source::Unknown => {
                    body.looks += 1;
                    if body.looks > LOOKS_MAX {
                        return Ready::Not(Happened::Failed(Failure {
                            status: 502,
                            reason: "the piece can not be read",
                            remedy: Remedy::None,
                        }));
                    }
                    if !self.look_up(link, body, part, inbox) {
                        return Ready::Not(Happened::Failed(GONE));
                    }
                }
                Source::Ram(frame) => {
                    let to = part.to.min(frame.filled());
                    if to > part.from {
                        return Ready::Bytes(Part { to, ..part });
                    }
                    body.source = Source::Unknown;
                }
                Source::Disk { begin, blocks, .. } => {
                    let end = begin + u32::try_from(blocks.len()).unwrap_or(0);
                    let to = part.to.min(end);
                    if part.from >= *begin && to > part.from {
                        return Ready::Bytes(Part { to, ..part });
                    }
                    body.source = Source::Unknown;
                }
                Source::Flight(flight) => {
                    let mut seen = flight.seen();
                    let waits = |seen: &larder_storage::flight::Seen| {
                        seen.filled <= part.from
                            && matches!(seen.state, FlightState::Waiting | FlightState::Filling)
                    };
                    if waits(&seen) && link.watching.is_none() {
                        let wake = Arc::clone(&self.mailbox) as Arc<dyn Watch>;
                        let token = link.token;
                        let watcher = Watcher { wake, token };
                        seen = flight.watch(watcher.clone());
                        if matches!(seen.state, FlightState::Waiting | FlightState::Filling) {
                            link.watching = Some((Arc::clone(flight), watcher));
                        }
                    }
                    if waits(&seen) {
                        return Ready::Not(Happened::Starved);
                    }
                    if seen.filled > part.from {
                        let to = part.to.min(seen.filled);
                        return Ready::Bytes(Part { to, ..part });
                    }
                    body.source = Source::Unknown;
                    if let FlightState::Failed(error) = seen.state {
                        return Ready::Not(Happened::Failed(failure(error)));
                    }
                }
                Source::InLine if link.first_in_line => body.source = Source::Unknown,
                Source::InLine | Source::Reading(_) => return Ready::Not(Happened::Starved),
            }
        }
    }

    /// Finds the piece at hand, or asks for it; false where a peer asks for one that is not stored any more.
    fn look_up(&mut self, link: &mut Link, body: &mut Body, part: Part, inbox: &[u8]) -> bool {
        let id = PieceId {
            content: body.content.no,
            piece: part.piece,
        };
        let asked = body.asks_for(part);
        match self.common.parts.store.find_part(id, asked) {
            Found::Ram(frame) => body.source = Source::Ram(frame),
            Found::Disk(place) => self.read(link, body, &place),
            // What is on its way in is not proved yet.
            Found::Flight(_) | Found::Absent if body.upload.is_some() => return false,
            Found::Flight(flight) => body.source = Source::Flight(flight),
            Found::Absent => match self.common.parts.store.claim(id, body.walk.piece_len()) {
                Claim::Stored => {}
                Claim::Waiter(flight) => body.source = Source::Flight(flight),
                Claim::Owner(flight) => {
                    body.misses = body.misses.max(Misses::Some);
                    body.source = Source::Flight(Arc::clone(&flight));
                    self.claims.push(flight);
                    let route = self.route_of(inbox);
                    self.ask_for(body, || route);
                }
            },
        }
        true
    }

    /// Has a piece read from disk, what is wanted of it; a hot one whole, into memory.
    pub(super) fn read(&mut self, link: &mut Link, body: &mut Body, place: &DiskPiece) {
        let Some(part) = body.walk.here() else {
            return;
        };
        let store = &self.common.parts.store;
        let whole = Span::new(0, u64::from(place.len));
        let admitted = if place.hot && place.skip == 0 {
            store.admit(place)
        } else {
            None
        };
        let (buf, read) = match admitted {
            Some(writer) => (IoBuf::Ram(writer), place.read_of(whole)),
            None => {
                let wanted = Span::new(u64::from(part.from), u64::from(part.to));
                let read = place.read_of(wanted);
                let its_turn = std::mem::take(&mut link.first_in_line) || self.line.is_empty();
                let frame = its_turn.then(|| self.arena.frame_of(read.len as usize));
                // There is not always room for all that is wanted: then the rest is read when this has been sent.
                let fits = frame.flatten().and_then(|frame| {
                    let read = place.read_that_fits(wanted, frame.len());
                    (read.len as usize <= frame.len()).then_some((frame, read))
                });
                let Some((frame, read)) = fits else {
                    self.line.push_back(link.token);
                    body.source = Source::InLine;
                    return;
                };
                (IoBuf::Arena(frame), read)
            }
        };
        let Some(slab) = store.slab_fd(place) else {
            body.source = Source::Unknown;
            return;
        };
        let fd = slab.as_raw_fd();
        let (offset, len) = (read.offset, read.len);
        let index = self.reads_free.pop().unwrap_or_else(|| {
            self.reads.push(None);
            self.reads.len() - 1
        });
        self.reads[index] = Some(ReadUnderWay {
            token: link.token,
            serial: link.serial,
            piece: *place,
            read,
            _slab: slab,
        });
        self.driver
            .read(Token(OF_A_READ | index as u64), fd, offset, len, buf);
        body.source = Source::Reading(place.id);
    }

    /// A disk read is over, whatever has become of its connection.
    pub(super) fn read_done(&mut self, token: Token, buf: IoBuf, result: io::Result<()>) {
        let index = usize::try_from(token.0 & !OF_A_READ).unwrap_or(usize::MAX);
        let Some(done) = self.reads.get_mut(index).and_then(Option::take) else {
            return;
        };
        self.reads_free.push(index);
        let store = &self.common.parts.store;
        let source = match result {
            Err(error) => {
                store.read_failed(&done.piece, &error);
                Source::Unknown
            }
            Ok(()) => {
                match buf {
                    // Verified as it is admitted; then it is looked up again, and found in memory if it was right.
                    IoBuf::Ram(writer) => {
                        store.admitted(&done.piece, writer);
                        Source::Unknown
                    }
                    buf => {
                        let bytes = buf.bytes(done.read.blocks.end);
                        let data = bytes.get(done.read.blocks.clone()).unwrap_or(&[]);
                        match store.verify(&done.piece, done.read.first_block, data) {
                            Verified::Good => Source::Disk {
                                buf,
                                begin: done.read.first_block * BLOCK_BYTES,
                                blocks: done.read.blocks,
                            },
                            // Moved: it is looked up again. Corrupt: the store has dropped it, and it is fetched again.
                            Verified::Moved | Verified::Corrupt => Source::Unknown,
                        }
                    }
                }
            }
        };
        let Some(link) = self
            .links
            .get(done.token)
            .filter(|link| link.serial == done.serial)
        else {
            return;
        };
        if let Some(body) = &mut link.body
            && matches!(body.source, Source::Reading(id) if id == done.piece.id)
        {
            body.source = source;
            self.tell(done.token, Happened::Arrived);
        }
    }

    fn send_part(&self, link: &Link, body: &Body, part: Part) -> io::Result<usize> {
        let figures = &self.common.parts.figures;
        let (memory, disk) = match body.upload {
            Some(_) => (&figures.peer_bytes_memory, &figures.peer_bytes_disk),
            None => (&figures.bytes_memory, &figures.bytes_disk),
        };
        let (sent, counter) = match &body.source {
            Source::Ram(frame) => (self.send_frame(link, frame, part)?, memory),
            Source::Flight(flight) => {
                let frame = flight.frame().ok_or(io::ErrorKind::WouldBlock)?;
                (self.send_frame(link, &frame, part)?, &figures.bytes_origin)
            }
            Source::Disk { buf, begin, blocks } => {
                let bytes = &buf.bytes(blocks.end)[blocks.clone()];
                let from = (part.from - begin) as usize;
                let bytes = &bytes[from..from + (part.to - part.from) as usize];
                (sock::send(link.socket.as_raw_fd(), bytes, false)?, disk)
            }
            Source::Unknown | Source::Reading(_) | Source::InLine => return Ok(0),
        };
        counter.increment(sent as u64);
        Ok(sent)
    }

    fn send_frame(&self, link: &Link, frame: &Arc<RamFrame>, part: Part) -> io::Result<usize> {
        if self.common.sendfile_is_safe {
            return frame.send_file(link.socket.as_fd(), part.from..part.to);
        }
        let bytes = &frame.bytes()[part.from as usize..part.to as usize];
        sock::send(link.socket.as_raw_fd(), bytes, false)
    }

    /// The socket is full: memory that others may need is not kept for it.
    fn loosen(&mut self, link: &mut Link, body: &mut Body) {
        match &body.source {
            Source::Disk { .. } if !self.line.is_empty() => body.source = Source::Unknown,
            Source::Disk { .. } if !link.holds => {
                link.holds = true;
                self.holders.push_back(link.token);
            }
            Source::Ram(_) | Source::Flight(_) => {
                let ram = self.common.parts.store.ram();
                if ram.used_bytes() > ram.capacity_bytes() / 4 * 3 {
                    link.unwatch();
                    body.source = Source::Unknown;
                }
            }
            _ => {}
        }
    }
}

/// What a flight's failure means for who waits for it.
pub(crate) fn failure(error: FlightError) -> Failure {
    let (status, reason, remedy) = match error {
        FlightError::Origin => (
            502,
            "the origin broke off or answered what cannot be used",
            Remedy::Again,
        ),
        FlightError::Timeout => (504, "the origin did not answer in time", Remedy::Again),
        FlightError::Overloaded => (503, "too much is asked for at once", Remedy::None),
        FlightError::Changed => (
            502,
            "the origin has another version of the object now",
            Remedy::Anew,
        ),
        // It was asked for twice already.
        FlightError::Unproved => (
            502,
            "the origin's bytes are not those that their hash names",
            Remedy::None,
        ),
        FlightError::Closing => (503, "larder is stopping", Remedy::None),
        FlightError::Cancelled => (
            503,
            "an administrator has cancelled this download",
            Remedy::None,
        ),
    };
    Failure {
        status,
        reason,
        remedy,
    }
}
