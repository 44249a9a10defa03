//! A connection that was handed over, request by request. The rule: every head is read by the parser of the shards and
//! nothing else, requests are answered in the order they came, and what waits behind one is not lost.

use super::holding::Holding;
use super::{Inner, Said, Taking, with_body};
use crate::download::exchange::Hold;
use crate::http::client_io::{ClientIo, flush};
use crate::http::small::write_refusal;
use crate::origin::BoxError;
use crate::settings::Settings;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PRAGMA, RANGE, VIA,
};
use http::{HeaderMap, Method, Request, Version, request};
use larder_content::ContentNo;
use larder_proto::answer::{CacheStatus, http_date};
use larder_proto::directives::Directives;
use larder_proto::http::head::{BodyKind, FIELDS_MAX, HEAD_BYTES_MAX, Head, Parsed, parse_head};
use larder_proto::http::route::{Refusal, route};
use larder_proto::time::Time;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

/// How long a client may take to close after the last answer.
const LINGER: Duration = Duration::from_secs(2);

/// Fields that a request has once; with several of them the origin decides.
const ONCE: [HeaderName; 6] = [
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
];

/// What follows an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum After {
    /// The next request.
    Next,
    /// The client closes.
    Last,
    /// The answer is incomplete: nothing may follow it.
    Cut,
    /// The request has a body, and is not answered yet.
    Body,
}

/// One request.
pub(super) struct Turn<'c> {
    pub(super) service: &'c Inner,
    pub(super) settings: Arc<Settings>,
    pub(super) head: &'c Head<'c>,
    pub(super) parts: request::Parts,
    pub(super) keep_alive: bool,
    /// When its head was complete.
    pub(super) asked: Time,
    /// Something was sent.
    pub(super) begun: bool,
    /// A large body that comes in for it, as far as it takes it.
    pub(super) hold: Option<Hold>,
    /// What was answered.
    pub(super) said: Option<(u16, Option<CacheStatus>)>,
    /// The host that was asked for, once it is known.
    host: Option<String>,
    /// What was sent is of this content.
    pub(super) sends: Option<ContentNo>,
    /// Bytes of the body that were sent.
    pub(super) body_bytes: u64,
    socket: &'c mut dyn ClientIo,
}

/// Serves a connection to its end; `inbox` is what was received of it and not answered.
pub(super) async fn talk(
    inner: &Arc<Inner>,
    mut socket: Box<dyn ClientIo>,
    mut inbox: Vec<u8>,
) -> Result<(), BoxError> {
    let mut served = false;
    let mut holding = Holding::new(inner);
    loop {
        if !receive_head(&mut holding, inner, &mut *socket, &mut inbox, served).await? {
            return goodbye(&mut *socket).await.map_err(Into::into);
        }
        served = true;
        let (after, consumed) = match parse_head(&inbox) {
            Parsed::Head(head) => {
                let after = take_turn(inner, &mut *socket, &head, &inbox).await?;
                (after, head.consumed)
            }
            Parsed::Bad { status, reason } => {
                refuse_head(inner, &mut *socket, status, reason).await?;
                (After::Last, inbox.len())
            }
            // It was complete.
            Parsed::Incomplete => return Ok(()),
        };
        match after {
            After::Next => {
                inbox.drain(..consumed);
                inbox.shrink_to_fit();
            }
            After::Last => return linger(&mut *socket).await.map_err(Into::into),
            After::Cut => {
                inner.figures.cut.increment(1);
                return Ok(());
            }
            After::Body => return with_body::serve(inner, socket, inbox).await,
        }
    }
}

/// Receives until a head is complete or can not become one. False: there is none to come. `served`: the connection has
/// had an answer.
async fn receive_head(
    holding: &mut Holding<'_>,
    inner: &Inner,
    socket: &mut dyn ClientIo,
    inbox: &mut Vec<u8>,
    served: bool,
) -> io::Result<bool> {
    if !holding.may_be(inbox.capacity()) {
        return Ok(false);
    }
    let settings = inner.settings.load_full();
    let wait = |ms| Instant::now() + Duration::from_millis(ms);
    let mut due = wait(settings.idle_timeout_ms);
    let mut begun = false;
    let mut taking = inner.taking.subscribe();
    let over = async {
        // Whoever is gone takes nothing either.
        let _ = taking.wait_for(|taking| *taking == Taking::None).await;
        if !served {
            // Its first request may be on its way.
            tokio::time::sleep(LINGER).await;
        }
    };
    tokio::pin!(over);
    // A head ends with a line; so only a new line can complete one.
    let mut searched = 0;
    loop {
        let new = inbox.get(searched..).unwrap_or(&[]);
        if (new.contains(&b'\n') || inbox.len() > HEAD_BYTES_MAX)
            && !matches!(parse_head(inbox), Parsed::Incomplete)
        {
            return Ok(true);
        }
        searched = inbox.len();
        if !inbox.is_empty() && !begun {
            begun = true;
            due = wait(settings.head_timeout_ms);
        }
        let received = tokio::select! {
            received = timeout_at(due, socket.read_buf(inbox)) => received,
            () = &mut over, if !begun => return Ok(false),
        };
        match received {
            Ok(Ok(0)) | Err(_) => return Ok(false),
            Ok(Ok(_)) if !holding.may_be(inbox.capacity()) => return Ok(false),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
        }
    }
}

