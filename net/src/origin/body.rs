//! The body of an origin's answer. The rule: it ends whole, or with an error; a silence longer than the stall
//! timeout is an error too.

use super::error::OriginError;
use super::pool::Lease;
use crate::metrics::Figures;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A body on its way in; holds its connection until the last byte.
pub struct OriginBody {
    incoming: Incoming,
    lease: Option<Lease>,
    origin: String,
    stall: Duration,
    timer: Pin<Box<Sleep>>,
    waiting: bool,
    figures: Arc<Figures>,
}

impl OriginBody {
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease,
        origin: String,
        stall: Duration,
        figures: Arc<Figures>,
    ) -> Self {
        let timer = Box::pin(tokio::time::sleep(stall));
        let mut body = Self {
            incoming,
            lease: Some(lease),
            origin,
            stall,
            timer,
            waiting: false,
            figures,
        };
        if body.incoming.is_end_stream() {
            body.end();
        }
        body
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
        if self.incoming.size_hint().lower() > bytes_max as u64 {
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
        if let Some(lease) = self.lease.take() {
            lease.give_back();
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
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting = false;
                if let Some(data) = frame.data_ref() {
                    this.figures.origin_bytes.increment(data.len() as u64);
                }
                if this.incoming.is_end_stream() {
                    this.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.lease = None;
                let cause = super::words(&error);
                Poll::Ready(Some(Err(OriginError::Truncated {
                    origin: this.origin.clone(),
                    cause,
                })))
            }
            Poll::Ready(None) => {
                this.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                // The clock runs only while somebody waits: a reader that takes its time is no stall of the origin.
                if !this.waiting {
                    this.waiting = true;
                    this.timer.as_mut().reset(Instant::now() + this.stall);
                }
                if this.timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.lease = None;
                let limit_ms = u64::try_from(this.stall.as_millis()).unwrap_or(u64::MAX);
                let origin = this.origin.clone();
                let doing = "between two parts of a body";
                Poll::Ready(Some(Err(OriginError::Timeout {
                    origin,
                    doing,
                    limit_ms,
                })))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
