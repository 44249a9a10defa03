//! The body of an origin's answer. The rule: it ends whole, or with an error; a silence longer than the stall
//! timeout is an error too.
//!
//! hyper reads the head and knows how the body ends. Where that is a number of bytes, and they are many, they can be
//! read from the connection itself, straight to where they belong ([`OriginBody::plain`]): no buffer between, no copy,
//! and no other task to be woken for each of them.

use super::cache_host::Blame;
use super::connect::Stream;
use super::error::OriginError;
use super::pool::Lease;
use crate::bandwidth::Allowance;
use crate::download::Way;
use crate::metrics::{Coming, Figures};
use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use larder_proto::policy::Priority;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A body with fewer bytes to come than these is not worth being taken out of hyper's hands.
const PLAIN_BYTES_MIN: u64 = 128 << 10;

/// What is read at a time where nobody lends memory.
const CHUNK_BYTES: usize = 64 << 10;

/// A body on its way in; holds its connection until the last byte.
pub struct OriginBody {
    flow: Flow,
    lease: Option<Box<Lease>>,
    /// Whether the answer leaves its connection open.
    keeps: bool,
    /// Of a frame, what nobody has taken yet.
    rest: Bytes,
    origin: String,
    stall: Duration,
    timer: Pin<Box<Sleep>>,
    waiting: bool,
    figures: Arc<Figures>,
    /// None once it has ended.
    coming: Option<Coming>,
    /// Who sends it.
    way: Way,
    /// Who is told where it is not the origin's, and breaks off.
    blame: Option<Box<Blame>>,
    /// How much of it may be read now.
    allowance: Allowance,
}

/// Where its bytes come from.
enum Flow {
    /// From hyper.
    Framed(Incoming),
    /// From the connection itself.
    Plain(Plain),
}

struct Plain {
    /// None at the end, when it has been given back.
    stream: Option<Stream>,
    /// What hyper had read already.
    early: VecDeque<Bytes>,
    /// Bytes to come.
    left: u64,
}

impl Plain {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = into.len().min(most);
        let into = &mut into[..most];
        let count = if let Some(early) = self.early.front_mut() {
            let count = early.len().min(most);
            early.copy_to_slice(&mut into[..count]);
            if early.is_empty() {
                self.early.pop_front();
            }
            count
        } else if let Some(stream) = self.stream.as_mut().filter(|_| most > 0) {
            let mut buf = ReadBuf::new(into);
            ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                let error = "the connection was closed before the end of the body";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)));
            }
            buf.filled().len()
        } else {
            0
        };
        self.left -= count as u64;
        Poll::Ready(Ok(count))
    }
}

