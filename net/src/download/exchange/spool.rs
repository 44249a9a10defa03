//! A body that came without saying how long it is: it reaches its client as it comes, and is stored when its end is
//! seen. The rule: what breaks off is not stored, and nobody's slowness holds up the storing.

use super::super::Inner;
use super::keep::Place;
use super::turns::Asking;
use super::{ThroughBody, Told, end_to_end};
use crate::origin::{BoxError, OriginAnswer, OriginBody, OriginError};
use ::http::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use larder_storage::record::Record;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// A body up to this long is stored; what is longer passes through. So much of it is in memory, however slow its client
/// is.
const SPOOL_BYTES_MAX: usize = 4 << 20;

/// What the client's side is told.
enum News {
    Bytes(Bytes),
    /// The body is too long to be stored: the client's side reads on by itself.
    Rest(OriginBody),
    Broken(OriginError),
    End,
}

/// Gives an answer on, and stores it when it is complete.
pub(super) fn spooled(
    inner: &Arc<Inner>,
    place: Place,
    record: Record,
    answer: OriginAnswer,
    turn: Option<Asking>,
) -> Response<ThroughBody> {
    // No more than the bound is ever in it.
    let (tell, told) = mpsc::unbounded_channel();
    let spool = Spool {
        inner: Arc::clone(inner),
        place,
        record,
        turn,
        tell,
    };
    inner.runtime.spawn(spool.run(answer.body));
    let body = Spooled::Coming(told).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = end_to_end(answer.headers);
    response
}

struct Spool {
    inner: Arc<Inner>,
    place: Place,
    record: Record,
    turn: Option<Asking>,
    tell: mpsc::UnboundedSender<News>,
}

impl Spool {
    async fn run(mut self, mut body: OriginBody) {
        let mut chunks = Vec::new();
        let mut length = 0;
        // Where the client has left, what comes is stored all the same.
        let told = loop {
            match body.chunk().await {
                Ok(Some(chunk)) => {
                    length += chunk.len();
                    let _ = self.tell.send(News::Bytes(chunk.clone()));
                    if length > SPOOL_BYTES_MAX {
                        let _ = self.tell.send(News::Rest(body));
                        break Told::Alone;
                    }
                    chunks.push(chunk);
                }
                Ok(None) => break self.store(&chunks.concat()),
                Err(error) => {
                    let _ = self.tell.send(News::Broken(error));
                    break Told::Again;
                }
            }
        };
        if let Some(turn) = self.turn.take() {
            turn.tell(told);
        }
        // After the store has it, so that whoever has seen the end finds it there.
        let _ = self.tell.send(News::End);
    }

    fn store(&self, body: &[u8]) -> Told {
        let fresh = self.inner.clock.unix() < self.record.fresh_until;
        let record = Record {
            length: body.len() as u64,
            ..self.record.clone()
        };
        let kept = self.inner.keep_whole(&self.place, record, body);
        if kept && fresh {
            Told::Again
        } else {
            Told::Alone
        }
    }
}

/// The client's side.
enum Spooled {
    Coming(mpsc::UnboundedReceiver<News>),
    Rest(Box<OriginBody>),
}

impl Body for Spooled {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            match this {
                Self::Rest(body) => {
                    let polled = Pin::new(body.as_mut()).poll_frame(cx);
                    return polled.map_err(|error| Box::new(error) as BoxError);
                }
                Self::Coming(told) => match told.poll_recv(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(News::Bytes(bytes))) => {
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                    Poll::Ready(Some(News::Rest(body))) => *this = Self::Rest(Box::new(body)),
                    Poll::Ready(Some(News::End)) => return Poll::Ready(None),
                    Poll::Ready(Some(News::Broken(error))) => {
                        return Poll::Ready(Some(Err(Box::new(error))));
                    }
                    // Whoever took it in is gone without having seen its end.
                    Poll::Ready(None) => {
                        let why = "larder could not take the body in";
                        return Poll::Ready(Some(Err(why.into())));
                    }
                },
            }
        }
    }
}