async fn refuse_head(
    inner: &Inner,
    socket: &mut dyn ClientIo,
    status: u16,
    reason: &str,
) -> io::Result<()> {
    let mut out = Vec::new();
    let date = http_date(inner.download.clock().unix());
    let says = inner.settings.load().cache_status;
    write_refusal(&mut out, status, reason, false, false, says, &date);
    inner.count(&Said {
        to: socket.from(),
        status: Some((status, None)),
        ..Said::default()
    });
    let stall = Duration::from_millis(inner.settings.load().send_stall_timeout_ms);
    timeout(stall, socket.write_all(&out)).await??;
    flush(socket, stall).await
}

/// Says that nothing follows, where there is nothing that the client could still be reading.
async fn goodbye(socket: &mut dyn ClientIo) -> io::Result<()> {
    timeout(LINGER, socket.shutdown()).await?
}

/// Says that nothing follows, and waits for the client to close: closing first could take the answer from it.
pub(super) async fn linger<S>(socket: &mut S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    socket.shutdown().await?;
    let mut rest = [0; 4096];
    let closed = async { while socket.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
    // One that stays is closed on.
    let _ = timeout(LINGER, closed).await;
    Ok(())
}

async fn take_turn(
    inner: &Inner,
    socket: &mut dyn ClientIo,
    head: &Head<'_>,
    inbox: &[u8],
) -> io::Result<After> {
    let Some(parts) = parts_of(&inbox[..head.consumed]) else {
        refuse_head(inner, socket, 400, "the request is malformed").await?;
        return Ok(After::Last);
    };
    let mut turn = Turn {
        service: inner,
        settings: inner.settings.load_full(),
        head,
        parts,
        keep_alive: head.keep_alive && *inner.taking.borrow() == Taking::All,
        asked: inner.download.clock().now(),
        begun: false,
        hold: None,
        said: None,
        host: None,
        sends: None,
        body_bytes: 0,
        socket,
    };
    let after = turn.answer().await?;
    turn.settle().await?;
    if after != After::Body {
        let is_error = matches!(turn.said, Some((400..500, _)));
        inner.count(&Said {
            to: turn.socket.from(),
            status: turn.said,
            host: turn.host.filter(|_| is_error),
            sends: turn.sends,
            body_bytes: turn.body_bytes,
        });
    }
    Ok(after)
}

impl Turn<'_> {
    /// Whom it answers.
    pub(super) fn client(&self) -> Option<IpAddr> {
        self.socket.from()
    }

    async fn answer(&mut self) -> io::Result<After> {
        if self.parts.method == Method::CONNECT {
            // What follows it is nothing that can be read.
            self.keep_alive = false;
            return self.refuse(405, "larder opens no tunnels").await;
        }
        if self.parts.method == Method::TRACE {
            // RFC 9110, section 9.3.8: what it shows of a request is for nobody else. It has no body to be skipped.
            self.keep_alive = false;
            let reason = "larder shows nobody what requests look like";
            return self.refuse(405, reason).await;
        }
        if self.parts.method == Method::OPTIONS && self.is_for_larder() {
            return self.options().await;
        }
        if self.head.body != BodyKind::None {
            return Ok(After::Body);
        }
        if goes_round(&self.parts.headers) {
            let reason = "the request has been here before; an origin points back at larder";
            return self.refuse(508, reason).await;
        }
        let settings = Arc::clone(&self.settings);
        let route = match route(
            self.head.target,
            self.head.host,
            self.service.https,
            &settings.rules,
        ) {
            Ok(route) => self.asked_of(route.to_owned()),
            Err(refusal) => {
                if let Refusal::Forbidden { host } = &refusal {
                    self.service.figures.refused(host);
                    self.host = Some(host.clone());
                }
                let reason = refusal.to_string();
                return self.refuse(refusal.status(), &reason).await;
            }
        };
        self.host = Some(route.origin.host.clone());
        let headers = &self.parts.headers;
        let all = |name| headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
        let wishes = Directives::read(all(CACHE_CONTROL), all(PRAGMA));
        let read = matches!(self.parts.method, Method::GET | Method::HEAD);
        let several = |name| headers.get_all(name).iter().count() > 1;
        let authorized = headers.contains_key(AUTHORIZATION);
        if !read || ONCE.iter().any(several) {
            return self.through(&route).await;
        }
        match (route.identity.immutable, authorized) {
            (true, false) => self.serve_stored(route, wishes).await,
            (true, true) => self.through(&route).await,
            (false, _) => self.general(route, wishes, authorized).await,
        }
    }

    /// Answers with an error.
    pub(super) async fn refuse(&mut self, status: u16, reason: &str) -> io::Result<After> {
        let mut out = Vec::new();
        let (keep, head_only) = (self.keep_alive, self.head_only());
        let (says, date) = (self.settings.cache_status, self.date());
        write_refusal(&mut out, status, reason, keep, head_only, says, &date);
        self.said = Some((status, None));
        self.write(&out).await?;
        Ok(self.after())
    }

    /// Sends all of it; fails where the client takes nothing for too long.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_both(bytes, &[]).await
    }

    /// Sends all of both, in one go where the client takes it.
    pub(super) async fn write_both(&mut self, front: &[u8], back: &[u8]) -> io::Result<()> {
        let mut both = [IoSlice::new(front), IoSlice::new(back)];
        let mut rest = &mut both[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let sent = self.write_some(rest).await?;
            IoSlice::advance_slices(&mut rest, sent);
        }
        Ok(())
    }

    async fn write_some(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let stall = self.stall();
        let sent = loop {
            let taken = self.socket.taken();
            match timeout(stall, self.socket.write_vectored(parts)).await {
                Ok(sent) => break sent?,
                // What was written before is on its way.
                Err(_) if self.socket.taken() > taken => {}
                Err(stalled) => return Err(stalled.into()),
            }
        };
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if !self.begun {
            self.begun = true;
            let waited = self.service.download.clock().now().since(self.asked);
            let figures = &self.service.figures;
            figures.first_byte_seconds.record(waited.as_secs_f64());
        }
        Ok(sent)
    }

    /// Waits until what was written is on its way.
    pub(super) async fn settle(&mut self) -> io::Result<()> {
        let stall = self.stall();
        flush(self.socket, stall).await
    }

    fn stall(&self) -> Duration {
        Duration::from_millis(self.settings.send_stall_timeout_ms)
    }

    /// How many bytes [`Self::write`] takes at once after [`Self::settle`], whether the client reads or not.
    pub(super) fn takes_at_once(&self) -> Option<u32> {
        self.socket.takes_at_once()
    }

    /// Sends what comes before an answer and is no part of it.
    pub(super) async fn write_before(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(self.stall(), self.socket.write_all(bytes)).await??;
        self.settle().await
    }

    /// What follows an answer that is whole.
    pub(super) fn after(&self) -> After {
        if self.keep_alive {
            After::Next
        } else {
            After::Last
        }
    }

    pub(super) fn head_only(&self) -> bool {
        self.parts.method == Method::HEAD
    }

    pub(super) fn date(&self) -> [u8; 29] {
        http_date(self.service.download.clock().unix())
    }

    /// When the client must have its first byte.
    pub(super) fn deadline(&self) -> Time {
        self.asked + Duration::from_millis(self.settings.first_byte_timeout_ms)
    }
}

/// True where a `Via` says that larder has passed this request on already.
pub(super) fn goes_round(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(VIA).into_iter();
    fields
        .filter_map(|via| via.to_str().ok())
        .flat_map(|via| via.split(','))
        .any(|hop| {
            let by = hop.split_ascii_whitespace().nth(1);
            by.is_some_and(|by| by.eq_ignore_ascii_case("larder"))
        })
}

/// All fields of a head that the strict parser has accepted.
fn parts_of(head: &[u8]) -> Option<request::Parts> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut read = httparse::Request::new(&mut fields);
    read.parse(head).ok()?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(read.method?.as_bytes()).ok()?;
    if read.version == Some(0) {
        parts.version = Version::HTTP_10;
    }
    for field in read.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(field.value).ok()?;
        parts.headers.append(name, value);
    }
    Some(parts)
}