impl OriginBody {
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease,
        keeps: bool,
        origin: String,
        stall: Duration,
        figures: Arc<Figures>,
        allowance: Allowance,
    ) -> Self {
        let timer = Box::pin(tokio::time::sleep(stall));
        let mut body = Self {
            flow: Flow::Framed(incoming),
            lease: Some(Box::new(lease)),
            keeps,
            rest: Bytes::new(),
            origin,
            stall,
            timer,
            waiting: false,
            coming: Some(Coming::new(&figures, Way::Http)),
            figures,
            way: Way::Http,
            blame: None,
            allowance,
        };
        if body.is_end_stream() {
            body.end();
        }
        body
    }

    /// Somebody else than the origin sends it.
    pub(super) fn came_by(&mut self, way: Way, blame: Blame) {
        (self.way, self.blame) = (way, Some(Box::new(blame)));
        if self.coming.is_some() {
            self.coming = Some(Coming::new(&self.figures, way));
        }
    }

    /// Which download its bytes are part of, and whether somebody waits for them at present.
    pub(crate) fn belongs_to(&mut self, download: u64, priority: Priority) {
        self.allowance.belongs_to(download, priority);
    }

    /// How many bytes may be read now. While none may, nobody waits for the origin.
    fn poll_allowed(&mut self, cx: &mut Context<'_>, want: usize) -> Poll<usize> {
        let allowed = self.allowance.poll(cx, want);
        if allowed.is_pending() {
            self.waiting = false;
        }
        allowed
    }

    /// Who sends it.
    #[must_use]
    pub fn way(&self) -> Way {
        self.way
    }

    fn broke(&mut self) {
        self.coming = None;
        self.lease = None;
        if let Some(blame) = self.blame.take() {
            blame.broke();
        }
    }

    /// From now on its bytes are read from the connection itself, where that is possible and worth it.
    pub async fn plain(&mut self) {
        let Flow::Framed(incoming) = &mut self.flow else {
            return;
        };
        let Some(left) = incoming.size_hint().exact() else {
            return;
        };
        let Some(lease) = self.lease.as_mut().filter(|_| left >= PLAIN_BYTES_MIN) else {
            return;
        };
        // None where the connection is over: then all that came is in hyper's hands.
        let Some((stream, read)) = lease.leave().await else {
            return;
        };
        let mut early = VecDeque::new();
        // hyper is gone, so that this waits for nothing; an error is that it is gone.
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut *incoming).poll_frame(cx)).await {
            early.extend(frame.into_data().ok());
        }
        early.push_back(read);
        early.retain(|bytes| !bytes.is_empty());
        self.flow = Flow::Plain(Plain {
            stream: Some(stream),
            early,
            left,
        });
    }

    /// Puts the next bytes at the beginning of `into`, which is not empty, and says how many; 0 is the body's proper
    /// end.
    ///
    /// # Errors
    /// As [`OriginBody::chunk`].
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<Result<usize, OriginError>> {
        if matches!(self.flow, Flow::Plain(_)) {
            let most = ready!(self.poll_allowed(cx, into.len()));
            if let Flow::Plain(plain) = &mut self.flow {
                let read = plain.poll_read(cx, &mut into[..most]);
                return self.plain_read(cx, read);
            }
        }
        while self.rest.is_empty() {
            match ready!(self.poll_framed(cx)) {
                None => return Poll::Ready(Ok(0)),
                Some(frame) => self.rest = frame?.into_data().unwrap_or_default(),
            }
        }
        let count = self.rest.len().min(into.len());
        self.rest.copy_to_slice(&mut into[..count]);
        Poll::Ready(Ok(count))
    }

    /// The next bytes; None is the body's proper end.
    ///
    /// # Errors
    /// The connection broke, or nothing came for the stall timeout.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, OriginError> {
        loop {
            match poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await {
                None => return Ok(None),
                Some(Err(error)) => return Err(error),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// The whole body where it is at most `bytes_max` long; None, and the connection is closed, where it is longer.
    ///
    /// # Errors
    /// As [`OriginBody::chunk`].
    pub async fn small(mut self, bytes_max: usize) -> Result<Option<Bytes>, OriginError> {
        if self.size_hint().lower() > bytes_max as u64 {
            return Ok(None);
        }
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > bytes_max {
                return Ok(None);
            }
            all.extend_from_slice(&chunk);
        }
        Ok(Some(all.into()))
    }

    fn end(&mut self) {
        self.coming = None;
        let Some(lease) = self.lease.take() else {
            return;
        };
        match &mut self.flow {
            Flow::Framed(_) => lease.give_back(),
            // What comes after the end belongs to no answer.
            Flow::Plain(plain) => {
                let whole = self.keeps && plain.early.is_empty();
                if let Some(stream) = plain.stream.take().filter(|_| whole) {
                    lease.give_back_bare(stream);
                }
            }
        }
    }

    /// What reading from the connection itself has come to.
    fn plain_read(
        &mut self,
        cx: &mut Context<'_>,
        read: Poll<io::Result<usize>>,
    ) -> Poll<Result<usize, OriginError>> {
        match read {
            Poll::Ready(Ok(count)) => {
                self.came(count);
                if self.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.broken(error.to_string()))),
            Poll::Pending => self.poll_stalled(cx).map(Err),
        }
    }

    fn came(&mut self, count: usize) {
        self.waiting = false;
        self.allowance.came(count);
        self.figures.origin_bytes.increment(count as u64);
        if self.way == Way::CacheServer {
            self.figures.cache_server_bytes.increment(count as u64);
        }
    }

    fn broken(&mut self, cause: String) -> OriginError {
        self.broke();
        OriginError::Truncated {
            origin: self.origin.clone(),
            cause,
        }
    }

    /// Whether nothing has come for too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<OriginError> {
        // The clock runs only while somebody waits: a reader that takes its time is no stall of the origin.
        if !self.waiting {
            self.waiting = true;
            self.timer.as_mut().reset(Instant::now() + self.stall);
        }
        ready!(self.timer.as_mut().poll(cx));
        self.broke();
        Poll::Ready(OriginError::Timeout {
            origin: self.origin.clone(),
            doing: "between two parts of a body",
            limit_ms: u64::try_from(self.stall.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// The next frame from hyper, or from the connection.
    fn poll_framed(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OriginError>>> {
        // At the end there is nothing to be granted.
        let most = match self.size_hint().exact() {
            Some(0) => CHUNK_BYTES,
            _ => ready!(self.poll_allowed(cx, CHUNK_BYTES)),
        };
        let incoming = match &mut self.flow {
            Flow::Framed(incoming) => incoming,
            Flow::Plain(plain) => {
                let mut chunk = vec![0; most];
                let read = plain.poll_read(cx, &mut chunk);
                return match ready!(self.plain_read(cx, read)) {
                    Ok(0) => Poll::Ready(None),
                    Ok(count) => {
                        chunk.truncate(count);
                        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
                    }
                    Err(error) => Poll::Ready(Some(Err(error))),
                };
            }
        };
        match Pin::new(&mut *incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let ended = incoming.is_end_stream();
                self.came(frame.data_ref().map_or(0, Bytes::len));
                if ended {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(self.broken(super::words(&error)))))
            }
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_stalled(cx).map(|error| Some(Err(error))),
        }
    }
}

impl Body for OriginBody {
    type Data = Bytes;
    type Error = OriginError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OriginError>>> {
        let this = self.get_mut();
        if !this.rest.is_empty() {
            let rest = std::mem::take(&mut this.rest);
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        this.poll_framed(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
            && match &self.flow {
                Flow::Framed(incoming) => incoming.is_end_stream(),
                Flow::Plain(plain) => plain.left == 0,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        match &self.flow {
            Flow::Framed(incoming) => {
                let hint = incoming.size_hint();
                let mut all = SizeHint::new();
                all.set_lower(hint.lower() + rest);
                if let Some(upper) = hint.upper() {
                    all.set_upper(upper + rest);
                }
                all
            }
            Flow::Plain(plain) => SizeHint::with_exact(plain.left),
        }
    }
}
